"""Batches for training.

Entropy decoding runs in worker processes. The synthesis transform runs for a whole batch on the
training device.

    worker     rows ─ entropy decoding ─ latents          (exact, on CPUs)
    main       latents of a batch ─ synthesis ─ tensors   (float, on any device)

Workers of a `DataLoader` must not use a GPU. Latents in float32 take as many bytes as the pixels.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from codec.api import Codec, shared_codec
from codec.data.reading.dataset import Dataset, decode_named
from codec.engine.decoding import is_simple, latents_of, synthesise
from codec.engine.reading import open_part
from codec.engine.running import memory_named
from codec.format.header import Header
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits, integer
from codec.pictures.picture import Samples


@dataclasses.dataclass
class Latents:
    """A picture after entropy decoding and before the synthesis transform."""

    header: Header
    y_hat: NDArray[np.float32]
    """Quantized latents, h×w×M. An array and not a tensor: each tensor that a worker sends to its
    parent needs an open file, and the number of open files is limited."""


@memory_named()
def entropy_decode(files: Sequence[bytes], limits: Limits = DEFAULT_LIMITS) -> list[Latents | Samples]:
    """Return the latents of each `.cae` file, on the CPU.

    Files that need more than a synthesis transform (large, of more than 8 bits, with alpha or a
    residual layer, or stored) are decoded completely, to pictures C×H×W. Raises the same errors as
    `codec.decompress`.
    """
    opened = [open_part(data, None, "raise", limits)[0] for data in files]
    codec = shared_codec(None, None)
    found: dict[int, Latents | Samples] = {}
    by_model: dict[bytes, list[int]] = {}
    others = []
    for index, file in enumerate(opened):
        if is_simple(file):
            by_model.setdefault(file.header.model_id, []).append(index)
        else:
            others.append(index)
    with codec._running():
        for model_id, indexes in by_model.items():
            latents = latents_of(codec.model_for(model_id), [opened[index] for index in indexes])
            for index, y_hat in zip(indexes, latents, strict=True):
                found[index] = Latents(opened[index].header, y_hat.cpu().numpy())
    pictures = codec.decompress_batch([files[index] for index in others], limits=limits)
    for index, picture in zip(others, pictures, strict=True):
        channels = picture if picture.ndim == 3 else picture[:, :, None]
        found[index] = np.ascontiguousarray(channels.transpose(2, 0, 1))
    return [found[index] for index in range(len(files))]


@memory_named()
def synthesise_batch(batch: Sequence[Latents | Samples], codec: Codec) -> list[Tensor]:
    """Return the pictures of the entries that `entropy_decode` returned.

    They are tensors C×H×W on the device of the codec, uint8, or uint16 for more than 8 bits.
    """
    found: dict[int, Tensor] = {}
    by_model: dict[bytes, list[int]] = {}
    for index, entry in enumerate(batch):
        if isinstance(entry, Latents):
            by_model.setdefault(entry.header.model_id, []).append(index)
        else:
            found[index] = torch.from_numpy(entry).to(codec.device)
    with codec._running():
        for model_id, indexes in by_model.items():
            entries = [entry for index in indexes if isinstance(entry := batch[index], Latents)]
            model = codec.model_for(model_id)
            latents = [torch.from_numpy(entry.y_hat) for entry in entries]
            pictures = synthesise(model, [entry.header for entry in entries], latents)
            found.update(zip(indexes, (picture.permute(2, 0, 1) for picture in pictures), strict=True))
    return [found[index] for index in range(len(batch))]


class _Rows:
    """A dataset whose rows are only entropy decoded. Worker processes use it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = copy.copy(dataset)
        self.dataset.transform = None  # it may not be possible to send it to other processes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indexes: Sequence[int]) -> list[tuple[Latents | Samples, dict[str, Any]]]:
        files = [self.dataset.read(index) for index in indexes]
        values = [self.dataset.values(index) for index in indexes]
        places = [self.dataset.locate(index) for index in indexes]
        decode = functools.partial(entropy_decode, limits=self.dataset.limits)
        return list(zip(decode_named(decode, places, files), values, strict=True))


def _as_it_is(batch: Any) -> Any:
    return batch


class Loader:
    """An iterable over batches, as returned by `loader`. Its `len` is the number of batches."""

    def __init__(
        self, batches: DataLoader[Any], dataset: Dataset, codec: Codec,
        transform: Callable[[Tensor], Any] | None,
    ) -> None:
        self.batches = batches
        """The `DataLoader` that provides the entropy-decoded batches."""
        self._dataset = dataset
        self._codec = codec
        self._transform = transform

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for rows in self.batches:
            pictures: list[Any] = synthesise_batch([entry for entry, _ in rows], self._codec)
            if self._transform is not None:
                pictures = [self._transform(picture) for picture in pictures]
            batch = {self._dataset.image_column: _stacked(pictures)}
            for name in self._dataset.columns:
                batch[name] = _column([values[name] for _, values in rows], self._codec.device)
            yield batch


def _stacked(pictures: list[Any]) -> Any:
    alike = all(isinstance(picture, Tensor) for picture in pictures) and len(
        {(picture.shape, picture.dtype) for picture in pictures}
    ) == 1
    return torch.stack(pictures) if alike else pictures


def _column(values: list[Any], device: str) -> Any:
    """Return a tensor if all values are numbers of one type, otherwise the list."""
    for kind, dtype in ((bool, torch.bool), (int, torch.int64), (float, torch.float64)):
        if all(type(value) is kind for value in values):
            with contextlib.suppress(OverflowError, ValueError, RuntimeError):  # numbers beyond 64 bits
                return torch.tensor(values, dtype=dtype, device=device)
    return values


def loader(
    dataset: Dataset,
    batch_size: int = 64,
    *,
    shuffle: bool = False,
    num_workers: int = 0,
    device: str | None = None,
    transform: Callable[[Tensor], Any] | None = None,
    **options: Any,
) -> Loader:
    """Return an iterable over the batches of a dataset. Each batch is a dict.

    The pictures of a batch are on `device`. They are one tensor N×C×H×W if they have the same size,
    and a list of tensors C×H×W otherwise: uint8, or uint16 for more than 8 bits. Columns of numbers
    are tensors (int64, float64, bool). Other columns are lists. A column of numbers is also a list
    in a batch in which a number is missing.

    Args:
        dataset: the dataset. Its own `transform` is not used here.
        num_workers: number of processes that read and do the entropy decoding; 0 for this process.
        device: device of the synthesis transform and of the tensors, for example "cuda"; None for
            the CPU.
        transform: called with each picture C×H×W on `device`, for example to crop it to a common
            size.
        options: options of `torch.utils.data.DataLoader`: sampler, drop_last, generator,
            multiprocessing_context, …

    Samples may differ by one level from those of `codec.decompress`, because they are computed in
    batches.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a codec.Dataset, not {type(dataset).__name__}")
    batch_size = integer(batch_size, "batch_size")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    num_workers = integer(num_workers, "num_workers")
    if num_workers < 0:
        raise ValueError(f"num_workers must be at least 0, not {num_workers}")
    if "collate_fn" in options:
        raise TypeError("collate_fn cannot be set: use transform, or a DataLoader on the dataset itself")
    rows: Any = _Rows(dataset)
    batches: DataLoader[Any] = DataLoader(
        rows, batch_size, shuffle, num_workers=num_workers, collate_fn=_as_it_is, **options
    )
    return Loader(batches, dataset, shared_codec(None, device), transform)

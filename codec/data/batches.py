"""Batches for training: entropy decoding in worker processes, synthesis as one batch on the training device.

    worker     rows ─ entropy decoding ─ latents          (exact, on CPUs)
    main       latents of a batch ─ synthesis ─ tensors   (float, on any device)

Workers of a `DataLoader` must not touch a GPU; latents in float32 take as many bytes as the pixels would.
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
from codec.data.dataset import Dataset, decode_named
from codec.engine.decoding import is_simple, latents_of, synthesise
from codec.engine.reading import open_part
from codec.engine.running import memory_named
from codec.format.header import Header
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits
from codec.pictures.picture import Samples


@dataclasses.dataclass
class Latents:
    """A picture between entropy decoding and synthesis."""

    header: Header
    y_hat: NDArray[np.float32]
    """h×w×M. No tensor: those go from a worker to its parent as an open file each, of which there are few."""


@memory_named()
def entropy_decode(files: Sequence[bytes], limits: Limits = DEFAULT_LIMITS) -> list[Latents | Samples]:
    """The latents of each `.cae` file, on the CPU; pictures C×H×W of those that need more than a synthesis
    transform: large, deep, with alpha, or stored. Raises as `codec.decompress`."""
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
            latents = latents_of(codec.loaded_model(model_id), [opened[index] for index in indexes])
            for index, y_hat in zip(indexes, latents, strict=True):
                found[index] = Latents(opened[index].header, y_hat.cpu().numpy())
    pictures = codec.decompress_batch([files[index] for index in others], limits=limits)
    for index, picture in zip(others, pictures, strict=True):
        channels = picture if picture.ndim == 3 else picture[:, :, None]
        found[index] = np.ascontiguousarray(channels.transpose(2, 0, 1))
    return [found[index] for index in range(len(files))]


@memory_named()
def synthesise_batch(batch: Sequence[Latents | Samples], codec: Codec) -> list[Tensor]:
    """Pictures C×H×W, uint8 or (of more than 8 bits) uint16, on the codec's device, of what `entropy_decode`
    gave."""
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
            model = codec.loaded_model(model_id)
            latents = [torch.from_numpy(entry.y_hat) for entry in entries]
            pictures = synthesise(model, [entry.header for entry in entries], latents)
            found.update(zip(indexes, (picture.permute(2, 0, 1) for picture in pictures), strict=True))
    return [found[index] for index in range(len(batch))]


class _Rows:
    """A dataset whose pictures are decoded half-way; what workers hold."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = copy.copy(dataset)
        self.dataset.transform = None  # it may be one that other processes cannot be sent

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
    """Iterates over batches; see `loader`. `len` is the number of batches."""

    def __init__(
        self, batches: DataLoader[Any], dataset: Dataset, codec: Codec,
        transform: Callable[[Tensor], Any] | None,
    ) -> None:
        self.batches = batches
        """The `DataLoader` behind it."""
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
    """A tensor of numbers, a list of anything else."""
    for kind, dtype in ((bool, torch.bool), (int, torch.int64), (float, torch.float64)):
        if all(type(value) is kind for value in values):
            with contextlib.suppress(OverflowError, ValueError, RuntimeError):  # beyond 64 bits
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
    """Batches of a dataset, as dicts: the pictures N×C×H×W uint8 on `device` where they are of one size, a
    list of C×H×W where not; columns of numbers as tensors (int64, float64, bool), others as lists, and so are
    those of a batch in which a number is missing.

    Args:
        dataset: its own `transform` is not used here.
        num_workers: processes that read and do the entropy decoding; 0 for this one.
        device: where the synthesis transform runs and tensors are, "cuda" for instance; None for the CPU.
        transform: called with each picture C×H×W on `device`; crops, for instance, to one size.
        options: of `torch.utils.data.DataLoader`: sampler, drop_last, generator, multiprocessing_context, …

    Samples may differ by one level from those of `codec.decompress`: they are computed in batches.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a codec.Dataset, not {type(dataset).__name__}")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer from 1 on, not {batch_size!r}")
    if "collate_fn" in options:
        raise TypeError("collate_fn is the loader's own: use transform, or DataLoader on the dataset itself")
    rows: Any = _Rows(dataset)
    batches: DataLoader[Any] = DataLoader(
        rows, batch_size, shuffle, num_workers=num_workers, collate_fn=_as_it_is, **options
    )
    return Loader(batches, dataset, shared_codec(None, device), transform)

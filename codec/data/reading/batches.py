"""Batches for training.

Symbols are decoded in worker processes, in integers. The float networks run for a whole batch on
the training device.

    worker     rows ─ scale model, range decoder ─ symbols                (exact, on CPUs)
    main       symbols of a batch ─ mean model ─ latents ─ synthesis      (float, on any device)

Workers of a `DataLoader` must not use a GPU. Symbols are sent as int8 if they fit. They then take
less than half as many bytes as the pixels.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from codec.api import Codec, shared_codec
from codec.coding.latents import TileSymbols
from codec.data.reading.dataset import Dataset, decode_named
from codec.engine.batch_decoding import is_plain, latents_of, symbols_of, synthesise
from codec.engine.reading import open_part
from codec.engine.running import memory_named
from codec.engine.worker import check_precision
from codec.errors import FormatError
from codec.format import tiling
from codec.format.header import Header
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits, integer
from codec.model.runtime import Precision
from codec.pictures.picture import Samples

Output = Literal["pixels", "latents"]


@dataclasses.dataclass
class Coded:
    """A picture after entropy decoding: integers only.

    Symbols are arrays and not tensors: each tensor that a worker sends to its parent needs an open
    file, and the number of open files is limited.
    """

    header: Header
    tiles: list[TileSymbols]


@memory_named()
def entropy_decode(
    files: Sequence[bytes], limits: Limits = DEFAULT_LIMITS, output: Output = "pixels",
    precision: Precision | None = None,
) -> list[Coded | Samples]:
    """Return the symbols of each `.cae` file, decoded on the CPU.

    For the output "pixels", files that need more than a synthesis transform (of more than 8 bits,
    with alpha or a residual layer, or stored) are decoded completely, to pictures C×H×W.
    For the output "latents", all files must have latents; otherwise `FormatError` is raised. The
    other errors are those of `codec.decompress`.
    """
    opened = [open_part(data, None, "raise", limits)[0] for data in files]
    if output == "latents" and any(file.header.stored for file in opened):
        raise FormatError(
            "the picture is stored losslessly and has no latents: leave out such rows, for which "
            "codec.inspect(dataset.read(row)).lossless is true, or load pixels"
        )
    codec = shared_codec(None, None, precision)
    found: dict[int, Coded | Samples] = {}
    by_model: dict[bytes, list[int]] = {}
    others = []
    for index, file in enumerate(opened):
        if output == "latents" or is_plain(file.header):
            by_model.setdefault(file.header.model_id, []).append(index)
        else:
            others.append(index)
    with codec._running():
        for model_id, indexes in by_model.items():
            tiles = [(opened[i], tile) for i in indexes for tile in range(len(opened[i].header.tiles))]
            symbols = iter(symbols_of(codec.model_for(model_id), tiles))
            for index in indexes:
                header = opened[index].header
                found[index] = Coded(header, list(itertools.islice(symbols, len(header.tiles))))
    pictures = codec.decompress_batch([files[index] for index in others], limits=limits)
    for index, picture in zip(others, pictures, strict=True):
        channels = picture if picture.ndim == 3 else picture[:, :, None]
        found[index] = np.ascontiguousarray(channels.transpose(2, 0, 1))
    return [found[index] for index in range(len(files))]


@memory_named()
def synthesise_batch(batch: Sequence[Coded | Samples], codec: Codec) -> list[Tensor]:
    """Return the pictures of the entries that `entropy_decode` returned.

    They are tensors C×H×W on the device of the codec, uint8, or uint16 for more than 8 bits.
    """
    found: dict[int, Tensor] = {}
    by_model: dict[bytes, list[tuple[int, Coded]]] = {}
    for index, entry in enumerate(batch):
        if isinstance(entry, Coded):
            by_model.setdefault(entry.header.model_id, []).append((index, entry))
        else:
            found[index] = torch.from_numpy(entry).to(codec.device)
    with codec._running():
        for model_id, coded in by_model.items():
            headers = [entry.header for _, entry in coded]
            pictures = synthesise(codec.model_for(model_id), headers, [entry.tiles for _, entry in coded])
            for (index, _), picture in zip(coded, pictures, strict=True):
                found[index] = picture.permute(2, 0, 1)
    return [found[index] for index in range(len(batch))]


@memory_named()
def dequantise_batch(batch: Sequence[Coded], codec: Codec) -> list[Tensor]:
    """Return the dequantised latents of each picture, which all have the same model.

    They are tensors M×h×w float32 on the device of the codec, with h = ⌈H/16⌉ and w = ⌈W/16⌉.
    """
    headers = [entry.header for entry in batch for _ in entry.tiles]
    with codec._running():
        model = codec.model_for(headers[0].model_id)
        parts = iter(latents_of(model, headers, [tile for entry in batch for tile in entry.tiles]))
        return [_joined(entry.header, list(itertools.islice(parts, len(entry.tiles)))) for entry in batch]


def _joined(header: Header, parts: list[Tensor]) -> Tensor:
    """Return the latents of a picture, M×h×w, from those of its tiles."""
    whole = parts[0]
    if len(parts) > 1:
        whole = whole.new_empty(*tiling.latent_size(header.height, header.width), whole.shape[2])
        boxes = tiling.tiles(header.height, header.width, header.tile_size)
        for box, part in zip(boxes, parts, strict=True):
            whole[box.slices] = part
    return whole.permute(2, 0, 1)


class _Rows:
    """A dataset whose rows are only entropy decoded. Worker processes use it."""

    def __init__(self, dataset: Dataset, output: Output, precision: Precision | None) -> None:
        self.dataset = copy.copy(dataset)
        self.dataset.transform = None  # it may not be possible to send it to other processes
        self.output: Output = output
        self.precision = precision

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indexes: Sequence[int]) -> list[tuple[Coded | Samples, dict[str, Any]]]:
        files = [self.dataset.read(index) for index in indexes]
        values = [self.dataset.values(index) for index in indexes]
        places = [self.dataset.locate(index) for index in indexes]
        decode = functools.partial(
            entropy_decode, limits=self.dataset.limits, output=self.output, precision=self.precision
        )
        return list(zip(decode_named(decode, places, files), values, strict=True))


def _as_it_is(batch: Any) -> Any:
    return batch


class Loader:
    """An iterable over batches, as returned by `loader`. Its `len` is the number of batches."""

    def __init__(
        self, batches: DataLoader[Any], dataset: Dataset, codec: Codec, output: Output,
        transform: Callable[[Tensor], Any] | None,
    ) -> None:
        self.batches = batches
        """The `DataLoader` that provides the entropy-decoded batches."""
        self._dataset = dataset
        self._codec = codec
        self._output = output
        self._transform = transform
        self._model_ids: set[bytes] = set()

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for rows in self.batches:
            pictures: list[Any] = self._decoded([entry for entry, _ in rows])
            if self._transform is not None:
                pictures = [self._transform(picture) for picture in pictures]
            batch = {self._dataset.image_column: _stacked(pictures)}
            for name in self._dataset.columns:
                batch[name] = _column([values[name] for _, values in rows], self._codec.device)
            yield batch

    def _decoded(self, entries: list[Any]) -> list[Tensor]:
        if self._output == "pixels":
            return synthesise_batch(entries, self._codec)
        self._model_ids |= {entry.header.model_id for entry in entries}
        if len(self._model_ids) > 1:
            names = " and ".join(sorted(model_id.hex() for model_id in self._model_ids))
            raise FormatError(f"rows were written by models {names}, whose latents mean different things")
        return dequantise_batch(entries, self._codec)


def _stacked(pictures: list[Any]) -> Any:
    kinds = {(picture.shape, picture.dtype) if isinstance(picture, Tensor) else None for picture in pictures}
    return torch.stack(pictures) if len(kinds) == 1 and None not in kinds else pictures


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
    output: Output = "pixels",
    precision: Precision | None = None,
    transform: Callable[[Tensor], Any] | None = None,
    **options: Any,
) -> Loader:
    """Return an iterable over the batches of a dataset. Each batch is a dict.

    The pictures of a batch are on `device`. They are one tensor N×C×H×W if they have the same size,
    and a list of tensors C×H×W otherwise: uint8, or uint16 for more than 8 bits. Columns of numbers
    are tensors (int64, float64, bool). Other columns are lists. A column of numbers is also a list
    in a batch in which a number is missing.

    With `output="latents"`, dequantised latents take the place of the pictures: M×h×w float32, with
    h = ⌈H/16⌉ and w = ⌈W/16⌉. They are the input of the synthesis transform, which does not run.
    They hold the colour of a picture of any size and depth. Alpha and residual layers are left out.
    `FormatError` is raised for a picture that is stored losslessly and has no latents, and for
    pictures of several models, whose latents mean different things.

    Args:
        dataset: the dataset. Its own `transform` is not used here.
        num_workers: number of processes that read rows and decode symbols; 0 for this process. They
            also decode the pixels of pictures with alpha or of more than 8 bits, on their CPU.
        device: device of the float networks and of the tensors, for example "cuda"; None for the
            CPU.
        output: "pixels" or "latents".
        precision: "float32" or "bfloat16", as for `codec.decompress`; None for that of the dataset.
        transform: called with each picture C×H×W, or its latents M×h×w, on `device`, for example to
            crop it to a common size.
        options: options of `torch.utils.data.DataLoader`: sampler, drop_last, generator,
            multiprocessing_context, …

    In float32, samples may differ by one level from those of `codec.decompress`, because they are
    computed in batches.
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
    if output not in get_args(Output):
        raise ValueError(f"output must be 'pixels' or 'latents', not {output!r}")
    check_precision(precision)
    precision = precision or dataset.precision
    rows: Any = _Rows(dataset, output, precision)
    batches: DataLoader[Any] = DataLoader(
        rows, batch_size, shuffle, num_workers=num_workers, collate_fn=_as_it_is, **options
    )
    return Loader(batches, dataset, shared_codec(None, device, precision), output, transform)

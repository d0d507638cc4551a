"""Compressing and decompressing columns of batches: in Ray Data, and in all that maps functions over batches.

`compress` and `decompress` take a `ray.data.Dataset`. The classes behind them know nothing of Ray: what they
take and return is a dict of columns, as Daft, `datasets.map(batched=True)` and plain loops have them too.
"""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.api import Codec
from codec.coding.effort import DEFAULT_EFFORT, check_effort
from codec.engine.goal import DEFAULT_QUALITY, quality_level
from codec.errors import CodecError, FormatError, InvalidImage
from codec.extras import missing
from codec.format.metadata import Metadata
from codec.pictures.files import read_image
from codec.pictures.picture import Picture, Samples, to_picture

Batch = Mapping[str, Any]
"""Columns of equal length: ndarrays whose first axis is that of the rows, or lists."""

OnError = Literal["raise", "record"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Map(ABC):
    """A column to another, in place. The weights are loaded with the first batch, and never pickled."""

    def __init__(
        self, column: str, model: str | os.PathLike[str] | None, device: str | None, threads: int | None,
        on_error: OnError, path: str,
    ) -> None:
        if on_error not in ("raise", "record"):
            raise ValueError(f"on_error must be 'raise' or 'record', not {on_error!r}")
        self.column = column
        self.model = model
        self.device = device
        self.threads = threads
        self.on_error = on_error
        self.path = path
        self._codec: Codec | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_codec": None}

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """The batch with the column replaced; see the class. The batch that is given stays as it is."""
        if self.column not in batch:
            raise ValueError(f"there is no column {self.column!r}; there are: {', '.join(batch)}")
        values = list(batch[self.column])
        paths = list(batch[self.path]) if self.path in batch else list(map(_path_of, values))
        rows = self._run(values)
        errors = {row: done for row, done in enumerate(rows) if isinstance(done, Exception)}
        result = {**batch, self.column: self._pack(rows, paths)}
        if self.on_error == "record":
            # What is missing because something failed earlier keeps the first message.
            before = batch.get("error", [None] * len(rows))
            result["error"] = [
                first or (str(errors[row]) if row in errors else None) for row, first in enumerate(before)
            ]
        elif errors:
            row, error = next(iter(errors.items()))
            where = f"row {row}" if paths[row] is None else f"row {row} ({paths[row]})"
            raise type(error)(f"{where}: {error}") from error
        return result

    def _run(self, values: list[Any]) -> list[Any]:
        """What becomes of each row: a result, or the error."""
        rows: list[Any] = [_attempt(self._open, value) for value in values]
        good = [row for row, item in enumerate(rows) if not isinstance(item, Exception)]
        items = [rows[row] for row in good]
        if not items:
            return rows
        if self._codec is None:
            self._codec = Codec(model=self.model, device=self.device, threads=self.threads)
        codec = self._codec
        results: list[Any]
        try:
            results = self._map(codec, items)
        except CodecError:  # one of them, and alone each says what it has
            results = [_attempt(lambda item: self._map(codec, [item])[0], item) for item in items]
        for row, result in zip(good, results, strict=True):
            rows[row] = result
        return rows

    @abstractmethod
    def _open(self, value: Any) -> Any:
        """What `_map` takes of a row; `CodecError` or `OSError` if it is none."""

    @abstractmethod
    def _map(self, codec: Codec, items: list[Any]) -> list[Any]:
        """The result of each item; `CodecError` if there is none for one of them."""

    @abstractmethod
    def _pack(self, rows: list[Any], paths: list[Any]) -> Any:
        """The new column of the rows' results or errors."""


class Compress(_Map):
    """Pictures to `.cae` files.

    The column holds pictures as arrays H×W, H×W×1 or as `codec.compress` takes them (all of one size may be
    stacked: N×H×W×C), or picture files that Pillow reads (PNG, JPEG, …), which are turned upright: their
    bytes, their names, or structs `{"bytes", "path"}`, where None in `bytes` stands for the file at `path`.
    It becomes a list of structs `{"bytes": the .cae file, "path": str or None}`, the layout of
    `datasets.Image`; the path is that of the column `path` if there is one, else the name or the struct's.

    Args:
        column: name of the column.
        quality, effort, model, device: as for `codec.compress`.
        threads: CPU threads to use; None leaves torch's setting alone.
        strip: leave out the ICC profile, EXIF and XMP of picture files.
        on_error: what to do about a row that is no picture: "raise" an error that names the row and its path,
            or "record": the row becomes None, and a column `error` has the message (None for other rows).
        path: name of a column of paths.

    Raises `ValueError` or `TypeError` for wrong arguments; with a batch also `UnknownModel`, and with "raise"
    what `codec.compress` raises, and `OSError`.
    """

    def __init__(
        self,
        column: str = "image",
        *,
        quality: float = DEFAULT_QUALITY,
        effort: int = DEFAULT_EFFORT,
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
        threads: int | None = None,
        strip: bool = False,
        on_error: OnError = "raise",
        path: str = "path",
    ) -> None:
        quality_level(quality)
        check_effort(effort)
        super().__init__(column, model, device, threads, on_error, path)
        self.quality = quality
        self.effort = effort
        self.strip = strip

    def _open(self, value: Any) -> tuple[Picture, Metadata]:
        if isinstance(value, Mapping):
            value = value["path"] if value.get("bytes") is None else value["bytes"]
        if value is None:
            raise InvalidImage("there is no picture")
        if isinstance(value, (bytes, bytearray, memoryview)):
            value = io.BytesIO(value)
        if isinstance(value, (io.BytesIO, str)):
            picture, metadata = read_image(value)
            return picture, Metadata() if self.strip else metadata
        if isinstance(value, np.ndarray) and value.ndim == 3 and value.shape[2] == 1:
            value = value[:, :, 0]
        return to_picture(value), Metadata()

    def _map(self, codec: Codec, items: list[tuple[Picture, Metadata]]) -> list[bytes]:
        plain = iter(codec.compress_batch(
            [picture for picture, metadata in items if not metadata], quality=self.quality, effort=self.effort
        ))
        return [
            codec.compress(picture, quality=self.quality, effort=self.effort, metadata=metadata)
            if metadata else next(plain)
            for picture, metadata in items
        ]

    def _pack(self, rows: list[Any], paths: list[Any]) -> list[dict[str, Any] | None]:
        names = [None if path is None else str(path) for path in paths]
        return [
            None if isinstance(data, Exception) else {"bytes": data, "path": name}
            for data, name in zip(rows, names, strict=True)
        ]


class Decompress(_Map):
    """`.cae` files to pictures.

    The column holds files as bytes, or as structs `{"bytes", "path"}` as `Compress` makes them. It becomes
    one ndarray N×H×W×C, uint8 or uint16, if all pictures have one shape and dtype, else an object array of N
    arrays H×W×C. Gray has C = 1 here, unlike from `codec.decompress`: the arrays of a column must have as
    many dimensions in all batches.

    Args:
        column: name of the column.
        device, threads: as for `Compress`.
        on_error: what to do about a row that is no whole file: "raise" an error that names the row and its
            path, or "record": the row becomes an empty array 0×0×3, and a column `error` has the message
            (None for other rows).
        path: name of a column of paths, for messages.

    Raises `ValueError` for wrong arguments; with a batch and "raise" what `codec.decompress` raises.
    """

    def __init__(
        self,
        column: str = "image",
        *,
        device: str | None = None,
        threads: int | None = None,
        on_error: OnError = "raise",
        path: str = "path",
    ) -> None:
        super().__init__(column, None, device, threads, on_error, path)

    def _open(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            value = value["bytes"]
        if value is None:
            raise FormatError("there is no file")
        return value

    def _map(self, codec: Codec, items: list[Any]) -> list[Samples]:
        pictures = codec.decompress_batch(items)
        return [picture[:, :, None] if picture.ndim == 2 else picture for picture in pictures]

    def _pack(self, rows: list[Any], paths: list[Any]) -> NDArray[Any]:
        dtype = next((picture.dtype for picture in rows if isinstance(picture, np.ndarray)), np.uint8)
        # Not None: Ray has no type for arrays some of which are missing.
        empty = np.zeros((0, 0, 3), dtype)
        pictures = [empty if isinstance(picture, Exception) else picture for picture in rows]
        if pictures and len({(picture.shape, picture.dtype) for picture in pictures}) == 1:
            return np.stack(pictures)
        column = np.empty(len(pictures), object)
        for row, picture in enumerate(pictures):
            column[row] = picture
        return column


def compress(
    dataset: Any, column: str = "image", *, actors: int = 2, device: str = "cpu", cpus: int = 1,
    batch_size: int = 32, **options: Any,
) -> Any:
    """A `ray.data.Dataset` with pictures compressed by a pool of actors, each with its own copy of the model.

    Args:
        dataset: a `ray.data.Dataset`.
        column, options: those of `Compress`.
        actors: how many at most; Ray starts one, and more as there is room for them.
        device: "cpu", or "cuda" for a GPU of its own for each actor.
        cpus: threads of each actor, and without a GPU as many of Ray's CPU cores. Ray needs at least one core
            more than that, or nothing is left to read with and it waits without end.
        batch_size: rows that an actor works on at a time, and holds in memory.

    Columns have their types, `struct<bytes: binary, path: string>` and `error: string`, even where all rows
    of a batch are None: files that `write_parquet` writes can be read together.

    Raises `MissingExtra` without Ray, and as `Compress`. What happens in actors Ray raises, when the dataset
    is used.
    """
    work = Compress(column, device=device, threads=cpus, **options)
    return _map_batches(dataset, work, actors, cpus, batch_size)


def decompress(
    dataset: Any, column: str = "image", *, actors: int = 2, device: str = "cpu", cpus: int = 1,
    batch_size: int = 32, **options: Any,
) -> Any:
    """The inverse: arguments and errors as for `compress`, `options` those of `Decompress`.

    The column becomes one of Ray's tensors, of one dtype: pictures of 8 and of 16 bits cannot be in one
    dataset.
    """
    work = Decompress(column, device=device, threads=cpus, **options)
    return _map_batches(dataset, work, actors, cpus, batch_size)


def _map_batches(dataset: Any, work: _Map, actors: int, cpus: int, batch_size: int) -> Any:
    try:
        import ray.data
    except ImportError as error:
        raise missing("ray", "ray") from error
    gpu = (work.device or "cpu").startswith("cuda")
    return dataset.map_batches(
        _Actor,
        fn_constructor_kwargs={"work": work},
        # Not a fixed size: a pool that waits for all of its actors leaves no core to who feeds it.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        batch_size=batch_size,
        num_cpus=None if gpu else cpus,  # of both at once Ray warns
        num_gpus=1 if gpu else None,
    )


class _Actor:
    """Gives columns the types that Ray would guess from the rows of a batch, each time anew."""

    def __init__(self, work: _Map) -> None:
        self.work = work

    def __call__(self, batch: Batch) -> dict[str, Any]:
        import pyarrow as pa

        result = self.work(batch)
        types = {"error": pa.string()} if self.work.on_error == "record" else {}
        if isinstance(self.work, Compress):
            types[self.work.column] = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        return {name: pa.array(of, types[name]) if name in types else of for name, of in result.items()}


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    try:
        return function(item)
    except (CodecError, OSError) as error:
        return error


def _path_of(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return value.get("path")
    return value if isinstance(value, str) else None

"""Compression and decompression of columns of batches, in Ray Data and other batch pipelines.

`compress` and `decompress` take a `ray.data.Dataset`. The classes `Compress` and `Decompress` do
not depend on Ray. They take and return a dict of columns, so that they also work with Daft,
`datasets.map(batched=True)` and plain loops.
"""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.api import Codec
from codec.coding.effort import DEFAULT_EFFORT, check_effort
from codec.engine.goal import DEFAULT_QUALITY, quality_level
from codec.engine.worker import check_precision
from codec.errors import CodecError, FormatError, InvalidImage
from codec.extras import missing
from codec.format.metadata import Metadata
from codec.pictures.decoded import Decoded, check_bands, choose
from codec.pictures.picture import Picture, Samples, to_picture
from codec.pictures.reading import read_image

if TYPE_CHECKING:
    from codec.model.runtime import Precision

Batch = Mapping[str, Any]
"""Columns of equal length: lists, or ndarrays whose first axis is the axis of the rows."""

OnError = Literal["raise", "record"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Map(ABC):
    """Base class of `Compress` and `Decompress`: replaces one column of a batch.

    The weights are loaded with the first batch and are never pickled.
    """

    def __init__(
        self, column: str, model: str | os.PathLike[str] | None, device: str | None, threads: int | None,
        on_error: OnError, path: str, precision: Precision | None = None,
    ) -> None:
        check_precision(precision)
        if on_error not in ("raise", "record"):
            raise ValueError(f"on_error must be 'raise' or 'record', not {on_error!r}")
        self.column = column
        self.model = model
        self.device = device
        self.threads = threads
        self.on_error = on_error
        self.path = path
        self.precision = precision
        self._codec: Codec | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_codec": None}

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Return the batch with the column replaced; see the class. `batch` is not changed."""
        if self.column not in batch:
            raise ValueError(f"no column {self.column!r} in the batch, only: {', '.join(batch)}")
        values = list(batch[self.column])
        paths = list(batch[self.path]) if self.path in batch else list(map(_path_of, values))
        rows = self._run(values)
        errors = {row: done for row, done in enumerate(rows) if isinstance(done, Exception)}
        result = {**batch, self.column: self._pack(rows, paths)}
        if self.on_error == "record":
            # A row that already failed in an earlier step keeps its first message.
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
        """Return the result of each row, or its error."""
        rows: list[Any] = [_attempt(self._open, value) for value in values]
        items = [item for item in rows if not isinstance(item, Exception)]
        if not items:
            return rows
        if self._codec is None:
            self._codec = Codec(
                model=self.model, device=self.device, threads=self.threads, precision=self.precision
            )
        codec = self._codec
        try:
            results = self._map(codec, items)
        except CodecError:  # one item failed: repeat them one by one to find its error
            results = [_attempt(lambda item: self._map(codec, [item])[0], item) for item in items]
        done = iter(results)
        return [item if isinstance(item, Exception) else next(done) for item in rows]

    @abstractmethod
    def _open(self, value: Any) -> Any:
        """Convert a row to an item for `_map`. Raises `CodecError` or `OSError` if this fails."""

    @abstractmethod
    def _map(self, codec: Codec, items: list[Any]) -> list[Any]:
        """Return the result of each item. Raises `CodecError` if one of them fails."""

    @abstractmethod
    def _pack(self, rows: list[Any], paths: list[Any]) -> Any:
        """Return the new column, given the result or error of each row."""


class Compress(_Map):
    """Compresses a column of pictures to `.cae` files.

    A row of the column is a picture or a picture file:

    - A picture is an array H×W, H×W×1 or any other that `codec.compress` accepts. Pictures of one
      size may be stacked as N×H×W×C.
    - A picture file is a file that Pillow reads (PNG, JPEG, …), given by its bytes, its name, or a
      struct `{"bytes", "path"}`. If `bytes` is None, the file at `path` is read. Picture files are
      turned upright.

    The column becomes a list of structs `{"bytes": the .cae file, "path": str or None}`, the layout
    of `datasets.Image`. The path is taken from the column `path` if there is one, otherwise it is
    the name of the file or the path in the struct.

    Args:
        column: name of the column.
        quality, effort, model, device: as for `codec.compress`.
        threads: number of CPU threads; None keeps torch's setting.
        strip: leave out the metadata of picture files: ICC profile, EXIF, XMP and code points.
        bands: numbers, from 1 on, of the bands to take of each picture: 1 or 3, and one more for
            alpha. None refuses pictures with more bands than the codec holds.
        on_error: what to do with a row that is not a picture. "raise" raises an error that names
            the row and its path. With "record" the row becomes None, and a column `error` holds the
            message (None for other rows).
        path: name of a column of paths.

    Raises `ValueError` or `TypeError` for wrong arguments. A call with a batch also raises
    `UnknownModel` and, with "raise", `OSError` and the errors of `codec.compress`.
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
        bands: Sequence[int] | None = None,
        on_error: OnError = "raise",
        path: str = "path",
    ) -> None:
        quality_level(quality)
        check_effort(effort)
        check_bands(bands)
        super().__init__(column, model, device, threads, on_error, path)
        self.quality = quality
        self.effort = effort
        self.strip = strip
        self.bands = None if bands is None else tuple(bands)

    def _open(self, value: Any) -> tuple[Picture, Metadata]:
        if isinstance(value, Mapping):
            value = value["path"] if value.get("bytes") is None else value["bytes"]
        if value is None:
            raise InvalidImage("there is no picture")
        if isinstance(value, (bytes, bytearray, memoryview)):
            value = io.BytesIO(value)
        try:
            if isinstance(value, (io.BytesIO, str)):
                return read_image(value, bands=self.bands, strip=self.strip)
            if self.bands is not None:
                if not isinstance(value, np.ndarray) or value.ndim != 3:
                    raise InvalidImage("bands can be chosen of picture files and of arrays H×W×C only")
                value = choose(Decoded(value), check_bands(self.bands)).samples[:, :]
        except ValueError as error:  # a band that this picture does not have
            raise InvalidImage(str(error)) from None
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
    """Decompresses a column of `.cae` files to pictures.

    A row of the column is a file as bytes, or a struct `{"bytes", "path"}` as `Compress` returns
    it. The column becomes one ndarray N×H×W×C, uint8 or uint16, if all pictures have the same shape
    and dtype. Otherwise it becomes an object array of N arrays H×W×C. Gray has C = 1 here, unlike
    in `codec.decompress`, because the arrays of a column must have the same number of dimensions in
    all batches.

    Args:
        column: name of the column.
        device, threads: as for `Compress`.
        precision: "float32" or "bfloat16", as for `codec.decompress`.
        on_error: what to do with a row that is not a complete file. "raise" raises an error that
            names the row and its path. With "record" the row becomes an empty array 0×0×3, and a
            column `error` holds the message (None for other rows).
        path: name of a column of paths, for messages.

    Raises `ValueError` for wrong arguments. A call with a batch and "raise" raises the errors of
    `codec.decompress`.
    """

    def __init__(
        self,
        column: str = "image",
        *,
        device: str | None = None,
        threads: int | None = None,
        precision: Precision | None = None,
        on_error: OnError = "raise",
        path: str = "path",
    ) -> None:
        super().__init__(column, None, device, threads, on_error, path, precision)

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
        # Not None, because Ray has no type for a column in which some arrays are missing.
        empty = np.zeros((0, 0, 3), dtype)
        pictures = [empty if isinstance(picture, Exception) else picture for picture in rows]
        if pictures and len({(picture.shape, picture.dtype) for picture in pictures}) == 1:
            return np.stack(pictures)
        return np.fromiter(pictures, object, len(pictures))


def compress(
    dataset: Any, column: str = "image", *, actors: int = 2, device: str = "cpu", cpus: int = 1,
    batch_size: int = 32, **options: Any,
) -> Any:
    """Return a `ray.data.Dataset` whose pictures are compressed by a pool of actors.

    Each actor has its own copy of the model.

    Args:
        dataset: a `ray.data.Dataset`.
        column, options: those of `Compress`.
        actors: maximum number of actors. Ray starts one, and more if there is room for them.
        device: "cpu", or "cuda" to give each actor its own GPU.
        cpus: number of threads of each actor. Without a GPU each actor also takes this number of
            Ray's CPU cores. Ray needs at least one core more than that. Otherwise no core is left
            for reading, and Ray waits forever.
        batch_size: number of rows that an actor processes at a time and holds in memory.

    The columns have the types `struct<bytes: binary, path: string>` and `error: string` even if all
    rows of a batch are None. Files that `write_parquet` writes can therefore be read together.

    Raises `MissingExtra` if Ray is not installed, and the same errors as `Compress`. Ray raises the
    errors of actors when the dataset is used.
    """
    work = Compress(column, device=device, threads=cpus, **options)
    return _map_batches(dataset, work, actors, cpus, batch_size)


def decompress(
    dataset: Any, column: str = "image", *, actors: int = 2, device: str = "cpu", cpus: int = 1,
    batch_size: int = 32, **options: Any,
) -> Any:
    """Return a `ray.data.Dataset` whose files are decompressed: the inverse of `compress`.

    Arguments and errors are those of `compress`, and `options` are those of `Decompress`. The
    column becomes a tensor column of Ray with one dtype, so that pictures of 8 and of 16 bits
    cannot be in one dataset.
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
        # Not a fixed size: a pool that waits for all of its actors leaves no core to feed it.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        batch_size=batch_size,
        num_cpus=None if gpu else cpus,  # Ray warns if both are given
        num_gpus=1 if gpu else None,
    )


class _Actor:
    """Sets the types of columns.

    Otherwise Ray would infer them from the rows of each batch.
    """

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

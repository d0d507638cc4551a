"""Rows of a shard from the items of a source: reading, compressing, and what is said about each."""

from __future__ import annotations

import collections
import contextlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from codec.api import Codec
from codec.data.layout import Account, Settings
from codec.data.packing.columns import Columns, size_of
from codec.data.sources import Item
from codec.engine.goal import quality_level
from codec.errors import CodecError, FormatError, InvalidImage, NotKept
from codec.format import container
from codec.format.header import SIGNATURE, Header, parse_header
from codec.format.metadata import Metadata
from codec.format.rows import TILE_SIZE, RowFormat
from codec.limits import Limits
from codec.model import registry
from codec.pictures import colour
from codec.pictures.decoded import Decoded, check_bands, choose
from codec.pictures.picture import Picture, to_picture
from codec.pictures.reading import read_image

_BATCH_PICTURES = 256
_BATCH_PIXELS = 1 << 23
_BATCH_BYTES = 1 << 26
"""Maximum number of pictures, of pixels, and of bytes in columns, that are compressed together."""

_BAD = (
    CodecError, OSError, ValueError, TypeError, KeyError, ArithmeticError, RuntimeError, MemoryError,
    LookupError, AttributeError,
)
"""Errors that a picture may raise, in Pillow, in pyarrow or here, if it cannot be packed."""

_Entry = tuple[Picture | bytes, Metadata]
"""A picture to compress and its metadata, or a `.cae` file that is not compressed again."""


class RowEncoder:
    """Turns items of a source into rows, in batches."""

    def __init__(self, settings: Settings, worker: Codec, limits: Limits) -> None:
        self.settings = settings
        self.worker = worker
        self.limits = limits

    def rows(
        self, items: Iterable[Item], columns: Columns, account: Account, told: Callable[[], None]
    ) -> Iterator[tuple[Item, bytes, dict[str, Any]]]:
        """Yield each item that can be packed, its row and the values of its columns.

        `items` are all items of one shard. Pictures may be rounded differently in another batch, so
        batches must not depend on where an earlier call was interrupted: none spans two shards.
        Everything else is added to the account. `told` is called after every batch.
        """
        for batch in self._batches(items, columns, account):
            encoded = self._encode([entry for _, _, entry in batch])
            for (item, values, _), data in zip(batch, encoded, strict=True):
                if isinstance(data, Exception):
                    account.failures.append(_failure(item, data))
                    continue
                account.bytes_out += len(data)
                yield item, data, values
            told()

    def _batches(
        self, items: Iterable[Item], columns: Columns, account: Account
    ) -> Iterator[list[tuple[Item, dict[str, Any], _Entry]]]:
        batch: list[tuple[Item, dict[str, Any], _Entry]] = []
        pixels = waiting = 0
        for item in items:
            account.items += 1
            try:
                # First, so that the types do not depend on which pictures are bad.
                values = columns.take(item.columns)
                if item.path is not None:
                    item.path.encode()
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("ignore")
                    warnings.simplefilter("always", NotKept)
                    content = item.load()
                    account.bytes_in += len(content) if isinstance(content, bytes) else 0
                    picture, about = self._read(content)
            except _BAD as error:
                account.failures.append(_failure(item, error))
                continue
            self._note(account, about, caught, values)
            if not self.settings.metadata:
                about = Metadata()
            sized: Picture | Header
            sized = picture if isinstance(picture, Picture) else parse_header(memoryview(picture))[0]
            size = sized.height * sized.width
            account.pixels += size
            if batch and pixels + size > _BATCH_PIXELS:
                yield batch
                batch, pixels, waiting = [], 0, 0
            batch.append((item, values, (picture, about)))
            pixels += size
            waiting += size_of(values)
            if len(batch) == _BATCH_PICTURES or waiting > _BATCH_BYTES:
                yield batch
                batch, pixels, waiting = [], 0, 0
        yield batch

    def _note(
        self, account: Account, about: Metadata, caught: list[warnings.WarningMessage],
        values: dict[str, Any],
    ) -> None:
        """Count what is not kept of a picture and of the files that its columns name."""
        notes = {
            f"column {name} names files, whose content is not kept" for name, value in values.items()
            if isinstance(value, dict) and value.keys() == {"bytes", "path"}
            and value["bytes"] is None and value["path"] is not None
        }
        for warning in caught:
            listed = getattr(warning.message, "items", ()) or [warning.message]
            notes |= {f"NotKept: {item}" for item in listed}
        if about and not self.settings.metadata:
            # Pictures without code points have those of sRGB anyway.
            lost = [name for name in about.names if name != "cicp" or about.cicp != colour.SRGB]
            notes |= {f"{name} left out" for name in lost}
        for note in sorted(notes):
            account.notes[note] = account.notes.get(note, 0) + 1

    def _read(self, content: Any) -> _Entry:
        """Return a picture and its metadata, or a `.cae` file unchanged."""
        bands = self.settings.bands
        if isinstance(content, (bytes, bytearray, memoryview)):
            data = bytes(content)
            if data.startswith(SIGNATURE):
                file = container.read(memoryview(data))
                file.check_payloads()
                header = file.header
                self.limits.check(header.height, header.width)
                if not header.stored and header.model_id.hex() != self.worker.model_id:
                    registry.by_id(header.model_id)
                return data, Metadata()
            return read_image(io.BytesIO(data), self.limits, bands=bands)
        if bands is not None:
            if not isinstance(content, np.ndarray) or content.ndim != 3:
                raise InvalidImage("bands can be chosen of picture files and of arrays H×W×C only")
            content = choose(Decoded(content), check_bands(bands)).samples[:, :]
        picture = to_picture(content, self.limits)
        if isinstance(picture.samples, np.ndarray):
            # The owner may write the next picture into the same memory before this one is coded.
            return Picture(picture.samples.copy(), picture.depth, picture.source), Metadata()
        return picture, Metadata()

    def common_rows(self, items: Iterable[Item]) -> RowFormat:
        """Return the row format for the most common shape of these items."""
        shapes: collections.Counter[tuple[int, int, int]] = collections.Counter()
        for item in items:
            with contextlib.suppress(*_BAD), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                picture = self._read(item.load())[0]
                if isinstance(picture, Picture) and max(picture.height, picture.width) <= TILE_SIZE:
                    shapes[picture.height, picture.width, picture.channels] += 1
        if not shapes:
            raise FormatError("none of the first pictures fits a bare row: pack whole files")
        height, width, channels = shapes.most_common(1)[0][0]
        level = quality_level(self.settings.quality)
        return RowFormat(bytes.fromhex(self.worker.model_id), level, height, width, channels)

    def _encode(self, entries: list[_Entry]) -> list[bytes | Exception]:
        """Return the row of each entry, or the error if the entry cannot be compressed."""
        found: dict[int, bytes | Exception] = {}
        together = []
        for index, (picture, metadata) in enumerate(entries):
            if isinstance(picture, bytes):
                found[index] = self._row(picture)
            elif metadata:
                found[index] = self._encode_alone(picture, metadata)
            else:
                together.append(index)
        pictures: list[Any] = [entries[index][0] for index in together]
        files: list[bytes | Exception]
        try:
            packed = self.worker.compress_batch(
                pictures, quality=self.settings.quality, effort=self.settings.effort, limits=self.limits
            )
            files = [self._row(data) for data in packed]
        except (CodecError, MemoryError):
            files = [self._encode_alone(picture, Metadata()) for picture in pictures]
        found.update(zip(together, files, strict=True))
        return [found[index] for index in range(len(entries))]

    def _encode_alone(self, picture: Any, metadata: Metadata) -> bytes | Exception:
        try:
            return self._row(self.worker.compress(
                picture, quality=self.settings.quality, effort=self.settings.effort, metadata=metadata,
                limits=self.limits,
            ))
        except (CodecError, MemoryError) as error:
            return error

    def _row(self, data: bytes) -> bytes:
        return data if self.settings.rows is None else self.settings.rows.pack(data)


def _failure(item: Item, error: BaseException) -> dict[str, str]:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return {"path": item.path or "", "error": " ".join((text or type(error).__name__).split())}

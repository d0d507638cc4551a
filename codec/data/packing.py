"""Packing a source into shards.

A shard is written completely or not at all. Packing continues after the last finished shard.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from codec.api import Codec
from codec.coding.effort import DEFAULT_EFFORT, check_effort
from codec.data.layout import Account, Settings, pyarrow, writer_schema
from codec.data.report import Report
from codec.data.shard_writer import ShardWriter
from codec.data.shards import Shard
from codec.data.sources import Item, Source, open_source
from codec.data.sums import add_sum, only_one
from codec.engine.goal import quality_level
from codec.errors import CodecError, FormatError, NotKept
from codec.format import container
from codec.format.header import MAX_LEVEL, SIGNATURE, parse_header
from codec.format.metadata import Metadata
from codec.format.rows import TILE_SIZE, RowFormat
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits
from codec.model import registry
from codec.pictures.atomic import replacing
from codec.pictures.picture import Picture, to_picture
from codec.pictures.reading import read_image
from codec.version import __version__

SHARD_ROWS = 4096

_BATCH_PICTURES = 256
_BATCH_PIXELS = 1 << 23
"""Maximum number of pictures, and of pixels, that are compressed together."""

_LOOK_AT = 64
"""Number of pictures from which the common properties of most rows are determined."""


def pack(
    source: Any,
    out: str | os.PathLike[str],
    *,
    quality: float = 75.0,
    effort: int = DEFAULT_EFFORT,
    bare: bool = False,
    metadata: bool = False,
    shard_rows: int = SHARD_ROWS,
    part: tuple[int, int] = (1, 1),
    kind: str | None = None,
    column: str | None = None,
    model: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Compress the pictures of a source into a folder of shards.

    Finished shards are skipped. To continue a call that was stopped, repeat it. The resulting
    folder is the same as without the interruption.

    Args:
        source: a folder, whose subfolders are the classes; Parquet files with encoded pictures;
            WebDataset tars; or an iterable of dicts with "image" (encoded bytes, or anything that
            `codec.compress` takes), optionally "path", and columns of plain values. `.cae` files
            are not compressed again.
        out: output folder. It is created if necessary.
        quality, effort, model, device, threads, limits: as for `codec.compress` and `codec.Codec`.
        bare: whether to write rows without headers (`codec.format.rows`), for pictures of up to
            about 128 pixels per side. Only this package can read them.
        metadata: whether to keep ICC profiles, EXIF and XMP. By default they are left out, and the
            report notes this.
        shard_rows: number of items of the source per shard.
        part: (k, n) packs part k of n, for example on one of n machines or devices. All parts are
            written to the same folder.
        kind: "folder", "parquet" or "webdataset", if the file names do not show it.
        column: column that contains the pictures, for a Parquet source.
        progress: called after every batch.

    Pictures that cannot be compressed are listed in `Report.failures`, and in the shard that lacks
    them. Raises `FormatError` if `out` contains another dataset, or if the source differs from the
    one from which a shard in `out` was made.
    """
    level = quality_level(quality)
    check_effort(effort)
    if not 1 <= part[0] <= part[1]:
        raise ValueError(f"part must be (k, n) with 1 ≤ k ≤ n, not {part}")
    if shard_rows < 1:
        raise ValueError(f"shard_rows must be at least 1, not {shard_rows}")
    opened = open_source(source, kind, column)
    count = opened.count()
    if count == 0:
        raise FormatError("the source has no pictures")
    worker = Codec(model=model, device=device, threads=threads)
    shards = None if count is None else -(-count // shard_rows)
    folder = Path(out)
    if isinstance(source, (str, os.PathLike)) and folder.exists() and folder.samefile(source):
        raise ValueError("a folder cannot be packed into itself")
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        column=opened.column, quality=level * 100 / MAX_LEVEL, effort=int(effort),
        model=worker.model_id, weights_sha256=worker.weights_sha256, package=__version__, shards=shards,
        shard_rows=shard_rows, metadata=metadata, max_pixels=limits.max_pixels,
    )
    packer = _Packer(folder, opened, settings, worker, limits)
    if bare:
        packer.find_rows()
    return packer.run(part, progress or (lambda report: None))


_BAD = (
    CodecError, OSError, ValueError, TypeError, KeyError, ArithmeticError, RuntimeError, MemoryError
)
"""Errors that a picture may raise, in Pillow, in pyarrow or here, if it cannot be packed."""

_Entry = tuple[Picture | bytes, Metadata]
"""A picture to compress and its metadata, or a `.cae` file that is not compressed again."""


class _Packer:
    """One call of `pack`."""

    def __init__(
        self, folder: Path, source: Source, settings: Settings, worker: Codec, limits: Limits
    ) -> None:
        self.folder = folder
        self.source = source
        self.settings = settings
        self.worker = worker
        self.limits = limits

    def find_rows(self) -> None:
        """Set the row format to the most common shape of the first pictures."""
        shapes: collections.Counter[tuple[int, int, int]] = collections.Counter()
        if self.source.count() is None:
            raise ValueError("bare rows need a source of files: the common shape is not known in advance")
        for item in self.source.items(0, _LOOK_AT):
            with contextlib.suppress(CodecError, OSError, ValueError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                picture = self._read(item.load())[0]
                if isinstance(picture, Picture) and max(picture.height, picture.width) <= TILE_SIZE:
                    shapes[picture.height, picture.width, picture.channels] += 1
        if not shapes:
            raise FormatError("none of the first pictures fits a bare row: pack whole files")
        height, width, channels = shapes.most_common(1)[0][0]
        level = quality_level(self.settings.quality)
        rows = RowFormat(bytes.fromhex(self.worker.model_id), level, height, width, channels)
        self.settings = dataclasses.replace(self.settings, rows=rows)

    def run(self, part: tuple[int, int], progress: Callable[[Report], None]) -> Report:
        report = Report(ignored=self.source.ignored)
        started = time.monotonic()
        total = self.settings.shards
        first, step = part[0] - 1, part[1]
        numbers = itertools.count(first, step) if total is None else range(first, total, step)
        finished: dict[int, Account] = {}
        if total is not None:
            for number in numbers:
                account = self._finished(number)
                if account is not None:
                    finished[number] = account
            count = self.source.count() or 0
            report.to_do = sum(
                min(self.settings.shard_rows, count - number * self.settings.shard_rows)
                for number in numbers if number not in finished
            )
        for number in numbers:
            account = finished.get(number) if total is not None else self._finished(number)
            there = account is not None
            if account is None:

                def told(pixels: int, bytes_in: int, bytes_out: int, items: int) -> None:
                    report.done += items
                    report.seconds = time.monotonic() - started
                    shown = dataclasses.replace(report)
                    shown.pixels += pixels
                    shown.bytes_in += bytes_in
                    shown.bytes_out += bytes_out
                    progress(shown)

                account = self._write(number, told)
                if account is None:  # the iterable has no more items
                    break
            report.skipped += there
            add_sum(self.folder, _name(number), fresh=not there)
            report.add(account)
            report.seconds = time.monotonic() - started
            progress(report)
            if total is None and account.items < self.settings.shard_rows:
                self._check_end(number, account)
                break
        return report

    def _check_end(self, number: int, account: Account) -> None:
        """Raise `FormatError` if an iterable has more items than when its last shard was made."""
        after = number * self.settings.shard_rows + account.items
        if next(self.source.items(after, after + 1), None) is not None:
            raise FormatError(
                f"the source has more items than when {_name(number)} was made: delete it and pack again"
            )

    def _finished(self, number: int) -> Account | None:
        """Return the account of a shard, or None if the shard does not exist.

        Raises `FormatError` if it is not the shard that this call would write.
        """
        path = self.folder / _name(number)
        if not path.exists():
            return None
        shard = Shard(path)
        if shard.settings is None or shard.account is None:
            raise FormatError(f"{path.name} was not written by this package: pack into another folder")
        theirs = dataclasses.replace(shard.settings, package=self.settings.package)
        if theirs != self.settings:
            ours, others = vars(self.settings), vars(theirs)
            changed = [f"{key} {others[key]}, not {ours[key]}" for key in ours if others[key] != ours[key]]
            raise FormatError(f"{path.name} was packed with {'; '.join(changed)}: pack into another folder")
        wanted = writer_schema(self.settings, self.source.fields)
        if not shard.schema.equals(wanted) or {**shard.features, **self.source.features} != shard.features:
            raise FormatError(
                f"{path.name} has different columns or classes than the source: pack into another folder"
            )
        start = number * self.settings.shard_rows
        if shard.account.source != self.source.digest(start, start + self.settings.shard_rows):
            raise FormatError(
                f"{path.name} was made from a different source: delete it, or pack into another folder"
            )
        return shard.account

    def _write(self, number: int, told: Callable[[int, int, int, int], None]) -> Account | None:
        start = number * self.settings.shard_rows
        account = Account(number=number, source=self.source.digest(start, start + self.settings.shard_rows))
        items = self.source.items(start, start + self.settings.shard_rows)
        first = next(items, None)
        if first is None:
            return None
        target = self.folder / _name(number)
        with only_one(self.folder / f".{target.name}.lock"):
            if target.exists():  # another process has just written it
                raise FormatError(f"{target.name} was written by another process: pack again to continue")
            for left in self.folder.glob(f".{target.name}-*.tmp"):  # written by a process that was killed
                left.unlink()
            self._write_rows(target, itertools.chain([first], items), account, told)
        return account

    def _write_rows(
        self, target: Path, items: Iterator[Item], account: Account,
        told: Callable[[int, int, int, int], None],
    ) -> None:
        seen = 0
        with replacing(target, prefix=f".{target.name}-") as file, ShardWriter(
            file, self.settings, self.source.fields, self.source.features
        ) as writer:
            for batch in self._batches(items, account):
                for (item, _), data in zip(batch, self._encode([entry for _, entry in batch]), strict=True):
                    if isinstance(data, Exception):
                        account.failures.append(_failure(item, data))
                        continue
                    writer.add(data, item.path, item.columns)
                    account.bytes_out += len(data)
                told(account.pixels, account.bytes_in, account.bytes_out, account.items - seen)
                seen = account.items
            writer.finish(account)

    def _batches(self, items: Iterator[Item], account: Account) -> Iterator[list[tuple[Item, _Entry]]]:
        batch: list[tuple[Item, _Entry]] = []
        pixels = 0
        for item in items:
            account.items += 1
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("ignore")
                    warnings.simplefilter("always", NotKept)
                    self._check_columns(item)
                    content = item.load()
                    account.bytes_in += len(content) if isinstance(content, bytes) else 0
                    picture, about = self._read(content)
            except _BAD as error:
                account.failures.append(_failure(item, error))
                continue
            notes = {f"NotKept: {warning.message}" for warning in caught}
            if about and not self.settings.metadata:
                notes |= {f"{name} left out" for name in about.names}
                about = Metadata()
            for note in notes:
                account.notes[note] = account.notes.get(note, 0) + 1
            size = picture.height * picture.width if isinstance(picture, Picture) else _pixels_of(picture)
            account.pixels += size
            if batch and pixels + size > _BATCH_PIXELS:
                yield batch
                batch, pixels = [], 0
            batch.append((item, (picture, about)))
            pixels += size
            if len(batch) == _BATCH_PICTURES:
                yield batch
                batch, pixels = [], 0
        yield batch

    def _check_columns(self, item: Item) -> None:
        """Raise the error that writing the row would raise."""
        if item.path is not None:
            item.path.encode()
        for field in self.source.fields:
            if item.columns.get(field.name) is not None:
                pyarrow().scalar(item.columns[field.name], field.type)

    def _read(self, content: Any) -> _Entry:
        """Return a picture and its metadata, or a `.cae` file unchanged."""
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
            return read_image(io.BytesIO(data), self.limits)
        return to_picture(content, self.limits), Metadata()

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
        try:
            files: list[bytes | Exception] = list(self._compress([entries[index][0] for index in together]))
        except (CodecError, MemoryError):
            files = [self._encode_alone(entries[index][0], Metadata()) for index in together]
        found.update(zip(together, files, strict=True))
        return [found[index] for index in range(len(entries))]

    def _compress(self, pictures: list[Any]) -> list[bytes]:
        effort = self.settings.effort
        files = self.worker.compress_batch(
            pictures, quality=self.settings.quality, effort=effort, limits=self.limits
        )
        return [self._row(data) for data in files]

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


def _pixels_of(data: bytes) -> int:
    header = parse_header(memoryview(data))[0]
    return header.width * header.height


def _failure(item: Item, error: BaseException) -> dict[str, str]:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return {"path": item.path or "", "error": " ".join((text or type(error).__name__).split())}


def _name(number: int) -> str:
    return f"shard-{number:05d}.parquet"

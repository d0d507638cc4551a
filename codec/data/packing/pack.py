"""Packing a source into shards.

A shard is written completely or not at all. Packing continues after the last finished shard.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import operator
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from codec.api import Codec, shared_codec
from codec.coding.effort import DEFAULT_EFFORT, check_effort
from codec.data.layout import Account, Settings
from codec.data.packing import append as appending
from codec.data.packing.arguments import chosen_bands, output_folder, pair, place_in, whole
from codec.data.packing.columns import BadValue, Columns
from codec.data.packing.existing import Existing, check_first, check_settings, shard_name
from codec.data.packing.report import Report
from codec.data.packing.rows import RowEncoder
from codec.data.packing.shard_writer import ShardWriter
from codec.data.sources import Source, open_source, unread
from codec.data.sums import NO_LOCKS, SUMS, add_sum, only_one
from codec.engine.goal import quality_level
from codec.errors import FormatError
from codec.format.header import MAX_LEVEL
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits
from codec.pictures.atomic import replacing
from codec.version import __version__

SHARD_ROWS = 4096

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
    image: str | None = None,
    bands: Sequence[int] | None = None,
    append: bool = False,
    model: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Compress the pictures of a source into a folder of shards.

    Finished shards are skipped. To continue a call that was stopped, repeat it. On the same machine
    with the same number of threads, the resulting folder is the same as without the interruption.

    Args:
        source: a folder, whose subfolders are the classes; Parquet files with encoded pictures;
            WebDataset tars; a `datasets.Dataset`; or an iterable of dicts with "image" (encoded
            bytes, or anything that `codec.compress` takes), optionally "path", and columns of plain
            values. `.cae` files are not compressed again.
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
        column: column that contains the pictures, if the source has columns.
        image: extension of the member that is the picture, for samples of a tar that have several
            pictures.
        bands: numbers, from 1 on, of the bands to take of each picture: 1 or 3, and one more for
            alpha. None refuses pictures with more bands than the codec holds.
        append: whether to add to a dataset what the source has in addition: items whose names are
            not packed yet go into new shards. Existing shards stay as they are.
        progress: called after every batch.

    Pictures that cannot be compressed, and values that their columns cannot hold exactly, are
    listed in `Report.failures`, and in the shard that lacks them. Raises `FormatError` if `out`
    contains another dataset, or if the source differs from the one from which a shard in `out` was
    made.
    """
    level = quality_level(quality)
    check_effort(effort)
    shard_rows = whole("shard_rows", shard_rows)
    first, parts = (whole("part", number) for number in pair(part))
    if first > parts:
        raise ValueError(f"part must be (k, n) with 1 ≤ k ≤ n, not {part}")
    chosen = chosen_bands(bands)
    folder = output_folder(out)
    opened = open_source(source, kind, column, image)
    count = opened.count()
    if count == 0:
        raise FormatError("the source has no pictures")
    if count is None and (append or bare):
        needs = "append needs" if append else "bare rows need"
        raise ValueError(f"{needs} a source whose number of pictures is known: files or a datasets.Dataset")
    inside = place_in(source, folder, opened)
    alone = threads is not None
    worker = Codec(model=model, device=device, threads=threads) if alone else shared_codec(model, device)
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        column=opened.column, quality=level * 100 / MAX_LEVEL, effort=int(effort),
        model=worker.model_id, weights_sha256=worker.weights_sha256, package=__version__,
        shards=None if count is None else -(-count // shard_rows), shard_rows=shard_rows,
        metadata=bool(metadata), max_pixels=operator.index(limits.max_pixels), bands=chosen, image=image,
    )
    report = Report(ignored=opened.ignored, notes=dict.fromkeys(opened.notes, 0))
    if inside is not None:
        report.ignored = [name for name in opened.ignored if not name.startswith(inside)]
    if (note := unread(report.ignored)) is not None:
        report.notes[note] = 0
    encoder = RowEncoder(settings, worker, limits)
    packer = _Packer(folder, opened, encoder, report, progress or (lambda report: None))
    packer.prepare(bare=bare, append=append, several=parts > 1)
    packer.run(first - 1, parts)
    return report


class _Packer:
    """One call of `pack`."""

    def __init__(
        self, folder: Path, source: Source, encoder: RowEncoder, report: Report,
        progress: Callable[[Report], None],
    ) -> None:
        self.folder = folder
        self.source = source
        self.encoder = encoder
        self.report = report
        self.progress = progress
        self.existing = Existing(folder)
        self.added: appending.Addition | None = None
        self.base: dict[int, Account] = {}
        """Accounts of the shards that exist before something is appended."""
        self.columns = None if source.fields is None else Columns(source.fields)
        """Types of the columns; None if they follow from the first shard, which is not there
        yet."""
        self.locks = True
        self.started = time.monotonic()

    @property
    def settings(self) -> Settings:
        return self.encoder.settings

    def prepare(self, *, bare: bool, append: bool, several: bool) -> None:
        """Check the folder, choose the row format, and find what to append."""
        numbers = self.existing.numbers()
        shards = self.existing.shards() if append else {}
        if bare:
            known = next((shard.settings.rows for shard in shards.values() if shard.settings), None)
            rows = known or self.encoder.common_rows(self.source.items(0, _LOOK_AT))
            self.encoder.settings = dataclasses.replace(self.settings, rows=rows)
        if append:
            for shard in shards.values():
                check_settings(shard, self.settings)
            self.added = appending.plan(shards, self.source, self.settings.shard_rows, several=several)
            self.source = self.added.source
            self.columns = Columns(self.source.fields)
            self.encoder.settings = dataclasses.replace(self.settings, shards=self.added.total)
            self.existing.appending = True
            self.report.notes |= self.added.notes
            self.base = {number: shard.account for number, shard in shards.items() if shard.account}
        elif self.columns is None and numbers:
            shard = self.existing.open(numbers[0])
            check_settings(shard, self.settings)
            fields = [field for field in shard.schema if field.name != shard.column]
            self.columns = Columns(fields, later=True)
            if numbers[0] == 0:
                check_first(shard, self.columns, self.source)

    def run(self, first: int, step: int) -> None:
        """Pack the shards whose numbers have the remainder `first` when divided by `step`."""
        rows = self.settings.shard_rows
        if self.settings.shards is None:
            self._run_unknown(first, step, rows)
            return
        numbers: Sequence[int] = range(self.settings.shards)
        if self.added is not None:
            numbers, retried = self.added.numbers, self.added.retried
            for number, account in self.base.items():
                if number % step == first and number not in numbers:
                    self._count(number, account, fresh=False)
            self.report.failures = [each for each in self.report.failures if each["path"] not in retried]
        jobs = [(number, place * rows) for place, number in enumerate(numbers) if number % step == first]
        finished = {number: self._finished(number, start) for number, start in jobs}
        self._check_other_parts(first, step)
        count = self.source.count() or 0
        self.report.to_do = sum(
            max(0, min(rows, count - start)) for number, start in jobs if finished[number] is None
        )
        for number, start in jobs:
            there = finished[number]
            self._count(number, there or self._write(number, start) or Account(), fresh=there is None)
            self.progress(self.report)

    def _check_other_parts(self, first: int, step: int) -> None:
        """Raise `FormatError` if another part was made from another state of the source.

        The last shard is enough: an item more or less shifts all items behind it.
        """
        total = self.settings.shards or 0
        others = [each for each in self.existing.numbers() if each % step != first and each < total]
        if others and self.added is None:
            self._finished(max(others), max(others) * self.settings.shard_rows)

    def _run_unknown(self, first: int, step: int, rows: int) -> None:
        """Pack an iterable, whose number of items is not known."""
        for number in itertools.count(first, step):
            there = self._finished(number, number * rows)
            account = there or self._write(number, number * rows)
            if account is None:  # the iterable has no more items
                if number == 0:
                    raise FormatError("the source has no pictures")
                break
            self._count(number, account, fresh=there is None)
            self.progress(self.report)
            if account.items < rows:
                self._check_end(number, account)
                break

    def _finished(self, number: int, start: int) -> Account | None:
        return self.existing.finished(number, start, self.settings, self.source)

    def _count(self, number: int, account: Account, *, fresh: bool) -> None:
        """Add a finished shard to the report, and its digest to the list of digests."""
        with _named(self.folder / SUMS):
            add_sum(self.folder, shard_name(number), fresh=fresh)
        self.report.skipped += not fresh
        self.report.add(account)
        self.report.seconds = time.monotonic() - self.started
        if not self.locks:
            self.report.notes[NO_LOCKS] = 0

    def _check_end(self, number: int, account: Account) -> None:
        """Raise `FormatError` if an iterable has more items than when its last shard was made."""
        after = number * self.settings.shard_rows + account.items
        if next(self.source.items(after, after + 1), None) is not None:
            raise FormatError(
                f"the source has more items than when {shard_name(number)} was made: delete it and pack again"
            )

    def _columns_of(self, number: int) -> Columns:
        """Return the columns of a shard.

        If the source has no schema, those of the first shard hold for all.
        """
        if self.columns is None:
            reserved = [self.source.column, f"{self.source.column}.bytes", f"{self.source.column}.path"]
            growing = Columns(None, reserved=reserved)
            if number == 0:
                return growing
            for item in self.source.items(0, self.settings.shard_rows):
                with contextlib.suppress(BadValue):  # the part that packs the first shard lists it
                    growing.take(item.columns)
            self.columns = Columns(growing.fields, later=True)
        return self.columns

    def _write(self, number: int, start: int) -> Account | None:
        """Write a shard. Return None if the source has no item at `start`."""
        columns = self._columns_of(number)
        account = Account(number=number, source=self.source.digest(start, start + self.settings.shard_rows))
        items = self.source.items(start, start + self.settings.shard_rows)
        first = next(items, None)
        if first is None and self.added is None:
            return None
        target = self.folder / shard_name(number)
        seen = 0

        def told() -> None:
            nonlocal seen
            self.report.done += account.items - seen
            seen = account.items
            self.report.seconds = time.monotonic() - self.started
            shown = dataclasses.replace(self.report)
            shown.pixels += account.pixels
            shown.bytes_in += account.bytes_in
            shown.bytes_out += account.bytes_out
            self.progress(shown)

        with only_one(self.folder / f".{target.name}.lock") as self.locks:
            if target.exists():  # another process has just written it
                raise FormatError(f"{target.name} was written by another process: pack again to continue")
            for left in self.folder.glob(f".{target.name}-*.tmp"):  # written by a process that was killed
                left.unlink()
            with _named(target), replacing(target, prefix=f".{target.name}-") as file, ShardWriter(
                file, target, self.settings, columns, self.source.features
            ) as writer:
                every = itertools.chain([] if first is None else [first], items)
                for item, data, values in self.encoder.rows(every, columns, account, told):
                    writer.add(data, item.path, values)
                writer.finish(account)
        if self.columns is None:
            self.columns = Columns(columns.fields, later=True)
        return account


@contextlib.contextmanager
def _named(target: Path) -> Iterator[None]:
    """Name the file in an error about the disk on which it is written."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            error.filename = os.fspath(target)
        raise

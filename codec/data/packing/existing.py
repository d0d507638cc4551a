"""The shards that a folder has before packing: whether this call may go on with them."""

from __future__ import annotations

import re
from pathlib import Path

from codec.data.layout import Account, Settings, writer_schema
from codec.data.packing.columns import BadValue, Columns
from codec.data.reading.shards import Shard
from codec.data.sources import Source
from codec.errors import FormatError

_NAME = re.compile(r"shard-(\d{5,})\.parquet", re.ASCII)

_WAY_OUT = "pass --append (append=True) to add what is new, or pack into another folder"


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.parquet"


class Existing:
    """The shards in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.appending = False

    def numbers(self) -> list[int]:
        """Return the numbers of the shards.

        Raises `FormatError` if there are other Parquet files, which readers would take for shards.
        """
        names = [path.name for path in self.folder.glob("*.parquet") if path.name[0] not in "._"]
        matches = {name: _NAME.fullmatch(name) for name in names}
        for name, match in matches.items():
            if match is None:
                raise FormatError(
                    f"{name} is not a shard of this package, and would be read as a part of the dataset: "
                    "pack into another folder"
                )
        return sorted(int(match[1]) for match in matches.values() if match)

    def shards(self) -> dict[int, Shard]:
        return {number: self.open(number) for number in self.numbers()}

    def open(self, number: int) -> Shard:
        """Open a shard. Raises `FormatError` if this package did not write it."""
        shard = Shard(self.folder / shard_name(number))
        if shard.settings is None or shard.account is None:
            raise FormatError(f"{shard.name} was not written by this package: pack into another folder")
        return shard

    def finished(self, number: int, start: int, settings: Settings, source: Source) -> Account | None:
        """Return the account of a shard, or None if the shard does not exist.

        Raises `FormatError` if it is not the shard with these settings and the items of the source
        from `start` on.
        """
        if not (self.folder / shard_name(number)).exists():
            return None
        shard = self.open(number)
        check_settings(shard, settings)
        if shard.settings is None or shard.settings.shards != settings.shards:
            raise self._changed(shard, settings, source)
        if source.fields is not None:
            wanted = writer_schema(settings, source.fields, source.features)
            features = {**shard.features, **source.features}
            if not shard.schema.equals(wanted) or features != shard.features:
                raise self._changed(
                    shard, settings, source, "has different columns or classes than the source"
                )
        if shard.account is None or shard.account.source != source.digest(start, start + settings.shard_rows):
            raise self._changed(shard, settings, source, "was made from a different source")
        return shard.account

    def _changed(self, shard: Shard, settings: Settings, source: Source, text: str = "") -> FormatError:
        """Return the error for a shard that was made from the source as it was before."""
        shards = self.shards()
        totals = {each.settings.shards for each in shards.values() if each.settings}
        if self.appending:
            return FormatError("the source has changed since appending began: append without --part first")
        if len(totals) > 1:
            return FormatError("pictures were appended to this folder: pass --append (append=True) here too")
        count, packed = source.count(), sum(each.account.items for each in shards.values() if each.account)
        total = max(each or 0 for each in totals)
        if len(shards) == total and packed != count:
            return FormatError(
                f"the source has {count} pictures, and this folder was packed from {packed}: {_WAY_OUT}"
            )
        if total != settings.shards:
            rows = settings.shard_rows
            begun = f"{(total - 1) * rows + 1} to {total * rows}"
            return FormatError(
                f"the source has {count} pictures, and had {begun} when packing began: {_WAY_OUT}"
            )
        return FormatError(f"{shard.name} {text}: delete it, or pack into another folder")


def check_settings(shard: Shard, settings: Settings) -> None:
    """Raise `FormatError` if a shard was packed in another way."""
    assert shard.settings is not None
    if settings.same_set(shard.settings):
        return
    ours, others = vars(settings), vars(shard.settings)
    changed = [
        f"{key} {others[key]}, not {ours[key]}" for key in ours
        if others[key] != ours[key] and key not in ("shards", "package", "rows")
    ]
    if ours["rows"] != others["rows"]:
        kinds = [
            "whole files" if rows is None else f"bare rows of {rows.height}×{rows.width}×{rows.channels}"
            for rows in (others["rows"], ours["rows"])
        ]
        changed.append(", not ".join(kinds))
    what = "; ".join(changed) or f"{'no ' if others['shards'] is None else 'a '}known number of shards"
    raise FormatError(f"{shard.name} was packed with {what}: pack into another folder")


def check_first(shard: Shard, columns: Columns, source: Source) -> None:
    """Raise `FormatError` if the first item of an iterable does not go with its first shard."""
    listed = {failure["path"] for failure in shard.account.failures} if shard.account else set()
    for item in source.items(0, 1):
        try:
            columns.take(item.columns)
        except BadValue as error:
            if item.path not in listed:
                text = f"{shard.name} has different columns than the source: {error}"
                raise FormatError(f"{text}; or pack into another folder") from None

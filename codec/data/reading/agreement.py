"""Agreement of the files of a dataset: settings, columns, names of classes, and shard numbers.

Every row of every file is read exactly once, or the dataset is refused:

- If every file has a shard number, they are read in the order of their numbers. No number may be
  missing. A number may occur several times only if the files together hold the rows of that shard.
- If no file has one, another tool wrote them. They are read in the order of their names.
- If only some have one, rows may be there twice, so they are refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from codec.data.layout import Settings, class_names, pyarrow
from codec.data.reading.shards import Shard
from codec.errors import FormatError


def in_reading_order(shards: list[Shard], *, whole: bool, partial: bool) -> tuple[list[Shard], int]:
    """Return the files in the order of their rows, and the number of shards that are missing.

    `whole` says whether the files are all files of a folder. Raises `FormatError` if rows may be
    there twice, and, for a whole folder unless `partial`, if shards are missing.
    """
    numbered = [shard for shard in shards if shard.account is not None]
    if not numbered or (len(shards) == 1 and not whole):
        return shards, 0
    if len(numbered) < len(shards):
        other = next(shard for shard in shards if shard.account is None)
        raise FormatError(
            f"{other.name} does not contain its shard number, but {numbered[0].name} does: rows may be "
            "there twice; keep either the shards of codec.data.pack or the files made from them"
        )
    there: dict[int, list[Shard]] = {}
    for shard in shards:
        assert shard.account is not None
        there.setdefault(shard.account.number, []).append(shard)
    for same in there.values():
        if len(same) > 1 and not same[0].is_made_of(same):
            raise FormatError(
                f"{same[0].name} and {same[1].name} are the same shard, and together they do not hold its "
                "rows once"
            )
    totals = [shard.settings.shards or 0 for shard in shards if shard.settings]
    wanted = max([max(there) + 1, *totals])
    missing = wanted - len(there) if whole else 0
    if missing and not partial:
        lacking = next(number for number in itertools.count() if number not in there)
        raise FormatError(
            f"{missing} of {wanted} shards are missing, the first is number {lacking}: finish packing, "
            "or open the dataset with partial=True"
        )
    return [shard for number in sorted(there) for shard in there[number]], missing


def common_settings(shards: Sequence[Shard]) -> Settings | None:
    """Return the settings of all shards; None if they differ or if another tool wrote them.

    Shards with numbers must have the same settings, except for the version of the package and the
    total number of shards.
    """
    known = [shard for shard in shards if shard.settings is not None]
    if not known:
        return None
    first = known[0]
    for shard in known:
        ours, theirs = vars(first.settings), vars(shard.settings)
        changed = [
            f"{name} {ours[name]} and {theirs[name]}" for name in ours
            if ours[name] != theirs[name] and name not in ("package", "shards")
        ]
        if changed and shard.account is not None:
            raise _different(first.name, shard.name, changed[0])
        if changed:
            return None
    return max(known, key=lambda shard: shard.settings.shards or 0 if shard.settings else 0).settings


def common_features(shards: Sequence[Shard]) -> dict[str, Any]:
    """Return Hugging Face's description of the columns.

    A list of names of classes may be longer in some files, which were packed later.
    """
    found: dict[str, Any] = {}
    origins: dict[str, Shard] = {}
    for shard in shards:
        for name, about in shard.features.items():
            known = found.setdefault(name, about)
            origin = origins.setdefault(name, shard)
            ours, theirs = class_names(known), class_names(about)
            if ours is None or theirs is None or ours == theirs:
                continue
            shorter = min(len(ours), len(theirs))
            if ours[:shorter] != theirs[:shorter]:
                raise _different(origin.name, shard.name, f"column {name!r} has other names of classes")
            if len(theirs) > len(ours):
                found[name], origins[name] = about, shard
    return found


def common_schema(shards: Sequence[Shard], wanted: Sequence[str] | None) -> Any:
    """Return the user's columns of all files. If columns are `wanted`, the others are not compared.

    Columns of partitions come last.
    """
    files = [(shard.name, _fields(shard)) for shard in shards]
    return pyarrow().schema(common_fields(files, wanted, "; name the columns to read with columns=[…]"))


def common_fields(
    files: Sequence[tuple[str, dict[str, Any]]], wanted: Sequence[str] | None = None, way_out: str = ""
) -> list[Any]:
    """Return the fields that hold the columns of all files, in the order of the first file.

    Each file is given by its name and its fields by name. Types may differ if one type holds the
    values of all files exactly. Columns may be in another order. Raises `FormatError` otherwise;
    `way_out` says what to do if a column is missing.
    """
    first, fields = files[0][0], dict(files[0][1])
    for other, theirs in files[1:]:
        for name in {**fields, **theirs} if wanted is None else wanted:
            if name not in fields and name not in theirs:
                continue
            if name not in fields or name not in theirs:
                there, lacking = (first, other) if name in fields else (other, first)
                raise _different(first, other, f"{lacking} lacks the column {name!r} of {there}{way_out}")
            kind = common_type(fields[name].type, theirs[name].type)
            if kind is None:
                raise _different(
                    first, other, f"the column {name!r} is {fields[name].type} in {first} and "
                    f"{theirs[name].type} in {other}"
                )
            nullable = fields[name].nullable or theirs[name].nullable
            fields[name] = fields[name].with_type(kind).with_nullable(nullable)
    return list(fields.values())


def _fields(shard: Shard) -> dict[str, Any]:
    pa = pyarrow()
    fields = {field.name: field.with_nullable(True) for field in shard.schema if field.name != shard.column}
    for name, value in shard.partition.items():
        kind = pa.null() if value is None else pa.int64() if isinstance(value, int) else pa.string()
        fields[name] = pa.field(name, kind)
    return fields


def common_type(ours: Any, theirs: Any) -> Any:
    """Return an Arrow type that holds the values of two types exactly; None if there is none."""
    pa = pyarrow()
    types = pa.types
    if ours.equals(theirs):
        return ours
    a, b = _plain(ours), _plain(theirs)
    if types.is_null(a) or types.is_null(b):
        return b if types.is_null(a) else a
    for large, small in ((pa.large_string(), pa.string()), (pa.large_binary(), pa.binary())):
        if {a, b} == {large, small}:
            return large
    if types.is_integer(a) and types.is_integer(b):
        if types.is_signed_integer(a) == types.is_signed_integer(b):
            return a if a.bit_width > b.bit_width else b
        signed, unsigned = (a, b) if types.is_signed_integer(a) else (b, a)
        wider = [kind for kind in (pa.int16(), pa.int32(), pa.int64()) if kind.bit_width > unsigned.bit_width]
        return max([signed, wider[0]], key=lambda kind: kind.bit_width) if wider else None
    if types.is_floating(a) and types.is_floating(b):
        return a if a.bit_width > b.bit_width else b
    if _is_list(a) and _is_list(b):
        item = common_type(a.value_type, b.value_type)
        return None if item is None else pa.large_list(item)
    if types.is_struct(a) and types.is_struct(b):
        names = [field.name for field in a]
        if sorted(names) != sorted(field.name for field in b):
            return None
        found = {name: common_type(a.field(name).type, b.field(name).type) for name in names}
        return None if None in found.values() else pa.struct(list(found.items()))
    if types.is_timestamp(a) and types.is_timestamp(b) and a.tz == b.tz:
        return max((a, b), key=lambda kind: ("s", "ms", "us", "ns").index(kind.unit))
    return a if a.equals(b) else None


def cast(array: Any, kind: Any) -> Any:
    """Return an array with the type that `common_type` gave."""
    pa = pyarrow()
    if array.type.equals(kind):
        return array
    try:
        return array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):  # fields in another order
        return pa.array(array.to_pylist(), kind)


def _plain(kind: Any) -> Any:
    """Return the type of the same values without dictionaries, views and extensions."""
    pa = pyarrow()
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind


def _is_list(kind: Any) -> bool:
    types = pyarrow().types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _different(one: str, other: str, why: str) -> FormatError:
    return FormatError(f"{other} and {one} belong to different datasets: {why}")

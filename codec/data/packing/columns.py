"""Columns of plain values: their types, and the check that a value is kept exactly.

Arrow converts some values without a word: 0.5 to the integer 0, a time with a zone to one without,
a dict to a struct that lacks some of its keys. So every value is compared with what it becomes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from codec.data.layout import pyarrow


class BadValue(ValueError):
    """A value that its column cannot hold exactly; the message names both."""


class Columns:
    """Types of the columns, and the check of each row.

    Args:
        fields: pyarrow's fields; None if they are to be derived from the values. A column then gets
            a type that holds all of its values exactly. A value for which there is no such type is
            refused, and the values before it decide.
        later: whether the fields are those of the first shard, because the source has no schema.
        reserved: names that no column may have.
    """

    def __init__(
        self, fields: list[Any] | None, *, later: bool = False, reserved: Collection[str] = ()
    ) -> None:
        self.growing = fields is None
        self._later = later
        self._reserved = reserved
        self._columns = {field.name: _Column(field.type) for field in fields or []}
        self._fields = {field.name: field for field in fields or []}

    @property
    def fields(self) -> list[Any]:
        if not self.growing:
            return list(self._fields.values())
        return [pyarrow().field(name, column.kind) for name, column in self._columns.items()]

    def take(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a row as they will be read.

        Raises `BadValue`, and then leaves the types as they are.
        """
        found: dict[str, _Column] = {}
        taken = {}
        for name, value in values.items():
            column = self._columns.get(name)
            if column is None:
                if not self.growing:
                    where = f"the first shard: {_WAY_OUT}" if self._later else "the source"
                    raise BadValue(f"column {name!r} is not among the columns of {where}")
                _check_name(name, self._reserved)
                column = _Column(pyarrow().null())
            plain = _plain(value)
            try:
                found[name] = column.with_value(plain) if self.growing else column
                taken[name] = _converted(plain, found[name].kind)
            except Exception as error:
                # Arrow calls methods of the values, so any error can come back.
                raise BadValue(self._reason(name, value, column, error)) from None
        self._columns |= found
        return taken

    def _reason(self, name: str, value: Any, column: _Column, error: Exception) -> str:
        if isinstance(value, pyarrow().Scalar):
            return f"column {name!r} is {column.kind}, and this value cannot be read ({error}): convert it"
        shown = _shown(value)
        if pyarrow().types.is_null(column.kind) and self.growing:
            return f"column {name!r} cannot hold {shown}: {' '.join(str(error).split())}"
        before = " because of the rows before" if self.growing else " in the first shard" * self._later
        way_out = f", or {_WAY_OUT}" if self._later else ""
        return (
            f"column {name!r} is {column.kind}{before}, which does not hold {shown} exactly: "
            f"convert it{way_out}"
        )


_WAY_OUT = "put such a row into the first shard, or pack a datasets.Dataset with Features"


def _check_name(name: Any, reserved: Collection[str]) -> None:
    if not isinstance(name, str):
        raise BadValue(f"{_shown(name)} is no name of a column: names are text")
    if name in reserved:
        raise BadValue(f"a column cannot be called {name!r}: the column of the pictures has this name")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadValue(f"{name!r} is no name of a column: it is not valid Unicode") from None


@dataclasses.dataclass(frozen=True)
class _Column:
    """The type of a column, and what is known of all values in it so far."""

    kind: Any
    fits: frozenset[str] = frozenset(("double", "unsigned", "ns"))
    """Other types that hold these values too: integers as "double" or as "unsigned" 64 bits, and
    times in "ns"."""

    def with_value(self, value: Any) -> _Column:
        """Return the column with one more value. Raises an error if no type holds all values."""
        kind = self.kind
        try:
            _converted(value, kind)
        except Exception:  # see `Columns.take`
            kind = _merged(kind, _natural(value), self.fits)
            _check_storable(kind)
        array = array_of([value], kind)
        return _Column(kind, frozenset(name for name in self.fits if _castable(array, _VARIANTS[name])))


def _converted(value: Any, kind: Any) -> Any:
    """Return what a value becomes in a column of this type.

    Raises an error unless it is the same.
    """
    if isinstance(value, pyarrow().Scalar):
        if value.type.equals(kind) and "[ns" in str(kind):  # Python's times have no nanoseconds
            return value
        value = value.as_py()
    if isinstance(value, np.ndarray) and _is_array_of(kind, value.dtype):
        return value.copy()  # the owner may put the next row into the same memory
    found = array_of([value], kind).to_pylist()[0]
    if not same(value, found):
        raise ValueError(f"it would become {_shown(found)}")
    return found


def _is_array_of(kind: Any, dtype: Any) -> bool:
    """Return whether a type holds arrays of this type of number as they are."""
    pa = pyarrow()
    plain = dtype.kind in "iuf" and dtype.isnative and pa.types.is_list(kind)
    return bool(plain and kind.value_type.equals(pa.from_numpy_dtype(dtype)))


_SIMPLE = frozenset((bool, int, float, str))
"""Types whose values in lists can be compared at once."""


def array_of(values: list[Any], kind: Any) -> Any:
    """Return an array of values that `Columns.take` returned."""
    pa = pyarrow()
    if isinstance(kind, pa.BaseExtensionType):
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, NotImplementedError, TypeError, ValueError):
            return kind.wrap_array(pa.array(values, kind.storage_type))
    return pa.array(values, kind)


def same(given: Any, found: Any) -> bool:
    """Return whether a value that was read is the one that was given.

    Tuples may become lists, NumPy's scalars Python's, integers floats of the same value, and keys
    that a dict lacks None.
    """
    if isinstance(given, np.ndarray):
        given = list(given) if given.dtype.kind in "mM" else given.tolist()
    if isinstance(found, np.ndarray):
        found = found.tolist()
    if isinstance(given, (np.datetime64, np.timedelta64)):
        if found is None:
            return bool(np.isnat(given))
        # What pandas returns for nanoseconds would be cut by NumPy's constructors.
        return bool((found.to_numpy() if hasattr(found, "to_numpy") else type(given)(found)) == given)
    if isinstance(given, np.generic):
        given = given.item()
    if given is None or found is None:
        return given is found
    if isinstance(found, dict):
        known = isinstance(given, Mapping) and set(given) <= set(found)
        return known and all(same(given.get(key), value) for key, value in found.items())
    if isinstance(found, (list, tuple)):
        if not isinstance(given, (list, tuple)) or len(given) != len(found):
            return False
        kinds = list(map(type, given))
        if _SIMPLE.issuperset(kinds) and kinds == list(map(type, found)) and list(given) == found:
            return True
        return all(map(same, given, found))
    if isinstance(given, bool) is not isinstance(found, bool):
        return False
    if isinstance(given, Decimal) is not isinstance(found, Decimal) and not isinstance(given, int):
        return False
    return bool(given == found or (given != given and found != found))


def size_of(value: Any) -> int:
    """Return about how many bytes of memory a value from `Columns.take` needs."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(map(size_of, value)) if isinstance(value, (list, tuple)) else 8


def _plain(value: Any) -> Any:
    """Return a value as Arrow takes it: arrays of several dimensions become lists of arrays."""
    if isinstance(value, (str, bytes, int, float, np.generic, type(None))):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(element) for key, element in value.items()}
    if type(value) is list and _SIMPLE.issuperset(map(type, value)):
        return value
    if type(value) in (list, tuple):  # the intervals of Arrow are other tuples
        return type(value)(map(_plain, value))
    if type(value).__name__ in ("NAType", "NaTType"):  # of pandas
        return None
    if isinstance(value, pyarrow().Scalar):
        return value if value.is_valid else None
    if hasattr(value, "__array__") and not isinstance(value, np.ndarray):  # tensors, for example
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    if isinstance(value, np.ndarray) and value.ndim != 1:
        return list(map(_plain, value)) if value.ndim else value[()]
    return value


def _natural(value: Any) -> Any:
    """Return the type that Arrow chooses for a value."""
    try:
        return pyarrow().array([value]).type
    except OverflowError:  # a Python integer from 2^63 on
        return pyarrow().uint64()


def _merged(kind: Any, other: Any, fits: frozenset[str]) -> Any:
    """Return the type for values of `kind`, which also fit `fits`, and for one value of `other`.

    Raises `TypeError` if there is none.
    """
    pa = pyarrow()
    is_a = pa.types
    pair = (kind, other)
    if kind == other or is_a.is_null(other):
        return kind
    if is_a.is_null(kind):
        return other
    if all(map(is_a.is_list, pair)):
        return pa.list_(_merged(kind.value_type, other.value_type, fits))
    if all(map(is_a.is_struct, pair)):
        fields = {field.name: field.type for field in kind}
        for field in other:
            fields[field.name] = _merged(fields.get(field.name, pa.null()), field.type, fits)
        return pa.struct(list(fields.items()))
    if all(map(is_a.is_integer, pair)):
        if is_a.is_signed_integer(kind) == is_a.is_signed_integer(other):
            return max(pair, key=lambda each: each.bit_width)
        if pa.uint64() not in pair:
            return pa.int64()
        if kind == pa.uint64() or "unsigned" in fits:
            return pa.uint64()
    if all(map(is_a.is_floating, pair)):
        return max(pair, key=lambda each: each.bit_width)
    if all(is_a.is_integer(each) or is_a.is_floating(each) for each in pair):
        if is_a.is_floating(kind) or "double" in fits:
            return pa.float64()
    elif _go_together(kind, other):
        finer = is_a.is_temporal(kind) and other.unit == "ns" and kind.unit != "ns"
        if not finer or "ns" in fits:
            if is_a.is_timestamp(kind) and kind.tz is not None:
                other = pa.timestamp(other.unit, kind.tz)
            both = [pa.schema([("x", each)]) for each in (kind, other)]
            return pa.unify_schemas(both, promote_options="permissive").field("x").type
    raise TypeError(f"{other} does not go with {kind}")


def _go_together(kind: Any, other: Any) -> bool:
    """Return whether Arrow's own common type of these types holds the values of both."""
    is_a = pyarrow().types
    if is_a.is_timestamp(kind) and is_a.is_timestamp(other):
        return (kind.tz is None) is (other.tz is None)
    if is_a.is_duration(kind) and is_a.is_duration(other):
        return True
    return all(is_a.is_integer(each) or is_a.is_decimal(each) for each in (kind, other))


def _check_storable(kind: Any) -> None:
    """Raise `TypeError` for a type that Parquet does not store: an empty struct."""
    if pyarrow().types.is_struct(kind) and kind.num_fields == 0:
        raise TypeError("Parquet does not store an empty dict")
    for number in range(kind.num_fields):
        _check_storable(kind.field(number).type)


def _castable(array: Any, variant: Any) -> bool:
    kind = _replaced(array.type, variant)
    if kind == array.type:
        return True
    try:
        array.cast(kind)
    except pyarrow().ArrowException:
        return False
    return True


_VARIANTS: dict[str, Any] = {
    "double": lambda pa, kind: pa.float64() if pa.types.is_integer(kind) else kind,
    "unsigned": lambda pa, kind: pa.uint64() if pa.types.is_integer(kind) else kind,
    "ns": lambda pa, kind: (
        pa.timestamp("ns", kind.tz) if pa.types.is_timestamp(kind)
        else pa.duration("ns") if pa.types.is_duration(kind) else kind
    ),
}
"""By name: the other type of a leaf."""


def _replaced(kind: Any, variant: Any) -> Any:
    """Return a type with another type for each leaf."""
    pa = pyarrow()
    if pa.types.is_list(kind):
        return pa.list_(_replaced(kind.value_type, variant))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _replaced(field.type, variant)) for field in kind])
    return variant(pa, kind)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"

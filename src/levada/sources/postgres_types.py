"""How PostgreSQL's values become Arrow's, with none of them changed.

A column whose type Arrow has travels as it is; any other is turned into text or a number by the server, in the
statement itself. What has no place in Arrow's type (infinite dates, 24:00, arrays of several dimensions or that do
not count from 1, a NaN among decimals) would arrive as another value: it is found in every batch, and its row told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pyarrow as pa

from levada.errors import SourceError
from levada.source import TYPE_KEY, Column, Unfit, compute, with_unfit
from levada.sources.statements import identifier

Array: TypeAlias = "pa.Array[pa.Scalar[pa.DataType]]"

PLAIN: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "bpchar": pa.string(),
    "name": pa.string(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
"""Types that the driver brings as they are."""

# 4713 BC, the first day that PostgreSQL knows, in days and microseconds before 1970. Infinity, and moments
# after the year 294246, overflow in the driver and come out far below.
_FIRST_DAY = -2_441_000
_FIRST_MICROSECOND = _FIRST_DAY * 86_400_000_000
_DAY_MICROSECONDS = 86_400_000_000


@dataclass(frozen=True, slots=True)
class _Item:
    """One column: how it is selected, and what it is to be. `shape`: the number of the column that tells an array's."""

    name: str
    sql: str
    type: pa.DataType
    native: str
    mark: bytes | None = None
    shape: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The statement that is run for a query, and what to make of its batches."""

    statement: str
    items: tuple[_Item, ...]
    schema: pa.Schema

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(Column(item.name, item.type, item.native) for item in self.items)

    def empty(self) -> pa.RecordBatch:
        return with_unfit(pa.RecordBatch.from_pylist([], schema=self.schema), [])

    def convert(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the columns' own types; values that they cannot hold are NULL, and told in UNFIT."""
        pc = compute()
        arrays = []
        unfit: list[Unfit] = []
        for index, item in enumerate(self.items):
            values = raw.column(index)
            found = _misshapen(raw.column(item.shape)) if item.shape is not None else []
            array, more = _converted(item, values)
            for rows, reason in (*found, *more):
                array = pc.if_else(rows, pa.scalar(None, array.type), array)
                unfit.append(Unfit(item.name, rows, f"{reason}, which cannot be kept exactly"))
            arrays.append(array)
        return with_unfit(pa.RecordBatch.from_arrays(arrays, schema=self.schema), unfit)


def type_of(field: pa.Field[pa.DataType]) -> str:
    """PostgreSQL's name of a column's type; an array's begins with an underscore."""
    return (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()


def reading(schema: pa.Schema, query: str, names: Mapping[str, str]) -> Reading:
    """How to read a query whose columns the server describes so. `names`: of types known by number only."""
    seen: set[str] = set()
    items: list[_Item] = []
    helpers: list[str] = []
    for field in schema:
        if field.name in seen:
            raise SourceError(
                f"the query has two columns named {field.name!r}",
                code="source.duplicate_column",
                hint="give one another name",
            )
        seen.add(field.name)
        item = _item(field, names)
        if type_of(field).startswith("_") and pa.types.is_list(field.type):
            helpers.append(_shape(identifier(field.name), several=item.mark == b"json"))
            item = replace(item, shape=len(schema) + len(helpers) - 1)
        items.append(item)
    selected = ", ".join([item.sql for item in items] + helpers)
    fields = [pa.field(item.name, item.type, metadata={TYPE_KEY: item.mark} if item.mark else None) for item in items]
    return Reading(f"SELECT {selected} FROM (\n{query}\n) AS levada_model", tuple(items), pa.schema(fields))


def _shape(column: str, *, several: bool) -> str:
    """1 for an array that counts from 1, in one dimension unless `several` are fine; else 0 or 2."""
    from_one = f"array_lower({column}, 1) = 1 AND coalesce(array_lower({column}, 2), 1) = 1"
    dimensions = "false" if several else f"array_ndims({column}) > 1"
    return (
        f"CASE WHEN {column} IS NULL OR array_ndims({column}) IS NULL THEN 1 WHEN {dimensions} THEN 2"
        f" WHEN {from_one} THEN 1 ELSE 0 END"
    )


def _item(field: pa.Field[pa.DataType], names: Mapping[str, str]) -> _Item:
    kind, name, column = type_of(field), field.name, identifier(field.name)
    native = names.get(kind, kind)
    as_text = f"{column}::text"
    if kind in PLAIN:
        return _Item(name, column, PLAIN[kind], native)
    if kind == "numeric":
        return _numeric(field, name, as_text)
    if kind in ("json", "jsonb"):
        return _Item(name, as_text, pa.string(), native, b"json")
    if kind == "uuid":
        return _Item(name, as_text, pa.string(), native, b"uuid")
    if kind == "oid":
        return _Item(name, f"{column}::int8", pa.int64(), native)
    if kind == "inet":
        # a cast would add /32 to a single address
        return _Item(name, f"abbrev({column})", pa.string(), native)
    if kind == "money":
        return _Item(name, f"{column}::numeric::text", pa.string(), native, b"numeric_text")
    if pa.types.is_struct(field.type):
        return _Item(name, f"to_json({column})::text", pa.string(), native, b"json")
    if kind.startswith("_") and pa.types.is_list(field.type):
        return _array(name, column, kind[1:], field.type)
    return _Item(name, as_text, pa.string(), native)


def _numeric(field: pa.Field[pa.DataType], name: str, as_text: str) -> _Item:
    modifier = int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1"))
    if modifier < 4:
        return _Item(name, as_text, pa.string(), "numeric", b"numeric_text")
    precision = ((modifier - 4) >> 16) & 0xFFFF
    scale = (((modifier - 4) & 0x7FF) ^ 1024) - 1024
    native = f"numeric({precision},{scale})"
    if precision <= 38 and 0 <= scale <= precision:
        return _Item(name, as_text, pa.decimal128(precision, scale), native)
    return _Item(name, as_text, pa.string(), native, b"numeric_text")


#: elements that a cast to text would write in another way than a column of them
_ELEMENTS = {"inet": "abbrev({})", "money": "{}::numeric::text"}


def _array(name: str, column: str, element: str, kind: pa.DataType) -> _Item:
    native = f"{element}[]"
    # the driver can bring no array that counts from elsewhere: it is left out here, and refused by its shape
    counted = f"CASE WHEN array_lower({column}, 1) = 1 OR array_ndims({column}) IS NULL THEN {column} END"
    if element in PLAIN:
        return _Item(name, counted, pa.list_(PLAIN[element]), native)
    if element in ("json", "jsonb") or (pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)):
        return _Item(name, f"to_json({column})::text", pa.string(), native, b"json")
    if element in _ELEMENTS:
        each = _ELEMENTS[element].format("e.v")
        listed = f"ARRAY(SELECT {each} FROM unnest({column}) WITH ORDINALITY AS e(v, n) ORDER BY e.n)"
        return _Item(name, f"CASE WHEN {column} IS NOT NULL THEN {listed} END", pa.list_(pa.string()), native)
    return _Item(name, f"({counted})::text[]", pa.list_(pa.string()), native)


_Found = list[tuple[Array, str]]
"""Rows whose value a column's type cannot hold, and why."""


def _converted(item: _Item, values: Array) -> tuple[Array, _Found]:
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_decimal128(item.type):
        return _decimals(item, values)
    if isinstance(values, pa.ListArray):
        listed = pa.ListArray.from_arrays(values.offsets, values.values, type=item.type, mask=values.is_null())
        return listed, [(_rows_of(values, items), f"{why} inside") for items, why in _beyond(values.flatten())]
    assert values.type == item.type, (item, values.type)
    return values, _beyond(values)


def _rows_of(lists: pa.ListArray[Any], items: Array) -> Array:
    """The rows whose list has one of the items that are marked."""
    pc = compute()
    parents = pc.unique(pc.list_parent_indices(lists).filter(items))
    found: Array = pc.is_in(pa.array(range(len(lists)), parents.type), value_set=parents)
    return found


def _decimals(item: _Item, texts: Array) -> tuple[Array, _Found]:
    pc = compute()
    assert isinstance(item.type, pa.Decimal128Type)
    assert isinstance(texts, pa.StringArray)
    # of all that the server writes of its own numeric(p, s) only NaN is no number
    odd = pc.fill_null(pc.invert(pc.match_substring_regex(texts, "^-?[0-9]*[.]?[0-9]+$")), False)
    # sign, leading zero and point may be there besides the digits; pyarrow's cast does not see an overflow
    long = pc.fill_null(pc.greater(pc.binary_length(texts), item.type.precision + 3), False)
    odd = pc.or_(odd, long)
    if not pc.any(odd).as_py():
        return pc.cast(texts, item.type), []
    kept = pc.if_else(odd, pa.scalar(None, pa.string()), texts)
    return pc.cast(kept, item.type), [(odd, "NaN, or a number that its type does not hold")]


def _beyond(values: Array) -> _Found:
    """Values that Arrow's type has no place for: they came out of the driver as others."""
    kind = values.type
    if pa.types.is_date32(kind):
        return _outside(values.view(pa.int32()), _FIRST_DAY, 2**31 - 2, "an infinite date")
    if pa.types.is_timestamp(kind):
        what = "infinity, or a moment after the year 294246"
        return _outside(values.view(pa.int64()), _FIRST_MICROSECOND, 2**63 - 2, what)
    if pa.types.is_time64(kind):
        return _outside(values.view(pa.int64()), 0, _DAY_MICROSECONDS - 1, "the time 24:00")
    return []


def _outside(values: Array, first: int, last: int, what: str) -> _Found:
    pc = compute()
    ends = pc.min_max(values)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is None or (low >= first and high <= last):
        return []
    return [(pc.fill_null(pc.or_(pc.less(values, first), pc.greater(values, last)), False), what)]


def _misshapen(shapes: Array) -> _Found:
    pc = compute()
    several = pc.fill_null(pc.equal(shapes, 2), False)
    elsewhere = pc.fill_null(pc.equal(shapes, 0), False)
    found = [(several, "an array of several dimensions"), (elsewhere, "an array that does not count from 1")]
    return [(rows, what) for rows, what in found if pc.any(rows).as_py()]

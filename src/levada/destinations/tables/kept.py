"""What a database holds, brought back into the types that a plan has: exactly, or named as not to be had.

The reverse of `values`. Few rows come this way: those that held something else than the plan says of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias, cast

import pyarrow as pa
import pyarrow.compute as pc

from levada.destinations.tables.values import is_nested, storage

ZONE = r"(Z|[+-]\d\d(:?\d\d)?)$"
Column: TypeAlias = "pa.ChunkedArray[Any]"
CANNOT_HOLD = (ValueError, TypeError, NotImplementedError, OverflowError)
"""What Python and Arrow (whose errors are of these classes) raise for a value that a type cannot hold."""


def fitted(column: Column, kind: pa.DataType) -> Column:
    """The values in type `kind`. One that has no exact place there is NULL."""
    column = _stored(column)
    if column.type == kind:
        return column
    if getattr(kind, "extension_name", "") == "arrow.uuid":
        return _by_value(column, kind, lambda text: bytes.fromhex(str(text).replace("-", "")))
    if is_nested(kind) and pa.types.is_string(column.type):
        decimals = "decimal" in str(kind)
        return _by_value(column, kind, lambda text: _from_json(str(text), kind, decimals=decimals))
    return _cast(_readable(column, kind), kind)


def _stored(column: Column) -> Column:
    """What an extension or dictionary type of the driver holds."""
    kind = column.type
    if getattr(kind, "extension_name", "") == "arrow.uuid":
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if isinstance(kind, pa.BaseExtensionType):
        chunks = [cast("Any", chunk).storage for chunk in column.chunks]
        return _stored(cast("Any", pa).chunked_array(chunks, type=kind.storage_type))
    return column.cast(storage(kind)) if pa.types.is_dictionary(kind) else column


def _readable(column: Column, kind: pa.DataType) -> Column:
    """Times of day and instants as Arrow reads them in text."""
    compute = cast("Any", pc)
    if not pa.types.is_string(column.type):
        return column
    if pa.types.is_time(kind):
        return cast("Column", compute.binary_join_element_wise("1970-01-01", column, " "))
    if pa.types.is_timestamp(kind) and cast("Any", kind).tz:
        named = compute.match_substring_regex(column, ZONE)
        return cast("Column", compute.if_else(named, column, compute.binary_join_element_wise(column, "Z", "")))
    return column


def _cast(column: Column, kind: pa.DataType) -> Column:
    """The values in a type, NULL for each that would not be the same there: found by halving."""
    try:
        return _exact(column, kind)
    except CANNOT_HOLD:
        if len(column) == 1:
            return pa.chunked_array([cast("Any", pa).nulls(1, kind)])
    half = len(column) // 2
    parts = [_cast(column.slice(0, half), kind), _cast(column.slice(half), kind)]
    chunks = [chunk for part in parts for chunk in part.chunks]
    return cast("Column", cast("Any", pa).chunked_array(chunks, type=kind))


def _exact(column: Column, kind: pa.DataType) -> Column:
    if pa.types.is_time(kind) and pa.types.is_string(column.type):
        return column.cast(pa.timestamp("us")).cast(pa.time64("us")).cast(kind)
    found = column.cast(kind)
    numbers = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if numbers and (pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        back = found.cast(column.type)
        same: Any = cast("Any", pc).fill_null(pc.equal(back, column), True)
        whole = pa.types.is_floating(column.type)
        nan: Any = pc.is_nan(column) if whole else pa.scalar(False)
        if not pc.all(cast("Any", pc).or_(same, cast("Any", pc).fill_null(nan, False))).as_py():
            raise ValueError("a number would be another one")
    return found


def _by_value(column: Column, kind: pa.DataType, read: Callable[[Any], Any]) -> Column:
    """Value by value, for the few types that Arrow reads no other way."""
    found: list[Any] = []
    for value in column.to_pylist():
        try:
            found.append(None if value is None else read(value))
        except (ArithmeticError, *CANNOT_HOLD):
            found.append(None)
    if isinstance(kind, pa.BaseExtensionType):
        inner = pa.array(found, kind.storage_type)
        return pa.chunked_array([cast("Any", kind).wrap_array(inner)])
    return pa.chunked_array([pa.array(found, kind)])


def _from_json(text: str, kind: pa.DataType, *, decimals: bool) -> Any:
    """A value that JSON text means. Raises ValueError if the type cannot hold all of it."""
    value = json.loads(text, parse_float=Decimal if decimals else float)
    held = cast("Any", pa).array([value], kind).to_pylist()[0]
    if not _same(value, held):
        raise ValueError("the type does not hold all of it")
    return held


def _same(value: Any, held: Any) -> bool:
    """Equal, but that an object may lack a member that is NULL."""
    if isinstance(value, dict) and isinstance(held, dict):
        return value.keys() <= held.keys() and all(_same(value.get(name), each) for name, each in held.items())
    if isinstance(value, list) and isinstance(held, list):
        return len(value) == len(held) and all(map(_same, value, held))
    numbers = (int, float, Decimal)
    if isinstance(value, numbers) and isinstance(held, numbers) and bool not in (type(value), type(held)):
        return bool(value == held)
    return type(value) is type(held) and bool(value == held)

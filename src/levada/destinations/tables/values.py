"""Arrow columns brought into the few forms that databases take, exactly or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute

from levada.destinations.tables.engine import Refused
from levada.sql.connection import connect
from levada.sql.text import formless, json_of
from levada.sql.types import type_of


def is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind))


def is_plain_list(kind: pa.DataType) -> bool:
    """A list of values that are not nested themselves."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind)) and not is_nested(cast("Any", kind).value_type)


def simple(kind: pa.DataType) -> pa.DataType | None:
    """The form in which values of an Arrow type travel; None for types that no database column holds.

    Integers widen to the next signed one, text and binary lose their width, instants count microseconds in UTC.
    """
    kind = storage(kind)
    types = pa.types
    widened: dict[pa.DataType, pa.DataType] = {
        pa.int8(): pa.int16(),
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20, 0),
        pa.float16(): pa.float32(),
        pa.date64(): pa.date32(),
        pa.null(): pa.string(),
    }
    if kind in widened:
        return widened[kind]
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_fixed_size_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_timestamp(kind):
        return pa.timestamp("us", "UTC") if cast("Any", kind).tz else pa.timestamp("us")
    if types.is_time(kind):
        return pa.time64("us")
    if types.is_decimal(kind):
        decimal = cast("Any", kind)
        return pa.decimal128(decimal.precision, decimal.scale) if decimal.precision <= 38 else kind
    if is_plain_list(kind):
        inner = simple(cast("Any", kind).value_type)
        return None if inner is None else pa.list_(inner)
    if kind in PLAIN or (is_nested(kind) and not _holds_binary(kind)):
        return kind
    return None


def _holds_binary(kind: pa.DataType) -> bool:
    """Bytes inside nested values have no exact form in JSON."""
    if not is_nested(kind):
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
    return any(_holds_binary(cast("Any", kind).field(index).type) for index in range(kind.num_fields))


PLAIN = (
    pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.date32(),
)  # fmt: skip


def storage(kind: pa.DataType) -> pa.DataType:
    """What an extension or dictionary type holds; UUIDs become text."""
    if getattr(kind, "extension_name", "") == "arrow.uuid":
        return pa.string()
    if isinstance(kind, pa.BaseExtensionType):
        return storage(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return storage(kind.value_type)
    return kind


def simplified(column: pa.ChunkedArray[Any], name: str) -> pa.ChunkedArray[Any]:
    """A column in its `simple` form. Raises Refused if a value has no exact place in it (nanoseconds)."""
    kind = column.type
    if getattr(kind, "extension_name", "") == "arrow.uuid":
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if isinstance(kind, pa.BaseExtensionType):
        chunks: list[Any] = [cast("Any", chunk).storage for chunk in column.chunks]
        column = cast("Any", pa).chunked_array(chunks, type=kind.storage_type)
        return simplified(column, name)
    form = simple(kind)
    if form is None:
        raise Refused(f"{name}: no column holds values of type {kind}", "type")
    if form == kind:
        return column
    try:
        return column.cast(form, safe=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Refused(f"{name}: {error}", "value") from error


def as_json(column: pa.ChunkedArray[Any], name: str) -> pa.ChunkedArray[Any]:
    """Values as JSON text. Raises Refused for NaN and the infinities, which have no form in it."""
    import duckdb

    connection = connect()
    try:
        connection.register("given", pa.table({"x": column, "i": pa.array(range(len(column)))}))
        kind = type_of(str(connection.sql("SELECT x FROM given").types[0]))
        odd = formless("x", kind) or "false"
        found: pa.Table = connection.sql(
            f"SELECT {json_of('x', kind)} AS x, {odd} AS odd FROM given ORDER BY i"
        ).to_arrow_table()
    except duckdb.Error as error:
        raise Refused(f"{name}: {error}", "value") from error
    finally:
        connection.close()
    if pa.compute.any(found.column("odd")).as_py():
        raise Refused(f"{name}: NaN or an infinity, which has no form in JSON", "nonfinite")
    return found.column("x").cast(pa.string())


def widened(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Reals of 32 bits for a column of 64: the number that their shortest digits say, 0.1. Others as they are."""
    if column.type != pa.float32():
        return column
    return column.cast(pa.string()).cast(pa.float64())


def decimal_text(value: Decimal) -> str:
    """A decimal without an exponent, every digit kept."""
    return format(value, "f")


def columns_of(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """A driver's rows as columns. Values of several kinds in one column (SQLite) become text, so that nothing is
    rounded; bytes among them become NULL."""
    values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.table([_column_of(column) for column in values], names=list(names))


def _column_of(values: Sequence[Any]) -> pa.Array[Any]:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1:
        values = [value if isinstance(value, str) else _text_of(value) for value in values]
    found: pa.Array[Any] = pa.array(values)
    return found


def _text_of(value: Any) -> str | None:
    return None if value is None or isinstance(value, bytes) else repr(value)

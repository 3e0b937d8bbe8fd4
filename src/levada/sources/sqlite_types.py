"""What a column of SQLite is in Arrow, and how its values are checked to be just that.

SQLite stores five kinds of values (null, integer, real, text, blob) and lets any column hold any of them. A
column's declaration is taken at its word, and a value that contradicts it makes its row invalid. Columns that declare
nothing, or only NUMERIC, are what their values are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from typing import TypeAlias

import pyarrow as pa

from levada.errors import SourceError
from levada.source import TYPE_KEY, Unfit

Value: TypeAlias = "int | float | str | bytes | None"
Array: TypeAlias = "pa.Array[pa.Scalar[pa.DataType]]"
Convert = Callable[[Sequence[Value]], Array]

_KINDS: dict[type, str] = {int: "integer", float: "real", str: "text", bytes: "blob", type(None): "null"}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_TIME = re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?")
EXACT_INTEGER = 2**53
"""Integers beyond are not all binary floating point numbers."""


@dataclass(frozen=True, slots=True)
class SqliteColumn:
    """A column. `kinds`: the kinds of stored values that it may hold, NULL aside."""

    name: str
    declared: str
    arrow: pa.DataType
    kinds: frozenset[type]
    convert: Convert
    mark: bytes | None = None

    @property
    def field(self) -> pa.Field[pa.DataType]:
        return pa.field(self.name, self.arrow, metadata={TYPE_KEY: self.mark} if self.mark else None)

    def array(self, values: Sequence[Value]) -> tuple[Array, list[Unfit]]:
        """The values as Arrow; one that is not of this column's type is NULL, and told."""
        try:
            if set(map(type, values)) <= self.kinds | {type(None)}:
                return self.convert(values), []
        except (pa.ArrowInvalid, ValueError, ArithmeticError):
            pass
        reasons = [self._reason(value) for value in values]
        kept = [value if reason is None else None for value, reason in zip(values, reasons, strict=True)]
        told = [
            Unfit(self.name, pa.array([each == reason for each in reasons]), reason)
            for reason in dict.fromkeys(reasons)
            if reason is not None
        ]
        return self.convert(kept), told

    def _reason(self, value: Value) -> str | None:
        """Why a value is not of this column's type; None if it is."""
        said = f" in a column declared {self.declared}" if self.declared else ""
        if value is not None and type(value) not in self.kinds:
            return f"a value stored as {_KINDS[type(value)]}{said}"
        try:
            self.convert([value])
        except UnicodeError:
            return "text that is not UTF-8"
        except (pa.ArrowInvalid, ValueError, ArithmeticError):
            return f"a value that is not {_article(self.arrow)}{said}"
        return None


def declared(name: str, declaration: str) -> SqliteColumn | None:
    """The column that a declaration means; None if it leaves the type to the values."""
    words = " ".join(declaration.upper().split())
    base = words.partition("(")[0].strip()
    digits = re.search(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", words)

    def column(
        kind: pa.DataType, kinds: set[type], convert: Convert | None = None, mark: bytes | None = None
    ) -> SqliteColumn:
        return SqliteColumn(name, declaration, kind, frozenset(kinds), convert or _plain(kind), mark)

    if base in ("BOOLEAN", "BOOL"):
        return column(pa.bool_(), {int}, _booleans)
    if base == "DATE":
        return column(pa.date32(), {str}, _parsed(pa.date32(), r"\d{4}-\d\d-\d\d"))
    if base in ("TIMESTAMPTZ", "DATETIMEOFFSET", "TIMESTAMP_TZ") or "WITH TIME ZONE" in words:
        moment = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)"
        return column(pa.timestamp("us", "UTC"), {str}, _parsed(pa.timestamp("us", "UTC"), moment))
    if base.startswith(("TIMESTAMP", "DATETIME")):
        moment = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?"
        return column(pa.timestamp("us"), {str}, _parsed(pa.timestamp("us"), moment))
    if base == "TIME":
        return column(pa.time64("us"), {str}, _times)
    if base in ("DECIMAL", "NUMERIC", "NUMBER", "DEC") and digits:
        precision, scale = int(digits[1]), int(digits[2] or 0)
        if precision <= 38 and scale <= precision:
            return column(pa.decimal128(precision, scale), {int, float, str}, _decimals(precision, scale))
        return None
    if base in ("JSON", "JSONB"):
        return column(pa.string(), {str}, mark=b"json")
    if base in ("UUID", "UNIQUEIDENTIFIER", "GUID"):
        return column(pa.string(), {str}, mark=b"uuid")
    if "INT" in base:
        return column(pa.int64(), {int})
    if any(part in base for part in ("CHAR", "CLOB", "TEXT", "STRING")):
        return column(pa.string(), {str})
    if any(part in base for part in ("BLOB", "BINARY", "BYTEA")):
        return column(pa.binary(), {bytes})
    if any(part in base for part in ("REAL", "FLOA", "DOUB")):
        return column(pa.float64(), {int, float}, _floats)
    return None


def inferred(name: str, declaration: str, kinds: set[str]) -> SqliteColumn:
    """The column that all its values together make. Raises SourceError if they are of kinds that do not go together."""
    number = re.match(r"(?i)\s*(DECIMAL|NUMERIC|NUMBER|DEC|MONEY)\b", declaration) is not None
    if kinds <= {"text"}:
        return SqliteColumn(name, declaration, pa.string(), frozenset({str}), _plain(pa.string()))
    if kinds == {"integer"}:
        return SqliteColumn(name, declaration, pa.int64(), frozenset({int}), _plain(pa.int64()))
    if kinds <= {"integer", "real"}:
        return SqliteColumn(name, declaration, pa.float64(), frozenset({int, float}), _floats)
    if kinds == {"blob"}:
        return SqliteColumn(name, declaration, pa.binary(), frozenset({bytes}), _plain(pa.binary()))
    if number and "blob" not in kinds:
        return SqliteColumn(
            name, declaration, pa.string(), frozenset({int, float, str}), _number_texts, b"numeric_text"
        )
    raise SourceError(
        f"column {name!r} holds values stored as {' and as '.join(sorted(kinds))}",
        code="source.value",
        hint=f"CAST({name} AS TEXT) in the model takes every value as it is",
    )


def _plain(kind: pa.DataType) -> Convert:
    return lambda values: pa.array(values, kind)


def _booleans(values: Sequence[Value]) -> Array:
    if set(values) - {0, 1, None}:
        raise ValueError("neither 0 nor 1")
    return pa.array([None if value is None else value == 1 for value in values], pa.bool_())


def _floats(values: Sequence[Value]) -> Array:
    if any(isinstance(value, int) and abs(value) > EXACT_INTEGER for value in values):
        raise ValueError("not a floating point number")
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _times(values: Sequence[Value]) -> Array:
    if not all(value is None or _TIME.fullmatch(str(value)) for value in values):
        raise ValueError("written in another way")
    return pa.array([None if value is None else time.fromisoformat(str(value)) for value in values], pa.time64("us"))


def _parsed(kind: pa.DataType, pattern: str) -> Convert:
    shape = re.compile(pattern)

    def convert(values: Sequence[Value]) -> Array:
        if not all(value is None or shape.fullmatch(str(value)) for value in values):
            raise ValueError("written in another way")
        return pa.array(values, pa.string()).cast(kind)

    return convert


def _decimals(precision: int, scale: int) -> Convert:
    """Integers and texts exactly; a real by its shortest writing, which is what was put into it up to 15 digits."""
    kind = pa.decimal128(precision, scale)

    def convert(values: Sequence[Value]) -> Array:
        return pa.array([None if value is None else _decimal(value) for value in values], kind)

    return convert


def _decimal(value: int | float | str | bytes) -> Decimal:
    text = repr(value) if isinstance(value, float) else str(value)
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return Decimal(text)


def _number_texts(values: Sequence[Value]) -> Array:
    return pa.array([None if value is None else f"{_decimal(value):f}" for value in values], pa.string())


def _article(kind: pa.DataType) -> str:
    words = {
        "date32": "a date (YYYY-MM-DD)",
        "timestamp": "a moment (YYYY-MM-DD HH:MM:SS)",
        "time64": "a time (HH:MM:SS)",
    }
    found = next((text for start, text in words.items() if str(kind).startswith(start)), None)
    return found or f"a {kind}"

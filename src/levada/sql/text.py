"""The one form of each value, as SQL: its JSON, and its text in a longer text, an address or a cell.

The same inside of lists, structs and maps as outside, and the same for every destination: instants in ISO 8601 with
`Z`, times without a zone without an offset, both with a fraction only where it is not zero; decimals with all their
digits; floating point, of 32 bits too, with the fewest digits that mean the same number; bytes as base64.
What has no such form (NaN, the infinities) is to be refused before: `formless` finds it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count

from levada.sql.types import Type, any_inside, items, member, union_member

LONG_SCALE = 15
"""Decimals of so many places come from computations; the zeros at their end are not written."""
_OF_DUCKDB = frozenset({"VARCHAR", "DOUBLE", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT"})
"""Of whose lists DuckDB's own JSON is ours as well."""
_INTEGERS = frozenset(
    {
        "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
        "UHUGEINT", "BIGNUM",
    }
)  # fmt: skip
_NAIVE = frozenset({"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"})
_ZONED = "TIMESTAMP WITH TIME ZONE"


def quoted(name: str) -> str:
    """An identifier of DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text literal of DuckDB."""
    return "'" + text.replace("'", "''") + "'"


def json_of(value: str, kind: Type) -> str:
    """A value's JSON, as text; NULL for NULL."""
    return _json(value, kind, count())


def text_of(value: str, kind: Type) -> str:
    """A value as it stands in a longer text; NULL for NULL. Lists, structs and maps are their JSON."""
    return _text(value, kind, count())


def formless(value: str, kind: Type) -> str | None:
    """Does a value hold what has no form, at any depth? A condition, never NULL; None if no value of the type does."""
    return any_inside(value, kind, _is_formless)


def _is_formless(value: str, kind: Type) -> str | None:
    if kind.kind in ("FLOAT", "DOUBLE", "DATE", _ZONED, *_NAIVE):
        return f"NOT isfinite({value})"
    return None


def name_of(name: str) -> str:
    """The name of a member and its colon, as JSON."""
    return json.dumps(name, ensure_ascii=False) + ":"


def _json(value: str, kind: Type, numbers: Iterator[int]) -> str:
    match kind.kind:
        case "BOOLEAN" | "FLOAT" | "DECIMAL":
            return _text(value, kind, numbers)
        case name if name in _INTEGERS:
            return f"{value}::VARCHAR"
        case "JSON":
            return f"replace(replace({value}::VARCHAR, chr(10), ' '), chr(13), ' ')"
        case "VARCHAR" | "ENUM" | "DOUBLE" | '"NULL"' | "VARIANT":
            return f"to_json({value})::VARCHAR"
        case "LIST" | "ARRAY":
            return _list(value, kind, numbers)
        case "STRUCT":
            names = [literal(("," if index else "") + name_of(name)) for index, name in enumerate(kind.names)]
            return _members(value, kind, names, "{}", numbers)
        case "TUPLE":
            commas = [literal("," if index else "") for index in range(len(kind.parts))]
            return _members(value, kind, commas, "[]", numbers)
        case "MAP":
            return _map(value, kind, numbers)
        case "UNION":
            return _union(value, kind, lambda of, part: f"coalesce({_json(of, part, numbers)}, 'null')")
        case _:
            return f"('\"' || {_text(value, kind, numbers)} || '\"')"


def _list(value: str, kind: Type, numbers: Iterator[int]) -> str:
    part = kind.parts[0]
    if part.kind in _OF_DUCKDB:
        return f"to_json({value})::VARCHAR"
    name = f"x{next(numbers)}"
    inner = f"lambda {name}: coalesce({_json(name, part, numbers)}, 'null')"
    return f"('[' || array_to_string(list_transform({items(value, kind)}, {inner}), ',') || ']')"


def _members(value: str, kind: Type, starts: list[str], brackets: str, numbers: Iterator[int]) -> str:
    parts = [
        f"{start}, coalesce({_json(member(value, index), part, numbers)}, 'null')"
        for index, (start, part) in enumerate(zip(starts, kind.parts, strict=True))
    ]
    return f"CASE WHEN {value} IS NOT NULL THEN concat('{brackets[0]}', {', '.join(parts)}, '{brackets[1]}') END"


def _map(value: str, kind: Type, numbers: Iterator[int]) -> str:
    key, part = kind.parts
    name = f"x{next(numbers)}"
    pair = f"to_json({_text(f'{name}.key', key, numbers)})::VARCHAR || ':' || "
    pair += f"coalesce({_json(f'{name}.value', part, numbers)}, 'null')"
    return f"('{{' || array_to_string(list_transform(map_entries({value}), lambda {name}: {pair}), ',') || '}}')"


def _union(value: str, kind: Type, write: Callable[[str, Type], str]) -> str:
    members = zip(kind.names, kind.parts, strict=True)
    cases = [f"WHEN {literal(name)} THEN {write(union_member(value, name), part)}" for name, part in members]
    return f"CASE CAST(union_tag({value}) AS VARCHAR) {' '.join(cases)} END"


def _text(value: str, kind: Type, numbers: Iterator[int]) -> str:
    match kind.kind:
        case "TIMESTAMP WITH TIME ZONE":
            return f"(replace(left({value}::VARCHAR, -3), ' ', 'T') || 'Z')"
        case name if name in _NAIVE:
            return f"replace({value}::VARCHAR, ' ', 'T')"
        case "BLOB":
            return f"base64({value})"
        case "DECIMAL":
            return _decimal(value, kind)
        case "UNION":
            return _union(value, kind, lambda of, part: _text(of, part, numbers))
        case "DOUBLE" | "LIST" | "ARRAY" | "STRUCT" | "TUPLE" | "MAP":
            return _json(value, kind, numbers)
        case _:
            return f"{value}::VARCHAR"


def _decimal(value: str, kind: Type) -> str:
    sizes = kind.decimal
    assert sizes is not None, kind.name
    digits, places = sizes
    shown = f"{value}::VARCHAR"
    if digits == places:
        # DuckDB writes .5, and JSON knows only 0.5
        shown = f"regexp_replace({shown}, '^(-?)[.]', '\\10.')"
    return shown if places < LONG_SCALE else f"rtrim(rtrim({shown}, '0'), '.')"

"""Record templates as SQL: the nodes of `levada.template`, rendered by DuckDB for whole columns at once.

The rules are those of `levada.template`; tests/unit/delivery/test_json_sql.py compares both renderers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from duckdb.sqltypes import VARCHAR, DuckDBPyType

from levada.template import (
    Constant,
    FieldArray,
    FieldLeaf,
    FieldNode,
    FieldObject,
    Items,
    Members,
    Node,
    Placeholder,
    Text,
    field_tree,
    leaves,
)

LONG_SCALE = 15
"""Decimals of so many places come from computations; the zeros at their end are not sent."""
_PLAIN = {"varchar", "enum", "boolean", "tinyint", "smallint", "integer", "bigint", "double", "float"}


@dataclass(frozen=True, slots=True)
class ColumnSql:
    """A column that a template may name: its SQL and its type."""

    sql: str
    type: DuckDBPyType


@dataclass(frozen=True, slots=True)
class Columns:
    """What the SQL of a template is built from.

    `changed`: by field, a condition that says whether it is to be sent under `{fields}`; None: all are.
    `batch`: the sources whose value is the same for all records.
    """

    fields: Mapping[str, ColumnSql]
    match: Mapping[str, ColumnSql]
    before: Mapping[str, ColumnSql] | None
    skip_nulls: bool
    changed: Mapping[str, str] | None = None
    destination_id: str = "NULL::VARCHAR"
    operation: str = "''"
    batch: Mapping[str, str] = field(default_factory=dict)


def quoted(name: str) -> str:
    """An identifier of DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text literal of DuckDB."""
    return "'" + text.replace("'", "''") + "'"


def template_sql(node: Node, columns: Columns) -> str:
    """An expression that gives each record's JSON text; never NULL."""
    return _json(node, columns)


def _json(node: Node, columns: Columns) -> str:
    match node:
        case Constant(value):
            return literal(json.dumps(value, ensure_ascii=False, allow_nan=False))
        case Text():
            return f"to_json({_text(node, columns)})::VARCHAR"
        case Placeholder(source="fields" | "fields_all", name=""):
            return _group(columns.fields, columns, changed_only=node.source == "fields")
        case Placeholder(source="match", name=""):
            return _group(columns.match, columns, whole=True)
        case Placeholder(source="before", name=""):
            return "'null'" if columns.before is None else _group(columns.before, columns, whole=True)
        case Placeholder():
            return _nullable(_column(node, columns))
        case Members(members):
            return _members(members, columns)
        case Items(items):
            inner = ", ',', ".join(_json(item, columns) for item in items)
            return f"concat('[', {inner}, ']')" if items else "'[]'"


def _members(members: tuple[tuple[str, Node], ...], columns: Columns) -> str:
    parts: list[str] = []
    optional = False
    for name, value in members:
        text = f"concat({literal(_name(name))}, {_json(value, columns)})"
        if columns.skip_nulls and isinstance(value, Placeholder) and value.source == "fields" and value.name:
            text = f"CASE WHEN {columns.fields[value.name].sql} IS NOT NULL THEN {text} END"
            optional = True
        parts.append(text)
    if not parts:
        return "'{}'"
    if optional:
        return f"concat('{{', concat_ws(',', {', '.join(parts)}), '}}')"
    joined = ", ',', ".join(parts)
    return f"concat('{{', {joined}, '}}')"


def _name(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) + ":"


def _column(node: Placeholder, columns: Columns) -> ColumnSql:
    text = VARCHAR
    match node.source:
        case "fields" | "fields_all":
            return columns.fields[node.name]
        case "match":
            return columns.match[node.name]
        case "before":
            return ColumnSql("NULL::VARCHAR", text) if columns.before is None else columns.before[node.name]
        case "key":
            return next(iter(columns.match.values()))
        case "key_field":
            return ColumnSql(literal(next(iter(columns.match))), text)
        case "destination_id":
            return ColumnSql(columns.destination_id, text)
        case "operation":
            return ColumnSql(columns.operation, text)
        case "other":
            raise KeyError(node.name)
        case source:
            return ColumnSql(literal(columns.batch[source]), text)


def _text(node: Text, columns: Columns) -> str:
    parts: list[str] = []
    for part in node.parts:
        if isinstance(part, str):
            parts.append(literal(part))
        elif not part.name and part.source in ("fields", "fields_all", "match", "before"):
            parts.append(_json(part, columns))
        else:
            found = _column(part, columns)
            parts.append(f"coalesce({_as_text(found.sql, found.type)}, '')")
    return f"concat({', '.join(parts)})"


# -- groups of fields


def _group(
    values: Mapping[str, ColumnSql], columns: Columns, *, changed_only: bool = False, whole: bool = False
) -> str:
    tree = field_tree(list(values))
    if not tree.members:
        return "'{}'"
    conditional = (changed_only and columns.changed is not None) or columns.skip_nulls
    if whole or not conditional:
        return _whole(tree, values)
    inner = _optional_members(tree, values, columns, changed_only)
    return f"concat('{{', {inner}, '}}')"


def _whole(node: FieldNode | None, values: Mapping[str, ColumnSql]) -> str:
    """Everything, sent: no member is left out."""
    match node:
        case None:
            return "'null'"
        case FieldLeaf(name):
            return _nullable(values[name])
        case FieldObject(members):
            parts = [
                f"{literal((',' if i else '') + _name(key))}, {_whole(each, values)}"
                for i, (key, each) in enumerate(members)
            ]
            return f"concat('{{', {', '.join(parts)}, '}}')"
        case FieldArray(items):
            inner = ", ',', ".join(_whole(item, values) for item in items)
            return f"concat('[', {inner}, ']')"


def _optional_members(node: FieldObject, values: Mapping[str, ColumnSql], columns: Columns, changed_only: bool) -> str:
    """The members that are sent, joined by commas; empty text if there are none."""
    parts = [_optional(key, each, values, columns, changed_only) for key, each in node.members]
    return f"concat_ws(',', {', '.join(parts)})"


def _optional(key: str, node: FieldNode, values: Mapping[str, ColumnSql], columns: Columns, changed_only: bool) -> str:
    """A member with its name, or NULL if it is left out."""
    name = literal(_name(key))
    if isinstance(node, FieldObject):
        inner = _optional_members(node, values, columns, changed_only)
        return f"({literal(_name(key) + '{')} || nullif({inner}, '') || '}}')"
    conditions = [_is_sent(leaf, values, columns, changed_only) for leaf in leaves(node)]
    sent = " OR ".join(f"({condition})" for condition in conditions) if len(conditions) > 1 else conditions[0]
    text = f"concat({name}, {_whole(node, values)})"
    return text if sent == "true" else f"CASE WHEN {sent} THEN {text} END"


def _is_sent(name: str, values: Mapping[str, ColumnSql], columns: Columns, changed_only: bool) -> str:
    conditions: list[str] = []
    if changed_only and columns.changed is not None and name in columns.changed and name not in columns.match:
        conditions.append(columns.changed[name])
    if columns.skip_nulls:
        conditions.append(f"{values[name].sql} IS NOT NULL")
    return " AND ".join(conditions) or "true"


# -- values


def _nullable(column: ColumnSql) -> str:
    return f"coalesce({token(column.sql, column.type)}, 'null')"


def token(sql: str, type_: DuckDBPyType) -> str:
    """A value's JSON; NULL for NULL."""
    match type_.id:
        case "boolean" | "tinyint" | "smallint" | "integer" | "bigint" | "hugeint":
            return f"{sql}::VARCHAR"
        case "utinyint" | "usmallint" | "uinteger" | "ubigint" | "uhugeint" | "bignum":
            return f"{sql}::VARCHAR"
        case "decimal":
            return _decimal(sql, type_)
        case "varchar" | "enum" if str(type_) == "JSON":
            return f"replace(replace({sql}::VARCHAR, chr(10), ' '), chr(13), ' ')"
        case "varchar" | "enum" | "float" | "double" | "sqlnull" | "null":
            return f"to_json({sql})::VARCHAR"
        case "list" | "array":
            child = _part(type_, "child")
            if child.id in _PLAIN and str(child) != "JSON":
                return f"to_json({sql})::VARCHAR"
            inner = f"lambda x: coalesce({token('x', child)}, 'null')"
            return f"('[' || array_to_string(list_transform({sql}::{child}[], {inner}), ',') || ']')"
        case "struct":
            return _struct(sql, type_)
        case "map":
            pair = f"to_json({_as_text('x.key', _part(type_, 'key'))})::VARCHAR || ':' || "
            pair += f"coalesce({token('x.value', _part(type_, 'value'))}, 'null')"
            return f"('{{' || array_to_string(list_transform(map_entries({sql}), lambda x: {pair}), ',') || '}}')"
        case _:
            return f"('\"' || {_as_text(sql, type_)} || '\"')"


def _part(type_: DuckDBPyType, name: str) -> DuckDBPyType:
    """The type of an element, a member, a key or a value."""
    found = dict(type_.children)[name]
    assert isinstance(found, DuckDBPyType)
    return found


def _struct(sql: str, type_: DuckDBPyType) -> str:
    parts = []
    for index, (name, _) in enumerate(type_.children):
        kind = _part(type_, name)
        inner = f"struct_extract({sql}, {literal(name)})"
        parts.append(f"{literal((',' if index else '') + _name(name))}, coalesce({token(inner, kind)}, 'null')")
    return f"CASE WHEN {sql} IS NOT NULL THEN concat('{{', {', '.join(parts)}, '}}') END"


def _decimal(sql: str, type_: DuckDBPyType) -> str:
    sizes = dict(type_.children)
    scale = sizes["scale"]
    assert isinstance(scale, int)
    shown = f"{sql}::VARCHAR"
    if sizes["precision"] == scale:
        # DuckDB writes .5, and JSON knows only 0.5
        shown = f"regexp_replace({shown}, '^(-?)[.]', '\\10.')"
    return shown if scale < LONG_SCALE else f"rtrim(rtrim({shown}, '0'), '.')"


def _as_text(sql: str, type_: DuckDBPyType) -> str:
    """A value as it stands in a longer string; NULL for NULL."""
    match type_.id:
        case "timestamp with time zone":
            return f"(replace(left({sql}::VARCHAR, -3), ' ', 'T') || 'Z')"
        case "timestamp" | "timestamp_ns" | "timestamp_ms" | "timestamp_s":
            return f"replace({sql}::VARCHAR, ' ', 'T')"
        case "blob":
            return f"base64({sql})"
        case "decimal":
            return _decimal(sql, type_)
        case "list" | "array" | "struct" | "map" | "float" | "double":
            return token(sql, type_)
        case _:
            return f"{sql}::VARCHAR"

"""Record templates as SQL: the nodes of `levada.template`, rendered by DuckDB for whole columns at once.

The rules are those of `levada.template`. The columns are named as in a plan's files: `after.NAME` and `before.NAME`.
Delivery renders all that it sends so, and a connector's cases are rendered by the same. Not here: the form of a single
value, which is that of `levada.sql.text`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from levada.change import Kind, Verb
from levada.sql.text import json_of, literal, name_of, quoted, text_of
from levada.sql.types import Type, type_of
from levada.template import (
    GROUPS,
    WITHOUT_MATCH,
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

VARCHAR = type_of("VARCHAR")


@dataclass(frozen=True, slots=True)
class ColumnSql:
    """A column that a template may name: its SQL and its type."""

    sql: str
    type: Type


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


def values_of(
    kind: Kind, verb: Verb, fields: Sequence[str], match: Sequence[str], types: Mapping[str, Type]
) -> dict[str, ColumnSql]:
    """What the fields hold: the new values, or for removals the last ones (emptied, for update and upsert)."""
    side = "before." if kind == "removed" else "after."
    found: dict[str, ColumnSql] = {}
    for name in fields:
        type_ = types[side + name]
        sql = quoted(side + name)
        if kind == "removed" and verb in ("update", "upsert") and name not in match:
            sql = f"NULL::{type_.name}"
        found[name] = ColumnSql(sql, type_)
    return found


def previous_of(kind: Kind, match: Sequence[str], types: Mapping[str, Type]) -> dict[str, ColumnSql]:
    """The match fields as last confirmed; an unconfirmed NULL gives way to the new value. None of a new record."""
    if kind == "added":
        return {}
    found: dict[str, ColumnSql] = {}
    for name in match:
        sql = quoted("before." + name)
        if kind == "changed":
            sql = f"coalesce({sql}, {quoted('after.' + name)})"
        found[name] = ColumnSql(sql, types["before." + name])
    return found


def before_of(fields: Sequence[str], types: Mapping[str, Type]) -> dict[str, ColumnSql] | None:
    """The values last confirmed; None where there are none."""
    names = [name for name in fields if "before." + name in types]
    if not names:
        return None
    return {name: ColumnSql(quoted("before." + name), types["before." + name]) for name in names}


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
        case Placeholder(source="fields_but_match" | "fields_all_but_match"):
            others = {name: column for name, column in columns.fields.items() if name not in columns.match}
            return _group(others, columns, changed_only=node.source == "fields_but_match")
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
        text = f"concat({literal(name_of(name))}, {_json(value, columns)})"
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
        elif not part.name and part.source in GROUPS | WITHOUT_MATCH:
            parts.append(_json(part, columns))
        else:
            found = _column(part, columns)
            parts.append(f"coalesce({text_of(found.sql, found.type)}, '')")
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
                f"{literal((',' if i else '') + name_of(key))}, {_whole(each, values)}"
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
    name = literal(name_of(key))
    if isinstance(node, FieldObject):
        inner = _optional_members(node, values, columns, changed_only)
        return f"({literal(name_of(key) + '{')} || nullif({inner}, '') || '}}')"
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
    return f"coalesce({json_of(column.sql, column.type)}, 'null')"

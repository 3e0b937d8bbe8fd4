"""Templates rendered one record at a time, in Python: the measure of the renderer that sends.

It follows the rules that `levada.template` names, and shares with the product only the tree that the names of fields
make, and the form of a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from levada.template import (
    Constant,
    Embedded,
    FieldArray,
    FieldLeaf,
    FieldNode,
    FieldObject,
    Items,
    Members,
    Node,
    Placeholder,
    Text,
    as_text,
    field_tree,
    json_text,
    leaves,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """The values of one record, as Python values, and what the sync says of them.

    `sent`: the fields that changed, None for all. `embedded`: the fields whose text is JSON.
    """

    fields: Mapping[str, Any]
    match: Mapping[str, Any] = field(default_factory=dict)
    sent: frozenset[str] | None = None
    before: Mapping[str, Any] | None = None
    destination_id: str | None = None
    operation: str = ""
    kind: str = "added"
    verb: str = "upsert"
    object: str = ""
    sync: str = ""
    nulls: Literal["clear", "skip"] = "clear"
    embedded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Left:
    """Stands for a member that is left out."""


_LEFT = _Left()


def render(node: Node, record: Sent) -> str:
    """One record as JSON text."""
    return json_text(_value(node, record))


def _value(node: Node, record: Sent) -> Any:
    match node:
        case Constant(value):
            return value
        case Placeholder():
            return _of(node, record)
        case Text(parts):
            return "".join(part if isinstance(part, str) else as_text(_of(part, record)) for part in parts)
        case Members(members):
            found = {name: _value(value, record) for name, value in members if not _is_skipped(value, record)}
            return {name: value for name, value in found.items() if value is not _LEFT}
        case Items(items):
            return [_value(value, record) for value in items]


def _is_skipped(node: Node, record: Sent) -> bool:
    if record.nulls != "skip" or not isinstance(node, Placeholder) or node.source != "fields" or not node.name:
        return False
    return record.fields[node.name] is None


def _of(place: Placeholder, record: Sent) -> Any:
    name = place.name
    match place.source:
        case "fields" if name:
            return _leaf(name, record)
        case "fields" | "fields_all":
            found = _nested(field_tree(list(record.fields)), record, changed_only=place.source == "fields")
            return {} if found is _LEFT else found
        case "fields_but_match" | "fields_all_but_match":
            names = [each for each in record.fields if each not in record.match]
            found = _nested(field_tree(names), record, changed_only=place.source == "fields_but_match")
            return {} if found is _LEFT else found
        case "match":
            return record.match[name] if name else _whole(record.match)
        case "before" if record.before is None:
            return None
        case "before":
            assert record.before is not None
            return record.before[name] if name else _whole(record.before, record.embedded)
        case "key":
            return next(iter(record.match.values()))
        case "key_field":
            return next(iter(record.match))
        case source:
            return getattr(record, source)


def _whole(values: Mapping[str, Any], embedded: frozenset[str] = frozenset()) -> dict[str, Any]:
    found = _nested(field_tree(list(values)), Sent(values, embedded=embedded), changed_only=False)
    return found if isinstance(found, dict) else {}


def _leaf(name: str, record: Sent) -> Any:
    value = record.fields[name]
    return Embedded(value) if name in record.embedded and isinstance(value, str) else value


def _is_sent(name: str, record: Sent, *, changed_only: bool) -> bool:
    if changed_only and record.sent is not None and name not in record.sent and name not in record.match:
        return False
    return record.nulls == "clear" or record.fields[name] is not None


def _nested(node: FieldNode | None, record: Sent, *, changed_only: bool, whole: bool = False) -> Any:
    """`whole`: inside an array, where everything is sent."""
    match node:
        case None:
            return None
        case FieldLeaf(name):
            sent = whole or _is_sent(name, record, changed_only=changed_only)
            return _leaf(name, record) if sent else _LEFT
        case FieldObject(members):
            found = {key: _nested(each, record, changed_only=changed_only, whole=whole) for key, each in members}
            kept = {key: value for key, value in found.items() if value is not _LEFT}
            return kept or _LEFT
        case FieldArray(items):
            if not whole and not any(_is_sent(name, record, changed_only=changed_only) for name in leaves(node)):
                return _LEFT
            return [_nested(item, record, changed_only=changed_only, whole=True) for item in items]

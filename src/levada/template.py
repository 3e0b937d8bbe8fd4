"""Record templates: how one record becomes JSON, as a tree that can be rendered anywhere.

`parse` turns a JSON-like tree with placeholders into frozen nodes. Records are rendered as whole batches, by the SQL
that `levada.sql.template` makes of the nodes. `render` renders in Python what stands around them and questions: the
values of one record, where nothing is left out and nothing is known of the record before.

The rules:

* A string that is one placeholder becomes the value with its JSON type. In a longer string the value is put
  in as text: text as it is, numbers as their digits, `true` and `false`, NULL as nothing, lists and objects
  as their JSON. `{{` and `}}` are braces.
* `{fields_all}` is the object of all fields; `{fields}` of those that changed and, always, of the match
  fields. Dots and `[n]` in names make nested objects and arrays (`field_tree`). Under `nulls: skip` a field
  that is NULL is left out; an object of which every field is left out is left out with them. An array is
  sent whole, NULLs and unchanged items included, if any of its fields is sent.
* `{fields_but_match}` and `{fields_all_but_match}` are the same without the match fields.
* `{NAME}` and `{fields.NAME}` are one field, changed or not. Alone as an object's member, it is left out
  under `nulls: skip` when it is NULL.
* `{match}`, `{match.NAME}` and `{key}` (of the only match field, whose name is `{key_field}`) are the values
  by which the destination finds the record: the ones last confirmed, where those differ from the new ones.
* `{before}` and `{before.NAME}` are the values last confirmed; null for a record that is new.
* `{destination_id}` (null if unknown), `{operation}`, `{kind}`, `{verb}`, `{object}`, `{sync}`.
* `{levada.NAME}` is one of these words whatever the fields are called, as `{fields.NAME}` is always a field.
* Values: decimals and integers of any size as number tokens with all their digits, but for zeros at the end of many
  places; binary floating point as the shortest token that reads back the same number; NaN and the infinities are
  refused (ValueError);
  instants as ISO 8601 in UTC with `Z`, local date-times without an offset, both with a fraction only where
  it is not zero; dates and times in ISO 8601; binary as base64; a `json` field is embedded as it is, but for
  line breaks between its tokens, which become spaces.

What is not here: what a body looks like around the records, which is a connector's.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from levada.errors import ConfigError
from levada.nearest import nearest

Source = Literal[
    "fields", "fields_all", "fields_but_match", "fields_all_but_match", "match", "before", "key", "key_field",
    "destination_id", "operation", "kind", "verb", "object", "sync", "other",
]  # fmt: skip
"""`other` is a name that only the caller of `parse` knows (`records`, `job`); no column of a batch has it."""

SIMPLE: frozenset[str] = frozenset(
    {"key", "key_field", "destination_id", "operation", "kind", "verb", "object", "sync"}
)
GROUPS: frozenset[str] = frozenset({"fields", "fields_all", "match", "before"})
WITHOUT_MATCH: frozenset[str] = frozenset({"fields_but_match", "fields_all_but_match"})
"""Groups of fields that are only sent whole."""
OWN = "levada"
"""`{levada.kind}` is the same as `{kind}`, for whoever also has a field of that name."""
PER_BATCH: frozenset[str] = frozenset({"key_field", "kind", "verb", "object", "sync"})
"""Sources whose value is the same for all records of a batch."""

LONG_SCALE = 15
"""Decimals of so many places come from computations; the zeros at their end are not written."""
DEPTH_MAX = 32
"""A template, and a value in it, may not be nested deeper."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A text, number, boolean or null."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One value of the record. `name` is the field's name; empty for a whole group and for simple sources."""

    source: Source
    name: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A string with placeholders in it: literal text and values, joined as text."""

    parts: tuple[str | Placeholder, ...]


@dataclass(frozen=True, slots=True)
class Members:
    """An object."""

    members: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Items:
    """An array."""

    items: tuple[Node, ...]


Node = Constant | Placeholder | Text | Members | Items

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Names:
    """What placeholders may name, besides the record's own sources.

    `fields`: the fields there are, None for any. `others`: names that the caller gives a value later.
    `constants`: names that stand for a fixed value; they go before fields of the same name.
    """

    fields: frozenset[str] | None = None
    others: frozenset[str] = frozenset()
    constants: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


ANY_FIELD = Names()


def parse(template: object, names: Names = ANY_FIELD) -> Node:
    """The nodes of a template; nodes are returned as they are.

    Raises ConfigError for an unknown placeholder, an unpaired brace, a placeholder in an object's key, a
    value that JSON does not have, and for nesting deeper than DEPTH_MAX.
    """
    if isinstance(template, Constant | Placeholder | Text | Members | Items):
        return template
    return _parse(template, names, 0)


def _parse(template: object, names: Names, depth: int) -> Node:
    if depth > DEPTH_MAX:
        raise _error(f"nested deeper than {DEPTH_MAX} levels", "make the template flatter")
    match template:
        case str():
            return parse_text(template, names)
        case None | bool() | int():
            return Constant(template)
        case float() if math.isfinite(template):
            return Constant(template)
        case Mapping():
            members = [(_key(key), _parse(value, names, depth + 1)) for key, value in template.items()]
            return Members(tuple(members))
        case list() | tuple():
            return Items(tuple(_parse(value, names, depth + 1) for value in template))
    raise _error(f"{template!r} is no JSON value", "use text, numbers, true, false, null, lists and mappings")


def parse_text(template: str, names: Names = ANY_FIELD) -> Constant | Placeholder | Text:
    """The node of a string; see `parse`."""
    parts: list[str | Placeholder | Constant] = []
    position = 0
    for found in _BRACES.finditer(template):
        if found.start() > position:
            parts.append(template[position : found.start()])
        position = found.end()
        if found[0] in ("{{", "}}"):
            parts.append(found[0][0])
        elif found[1] is None:
            raise _error(
                f"an unpaired {found[0]} in {template!r}", "write {{ and }} for braces that are meant literally"
            )
        else:
            parts.append(_named(found[1].strip(), names))
    if position < len(template):
        parts.append(template[position:])
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0]
    texts = [as_text(part.value) if isinstance(part, Constant) else part for part in parts]
    if any(isinstance(part, Placeholder) for part in texts):
        return Text(tuple(texts))
    return Constant("".join(str(part) for part in texts))


def _named(name: str, names: Names) -> Placeholder | Constant:
    own, _, word = name.partition(".")
    if own == OWN and (word in SIMPLE | GROUPS | WITHOUT_MATCH or word in names.others):
        return Placeholder("other", word) if word in names.others else Placeholder(word)  # type: ignore[arg-type]
    if name in names.constants:
        return Constant(names.constants[name])
    if name in names.others:
        return Placeholder("other", name)
    if name in SIMPLE | GROUPS | WITHOUT_MATCH:
        return Placeholder(name)  # type: ignore[arg-type]
    group, dot, rest = name.partition(".")
    if dot and rest and group in GROUPS:
        source: Source = "fields" if group == "fields_all" else group  # type: ignore[assignment]
        found = Placeholder(source, rest)
    else:
        found = Placeholder("fields", name)
    if not found.name or (names.fields is not None and found.name not in names.fields):
        raise _error(f"unknown placeholder {{{name}}}", _nearest(name, names))
    return found


def _nearest(name: str, names: Names) -> str:
    known = sorted({*SIMPLE, *GROUPS, *WITHOUT_MATCH, *names.others, *names.constants, *(names.fields or ())})
    meant = nearest(name, known)
    return f"did you mean {{{meant}}}?" if meant else f"known are {', '.join(known)}"


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise _error(f"{key!r} cannot be the name of a member", "put it in quotes")
    node = parse_text(key)
    if not isinstance(node, Constant):
        raise _error(f"a placeholder in the name of a member: {key!r}", "placeholders can stand in values only")
    return str(node.value)


def _error(message: str, hint: str) -> ConfigError:
    return ConfigError(f"template: {message}", code="config.template", hint=hint)


def written(template: object) -> Iterator[str]:
    """What stands in the braces of a template as it was written, with repeats."""
    match template:
        case str():
            yield from (found[1].strip() for found in _BRACES.finditer(template) if found[1] is not None)
        case Mapping():
            for value in template.values():
                yield from written(value)
        case list() | tuple():
            for value in template:
                yield from written(value)


def placeholders(node: Node) -> Iterator[Placeholder]:
    """Every placeholder of a template, in order, with repeats."""
    match node:
        case Placeholder():
            yield node
        case Text(parts):
            yield from (part for part in parts if isinstance(part, Placeholder))
        case Members(members):
            for _, value in members:
                yield from placeholders(value)
        case Items(items):
            for value in items:
                yield from placeholders(value)


# Fields as a tree: `address.city` and `phones[0].number`.


@dataclass(frozen=True, slots=True)
class FieldLeaf:
    """One field, by its full name."""

    name: str


@dataclass(frozen=True, slots=True)
class FieldObject:
    members: tuple[tuple[str, FieldNode], ...]


@dataclass(frozen=True, slots=True)
class FieldArray:
    """None stands for an index that no field names."""

    items: tuple[FieldNode | None, ...]


FieldNode = FieldLeaf | FieldObject | FieldArray

INDEX_MAX = 999
"""The greatest index in a field's name."""

_STEP = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(\d{1,3})\]")


def field_steps(name: str) -> tuple[str | int, ...]:
    """`phones[0].number` as ("phones", 0, "number"). Raises ConfigError for a name that is no path."""
    steps: list[str | int] = []
    position = 0
    while position < len(name):
        found = _STEP.match(name, position)
        if found is None:
            break
        steps.append(found[1] if found[1] is not None else int(found[2]))
        position = found.end()
    if position != len(name) or not steps or isinstance(steps[0], int):
        raise ConfigError(
            f"{name!r} is no name of a field",
            code="config.field_name",
            hint="names look like city, address.city or phones[0].number",
        )
    return tuple(steps)


def field_tree(names: Sequence[str]) -> FieldObject:
    """The fields as the tree that they make, in their order of appearance.

    Raises ConfigError where one field lies inside another (`address` and `address.city`), and where a step
    is both an object and an array.
    """
    root: dict[str | int, Any] = {}
    for name in names:
        place = root
        steps = field_steps(name)
        for step, following in zip(steps, (*steps[1:], None), strict=True):
            _same_kind(place, step, name)
            if following is None:
                if step in place:
                    raise _clash(name)
                place[step] = name
            else:
                place = place.setdefault(step, {})
                if isinstance(place, str):
                    raise _clash(name)
    made = _made(root)
    return made if isinstance(made, FieldObject) else FieldObject(())


def _same_kind(place: Mapping[str | int, Any], step: str | int, name: str) -> None:
    if place and isinstance(next(iter(place)), int) != isinstance(step, int):
        raise _clash(name)


def _clash(name: str) -> ConfigError:
    return ConfigError(
        f"the field {name!r} lies inside another field, or around one",
        code="config.field_name",
        hint="map either the whole or its parts",
    )


def _made(place: Any) -> FieldNode:
    if isinstance(place, str):
        return FieldLeaf(place)
    if place and isinstance(next(iter(place)), int):
        items = [_made(place[index]) if index in place else None for index in range(max(place) + 1)]
        return FieldArray(tuple(items))
    return FieldObject(tuple((str(step), _made(value)) for step, value in place.items()))


def leaves(node: FieldNode | None) -> Iterator[str]:
    """The names of all fields in a tree."""
    match node:
        case FieldLeaf(name):
            yield name
        case FieldObject(members):
            for _, value in members:
                yield from leaves(value)
        case FieldArray(items):
            for item in items:
                yield from leaves(item)


# Rendering in Python.


@dataclass(frozen=True, slots=True)
class Record:
    """The values of one record, as Python values."""

    fields: Mapping[str, Any]
    match: Mapping[str, Any] = field(default_factory=dict)
    destination_id: str | None = None
    operation: str = ""
    kind: str = "added"
    verb: str = "upsert"
    object: str = ""
    sync: str = ""
    #: values for the names that only the caller knows
    others: Mapping[str, Any] = field(default_factory=dict)


def render(node: Node, record: Record) -> str:
    """One record as JSON text, all its fields sent. Raises ValueError for what JSON cannot say, KeyError for a field it
    lacks."""
    return json_text(_value(node, record))


def _value(node: Node, record: Record) -> Any:
    match node:
        case Constant(value):
            return value
        case Placeholder():
            return _of(node, record)
        case Text(parts):
            return "".join(part if isinstance(part, str) else as_text(_of(part, record)) for part in parts)
        case Members(members):
            return {name: _value(value, record) for name, value in members}
        case Items(items):
            return [_value(value, record) for value in items]


def _of(place: Placeholder, record: Record) -> Any:
    name = place.name
    match place.source:
        case "fields" | "fields_all":
            return record.fields[name] if name else _nested(field_tree(list(record.fields)), record.fields)
        case "fields_but_match" | "fields_all_but_match":
            return _nested(field_tree([each for each in record.fields if each not in record.match]), record.fields)
        case "match":
            return record.match[name] if name else _nested(field_tree(list(record.match)), record.match)
        case "before":
            return None
        case "key":
            return next(iter(record.match.values()))
        case "key_field":
            return next(iter(record.match))
        case "other":
            return record.others[name]
        case source:
            return getattr(record, source)


def _nested(node: FieldNode | None, values: Mapping[str, Any]) -> Any:
    match node:
        case None:
            return None
        case FieldLeaf(name):
            return values[name]
        case FieldObject(members):
            return {key: _nested(each, values) for key, each in members}
        case FieldArray(items):
            return [_nested(item, values) for item in items]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text that is JSON already and goes into the document as it is."""

    text: str


def json_text(value: Any) -> str:
    """A Python value as exact JSON, without spaces. Raises ValueError for what JSON cannot say."""
    return "".join(_tokens(value, 0))


def json_bytes(value: Any) -> bytes:
    """`json_text` as UTF-8; lone surrogates are refused (ValueError)."""
    return json_text(value).encode("utf-8")


def _tokens(value: Any, depth: int) -> Iterator[str]:
    if depth > 4 * DEPTH_MAX:
        raise ValueError(f"nested deeper than {4 * DEPTH_MAX} levels")
    match value:
        case None | bool() | str():
            yield json.dumps(value, ensure_ascii=False)
        case int():
            yield str(value)
        case float() | Decimal():
            yield _number(value)
        case Embedded(text):
            yield _embedded(text)
        case Mapping():
            for position, (key, each) in enumerate(value.items()):
                yield ("," if position else "{") + json.dumps(as_text(key), ensure_ascii=False) + ":"
                yield from _tokens(each, depth + 1)
            yield "}" if value else "{}"
        case list() | tuple():
            for position, each in enumerate(value):
                yield "," if position else "["
                yield from _tokens(each, depth + 1)
            yield "]" if value else "[]"
        case _:
            yield json.dumps(as_text(value), ensure_ascii=False)


def _embedded(text: str) -> str:
    try:
        json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    return text.replace("\r", " ").replace("\n", " ")


def _refuse(token: str) -> None:
    raise ValueError(f"JSON has no {token}")


def _number(value: float | Decimal) -> str:
    if not math.isfinite(value):
        raise ValueError(f"JSON has no {value}")
    if isinstance(value, float):
        return repr(value)
    shown = format(value, "f")
    places = -int(value.as_tuple().exponent)
    return shown if places < LONG_SCALE else shown.rstrip("0").rstrip(".")


def as_text(value: Any) -> str:
    """A value as it stands in a longer string, a URL, a form or a CSV cell. Raises ValueError, TypeError."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() | Decimal():
            return _number(value)
        case Embedded(text):
            return text
        case datetime():
            return _moment(value)
        case date():
            return value.isoformat()
        case time():
            return _trimmed(value.isoformat())
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case UUID():
            return str(value)
        case Mapping() | list() | tuple():
            return json_text(value)
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        return _trimmed(value.isoformat())
    return _trimmed(value.astimezone(UTC).replace(tzinfo=None).isoformat()) + "Z"


def _trimmed(text: str) -> str:
    """Without the zeros at the end of a fraction."""
    return text.rstrip("0") if "." in text else text

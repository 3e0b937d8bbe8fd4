"""Making requests from a declared action and a batch.

Records that delivery rendered are joined into the body as bytes, without being parsed; only the encodings
`form` and `csv`, and the address of a request that names a record, look at single values.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

from levada.batch import Batch, python_rows
from levada.destination import Request, fits_header
from levada.destinations.language import Action, Encoding
from levada.destinations.questions import RequestDeclaration
from levada.destinations.reading import Scalar
from levada.errors import ConfigError
from levada.template import (
    PER_BATCH,
    WITHOUT_MATCH,
    Constant,
    Items,
    Members,
    Names,
    Node,
    Placeholder,
    Record,
    Text,
    as_text,
    json_text,
    parse,
    parse_text,
    placeholders,
    render,
)

String = Constant | Placeholder | Text

_MARK: Final = "\x00records\x00"
_MARK_JSON: Final = json_text(_MARK)
_BODY_NAMES: Final = frozenset({"records", "record", "idempotency_key"})
_CONTENT_TYPES: Final[Mapping[Encoding, str]] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "json_lines": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
}
_KEY_CHARACTERS: Final = 100
"""An idempotency key is no longer than this."""
_NAME_BYTES: Final = 200
"""What the names of an object and a sync are taken to need, where a body is measured before it is made."""
_REMOVALS: Final = frozenset({"delete", "archive", "remove"})


class Unsendable(Exception):
    """A record cannot be put into a request; says why, in a sentence."""


class Unaddressable(Unsendable):
    """It cannot be put into the request's address."""


@dataclass(frozen=True, slots=True)
class Address:
    """Method, path, query and headers of a request, as templates."""

    method: str
    path: String
    query: tuple[tuple[str, String], ...] = ()
    headers: tuple[tuple[str, String], ...] = ()

    def named(self) -> Iterator[Placeholder]:
        for node in (self.path, *(each for _, each in (*self.query, *self.headers))):
            yield from placeholders(node)

    @property
    def per_record(self) -> bool:
        """Does it name a value of a single record?"""
        return any(_is_of_record(each) for each in self.named())

    def request(self, values: Values, body: bytes | None = None, content_type: str = "", **more: Any) -> Request:
        """Raises Unaddressable where a value in the path is missing, empty or a step of a path, and Unsendable where a
        header would hold what no header can."""
        headers = {name: values.text(node) for name, node in self.headers}
        for name, text in headers.items():
            if not fits_header(text):
                raise Unsendable(f"the header {name} cannot hold a line break or another control character")
        if content_type:
            headers.setdefault("Content-Type", content_type)
        query = {name: values.text(node) for name, node in self.query}
        return Request(self.method, values.path(self.path), headers=headers, body=body, query=query, **more)


@dataclass(frozen=True, slots=True)
class Values:
    """What placeholders stand for: a record's values, and names of the conversation such as `job`."""

    record: Record
    others: Mapping[str, str] = field(default_factory=dict)

    def of(self, place: Placeholder) -> Any:
        if place.source == "other":
            return self.others[place.name]
        return json.loads(render(place, self.record), parse_float=str, parse_int=str)

    def text(self, node: String) -> str:
        match node:
            case Constant(value):
                return as_text(value)
            case Placeholder():
                return as_text(self.of(node))
            case Text(parts):
                return "".join(part if isinstance(part, str) else as_text(self.of(part)) for part in parts)

    def path(self, node: String) -> str:
        """The path, with every value URL-encoded; an absolute address that was given whole stays as it is."""
        parts: tuple[str | Placeholder, ...] = node.parts if isinstance(node, Text) else ()
        match node:
            case Constant(value):
                return as_text(value)
            case Placeholder():
                parts = (node,)
        return "".join(part if isinstance(part, str) else self._step(part) for part in parts)

    def _step(self, place: Placeholder) -> str:
        text = as_text(self.of(place))
        if text in ("", ".", ".."):
            raise Unaddressable(f"the request's address needs {_shown(place)}, which is empty, . or .. here")
        return quote(text, safe="")


def _shown(place: Placeholder) -> str:
    return (
        "{" + (place.name if place.source in ("fields", "other") else f"{place.source}.{place.name}".rstrip(".")) + "}"
    )


def _is_of_record(place: Placeholder) -> bool:
    return place.source != "other" and place.source not in PER_BATCH


@dataclass(frozen=True, slots=True)
class Sender:
    """An action, made ready: `template` is what delivery renders of each record, None where nothing is."""

    address: Address
    body: Node | None
    template: Node | None
    encoding: Encoding = "json"
    #: one record in each request
    single: bool = False
    idempotency_header: str | None = None

    @property
    def around_bytes(self) -> int:
        """How many bytes of a body stand around its records at most, besides the brackets of an array."""
        if self.body is None or not isinstance(self.body, Members | Items):
            return 0
        others = {"records": "", "record": "", "idempotency_key": "0" * _KEY_CHARACTERS}
        longest = Record(
            {}, kind="changed", verb="0" * 8, object="0" * _NAME_BYTES, sync="0" * _NAME_BYTES, others=others
        )
        return len(render(self.body, longest).encode())

    def request(self, batch: Batch) -> Request:
        """Raises Unsendable."""
        values = Values(record_of(batch, 0, addressed=self.address.per_record))
        key = idempotency_key(batch)
        body = None if self.body is None else self._body(batch, values.record, key)
        content_type = "" if body is None else _CONTENT_TYPES[self.encoding]
        request = self.address.request(values, body, content_type)
        if self.idempotency_header is None:
            return request
        return replace(request, headers={**request.headers, self.idempotency_header: key})

    def _body(self, batch: Batch, record: Record, key: str) -> bytes:
        if self.encoding == "json_lines":
            return batch.json_lines()
        if self.encoding == "csv":
            return as_csv(rendered(batch))
        assert self.body is not None
        others = {"records": _MARK, "record": _MARK, "idempotency_key": key}
        around = render(self.body, replace(record, others=others))
        before, mark, after = around.partition(_MARK_JSON)
        if not mark:
            body = around.encode()
        else:
            several = any(place == Placeholder("other", "records") for place in placeholders(self.body))
            middle = batch.json_array() if several else batch.joined(b"")
            body = before.encode() + middle + after.encode()
        return as_form(body) if self.encoding == "form" else body


def idempotency_key(batch: Batch) -> str:
    """A record's operation id where it travels alone, else the batch's key: both stay the same over attempts."""
    if len(batch) == 1 and batch.operations is not None:
        return str(batch.operations[0].as_py())
    return batch.idempotency_key


def record_of(batch: Batch, index: int, *, addressed: bool = True) -> Record:
    """One record's values; without `addressed` only what is the same for the whole batch."""
    fields: Mapping[str, Any] = plain_row(batch.table, index) if addressed else {}
    match = {name: fields.get(name) for name in batch.match}
    if addressed and batch.previous is not None:
        previous = plain_row(batch.previous, index)
        match.update({name: value for name, value in previous.items() if name in match and value is not None})
    identifier = batch.identifiers[index].as_py() if addressed and batch.identifiers is not None else None
    operation = batch.operations[index].as_py() if addressed and batch.operations is not None else ""
    return Record(
        fields,
        match=match,
        destination_id=identifier,
        operation=operation,
        kind=batch.kind,
        verb=batch.verb,
        object=batch.object,
        sync=batch.sync,
    )


def plain_row(table: Any, index: int) -> dict[str, Any]:
    """One row as Python values; times finer than Python's come as text."""
    return python_rows(table.slice(index, 1))[0]


def rendered(batch: Batch) -> list[Any]:
    """The rendered records as JSON values whose numbers stay the text that they are."""
    assert batch.rendered is not None, "this verb has no record template"
    return [json.loads(text, parse_float=str, parse_int=str) for text in cast("list[str]", batch.rendered.to_pylist())]


def as_form(body: bytes) -> bytes:
    """An object as form fields: nested members as `a[b]`, items as `a[0]`, null as an empty value."""
    return urlencode(list(_flat(json.loads(body, parse_float=str, parse_int=str), ""))).encode()


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    match value:
        case Mapping():
            for key, each in value.items():
                yield from _flat(each, f"{name}[{key}]" if name else str(key))
        case list():
            for index, each in enumerate(value):
                yield from _flat(each, f"{name}[{index}]")
        case _:
            yield name, as_text(value)


def as_csv(records: Sequence[Any]) -> bytes:
    """Objects as CSV with a header, in the order in which members first appear; nested members as `a.b`.

    NULL and a member left out are both an empty cell. Lines end with a line feed.
    """
    rows = [dict(_cells(record, "")) for record in records]
    header = list(dict.fromkeys(name for row in rows for name in row))
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([[row.get(name, "") for name in header] for row in rows])
    return sink.getvalue().encode()


def _cells(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _cells(each, f"{name}.{key}" if name else str(key))
    else:
        yield name or "value", as_text(value)


# Making senders ready.


def address(declared: RequestDeclaration, names: Names, headers: Mapping[str, str], send: str | None = None) -> Address:
    """The templates of a request's line and headers; `headers` are the connector's."""
    method, _, path = (send or declared.send).partition(" ")
    allowed = replace(names, others=names.others - {"records", "record"})
    made = Address(
        method,
        parse_text(path, allowed),
        tuple((name, parse_text(text, allowed)) for name, text in declared.query.items()),
        tuple((name, parse_text(text, allowed)) for name, text in {**headers, **declared.headers}.items()),
    )
    for place in made.named():
        whole = place.source in WITHOUT_MATCH or place.source in ("before", "fields_all")
        if whole or (place.source in ("fields", "match") and not place.name):
            raise ConfigError(
                f"{_shown(place)} cannot stand in a request's address",
                code="config.template",
                hint="name one field: {email} or {match.email}",
            )
    return made


def sender(action: Action, verb: str, names: Names, headers: Mapping[str, str], records_max: int) -> Sender:
    """An action made ready. `records_max`: the most records in a request, where the action does not say.

    Raises ConfigError for what cannot be together.
    """
    where = address(action, names, headers)
    template: Any = _default_record(action, verb) if action.record is None else action.record
    body: Any = action.body
    if "body" not in action.model_fields_set:
        body = None if where.method == "GET" or (verb in _REMOVALS and where.per_record) else ""
    if body is None or body == "none":
        return Sender(where, None, None, action.encoding, where.per_record, action.idempotency_header)
    if body == "":
        body = "{records}" if _several(action, where, records_max) else "{record}"
    within = replace(names, others=names.others | _BODY_NAMES)
    node = parse(body, within)
    named = [place for place in placeholders(node) if place.source == "other" and place.name != "idempotency_key"]
    if not named and any(_is_of_record(place) for place in placeholders(node)):
        if action.record is not None:
            raise _clash("the body names fields, and there is a record too", "put {record} or {records} in the body")
        template, node = body, Placeholder("other", "record")
        named = [node]
    if len(named) > 1 or any(_is_of_record(place) for place in placeholders(node)):
        raise _clash("the body names fields beside the records", "put the fields into record:")
    single = where.per_record or not named or named[0].name == "record" or action.encoding == "form"
    if action.records_per_request not in (None, 1) and single:
        raise _clash(
            f"this request holds one record, but records_per_request is {action.records_per_request}",
            "name no field in the path, and put {records} in the body",
        )
    if action.encoding in ("csv", "json_lines") and node != Placeholder("other", "records"):
        raise _clash(f"a body in {action.encoding} is the records alone", 'leave body out, or write "{records}"')
    _whole_text(node)
    return Sender(
        where, node, parse(template, names) if named else None, action.encoding, single, action.idempotency_header
    )


def _several(action: Action, where: Address, records_max: int) -> bool:
    """Does a body that is not declared hold an array?"""
    if action.encoding in ("csv", "json_lines"):
        return True
    return (action.records_per_request or records_max) > 1 and not where.per_record and action.encoding != "form"


def _default_record(action: Action, verb: str) -> str:
    if verb in _REMOVALS:
        return "{match}"
    return "{fields}" if verb == "update" and not action.send.startswith("PUT ") else "{fields_all}"


def _whole_text(node: Node) -> None:
    """`{records}` stands for an array, and so cannot be inside a longer text."""
    match node:
        case Text(parts):
            for part in parts:
                if isinstance(part, Placeholder) and part.name in ("records", "record") and part.source == "other":
                    raise _clash("records inside a longer text", f'write "{_shown(part)}" alone')
        case _:
            for each in getattr(node, "items", ()):
                _whole_text(each)
            for _, each in getattr(node, "members", ()):
                _whole_text(each)


def _clash(message: str, hint: str) -> ConfigError:
    return ConfigError(message, code="config.connector", hint=hint)


def scalars(*groups: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Constants, the later groups before the earlier."""
    return {name: value for group in groups for name, value in group.items()}

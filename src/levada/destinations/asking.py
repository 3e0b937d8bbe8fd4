"""Talks that ask and change nothing: look-ups, discovery, read-back.

An answer that does not tell is an error here, never "there is none": a look-up that fails must not look
like an absent record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import pyarrow as pa

from levada.batch import Batch
from levada.destination import FieldSpec, Found, Page, Request, Response, Talk
from levada.destinations.answers import record_texts
from levada.destinations.language import FieldsDiscovery, LookUp, ObjectsDiscovery, Read
from levada.destinations.paths import MISSING, answer_words, document, look, steps, text_at
from levada.destinations.requests import Address, Unaddressable, Unsendable, Values, address, record_of
from levada.errors import DestinationError
from levada.mapping import FieldType, ValueLimits
from levada.outcome import shortened
from levada.template import (
    Embedded,
    Names,
    Node,
    Placeholder,
    Record,
    json_bytes,
    parse,
    parse_text,
    placeholders,
    render,
)

ENTRIES_MAX = 100_000
"""Objects, fields or choices beyond this are a mistake of the connector's."""


@dataclass(frozen=True, slots=True)
class LookUpTalk:
    """A look-up, made ready."""

    declared: LookUp
    address: Address
    body: Node | None
    record: Node
    names: Names

    def named(self) -> Iterator[Placeholder]:
        yield from self.address.named()
        for node in (self.body, self.record):
            if node is not None:
                yield from placeholders(node)


def look_up_talk(declared: LookUp, names: Names, headers: Mapping[str, str]) -> LookUpTalk:
    """Raises ConfigError."""
    where = address(declared, names, headers)
    within = replace(names, others=names.others | {"records", "record"})
    body = None if declared.body is None else parse(declared.body, within)
    for place in (declared.list, declared.match or "", declared.identifier):
        steps(place)
    parse_text(declared.to, names)
    return LookUpTalk(declared, where, body, parse(declared.record, names), names)


def look_up(talk: LookUpTalk, batch: Batch) -> Talk[Found]:
    """Which records there are. Raises DestinationError for an answer that does not tell."""
    size = talk.declared.records_per_request
    found: dict[int, str] = {}
    for start in range(0, len(batch), size):
        part = batch.slice(start, min(size, len(batch) - start))
        try:
            request = _look_up_request(talk, part)
        except Unaddressable:
            continue  # nothing can be there under an empty name
        except Unsendable as error:
            raise DestinationError(f"a record cannot be looked up: {error}") from None
        answer = yield request
        if answer.status in talk.declared.absent_statuses:
            continue
        for index, identifier in _found(talk, part, answer).items():
            found[start + index] = identifier
    return Found(found)


def _look_up_request(talk: LookUpTalk, part: Batch) -> Request:
    records = [record_of(part, index) for index in range(len(part))]
    body = None
    if talk.body is not None:
        texts = [render(talk.record, record) for record in records]
        others = {"records": Embedded("[" + ",".join(texts) + "]"), "record": Embedded(texts[0])}
        body = render(talk.body, replace(records[0], others=others)).encode()
    return talk.address.request(Values(records[0]), body, "application/json" if body else "", safe=True)


def _found(talk: LookUpTalk, part: Batch, answer: Response) -> dict[int, str]:
    entries = _entries(answer, talk.declared.list, "look-up", single=True)
    found: dict[int, str] = {}
    wanted: dict[str, list[int]] = {}
    if talk.declared.match is not None:
        for index, text in enumerate(record_texts(part, parse_text(talk.declared.to, talk.names))):
            wanted.setdefault(_folded(text, talk), []).append(index)
    for entry in entries:
        identifier = text_at(entry, talk.declared.identifier)
        if not identifier:
            raise DestinationError(f"look-up: a record without {talk.declared.identifier!r}", code="destination.answer")
        indexes = (
            [0] if talk.declared.match is None else wanted.get(_folded(text_at(entry, talk.declared.match), talk), [])
        )
        for index in indexes:
            found.setdefault(index, identifier)
    return found


def _folded(text: str, talk: LookUpTalk) -> str:
    return text.casefold() if talk.declared.ignore_case else text


def identified(part: Batch, found: Mapping[int, str], start: int) -> Batch:
    """A part of a batch with the ids that a look-up found; `found` is by index of the whole."""
    known = part.identifiers.to_pylist() if part.identifiers is not None else [None] * len(part)
    merged = [known[index] or found.get(start + index) for index in range(len(part))]
    return replace(part, identifiers=pa.array(merged, pa.string()))


def _entries(answer: Response, place: str, what: str, *, single: bool = False) -> list[Any]:
    """The list of an answer; with `single`, an object counts as a list of one."""
    if not answer.ok:
        raise DestinationError(
            f"{what}: answer {answer.status}: {shortened(answer_words(answer))}", code="destination.answer"
        )
    value = look(document(answer), place)
    if single and isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        shown = f"a list at {place!r}" if place else "a list"
        raise DestinationError(f"{what}: the answer has not {shown}", code="destination.answer")
    if len(value) > ENTRIES_MAX:
        raise DestinationError(f"{what}: over {ENTRIES_MAX:,} entries in one answer", code="destination.answer")
    return value


def objects(where: Address, declared: ObjectsDiscovery) -> Talk[tuple[str, ...]]:
    """The names of an account's objects."""
    answer = yield where.request(Values(Record({})), _body(declared.body), safe=True)
    names = (text_at(entry, declared.name) for entry in _entries(answer, declared.list, "the list of objects"))
    return tuple(name for name in names if name)


def fields(where: Address, declared: FieldsDiscovery, object_name: str) -> Talk[tuple[FieldSpec, ...]]:
    """The fields of an object."""
    answer = yield where.request(Values(Record({}, object=object_name)), _body(declared.body), safe=True)
    entries = _entries(answer, declared.list, f"the fields of {object_name}")
    return tuple(_field(entry, declared) for entry in entries if text_at(entry, declared.name))


def _field(entry: Any, declared: FieldsDiscovery) -> FieldSpec:
    native = text_at(entry, declared.type)
    type_: FieldType = declared.types.get(native, "any")
    choices: tuple[str, ...] | None = None
    if declared.choices is not None:
        values = look(entry, declared.choices)
        if isinstance(values, list) and values:
            choices = tuple(text_at(value, declared.choice) for value in values[:ENTRIES_MAX])
    return FieldSpec(
        text_at(entry, declared.name),
        type_,
        native,
        required=_truth(entry, declared.required, default=False),
        writable=_truth(entry, declared.writable, default=True),
        unique=_truth(entry, declared.unique, default=False),
        limits=ValueLimits(choices=choices),
        description=shortened(text_at(entry, declared.description)),
    )


def _truth(entry: Any, place: str | None, *, default: bool) -> bool:
    if place is None:
        return default
    value = look(entry, place.removeprefix("!"))
    if not isinstance(value, bool):
        return default
    return not value if place.startswith("!") else value


def _body(declared: Any) -> bytes | None:
    return None if declared is None else json_bytes(declared)


def read(
    where: Address, declared: Read, object_name: str, names: Sequence[str], after: str | None, base_url: str
) -> Talk[Page]:
    """One page of an object's records. `base_url` is where links to the next page may lead."""
    values = Values(Record({}, object=object_name), {"field_names": ",".join(names)})
    request = where.request(values, _body(declared.body), safe=True)
    answer = yield _page_request(request, declared, after)
    entries = _entries(answer, declared.list, f"reading {object_name}")
    records = tuple(_record(look(entry, declared.fields), names) for entry in entries)
    identifiers = tuple(text_at(entry, declared.identifier) or None for entry in entries)
    return Page(records, identifiers, _next(declared, document(answer), entries, after, base_url))


def _record(found: Any, names: Sequence[str]) -> dict[str, Any]:
    values = ((name, look(found, name)) for name in names)
    return {name: value for name, value in values if value is not MISSING}


def _page_request(request: Request, declared: Read, after: str | None) -> Request:
    following = declared.next
    if following is None:
        return request
    if following.link is not None:
        return request if after is None else replace(request, url=after, query={})
    first = following.page if following.page is not None else following.offset
    sent = after if after is not None else (None if first is None else str(first))
    if sent is None or following.query is None:
        return request
    return replace(request, query={**request.query, following.query: sent})


def _next(declared: Read, found: Any, entries: Sequence[Any], after: str | None, base_url: str) -> str | None:
    following = declared.next
    if following is None:
        return None
    if following.cursor is not None or following.link is not None:
        text = text_at(found, following.cursor or following.link)
        if following.link is not None:
            text = _at_home(text, base_url)
        if text and text == after:
            raise DestinationError("reading: the next page is the page itself", code="destination.answer")
        return text or None
    if not entries:
        return None
    if following.page is not None:
        return str(int(after or following.page) + 1)
    return str(int(after or following.offset or 0) + len(entries))


def _at_home(link: str, base_url: str) -> str:
    """A link to the next page, at the base URL's host whatever it says: the credential goes nowhere else."""
    if not link:
        return ""
    home = urlsplit(base_url)
    return urlunsplit(urlsplit(urljoin(base_url, link))._replace(scheme=home.scheme, netloc=home.netloc, fragment=""))

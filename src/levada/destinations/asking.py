"""Talks that ask and change nothing: look-ups, discovery, read-back.

An answer that does not tell is an error here, never "there is none": a look-up that fails must not look
like an absent record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from levada.batch import Batch
from levada.destination import UNREAD_ERROR, FieldSpec, Found, Page, Request, Response, Talk, not_looked_up
from levada.destinations.answers import holds, record_texts
from levada.destinations.json_places import MISSING, answer_words, document, look, steps, text_at
from levada.destinations.questions import FieldsDiscovery, LookUp, Next, ObjectsDiscovery, Read
from levada.destinations.reading import Truth
from levada.destinations.request_maker import Address, Unaddressable, Unsendable, Values, address, record_of
from levada.destinations.signs import asked_at_most, failure, more_pages
from levada.errors import ConfigError, DestinationError
from levada.mapping import FieldType, ValueLimits
from levada.outcome import Outcome, shortened
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
PAGES_MAX = 100
"""The most pages of one answer that are asked for."""


@dataclass(frozen=True, slots=True)
class LookUpTalk:
    """A look-up, made ready."""

    declared: LookUp
    address: Address
    body: Node | None
    record: Node
    names: Names
    #: where links to a next page may lead
    base_url: str = ""

    def named(self) -> Iterator[Placeholder]:
        yield from self.address.named()
        for node in (self.body, self.record):
            if node is not None:
                yield from placeholders(node)


def look_up_talk(declared: LookUp, names: Names, headers: Mapping[str, str], base_url: str) -> LookUpTalk:
    """Raises ConfigError."""
    where = address(declared, names, headers)
    within = replace(names, others=names.others | {"records", "record"})
    body = None if declared.body is None else parse(declared.body, within)
    following = declared.next
    pages = (following.cursor, following.link) if following is not None else ()
    for place in (declared.list, declared.match or "", declared.identifier, *pages):
        steps(place or "")
    made = LookUpTalk(declared, where, body, parse(declared.record, names), names, base_url)
    for place in (*made.named(), *placeholders(parse_text(declared.to, names))):
        if place.source == "before":
            raise ConfigError(
                "{before} cannot stand in a look-up, which asks of a record as it is now",
                code="config.template",
                hint="write {key} or {match.NAME}: the values by which it was last found",
            )
    return made


def look_up(talk: LookUpTalk, batch: Batch) -> Talk[Found]:
    """Which records there are, asked page by page until they are found or there are no more.

    A record is absent only if the last page was read; where an answer does not tell, its records are `untold`. Raises
    DestinationError where nothing is told of any record.
    """
    size = talk.declared.records_per_request
    found: dict[int, str] = {}
    untold: dict[int, Outcome] = {}
    failed: DestinationError | None = None
    for start in range(0, len(batch), size):
        part = batch.slice(start, min(size, len(batch) - start))
        there: dict[int, str] = {}
        try:
            yield from _asked(talk, part, there)
        except DestinationError as error:
            failed, outcome = error, not_looked_up(error)
            untold.update({start + index: outcome for index in range(len(part)) if index not in there})
        found.update({start + index: identifier for index, identifier in there.items()})
    if failed is not None and len(untold) == len(batch):
        raise failed
    return Found(found, untold)


def _asked(talk: LookUpTalk, part: Batch, there: dict[int, str]) -> Talk[None]:
    """One question, to the last page that is needed; what is found goes into `there`."""
    try:
        request = _look_up_request(talk, part)
    except Unaddressable:
        return  # nothing can be there under an empty name
    except Unsendable as error:
        raise DestinationError(f"a record cannot be looked up: {error}") from None
    following, after, seen = talk.declared.next, None, 0
    before: Sequence[Any] = ()
    for _ in range(PAGES_MAX):
        page = _page_request(request, following, after)
        answer = yield page
        if answer.status in talk.declared.absent_statuses and (after is None or (following and following.by_number)):
            return  # a page that was named by the one before is no page beyond the last
        entries = _entries(answer, talk.declared.list, "look-up", single=True)
        for index, identifier in _found(talk, part, entries).items():
            there.setdefault(index, identifier)
        if len(there) == len(part):
            return
        seen += len(entries)
        after = _next(following, document(answer), entries, after, talk.base_url)
        _must_be_another(entries, before, "look-up")
        before = entries
        if after is None:
            _must_be_last(talk, answer, page, entries, seen)
            return
    raise DestinationError(
        f"look-up: over {PAGES_MAX} pages, and not all were found: ask for the one record", code=UNREAD_ERROR
    )


def _must_be_another(entries: Sequence[Any], before: Sequence[Any], what: str) -> None:
    """A tool that does not know the word by which the next page is asked for gives the first one for ever."""
    if entries and entries == before:
        raise DestinationError(
            f"{what}: the next page is the same as the one before: mend `next`, by which it was asked for",
            code=UNREAD_ERROR,
        )


def _must_be_last(talk: LookUpTalk, answer: Response, request: Request, entries: Sequence[Any], seen: int) -> None:
    """A page that is not the last proves nothing of the records that it lacks. Raises DestinationError."""
    following = talk.declared.next
    found = document(answer)
    if isinstance(look(found, talk.declared.list), dict):
        return  # the one record, whose own fields say nothing of pages
    if isinstance(found, dict) and (said := failure(found, ())):
        raise DestinationError(f"look-up: the answer says {said}", code="destination.answer")
    if not entries and following is not None and following.by_number:
        return
    why = more_pages(answer, seen if entries else None)
    limit = asked_at_most(request) if following is None else None
    if not why and limit is not None and 0 < limit <= len(entries):
        why = f"it is as long as was asked for, {limit}"
    if why:
        message = f"look-up: a page is not the last ({why}), so that it proves no absence: {_PAGES_HINT}"
        raise DestinationError(message, code=UNREAD_ERROR)


_PAGES_HINT = "say with `next` how the next page is asked for, or ask for the one record"


def _look_up_request(talk: LookUpTalk, part: Batch) -> Request:
    records = [record_of(part, index) for index in range(len(part))]
    body = None
    if talk.body is not None:
        texts = [render(talk.record, record) for record in records]
        others = {"records": Embedded("[" + ",".join(texts) + "]"), "record": Embedded(texts[0])}
        body = render(talk.body, replace(records[0], others=others)).encode()
    return talk.address.request(Values(records[0]), body, "application/json" if body else "", safe=True)


def _found(talk: LookUpTalk, part: Batch, entries: Sequence[Any]) -> dict[int, str]:
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
            if talk.declared.match is None and found.get(index, identifier) != identifier:
                raise DestinationError(
                    "look-up: several records were found, and nothing says which is the one: name with `match` the "
                    "value in a record found that must be the one asked for, or ask more exactly",
                    code=UNREAD_ERROR,
                )
            found.setdefault(index, identifier)
    return found


def _folded(text: str, talk: LookUpTalk) -> str:
    return text.casefold() if talk.declared.ignore_case else text


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


def objects(where: Address, declared: ObjectsDiscovery, base_url: str) -> Talk[tuple[str, ...]]:
    """The names of an account's objects."""
    request = where.request(Values(Record({})), _body(declared.body), safe=True)
    entries = yield from _listed(request, declared, "the list of objects", base_url)
    names = (text_at(entry, declared.name) for entry in entries)
    return tuple(name for name in names if name)


def fields(where: Address, declared: FieldsDiscovery, object_name: str, base_url: str) -> Talk[tuple[FieldSpec, ...]]:
    """The fields of an object."""
    request = where.request(Values(Record({}, object=object_name)), _body(declared.body), safe=True)
    entries = yield from _listed(request, declared, f"the fields of {object_name}", base_url)
    return tuple(_field(entry, declared) for entry in entries if text_at(entry, declared.name))


def _listed(
    request: Request, declared: ObjectsDiscovery | FieldsDiscovery, what: str, base_url: str
) -> Talk[Sequence[Any]]:
    """A list to its last page. Raises DestinationError where there are more than can be asked for."""
    found: list[Any] = []
    before: list[Any] = []
    after = None
    for _ in range(PAGES_MAX):
        answer = yield _page_request(request, declared.next, after)
        entries = _entries(answer, declared.list, what)
        _must_be_another(entries, before, what)
        found += entries
        before = entries
        if len(found) > ENTRIES_MAX:
            raise DestinationError(f"{what}: over {ENTRIES_MAX:,} entries", code="destination.answer")
        after = _next(declared.next, document(answer), entries, after, base_url)
        if after is None:
            if declared.next is not None and declared.next.by_number:
                return found
            if why := more_pages(answer, None):
                raise DestinationError(
                    f"{what}: a page is not the last ({why})",
                    code=UNREAD_ERROR,
                    hint="say with `next` how the next page is asked for",
                )
            return found
    raise DestinationError(f"{what}: over {PAGES_MAX} pages", code="destination.answer")


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


def _truth(entry: Any, declared: Truth | None, *, default: bool) -> bool:
    """What an entry does not tell is as by default."""
    if declared is None:
        return default
    if isinstance(declared.equals, bool) and not isinstance(look(entry, declared.path), bool):
        return default
    told = holds(declared, entry)
    return default if told is None else told


def _body(declared: Any) -> bytes | None:
    return None if declared is None else json_bytes(declared)


def read(
    where: Address, declared: Read, object_name: str, names: Sequence[str], after: str | None, base_url: str
) -> Talk[Page]:
    """One page of an object's records. `base_url` is where links to the next page may lead."""
    values = Values(Record({}, object=object_name), {"field_names": ",".join(names)})
    request = where.request(values, _body(declared.body), safe=True)
    answer = yield _page_request(request, declared.next, after)
    entries = _entries(answer, declared.list, f"reading {object_name}")
    records = tuple(_record(look(entry, declared.fields), names) for entry in entries)
    identifiers = tuple(text_at(entry, declared.identifier) or None for entry in entries)
    return Page(records, identifiers, _next(declared.next, document(answer), entries, after, base_url))


def _record(found: Any, names: Sequence[str]) -> dict[str, Any]:
    values = ((name, look(found, name)) for name in names)
    return {name: value for name, value in values if value is not MISSING}


def _page_request(request: Request, following: Next | None, after: str | None) -> Request:
    if following is None:
        return request
    if following.link is not None:
        return request if after is None else replace(request, url=after, query={})
    first = following.page if following.page is not None else following.offset
    sent = after if after is not None else (None if first is None else str(first))
    if sent is None or following.query is None:
        return request
    return replace(request, query={**request.query, following.query: sent})


def _next(following: Next | None, found: Any, entries: Sequence[Any], after: str | None, base_url: str) -> str | None:
    if following is None:
        return None
    if following.cursor is not None or following.link is not None:
        text = text_at(found, following.cursor or following.link)
        if following.link is not None:
            text = _at_home(text, base_url)
        if text and text == after:
            raise DestinationError(
                "the next page is the page itself: mend `next`, by which it was asked for", code=UNREAD_ERROR
            )
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

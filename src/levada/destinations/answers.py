"""Reading the outcome of each record from an answer, as a connector's file declares it.

The rule over all others: a record is delivered only if the answer vouches for it. What an answer leaves
open (no body, a body that is none, an entry that names no record, too few entries, two entries that
contradict) is unknown. Statuses that delivery handles itself (401, 403, 408, 425, 429, 5xx) do not come here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from levada.batch import Batch, python_values
from levada.destination import Response
from levada.destinations.json_places import MISSING, answer_words, code, document, look, same, steps, text_at, words
from levada.destinations.reading import Accepted, Entries, Expectation, Items, Reading, StatusEnd
from levada.destinations.request_maker import String, Values, record_of
from levada.destinations.signs import failure, failure_in_text
from levada.errors import DestinationError
from levada.outcome import (
    DELIVERED,
    GONE,
    UNKNOWN,
    UNREAD,
    UNTOLD,
    Effect,
    Effects,
    End,
    Outcome,
    Outcomes,
    shortened,
)
from levada.template import Names, Placeholder, as_text, parse_text

WORDLESS = "refused without a word"
_GONE_VERBS = frozenset({"delete", "archive", "remove"})
_BY_VERB: Mapping[str, Effect] = {
    "create": "created",
    "append": "created",
    "update": "updated",
    **dict.fromkeys(_GONE_VERBS, "gone"),
}
"""The effect of a verb that was carried out, where it can be one only."""
MIXED: Final = 207
ACCEPTED: Final = 202
_CONTRADICTION = Outcome("unknown", "the answer says two things of this record")


@dataclass(slots=True)
class _Verdicts:
    """What the entries of an answer say. `strays`: entries that name no record of the batch."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    identifiers: dict[int, str] = field(default_factory=dict)
    effects: dict[int, Effect] = field(default_factory=dict)
    strays: int = 0
    present: bool = False
    #: the number of records said to be taken, where they are only counted
    counted: int | None = None

    def add(self, index: int, outcome: Outcome, identifier: str = "", effect: Effect = "untold") -> None:
        earlier = self.outcomes.get(index)
        if earlier is not None and earlier.end != outcome.end:
            outcome = _CONTRADICTION
        self.outcomes[index] = outcome
        self.effects[index] = effect
        if identifier and outcome.end == "delivered":
            self.identifiers[index] = identifier


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the answers to one verb.

    `addressed`: the record stands in the request's address, so 404 is about it. `any_body`: a 2xx is a receipt
    whatever stands in it; otherwise a web page (of a proxy, a login) and JSON that is cut off vouch for nothing.
    """

    reading: Reading
    verb: str
    addressed: bool
    names: Names = Names()
    any_body: bool = False

    def __post_init__(self) -> None:
        """Every place and template is parsed once, so that a mistake is found when the file is read."""
        for place in _places(self.reading):
            steps(place)
        for entries in self.reading.lists:
            parse_text(entries.to, self.names)

    def read(self, batch: Batch, response: Response) -> Outcomes:
        found = self._read(batch, response)
        return replace(found, request_id=response.request_id) if response.request_id else found

    def _read(self, batch: Batch, response: Response) -> Outcomes:
        said = self._said_of(response.status)
        if said is not None:
            return self._ended(batch, response, said)
        if response.ok:
            return self._of_success(batch, response)
        if 400 <= response.status < 500:
            return self._of_refusal(batch, response)
        return batch.unknown(f"answer {response.status}: {answer_words(response, self.reading.message)}")

    def _said_of(self, status: int) -> StatusEnd | None:
        return self.reading.statuses.get(str(status)) or self.reading.statuses.get(f"{status // 100}xx")

    def _ended(self, batch: Batch, response: Response, end: StatusEnd) -> Outcomes:
        reason = "" if end == "delivered" else answer_words(response, self.reading.message)
        if end == "stop":
            raise DestinationError(shortened(reason), code="destination.refused")
        if end == "refused":
            return batch.refused(reason, code=str(response.status))
        if end == "delivered":
            found = document(response) if response.ok else MISSING
            effects = self._effects(batch, response, found)
            return batch.delivered(identifiers=self._identifier(batch, found), effects=effects)
        return Outcomes(Outcome(end, shortened(reason), str(response.status)))

    # -- 2xx

    def _of_success(self, batch: Batch, response: Response) -> Outcomes:
        found = document(response)
        if not self.reading.reads_bodies:
            if response.status == MIXED:
                return Outcomes(Outcome("unknown", _UNREAD_RECEIPT if self.any_body else _UNREAD_MIXED, UNREAD))
            if found is MISSING and not self.any_body and (what := _alien(response)):
                return batch.unknown(f"answer {response.status} is {what}")
            delivered = batch.delivered(
                identifiers=self._identifier(batch, found), effects=self._effects(batch, response, found)
            )
            notices = self._notices(batch, response, found)
            return replace(delivered, notices=notices) if notices else delivered
        if found is MISSING:
            return batch.unknown("the answer cannot be read")
        return self.of_document(batch, response, found)

    def of_document(self, batch: Batch, response: Response, found: Any) -> Outcomes:
        """The outcomes that a document tells, of an answer that is one of success."""
        verdicts = [holds(expected, found) for expected in self.reading.success]
        if False in verdicts:
            failed = self.reading.success[verdicts.index(False)]
            value = look(found, failed.path)
            said = words(value[0] if isinstance(value, list) and value else value)
            return self._of_refusal(batch, response, found, said)
        if None in verdicts:
            return batch.unknown("the answer lacks what a success has")
        effects = self._effects(batch, response, found)
        own = self._identifier(batch, found)
        if not self.reading.reads_lists:
            return batch.delivered(identifiers=own, effects=effects)
        return self._rest(batch, self._verdicts(batch, found), effects, own)

    def _rest(
        self, batch: Batch, verdicts: _Verdicts, effects: Effects = UNTOLD, own: Mapping[int, str] | None = None
    ) -> Outcomes:
        """The records that no entry names are delivered only if all the entries leave no doubt of it.

        `effects` are theirs, `own` the id of the only record, where no entry says more.
        """
        if not verdicts.present:
            if self.reading.empty_is == "delivered":
                return batch.delivered(identifiers=own, effects=effects)
            return batch.unknown("the answer says nothing of the records")
        common = Outcome("unknown", "the answer does not name this record")
        if self.reading.items is None:
            accepted = self.reading.accepted
            if accepted is None:
                if not verdicts.strays:
                    common = DELIVERED
            elif verdicts.counted is not None and not verdicts.strays:
                refused = sum(1 for each in verdicts.outcomes.values() if each.end != "delivered")
                if verdicts.counted + refused == len(batch):
                    common = DELIVERED
        taken = {
            index: text
            for index, text in {**(own or {}), **verdicts.identifiers}.items()
            if verdicts.outcomes.get(index, common).end == "delivered"
        }
        if verdicts.effects:
            effects = Effects.each([verdicts.effects.get(index, effects.of(index)) for index in range(len(batch))])
        return batch.outcomes(verdicts.outcomes, common=common, identifiers=taken, effects=effects)

    def _effects(self, batch: Batch, response: Response, found: Any) -> Effects:
        """What an answer of success says of the records that no entry names."""
        created = self.reading.created
        if not response.ok:
            return Effects.all(self._excused)
        if created is None:
            return Effects.all(_BY_VERB.get(self.verb, "untold"))
        if len(batch) != 1:
            return UNTOLD
        if created.status:
            return Effects.all("created" if response.status in created.status else "updated")
        return Effects.all(_told(created, found))

    @property
    def _excused(self) -> Effect:
        """What a refusal that is declared to be none says: of a removal, that there was nothing to remove."""
        return "same" if self.verb in _GONE_VERBS else "untold"

    def _entry_effect(self, declared: Items | Accepted, entry: Any) -> Effect:
        if declared.created is None:
            return _BY_VERB.get(self.verb, "untold")
        return _told(declared.created, entry)

    def _notices(self, batch: Batch, response: Response, found: Any) -> tuple[str, ...]:
        """What a receipt says that nobody reads. The vendor's own words stay out: they may repeat a record."""
        notices = []
        if response.status == ACCEPTED and not self.any_body:
            notices.append(f"{batch.object}: {_ACCEPTED_ONLY}")
        # the names of the fields can only excuse what looks like a failure without them
        if found is MISSING:
            said = failure_in_text(response.body)
        else:
            said = failure(found, ()) and failure(found, batch.table.column_names)
        if said:
            notices.append(
                f"{batch.object}: an answer {response.status} says `{said}`, "
                f"{_UNREAD_BY_WEBHOOKS if self.any_body else _UNREAD_BY_WORDS}"
            )
        return tuple(notices)

    def _identifier(self, batch: Batch, found: Any) -> dict[int, str]:
        text = "" if found is MISSING or len(batch) != 1 else text_at(found, self.reading.identifier)
        return {0: text} if text else {}

    # -- 4xx, and a 2xx that says no

    def _of_refusal(self, batch: Batch, response: Response, found: Any = None, said: str = "") -> Outcomes:
        """`said`: the words at the place where a success was looked for, where the answer has no others."""
        found = document(response) if found is None else found
        reason = answer_words(response, self.reading.message)
        if said and reason == f"answer {response.status}":
            reason = said
        own_code = code(found, self.reading.code) if found is not MISSING else ""
        if len(batch) == 1 and own_code in self.reading.ends:
            return Outcomes(_outcome(self.reading.ends[own_code], reason, own_code), effects=Effects.all(self._excused))
        if found is not MISSING and self.reading.reads_lists:
            named = self._named(batch, self._verdicts(batch, found))
            if named is not None:
                return named
        if len(batch) == 1 and response.status in (404, 410) and self.addressed:
            if self.verb in _GONE_VERBS:
                return batch.delivered(effects=Effects.all("same"))
            if self.verb == "update":
                return Outcomes(Outcome("suppressed", "not found", GONE))
        return batch.refused(reason, code=own_code or str(response.status))

    def _named(self, batch: Batch, verdicts: _Verdicts) -> Outcomes | None:
        """What a refusal says of single records, if it names any."""
        refused = {i: each for i, each in verdicts.outcomes.items() if each.end not in ("delivered", "unknown")}
        if not refused:
            return None
        if self.reading.partial_4xx:
            return self._rest(batch, verdicts)
        common = Outcome("not_applied", "refused together with other records", "refused_together")
        return batch.outcomes(refused, common=common)

    # -- entries

    def _verdicts(self, batch: Batch, found: Any) -> _Verdicts:
        verdicts = _Verdicts()
        for refused in self.reading.refused:
            for index, entry in self._entries(batch, found, refused, verdicts):
                verdicts.add(index, self._refusal(refused, entry), effect=self._excused)
        accepted = self.reading.accepted
        if accepted is not None:
            self._accepted(batch, found, verdicts)
        items = self.reading.items
        if items is not None:
            for index, entry in self._taken(batch, found, items, verdicts):
                match holds(items.ok, entry):
                    case True:
                        effect = self._entry_effect(items, entry)
                        verdicts.add(index, DELIVERED, text_at(entry, items.identifier), effect)
                    case False:
                        verdicts.add(index, self._refusal(items, entry), effect=self._excused)
                    case None:
                        verdicts.add(index, Outcome("unknown", "the answer does not tell of this record"))
        return verdicts

    def _accepted(self, batch: Batch, found: Any, verdicts: _Verdicts) -> None:
        accepted = self.reading.accepted
        assert accepted is not None
        if accepted.count is not None:
            number = look(found, accepted.count)
            if isinstance(number, int) and not isinstance(number, bool):
                verdicts.present, verdicts.counted = True, number
        elif accepted.index is None and accepted.match is None:
            entries = _list_at(found, accepted)
            if entries is not None:
                verdicts.present, verdicts.counted = True, len(entries)
                if len(batch) == 1 == len(entries):
                    identifier = text_at(entries[0], accepted.identifier)
                    verdicts.identifiers.update({0: identifier} if identifier else {})
                    verdicts.effects[0] = self._entry_effect(accepted, entries[0])
        else:
            for index, entry in self._taken(batch, found, accepted, verdicts):
                effect = self._entry_effect(accepted, entry)
                verdicts.add(index, DELIVERED, text_at(entry, accepted.identifier), effect)

    def _taken(self, batch: Batch, found: Any, declared: Entries, verdicts: _Verdicts) -> list[tuple[int, Any]]:
        """Entries that may vouch for records: none, where one has a place that the request did not have."""
        before = verdicts.strays
        named = list(self._entries(batch, found, declared, verdicts))
        if declared.index is None or verdicts.strays == before:
            return named
        for index, _ in named:
            verdicts.add(index, Outcome("unknown", "the answer names places that the request did not have"))
        return []

    def _refusal(self, declared: Entries, entry: Any) -> Outcome:
        own_code = code(entry, declared.code)
        reason = words(entry, declared.message) if not isinstance(entry, str) or declared.match != "" else ""
        said = reason or declared.words or own_code or WORDLESS
        return _outcome(self.reading.ends.get(own_code, "rejected"), said, own_code)

    def _entries(self, batch: Batch, found: Any, declared: Entries, verdicts: _Verdicts) -> Iterator[tuple[int, Any]]:
        """Each entry with the record that it names; what names none is a stray."""
        entries = _list_at(found, declared)
        if entries is None:
            return
        verdicts.present = True
        if declared.index is not None:
            for entry in entries:
                index = _index(look(entry, declared.index), declared, len(batch))
                if index is None:
                    verdicts.strays += 1
                else:
                    yield index, entry
        elif declared.match is not None:
            yield from self._matched(batch, entries, declared, verdicts)
        elif len(entries) == len(batch):
            yield from enumerate(entries)
        else:
            verdicts.strays += 1

    def _matched(
        self, batch: Batch, entries: Sequence[Any], declared: Entries, verdicts: _Verdicts
    ) -> Iterator[tuple[int, Any]]:
        assert declared.match is not None
        if not entries:
            return
        known: dict[str, list[int]] = {}
        for index, text in enumerate(record_texts(batch, parse_text(declared.to, self.names))):
            known.setdefault(text.casefold() if declared.ignore_case else text, []).append(index)
        for entry in entries:
            value = look(entry, declared.match)
            texts = _texts(value)
            verdicts.strays += not texts
            for text in texts:
                indexes = known.get(text.casefold() if declared.ignore_case else text, [])
                if len(indexes) == 1:
                    yield indexes[0], entry
                else:
                    verdicts.strays += 1
                    for index in indexes:
                        verdicts.outcomes[index] = UNKNOWN


_UNREAD_MIXED: Final = (
    "answer 207 says that records may have ended differently, and no word of `outcomes` reads its body: declare "
    "`items`, `refused` or `accepted`, or `statuses: {207: delivered}` where it means that all were taken"
)
_UNREAD_RECEIPT: Final = (
    "answer 207 says that there are several results, and the answers of a webhook are not read: let it answer 200, "
    "or use type: http with `outcomes`"
)
_UNREAD_BY_WORDS: Final = (
    "which no word of `outcomes` reads; its records count as delivered. Say with `success`, `refused` or `items` what "
    "it means"
)
_UNREAD_BY_WEBHOOKS: Final = (
    "and the answers of a webhook are not read: its records count as delivered. Let it answer 4xx to what it refuses, "
    "or use type: http with `outcomes`"
)
_ACCEPTED_ONLY: Final = (
    "answers are 202, accepted but not yet done: whether the records are taken in the end is not known. Declare `job` "
    "where the tool can be asked, or `statuses: {202: delivered}`"
)


def _told(created: Expectation, found: Any) -> Effect:
    match MISSING if found is MISSING else holds(created, found):
        case True:
            return "created"
        case False:
            return "updated"
        case _:
            return "untold"


def _alien(response: Response) -> str:
    """What a body is that is no JSON, if it is nothing that a tool would answer a write with."""
    start = response.body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return "no JSON, though it says so" if start and "json" in response.headers.get("content-type", "") else ""


def _outcome(end: End, reason: str, own_code: str) -> Outcome:
    return DELIVERED if end == "delivered" else Outcome(end, shortened(reason), own_code)


def holds(expected: Expectation, found: Any) -> bool | None:
    """Does an answer meet an expectation? None if it does not tell."""
    value = look(found, expected.path)
    if expected.absent:
        return value is MISSING or value is None or value in ([], {}, "")
    if value is MISSING:
        return None
    if expected.empty:
        return value in ([], {}, "") if isinstance(value, list | dict | str) else (True if value is None else None)
    if expected.one_of is not None:
        return any(same(value, each) for each in expected.one_of)
    return same(value, expected.equals)


def _list_at(found: Any, declared: Entries) -> list[Any] | None:
    value = look(found, declared.list)
    if declared.keyed and isinstance(value, Mapping):
        return [{"name": name, "value": each} for name, each in value.items()]
    return value if isinstance(value, list) else None


def _index(value: Any, declared: Entries, size: int) -> int | None:
    if isinstance(value, str) and declared.index_pattern is not None:
        before, _, after = declared.index_pattern.partition("{index}")
        inside = re.search(re.escape(before) + r"(\d{1,9})" + (re.escape(after) if after else r"(?!\d)"), value)
        value = inside[1] if inside else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    index = value - declared.first_index
    return index if 0 <= index < size else None


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int) or type(each).__name__ == "Decimal" for each in values):
        return ()
    return tuple(as_text(each) for each in values)


def record_texts(batch: Batch, node: String) -> list[str]:
    """A template as text for every record of a batch; a lone field is read as one column."""
    if isinstance(node, Placeholder):
        name = node.name
        if node.source == "key" and len(batch.match) == 1:
            name = batch.match[0]
        plain = batch.previous is None or name not in batch.previous.column_names or node.source == "fields"
        if node.source in ("fields", "match", "key") and name in batch.table.column_names and plain:
            return [as_text(value) for value in python_values(batch.table.column(name))]
        if node.source == "destination_id" and batch.identifiers is not None:
            return [value or "" for value in batch.identifiers.to_pylist()]
    return [Values(record_of(batch, index)).text(node) for index in range(len(batch))]


def _places(reading: Reading) -> Iterator[str]:
    yield from (place for place in (reading.message, reading.code, reading.identifier) if place)
    yield from (expected.path for expected in reading.success)
    yield from (each.created.path for each in (reading, reading.accepted, reading.items) if each and each.created)
    for entries in reading.lists:
        given = (entries.list, entries.index, entries.match, entries.message, entries.code, entries.identifier)
        yield from (place for place in given if place)
    if reading.accepted is not None and reading.accepted.count:
        yield reading.accepted.count
    if reading.items is not None:
        yield reading.items.ok.path

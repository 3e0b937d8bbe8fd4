"""A tool that answers as a connector's file says that it does, and records that it takes.

So the checks can be run over a file without a line of code: what it declares of answers is put into answers. Whether
the vendor's tool really answers so is not seen here: that is what the file's cases are for.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from levada.batch import Batch
from levada.change import Verb
from levada.destination import Request, Response
from levada.destinations.answers import record_texts
from levada.destinations.declared import DeclaredDestination
from levada.destinations.json_places import steps
from levada.destinations.language import Action
from levada.destinations.questions import FieldFacts
from levada.destinations.reading import Entries, Expectation, Reading
from levada.template import as_text, parse_text

JOB = "77"
RECORDS = 5


@dataclass(frozen=True, slots=True)
class StandIn:
    """Fulfils `levada.testing.destination_bench.Tool` for one verb of one object."""

    destination: DeclaredDestination
    object: str
    verb: Verb

    @property
    def action(self) -> Action:
        found = self.destination.options.action(self.object, self.verb)
        assert found is not None
        return found

    @property
    def reading(self) -> Reading:
        """How the answer that tells of the records is read."""
        job = self.action.job
        return job.results if job is not None and job.results is not None else self.action.outcomes

    @property
    def reads_answers(self) -> bool:
        return self.action.job is not None or bool(self.reading.success) or self.reading.reads_lists

    @property
    def counts_taken(self) -> bool:
        return self.reading.items is not None or self.reading.accepted is not None

    @property
    def _naming(self) -> Sequence[Entries]:
        """The lists by which a refused record is told."""
        return (self.reading.items,) if self.reading.items is not None else self.reading.refused

    @property
    def names_one(self) -> bool:
        return bool(self._naming)

    @property
    def by_name(self) -> bool:
        return all(each.index is not None or each.match is not None for each in self._naming)

    @property
    def by_value(self) -> bool:
        lists = [*self._naming, *([self.reading.accepted] if self.reading.accepted is not None else [])]
        return bool(lists) and all(each.match is not None for each in lists)

    @property
    def looks_up(self) -> bool:
        return self.destination.options.look_up(self.object) is not None

    @property
    def identifies(self) -> bool:
        """Does an answer tell the tool's own id of every record?"""
        entries = self.reading.items or self.reading.accepted
        if entries is not None:
            found = entries.identifier is not None
            return found and (entries.index is not None or entries.match is not None or self.reading.items is not None)
        return (
            self.reading.identifier is not None
            and self.destination.limits(self.object, self.verb).records_per_request == 1
        )

    # -- answers

    def accepts(self, batch: Batch, request: Request) -> Response:
        return self._answer(batch, None, request)

    def refuses(self, batch: Batch, index: int, request: Request) -> Response:
        return self._answer(batch, index, request)

    def finds(self, batch: Batch, request: Request) -> Response:
        declared = self.destination.options.look_up(self.object)
        assert declared is not None
        texts = record_texts(batch, parse_text(declared.to))
        entries: list[Any] = []
        for index, text in enumerate(texts):
            entry = put({}, declared.identifier, _id(batch, index))
            entries.append(put(entry, declared.match, text) if declared.match is not None else entry)
        return _json(put({}, declared.list, entries if declared.match is not None else entries[:1]))

    def describes(self, request: Request) -> Response:
        """The object by its name, with the fields of its records."""
        declared = self.destination.options.discover
        path = request.url.partition("?")[0]
        if declared.fields is not None and _meant(declared.fields.send, request.method, path):
            if "{object}" in declared.fields.send and self.object not in path.split("/"):
                return Response(404)
            entries = [put({}, declared.fields.name, name) for name in self.records()[0]]
            return _json(put({}, declared.fields.list, entries))
        if declared.objects is not None:
            entry: Any = put({}, declared.objects.name, self.object)
            return _json(put({}, declared.objects.list, [entry]))
        return Response(404)

    def _answer(self, batch: Batch, refused: int | None, request: Request) -> Response:
        path = request.url.removeprefix(self.destination.base_url).partition("?")[0]
        declared = self.destination.options.look_up(self.object)
        own = self.action.send
        if declared is not None and _meant(declared.send, request.method, path) and declared.send != own:
            return self.finds(batch, request)
        job = self.action.job
        if job is None:
            return _json(self._document(self.reading, batch, refused))
        if job.results is not None and _meant(job.results.send, request.method, path):
            return _written(self._document(job.results, batch, refused), job.results.format, self._columns(job.results))
        state = self._document(self.action.outcomes, batch, refused) if job.results is None else {}
        if _meant(job.status, request.method, path):
            return _json(put(state, job.until.path, job.until.done[0]))
        return _json(put({}, job.id, JOB), 202)

    def _document(self, reading: Reading, batch: Batch, refused: int | None) -> Any:
        found: Any = {}
        for expected in reading.success:
            found = _met(found, expected)
        for number, entries in enumerate(reading.refused):
            named = [self._entry(entries, batch, refused)] if refused is not None and number == 0 else []
            found = put(
                found,
                entries.list,
                _listed(entries, [{**each, **_words(entries)} if isinstance(each, dict) else each for each in named]),
            )
        taken = [index for index in range(len(batch)) if index != refused]
        accepted = reading.accepted
        if accepted is not None and accepted.count is not None:
            found = put(found, accepted.count, len(taken))
        elif accepted is not None:
            found = put(
                found, accepted.list, _listed(accepted, [self._entry(accepted, batch, index) for index in taken])
            )
        items = reading.items
        if items is not None:
            made = [
                _met(self._entry(items, batch, index), items.ok)
                if index != refused
                else {**_unmet(self._entry(items, batch, index), items.ok), **_words(items)}
                for index in range(len(batch))
            ]
            found = put(found, items.list, _listed(items, made))
        if reading.identifier is not None and len(batch) == 1:
            found = put(found, reading.identifier, _id(batch, 0))
        return found

    def _entry(self, declared: Entries, batch: Batch, index: int) -> Any:
        entry: Any = {}
        if declared.index is not None:
            place: Any = index + declared.first_index
            if declared.index_pattern is not None:
                place = declared.index_pattern.replace("{index}", str(place))
            entry = put(entry, declared.index, place)
        if declared.identifier is not None:
            entry = put(entry, declared.identifier, _id(batch, index))
        if declared.match is not None:
            entry = put(entry, declared.match, record_texts(batch, parse_text(declared.to))[index])
        return entry

    @staticmethod
    def _columns(reading: Reading) -> list[str]:
        names = [each.match or each.index or "" for each in reading.refused] + [
            each.message or "message" for each in reading.refused
        ]
        return names or ["id"]

    # -- records

    def records(self) -> list[dict[str, Any]]:
        """Records with a value in each field that is declared, or that the requests name."""
        declared = self.destination.options.objects.get(self.object)
        facts = dict(declared.fields) if declared is not None else {}
        match = declared.match if declared is not None and declared.match else ()
        requests = self.destination.facts(self.object, self.verb)
        named = [each.name for each in (*requests.held, *requests.asked) if each.name]
        names = list(dict.fromkeys([*(match or named[:1] or ["number"]), *facts, *named]))
        if len(names) == 1 and not facts:
            names.append("name")
        writable = [name for name in names if name not in facts or facts[name].writable or name in match]
        return [
            {name: _value(name, facts.get(name, FieldFacts()), place, unique=name in match) for name in writable}
            for place in range(RECORDS)
        ]

    def match(self) -> tuple[str, ...]:
        declared = self.destination.options.objects.get(self.object)
        return (declared.match if declared is not None else None) or (next(iter(self.records()[0])),)


def put(tree: Any, place: str, value: Any) -> Any:
    """The tree with a value at a place; what is on the way is made."""
    return _put(tree, steps(place), value)


def _put(tree: Any, path: Sequence[str | int], value: Any) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        items = list(tree) if isinstance(tree, list) else []
        items += [{}] * (step + 1 - len(items))
        items[step] = _put(items[step], rest, value)
        return items
    members = dict(tree) if isinstance(tree, dict) else {}
    members[step] = _put(members.get(step), rest, value)
    return members


def _met(tree: Any, expected: Expectation) -> Any:
    """The tree as a success has it."""
    if expected.absent:
        return tree
    if expected.empty:
        return put(tree, expected.path, [])
    return put(tree, expected.path, expected.one_of[0] if expected.one_of is not None else expected.equals)


def _unmet(tree: Any, expected: Expectation) -> Any:
    other: Any = ["no"] if expected.empty else "no"
    if isinstance(expected.equals, bool):
        other = not expected.equals
    return put(tree, expected.path, other)


def _words(declared: Entries) -> dict[str, Any]:
    found: dict[str, Any] = put({}, declared.message or "message", "not this one")
    return found


def _listed(declared: Entries, entries: list[Any]) -> Any:
    return {each["name"]: each.get("value", "") for each in entries} if declared.keyed else entries


def _id(batch: Batch, index: int) -> str:
    """The tool's id of a record: by its own value, so that a place mistaken for it shows."""
    return f"id-{as_text(batch.records[index][batch.match[0]])}"


def _meant(send: str, method: str, path: str) -> bool:
    """Is this the request of a template?"""
    declared, _, template = send.partition(" ")
    pattern = re.sub(r"\\\{[^{}]*\\\}", "[^/]+", re.escape(template.partition("?")[0]))
    return method == declared and re.fullmatch(pattern, path) is not None


def _json(document: Any, status: int = 200) -> Response:
    text = json.dumps(document, default=str)
    return Response(status, {"content-type": "application/json", "x-request-id": "r-1"}, text.encode())


def _written(document: Any, form: str, columns: list[str]) -> Response:
    """The results of a job in the format that they are declared in."""
    if form == "json":
        return _json(document)
    rows = document if isinstance(document, list) else []
    if form == "json_lines":
        return Response(200, {}, b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return Response(200, {}, sink.getvalue().encode())


def _value(name: str, facts: FieldFacts, place: int, *, unique: bool) -> Any:
    """A value that the field takes."""
    if facts.choices and not unique:
        return facts.choices[place % len(facts.choices)]
    match facts.type:
        case "integer":
            return place + 1
        case "decimal":
            return Decimal(place) + Decimal("0.50")
        case "number":
            return place + 0.5
        case "boolean":
            return place % 2 == 0
        case "date":
            return date(2026, 1, place + 1)
        case "timestamp":
            return datetime(2026, 1, place + 1, 12, 30)  # noqa: DTZ001 - a local time has no zone
        case "timestamp_tz":
            return datetime(2026, 1, place + 1, 12, 30, tzinfo=UTC)
        case "json":
            return json.dumps({"n": place})
        case "binary":
            return bytes([place])
    text = f"{'R' if unique else 'V'}-{place}"
    return f"{text}@example.com" if unique and "mail" in name else text

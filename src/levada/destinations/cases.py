"""Runs a connector's cases: records in, requests out, answers in, outcomes out. Nothing is sent.

`levada test` and the tests of shipped connectors use the same function. Batches are cut as delivery would cut
them, but a refused batch is not halved: a case that expects that says `refused: its words`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pyarrow as pa

from levada.batch import Batch
from levada.change import Verb
from levada.destination import Request, Response
from levada.destinations.connectors import located, opened, read_connector, stand_ins
from levada.destinations.declared import DeclaredDestination
from levada.destinations.example import example_batch
from levada.destinations.json_places import read_json, same
from levada.destinations.language import VERBS, Case, CaseAnswer, CaseRequest, Connector
from levada.errors import ConfigError, LevadaError, Where
from levada.mapping import FieldType
from levada.nearest import nearest_hint
from levada.outcome import Effect, Outcomes
from levada.template import as_text, field_steps, json_bytes, json_text

REQUESTS_MAX = 1_000
"""A case that makes more requests than this has gone astray."""

Locate = Callable[..., Where]
"""The place of a part of the connector's file: `at("cases", 0)`."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case of one connector. `failure` says what differs, a line each; empty if nothing does."""

    connector: str
    case: str
    failure: str = ""
    where: Where | None = None

    @property
    def passed(self) -> bool:
        return not self.failure

    def as_dict(self) -> dict[str, Any]:
        return {
            "connector": self.connector,
            "case": self.case,
            "passed": self.passed,
            "failure": self.failure or None,
            "where": str(self.where) if self.where else None,
        }


def run_cases_of(name: str, path: Path) -> tuple[CaseResult, ...]:
    """Every case of a connector's file. Raises ConfigErrors and ConfigError for what is wrong in it."""
    connector, positions = read_connector(path)
    with located(positions):
        return run_cases(name, connector, positions.at)


def run_cases(name: str, connector: Connector, at: Locate | None = None) -> tuple[CaseResult, ...]:
    """Every case of a connector, run by itself. Raises ConfigError where the connector cannot be opened."""
    destination = opened(name, name, connector, stand_ins(connector))
    results: list[CaseResult] = []
    for number, case in enumerate(connector.cases):
        where = at("cases", number) if at is not None else None
        try:
            differences = list(_Conversation(destination, case).differences())
        except KeyError as error:
            differences = [f"the requests name {{{error.args[0]}}}, which the records of the case do not have"]
        except LevadaError as error:
            differences = [error.message]
        except (ValueError, pa.ArrowException) as error:
            differences = [f"{type(error).__name__}: {error}"]
        if differences and where is not None:
            differences.append(f"at {where}")
        results.append(CaseResult(name, case.name, "\n".join(differences), where))
    return tuple(results)


@dataclass(slots=True)
class _Conversation:
    """One case being held, with what has been found to differ."""

    destination: DeclaredDestination
    case: Case
    sent: int = 0
    found: list[str] = field(default_factory=list)

    def differences(self) -> Iterator[str]:
        verb, object_name = _verb_of(self.case)
        whole = batch_of(self.destination, self.case, verb, object_name)
        size = self.destination.limits(object_name, verb).records_per_request
        parts: list[tuple[int, Outcomes]] = []
        words: list[str] = []
        effects: list[Effect] = []
        for start in range(0, len(whole), size):
            part = whole.slice(start, min(size, len(whole) - start)) if size < len(whole) else whole
            outcomes = self._deliver(part)
            if outcomes is None:
                break
            parts.append((len(part), outcomes))
            words += [_shown(outcomes, index) for index in range(len(part))]
            effects += [outcomes.effects.of(index) for index in range(len(part))]
        yield from self.found
        if len(words) == len(whole):
            for index, (expected, actual) in enumerate(zip(self.case.outcomes, words, strict=True)):
                if actual != expected and actual.partition(":")[0] != expected:
                    yield f"record {index}: expected {expected!r}, got {actual!r}"
            if self.case.effects is not None:
                wanted = self.case.effects if len(self.case.effects) > 1 else self.case.effects * len(whole)
                for index, (expect, seen) in enumerate(zip(wanted, effects, strict=True)):
                    if expect != seen:
                        yield f"record {index}: expected the effect {expect}, got {seen}"
            if self.sent < len(self.case.sends):
                yield f"request {self.sent + 1} was expected and not made: {self.case.sends[self.sent].send}"
            if self.sent < len(self._answers):
                yield f"answer {self.sent + 1} was never asked for"

    def _deliver(self, batch: Batch) -> Outcomes | None:
        """The outcomes of one batch; None where an answer is missing or a request differs."""
        talk = self.destination.deliver(batch)
        answer: Response | None = None
        for _ in range(REQUESTS_MAX):
            try:
                request = next(talk) if answer is None else talk.send(answer)
            except StopIteration as stop:
                outcomes: Outcomes = stop.value
                return outcomes
            self.found += self._compared(request)
            declared = self._answer()
            self.sent += 1
            if self.found or declared is None:
                talk.close()
                return None
            answer = _response(declared)
        self.found.append(f"over {REQUESTS_MAX} requests")
        return None

    def _compared(self, request: Request) -> Sequence[str]:
        if not self.case.sends:
            return ()
        if self.sent >= len(self.case.sends):
            return (f"request {self.sent + 1} was not expected: {_line(request)}",)
        return list(compared(self.case.sends[self.sent], request, self.sent + 1))

    def _answer(self) -> CaseAnswer | None:
        if self.sent >= len(self._answers):
            if not self.found:
                self.found.append(f"the case has no answer to request {self.sent + 1}")
            return None
        return self._answers[self.sent]

    @property
    def _answers(self) -> tuple[CaseAnswer, ...]:
        return (self.case.answer,) if self.case.answer is not None else self.case.answers


def _line(request: Request) -> str:
    query = f"{'&' if '?' in request.url else '?'}{urlencode(request.query)}" if request.query else ""
    return f"{request.method} {request.url}{query}"


def compared(expected: CaseRequest, request: Request, number: int) -> Iterator[str]:
    """What differs between a request and the one expected, a line each."""
    actual_line, _, actual_query = _line(request).partition("?")
    line, _, query = expected.send.partition("?")
    if line != actual_line or sorted(parse_qsl(query, True)) != sorted(parse_qsl(actual_query, True)):
        yield f"request {number}: expected {expected.send}, got {_line(request)}"
    headers = {name.lower(): value for name, value in request.headers.items()}
    for name, value in expected.headers.items():
        if headers.get(name.lower()) != value:
            yield f"request {number}: expected header {name}: {value}, got {headers.get(name.lower())}"
    body = (request.body or b"").decode()
    if expected.text is not None and body != expected.text:
        yield f"request {number}: expected the body {expected.text!r}, got {body!r}"
    if "json_" in expected.model_fields_set:
        try:
            found = read_json(body)
        except ValueError:
            yield f"request {number}: the body is not JSON: {body!r}"
            return
        if not same(expected.json_, found):
            yield f"request {number}: expected the body {json_text(expected.json_)}, got {body}"


def _response(declared: CaseAnswer) -> Response:
    headers = {name.lower(): value for name, value in declared.headers.items()}
    if declared.text is not None:
        return Response(declared.status, headers, declared.text.encode())
    if "json_" not in declared.model_fields_set:
        return Response(declared.status, headers)
    return Response(declared.status, headers, json_bytes(declared.json_))


def _shown(outcomes: Outcomes, index: int) -> str:
    """An outcome as a case writes it."""
    outcome = outcomes.of(index)
    end = outcome.end if outcomes.attributed else "refused"
    return f"{end}: {outcome.reason}" if outcome.reason else end


def _verb_of(case: Case) -> tuple[Verb, str]:
    for verb in VERBS:
        object_name = getattr(case, verb)
        if object_name is not None:
            return verb, object_name
    raise AssertionError("a case has exactly one verb")


def batch_of(destination: DeclaredDestination, case: Case, verb: Verb, object_name: str) -> Batch:
    """A case's records as the batch that delivery would make of them.

    Raises ConfigError for an object that there cannot be, and for a field that a sync could not map.
    """
    options = destination.options
    declared = options.shape(object_name)
    if declared is None:
        hint = nearest_hint(object_name, list(options.objects))
        message = f"{destination.name} has no object {object_name}: {hint}"
        raise ConfigError(message, code="config.unknown_object", hint=hint)
    closed = options.closed(object_name)
    for name in dict.fromkeys(name for record in case.records for name in record):
        if closed is not None and not {name, field_steps(name)[0]} & closed:
            hint = nearest_hint(name, list(closed))
            message = f"{destination.name}.{object_name} has no field {name}: {hint}"
            raise ConfigError(message, code="config.unknown_field", hint=hint)
    types: dict[str, FieldType] = {name: each.type for name, each in declared.fields.items()}

    def row(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: typed(value, types.get(name, "any")) for name, value in values.items()}

    return example_batch(
        [row(record) for record in case.records],
        object_name=object_name,
        verb=verb,
        match=case.match or declared.match or tuple(case.records[0])[:1],
        template=destination.template(object_name, verb),
        kind=case.kind,
        changed=case.changed,
        before=[row(values) for values in case.before],
        identifiers=case.identifiers,
        nulls=case.nulls,
        embedded=frozenset(name for name, type_ in types.items() if type_ == "json"),
    )


def typed(value: Any, type_: FieldType) -> Any:
    """A value of a case, which YAML knows as text or number, as the field's type. Raises ValueError."""
    if value is None:
        return None
    match type_:
        case "decimal":
            return Decimal(str(value))
        case "date" if isinstance(value, str):
            return date.fromisoformat(value)
        case "timestamp" | "timestamp_tz" if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment
        case "binary" if isinstance(value, str):
            return base64.b64decode(value, validate=True)
        case "json" if not isinstance(value, str):
            return json.dumps(value)
        case "text" if not isinstance(value, str | Mapping | list):
            return as_text(value)
        case _:
            return value

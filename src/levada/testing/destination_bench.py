"""What the checks of an HTTP destination stand on: a destination, records, and how its tool answers.

Also the words in which a check fails (`expect`) and the conditions under which one says nothing of a tool (`needs`).
The checks themselves are in the modules that `levada.testing.destinations` lists.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import levada
from levada.batch import Batch
from levada.change import Verb
from levada.destination import DeliveryClass, Destination, Request, Response, Talk
from levada.destinations.example import example_batch
from levada.errors import LevadaError
from levada.outcome import Outcomes
from levada.template import Node, parse

if TYPE_CHECKING:
    from levada.destinations.cases import CaseResult
    from levada.destinations.language import Connector

REQUESTS_MAX = 1_000
"""A connector that asks for more requests than this in a check has gone astray."""
FULL_MAX = 500
"""The most records that a check puts into one batch."""
SEEN_CHARACTERS_MAX = 400
REMOVALS = ("delete", "archive", "remove")
PAGE = "docs/reference/conformance-kit.md"

Answers = Callable[[Request], Response]


class Tool(Protocol):
    """A tool whose answers need to know the batch, where a request alone does not tell."""

    def accepts(self, batch: Batch, request: Request) -> Response: ...

    def refuses(self, batch: Batch, index: int, request: Request) -> Response: ...

    def finds(self, batch: Batch, request: Request) -> Response: ...


class Broken(AssertionError):
    """A connector breaks a check: what was expected, what was seen, and how to mend it."""

    def __init__(self, expected: str, seen: object, mend: str) -> None:
        self.expected = expected
        text = seen if isinstance(seen, str) else repr(seen)
        self.seen = text if len(text) <= SEEN_CHARACTERS_MAX else text[:SEEN_CHARACTERS_MAX] + "…"
        self.mend = mend
        super().__init__(f"expected {expected}; seen {self.seen}; to mend: {mend}")


def expect(held: object, expected: str, seen: object, mend: str) -> None:
    """Raise Broken unless `held` is true."""
    if not held:
        raise Broken(expected, seen, mend)


def token_answer(request: Request) -> Response:
    """A token, as RFC 6749 says it is answered."""
    return Response(200, {}, json.dumps({"access_token": "t" * 40, "expires_in": 3600}).encode())


@dataclass(frozen=True, slots=True)
class ConnectorBench:
    """A destination, records that it takes (at least three), and how its tool answers.

    `accepted(request)` is the tool's answer to any request of a conversation in which every record is taken;
    `refused(request)` one that refuses it as a whole, with a 4xx. `one_refused(request, index)`, where
    the tool can say it, takes all records but one; `by_name`: by its match value or position, not by the order of
    the answer. `reads_answers`: is a 2xx judged by its body? `any_body`: a 2xx is a receipt whatever stands in it,
    a web page too. `describes`, `checked`, `finds` and `signs_in` answer `describe`, `check`, `look_up` (with every
    record found) and a token request, where it asks. `identifier`: the tool's id of a record that was taken.
    """

    destination: Destination
    object: str
    verb: Verb
    records: Sequence[Mapping[str, Any]]
    match: tuple[str, ...]
    accepted: Answers = lambda request: Response(200, {}, b"{}")
    refused: Answers = lambda request: Response(400, {}, b'{"message": "not like this"}')
    one_refused: Callable[[Request, int], Response] | None = None
    by_name: bool = True
    reads_answers: bool = False
    describes: Answers = lambda request: Response(500)
    any_body: bool = False
    #: does an answer say which, or how many, records were taken? None: wherever answers are read
    counts_taken: bool | None = None
    #: does an answer that is JSON and says nothing mean that all records were taken?
    empty_is_taken: bool = False
    #: is an entry found by the record's own value, so that a foreign one can be told?
    by_value: bool | None = None
    checked: Answers = lambda request: Response(200, {}, b"{}")
    finds: Callable[[Batch, Request], Response] | None = None
    signs_in: Answers = token_answer
    identifier: Callable[[Mapping[str, Any]], str] | None = None
    #: what the destination was opened with and nobody may see, besides what its auth names
    secrets: tuple[str, ...] = ()
    #: the encoding has no NULL: an empty cell stands for it
    null_is_empty: bool = False
    #: the file that declares the connector, and its cases as they went
    connector: Connector | None = None
    cases: tuple[CaseResult, ...] = ()
    tool: Tool | None = None

    def __str__(self) -> str:
        return f"{self.destination.spec.type} ({self.object}, {self.verb})"

    @property
    def size(self) -> int:
        """How many of the records go into one request."""
        return min(len(self.records), self.limit)

    @property
    def limit(self) -> int:
        """How many records one request of this verb may hold."""
        return self.destination.limits(self.object, self.verb).records_per_request

    def delivery_class(self, verb: Verb | None = None) -> DeliveryClass:
        """What may be done after the answer to this verb was lost, or to another of the object's."""
        return self.destination.spec.delivery_class(self.object, verb or self.verb)

    @property
    def secret_values(self) -> list[str]:
        """Every secret of the account that is long enough to be told from a word."""
        auth = self.destination.auth
        return [each for each in (*self.secrets, *(auth.secrets() if auth is not None else ())) if len(each) >= 8]

    def template(self, verb: Verb) -> Node | None:
        found = self.destination.template(self.object, verb)
        return None if found is None else parse(found)

    def batch(
        self,
        size: int | None = None,
        start: int = 0,
        *,
        records: Sequence[Mapping[str, Any]] | None = None,
        verb: Verb | None = None,
    ) -> Batch:
        """Records of the bench, or others, as a batch; their operations are their places on the bench."""
        chosen = records if records is not None else self.records[start : start + (self.size if size is None else size)]
        done = verb or self.verb
        known = [f"id-{each[self.match[0]]}" for each in chosen] if done in (*REMOVALS, "update") else None
        return example_batch(
            chosen,
            object_name=self.object,
            verb=done,
            match=self.match,
            template=self.template(done),
            identifiers=known,
            first=start,
        )

    def full(self, size: int) -> list[dict[str, Any]]:
        """So many records, made of those of the bench with match values of their own."""
        made: list[dict[str, Any]] = []
        for place in range(size):
            record = dict(self.records[place % len(self.records)])
            value = record[self.match[0]]
            record[self.match[0]] = f"{place:03d}{value}" if isinstance(value, str) else 10_000 + place
            made.append(record)
        return made

    def accepting(self, batch: Batch) -> Answers:
        return self.accepted if self.tool is None else partial(self.tool.accepts, batch)

    def refusing(self, batch: Batch, index: int) -> Answers:
        """The tool takes all records of the batch but one."""
        if self.tool is not None:
            return partial(self.tool.refuses, batch, index)
        assert self.one_refused is not None
        named = self.one_refused
        return lambda request: named(request, index)

    def finding(self, batch: Batch) -> Answers:
        """The tool's answers to a look-up, with every record found."""
        found = self.finds if self.tool is None else self.tool.finds
        assert found is not None
        return partial(found, batch)

    def deliver(self, batch: Batch, answers: Answers) -> tuple[Outcomes, list[Request]]:
        return held(self.destination.deliver(batch), answers)

    def taken(self, batch: Batch) -> tuple[Outcomes, list[Request], list[Response]]:
        """A delivery in which every record is taken: outcomes, requests and the tool's answers."""
        told: list[Response] = []
        answers = self.accepting(batch)

        def noted(request: Request) -> Response:
            told.append(answers(request))
            return told[-1]

        outcomes, requests = self.deliver(batch, noted)
        return outcomes, requests, told


def replayed(told: Iterable[Response], then: Response | None = None) -> Answers:
    """The same answers again in their order, and then always `then`."""
    left = iter(told)
    return lambda request: next(left, then or Response(200, {}, b"{}"))


def always(answer: Response) -> Answers:
    """The same answer to every request."""
    return lambda request: answer


def held(talk: Talk[Any], answers: Answers) -> tuple[Any, list[Request]]:
    """A conversation, held to its end: its result and the requests made."""
    requests: list[Request] = []
    answer: Response | None = None
    while len(requests) <= REQUESTS_MAX:
        try:
            request = next(talk) if answer is None else talk.send(answer)
        except StopIteration as stop:
            return stop.value, requests
        requests.append(request)
        answer = answers(request)
    raise Broken(
        "a conversation that ends",
        f"over {REQUESTS_MAX} requests",
        "put a limit on every loop, and end with batch.unknown(…) when it is reached",
    )


def ends(outcomes: Outcomes, size: int) -> list[str]:
    """The end of each record, once it is sure that no other record is spoken of."""
    expect(isinstance(outcomes, Outcomes), "outcomes", outcomes, "return batch.delivered(), batch.refused(…) or others")
    strange = [index for index in (*outcomes.exceptions, *outcomes.identifiers) if not 0 <= index < size]
    expect(not strange, f"outcomes of records 0 to {size - 1}", strange, "name records by their index in the batch")
    return [outcomes.of(index).end for index in range(size)]


def shown(outcomes: Outcomes, size: int) -> str:
    """Outcomes as a message shows them."""
    words = []
    for index in range(min(size, 10)):
        outcome = outcomes.of(index)
        words.append(f"{index} {outcome.end}{': ' + outcome.reason[:60] if outcome.reason else ''}")
    return "; ".join(words) + ("" if outcomes.attributed else " (as a whole)")


def sent_text(requests: Iterable[Request]) -> str:
    """Everything that requests say besides their headers, for looking values up."""
    return "\n".join(
        f"{each.url} {dict(each.query)} {(each.body or b'').decode('utf-8', 'replace')}" for each in requests
    )


Check = Callable[[ConnectorBench], None]
Need = Callable[[ConnectorBench], str]
"""Why a check says nothing of this connector; empty where it does."""

_NEEDS: dict[Check, tuple[Need, ...]] = {}


def needs(*conditions: Need) -> Callable[[Check], Check]:
    """A check that says something only where none of these finds a reason against it."""

    def noted(check: Check) -> Check:
        _NEEDS[check] = conditions
        return check

    return noted


def why_not(check: Check, bench: ConnectorBench) -> str:
    """Why the check does not apply to this connector, in words; empty where it does, and where that cannot be told."""
    try:
        return next((reason for need in _NEEDS.get(check, ()) if (reason := need(bench))), "")
    except Exception:  # noqa: BLE001 - the check itself then fails, and says why
        return ""


def name_of(check: Check) -> str:
    return check.__name__


def promise_of(check: Check) -> str:
    """The check's docstring on one line."""
    return " ".join((check.__doc__ or "").split())


def explained(check: Check, bench: ConnectorBench, error: BaseException) -> str:
    """What an author reads when a check fails."""
    if isinstance(error, Broken):
        expected, seen, mend = error.expected, error.seen, error.mend
    else:
        expected, mend = (
            "a conversation without an error of its own",
            "the connector raised this itself: see the line named",
        )
        seen = f"{type(error).__name__}: {str(error)[:SEEN_CHARACTERS_MAX]}{_place(error)}"
        if isinstance(error, LevadaError) and error.hint:
            mend = error.hint
    return "\n".join(
        (
            f"{bench} breaks {name_of(check)}",
            f"  promise:  {promise_of(check)}",
            f"  expected: {expected}",
            f"  seen:     {seen}",
            f"  to mend:  {mend}",
        )
    )


def _place(error: BaseException) -> str:
    """Where an error was raised: the innermost line that is not Levada's own, else the innermost."""
    frames = traceback.extract_tb(error.__traceback__)
    home = str(Path(levada.__file__).parent)
    own = [frame for frame in frames if not frame.filename.startswith(home)]
    chosen = (own or frames)[-1:]
    return "".join(f" ({frame.filename}:{frame.lineno})" for frame in chosen)


# Reasons for which a check says nothing of a tool.


def signs_in(bench: ConnectorBench) -> str:
    return "" if bench.destination.auth is not None else "it needs no credential"


def asks_for_tokens(bench: ConnectorBench) -> str:
    auth = bench.destination.auth
    return "" if auth is not None and auth.refreshes else "its credential is fixed"


def reads_answers(bench: ConnectorBench) -> str:
    return "" if bench.reads_answers else "its tool is judged by the status alone"


def counts_taken(bench: ConnectorBench) -> str:
    told = bench.reads_answers if bench.counts_taken is None else bench.counts_taken
    return "" if told else "its tool does not say what was taken"


def names_one(bench: ConnectorBench) -> str:
    told = bench.one_refused is not None if bench.tool is None else bool(getattr(bench.tool, "names_one", False))
    return "" if told else "its tool names no single record"


def names_by_value(bench: ConnectorBench) -> str:
    told = bench.by_name if bench.by_value is None else bench.by_value
    return "" if told else "its tool tells of records by their place, not by a value"


def several(bench: ConnectorBench) -> str:
    return "" if bench.size > 1 else "one record goes into a request"


def three(bench: ConnectorBench) -> str:
    return "" if bench.size > 2 else "fewer than three records go into a request"


def minds_bodies(bench: ConnectorBench) -> str:
    return "any_body: a 2xx is a receipt whatever it says" if bench.any_body else ""


def has_look_up(bench: ConnectorBench) -> str:
    has = bench.finds is not None if bench.tool is None else bool(getattr(bench.tool, "looks_up", False))
    return "" if has else "it has no look-up"


def tells_identifiers(bench: ConnectorBench) -> str:
    return "" if bench.identifier is not None else "its tool tells no ids"


def is_declared(bench: ConnectorBench) -> str:
    return "" if bench.connector is not None else "it is no connector's file with cases"


def matches_by_text(bench: ConnectorBench) -> str:
    return "" if isinstance(bench.records[0][bench.match[0]], str) else "its match field is no text"

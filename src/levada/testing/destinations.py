"""The contract of an HTTP destination as checks, to be run over every connector:

    BENCH = ConnectorBench(acme, "customers", "upsert", RECORDS, ("number",), accepted)

    @pytest.mark.parametrize("check", checks_for(BENCH), ids=name_of)
    def test_acme_keeps_the_contract(check):
        check(BENCH)

A check holds the connector's conversation by hand: no network, no waiting. What is not here: what delivery does
for every connector (throttling, expired credentials, repeats), and what only one vendor has (its cases).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from levada.batch import Batch
from levada.change import Verb
from levada.destination import Credential, Destination, ObjectSpec, Request, Response, Talk
from levada.errors import AuthError, ConfigError, DestinationError
from levada.example import example_batch
from levada.limits import Limits
from levada.outcome import Outcomes
from levada.template import Node, parse

REQUESTS_MAX = 1_000
"""A connector that asks for more requests than this in a check has gone astray."""

Answers = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class ConnectorBench:
    """A destination, records that it takes (at least three), and how its tool answers.

    `accepted(request)` is the tool's answer to any request of a conversation in which every record is taken;
    `refused(request)` one that refuses it as a whole, with a 4xx. `one_refused(request, index)`, where
    the tool can say it, takes all records but one; `by_name`: by its match value or position, not by the order of
    the answer. `reads_answers`: is a 2xx judged by its body? `describes` answers what
    `describe` asks, where it asks.
    """

    destination: Destination
    object: str
    verb: Verb
    records: Sequence[Mapping[str, Any]]
    match: tuple[str, ...]
    accepted: Answers
    refused: Answers = lambda request: Response(400, {}, b'{"message": "not like this"}')
    one_refused: Callable[[Request, int], Response] | None = None
    by_name: bool = True
    reads_answers: bool = False
    describes: Answers = lambda request: Response(500)

    @property
    def template(self) -> Node | None:
        found = self.destination.template(self.object, self.verb)
        return None if found is None else parse(found)

    @property
    def size(self) -> int:
        """How many of the records go into one request."""
        return min(len(self.records), self.destination.limits(self.object, self.verb).records_per_request)

    def batch(self, size: int | None = None, start: int = 0) -> Batch:
        return example_batch(
            self.records[start : start + (self.size if size is None else size)],
            object_name=self.object,
            verb=self.verb,
            match=self.match,
            template=self.template,
        )

    def deliver(self, batch: Batch, answers: Answers) -> tuple[Outcomes, list[Request]]:
        return held(self.destination.deliver(batch), answers)


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
    raise AssertionError(f"over {REQUESTS_MAX} requests")


def ends(outcomes: Outcomes, size: int) -> list[str]:
    assert all(0 <= index < size for index in (*outcomes.exceptions, *outcomes.identifiers))
    return [outcomes.of(index).end for index in range(size)]


Check = Callable[[ConnectorBench], None]


def name_of(check: Check) -> str:
    return check.__name__


# What it declares.


def check_it_is_a_destination(bench: ConnectorBench) -> None:
    """It has all that the contract names, and a title and a page to read."""
    assert isinstance(bench.destination, Destination)
    spec = bench.destination.spec
    assert spec.type
    assert spec.title
    assert isinstance(spec.limits, Limits)
    assert spec.max_server_seconds > 0


def check_it_describes_its_object(bench: ConnectorBench) -> None:
    """The object has the verb, and every record's fields are among those it takes."""
    found, requests = held(bench.destination.describe(bench.object), bench.describes)
    assert isinstance(found, ObjectSpec)
    assert bench.verb in found.verbs
    assert all(request.safe for request in requests), "describing changes nothing"
    if not found.open:
        assert {name for record in bench.records for name in record} <= {each.name for each in found.fields}


def check_every_verb_has_a_class(bench: ConnectorBench) -> None:
    """What may be done after an answer was lost is said for every verb."""
    found, _ = held(bench.destination.describe(bench.object), bench.describes)
    assert set(found.verbs) <= set(bench.destination.spec.classes)


def check_the_records_fit_its_limits(bench: ConnectorBench) -> None:
    """A verb's limits keep the account's rates."""
    own, account = bench.destination.limits(bench.object, bench.verb), bench.destination.spec.limits
    assert own.seconds_per_request == account.seconds_per_request
    assert own.records_per_request >= 1


def check_an_unknown_object_is_a_configuration_error(bench: ConnectorBench) -> None:
    """An object that there is not is named when the project is checked; open tools take any."""
    try:
        found, _ = held(bench.destination.describe("no_such_object"), bench.describes)
    except (ConfigError, DestinationError):
        return
    assert found.open, "an object that was never declared was described"


# What it sends.


def check_requests_are_relative_or_absolute(bench: ConnectorBench) -> None:
    """A URL is a path below the base URL, or whole; it holds no spaces and no credentials."""
    _, requests = bench.deliver(bench.batch(), bench.accepted)
    assert requests, "a delivery that sends nothing delivers nothing"
    for request in requests:
        parts = urlsplit(request.url)
        assert request.url.startswith(("/", "http://", "https://"))
        assert parts.username is None
        assert " " not in request.url


def check_no_request_holds_a_secret(bench: ConnectorBench) -> None:
    """Credentials are delivery's to add: what a connector makes may be shown to a person."""
    auth = bench.destination.auth
    secrets = [secret for secret in auth.secrets() if len(secret) >= 8] if auth is not None else []
    _, requests = bench.deliver(bench.batch(), bench.accepted)
    shown = repr(requests) + repr(bench.destination) + repr(auth)
    assert not [secret for secret in secrets if secret in shown]


def check_the_same_batch_makes_the_same_requests(bench: ConnectorBench) -> None:
    """A repeat is the same to the byte, its idempotency key included: attempt and time do not show."""
    _, first = bench.deliver(bench.batch(), bench.accepted)
    _, second = bench.deliver(replace(bench.batch(), attempt=2), bench.accepted)
    assert first == second


def check_writes_are_not_safe(bench: ConnectorBench) -> None:
    """A request that writes is never marked as one that may be repeated at will."""
    _, requests = bench.deliver(bench.batch(), bench.accepted)
    assert any(not request.safe for request in requests)


def check_every_record_is_sent(bench: ConnectorBench) -> None:
    """Each record's match value is somewhere in the requests."""
    _, requests = bench.deliver(bench.batch(), bench.accepted)
    sent = "".join(f"{each.url}{dict(each.query)}{(each.body or b'').decode()}" for each in requests)
    for record in bench.records[: bench.size]:
        value = str(record[bench.match[0]])
        assert value in sent or value.split("@")[0] in sent


# How it reads answers.


def check_accepted_records_are_delivered(bench: ConnectorBench) -> None:
    """The tool takes everything: every record is delivered."""
    outcomes, _ = bench.deliver(bench.batch(), bench.accepted)
    assert ends(outcomes, bench.size) == ["delivered"] * bench.size
    assert outcomes.attributed


def check_a_single_record_is_delivered(bench: ConnectorBench) -> None:
    """A batch of one is a batch."""
    outcomes, _ = bench.deliver(bench.batch(1), bench.accepted)
    assert ends(outcomes, 1) == ["delivered"]


def check_a_refused_request_delivers_nothing(bench: ConnectorBench) -> None:
    """A 4xx that names no record refuses the batch, so that delivery finds the culprit; it says why."""
    outcomes, _ = bench.deliver(bench.batch(), bench.refused)
    assert set(ends(outcomes, bench.size)) == {"rejected"}
    assert outcomes.of(0).reason
    assert outcomes.attributed == (bench.size == 1)


def check_a_refused_record_alone_is_rejected(bench: ConnectorBench) -> None:
    """A single record's refusal is its own."""
    outcomes, _ = bench.deliver(bench.batch(1), bench.refused)
    assert ends(outcomes, 1) == ["rejected"]
    assert outcomes.attributed


def check_too_large_is_halved(bench: ConnectorBench) -> None:
    """413 says nothing of a record: the batch is refused as a whole."""
    outcomes, _ = bench.deliver(bench.batch(), lambda request: Response(413))
    assert set(ends(outcomes, bench.size)) == {"rejected"}
    assert outcomes.attributed == (bench.size == 1)


def check_one_refused_record_is_named(bench: ConnectorBench) -> None:
    """Where the tool names the record that it refuses, that record is rejected and no other."""
    one_refused = bench.one_refused
    assert one_refused is not None
    for index in range(bench.size):
        outcomes, _ = bench.deliver(bench.batch(), lambda request, index=index: one_refused(request, index))  # type: ignore[misc]
        found = ends(outcomes, bench.size)
        assert found[index] == "rejected"
        assert outcomes.of(index).reason
        assert "rejected" not in found[:index] + found[index + 1 :]


UNREADABLE = (
    b"",
    b"<html>It works!</html>",
    b'{"results": [',
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b"NaN",
    b"[" * 100_000,
)


def check_an_unreadable_answer_is_unknown(bench: ConnectorBench) -> None:
    """A tool that is judged by its answers' bodies and answers with none, half of one, or another page: unknown."""
    for body in UNREADABLE:
        outcomes, _ = bench.deliver(bench.batch(), lambda request, body=body: Response(200, {}, body))  # type: ignore[misc]
        assert set(ends(outcomes, bench.size)) == {"unknown"}, body[:40]


def check_a_cut_answer_vouches_for_nothing(bench: ConnectorBench) -> None:
    """An answer that ends too early delivers nothing, wherever it is cut."""

    def cut(request: Request, at: int) -> Response:
        whole = bench.accepted(request)
        return replace(whole, body=whole.body[:at])

    _, requests = bench.deliver(bench.batch(), bench.accepted)
    length = len(bench.accepted(requests[-1]).body)
    for at in sorted({1, length // 3, length // 2, length - 1}):
        outcomes, _ = bench.deliver(bench.batch(), lambda request, at=at: cut(request, at))  # type: ignore[misc]
        assert "delivered" not in ends(outcomes, bench.size), at


def check_an_answer_to_fewer_records_delivers_no_more(bench: ConnectorBench) -> None:
    """An answer that tells of fewer records than were sent never delivers the others."""
    _, fewer = bench.deliver(bench.batch(bench.size - 1), bench.accepted)
    told = iter([bench.accepted(request) for request in fewer])
    outcomes, _ = bench.deliver(bench.batch(), lambda request: next(told, Response(200, {}, b"{}")))
    found = ends(outcomes, bench.size)
    assert found[-1] != "delivered"
    assert "rejected" not in found


def check_a_reordered_answer_misplaces_no_refusal(bench: ConnectorBench) -> None:
    """Lists turned round: what stays attributed to a record is right, the rest is unknown."""
    one_refused = bench.one_refused
    assert one_refused is not None
    outcomes, _ = bench.deliver(bench.batch(), lambda request: _turned(one_refused(request, 0)))
    found = ends(outcomes, bench.size)
    assert found[0] == "rejected" if bench.by_name else "rejected" not in found[1:-1]
    assert found.count("rejected") <= 1


def _turned(answer: Response) -> Response:
    return replace(answer, body=json.dumps(_reversed(json.loads(answer.body))).encode())


def _reversed(value: Any) -> Any:
    if isinstance(value, list):
        return [_reversed(each) for each in reversed(value)]
    if isinstance(value, dict):
        return {name: _reversed(each) for name, each in value.items()}
    return value


def check_a_redirect_is_unknown(bench: ConnectorBench) -> None:
    """A 3xx neither took nor refused the records."""
    outcomes, _ = bench.deliver(bench.batch(), lambda request: Response(302, {"location": "/elsewhere"}))
    assert set(ends(outcomes, bench.size)) == {"unknown"}


def check_a_conversation_can_be_dropped(bench: ConnectorBench) -> None:
    """Delivery may end a conversation at any point; the connector then asks for nothing more."""
    talk = bench.destination.deliver(bench.batch())
    next(talk)
    talk.close()


def check_long_words_are_shortened(bench: ConnectorBench) -> None:
    """A tool that refuses with a novel is quoted in one line of bounded length."""
    novel = json.dumps({"message": "line\n" * 10_000}).encode()
    outcomes, _ = bench.deliver(bench.batch(1), lambda request: Response(422, {}, novel))
    reason = outcomes.of(0).reason
    assert len(reason) <= 500
    assert "\n" not in reason


# How it signs in.


def check_signing_in_gives_a_credential(bench: ConnectorBench) -> None:
    """A fixed credential asks for nothing; a token is asked for without the account's credential, and is not shown."""
    auth = bench.destination.auth
    assert auth is not None
    token = json.dumps({"access_token": "t" * 40, "expires_in": 3600}).encode()
    credential, requests = held(auth.sign_in({}), lambda request: Response(200, {}, token))
    assert isinstance(credential, Credential)
    assert all(request.anonymous for request in requests)
    assert bool(requests) == auth.refreshes
    shown = repr(credential)
    assert not [value for value in (*credential.headers.values(), *credential.query.values()) if value in shown]


def check_a_refused_sign_in_shows_no_secret(bench: ConnectorBench) -> None:
    """A tool that repeats the request in its refusal does not bring a secret into our error."""
    auth = bench.destination.auth
    assert auth is not None

    def echo(request: Request) -> Response:
        return Response(400, {}, json.dumps({"error": "invalid_grant", "sent": str(request.body)}).encode())

    with pytest.raises(AuthError) as error:
        held(auth.sign_in({}), echo)
    assert not [secret for secret in auth.secrets() if secret in str(error.value)]


CHECKS: Sequence[Check] = tuple(value for name, value in list(globals().items()) if name.startswith("check_"))
"""Every check of this module."""

_NEEDS: Mapping[Check, Callable[[ConnectorBench], bool]] = {
    check_one_refused_record_is_named: lambda bench: bench.one_refused is not None,
    check_an_unreadable_answer_is_unknown: lambda bench: bench.reads_answers,
    check_a_cut_answer_vouches_for_nothing: lambda bench: bench.reads_answers,
    check_an_answer_to_fewer_records_delivers_no_more: lambda bench: bench.reads_answers and bench.size > 1,
    check_a_reordered_answer_misplaces_no_refusal: lambda bench: (
        bench.reads_answers and bench.one_refused is not None and bench.size > 2
    ),
    check_signing_in_gives_a_credential: lambda bench: bench.destination.auth is not None,
    check_a_refused_sign_in_shows_no_secret: lambda bench: bool(
        bench.destination.auth and bench.destination.auth.refreshes
    ),
}


def checks_for(bench: ConnectorBench) -> tuple[Check, ...]:
    """The checks that say something of this tool: one that names no single record has nothing to name."""
    return tuple(check for check in CHECKS if check not in _NEEDS or _NEEDS[check](bench))

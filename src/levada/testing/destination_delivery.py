"""A connector under delivery itself: lost answers, server errors, throttling, credentials that end, echoed secrets.

The account (`levada.delivery.account`) is the real one; only the wire is in memory, and time passes when everybody
waits. So a check shows what a connector makes delivery do: repeat a write, send another key, tell a secret.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import selectors
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from levada.batch import Batch
from levada.delivery.account import Account, Patience, Paused, absolute
from levada.delivery.progress import cleaned
from levada.delivery.wire import Lost, Outgoing
from levada.destination import Auth, Credential, Request, Response
from levada.errors import AuthError, DestinationError, LevadaError
from levada.outcome import Outcomes
from levada.redaction import Redactor
from levada.testing.clock import FakeClock
from levada.testing.destination_bench import (
    REQUESTS_MAX,
    Answers,
    Broken,
    ConnectorBench,
    always,
    asks_for_tokens,
    ends,
    expect,
    held,
    needs,
    shown,
    signs_in,
)

OF_THE_MOMENT = frozenset({"authorization", "webhook-timestamp", "webhook-signature", "date", "x-timestamp"})
"""Headers that may differ between two sendings of one request; so may those whose name speaks of a signature."""
SERVER_ERRORS = (500, 502, 503, 504, 408)
SECRET_FIELDS = ("client_secret", "refresh_token", "password", "assertion", "api_key")


class _Waiting(selectors.DefaultSelector):
    """Nothing is waited for in vain: where nothing happens, time passes."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0 if timeout is not None else None)
        if not found and timeout:
            self.seconds += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._waiting = _Waiting()
        super().__init__(self._waiting)

    def time(self) -> float:
        return self._waiting.seconds


@dataclass(slots=True)
class Sent:
    """What became of a batch under delivery: `outcomes`, or the `error` that ended it; `requests` as they left."""

    outcomes: Outcomes | None = None
    error: Exception | None = None
    requests: list[Outgoing] = field(default_factory=list)
    tokens: list[Outgoing] = field(default_factory=list)

    @property
    def written(self) -> list[Outgoing]:
        return [each for each in self.requests if each.method not in ("GET", "HEAD")]


Turn = Callable[[int, Outgoing], Response | Exception | None]
"""What a tool does at the n-th request (from 0): another answer, an exception, or None for what it would answer."""


@dataclass(slots=True)
class _Wire:
    """Fulfils `levada.delivery.wire.Wire` in memory."""

    answers: Answers
    turn: Turn
    token_urls: frozenset[str]
    signs_in: Answers
    sent: Sent

    async def send(self, outgoing: Outgoing) -> Response:
        if len(self.sent.requests) + len(self.sent.tokens) > REQUESTS_MAX:
            mend = "give up after one fresh credential, and let waits grow"
            raise Broken("a delivery that ends", f"over {REQUESTS_MAX} requests", mend)
        asked = Request(outgoing.method, outgoing.url, outgoing.headers, outgoing.body, outgoing.query)
        if outgoing.url in self.token_urls:
            self.sent.tokens.append(outgoing)
            return _numbered(self.signs_in(asked), len(self.sent.tokens))
        number = len(self.sent.requests)
        self.sent.requests.append(outgoing)
        told = self.turn(number, outgoing)
        if isinstance(told, Exception):
            raise told
        return told if told is not None else self.answers(asked)

    async def close(self) -> None:
        return


def _numbered(answer: Response, number: int) -> Response:
    """A token of its own for each time that one is asked for."""
    try:
        found = json.loads(answer.body)
        found["access_token"] = f"{found['access_token']}{number}"
    except (ValueError, KeyError, TypeError):
        return answer
    return replace(answer, body=json.dumps(found).encode())


def _token_urls(bench: ConnectorBench) -> frozenset[str]:
    auth = bench.destination.auth
    if auth is None:
        return frozenset()
    _, requests = held(auth.sign_in({}), bench.signs_in)
    return frozenset(absolute(bench.destination.base_url, request.url) for request in requests)


def sent_through(bench: ConnectorBench, batch: Batch, turn: Turn, *, answers: Answers | None = None) -> Sent:
    """One batch through a real account. Waits take no time."""
    sent = Sent()
    redactor = Redactor(bench.secret_values)
    wire = _Wire(answers or bench.accepting(batch), turn, _token_urls(bench), bench.signs_in, sent)

    async def delivered() -> Outcomes:
        account = Account(
            bench.destination, wire, FakeClock(), patience=Patience(), clean=redactor.clean, learn=redactor.add
        )
        return await account.talk(bench.destination.deliver(batch), write=True)

    with asyncio.Runner(loop_factory=_Loop) as runner:
        try:
            sent.outcomes = cleaned(runner.run(delivered()), redactor.clean)
        except (Lost, Paused, LevadaError) as error:
            sent.error = error
    return sent


def _first_write(bench: ConnectorBench) -> int:
    """The place of the first request of a delivery that writes."""
    _, requests, _ = bench.taken(bench.batch())
    honest = (n for n, each in enumerate(requests) if not each.safe)
    likely = (n for n, each in enumerate(requests) if each.method not in ("GET", "HEAD"))
    return next(honest, next(likely, 0))


def _unknown_once(bench: ConnectorBench, answer: Response | Exception, what: str) -> None:
    """The write that meets `answer` is in doubt, and nothing follows it."""
    place = _first_write(bench)
    sent = sent_through(bench, bench.batch(), lambda number, outgoing: answer if number >= place else None)
    expect(
        isinstance(sent.error, Lost),
        f"the records in doubt after {what}",
        repr(sent.error or sent.outcomes),
        "mark no request as safe that writes",
    )
    expect(
        len(sent.requests) == place + 1,
        f"{place + 1} requests, and none after {what}",
        [f"{each.method} {each.url}" for each in sent.requests][:5],
        "mark no request as safe that writes",
    )


def check_a_lost_answer_is_not_sent_again(bench: ConnectorBench) -> None:
    """A write whose answer is cut off or never comes leaves its records in doubt; nobody repeats it blindly."""
    _unknown_once(bench, Lost("the connection broke in the middle of the answer"), "a lost answer")


def check_a_server_error_is_unknown(bench: ConnectorBench) -> None:
    """A 5xx or 408 to a write says nothing of the records, unless the vendor's page says that of this status."""
    for status in SERVER_ERRORS:
        if status in bench.destination.spec.not_applied_statuses and status == 503:
            continue
        _unknown_once(bench, Response(status, {}, b"oops"), f"status {status}")


def check_a_throttled_request_comes_again_the_same(bench: ConnectorBench) -> None:
    """After a 429, with or without Retry-After, the very same request is sent: body, address and idempotency key."""
    for headers in ({"retry-after": "7"}, {}):
        limit = Response(429, headers)
        sent = sent_through(bench, bench.batch(), _first(limit))
        expect(sent.outcomes is not None, "a delivery after a 429", repr(sent.error), "leave 429 to delivery")
        assert sent.outcomes is not None
        expect(
            "delivered" in ends(sent.outcomes, bench.size),
            "a delivery",
            shown(sent.outcomes, bench.size),
            "leave 429 to delivery",
        )
        first, second = (_lasting(each) for each in sent.requests[:2])
        expect(
            first == second,
            f"the same request: {first}",
            second,
            "let sign= add a time and a signature, and nothing else",
        )


def _lasting(outgoing: Outgoing) -> tuple[Any, ...]:
    """What of a request stays the same however often it is sent."""
    lasting = {
        name.lower(): value
        for name, value in outgoing.headers.items()
        if name.lower() not in OF_THE_MOMENT and "signature" not in name.lower()
    }
    return outgoing.method, outgoing.url, dict(outgoing.query), outgoing.body, lasting


@needs(signs_in)
def check_an_expired_credential_is_renewed_once(bench: ConnectorBench) -> None:
    """After a 401 one fresh credential is tried, where there can be one; otherwise, and after two, the run pauses."""
    auth = bench.destination.auth
    assert auth is not None
    refusal = Response(401, {}, b'{"message": "expired"}')
    once = sent_through(bench, bench.batch(), _first(refusal))
    ever = sent_through(bench, bench.batch(), lambda number, outgoing: refusal)
    if auth.refreshes:
        expect(
            once.outcomes is not None,
            "a delivery with a fresh credential",
            repr(once.error),
            "let sign_in ask for a token",
        )
        first, second = (dict(each.headers) | dict(each.query) for each in once.requests[:2])
        expect(
            first != second,
            "another credential after a 401",
            "the one that was refused",
            "let sign_in ask anew each time",
        )
    wanted = 2 if auth.refreshes else 1
    expect(
        isinstance(ever.error, Paused) and ever.error.reason == "auth" and len(ever.requests) == wanted,
        f"{wanted} requests and a pause",
        f"{len(ever.requests)} requests, {ever.error!r}",
        "set refreshes only where sign_in brings a fresh credential",
    )


@needs(signs_in)
def check_an_echoed_secret_is_not_shown(bench: ConnectorBench) -> None:
    """A tool that repeats the request in its refusal brings no secret into a reason, a code or an error."""
    for status in (400, 401, 403, 500):
        for size in {1, bench.size}:
            sent = sent_through(bench, bench.batch(size), partial(_echoed, status))
            told = repr(sent.outcomes) + str(sent.error)
            found = [secret[:3] + "…" for secret in _all_secrets(bench, sent) if secret in told]
            expect(
                not found,
                "outcomes and errors without secrets",
                f"a secret that begins with {found}",
                "name every secret in auth.secrets(): delivery masks what it knows",
            )


def _first(answer: Response) -> Turn:
    """This answer to the first request; from then on what the tool would answer."""
    return lambda number, outgoing: answer if number == 0 else None


def _echoed(status: int, number: int, outgoing: Outgoing) -> Response:
    """The request itself as the words and the code of a refusal."""
    headers = {name.lower(): value for name, value in outgoing.headers.items()}
    values = [*headers.values(), *outgoing.query.values()]
    said = {"message": " ".join([outgoing.url, *values]), "code": values[-1] if values else "", "headers": headers}
    return Response(status, {"x-request-id": values[-1] if values else ""}, json.dumps(said).encode())


def _all_secrets(bench: ConnectorBench, sent: Sent) -> list[str]:
    """The account's secrets, and the credentials that really went with its requests."""
    found = list(bench.secret_values)
    for each in sent.requests:
        found += [value for name, value in each.headers.items() if name.lower() == "authorization"]
    return [secret for secret in found if len(secret) >= 8]


@needs(signs_in)
def check_every_secret_is_named(bench: ConnectorBench) -> None:
    """What signs requests, and what asks for tokens, is among the auth's secrets, so that it can be masked."""
    auth = bench.destination.auth
    assert auth is not None
    clean = Redactor(auth.secrets()).clean
    credential, requests = held(auth.sign_in({}), bench.signs_in)
    values: list[str] = []
    if not auth.refreshes:
        values = [*credential.headers.values(), *credential.query.values()]
    for request in requests:
        form = dict(parse_qsl((request.body or b"").decode("utf-8", "replace")))
        values += [form[name] for name in SECRET_FIELDS if form.get(name)]
        values += _basic_password(request.headers)
    naked = [value[:3] + "…" for value in values if len(value) >= 8 and clean(value) == value]
    expect(
        not naked,
        "every secret among auth.secrets()",
        f"not there: what begins with {naked}",
        "return each secret value from secrets()",
    )


def _basic_password(headers: Mapping[str, str]) -> list[str]:
    text = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    if not text.startswith("Basic "):
        return []
    return [base64.b64decode(text.removeprefix("Basic ")).decode("utf-8", "replace").partition(":")[2]]


# How it signs in.


@needs(signs_in)
def check_signing_in_gives_a_credential(bench: ConnectorBench) -> None:
    """A fixed credential asks for nothing; a token is asked for without the account's credential, and is not shown."""
    auth = _auth(bench)
    credential, requests = held(auth.sign_in({}), bench.signs_in)
    expect(isinstance(credential, Credential), "a Credential", credential, "return one from sign_in")
    signed = [request.url for request in requests if not request.anonymous]
    expect(not signed, "token requests that are anonymous", signed, "make them with anonymous=True")
    expect(
        bool(requests) == auth.refreshes,
        f"refreshes={bool(requests)}",
        auth.refreshes,
        "a credential can be renewed if sign_in asks for it, and only then",
    )
    values = [*credential.headers.values(), *credential.query.values()]
    seen = [value[:3] + "…" for value in values if len(value) >= 8 and value in repr(credential)]
    expect(not seen, "a credential whose repr shows nothing", seen, "use levada.destination.Credential as it is")


@needs(asks_for_tokens)
def check_a_refused_sign_in_shows_no_secret(bench: ConnectorBench) -> None:
    """A tool that repeats the token request in its refusal does not bring a secret into our error."""
    auth = _auth(bench)

    def echo(request: Request) -> Response:
        sent = f"{(request.body or b'').decode()} {dict(request.headers)}"
        return Response(400, {}, json.dumps({"error": "invalid_grant", "error_description": sent}).encode())

    try:
        held(auth.sign_in({}), echo)
    except AuthError as error:
        found = [secret[:3] + "…" for secret in auth.secrets() if len(secret) >= 8 and secret in str(error)]
        expect(
            not found, "an error without secrets", f"a secret that begins with {found}", "quote the error's code alone"
        )
    else:
        expect(False, "an AuthError", "a credential", "raise AuthError unless the answer holds a token")


@needs(asks_for_tokens)
def check_a_failed_sign_in_is_no_credential(bench: ConnectorBench) -> None:
    """A page, an empty answer or a server's error instead of a token is an AuthError."""
    auth = _auth(bench)
    for answer in (
        Response(200, {}, b"<html>"),
        Response(200, {}, b"{}"),
        Response(200, {}, b""),
        Response(400, {}, b"{}"),
    ):
        try:
            held(auth.sign_in({}), always(answer))
        except DestinationError:
            continue
        expect(
            False,
            f"an AuthError after {answer.status} {answer.body!r}",
            "a credential",
            "raise AuthError unless the answer holds a token",
        )


def _auth(bench: ConnectorBench) -> Auth:
    auth = bench.destination.auth
    assert auth is not None
    return auth


# What it leaves to delivery.


def check_it_leaves_the_network_to_delivery(bench: ConnectorBench) -> None:
    """A connector opens no connection and looks up no name: it yields requests."""
    with _forbidden(
        "yield a Request; delivery sends it",
        (socket.socket, "connect"),
        (socket, "create_connection"),
        (socket, "getaddrinfo"),
        (urllib.request, "urlopen"),
    ):
        bench.taken(bench.batch())


def check_it_leaves_waiting_to_delivery(bench: ConnectorBench) -> None:
    """A connector never sleeps: it asks for a wait with `after_seconds`."""
    with _forbidden("yield the next request with after_seconds=…", (time, "sleep")):
        bench.taken(bench.batch())


def check_nothing_happens_before_it_is_asked(bench: ConnectorBench) -> None:
    """A plan, a preview and a dry run make no request: a delivery that was not begun has done nothing."""
    with _forbidden(
        "make deliver a generator, which begins at next()",
        (socket.socket, "connect"),
        (socket, "create_connection"),
        (socket, "getaddrinfo"),
        (urllib.request, "urlopen"),
    ):
        batch = bench.batch()
        talk: Any = bench.destination.deliver(batch)
    expect(
        hasattr(talk, "send") and hasattr(talk, "close"),
        "a conversation",
        type(talk).__name__,
        "make deliver a generator",
    )
    talk.close()


@contextlib.contextmanager
def _forbidden(mend: str, *calls: tuple[Any, str]) -> Iterator[None]:
    """These calls are noted and refused. What is caught by the connector is told all the same."""
    made: list[str] = []

    def refusing(name: str) -> Callable[..., Any]:
        def refuse(*arguments: Any, **named: Any) -> Any:
            made.append(name)
            raise Broken("no such call", name, mend)

        return refuse

    kept = [(owner, name, getattr(owner, name)) for owner, name in calls]
    try:
        for owner, name, _ in kept:
            setattr(owner, name, refusing(name))
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)
        expect(
            not made,
            "a connector that yields requests and nothing else",
            f"a call of {', '.join(sorted(set(made)))}",
            mend,
        )

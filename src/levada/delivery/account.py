"""One account at a destination: everything that all its requests share.

The rate, the daily quota and the number of requests under way; the credential and its single refresh; the
wait that a 429 asks for; the circuit that opens in an outage. `exchange` returns an answer worth reading, or
raises `Lost` (a write whose end is unknown) or `Paused` (nothing more can be sent for now).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from levada import events
from levada.clock import Clock
from levada.delivery.refusals import Refusals
from levada.delivery.wire import Lost, NotSent, Outgoing, Overtaken, Untrusted, Wire
from levada.destination import Auth, Credential, Destination, Request, Response, Talk, fits_header, resumed
from levada.errors import AuthError, DestinationError
from levada.limits import RATE_MARGIN, Pace
from levada.redaction import without_echo
from levada.retry import RETRY_AFTER_MAX_SECONDS, RetryPolicy, retry_after_seconds
from levada.run import PauseReason
from levada.store import Limits, Vault
from levada.wording import plural

T = TypeVar("T")

FORBIDDEN_MAX = 20
"""So many 403 in a row without a good answer speak of the credential, whatever the connector declares."""
FAILURES_TO_OPEN = 5
"""So many failures in a row, and requests go one at a time, ever more rarely, until one is answered."""
TALK_REQUESTS_MAX = 10_000
"""A connector that asks for more requests than this for one batch has gone astray."""

REDIRECTS = (301, 302, 303, 307, 308)
WORDS_BYTES_MAX = 4_000
"""So much of an answer is looked at for its words."""

TAKEN_OVER = "another process has taken this sync over"


class Paused(Exception):
    """Nothing more can be sent for now; what was not sent stays unsent.

    `written`: an earlier request of the same conversation wrote something, so its records are in doubt.
    """

    def __init__(self, reason: PauseReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.written = False


class NoLonger(Exception):
    """What was to be sent may not be sent any more: see `Account.talk`."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long delivery keeps trying. `contact`: until the first answer; `outage`: in the middle of a run.

    Counted from the first request that failed. With the time that one attempt to connect may take, a tool that is down
    is known to be down within half a minute.
    """

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    contact_seconds: float = 4.0
    outage_seconds: float = 20.0
    throttle_seconds: float = RETRY_AFTER_MAX_SECONDS


class Account:
    """Shared by everything that one run sends to one destination; `refusals` by everything that a process sends."""

    def __init__(
        self,
        destination: Destination,
        wire: Wire,
        clock: Clock,
        *,
        shared: Limits | None = None,
        vault: Vault | None = None,
        patience: Patience,
        listener: events.Listener = events.ignore,
        clean: Callable[[str], str] = str,
        learn: Callable[[str], None] = lambda secret: None,
        sync: str = "",
        entitled: Callable[[], bool] = lambda: True,
        refusals: Refusals | None = None,
    ) -> None:
        self.destination = destination
        self.requests = 0
        self.answered = False
        #: set when this process must end: what is under way is cancelled, and nothing more is sent
        self.abandoned = False
        self._wire = wire
        self._shared = shared
        self._vault = vault
        self._clock = clock
        self._patience = patience
        self._listener = listener
        self._clean = clean
        self._learn = learn
        self._sync = sync
        self._entitled = entitled
        self._refusals = refusals or Refusals(clock)
        self._name = account_name(destination)
        limits = destination.spec.limits
        self._limits = limits
        self._pace = Pace(limits.seconds_per_request)
        self._slots = asyncio.Semaphore(limits.concurrent_requests)
        self._gate = asyncio.Lock()
        self._left_at = 0.0
        self._signing = asyncio.Lock()
        self._probing = asyncio.Lock()
        self._credential: Credential | None = None
        self._credential_until: float | None = None
        self._credential_number = 0
        self._failures = 0
        self._forbidden = 0
        self._failing_since = 0.0
        self._probe_at = 0.0
        self._slowed_at = -1.0

    async def talk(self, talk: Talk[T], *, write: bool = False, allowed: Callable[[], bool] | None = None) -> T:
        """Hold a connector's conversation to its end. Raises what `exchange` raises, and what the talk raises.

        `allowed` is asked right before each request leaves, however long it had to wait; NoLonger is raised if it
        says no.
        """
        answer: Response | None = None
        written = False
        try:
            for _ in range(TALK_REQUESTS_MAX):
                try:
                    request = next(talk) if answer is None else talk.send(answer)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                if allowed is not None:
                    request = replace(request, allowed=allowed)
                if request.after_seconds:
                    await asyncio.sleep(request.after_seconds)
                answer = await self.exchange(request, write=write and not request.safe)
                written = written or (write and not request.safe)
            raise DestinationError(f"{self.destination.name}: over {TALK_REQUESTS_MAX:,} requests for one batch")
        except asyncio.CancelledError:
            if not self.abandoned:
                raise
            stopped = self._stopped()
            stopped.written = written
            raise stopped from None
        except Paused as paused:
            paused.written = paused.written or written
            raise
        finally:
            talk.close()

    async def exchange(self, request: Request, *, write: bool) -> Response:
        """Send a request until it has an answer that is the connector's to read."""
        attempt = 0
        refreshed = False
        while True:
            if self.abandoned:
                raise self._stopped()
            attempt += 1
            credential = None if request.anonymous else await self._signed_in()
            number = self._credential_number
            try:
                answer = await self._once(request, credential)
            except Untrusted as error:
                why = f"{self.destination.name} is not sent to: {error} (authorities of your own: `network: ca_files:`)"
                raise Paused("setup", self._clean(why)) from error
            except NotSent as error:
                await self._after_failure(attempt, str(error), error.seconds)
                continue
            except Lost as error:
                if write:
                    self._count_failure(error.seconds)
                    raise Lost(self._clean(str(error))) from error
                await self._after_failure(attempt, str(error), error.seconds)
                continue
            self.answered = True
            if answer.status in REDIRECTS:
                raise self._redirected(answer, write=write)
            if answer.status == 401 and not request.anonymous:
                await self._refresh(request, answer, number, refreshed)
                refreshed = True
                continue
            if answer.status == 403 and not request.anonymous and self._forbids_all():
                raise Paused("auth", self._refusal(request, answer))
            if answer.status in (425, 429):
                self._throttled(answer, attempt)
                continue
            if answer.status == 408 or answer.status >= 500:
                await self._failed(request, answer, attempt, write=write)
                continue
            self._count_success()
            if answer.ok:
                self._forbidden = 0
            return answer

    async def _once(self, request: Request, credential: Credential | None) -> Response:
        """One request, when the limits allow it."""
        if self._failures >= FAILURES_TO_OPEN:
            async with self._probing:
                await self._wait_for_probe()
                return await self._send(request, credential)
        return await self._send(request, credential)

    @property
    def _outage_seconds(self) -> float:
        """How long an outage is sat out: briefly, where nothing was ever answered."""
        return self._patience.outage_seconds if self.answered else self._patience.contact_seconds

    async def _wait_for_probe(self) -> None:
        """While the circuit is open, all who send share one back-off. Raises Paused in a long outage."""
        if self._failures < FAILURES_TO_OPEN:
            return
        wait = self._probe_at - asyncio.get_running_loop().time()
        if wait <= 0:
            return  # nothing was tried for a while, such as during a hold: the next request tells
        wait = self._still_patient(wait)
        if wait > 1:
            self._listener(events.DeliveryWaiting(self._sync, "outage", wait, self._given_up_words("", wait)))
        await asyncio.sleep(wait)

    def _still_patient(self, wait: float, reason: str = "", *, reached: bool = False) -> float:
        """How much of a wait is left before the tool is given up. Raises Paused if that is nothing.

        `reached`: it took the request, and no answer came. Then it is no first contact, and one request that hangs is
        no outage, however long it was waited for.
        """
        if reached and self._failures == 1:
            return wait
        patience = self._patience.outage_seconds if reached else self._outage_seconds
        failing = asyncio.get_running_loop().time() - self._failing_since if self._failures else 0.0
        if self._failures and failing >= patience:
            what = f"cannot be reached: {reason}" if reason else "does not answer"
            raise Paused("outage", self._clean(f"{self.destination.name} {what}"))
        return max(0.0, min(wait, patience - failing))

    def _given_up_words(self, reason: str, wait: float) -> str:
        """What is waited for, and until when at the latest."""
        left = self._outage_seconds - (asyncio.get_running_loop().time() - self._failing_since)
        told = f"{self._clean(reason)}; " if reason else ""
        return f"{told}{self.destination.name} is asked again then, and given up {max(wait, left):.0f} s from now"

    async def _send(self, request: Request, credential: Credential | None) -> Response:
        async with self._slots:
            await self._wait_for_turn()
            headers = dict(request.headers)
            query = dict(request.query)
            if credential is not None:
                headers.update(credential.headers)
                query.update(credential.query)
            if request.sign is not None:
                headers.update(request.sign(int(self._clock.now().timestamp())))
            if crooked := [name for name, value in headers.items() if not fits_header(value)]:
                why = f"the header {crooked[0]} holds a line break or another control character, which cannot be sent"
                raise Paused("setup", self._clean(f"{self.destination.name}: {why}: see its credentials and its file"))
            if not self._entitled():
                raise Paused("operator", TAKEN_OVER)
            if request.allowed is not None and not request.allowed():
                raise NoLonger
            self.requests += 1
            outgoing = Outgoing(
                request.method,
                absolute(self.destination.base_url, request.url),
                headers,
                query,
                request.body,
                self.destination.spec.timeout_seconds,
                self._entitled,
            )
            left_at = asyncio.get_running_loop().time()
            try:
                return await self._wire.send(outgoing)
            except (NotSent, Lost) as error:
                error.seconds = asyncio.get_running_loop().time() - left_at
                raise
            except Overtaken:
                raise Paused("operator", TAKEN_OVER) from None
            except asyncio.CancelledError:
                if not self.abandoned:
                    raise
                raise Lost("stopped before its answer came") from None

    @staticmethod
    def _stopped() -> Paused:
        return Paused("operator", "stopped")

    # -- limits

    async def _wait_for_turn(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._pace.reserve(loop.time()) if self._pace.interval_seconds or self._pace.next_at else 0.0
        declared = self._limits.seconds_per_request
        if declared and self._shared is not None:
            now = self._clock.monotonic()
            wait = max(wait, await asyncio.to_thread(self._shared.reserve, self._name, now, declared, 1))
        if self._limits.requests_per_day and self._shared is not None:
            day = self._clock.now().date().isoformat()
            used = await asyncio.to_thread(self._shared.use_quota, self._name, day, 1)
            if used > self._limits.requests_per_day:
                quota = plural(self._limits.requests_per_day, "request")
                raise Paused("quota", f"the daily quota of {quota} is used up")
        if wait > 1.0:
            self._listener(events.DeliveryWaiting(self._sync, "rate", wait))
        if wait > 0:
            await asyncio.sleep(wait)
        if declared:
            await self._keep_distance(declared / RATE_MARGIN)

    async def _keep_distance(self, seconds: float) -> None:
        """So far apart are two requests of this process really: turns that it slept through are not made up for."""
        loop = asyncio.get_running_loop()
        async with self._gate:
            wait = self._left_at + seconds - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            self._left_at = loop.time()

    def _asked_to_wait(self, answer: Response) -> float | None:
        return retry_after_seconds(
            answer.headers.get("retry-after"), date=answer.headers.get("date"), now=self._clock.now()
        )

    def _throttled(self, answer: Response, attempt: int, *, doubtful: bool = False) -> None:
        """Nobody sends before the time that an answer asks for. Raises Paused beyond the cap; `doubtful`: what was
        sent may have been applied all the same."""
        asked = self._asked_to_wait(answer)
        own = self._patience.policy.wait_seconds(attempt, self._clock.random())
        wait = max(asked or 0.0, own)
        loop = asyncio.get_running_loop()
        if wait > self._patience.throttle_seconds or attempt > 4 * self._patience.policy.attempts_max:
            paused = Paused("rate", f"{self.destination.name} asks to wait {wait:,.0f} seconds")
            paused.written = doubtful
            raise paused
        if loop.time() >= self._slowed_at:
            self._pace.slow_down()
            self._slowed_at = loop.time() + wait
        self._pace.block_until(loop.time() + wait)
        if wait > 0.5:
            self._listener(events.DeliveryWaiting(self._sync, "rate", wait))

    # -- failures

    async def _failed(self, request: Request, answer: Response, attempt: int, *, write: bool) -> None:
        """After an answer that says the server could not: wait, or raise Lost or Paused. One that says when to come
        again (`Retry-After`) is obeyed as a 429 is, and is no outage."""
        reason = f"answer {answer.status}: {self._words(answer, request)}"
        doubtful = write and answer.status not in self.destination.spec.not_applied_statuses
        told = self._asked_to_wait(answer) is not None
        if told:
            self._throttled(answer, attempt, doubtful=doubtful)
        if doubtful:
            if not told:
                self._count_failure()
            raise Lost(reason)
        if not told:
            await self._after_failure(attempt, reason)

    def _count_failure(self, seconds: float = 0.0) -> None:
        """One more failure in a row, of a request that had left so long before."""
        if self._failures == 0:
            self._failing_since = asyncio.get_running_loop().time() - seconds
        self._failures += 1
        over = self._failures - FAILURES_TO_OPEN
        if over >= 0:
            wait = self._patience.policy.wait_seconds(over + 1, self._clock.random())
            self._probe_at = asyncio.get_running_loop().time() + wait

    def _count_success(self) -> None:
        self._failures = 0
        if self._pace.interval_seconds > self._pace.declared_seconds:
            self._pace.speed_up()

    async def _after_failure(self, attempt: int, reason: str, seconds: float = 0.0) -> None:
        """Wait before the next try, or give up: at once for a first contact, later for an outage."""
        if self.abandoned:
            raise self._stopped()
        self._count_failure(seconds)
        wait = self._still_patient(self._patience.policy.wait_seconds(attempt, self._clock.random()), reason)
        if wait > 1:
            self._listener(events.DeliveryWaiting(self._sync, "outage", wait, self._given_up_words(reason, wait)))
        await asyncio.sleep(wait)

    async def wait_before_resend(self, attempt: int) -> None:
        """The back-off before a write whose answer was lost is sent again. Raises Paused in a long outage."""
        if self.abandoned:
            raise self._stopped()
        wait = self._patience.policy.wait_seconds(attempt, self._clock.random())
        await asyncio.sleep(self._still_patient(wait, reached=True))

    # -- credentials

    def _forbids_all(self) -> bool:
        """Does this 403 speak of the credential as a whole, rather than of the records in the request?"""
        self._forbidden += 1
        return self.destination.spec.forbidden == "account" or self._forbidden >= FORBIDDEN_MAX

    async def _signed_in(self) -> Credential | None:
        auth = self.destination.auth
        if auth is None:
            return None
        expired = self._credential_until is not None and self._clock.monotonic() >= self._credential_until
        if self._credential is None or expired:
            await self._sign_in(auth, self._credential_number)
        return self._credential

    async def _sign_in(self, auth: Auth, number: int) -> None:
        """One sign-in for all who found credential `number` missing or refused."""
        async with self._signing:
            if self._credential_number != number:
                return
            credential = await self._new_credential(auth)
            for secret in (*credential.headers.values(), *credential.query.values(), *credential.kept.values()):
                self._learn(secret)
            if credential.kept and self._vault is not None:
                text = json.dumps(dict(credential.kept))
                await asyncio.to_thread(self._vault.set, self._kept_name, text)
            self._credential = credential
            self._credential_number += 1
            until = credential.expires_in_seconds
            self._credential_until = None if until is None else self._clock.monotonic() + max(0.0, until - 30)

    async def _new_credential(self, auth: Auth) -> Credential:
        """Ask for a credential, unless this very request was refused before. Raises Paused."""
        talk = auth.sign_in(self._kept())
        try:
            first = next(talk)
        except StopIteration as stop:
            fixed: Credential = stop.value
            return fixed
        question = Refusals.question(first)
        refused = self._refusals.of(question)
        if refused is not None:
            talk.close()
            raise Paused("auth", refused)
        try:
            return await self.talk(resumed(talk, first))
        except AuthError as error:
            refused = self._clean(error.message)
            self._refusals.add(question, refused)
            raise Paused("auth", refused) from error

    async def _refresh(self, request: Request, answer: Response, number: int, refreshed: bool) -> None:
        auth = self.destination.auth
        if refreshed or auth is None or not auth.refreshes:
            raise Paused("auth", self._refusal(request, answer))
        await self._sign_in(auth, number)

    def _refusal(self, request: Request, answer: Response) -> str:
        words = self._words(answer, request)
        return self._clean(
            f"{self.destination.name} refuses the credential (answer {answer.status}{': ' + words if words else ''})"
        )

    def _redirected(self, answer: Response, *, write: bool) -> Paused:
        """No redirect is followed: it would carry records and credentials to an address that nobody named.

        Some servers redirect after they have applied a request, so that a write is in doubt.
        """
        where = answer.headers.get("location", "").partition("?")[0][:200] or "nowhere"
        paused = Paused(
            "setup",
            self._clean(
                f"{self.destination.name} redirects to {where} (answer {answer.status}), which is not followed: "
                f"write the address that answers itself into its file"
            ),
        )
        paused.written = write
        return paused

    def _words(self, answer: Response, request: Request) -> str:
        """The beginning of an answer's text, on one line, without secrets and without what the request carried."""
        text = self._clean(answer.body[:WORDS_BYTES_MAX].decode("utf-8", errors="replace"))
        sent = (request.body or b"").decode("utf-8", errors="replace")
        return " ".join(without_echo(" ".join(text.split())[:400], sent, request.url).split())[:200]

    @property
    def _kept_name(self) -> str:
        return f"oauth:{self.destination.name}"

    def _kept(self) -> Mapping[str, str]:
        text = self._vault.get(self._kept_name) if self._vault is not None else None
        found: dict[str, str] = json.loads(text) if text else {}
        return found


def absolute(base_url: str, url: str) -> str:
    """A request's URL below the account's base URL."""
    if url.startswith(("http://", "https://")):
        return url
    return f"{base_url.rstrip('/')}/{url.lstrip('/')}"


def account_name(destination: Destination) -> str:
    """The same for all destinations that share an account's limits: its address and credential, hashed."""
    secrets = destination.auth.secrets() if destination.auth else ()
    text = json.dumps([destination.base_url, *secrets])
    return f"{destination.spec.type}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"

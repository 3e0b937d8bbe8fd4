"""The front of delivery: sends orders, and holds single conversations (checks, discovery) with destinations.

Everything that needs an event loop lives behind these two blocking methods. `halt` stops deliveries cleanly, from any
thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from levada import events
from levada.addresses import AddressPolicy
from levada.clock import Clock
from levada.delivery.account import Account, Patience, Paused
from levada.delivery.held import Held, held
from levada.delivery.idempotency import Keys, stamps, was_begun
from levada.delivery.order import DeliveryOrder, DeliveryReport, owner_of
from levada.delivery.pauses import as_destination_error
from levada.delivery.plan_reader import PlanReader
from levada.delivery.refusals import Refusals
from levada.delivery.tally import figures, settle
from levada.delivery.unfinished import Remains
from levada.delivery.wire import HttpWire, Wire
from levada.destination import Destination, TableDestination, Talk
from levada.halt import Halt
from levada.run import PauseReason, Tally, Wait
from levada.store import Journal, JournalEntry, Lease, Store

T = TypeVar("T")


_Sent = tuple[int, PauseReason | None, str, tuple[str, ...], tuple[Wait, ...]]
"""How many requests or writes there were, why it stopped, in words, what a person should know, and how it waited."""


class Redaction(Protocol):
    """What keeps secrets out of words (see levada.redaction)."""

    def clean(self, text: str) -> str: ...

    def add(self, secret: str) -> None: ...


DRAIN_SECONDS = 6.0
"""How long requests that are under way may take when a stop was asked for; then their records are in doubt."""


class Dispatcher:
    """Sends what plans say. `refusals` may be shared by several; `wire` and `run_loop` are replaced in simulations."""

    def __init__(
        self,
        store: Store | None,
        clock: Clock,
        redaction: Redaction,
        *,
        halt: Halt,
        policy: AddressPolicy,
        refusals: Refusals | None = None,
        authorities: Mapping[str, Path] | None = None,
        patience: Patience | None = None,
        listener: events.Listener = events.ignore,
        wire: Callable[[], Wire] | None = None,
        run_loop: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run,
    ) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._redaction = redaction
        self._patience = patience or Patience()
        self._listener = listener
        self._wire = wire or (lambda: HttpWire(policy, authorities or {}))
        self._run_loop = run_loop
        self._refusals = refusals or Refusals(clock)
        self._halt = halt

    def talk(self, destination: Destination, talk: Talk[T]) -> T:
        """Hold a conversation that changes nothing. Raises DestinationError when it cannot be held."""

        async def held() -> T:
            wire = self._wire()
            try:
                return await self._account(destination, wire, "").talk(talk)
            except Paused as paused:
                raise as_destination_error(paused) from paused
            finally:
                await wire.close()

        found: T = self._run_loop(held())
        return found

    def check_address(self, destination: Destination) -> None:
        """Refuse a destination whose address may not be sent to. Asks no one. Raises ConfigError."""
        if destination.base_url:
            self._policy.check_url(destination.base_url)

    def deliver(
        self,
        order: DeliveryOrder,
        destination: Destination | TableDestination,
        lease: Lease,
        schema: pa.Schema,
        store: Store,
        *,
        entitled: Callable[[], bool] = lambda: True,
    ) -> DeliveryReport:
        """Send an order, or what an earlier process left of it, to its end or to a pause.

        `entitled` is asked before each request: may this process still send for the sync?
        """
        self._store = store
        journal = store.journals.open(lease, order.run_id)
        entries = journal.entries()
        if isinstance(destination, TableDestination):
            requests, pause, message, notices, waited = self._to_table(
                order, destination, journal, entries, schema, store, entitled
            )
        else:
            keys = Keys(store.moments, destination.spec)
            sent = self._over_http(order, destination, journal, entries, keys, entitled, self._held(order, destination))
            requests, pause, message, notices, waited = sent
        notices = tuple(self._redaction.clean(notice) for notice in notices)
        if pause is not None:
            tally = figures(order.plan, journal.entries(), requests)
            untouched = _is_untouched(journal.entries(), tally)
            return DeliveryReport(tally, None, pause, message, untouched=untouched, notices=notices, waited=waited)
        settled, tally = settle(order.plan, journal.entries(), requests, order.folder)
        if tally.unknown + tally.rejected:
            reader = PlanReader(order)
            try:
                settled = reader.with_operations(settled, stamps(journal.entries()))
            finally:
                reader.close()
        return DeliveryReport(tally=tally, settled=settled, notices=notices, waited=waited)

    def _to_table(
        self,
        order: DeliveryOrder,
        destination: TableDestination,
        journal: Journal,
        entries: Iterable[JournalEntry],
        schema: pa.Schema,
        store: Store,
        entitled: Callable[[], bool],
    ) -> _Sent:
        from levada.delivery.table_engine import TableEngine

        engine = TableEngine(
            order,
            destination,
            journal,
            entries,
            schema=schema,
            policy=self._patience.policy,
            halt=self._halt,
            listener=self._listener,
            clean=self._redaction.clean,
            chance=self._clock.random,
            entitled=entitled,
            owner=owner_of(store.identity, order.object),
            monotonic=self._clock.monotonic,
            outage_seconds=self._patience.outage_seconds,
        )
        engine.deliver()
        return engine.writes, engine.pause, engine.message, tuple(engine.notices), ()

    def _over_http(
        self,
        order: DeliveryOrder,
        destination: Destination,
        journal: Journal,
        entries: Iterable[JournalEntry],
        keys: Keys,
        entitled: Callable[[], bool],
        waiting: Held,
    ) -> _Sent:
        from levada.delivery.http_engine import HttpEngine

        async def sent() -> _Sent:
            wire = self._wire()
            if isinstance(wire, HttpWire):
                wire.open()
            account = self._account(destination, wire, order.sync, entitled)
            engine = HttpEngine(
                order,
                destination,
                account,
                journal,
                entries,
                policy=self._patience.policy,
                halt=self._halt,
                keys=keys,
                held=waiting,
                listener=self._listener,
                clean=self._redaction.clean,
            )
            loop = asyncio.get_running_loop()
            drained: list[asyncio.TimerHandle] = []
            ended = False

            def drain() -> None:
                engine.wake()
                drained.append(loop.call_later(DRAIN_SECONDS, engine.abandon))

            def wake() -> None:
                if not ended:
                    loop.call_soon_threadsafe(drain)

            self._halt.call(wake)
            try:
                await engine.deliver()
            finally:
                ended = True
                for handle in drained:
                    handle.cancel()
                await wire.close()
            return account.requests, engine.pause, engine.message, engine.notices, tuple(engine.waited)

        found: _Sent = self._run_loop(sent())
        return found

    def _held(self, order: DeliveryOrder, destination: Destination) -> Held:
        """What waits for earlier requests: of other runs, and of this one where a repeat has to wait, too (class C)."""
        assert self._store is not None
        spec = destination.spec
        left = Remains.of(self._store.journals.entries(order.run_id)).open.values()
        own = [
            (entry.intent.first, entry.intent.first + entry.intent.size)
            for entry in left
            if spec.delivery_class(order.object, order.verbs[entry.intent.kind]) == "C"
            and (entry.outcomes is None or entry.doubtful or was_begun(entry.outcomes))
        ]
        return held(
            self._store, order.sync, order.plan, order.folder, order.run_id, own=own, seconds=spec.settling_seconds
        )

    def _account(
        self, destination: Destination, wire: Wire, sync: str, entitled: Callable[[], bool] = lambda: True
    ) -> Account:
        for secret in destination.auth.secrets() if destination.auth else ():
            self._redaction.add(secret)
        return Account(
            destination,
            wire,
            self._clock,
            shared=None if self._store is None else self._store.limits,
            vault=None if self._store is None else self._store.vault,
            patience=self._patience,
            listener=self._listener,
            clean=self._redaction.clean,
            learn=self._redaction.add,
            sync=sync,
            entitled=entitled,
            refusals=self._refusals,
        )


def _is_untouched(entries: Iterable[JournalEntry], tally: Tally) -> bool:
    """Is it sure that nothing was applied?"""
    if tally.operations != tally.unsent + tally.waiting:
        return False
    return not any(entry.doubtful or entry.outcomes is None for entry in entries)

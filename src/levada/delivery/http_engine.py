"""Sends a plan over HTTP: lanes in parallel, phases in order, every record to one of its ends.

A phase is one kind: what leaves is gone before what changed and what is new is sent, and within a phase a
key occurs once, so that lanes need no order among them. How a batch comes to its end: `levada.delivery.attempts`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import pyarrow as pa

from levada import events
from levada.batch import Batch
from levada.change import KINDS, Kind
from levada.delivery.account import Account, Paused
from levada.delivery.attempts import NOT_APPLIED, Attempts, PutOff
from levada.delivery.course import Course, Phase
from levada.delivery.held import Held
from levada.delivery.idempotency import (
    HELD,
    MARK,
    Keys,
    begun,
    was_begun,
)
from levada.delivery.journal_writer import GROUP_MAX, JournalTask
from levada.delivery.order import DeliveryOrder
from levada.delivery.plan_reader import (
    CHUNK_ROWS,
    BatchMaker,
    Chunk,
    Parts,
    PlanReader,
    cut,
    joined,
)
from levada.delivery.progress import Progress, cleaned
from levada.delivery.unfinished import Remains
from levada.destination import Destination
from levada.limits import Limits
from levada.outcome import Outcomes
from levada.retry import RetryPolicy
from levada.run import PauseReason, Wait
from levada.store import Intent, Journal, JournalEntry
from levada.template import parse


class HttpEngine:
    """Delivers one order through one account. `halt` may be set from any thread to stop cleanly."""

    def __init__(
        self,
        order: DeliveryOrder,
        destination: Destination,
        account: Account,
        journal: Journal,
        entries: Iterable[JournalEntry],
        *,
        policy: RetryPolicy,
        halt: threading.Event,
        keys: Keys,
        held: Held,
        listener: events.Listener = events.ignore,
        clean: Callable[[str], str] = str,
    ) -> None:
        self._order = order
        self._destination = destination
        self._account = account
        self._journal = journal
        self._remains = Remains.of(entries)
        self._number = self._remains.number
        self._keys = keys
        self._listener = listener
        self._clean = clean
        self._course = Course(
            halt,
            self._number,
            {number for number, entry in self._remains.open.items() if entry.doubtful},
            {number: entry.intent.idempotency_key for number, entry in self._remains.open.items()},
        )
        self._held = held
        self._stopping = asyncio.Event()
        self.waited: list[Wait] = []
        self._attempts = Attempts(
            order, destination, account, self._course, policy=policy, keys=keys, listener=listener, clean=clean
        )
        self._maker = BatchMaker(order)
        self._busy: set[asyncio.Task[None]] = set()
        self.progress = Progress(order.plan.counts.operations)

    @property
    def pause(self) -> PauseReason | None:
        """Why it stopped before the end, if it did."""
        return self._course.pause

    @property
    def message(self) -> str:
        """What goes with `pause`, in words."""
        return self._course.message

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know of the answers."""
        return tuple(self._course.notices)

    async def deliver(self) -> None:
        """Bring every operation to an end, or set `pause`. Outcomes are in the journal.

        What has to wait is put off until all else has its end (`levada.delivery.held`): then the same phases go once
        more, over the batches that were left open.
        """
        held, over = self._held, asyncio.get_running_loop().time() + self._held.seconds
        await self._doubt_leftovers()
        if held and held.sequences is None:
            await self._wait(held, over)
        elif held:
            self._course.held = held
        await self._phases()
        if self._course.put_off and self._course.pause is None:
            await self._wait(held, over)
            self._course.held = Held()
            self._course.kept.clear()
            self._remains = await asyncio.to_thread(lambda: Remains.of(self._journal.entries()))
            self.progress = Progress(self._order.plan.counts.operations)
            self.progress.add(self._remains.ends)
            await self._phases()

    async def _phases(self) -> None:
        for kind in KINDS:
            if self._course.pause is None and self._order.plan.counts.of(kind):
                await self._phase(kind)

    async def _wait(self, held: Held, over: float) -> None:
        """Until the moment `over` of the loop's clock, or until somebody stops the run."""
        seconds = over - asyncio.get_running_loop().time()
        if seconds > 0:
            spec, operations = self._destination.spec, self._order.plan.counts.operations
            wait = held.wait(self._destination.name, spec, operations, seconds)
            self.waited.append(wait)
            self._listener(
                events.DeliveryWaiting(
                    self._order.sync, wait.reason, wait.seconds, wait.message, wait.records, wait.option
                )
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    def wake(self) -> None:
        """End a wait now, because the run is to stop. On the loop only."""
        self._stopping.set()

    def abandon(self) -> None:
        """End what is under way now: requests without an answer stay in doubt, waits are over. On the loop only."""
        self._account.abandoned = True
        self._course.stop("operator", "stopped")
        for lane in self._busy:
            lane.cancel()

    # -- phases

    async def _doubt_leftovers(self) -> None:
        """Batches of an earlier process without an outcome may have been sent (c6): mark them so, durably."""
        left = self._remains.open.items()
        numbers = [number for number, entry in left if entry.outcomes is None or was_begun(entry.outcomes)]
        self.progress.add(self._remains.ends)
        if numbers:
            hold = self._destination.spec.settling_seconds
            await asyncio.to_thread(self._journal.doubt, numbers, hold)
            self._course.doubtful.update(numbers)

    async def _phase(self, kind: Kind) -> None:
        verb = self._order.verbs[kind]
        template = self._destination.template(self._order.object, verb)
        delivery_class = self._destination.spec.delivery_class(self._order.object, verb)
        limits = self._destination.limits(self._order.object, verb)
        if delivery_class == "B":  # a key stands for one record, whatever becomes of those beside it
            limits = limits.model_copy(update={"records_per_request": 1})
        phase = Phase(
            kind=kind,
            verb=verb,
            node=None if template is None else parse(template),
            limits=limits,
            idempotent=delivery_class == "A",
            keyed=delivery_class == "B",
            recreates=verb == "update"
            and self._order.mode in ("upsert", "mirror")
            and self._destination.spec.delivery_class(self._order.object, "create") == "C",
        )
        lanes = phase.limits.concurrent_requests
        window = max(GROUP_MAX, lanes) if phase.idempotent else lanes
        reader = PlanReader(self._order)
        queue: asyncio.Queue[Batch | None] = asyncio.Queue()
        try:
            async with JournalTask(self._journal, window, self._on_settled, self._on_failure) as journal:
                workers = [asyncio.create_task(self._lane(queue, journal, phase)) for _ in range(lanes)]
                try:
                    await self._resume(queue, journal, phase, reader)
                    await self._produce(queue, journal, phase, reader)
                finally:
                    for _ in workers:
                        queue.put_nowait(None)
                    results = await asyncio.gather(*workers, return_exceptions=True)
                for result in results:
                    if isinstance(result, BaseException):
                        raise result
        finally:
            reader.close()

    async def _resume(
        self, queue: asyncio.Queue[Batch | None], journal: JournalTask, phase: Phase, reader: PlanReader
    ) -> None:
        """Queue the batches that an earlier process began and whose end is open."""
        base = self._order.plan.first(phase.kind)
        for number, entry in self._remains.open.items():
            if entry.intent.kind != phase.kind or self._course.halted:
                continue
            start = entry.intent.first - base
            chunk = await asyncio.to_thread(
                reader.range,
                phase.kind,
                phase.verb,
                phase.node,
                start,
                start + entry.intent.size,
                with_operations=not phase.idempotent,
            )
            batch = self._maker.batch(chunk, phase.verb, number, 0, len(chunk))
            self._course.stamps[number] = entry.intent.idempotency_key
            if entry.outcomes is not None:
                self._course.kept[number] = entry.outcomes
                if not phase.idempotent:
                    held = self._course.held.of(entry.intent.first, entry.intent.size)
                    again = begun(entry.outcomes, entry.intent.size, held)
                    await asyncio.to_thread(self._journal.settle, [(number, again)])
            await journal.room(1)
            queue.put_nowait(self._left_open(self._in_doubt(batch), entry))

    async def _produce(
        self, queue: asyncio.Queue[Batch | None], journal: JournalTask, phase: Phase, reader: PlanReader
    ) -> None:
        """Queue the batches that were never begun, a window ahead of the lanes."""
        base = self._order.plan.first(phase.kind)
        start = self._remains.reached.get(phase.kind, base) - base
        total = self._order.plan.counts.of(phase.kind)
        if start >= total:
            return
        rows = max(CHUNK_ROWS, phase.limits.records_per_request)
        chunks = reader.chunks(
            phase.kind, phase.verb, phase.node, start=start, rows=rows, with_operations=not phase.idempotent
        )
        rest: Chunk | None = None
        pending = asyncio.create_task(asyncio.to_thread(_next, chunks))
        seen = start
        try:
            while (chunk := await pending) is not None and not self._course.halted:
                pending = asyncio.create_task(asyncio.to_thread(_next, chunks))
                seen += len(chunk)
                whole = joined(rest, chunk)
                last = seen >= total
                ranges, covered, parts, packed = await asyncio.to_thread(_cut_up, whole, phase.limits, last)
                await self._enqueue(queue, journal, phase, whole, ranges, parts, packed)
                left = whole.columns.slice(covered)
                rest = Chunk(phase.kind, whole.first + covered, left) if left.num_rows else None
        finally:
            await asyncio.gather(pending, return_exceptions=True)

    async def _enqueue(
        self,
        queue: asyncio.Queue[Batch | None],
        journal: JournalTask,
        phase: Phase,
        chunk: Chunk,
        ranges: Sequence[tuple[int, int]],
        parts: Parts,
        packed: list[pa.Buffer] | None,
    ) -> None:
        position = 0
        while position < len(ranges) and not self._course.halted:
            taken = await journal.room(min(GROUP_MAX // 2, len(ranges) - position))
            batches = []
            for place in range(position, position + taken):
                start, length = ranges[place]
                body = packed[place] if packed is not None else None
                batch = self._maker.of_parts(chunk, parts, phase.verb, self._number, start, length, body)
                batches.append(self._in_doubt(batch))
                self._number += 1
            await journal.intend([self._intent(batch, phase) for batch in batches])
            for batch in batches:
                queue.put_nowait(batch)
            position += taken

    def _intent(self, batch: Batch, phase: Phase) -> Intent:
        """What is written before a batch is sent; for class B with the moment from which its key is known."""
        key = batch.idempotency_key
        if phase.keyed:
            fresh = f"{key}{MARK}" if self._order.in_doubt else self._keys.stamped(key)
            known = batch.stamps[0].as_py() if batch.stamps is not None else None
            key = known or fresh
            self._course.stamps[batch.number] = key
        return Intent(batch.number, phase.kind, batch.sequence, len(batch), key)

    def _in_doubt(self, batch: Batch) -> Batch:
        """With every record as sent before, where it is not known what was (after a rollback or a dropped plan)."""
        return batch.with_state("sent", range(len(batch))) if self._order.in_doubt else batch

    def _left_open(self, batch: Batch, entry: JournalEntry) -> Batch:
        """A batch of an earlier process, with the records as sent before whose end it does not know."""
        kept = entry.outcomes
        if kept is None:
            return batch.with_state("sent", range(len(batch)))
        unsure = ("unknown", "not_applied") if entry.doubtful else ("unknown",)
        sent = [i for i in range(len(batch)) if kept.of(i).end in unsure and kept.of(i) != HELD]
        return batch.with_state("sent", sent)

    # -- lanes

    async def _lane(self, queue: asyncio.Queue[Batch | None], journal: JournalTask, phase: Phase) -> None:
        own = asyncio.current_task()
        assert own is not None
        while (batch := await queue.get()) is not None:
            self._busy.add(own)
            try:
                outcomes = self._course.kept.get(batch.number)
                if not self._course.halted:
                    outcomes = await self._attempts.settled(batch, journal, phase)
            except Paused as paused:
                self._course.stop(paused.reason, paused.message)
                outcomes = None
            except PutOff:
                outcomes = None
            except asyncio.CancelledError:
                if not self._account.abandoned:
                    raise
                outcomes = None
            except BaseException:
                self._course.stop("operator", "stopped by an error")
                journal.leave()
                raise
            finally:
                self._busy.discard(own)
            if outcomes is not None:
                journal.settle(batch.number, cleaned(outcomes, self._clean), len(batch))
                self._course.stamps.pop(batch.number, None)
            elif batch.number in self._course.doubtful or batch.number in self._course.kept:
                journal.leave()
            else:
                journal.settle(batch.number, NOT_APPLIED, len(batch))

    def _on_failure(self) -> None:
        self._course.stop("disk", "the journal cannot be written")

    def _on_settled(self, outcomes: Outcomes, size: int) -> None:
        self.progress.count(outcomes, size)
        self._listener(self.progress.event(self._order, self._account.requests))


def _cut_up(
    chunk: Chunk, limits: Limits, last: bool
) -> tuple[list[tuple[int, int]], int, Parts, list[pa.Buffer] | None]:
    """Where a chunk's batches are, and what they are made of: the heavy part, for a thread."""
    ranges, covered = cut(chunk, limits, last=last)
    parts = Parts.of(chunk)
    return ranges, covered, parts, parts.packed(ranges)


def _next(chunks: Iterator[Chunk]) -> Chunk | None:
    return next(chunks, None)

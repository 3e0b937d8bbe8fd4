"""Sends a plan over HTTP: lanes in parallel, phases in order, every record to one of its ends.

A phase is one kind: what leaves is gone before what changed and what is new is sent, and within a phase a
key occurs once, so that lanes need no order among them. What happens to a batch whose answer was lost is
decided by the destination's class (GUARANTEES 4): see `_settled`.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from levada import events
from levada.batch import Batch
from levada.change import KINDS, Kind, Verb
from levada.delivery.account import Account, Paused
from levada.delivery.journaling import GROUP_MAX, JournalTask
from levada.delivery.order import DeliveryOrder
from levada.delivery.progress import Progress, cleaned
from levada.delivery.render import CHUNK_ROWS, BatchMaker, Chunk, Parts, PlanReader, cut, earlier_attempts, joined
from levada.delivery.wire import Lost
from levada.destination import Destination
from levada.errors import ConfigError, DestinationError
from levada.limits import Limits
from levada.outcome import DELIVERED, FUNCTION_FAILED, End, Outcome, Outcomes
from levada.retry import RetryPolicy
from levada.run import PauseReason
from levada.store import Intent, Journal, JournalEntry
from levada.template import Node, parse

UNFINISHED: tuple[End, ...] = ("unknown", "not_applied")
NOT_APPLIED = Outcomes(Outcome("not_applied"))
AT_MOST_ONCE = Outcome(
    "unknown", "an earlier attempt may have been applied, and at most one is allowed", "at_most_once"
)
BISECTION_PARTS_MAX = 400
"""A batch refused as a whole is divided into at most so many parts; what is left is refused as it stands."""


class HttpEngine:
    """Delivers one order through one account. `halt` may be set from any thread to stop cleanly."""

    def __init__(
        self,
        order: DeliveryOrder,
        destination: Destination,
        account: Account,
        journal: Journal,
        entries: Sequence[JournalEntry],
        *,
        policy: RetryPolicy,
        halt: threading.Event,
        listener: events.Listener = events.ignore,
        clean: Callable[[str], str] = str,
    ) -> None:
        self._order = order
        self._destination = destination
        self._account = account
        self._journal = journal
        self._entries = {entry.intent.number: entry for entry in entries}
        self._policy = policy
        self._halt = halt
        self._listener = listener
        self._clean = clean
        self._maker = BatchMaker(order)
        self._number = max((number for number in self._entries), default=-1) + 1
        self._doubtful: set[int] = {number for number, entry in self._entries.items() if entry.doubtful}
        self._left_over = frozenset(self._entries)
        self._vouched = False
        self._busy: set[asyncio.Task[None]] = set()
        self._kept: dict[int, Outcomes] = {}
        self.pause: PauseReason | None = None
        self.message = ""
        self.progress = Progress(order.plan.counts.operations)

    async def deliver(self) -> None:
        """Bring every operation to an end, or set `pause`. Outcomes are in the journal."""
        await self._doubt_leftovers()
        for kind in KINDS:
            if self.pause is None and self._order.plan.counts.of(kind):
                await self._phase(kind)

    def abandon(self) -> None:
        """End what is under way now: requests without an answer stay in doubt, waits are over. On the loop only."""
        self._account.abandoned = True
        self._stop("operator", "stopped")
        for lane in self._busy:
            lane.cancel()

    # -- phases

    async def _doubt_leftovers(self) -> None:
        """Batches of an earlier process without an outcome may have been sent (c6): mark them so, durably."""
        numbers = [n for n, entry in self._entries.items() if entry.outcomes is None]
        for entry in self._entries.values():
            if entry.outcomes is not None:
                self.progress.count(entry.outcomes, entry.intent.size)
        if numbers:
            hold = self._destination.spec.settling_seconds
            await asyncio.to_thread(self._journal.doubt, numbers, hold)
            self._doubtful.update(numbers)

    async def _phase(self, kind: Kind) -> None:
        verb = self._order.verbs[kind]
        template = self._destination.template(self._order.object, verb)
        phase = Phase(
            kind=kind,
            verb=verb,
            node=None if template is None else parse(template),
            limits=self._destination.limits(self._order.object, verb),
            idempotent=self._destination.spec.delivery_class(verb) == "A",
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
        for number, entry in sorted(self._entries.items()):
            if entry.intent.kind != phase.kind or self._halted:
                continue
            if entry.outcomes is not None and not entry.outcomes.any(entry.intent.size, "not_applied"):
                continue
            start = entry.intent.first - base
            chunk = await asyncio.to_thread(self._range, reader, phase, start, start + entry.intent.size)
            batch = self._maker.batch(chunk, phase.verb, number, 0, len(chunk))
            if entry.outcomes is not None:
                self._kept[number] = entry.outcomes
            await journal.room(1)
            queue.put_nowait(self._marked(batch, chunk, 0))

    async def _produce(
        self, queue: asyncio.Queue[Batch | None], journal: JournalTask, phase: Phase, reader: PlanReader
    ) -> None:
        """Queue the batches that were never begun, a window ahead of the lanes."""
        reached = [e.intent.first + e.intent.size for e in self._entries.values() if e.intent.kind == phase.kind]
        start = max(reached, default=self._order.plan.first(phase.kind)) - self._order.plan.first(phase.kind)
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
            while (chunk := await pending) is not None and not self._halted:
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
        while position < len(ranges) and not self._halted:
            taken = await journal.room(min(GROUP_MAX // 2, len(ranges) - position))
            batches = []
            for place in range(position, position + taken):
                start, length = ranges[place]
                body = packed[place] if packed is not None else None
                batch = self._maker.of_parts(chunk, parts, phase.verb, self._number, start, length, body)
                batches.append(self._marked(batch, chunk, start))
                self._number += 1
            await journal.intend([Intent(b.number, phase.kind, b.sequence, len(b), b.idempotency_key) for b in batches])
            for batch in batches:
                queue.put_nowait(batch)
            position += taken

    def _range(self, reader: PlanReader, phase: Phase, start: int, stop: int, verb: Verb | None = None) -> Chunk:
        """Operations [start, stop) of a kind, in one chunk."""
        wanted = verb or phase.verb
        node = phase.node if verb is None else self._node(verb)
        parts = list(
            reader.chunks(phase.kind, wanted, node, start=start, stop=stop, with_operations=not phase.idempotent)
        )
        return Chunk(phase.kind, parts[0].first, pa.concat_tables([part.columns for part in parts]).combine_chunks())

    def _node(self, verb: Verb) -> Node | None:
        template = self._destination.template(self._order.object, verb)
        return None if template is None else parse(template)

    def _marked(self, batch: Batch, chunk: Chunk, start: int) -> Batch:
        """With a note of the records that an earlier run may have sent, and of those that this one leaves out."""
        notes: dict[str, object] = {}
        if earlier := earlier_attempts(chunk, start, len(batch)):
            notes["earlier"] = tuple(earlier)
        if waiting := self._order.waiting.of(batch.sequence, len(batch)):
            notes["waiting"] = waiting
        return replace(batch, notes=notes) if notes else batch

    # -- lanes

    async def _lane(self, queue: asyncio.Queue[Batch | None], journal: JournalTask, phase: Phase) -> None:
        own = asyncio.current_task()
        assert own is not None
        while (batch := await queue.get()) is not None:
            self._busy.add(own)
            try:
                outcomes = None if self._halted else await self._settled(batch, journal, phase)
            except Paused as paused:
                self._stop(paused.reason, paused.message)
                outcomes = None
            except asyncio.CancelledError:
                if not self._account.abandoned:
                    raise
                outcomes = None
            except BaseException:
                self._stop("operator", "stopped by an error")
                journal.leave()
                raise
            finally:
                self._busy.discard(own)
            if outcomes is not None:
                journal.settle(batch.number, cleaned(outcomes, self._clean), len(batch))
            elif batch.number in self._doubtful or batch.number in self._kept:
                journal.leave()
            else:
                journal.settle(batch.number, NOT_APPLIED, len(batch))

    async def _settled(self, batch: Batch, journal: JournalTask, phase: Phase) -> Outcomes:
        """Send until no record's end is open or patience is over; what is open then stays unknown."""
        delivery_class = self._destination.spec.delivery_class(batch.verb)
        doubtful = batch.number in self._doubtful
        if doubtful and delivery_class == "C":
            await self._hold()
        at_most_once = delivery_class == "D" and self._order.repeats == "at_most_once"
        final: dict[int, Outcome] = {}
        if at_most_once:
            final = dict.fromkeys(range(len(batch)) if doubtful else batch.notes.get("earlier", ()), AT_MOST_ONCE)
        final |= batch.notes.get("waiting", {})
        if len(final) == len(batch):
            return Outcomes(final[0], final).simplified()
        identifiers: dict[int, str] = {}
        request_id = ""
        open_indices = [index for index in range(len(batch)) if index not in final]
        if (kept := self._kept.get(batch.number)) is not None:
            final = {i: kept.of(i) for i in range(len(batch))} | final
            open_indices = [i for i in open_indices if final[i].end in UNFINISHED]
            identifiers.update(kept.identifiers)
        for attempt in range(1, self._policy.attempts_max + 1):
            current = batch if len(open_indices) == len(batch) else batch.take(open_indices)
            if attempt > 1:
                current = replace(current, attempt=attempt)
            lost_before = doubtful or attempt > 1
            try:
                outcomes = await self._attempt(current, batch.number, journal, phase, lost_before=lost_before)
            except Paused as paused:
                if attempt == 1 and kept is None:
                    raise  # no record of the batch was sent: all of it stays open
                self._stop(paused.reason, paused.message)
                break
            self._vouched = self._vouched or any(end not in UNFINISHED for end in outcomes.counts(len(current)))
            if attempt == 1 and not final and not outcomes.any(len(batch), *UNFINISHED):
                return outcomes
            request_id = outcomes.request_id or request_id
            still_open: list[int] = []
            for place, index in enumerate(open_indices):
                outcome = outcomes.of(place)
                final[index] = outcome
                if place in outcomes.identifiers:
                    identifiers[index] = outcomes.identifiers[place]
                if outcome.end in UNFINISHED:
                    still_open.append(index)
            if not still_open:
                break
            open_indices = still_open
            lost = any(final[i].end == "unknown" for i in open_indices)
            if any(final[i].code == FUNCTION_FAILED for i in open_indices):
                self._give_up([final[index] for index in open_indices], batch.number)
                break
            if (lost and at_most_once) or (self.pause is not None and not lost):
                break  # after a pause in the middle of a halved batch, what is left of it stays unsent
            if attempt < self._policy.attempts_max:
                try:
                    await self._account.wait_before_resend(attempt)
                except Paused as paused:
                    self._stop(paused.reason, paused.message)
                    break
                if lost and delivery_class == "C":
                    await self._hold()
        else:
            self._give_up([final[index] for index in open_indices], batch.number)
        exceptions = {index: outcome for index, outcome in final.items() if outcome != DELIVERED}
        return Outcomes(DELIVERED, exceptions, identifiers=identifiers, request_id=request_id)

    def _give_up(self, left: Sequence[Outcome], number: int) -> None:
        """Patience with a batch is over. Where no batch of this process was ever answered for, that is an outage.

        A batch that an earlier process gave up on in the same way ends as unknown, so that a record which the
        destination cannot digest does not hold up all others for ever. Raises Paused.
        """
        failed = next((outcome for outcome in left if outcome.code == FUNCTION_FAILED), None)
        if failed is not None and not self._vouched:
            raise Paused("setup", self._clean(failed.reason))
        unknown = next((outcome for outcome in left if outcome.end == "unknown"), None)
        if unknown is not None and not self._vouched and number not in self._left_over:
            raise Paused("outage", self._clean(f"{self._destination.name} answers for no record: {unknown.reason}"))

    async def _attempt(
        self, batch: Batch, number: int, journal: JournalTask, phase: Phase, *, lost_before: bool
    ) -> Outcomes:
        """One attempt at a batch; for class C, records that may exist already are looked up first."""
        spec = self._destination.spec
        if spec.delivery_class(batch.verb) == "C" and batch.verb == "create":
            needs_look = lost_before or self._order.mode in ("upsert", "mirror")
            earlier = batch.notes.get("earlier", ())
            if needs_look or earlier:
                return await self._look_then_send(batch, number, journal, phase)
        parts = [BISECTION_PARTS_MAX if len(batch) > 1 else 1]
        return await self._send(batch, number, journal, parts)

    async def _send(self, batch: Batch, number: int, journal: JournalTask, parts: list[int]) -> Outcomes:
        """Send a batch, halving it while the destination refuses it whole without naming a record."""
        parts[0] -= 1
        try:
            outcomes = await self._account.talk(self._destination.deliver(batch), write=True)
        except Lost as lost:
            await self._doubt(number, journal)
            return batch.unknown(str(lost))
        except Paused as paused:
            if paused.written:
                await self._doubt(number, journal)
            raise
        if any(o.end == "unknown" for o in (outcomes.common, *outcomes.exceptions.values())):
            await self._doubt(number, journal)
        if outcomes.attributed or len(batch) == 1 or parts[0] <= 0:
            return replace(outcomes, attributed=True)
        half = math.ceil(len(batch) / 2)
        left = await self._send_or_leave(batch.slice(0, half), number, journal, parts)
        right = await self._send_or_leave(batch.slice(half, len(batch) - half), number, journal, parts)
        return Outcomes.joined([(half, left), (len(batch) - half, right)])

    async def _send_or_leave(self, batch: Batch, number: int, journal: JournalTask, parts: list[int]) -> Outcomes:
        """As `_send`, but a pause leaves this part unsent instead of losing the outcomes of the others."""
        if self._halted:
            return NOT_APPLIED
        try:
            return await self._send(batch, number, journal, parts)
        except Paused as paused:
            self._stop(paused.reason, paused.message)
            return NOT_APPLIED

    async def _look_then_send(self, batch: Batch, number: int, journal: JournalTask, phase: Phase) -> Outcomes:
        """Update the records that are there, create the others (E6: a failed look-up says neither)."""
        try:
            found = await self._account.talk(self._destination.look_up(batch))
        except DestinationError as error:
            return Outcomes(Outcome("not_applied", f"look-up: {error.message}", "look_up_failed"))
        present = sorted(found.identifiers)
        if present and not self._has("update"):
            present = []  # what is there stays as it is: this object's records are made and never changed
        absent = [index for index in range(len(batch)) if index not in found.identifiers]
        merged: dict[int, Outcome] = {}
        identifiers = dict(found.identifiers)
        at_once = self._destination.limits(self._order.object, "update").records_per_request if present else 1
        parts = [(present[start : start + at_once], True) for start in range(0, len(present), at_once)]
        for indices, is_there in (*parts, (absent, False)):
            if not indices:
                continue
            part = batch.take(indices)
            if is_there:
                part = await self._as_update(part, phase, [found.identifiers[i] for i in indices])
            outcomes = await self._send_or_leave(part, number, journal, [BISECTION_PARTS_MAX])
            for place, index in enumerate(indices):
                merged[index] = outcomes.of(place)
                if place in outcomes.identifiers:
                    identifiers[index] = outcomes.identifiers[place]
        exceptions = {index: outcome for index, outcome in merged.items() if outcome != DELIVERED}
        return Outcomes(DELIVERED, exceptions, identifiers=identifiers)

    def _has(self, verb: Verb) -> bool:
        try:
            self._destination.template(self._order.object, verb)
        except ConfigError:
            return False
        return True

    async def _as_update(self, batch: Batch, phase: Phase, identifiers: list[str]) -> Batch:
        """The records of a create, rendered for the verb update, with the destination's ids."""
        reader = PlanReader(self._order)
        try:
            base = self._order.plan.first(phase.kind)
            start = batch.sequence - base
            chunk = await asyncio.to_thread(self._matching, reader, phase, batch, start)
        finally:
            reader.close()
        made = self._maker.batch(chunk, "update", batch.number, 0, len(chunk))
        return replace(made, identifiers=pa.array(identifiers, pa.string()), attempt=batch.attempt)

    def _matching(self, reader: PlanReader, phase: Phase, batch: Batch, start: int) -> Chunk:
        """The rows of `batch`, rendered for update, in its order."""
        wanted = batch.keys.to_pylist()
        span = self._range(
            reader,
            phase,
            start,
            start + self._destination.limits(self._order.object, phase.verb).records_per_request,
            verb="update",
        )
        keys = span.columns.select([f"key.{key}" for key in self._order.plan.keys])
        rows = keys.rename_columns(list(self._order.plan.keys)).to_pylist()
        places = [rows.index(row) for row in wanted]
        return Chunk(phase.kind, span.first + places[0], span.columns.take(pa.array(places, pa.int64())))

    # -- marks

    async def _doubt(self, number: int, journal: JournalTask) -> None:
        self._doubtful.add(number)
        await journal.doubt(number, self._destination.spec.settling_seconds)

    async def _hold(self) -> None:
        """Class C: wait until a lost request can no longer be applied, and an applied one be found."""
        wait = self._destination.spec.settling_seconds
        self._listener(events.DeliveryWaiting(self._order.sync, "hold", wait))
        await asyncio.sleep(wait)

    @property
    def _halted(self) -> bool:
        if self._halt.is_set():
            self._stop("operator", "stopped")
        return self.pause is not None

    def _stop(self, reason: PauseReason, message: str) -> None:
        if self.pause is None:
            self.pause = reason
            self.message = message

    def _on_failure(self) -> None:
        self._stop("disk", "the journal cannot be written")

    def _on_settled(self, outcomes: Outcomes, size: int) -> None:
        self.progress.count(outcomes, size)
        self._listener(self.progress.event(self._order, self._account.requests))


@dataclass(frozen=True, slots=True)
class Phase:
    """What is the same for all batches of a kind."""

    kind: Kind
    verb: Verb
    node: Node | None
    limits: Limits
    idempotent: bool


def _cut_up(
    chunk: Chunk, limits: Limits, last: bool
) -> tuple[list[tuple[int, int]], int, Parts, list[pa.Buffer] | None]:
    """Where a chunk's batches are, and what they are made of: the heavy part, for a thread."""
    ranges, covered = cut(chunk, limits, last=last)
    parts = Parts.of(chunk)
    return ranges, covered, parts, parts.packed(ranges)


def _next(chunks: Iterator[Chunk]) -> Chunk | None:
    return next(chunks, None)

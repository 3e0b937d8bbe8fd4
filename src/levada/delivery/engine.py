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
from levada.delivery.account import Account, NoLonger, Paused
from levada.delivery.doubts import (
    AT_MOST_ONCE,
    KEY_EXPIRED,
    MARK,
    ROLLED_BACK,
    UNANSWERED,
    Keys,
    begun,
    has_open,
    is_open,
    left_unsent,
    repeated,
    was_begun,
)
from levada.delivery.journaling import GROUP_MAX, JournalTask
from levada.delivery.order import DeliveryOrder
from levada.delivery.progress import Progress, cleaned
from levada.delivery.render import (
    CHUNK_ROWS,
    BatchMaker,
    Chunk,
    Parts,
    PlanReader,
    cut,
    earlier_attempts,
    joined,
    unanswered_attempts,
)
from levada.delivery.wire import Lost
from levada.destination import Destination
from levada.errors import ConfigError, DestinationError
from levada.limits import Limits
from levada.outcome import DELIVERED, FUNCTION_FAILED, Outcome, Outcomes
from levada.planner import REMOVAL
from levada.retry import RetryPolicy
from levada.run import PauseReason
from levada.store import Intent, Journal, JournalEntry
from levada.template import Node, parse

NOT_APPLIED = Outcomes(Outcome("not_applied"))
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
        keys: Keys,
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
        self._keys = keys
        #: by batch: the key of class B with the moment at which it was first sent
        self._stamps: dict[int, str] = {number: entry.intent.idempotency_key for number, entry in self._entries.items()}
        self._resent: set[int] = set()
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
        numbers = [n for n, entry in self._entries.items() if entry.outcomes is None or was_begun(entry.outcomes)]
        for entry in self._entries.values():
            if entry.outcomes is not None and not left_unsent(entry.outcomes, entry.intent.size):
                self.progress.count(entry.outcomes, entry.intent.size)
        if numbers:
            hold = self._destination.spec.settling_seconds
            await asyncio.to_thread(self._journal.doubt, numbers, hold)
            self._doubtful.update(numbers)

    async def _phase(self, kind: Kind) -> None:
        verb = self._order.verbs[kind]
        template = self._destination.template(self._order.object, verb)
        delivery_class = self._destination.spec.delivery_class(verb)
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
            if entry.outcomes is not None and not left_unsent(entry.outcomes, entry.intent.size):
                continue
            start = entry.intent.first - base
            chunk = await asyncio.to_thread(self._range, reader, phase, start, start + entry.intent.size)
            batch = self._maker.batch(chunk, phase.verb, number, 0, len(chunk))
            if entry.outcomes is not None:
                self._kept[number] = entry.outcomes
                if not phase.idempotent:
                    again = begun(entry.outcomes, entry.intent.size)
                    await asyncio.to_thread(self._journal.settle, [(number, again)])
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
            await journal.intend([self._intent(batch, phase) for batch in batches])
            for batch in batches:
                queue.put_nowait(batch)
            position += taken

    def _intent(self, batch: Batch, phase: Phase) -> Intent:
        """What is written before a batch is sent; for class B with the moment from which its key is known."""
        key = batch.idempotency_key
        if phase.keyed:
            fresh = f"{key}{MARK}" if self._order.in_doubt else self._keys.stamped(key)
            known = batch.notes.get("unanswered", {}).get(0, "")
            key = known if MARK in known else fresh
            self._stamps[batch.number] = key
        return Intent(batch.number, phase.kind, batch.sequence, len(batch), key)

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
        if self._order.in_doubt:
            notes["earlier"] = tuple(range(len(batch)))
        elif earlier := earlier_attempts(chunk, start, len(batch)):
            notes["earlier"] = tuple(earlier)
        if unanswered := unanswered_attempts(chunk, start, len(batch)):
            notes["unanswered"] = unanswered
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
                outcomes = self._kept.get(batch.number)
                if not self._halted:
                    outcomes = await self._settled(batch, journal, phase)
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
        kept = self._kept.get(batch.number)
        at_most_once = delivery_class == "D" and self._order.repeats == "at_most_once"
        lost = self._lost_before(batch, kept)
        final = self._left_out(batch, phase) | batch.notes.get("waiting", {})
        if kept is not None:
            final = {i: kept.of(i) for i in range(len(batch))} | final
        if at_most_once:
            final |= dict.fromkeys(lost, AT_MOST_ONCE)
        open_indices = [i for i in range(len(batch)) if i not in final or is_open(final[i])]
        if not open_indices:
            return Outcomes(final[0], final).simplified()
        identifiers: dict[int, str] = dict(kept.identifiers) if kept is not None else {}
        request_id = ""
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
            answered = outcomes.counts(len(current)).keys() - {"unknown", "not_applied"}
            self._vouched = self._vouched or bool(answered)
            if attempt == 1 and not final and not lost and not has_open(outcomes, len(batch)):
                return outcomes
            request_id = outcomes.request_id or request_id
            still_open: list[int] = []
            for place, index in enumerate(open_indices):
                outcome = outcomes.of(place)
                final[index] = repeated(outcome) if delivery_class == "D" and index in lost else outcome
                if place in outcomes.identifiers:
                    identifiers[index] = outcomes.identifiers[place]
                if outcome.end == "unknown":
                    lost.add(index)
                    final[index] = AT_MOST_ONCE if at_most_once else final[index]
                if is_open(final[index]):
                    still_open.append(index)
            if not still_open:
                break
            open_indices = still_open
            if any(final[i].code == FUNCTION_FAILED for i in open_indices):
                self._give_up([final[index] for index in open_indices], batch.number)
                break
            unsure = any(final[i].end == "unknown" for i in open_indices)
            if self.pause is not None and not unsure:
                break  # after a pause in the middle of a halved batch, what is left of it stays unsent
            if attempt < self._policy.attempts_max:
                try:
                    await self._account.wait_before_resend(attempt)
                except Paused as paused:
                    self._stop(paused.reason, paused.message)
                    break
                if unsure and delivery_class == "C":
                    await self._hold()
        else:
            self._give_up([final[index] for index in open_indices], batch.number)
        exceptions = {index: outcome for index, outcome in final.items() if outcome != DELIVERED}
        return Outcomes(DELIVERED, exceptions, identifiers=identifiers, request_id=request_id)

    def _lost_before(self, batch: Batch, kept: Outcomes | None) -> set[int]:
        """The records of a batch that were sent before, by this run or an earlier one, and not answered for."""
        earlier = set(batch.notes.get("earlier", ()))
        if kept is not None:
            return earlier | {i for i in range(len(batch)) if kept.of(i).end == "unknown"}
        return set(range(len(batch))) if batch.number in self._doubtful else earlier

    def _left_out(self, batch: Batch, phase: Phase) -> dict[int, Outcome]:
        """The records of class B that must not be sent: an earlier create is in doubt, and has to be settled first."""
        if self._order.plan.purpose == "settle":
            return {}
        found = dict.fromkeys(range(len(batch)), ROLLED_BACK) if phase.keyed and self._order.in_doubt else {}
        for index, stamp in batch.notes.get("unanswered", {}).items():
            if MARK in stamp:
                found[index] = UNANSWERED if self._keys.remembered(stamp) else KEY_EXPIRED
            elif stamp == REMOVAL and phase.keyed:
                found[index] = UNANSWERED
        return found

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
            # its further words may repeat rows; `levada records` shows them
            what = self._clean(unknown.reason.partition(": ")[0])
            raise Paused("outage", f"{self._destination.name} answers for no record: {what}")

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
        if phase.keyed and (lost_before or self._order.plan.purpose == "settle"):
            self._resent.add(number)
        parts = [BISECTION_PARTS_MAX if len(batch) > 1 else 1]
        return await self._send(batch, number, journal, parts)

    async def _send(self, batch: Batch, number: int, journal: JournalTask, parts: list[int]) -> Outcomes:
        """Send a batch, halving it while the destination refuses it whole without naming a record."""
        parts[0] -= 1
        try:
            talk = self._destination.deliver(batch)
            outcomes = await self._account.talk(talk, write=True, allowed=self._allowed(number))
        except NoLonger:
            return Outcomes(KEY_EXPIRED)
        except Lost as lost:
            await self._doubt(number, journal)
            return batch.unknown(str(lost))
        except Paused as paused:
            if paused.written:
                await self._doubt(number, journal)
            raise
        if outcomes.any(len(batch), "unknown"):
            await self._doubt(number, journal)
        if outcomes.attributed or len(batch) == 1 or parts[0] <= 0:
            return replace(outcomes, attributed=True)
        half = math.ceil(len(batch) / 2)
        left = await self._send_or_leave(batch.slice(0, half), number, journal, parts)
        right = await self._send_or_leave(batch.slice(half, len(batch) - half), number, journal, parts)
        return Outcomes.joined([(half, left), (len(batch) - half, right)])

    def _allowed(self, number: int) -> Callable[[], bool] | None:
        """For a repeat under a key: what is asked right before each sending."""
        if number not in self._resent:
            return None
        return lambda: self._keys.remembered(self._stamps[number])

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
    keyed: bool


def _cut_up(
    chunk: Chunk, limits: Limits, last: bool
) -> tuple[list[tuple[int, int]], int, Parts, list[pa.Buffer] | None]:
    """Where a chunk's batches are, and what they are made of: the heavy part, for a thread."""
    ranges, covered = cut(chunk, limits, last=last)
    parts = Parts.of(chunk)
    return ranges, covered, parts, parts.packed(ranges)


def _next(chunks: Iterator[Chunk]) -> Chunk | None:
    return next(chunks, None)

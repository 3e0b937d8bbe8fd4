"""Brings a batch to its end: attempts, halves of what is refused whole, look-ups before creates, keys that expire.

What happens to a record whose earlier answer was lost is decided by the destination's class: the table is in
`levada.delivery.ends`. What is not here: which batches there are, and in which order they go.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import pyarrow as pa

from levada import events
from levada.batch import Batch
from levada.change import Verb
from levada.delivery.account import Account, NoLonger, Paused
from levada.delivery.course import Course, Phase
from levada.delivery.ends import Ends
from levada.delivery.idempotency import AT_MOST_ONCE, KEY_EXPIRED, ROLLED_BACK, UNANSWERED, Keys, has_open
from levada.delivery.journal_writer import JournalTask
from levada.delivery.order import DeliveryOrder
from levada.delivery.plan_reader import BatchMaker, Chunk, PlanReader
from levada.delivery.wire import Lost
from levada.destination import DeliveryClass, Destination, not_looked_up
from levada.errors import ConfigError, DestinationError
from levada.outcome import DELIVERED, GONE, HOPELESS, Effect, Effects, Outcome, Outcomes
from levada.retry import RetryPolicy
from levada.template import parse

RECORD_GONE = Outcome("rejected", "the tool knows no such record any more: the next run creates it", GONE)
NOT_APPLIED = Outcomes(Outcome("not_applied"))
BISECTION_PARTS_MAX = 400
"""A batch refused as a whole is divided into at most so many parts; what is left is refused as it stands."""


PROBED_FROM_SECONDS = 5.0
"""Before a hold that is longer than this, the tool is asked whether it is there."""


class PutOff(Exception):
    """This batch stays open until the wait is over."""


class Attempts:
    """Sends the batches of one order, each until its end is known or patience is over."""

    def __init__(
        self,
        order: DeliveryOrder,
        destination: Destination,
        account: Account,
        course: Course,
        *,
        policy: RetryPolicy,
        keys: Keys,
        listener: events.Listener,
        clean: Callable[[str], str],
    ) -> None:
        self._order = order
        self._destination = destination
        self._account = account
        self._course = course
        self._policy = policy
        self._keys = keys
        self._listener = listener
        self._clean = clean
        self._maker = BatchMaker(order)
        self._resent: set[int] = set()
        self._vouched = False

    async def settled(self, batch: Batch, journal: JournalTask, phase: Phase) -> Outcomes:
        """Send until no record's end is open or patience is over; what is open then stays unknown.

        Raises PutOff for a batch that was sent before and has to wait before it is sent again.
        """
        held = self._course.held.of(batch.sequence, len(batch))
        self._course.put_off = self._course.put_off or bool(held)
        if held and batch.number in self._course.doubtful:
            raise PutOff
        ends = self._known(batch, phase)
        untouched = not ends.outcomes and not ends.lost
        left = ends.open
        for attempt in range(1, self._policy.attempts_max + 1):
            if not left:
                break
            current = batch if len(left) == len(batch) else batch.take(left)
            if attempt > 1:
                current = replace(current, attempt=attempt)
            try:
                outcomes = await self._attempt(current, batch.number, journal, phase)
            except Paused as paused:
                if not ends.outcomes.keys() >= set(left):
                    raise  # nothing is known of them: the batch stays open
                self._course.stop(paused.reason, paused.message)
                break
            self._vouched = self._vouched or outcomes.any(len(current), "delivered", "rejected", "suppressed")
            if untouched and attempt == 1 and not has_open(outcomes, len(batch)):
                return outcomes
            ends.take(left, outcomes)
            left = ends.open
            ended = (outcomes.of(place) for place in range(len(current)))
            failed = next((outcome for outcome in ended if outcome.code in HOPELESS), None)
            if not left or not await self._goes_on(batch, ends.of(left), attempt, failed):
                break
            batch = batch.with_state("sent", ends.lost)
        return ends.joined()

    def _class_of(self, batch: Batch) -> DeliveryClass:
        return self._destination.spec.delivery_class(batch.object, batch.verb)

    def _known(self, batch: Batch, phase: Phase) -> Ends:
        """What is known of a batch's records before anything is sent; the table is in `levada.delivery.ends`."""
        keeps_count = self._class_of(batch) == "D"
        once = keeps_count and self._order.repeats == "at_most_once"
        sent = batch.in_state("sent")
        ends = Ends(len(batch), set(sent), counted=keeps_count, once=once)
        kept = self._course.kept.get(batch.number)
        if kept is not None:
            ends.keep(kept)
        if once:
            ends.leave(dict.fromkeys(sent, AT_MOST_ONCE))
        ends.leave(self._order.waiting.of(batch.sequence, len(batch)))
        ends.leave(self._left_out(batch, phase))
        ends.leave(self._course.held.of(batch.sequence, len(batch)))
        return ends

    def _left_out(self, batch: Batch, phase: Phase) -> dict[int, Outcome]:
        """The records of class B that must not be sent: an earlier create is in doubt, and has to be settled first."""
        if self._order.plan.purpose == "settle":
            return {}
        found = dict.fromkeys(range(len(batch)), ROLLED_BACK) if phase.keyed and self._order.in_doubt else {}
        for index, stamp in enumerate([] if batch.stamps is None else batch.stamps.to_pylist()):
            if stamp is not None:
                found[index] = UNANSWERED if self._keys.remembered(stamp) else KEY_EXPIRED
        if phase.keyed:
            found |= dict.fromkeys(batch.in_state("removing"), UNANSWERED)
        return found

    async def _goes_on(self, batch: Batch, left: Sequence[Outcome], attempt: int, failed: Outcome | None) -> bool:
        """Is there to be another attempt? Waits for it. Raises Paused where patience is over and that is an outage.

        `failed`: an end of this attempt that another one would not change.
        """
        if attempt == self._policy.attempts_max or failed is not None:
            self._give_up(left, batch.number, failed)
            return False
        unsure = any(each.end == "unknown" for each in left)
        if self._course.pause is not None and not unsure:
            return False  # after a pause in the middle of a halved batch, what is left of it stays unsent
        holds = unsure and self._class_of(batch) == "C"
        try:
            await self._account.wait_before_resend(attempt)
            if holds:
                await self._probe(batch)
        except Paused as paused:
            self._course.stop(paused.reason, paused.message)
            return False
        if holds:
            await self._hold()
        return True

    async def _probe(self, batch: Batch) -> None:
        """Before a long wait: is the tool there at all? A question that changes nothing. Raises Paused if it is not."""
        if batch.verb == "create" and self._destination.spec.settling_seconds > PROBED_FROM_SECONDS:
            with suppress(DestinationError):
                await self._account.talk(self._destination.look_up(batch))

    def _give_up(self, left: Sequence[Outcome], number: int, failed: Outcome | None) -> None:
        """Patience with a batch is over. Where no batch of this process was ever answered for, that is an outage.

        A batch that an earlier process gave up on in the same way ends as unknown, so that a record which the
        destination cannot digest does not hold up all others for ever. Raises Paused.
        """
        if failed is not None and not self._vouched:
            raise Paused("setup", self._clean(failed.reason))
        unknown = next((outcome for outcome in left if outcome.end == "unknown"), None)
        if unknown is not None and not self._vouched and number >= self._course.left_over:
            # its further words may repeat rows; `levada records` shows them
            what = self._clean(unknown.reason.partition(": ")[0])
            raise Paused("outage", f"{self._destination.name} answers for no record: {what}")

    async def _attempt(self, batch: Batch, number: int, journal: JournalTask, phase: Phase) -> Outcomes:
        """One attempt at a batch; for class C, records that may exist already are looked up first."""
        if self._class_of(batch) == "C" and batch.verb == "create":
            always = self._order.mode in ("upsert", "mirror") or self._order.looks_first
            looked_up = list(range(len(batch))) if always else batch.in_state("sent", "removing")
            if looked_up:
                return await self._look_then_send(batch, looked_up, number, journal, phase)
        if phase.keyed and (batch.in_state("sent") or self._order.plan.purpose == "settle"):
            self._resent.add(number)
        parts = [BISECTION_PARTS_MAX if len(batch) > 1 else 1]
        outcomes = await self._send(batch, number, journal, parts)
        return outcomes.replaced(GONE, RECORD_GONE) if phase.recreates else outcomes

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
        self._course.notices.update(dict.fromkeys(outcomes.notices))
        if outcomes.any(len(batch), "unknown"):
            await self._doubt(number, journal)
        if outcomes.attributed or len(batch) == 1 or parts[0] <= 0:
            return outcomes if outcomes.attributed else replace(outcomes, attributed=True)
        half = math.ceil(len(batch) / 2)
        left = await self._send_or_leave(batch.slice(0, half), number, journal, parts)
        right = await self._send_or_leave(batch.slice(half, len(batch) - half), number, journal, parts)
        return Outcomes.joined([(half, left), (len(batch) - half, right)])

    def _allowed(self, number: int) -> Callable[[], bool] | None:
        """For a repeat under a key: what is asked right before each sending."""
        if number not in self._resent:
            return None
        return lambda: self._keys.remembered(self._course.stamps[number])

    async def _send_or_leave(self, batch: Batch, number: int, journal: JournalTask, parts: list[int]) -> Outcomes:
        """As `_send`, but a pause leaves this part unsent instead of losing the outcomes of the others."""
        if self._course.halted:
            return NOT_APPLIED
        try:
            return await self._send(batch, number, journal, parts)
        except Paused as paused:
            self._course.stop(paused.reason, paused.message)
            return NOT_APPLIED

    async def _look_then_send(
        self, batch: Batch, looked_up: Sequence[int], number: int, journal: JournalTask, phase: Phase
    ) -> Outcomes:
        """Update the records that are there, create the others (E6: a failed look-up says neither)."""
        asked = batch if len(looked_up) == len(batch) else batch.take(looked_up)
        there: dict[int, str] = {}
        try:
            found = await self._account.talk(self._destination.look_up(asked))
            there = {looked_up[place]: identifier for place, identifier in sorted(found.identifiers.items())}
            unsure = {looked_up[place]: outcome for place, outcome in found.untold.items()}
        except DestinationError as error:
            unsure = dict.fromkeys(looked_up, not_looked_up(error))
        absent = [index for index in range(len(batch)) if index not in there and index not in unsure]
        # what is there stays as it is where this object's records are made and never changed
        present = list(there) if self._has("update") else []
        at_once = self._destination.limits(self._order.object, "update").records_per_request if present else 1
        parts = [(present[start : start + at_once], True) for start in range(0, len(present), at_once)]
        merged = dict(unsure)
        identifiers = dict(there)
        effects: dict[int, Effect] = {}
        for indices, is_there in (*parts, (absent, False)):
            if not indices:
                continue
            part = batch.take(indices)
            if is_there:
                part = await self._as_update(part, phase, [there[i] for i in indices])
            outcomes = await self._send_or_leave(part, number, journal, [BISECTION_PARTS_MAX])
            for place, index in enumerate(indices):
                merged[index] = outcomes.of(place)
                effects[index] = outcomes.effects.of(place)
                if place in outcomes.identifiers:
                    identifiers[index] = outcomes.identifiers[place]
        told = Effects.each([effects.get(index, "untold") for index in range(len(batch))])
        return Outcomes(DELIVERED, merged, identifiers=identifiers, effects=told).simplified()

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
        stop = start + self._destination.limits(self._order.object, phase.verb).records_per_request
        template = self._destination.template(self._order.object, "update")
        node = None if template is None else parse(template)
        span = reader.range(phase.kind, "update", node, start, stop, with_operations=not phase.idempotent)
        keys = span.columns.select([f"key.{key}" for key in self._order.plan.keys])
        rows = keys.rename_columns(list(self._order.plan.keys)).to_pylist()
        places = [rows.index(row) for row in wanted]
        return Chunk(phase.kind, span.first + places[0], span.columns.take(pa.array(places, pa.int64())))

    async def _doubt(self, number: int, journal: JournalTask) -> None:
        self._course.doubtful.add(number)
        await journal.doubt(number, self._destination.spec.settling_seconds)

    async def _hold(self) -> None:
        """Class C: wait until a lost request can no longer be applied, and an applied one be found."""
        spec = self._destination.spec
        wait = spec.settling_seconds
        why = (
            "a request was not answered and may still be applied; `max_server_seconds` of "
            f"{self._destination.name} says for how long, and less shortens the wait"
        )
        self._listener(events.DeliveryWaiting(self._order.sync, "hold", wait, why, option="max_server_seconds"))
        await asyncio.sleep(wait)

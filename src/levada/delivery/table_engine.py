"""Sends a plan to a table destination: one writer, one batch after the other, rows and mark together.

Class T needs no windows: whether a batch was committed is read from the destination. Where no mark can be
kept (class A), a batch without an outcome is written again, which is harmless for every verb but create and
append, and those are then at least once (the reference page says so).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from queue import Empty, Full, Queue

import pyarrow as pa

from levada import events
from levada.batch import Batch
from levada.change import KINDS, Kind, Verb
from levada.delivery.attempts import BISECTION_PARTS_MAX
from levada.delivery.before import keep_before
from levada.delivery.order import DeliveryOrder
from levada.delivery.plan_reader import WIDE_CHUNK_ROWS, BatchMaker, Chunk, PlanReader, joined
from levada.delivery.progress import Progress, cleaned
from levada.delivery.unfinished import Remains
from levada.delivery.wire import Overtaken
from levada.destination import TableDestination, WriteOrder, Writer
from levada.errors import FullError, UnavailableError
from levada.outcome import UNTOLD, Outcome, Outcomes
from levada.retry import RetryPolicy
from levada.run import PauseReason
from levada.store import Intent, Journal, JournalEntry


def write_order(order: DeliveryOrder, schema: pa.Schema) -> WriteOrder:
    """What a table destination is told of an order whose records have this schema."""
    return WriteOrder(
        sync=order.sync,
        run_id=order.run_id,
        plan_id=order.plan.plan_id,
        object=order.object,
        mode=order.mode,
        removal=order.removal,
        match=order.mapping.match,
        schema=schema,
        natives={f.field: f.native for f in order.mapping.fields if f.native},
        operations=order.plan.counts.operations,
        nulls=order.mapping.nulls,
        only_if_empty=frozenset(f.field for f in order.mapping.fields if f.only_if_empty),
    )


BATCH_BYTES = 32 << 20
"""About the most bytes of one batch for a table; a heavier record is a batch by itself."""


class _Ahead:
    """Reads chunks in a thread of its own, two ahead of the writer."""

    def __init__(self, produce: Callable[[Callable[[Chunk], bool]], None]) -> None:
        self._queue: Queue[Chunk | BaseException | None] = Queue(maxsize=2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(produce,), name="plan-reader", daemon=True)
        self._thread.start()

    def _run(self, produce: Callable[[Callable[[Chunk], bool]], None]) -> None:
        try:
            produce(self._put)
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self._put(error)

    def _put(self, item: Chunk | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except Full:
                continue
            return True
        return False

    def __iter__(self) -> _Ahead:
        return self

    def __next__(self) -> Chunk:
        item = self._queue.get()
        if item is None:
            raise StopIteration
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self._stop.set()
        while True:
            try:
                self._queue.get_nowait()
            except Empty:
                break
        self._thread.join()


class TableEngine:
    """Delivers one order through one writer, in the calling thread."""

    def __init__(
        self,
        order: DeliveryOrder,
        destination: TableDestination,
        journal: Journal,
        entries: Iterable[JournalEntry],
        *,
        schema: pa.Schema,
        policy: RetryPolicy,
        halt: threading.Event,
        listener: events.Listener = events.ignore,
        clean: Callable[[str], str] = str,
        chance: Callable[[], float] = lambda: 0.5,
        entitled: Callable[[], bool] = lambda: True,
        owner: str = "",
        monotonic: Callable[[], float] = lambda: 0.0,
        outage_seconds: float = 20.0,
    ) -> None:
        """`outage_seconds`: how long the destination may be away, by `monotonic`, before the run pauses."""
        self._order = order
        self._monotonic = monotonic
        self._outage_seconds = outage_seconds
        self._owner = owner
        self._destination = destination
        self._journal = journal
        self._remains = Remains.of(entries)
        self._policy = policy
        self._halt = halt
        self._listener = listener
        self._clean = clean
        self._chance = chance
        self._entitled = entitled
        self._schema = schema
        self._maker = BatchMaker(order)
        self._number = self._remains.number
        self._writer: Writer | None = None
        #: is a batch written again without knowing whether it was written before?
        self._blind = False
        self.notices: list[str] = []
        self.pause: PauseReason | None = None
        self.message = ""
        self.writes = 0
        self.progress = Progress(order.plan.counts.operations)

    def deliver(self) -> None:
        """Bring every operation to an end, or set `pause`."""
        unanswered = [number for number, entry in self._remains.open.items() if entry.outcomes is None]
        if unanswered:
            self._journal.doubt(unanswered, 0.0)
        self.progress.add(self._remains.ends)
        try:
            self._open()
            for kind in KINDS:
                if self._order.plan.counts.of(kind):
                    self._phase(kind)
                if self.pause is not None:
                    return
            assert self._writer is not None
            self._writer.finish()
        except FullError as error:
            self._stop("full", self._clean(error.message))
        except UnavailableError as error:
            self._stop("outage", self._clean(error.message))
        finally:
            self._close()

    def _open(self) -> Writer:
        if self._writer is None:
            order = self._order
            asked = replace(write_order(order, self._schema), owner=self._owner, keep=self._keep)
            self._writer = self._destination.open(asked)
            for notice in getattr(self._writer, "notices", ()):
                if notice not in self.notices:
                    self.notices.append(notice)
                    self._listener(events.Notice(order.sync, "destination", notice))
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _phase(self, kind: Kind) -> None:
        verb = self._order.verbs[kind]
        base = self._order.plan.first(kind)
        reached = self._remains.reached.get(kind, base)
        for number, entry in self._remains.open.items():
            if entry.intent.kind != kind:
                continue
            start = entry.intent.first - base
            for batch in self._batches(kind, verb, start, start + entry.intent.size, number=number):
                self._one(batch, doubtful=entry.outcomes is None)
                if self.pause is not None:
                    return
        total = self._order.plan.counts.of(kind)
        if reached - base < total:
            for batch in self._batches(kind, verb, reached - base, total):
                intent = Intent(batch.number, kind, batch.sequence, len(batch), batch.idempotency_key)
                self._journal.intend([intent])
                self._one(batch, doubtful=False)
                if self.pause is not None:
                    return

    def _batches(self, kind: Kind, verb: Verb, start: int, stop: int, *, number: int | None = None) -> Iterator[Batch]:
        """Operations [start, stop) of a kind as batches; with `number`, as the one batch of that number.

        A batch holds as many records as the destination takes, or fewer that weigh BATCH_BYTES.
        """
        limits = self._destination.limits(self._order.object, verb)
        step = stop - start if number is not None else limits.records_per_request

        def produce(put: Callable[[Chunk], bool]) -> None:
            reader = PlanReader(self._order)
            try:
                rows = min(step, WIDE_CHUNK_ROWS)
                for chunk in reader.chunks(kind, verb, None, start=start, stop=stop, rows=rows, with_before=True):
                    if not put(chunk):
                        return
            finally:
                reader.close()

        ahead = _Ahead(produce)
        rest: Chunk | None = None
        seen = start
        try:
            for chunk in ahead:
                seen += len(chunk)
                whole = joined(rest, chunk)
                position = 0
                while position < len(whole) and (
                    len(whole) - position >= step
                    or seen >= stop
                    or (number is None and whole.columns.slice(position).nbytes >= BATCH_BYTES)
                ):
                    size = min(step, len(whole) - position)
                    yield self._maker.batch(whole, verb, self._number if number is None else number, position, size)
                    self._number += number is None
                    position += size
                left = whole.columns.slice(position)
                rest = Chunk(kind, whole.first + position, left) if left.num_rows else None
        finally:
            ahead.close()

    def _one(self, batch: Batch, *, doubtful: bool) -> None:
        """Write one batch without what is left out of this run, and its outcome into the journal."""
        waiting = self._order.waiting.of(batch.sequence, len(batch))
        if len(waiting) == len(batch):
            self._settle(batch, Outcomes(waiting[0], waiting).simplified())
            return
        if self._halt.is_set() or not self._entitled():
            self._stop("operator", "stopped")
            if not doubtful:
                self._settle(batch, Outcomes(Outcome("not_applied")))
            return
        failing_since: float | None = None
        for attempt in range(1, self._policy.attempts_max + 1):
            try:
                outcomes = self._write_due(replace(batch, attempt=attempt), waiting, doubtful)
            except Overtaken:
                self._stop("operator", "stopped")
                self._close()
                return  # the run, and what becomes of this batch, are another process's
            except FullError as error:
                self._stop("full", self._clean(error.message))
                self._close()
                if not doubtful:
                    self._settle(batch, Outcomes(Outcome("not_applied")))
                return
            except UnavailableError as error:
                reason = error.message
            except ConnectionError as error:
                reason = str(error)
                doubtful = True
                self._journal.doubt([batch.number], 0.0)
            else:
                self._settle(batch, outcomes)
                return
            self._close()
            failing_since = self._monotonic() if failing_since is None else failing_since
            last = attempt == self._policy.attempts_max or self._halt.is_set()
            if last or not self._reopened(attempt, failing_since, self._clean(reason)):
                self._stop("outage", self._clean(reason))
                if not doubtful:
                    self._settle(batch, Outcomes(Outcome("not_applied")))
                return
        raise AssertionError("unreachable")

    def _write_due(self, batch: Batch, waiting: Mapping[int, Outcome], doubtful: bool) -> Outcomes:
        """Write the records of a batch that are due: in runs, since a mark says from where to where it reaches."""
        if not waiting:
            return self._write(batch, doubtful, [BISECTION_PARTS_MAX])
        parts: list[tuple[int, Outcomes]] = []
        budget = [BISECTION_PARTS_MAX + len(waiting)]
        start = 0
        for stop in [*sorted(waiting), len(batch)]:
            if stop > start:
                parts.append((stop - start, self._write(batch.slice(start, stop - start), doubtful, budget)))
            if stop < len(batch):
                parts.append((1, Outcomes(waiting[stop])))
            start = stop + 1
        return Outcomes.joined(parts)

    def _reopened(self, attempt: int, failing_since: float, reason: str) -> bool:
        """Wait, and connect again; False if the destination stays away, or was away for too long."""
        left = failing_since + self._outage_seconds - self._monotonic()
        if left <= 0:
            return False
        wait = min(left, self._policy.wait_seconds(attempt, self._chance()))
        words = f"{reason}; {self._destination.name} is tried again then, and given up {left:.0f} s from now"
        self._listener(events.DeliveryWaiting(self._order.sync, "outage", wait, words))
        self._halt.wait(wait)
        try:
            self._open()
        except UnavailableError:
            return attempt < self._policy.attempts_max - 1
        return True

    def _write(self, batch: Batch, doubtful: bool, parts: list[int]) -> Outcomes:
        """Write a batch, halving it while it is refused whole. Raises Overtaken before a write that is not ours."""
        writer = self._open()
        if not self._entitled():
            raise Overtaken
        parts[0] -= 1
        self.writes += 1
        # what is found the second time may be what was written the first time, where no mark tells
        self._blind = doubtful and batch.verb != "append" and writer.applied(batch.number) is None
        outcomes = writer.write(batch)
        if self._blind:
            outcomes = replace(outcomes, effects=UNTOLD)
        if outcomes.attributed or len(batch) == 1 or parts[0] <= 0:
            return replace(outcomes, attributed=True)
        half = math.ceil(len(batch) / 2)
        left = self._write(batch.slice(0, half), doubtful, parts)
        right = self._write(batch.slice(half, len(batch) - half), doubtful, parts)
        return Outcomes.joined([(half, left), (len(batch) - half, right)])

    def _keep(self, first: int, table: pa.Table | None) -> None:
        """What stood there before a part of the plan was written: see `levada.destination.Keep`."""
        if not self._blind:
            keep_before(self._order.folder, self._order.plan.kind_of(first), first, table)

    def _settle(self, batch: Batch, outcomes: Outcomes) -> None:
        settled = cleaned(outcomes, self._clean)
        self._journal.settle([(batch.number, settled)])
        self.progress.count(settled, len(batch))
        self._listener(self.progress.event(self._order, self.writes))

    def _stop(self, reason: PauseReason, message: str) -> None:
        if self.pause is None:
            self.pause = reason
            self.message = message

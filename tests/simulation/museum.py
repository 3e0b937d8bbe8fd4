"""Published failures of other tools, rebuilt as mutants of the engine: each must be caught by the oracle.

The numbers and letters are those of the museum of failures; `python -m simulation.museum` prints at which seed each is
caught first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

import levada.delivery.attempts as attempts_module
import levada.delivery.dispatcher as dispatching
import levada.delivery.held as held_module
import levada.delivery.tally as settled_module
import levada.runner.guard_facts as guarding
import levada.runner.run as running
import levada.stores.journal as journal_module
from levada.batch import Batch
from levada.delivery.account import Account
from levada.delivery.attempts import Attempts
from levada.delivery.held import Held
from levada.delivery.idempotency import Keys
from levada.delivery.wire import Lost
from levada.destination import DestinationSpec, Found
from levada.destinations import asking
from levada.destinations.answers import Reader
from levada.errors import DestinationError, LevadaError
from levada.guard import GuardDecision
from levada.outcome import DELIVERED, Outcome, Outcomes
from levada.plan import Plan
from levada.planner import Settled
from levada.planners.local import LocalPlanner
from levada.planners.model_rows import Reading
from levada.redaction import Redactor
from levada.runner.heartbeat import Heartbeat
from levada.runner.trip import result_of
from levada.runner.undone import forget_undone
from levada.stores.facts import SqliteLimits
from levada.stores.highwater import Meta
from levada.stores.ledgers import SqliteLedgers
from simulation.play import campaign, of_seed, planner_of, play, real_planner
from simulation.schedule import Edit, Schedule, Stage

SEEDS_MAX = 400
"""A mutant that survives so many schedules of its classes is not caught."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`like`: the published failures that it rebuilds. `letters`: the classes in which it can show."""

    name: str
    like: str
    letters: str
    patches: Callable[[], Sequence[tuple[Any, str, Any]]]
    #: where it was caught first when this was written; tried first
    seed: int = 0
    #: for a fault too rare for that: the schedule that shows it
    shown_by: Schedule | None = None
    #: the planner in which it lives
    planner: Callable[[Any], Any] = planner_of

    @property
    def first(self) -> Schedule:
        """The schedule that is tried first."""
        return self.shown_by or of_seed(self.seed)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """While this lasts, the engine has the fault."""
        undone = []
        try:
            for owner, name, value in self.patches():
                undone.append((owner, name, owner.__dict__[name]))
                setattr(owner, name, value)
            yield
        finally:
            for owner, name, value in reversed(undone):
                setattr(owner, name, value)


def caught(mutant: Mutant, seeds_max: int = SEEDS_MAX) -> tuple[int, str] | None:
    """The first seed at which the oracle sees the mutant, and what it says."""
    candidates = [seed for seed in range(seeds_max) if "TABCD"[seed % 5] in mutant.letters]
    with mutant.alive():
        for schedule in (mutant.first, *(of_seed(seed) for seed in candidates)):
            seed = schedule.seed
            try:
                findings = play(schedule, mutant.planner).findings
            except Exception as error:  # noqa: BLE001 - an engine that stumbles over its own fault is caught, too
                findings = [f"stumbles: {error!r}"]
            if findings:
                return seed, findings[0]
    return None


def _settling(change: Callable[[str, bool], str | None]) -> Sequence[tuple[Any, str, Any]]:
    """Another way from how an operation ended to what the ledger takes it for."""
    real = settled_module.settlement_of

    def mutated(outcome: Any, *, doubtful: bool) -> Any:
        return change(outcome.end, doubtful) or real(outcome, doubtful=doubtful)

    return [(settled_module, "settlement_of", mutated)]


def _ledger_before_ack() -> Sequence[tuple[Any, str, Any]]:
    return _settling(lambda end, doubtful: "delivered")


def _rejected_is_done() -> Sequence[tuple[Any, str, Any]]:
    return _settling(lambda end, doubtful: "delivered" if end == "rejected" else None)


def _unknown_is_delivered() -> Sequence[tuple[Any, str, Any]]:
    return _settling(lambda end, doubtful: "delivered" if end == "unknown" else None)


def _rejection_restores() -> Sequence[tuple[Any, str, Any]]:
    return _settling(lambda end, doubtful: "rejected" if end in ("rejected", "unknown") else None)


def _seen_set() -> Sequence[tuple[Any, str, Any]]:
    real, seen = Attempts._send, set[str]()

    async def mutated(self: Attempts, batch: Batch, number: int, journal: Any, parts: list[int]) -> Any:
        texts = {f"{id(self._account._clock)}{text}" for text in (batch.rendered or []) if batch.kind != "removed"}
        texts = {text.replace('"changed"', '"added"') for text in texts}
        if texts and texts <= seen:
            return batch.delivered()
        seen.update(texts)
        return await real(self, batch, number, journal, parts)

    return [(Attempts, "_send", mutated)]


def _error_is_absent() -> Sequence[tuple[Any, str, Any]]:
    real = asking.look_up

    def mutated(*given: Any) -> Any:
        try:
            return (yield from real(*given))
        except DestinationError:
            return Found()

    return [(asking, "look_up", mutated)]


def _trusts_2xx() -> Sequence[tuple[Any, str, Any]]:
    real = Reader.read

    def mutated(self: Reader, batch: Batch, response: Any) -> Any:
        return batch.delivered() if response.ok else real(self, batch, response)

    return [(Reader, "read", mutated)]


def _one_is_all() -> Sequence[tuple[Any, str, Any]]:
    real = Reader.read

    def mutated(self: Reader, batch: Batch, response: Any) -> Any:
        found = real(self, batch, response)
        return batch.delivered() if found.counts(len(batch)).get("delivered") else found

    return [(Reader, "read", mutated)]


def _by_position() -> Sequence[tuple[Any, str, Any]]:
    def mutated(self: Reader, batch: Batch, entries: Sequence[Any], declared: Any, verdicts: Any) -> Any:
        yield from enumerate(entries[: len(batch)])

    return [(Reader, "_matched", mutated)]


def _retries_creates() -> Sequence[tuple[Any, str, Any]]:
    return [(DestinationSpec, "delivery_class", lambda self, object_name, verb: "A")]


def _no_hold() -> Sequence[tuple[Any, str, Any]]:
    async def mutated(self: Attempts) -> None:
        return

    return [(Attempts, "_hold", mutated), (dispatching, "held", lambda *given, **more: Held())]


def _keys_do_not_wait() -> Sequence[tuple[Any, str, Any]]:
    """It is seen that something may still be applied, and not for which records."""
    real = held_module._sent_by

    def mutated(*given: Any) -> None:
        real(*given)
        given[-1].execute("DELETE FROM open_keys; DELETE FROM open_matches")

    return [(held_module, "_sent_by", mutated)]


def _empty_is_fine() -> Sequence[tuple[Any, str, Any]]:
    return [(guarding, "judge", lambda declared, facts: GuardDecision())]


def _library_retries() -> Sequence[tuple[Any, str, Any]]:
    real = Account._send

    async def mutated(self: Account, request: Any, credential: Any) -> Any:
        try:
            return await real(self, request, credential)
        except Lost:
            return await real(self, request, credential)

    return [(Account, "_send", mutated)]


def _open_runs_are_dropped() -> Sequence[tuple[Any, str, Any]]:
    real = running._resume

    def mutated(project: Any, record: Any, lease: Any, *more: Any) -> Any:
        project.store.runs.update(lease, record.run_id, phase="closed", status="cancelled")
        return real.__globals__["Trip"](
            project, record.sync, record.run_id, lease, project.store.folder, project.clock.now(), 0.0
        ).result("cancelled")

    return [(running, "_resume", mutated)]


def _key_per_attempt() -> Sequence[tuple[Any, str, Any]]:
    real = Attempts._attempt

    async def mutated(self: Attempts, batch: Batch, *given: Any, **more: Any) -> Any:
        fresh = self._account._clock.new_id("key")
        made = None if batch.operations is None else pa.array([f"{fresh}-{i}" for i in range(len(batch))])
        return await real(self, replace(batch, idempotency_key=fresh, operations=made), *given, **more)

    return [(Attempts, "_attempt", mutated)]


def _half_is_whole() -> Sequence[tuple[Any, str, Any]]:
    def mutated(self: Reading, first: Any, rest: Any) -> Any:
        try:
            if first is not None:
                yield first
            yield from rest
        except LevadaError:
            return

    return [(Reading, "_watched", mutated)]


def _no_pace() -> Sequence[tuple[Any, str, Any]]:
    async def mutated(self: Account) -> None:
        return

    return [(Account, "_wait_for_turn", mutated)]


def _stale_worker() -> Sequence[tuple[Any, str, Any]]:
    return [(Heartbeat, "holds", lambda self: True)]


def _says_secrets() -> Sequence[tuple[Any, str, Any]]:
    return [(Redactor, "clean", lambda self, text: text)]


def _keys_never_expire() -> Sequence[tuple[Any, str, Any]]:
    return [(Keys, "remembered", lambda self, stamp: True)]


def _sent_as(change: Callable[[bytes], bytes]) -> Sequence[tuple[Any, str, Any]]:
    """Other values on the wire than those that were planned."""
    real = Account._send

    async def mutated(self: Account, request: Any, *given: Any) -> Any:
        return await real(self, replace(request, body=change(request.body or b"")), *given)

    return [(Account, "_send", mutated)]


def _zero_is_null() -> Sequence[tuple[Any, str, Any]]:
    return _sent_as(lambda body: re.sub(rb'"score": ?0\b', b'"score":null', body))


def _quotes_are_doubled() -> Sequence[tuple[Any, str, Any]]:
    return _sent_as(lambda body: body.replace(b"'", b"''"))


def _poison_stops_the_ledger() -> Sequence[tuple[Any, str, Any]]:
    real = vars(dispatching)["settle"]

    def mutated(*given: Any) -> Any:
        settled, tally = real(*given)
        return (Settled("unsent"), tally) if tally.rejected else (settled, tally)

    return [(dispatching, "settle", mutated)]


def _quota_is_not_counted() -> Sequence[tuple[Any, str, Any]]:
    return [(SqliteLimits, "use_quota", lambda self, account, day, requests: 0)]


def _checkpoint_before_answer() -> Sequence[tuple[Any, str, Any]]:
    real = journal_module.entries

    def mutated(*given: Any) -> Any:
        for entry in real(*given):
            yield replace(entry, outcomes=entry.outcomes or Outcomes(DELIVERED), doubtful=False)

    return [(journal_module, "entries", mutated)]


def _most_once_is_twice() -> Sequence[tuple[Any, str, Any]]:
    return [(attempts_module, "AT_MOST_ONCE", Outcome("unknown", "no answer", "lost"))]


def _gateway_errors_are_refusals() -> Sequence[tuple[Any, str, Any]]:
    real = Account.__init__

    def mutated(self: Account, destination: Any, *given: Any, **more: Any) -> None:
        destination.spec = replace(destination.spec, not_applied_statuses=frozenset({502, 503}))
        real(self, destination, *given, **more)

    return [(Account, "__init__", mutated)]


def _partial_says_succeeded() -> Sequence[tuple[Any, str, Any]]:
    real = result_of

    def mutated(trip: Any, plan: Any, status: Any, tally: Any, **more: Any) -> Any:
        return real(trip, plan, "succeeded" if status == "partial" else status, tally, **more)

    return [(running, "result_of", mutated)]


def _states_are_not_cut() -> Sequence[tuple[Any, str, Any]]:
    real = Batch._part

    def mutated(self: Batch, *given: Any, **more: Any) -> Batch:
        return replace(real(self, *given, **more), states=None, stamps=None)

    return [(Batch, "_part", mutated)]


def _leftovers_stay() -> Sequence[tuple[Any, str, Any]]:
    return [(SqliteLedgers, "drop_unreferenced", lambda self, ledger: 0)]


def _rollback_goes_unseen() -> Sequence[tuple[Any, str, Any]]:
    return [(Meta, "compare", lambda self: None)]


def _added_is_created() -> Sequence[tuple[Any, str, Any]]:
    """In both places that have to agree: what the ledger keeps, and what an undo is told."""
    real, real_fold = LocalPlanner.reverse, LocalPlanner.fold

    def all_created(plan: Plan, settled: Settled) -> Settled:
        first = plan.first("added")
        told = {"first": [first], "stop": [first + plan.counts.added], "effect": ["created"]}
        return replace(settled, effects=pa.table(told))

    def mutated(self: LocalPlanner, plan: Plan, folder: Any, settled: Settled, request: Any) -> Plan:
        return real(self, plan, folder, all_created(plan, settled), request)

    def mutated_fold(self: LocalPlanner, plan: Plan, folder: Any, ledger: Any, settled: Settled) -> Any:
        return real_fold(self, plan, folder, ledger, all_created(plan, settled))

    return [(LocalPlanner, "reverse", mutated), (LocalPlanner, "fold", mutated_fold)]


def _second_undo_lifts_the_hold() -> Sequence[tuple[Any, str, Any]]:
    real = running._nothing_to_send

    def mutated(trip: Any, plan: Plan) -> Any:
        forget_undone(trip.world, trip.lease)
        return real(trip, plan)

    return [(running, "_nothing_to_send", mutated)]


_ROWS = (Edit(1, "a"), Edit(2, "b"), Edit(3, "c"))
_REFUSED_AFTER_LOST = Schedule(
    seed=0,
    letter="A",
    batch=1,
    lanes=1,
    repeats="at_least_once",
    rate=None,
    rows=_ROWS,
    stages=(
        Stage(),
        Stage(edits=(Edit(1, "z"),), faults=((0, "lost_after"), (1, "refuse_record"))),
        Stage(edits=(Edit(1, "a"),)),
    ),
)
_LATE = Schedule(
    seed=0,
    letter="A",
    batch=1,
    lanes=1,
    repeats="at_least_once",
    rate=None,
    rows=_ROWS,
    stages=(Stage(), Stage(edits=(Edit(1, "z"),), faults=((0, "late"),)), Stage(edits=(Edit(1, "y"), Edit(2, "y")))),
)
_SHUFFLED = Schedule(
    seed=13,
    letter="C",
    batch=3,
    lanes=1,
    repeats="at_least_once",
    rate=None,
    rows=_ROWS,
    stages=(Stage(faults=((1, "shuffled"),)), Stage(edits=(Edit(1, "x"), Edit(2, "y"), Edit(3, "z")))),
)
_PUT_BACK = Schedule(
    seed=0,
    letter="A",
    batch=1,
    lanes=1,
    repeats="at_least_once",
    rate=None,
    rows=_ROWS,
    stages=(Stage(copied=True), Stage(edits=(Edit(1, "z"),)), Stage(edits=(Edit(1, "a"),), restored=True)),
)
_UNDONE = Schedule(
    seed=0,
    letter="T",
    batch=2,
    lanes=1,
    repeats="at_least_once",
    rate=None,
    rows=_ROWS,
    stages=(Stage(), Stage(edits=(Edit(1, "z"), Edit(4, "n"))), Stage(undo=1), Stage(undo=1), Stage()),
)

MUTANTS: tuple[Mutant, ...] = (
    Mutant("ledger_before_ack", "3, 9, 10, 11, I.a", "TABCD", _ledger_before_ack, 20),
    Mutant("rejected_is_done", "4, 12, I.d", "TABC", _rejected_is_done, 20),
    Mutant("unknown_is_delivered", "21, 34, 36", "ABC", _unknown_is_delivered, 161),
    Mutant("rejection_restores_the_ledger", "E7 (keep_base)", "A", _rejection_restores, 1, _REFUSED_AFTER_LOST),
    Mutant("seen_set", "26, I.l", "A", _seen_set, 1),
    Mutant("look_up_error_is_absent", "24, I.m", "C", _error_is_absent, 383),
    Mutant("every_2xx_is_delivered", "31, I.p, I.x", "AC", _trusts_2xx, 33),
    Mutant("one_success_marks_the_batch", "31, I.c", "AC", _one_is_all, 33),
    Mutant("answers_matched_by_position", "33, 35", "C", _by_position, 3, _SHUFFLED),
    Mutant("creates_are_retried", "17, 18, 30", "C", _retries_creates, 3),
    Mutant("no_hold_for_late_requests", "17 (E10)", "AC", _no_hold, 13),
    Mutant("a_record_with_an_open_end_is_sent", "17 (E10)", "AC", _keys_do_not_wait, 0, _LATE),
    Mutant("an_empty_model_deletes_all", "49, 50", "TABC", _empty_is_fine, 116),
    Mutant("the_http_library_retries", "19, 25", "C", _library_retries, 218),
    Mutant("open_runs_are_dropped", "48, 38", "BC", _open_runs_are_dropped, 38),
    Mutant("a_key_for_each_attempt", "20", "B", _key_per_attempt, 2),
    Mutant("half_a_read_is_the_model", "5, 49, 59", "TABC", _half_is_whole, 6, planner=real_planner),
    Mutant("no_shared_pace", "60, I.q", "ABC", _no_pace, 2),
    Mutant("a_stale_worker_sends", "29, 42", "BC", _stale_worker, 388),
    Mutant("keys_never_expire", "20 (B after its time)", "B", _keys_never_expire, 92),
    Mutant("zero_is_null", "57", "A", _zero_is_null, 1),
    Mutant("quotes_are_doubled", "I.t", "A", _quotes_are_doubled, 6),
    Mutant("one_poison_row_stops_the_ledger", "16, I.f", "AC", _poison_stops_the_ledger, 176),
    Mutant("the_quota_is_not_counted", "60", "AC", _quota_is_not_counted, 276),
    Mutant("a_checkpoint_before_the_answer", "5, 8, 11", "TABC", _checkpoint_before_answer, 1),
    Mutant("at_most_once_is_sent_again", "20, 28", "D", _most_once_is_twice, 4),
    Mutant("gateway_errors_are_refusals", "21, 23", "C", _gateway_errors_are_refusals, 108),
    Mutant("partial_says_succeeded", "2, 36", "TABC", _partial_says_succeeded, 10),
    Mutant("a_rollback_goes_unseen", "45, 6.28", "A", _rollback_goes_unseen, 0, _PUT_BACK),
    Mutant("states_are_not_cut", "Levada's own", "C", _states_are_not_cut, 38),
    Mutant("leftovers_stay", "Levada's own", "TABCD", _leftovers_stay, 3),
    Mutant("an_undo_takes_all_that_was_added", "Levada's own", "TAC", _added_is_created, 211),
    Mutant("a_second_undo_lifts_the_hold", "Levada's own", "T", _second_undo_lifts_the_hold, 0, _UNDONE),
    Mutant("words_are_not_redacted", "63", "ABC", _says_secrets, 2),
)


def main() -> int:
    missed = 0
    with campaign():
        for mutant in MUTANTS:
            if len(sys.argv) > 1 and mutant.name not in sys.argv:
                continue
            found = caught(mutant)
            missed += found is None
            print(f"{mutant.name:<32} {mutant.like:<20} {found}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

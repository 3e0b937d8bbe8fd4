"""A run, from its trigger to its commit: resume, read, plan, guard, deliver, fold.

The order of durable writes is that of docs/internals/state.md (c0 to c12). A run that was planned is never
thrown away: it is resumed by the next start of its sync, unless nothing of it can have been applied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from levada import events
from levada.change import Counts
from levada.clock import isoformat
from levada.delivery.account import Paused
from levada.delivery.idempotency import MARK, Keys
from levada.delivery.order import DeliveryOrder, DeliveryReport
from levada.delivery.pauses import as_destination_error
from levada.delivery.tally import figures
from levada.destination import Destination, TableDestination
from levada.durable import system_error
from levada.errors import (
    ConfigError,
    CorruptedError,
    LevadaError,
    StoppedError,
    StoreError,
)
from levada.guard import GuardDecision
from levada.plan import Plan, Purpose
from levada.planner import REMOVAL, Ledger, PlanRequest
from levada.run import RunResult, Tally
from levada.runner import refused
from levada.runner.approval import standing_approval
from levada.runner.attempt import words_of
from levada.runner.column_changes import remember_columns
from levada.runner.doubt import doubt, is_doubted, settle_doubt, was_doubted
from levada.runner.guard_facts import decide
from levada.runner.heartbeat import Heartbeat
from levada.runner.order_file import ordered, read_order, verify, write_order
from levada.runner.proof import Place, check_proof, expect_plan, renew_proof, still_stands
from levada.runner.rebuilt import forget_rebuilt
from levada.runner.resolve import resolve
from levada.runner.resolved import Resolved
from levada.runner.shifted import remember_beginning, remember_end
from levada.runner.target import check_target, remember_target
from levada.runner.trip import Trip, close, drop_files, ended, pause_of, result_of, taken_over, was_begun
from levada.runner.undone import forget_undone, undone_runs
from levada.runner.unremembered import without_guess
from levada.store import Lease, RunRecord
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.world import World


@dataclass(frozen=True, slots=True)
class Errand:
    """What a run does in place of bringing the object to what the model says (undo): how its plan is made, how it is
    ordered, and what is remembered, with the run's id, before anything of it is sent."""

    make: Callable[[PlanRequest], Plan]
    ordered: Callable[[Resolved, str, Plan, Path], tuple[DeliveryOrder, pa.Schema]]
    remember: Callable[[Lease, str], None]


def run(
    world: World,
    sync: str,
    *,
    purpose: Purpose = "sync",
    errand: Errand | None = None,
    discard_plan: bool = False,
    all_due: bool = False,
) -> RunResult:
    """Run a sync: first whatever an earlier process left open, then a fresh plan.

    `errand` says what is done in place of a sync. `discard_plan` drops an open run whose plan cannot be read: what it
    may have sent counts as unknown. `all_due` sends at once what was refused before and would wait for its turn.

    Raises BusyError if the sync runs elsewhere, ConfigError and the errors of `resolve`. What goes wrong
    once the run exists is told by the result (`status`, `error`), but for StoreError, which is raised.
    """
    resolved = resolve(world, sync)
    store = world.store
    lease = store.leases.acquire(sync)
    try:
        if all_due:
            refused.forget(store.memory, lease)
        with Heartbeat(store.leases, lease, world.halt, world.clock) as heartbeat:
            earlier: RunResult | None = None
            unfinished = store.runs.open_run(sync)
            lost = unfinished is not None and purpose == "resync" and not still_stands(world, unfinished, lease)
            if unfinished is not None and (discard_plan or lost):
                _discard(world, unfinished, lease, resolved.destination.spec.settling_seconds)
            elif unfinished is not None:
                earlier = _resume(world, unfinished, lease, heartbeat.holds)
                if earlier.status in ("paused", "failed"):
                    return earlier
            settled = _settle(world, resolved, lease, heartbeat.holds)
            before: tuple[RunResult, ...] = (*((earlier,) if earlier is not None else ()), *settled)
            if settled and settled[-1].status in ("paused", "failed"):
                return replace(settled[-1], resumed=before[:-1])
            finished = tuple(result.run_id for result in before)
            fresh = _fresh(world, resolved, lease, purpose, errand, heartbeat.holds, finished)
    except OSError as error:
        raise system_error(store.folder, error) from error
    finally:
        store.leases.release(lease)
    _sweep(world)
    if before and fresh.status == "succeeded" and not fresh.counts.operations and purpose == "sync":
        last = before[-1]
        return replace(last, seconds=last.seconds + fresh.seconds, resumed=before[:-1])
    return replace(fresh, resumed=before)


def _sweep(world: World) -> None:
    """Once a day: delete plans and outcomes past their retention. If that fails now, a later run does it."""
    days, now = world.settings.retention.plans_days, world.clock.now()
    today = now.date().isoformat()
    try:
        if world.store.memory.recall("", "swept") == today:
            return
        held = {run for sync in world.files.syncs for run in undone_runs(world.store, sync)}
        world.store.upkeep.sweep(plans_older_than=now - timedelta(days=days), keep=held)
        world.store.memory.note("", "swept", today)
    except StoreError as error:
        world.listener(events.Notice("", error.code, f"old plans were not deleted: {error.message}"))


# -- what was never answered


def _settle(world: World, resolved: Resolved, lease: Lease, entitled: Callable[[], bool]) -> list[RunResult]:
    """Class B: ask again for creates and removals that were never answered, so that the next plan knows their end.

    Runs of their own, one for each segment of the ledger that holds any: the same requests under the same keys.
    """
    store, spec = world.store, resolved.destination.spec
    if "B" not in {resolved.delivery_class(kind) for kind in resolved.verbs if kind != "removed"}:
        return []
    keys, start = Keys(store.moments, spec), 0
    found: list[RunResult] = []

    def wanted(operation: str) -> bool:
        return "removed" in resolved.verbs if operation == REMOVAL else MARK in operation and keys.remembered(operation)

    while not world.halt.is_set():
        ledger = store.ledgers.get(resolved.name)
        try:
            check_target(world, resolved, ledger)
        except ConfigError:
            break  # the run that follows tells
        if len(ledger.segments) <= start:
            break
        trip = _trip(world, resolved, lease, entitled, "settle")
        asked = resolved.planner.unanswered(ledger, trip.folder, resolved.mapping.match, wanted, start)
        if asked is None:
            store.snapshots.delete(trip.run_id)
            break
        plan, start = asked
        store.runs.create(lease, trip.run_id, "settle")
        order = ordered(resolved, trip.run_id, plan, trip.folder, resolved.verbs)
        write_order(order, resolved.destination.name, resolved.schema)
        order, _, schema = read_order(trip.sync, trip.run_id, plan, trip.folder)
        store.runs.update(lease, trip.run_id, phase="planned", plan_id=plan.plan_id, folder=trip.folder.name)
        world.listener(events.RunStarted(trip.sync, trip.run_id))
        found.append(_deliver(trip, order, resolved.destination, schema, ledger))
        world.listener(events.RunFinished(trip.sync, trip.run_id, found[-1].status))
        if found[-1].status in ("paused", "failed"):
            break
    return found


def _trip(world: World, resolved: Resolved, lease: Lease, entitled: Callable[[], bool], purpose: Purpose) -> Trip:
    """A run that begins, with a folder that is its own."""
    clock = world.clock
    run_id = clock.new_id("run")
    folder = world.store.snapshots.create(run_id)
    return Trip(world, resolved.name, run_id, lease, folder, clock.now(), clock.monotonic(), purpose, entitled=entitled)


# -- a fresh run


def _fresh(
    world: World,
    resolved: Resolved,
    lease: Lease,
    purpose: Purpose,
    errand: Errand | None,
    entitled: Callable[[], bool],
    finished: tuple[str, ...],
) -> RunResult:
    store, clock = world.store, world.clock
    run_id = clock.new_id("run")
    folder = store.snapshots.plan(run_id)
    began, told = (clock.now(), clock.monotonic()), resolved.notices
    trip = Trip(world, resolved.name, run_id, lease, folder, *began, purpose, told, entitled, finished)
    store.runs.create(lease, run_id, purpose)
    world.listener(events.RunStarted(resolved.name, run_id))
    try:
        store.snapshots.create(run_id)
        ledger = store.ledgers.get(resolved.name)
        check_target(world, resolved, ledger)
        place = Place.of(resolved)
        ledger, told = check_proof(world, place, ledger, lease, anew=purpose == "resync")
        trip = replace(trip, notices=(*trip.notices, *told))
        remember_target(world, resolved, lease)
        remember_beginning(world, lease, ledger, run_id, purpose)
        if not ledger.exists and resolved.sync.first_run == "skip" and purpose == "sync":
            result = _skipped(trip, resolved, ledger)
        else:
            result = _planned(trip, resolved, ledger, errand)
    except StoreError as error:
        if not was_begun(trip):
            ended(trip, error)
        raise
    except StoppedError as stop:
        result = trip.result("cancelled", message=stop.message, notices=trip.notices)
        close(trip, result)
    except LevadaError as error:
        result = ended(trip, error)
    except OSError as error:
        found = system_error(trip.folder, error)
        if not was_begun(trip):
            ended(trip, found)
        raise found from error
    except Exception as error:
        if not was_begun(trip):
            ended(trip, LevadaError(words_of(error, world.redaction.clean), code="bug"))
        raise
    except BaseException:
        if not was_begun(trip):
            close(trip, trip.result("cancelled", message="stopped before anything was sent"))
        raise
    if result.status in ("succeeded", "partial"):
        remember_columns(world, resolved, lease)
    world.listener(events.RunFinished(resolved.name, run_id, result.status))
    return result


def _planned(trip: Trip, resolved: Resolved, ledger: Ledger, errand: Errand | None) -> RunResult:
    """Plan, ask the guard, deliver."""
    world = trip.world
    asked = _request(trip, resolved, ledger)
    before = world.clock.monotonic()
    plan = errand.make(asked) if errand else resolved.planner.plan(asked)
    decision = _guarded(trip, resolved, plan, ledger)
    plan = replace(plan, guard=decision, created_at=isoformat(trip.started))
    world.listener(events.PlanMade(trip.sync, plan.plan_id, plan.counts, world.clock.monotonic() - before))
    notices = tuple(dict.fromkeys((*trip.notices, *plan.notices)))
    trip = replace(trip, notices=notices)
    if decision.blocked:
        plan.write(trip.folder)
        result = result_of(trip, plan, "blocked", Tally(unsent=plan.counts.operations))
        close(trip, result, plan)
        return result
    if not plan.counts.operations:
        return _nothing_to_send(trip, plan)
    plan.write(trip.folder)
    if errand is None:
        order, schema = ordered(resolved, trip.run_id, plan, trip.folder, resolved.verbs), resolved.schema
    else:
        order, schema = errand.ordered(resolved, trip.run_id, plan, trip.folder)
        errand.remember(trip.lease, trip.run_id)
    doubted, ever = is_doubted(world.store.memory, trip.sync), was_doubted(world.store.memory, trip.sync)
    order = replace(order, in_doubt=doubted, looks_first=ever)
    write_order(order, resolved.destination.name, schema)
    world.store.runs.update(trip.lease, trip.run_id, phase="planned", plan_id=plan.plan_id, folder=trip.folder.name)
    return _deliver(trip, order, resolved.destination, schema, ledger)


def _nothing_to_send(trip: Trip, plan: Plan) -> RunResult:
    """The end of a plan without operations; its folder stays if it lists rows that nothing can be sent of."""
    if trip.purpose != "undo":
        forget_undone(trip.world, trip.lease)
        refused.forget(trip.world.store.memory, trip.lease)
        if not plan.counts.invalid:
            settle_doubt(trip.world.store.memory, trip.lease)
    result = result_of(trip, plan, "partial" if plan.counts.invalid else "succeeded", Tally())
    listed = plan.invalid is not None or plan.left is not None
    if listed:
        plan.write(trip.folder)
    close(trip, result, plan if listed else None)
    return result


def _request(trip: Trip, resolved: Resolved, ledger: Ledger) -> PlanRequest:
    return PlanRequest(
        sync=trip.sync,
        model=resolved.model,
        source=resolved.source,
        mapping=resolved.mapping,
        policy=resolved.policy,
        ledger=replace(ledger, distrusted=True) if trip.purpose == "resync" else ledger,
        folder=trip.folder,
        purpose=trip.purpose,
        listener=trip.world.listener,
    )


def _guarded(trip: Trip, resolved: Resolved, plan: Plan, ledger: Ledger) -> GuardDecision:
    """The guard's decision, an approval of this very plan considered."""
    decision = decide(trip.world, resolved, plan, trip.folder, ledger, trip.lease)
    if decision.blocked and standing_approval(trip.world, plan.plan_id) is not None:
        return GuardDecision(False, decision.reasons)
    return decision


def _skipped(trip: Trip, resolved: Resolved, ledger: Ledger) -> RunResult:
    """first_run: skip. The model is taken as synced."""
    folded = resolved.planner.confirmed(_request(trip, resolved, ledger))
    notice = f"first_run: skip took {plural(folded.rows, 'row')} as already synced and sent nothing"
    result = trip.result("succeeded", counts=Counts(unchanged=folded.rows), notices=(*trip.notices, notice))
    drop_files(trip)
    trip.world.store.ledgers.commit(trip.lease, trip.run_id, folded, status="succeeded", result=result.as_dict())
    renew_proof(trip.world, Place.of(resolved), trip.lease, folded)
    return result


# -- delivering, in this process or after another one


def _deliver(
    trip: Trip,
    order: DeliveryOrder,
    destination: Destination | TableDestination,
    schema: pa.Schema,
    ledger: Ledger,
) -> RunResult:
    world, plan = trip.world, order.plan
    if trip.purpose == "sync" or (trip.purpose == "resync" and trip.finished):
        only = trip.purpose == "resync" or order.in_doubt  # a refusal of long ago says nothing of what was sent since
        left_out = refused.waiting(world.store, trip.sync, plan, trip.folder, trip.finished, only_just=only)
        order = replace(order, waiting=left_out)
    place = Place.of_order(order, destination, schema)
    expect_plan(world, place, trip.lease, plan.plan_id)
    world.store.runs.update(trip.lease, trip.run_id, phase="delivering")
    try:
        report = world.dispatcher.deliver(order, destination, trip.lease, schema, world.store, entitled=trip.entitled)
    except StoreError:
        raise
    except LevadaError as error:
        if not was_begun(trip):
            return ended(trip, error, plan)
        message = world.redaction.clean(error.message)
        tally = figures(plan, world.store.journals.entries(trip.run_id), requests=0)
        report = DeliveryReport(tally, None, pause=pause_of(error), message=message)
    trip = replace(trip, notices=tuple(dict.fromkeys((*trip.notices, *report.notices))))
    if report.pause is not None:
        return _paused(trip, plan, report)
    assert report.settled is not None
    world.store.runs.update(trip.lease, trip.run_id, phase="settling")
    folded = world.planner.fold(plan, trip.folder, ledger, report.settled)
    tally = report.tally
    notices = (*without_guess(trip.notices, trip.sync, place.to), *renew_proof(world, place, trip.lease, folded))
    trip = replace(trip, notices=notices)
    clean = not (tally.rejected or tally.waiting or tally.unknown or tally.unsent or plan.counts.invalid)
    trip = replace(trip, notices=(*trip.notices, *taken_over(order, tally)))
    result = result_of(trip, plan, "succeeded" if clean else "partial", tally, waited=report.waited)
    world.store.ledgers.commit(trip.lease, trip.run_id, folded, status=result.status, result=result.as_dict())
    remember_end(world, trip.lease, trip.run_id)
    if plan.purpose not in ("undo", "settle"):
        refused.keep(world.store, trip.lease, order, tally)
    if plan.purpose in ("sync", "resync"):
        forget_undone(world, trip.lease)
    if plan.purpose in ("sync", "resync") and plan.counts.added:
        forget_rebuilt(world, trip.lease)
    if order.in_doubt and not (plan.counts.invalid or tally.unsent or len(order.waiting)):
        settle_doubt(world.store.memory, trip.lease)
    return result


def _paused(trip: Trip, plan: Plan, report: DeliveryReport) -> RunResult:
    """A pause; or, where nothing can have been applied, an end without a trace: the next run plans anew."""
    assert report.pause is not None
    if report.untouched and report.pause in ("auth", "setup", "outage"):
        return ended(trip, as_destination_error(Paused(report.pause, report.message)), plan)
    more: dict[str, Any] = {"pause": report.pause, "message": report.message, "waited": report.waited}
    result = result_of(trip, plan, "paused", report.tally, **more)
    trip.world.store.runs.update(trip.lease, trip.run_id, phase="paused", status="paused", result=result.as_dict())
    return result


def _resume(world: World, record: RunRecord, lease: Lease, entitled: Callable[[], bool]) -> RunResult:
    """Finish a run that an earlier process left open: the same plan, from where its journal ends (G5)."""
    clock = world.clock
    folder = world.store.snapshots.plan(record.folder)
    trip = Trip(world, record.sync, record.run_id, lease, folder, clock.now(), clock.monotonic())
    plan = Plan.read(folder, record.plan_id)
    order, destination_name, schema = read_order(trip.sync, trip.run_id, plan, folder)
    world.listener(events.RunStarted(record.sync, record.run_id, resumed=True))
    destination = world.destination(destination_name)
    ledger = world.store.ledgers.get(record.sync)
    if ledger.generation != plan.generation:
        raise CorruptedError(
            f"run {record.run_id} was planned from generation {plan.generation}, and the ledger is at "
            f"{ledger.generation}",
            code="store.plan_outdated",
            hint=f"`levada run {record.sync} --discard-plan` drops the plan and compares anew",
        )
    verify(plan, folder, ledger)
    check_proof(world, Place.of_order(order, destination, schema), ledger, lease, begun=record)
    result = _deliver(replace(trip, purpose=plan.purpose, entitled=entitled), order, destination, schema, ledger)
    world.listener(events.RunFinished(record.sync, record.run_id, result.status))
    return result


def _discard(world: World, record: RunRecord, lease: Lease, hold_seconds: float) -> None:
    """Drop an open run. What it may have sent is not known: the whole ledger is distrusted, and the sync held."""
    if any(True for _ in world.store.journals.entries(record.run_id)):
        entries = world.store.journals.entries(record.run_id)
        unanswered = [entry.intent.number for entry in entries if entry.outcomes is None]
        if unanswered:
            world.store.journals.open(lease, record.run_id).doubt(unanswered, hold_seconds)
        doubt(world.store.memory, lease)
        ledger = world.store.ledgers.get(record.sync)
        world.store.ledgers.distrust(lease, replace(ledger, generation=ledger.generation + 1, distrusted=True))
    world.store.runs.update(lease, record.run_id, phase="closed", status="cancelled")

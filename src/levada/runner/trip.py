"""One run on its way, and the ends that it may come to before or after anything was sent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from levada.change import Counts
from levada.clock import isoformat
from levada.delivery.order import DeliveryOrder
from levada.errors import AuthError, FullError, LevadaError, StoreError, UnavailableError, UnreachableError
from levada.guard import GuardDecision
from levada.plan import Plan, Purpose
from levada.run import PauseReason, RunResult, Status, Tally
from levada.store import Lease
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.world import World


@dataclass(frozen=True, slots=True)
class Trip:
    """One run on its way. `make` plans into the request's folder."""

    world: World
    sync: str
    run_id: str
    lease: Lease
    folder: Path
    started: datetime
    began: float
    purpose: Purpose = "sync"
    notices: tuple[str, ...] = ()
    entitled: Callable[[], bool] = lambda: True
    #: runs that the same command has finished before
    finished: tuple[str, ...] = ()

    def result(
        self,
        status: Status,
        *,
        counts: Counts = Counts(),  # noqa: B008 - a frozen value
        tally: Tally = Tally(),  # noqa: B008 - a frozen value
        plan_id: str = "",
        guard: GuardDecision = GuardDecision(),  # noqa: B008 - a frozen value
        **more: Any,
    ) -> RunResult:
        clock = self.world.clock
        return RunResult(
            sync=self.sync,
            run_id=self.run_id,
            status=status,
            counts=counts,
            tally=tally,
            plan_id=plan_id,
            started_at=isoformat(self.started),
            finished_at=isoformat(clock.now()),
            seconds=clock.monotonic() - self.began,
            guard=guard,
            **more,
        )


def was_begun(trip: Trip) -> bool:
    """May anything have been sent?"""
    return any(True for _ in trip.world.store.journals.entries(trip.run_id))


def result_of(trip: Trip, plan: Plan, status: Status, tally: Tally, **more: Any) -> RunResult:
    return trip.result(
        status, counts=plan.counts, tally=tally, plan_id=plan.plan_id, guard=plan.guard, notices=trip.notices, **more
    )


def close(trip: Trip, result: RunResult, plan: Plan | None = None) -> None:
    """Close a run that sent nothing. Without a plan to keep, its folder goes: last, for an open run needs it."""
    trip.world.store.runs.update(
        trip.lease,
        trip.run_id,
        phase="closed",
        status=result.status,
        plan_id=plan.plan_id if plan else None,
        folder=trip.folder.name if plan else None,
        result=result.as_dict(),
    )
    if plan is None:
        drop_files(trip)


def drop_files(trip: Trip) -> None:
    """Delete the run's folder, of which nothing is needed any more. If that fails now, a sweep does it."""
    with suppress(StoreError):
        trip.world.store.snapshots.delete(trip.folder.name)


def ended(trip: Trip, error: LevadaError, plan: Plan | None = None) -> RunResult:
    """Nothing was sent, and nothing is changed: paused, where only something has to be reached again; else failed."""
    error.message = trip.world.redaction.clean(error.message)
    counts = plan.counts if plan else Counts()
    weather = isinstance(error, UnavailableError | UnreachableError)
    result = trip.result(
        "paused" if weather else "failed",
        counts=counts,
        tally=Tally(unsent=counts.operations),
        plan_id=plan.plan_id if plan else "",
        pause=pause_of(error) if weather else None,
        error=error,
        notices=trip.notices,
    )
    close(trip, result)
    return result


def pause_of(error: LevadaError) -> PauseReason:
    """Why a delivery stops that an error ended: only an outage mends itself."""
    match error:
        case AuthError():
            return "auth"
        case FullError():
            return "full"
        case UnavailableError() | UnreachableError():
            return "outage"
        case _:
            return "setup"


def taken_over(order: DeliveryOrder, tally: Tally) -> tuple[str, ...]:
    """That records were there before, and what becomes of them."""
    count = tally.taken_over
    if not count or order.plan.purpose != "sync":
        return ()
    were = plural(count, "record was", "records were")
    if "removed" not in order.verbs:
        return (f"{were} there before",)
    if not order.adopt:
        return (f"{were} there before, and will not be removed by this sync (adopt: false)",)
    they = "it is removed when its row leaves" if count == 1 else "they are removed when their rows leave"
    return (f"{were} there before and taken over: {they} the model (`adopt: false` keeps what was there)",)

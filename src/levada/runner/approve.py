"""Lets a plan pass that a guard stopped. An approval covers one plan by its content, for a day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from levada.clock import isoformat
from levada.errors import ConfigError, LevadaError
from levada.runner.audit import actor, note
from levada.runner.plan import plan
from levada.runner.undo import plan_undo
from levada.store import Approval

if TYPE_CHECKING:
    from levada.runner.world import World

APPROVAL_HOURS = 24
RUNS_SEARCHED_MAX = 200
UNDOS_SEARCHED_MAX = 20
"""For a plan that no run has stored: of so many runs it may be the undo."""


def approve(world: World, plan_id: str) -> Approval:
    """Approve the plan. `plan_id` is what `levada plan` or a blocked run printed: `sync@12 hex digits`.

    A plan that no run has stored is made again now; if the model or the ledger has moved on since it was
    shown, the id is another and ConfigError says so: nobody approves what they have not seen.
    """
    sync, separator, _ = plan_id.rpartition("@")
    if not separator or not sync:
        raise ConfigError(
            f"{plan_id} is not a plan's id",
            code="usage.plan_id",
            hint="it looks like customers_to_crm@0123456789ab; `levada plan` and a blocked run print it",
        )
    world.sync_file(sync)
    if not _stored(world, sync, plan_id):
        now = plan(world, sync, sample_size=0)
        if now.plan.plan_id != plan_id and not _is_of_an_undo(world, sync, plan_id):
            raise ConfigError(
                f"the plan is no longer {plan_id}: the model or what is synced has changed since",
                code="usage.plan_moved_on",
                hint=f"look at it again with `levada plan {sync}`; it is now {now.plan.plan_id}",
            )
    moment = world.clock.now()
    approval = Approval(
        plan_id=plan_id,
        sync=sync,
        approved_by=actor(),
        approved_at=isoformat(moment),
        expires_at=isoformat(moment + timedelta(hours=APPROVAL_HOURS)),
    )
    world.store.approvals.put(approval)
    note(world, "plan.approve", sync, {"plan_id": plan_id})
    return approval


def _stored(world: World, sync: str, plan_id: str) -> bool:
    """Did a run already store this plan and stop at its guard, with nothing run since?"""
    for record in world.store.runs.newest(sync, RUNS_SEARCHED_MAX):
        if record.plan_id == plan_id:
            return record.status == "blocked"
        if record.status in ("succeeded", "partial"):
            return False
    return False


def _is_of_an_undo(world: World, sync: str, plan_id: str) -> bool:
    """Is this the plan that takes back one of the latest runs, as it would be made now?"""
    for record in world.store.runs.newest(sync, UNDOS_SEARCHED_MAX):
        if record.status in ("succeeded", "partial") and record.folder:
            try:
                if plan_undo(world, record.run_id, sample_size=0).plan.plan_id == plan_id:
                    return True
            except LevadaError:
                continue
    return False

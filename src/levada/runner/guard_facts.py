"""Puts a plan before its guard: the facts that `levada.guard.judge` decides on, and what only a project knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from levada.guard import GuardDecision, GuardFacts, GuardReason, judge, judge_undo
from levada.plan import Plan
from levada.planner import Ledger
from levada.runner.column_changes import changed_otherwise, column_reasons, with_columns
from levada.runner.plan_sample import sample_keys
from levada.runner.rebuilt import rebuilt_reason
from levada.runner.undone import undone_reason

if TYPE_CHECKING:
    from levada.runner.resolved import Resolved
    from levada.runner.world import World
    from levada.store import Lease

KEYS_NAMED = 5
"""How many keys a reason names as examples."""


def decide(
    world: World, resolved: Resolved, plan: Plan, folder: Path, ledger: Ledger, lease: Lease | None
) -> GuardDecision:
    """The decision over a plan; whether it is approved is another question. Without a lease nothing is forgotten by it.

    An undo has a limit of its own. A resync is exempt from the limit on changes: that all is sent again is its point.
    Where the plan swaps the whole object, the rows that left the model are removed without being listed.
    """
    declared, undo = resolved.guard, plan.purpose == "undo"
    if plan.purpose == "resync":
        declared = declared.model_copy(update={"changed_max": "none"})
    swaps = resolved.policy.everything and not undo
    counts = replace(plan.counts, removed=plan.counts.left) if swaps else plan.counts
    counts = replace(counts, changed=changed_otherwise(resolved, plan, folder))
    facts = GuardFacts(
        counts=counts,
        present=ledger.rows,
        model_rows=plan.model_rows,
        nulls_before=ledger.nulls,
        nulls_after=plan.nulls,
        removed_keys=sample_keys(plan, folder, "removed", KEYS_NAMED),
        changed_keys=sample_keys(plan, folder, "changed", KEYS_NAMED),
    )
    if undo:
        return judge_undo(declared, facts)
    decision = judge(declared, facts)
    decision = replace(decision, reasons=with_columns(decision.reasons, resolved.drift))
    return decision.stopped_by(*_reasons(world, resolved, plan, folder, lease))


def _reasons(world: World, resolved: Resolved, plan: Plan, folder: Path, lease: Lease | None) -> Iterator[GuardReason]:
    """What no limit tells: lost columns, and what was taken back or begun anew before."""
    yield from column_reasons(resolved, plan, folder)
    if world.stored is None:
        return
    for reason in (undone_reason(world, plan, folder, lease), rebuilt_reason(world, resolved, plan)):
        if reason is not None:
            yield reason

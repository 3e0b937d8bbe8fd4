"""Puts a plan before its guard: gathers the facts that `levada.guard.judge` decides on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from levada.guard import GuardDecision, GuardDeclaration, GuardFacts, judge
from levada.plan import Plan
from levada.planner import Ledger
from levada.runner.sample import sample_keys

KEYS_NAMED = 5
"""How many keys a reason names as examples."""


def decide(
    declared: GuardDeclaration, plan: Plan, folder: Path, ledger: Ledger, *, replaces: bool = False
) -> GuardDecision:
    """The decision over a plan. A resync is exempt from the limit on changes: that all is sent again is its point.

    `replaces`: the plan swaps the whole object, so that rows which left the model are removed without being listed.
    """
    if plan.purpose == "resync":
        declared = declared.model_copy(update={"changed_max": "none"})
    counts = replace(plan.counts, removed=plan.counts.left) if replaces else plan.counts
    facts = GuardFacts(
        counts=counts,
        present=ledger.rows,
        model_rows=plan.model_rows,
        nulls_before=ledger.nulls,
        nulls_after=plan.nulls,
        removed_keys=sample_keys(plan, folder, "removed", KEYS_NAMED),
        changed_keys=sample_keys(plan, folder, "changed", KEYS_NAMED),
    )
    return judge(declared, facts)

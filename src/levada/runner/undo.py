"""Takes back what a run delivered: a plan like any other, made of that run's plan, its journal and the ledger.

What it may take back, and what it leaves alone, is `levada.planners.reversal`'s to say. Here: how the plan is shown,
guarded, sent, and remembered, so that the next run does not quietly send again what a person took back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from levada.change import KINDS, Kind, Verb
from levada.delivery.before import verify_before
from levada.delivery.order import DeliveryOrder
from levada.delivery.outlook import Outlook
from levada.delivery.tally import settle
from levada.destination import TableDestination
from levada.errors import ConfigError
from levada.mapping import Mapping as FieldMappings
from levada.plan import Plan
from levada.planner import PlanRequest
from levada.run import RunResult
from levada.runner.approval import standing_approval
from levada.runner.guard_facts import decide
from levada.runner.order_file import read_order
from levada.runner.plan import SAMPLE_DEFAULT, PlanView, request
from levada.runner.plan_sample import sample, sample_left
from levada.runner.resolve import resolve
from levada.runner.resolved import Resolved
from levada.runner.run import Errand, run
from levada.runner.target import check_target
from levada.runner.touched import touched
from levada.runner.undone import remember_undo
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.world import World
    from levada.store import RunRecord

VERBS: dict[Kind, tuple[Verb, ...]] = {
    "removed": ("delete", "remove", "archive"),
    "changed": ("upsert", "update", "add"),
    "added": ("upsert", "create", "add"),
}
"""What an undo sends, in order of preference. To append again takes nothing back."""
PUT_BACK: tuple[Verb, ...] = ("upsert",)
"""What puts back a record that was archived or emptied, and so is still there: a create would make a second one."""


@dataclass(frozen=True, slots=True)
class Undo:
    """A run that is to be taken back, as it is stored."""

    record: RunRecord
    folder: Path
    plan: Plan
    order: DeliveryOrder
    schema: pa.Schema

    @staticmethod
    def of(world: World, run_id: str) -> Undo:
        """Raises ConfigError for a run that sent nothing, cannot be taken back, or whose details are gone."""
        record = world.store.runs.get(run_id)
        world.sync_file(record.sync)
        if not record.folder:
            raise ConfigError(
                f"run {record.run_id} has nothing to undo",
                code="usage.run_without_plan",
                hint="it sent nothing, or retention took its details; `levada runs` lists the others",
            )
        folder = world.store.snapshots.plan(record.folder)
        plan = Plan.read(folder)
        if record.status == "blocked":
            raise ConfigError(
                f"run {record.run_id} was stopped by its guard and sent nothing",
                code="usage.run_without_plan",
                hint=f"`levada runs {record.sync}` lists the others",
            )
        order, _, schema = read_order(record.sync, record.run_id, plan, folder)
        if order.mode == "replace":
            raise ConfigError(
                f"{record.sync} replaces its whole object, so its runs cannot be undone",
                code="usage.not_reversible",
                hint="change the model back and run again",
            )
        return Undo(record, folder, plan, order, schema)

    def made(self, world: World, resolved: Resolved, asked: PlanRequest) -> Plan:
        """The plan that takes the run back. Raises ConfigError where the object has no verb for it."""
        entries = world.store.journals.entries(self.record.run_id)
        settled, _ = settle(self.plan, entries, 0, asked.folder)
        keeps = isinstance(resolved.destination, TableDestination)
        settled = replace(settled, kept=tuple(verify_before(self.folder)), keeps=keeps)
        settled = replace(settled, touched=touched(world, self.record, self.plan.keys, asked.folder))
        asked = replace(asked, mapping=self.order.mapping)
        plan = resolved.planner.reverse(self.plan, self.folder, settled, asked)
        if plan.counts.removed and self.order.verbs.get("added") == "append" and not _each_found_alone(resolved):
            raise ConfigError(
                f"{plan.sync} appended {plural(plan.counts.removed, 'record')}, and nothing tells others "
                f"apart that have the same {', '.join(self.order.mapping.match) or 'values'}",
                code="usage.not_reversible",
                hint="remove them by hand, or make the match field unique in the destination",
            )
        _verbs_of(resolved, plan, self.order)
        if settled.touched is not None:
            settled.touched.unlink()
        return replace(plan, undoes=self.record.run_id)

    def ordered(self, resolved: Resolved, run_id: str, plan: Plan, folder: Path) -> tuple[DeliveryOrder, pa.Schema]:
        """What delivery is asked to do: values are put back as they stood, NULLs too, over whatever is there."""
        mapping = self.order.mapping
        fields = tuple(replace(each, only_if_empty=False) for each in mapping.fields)
        order = replace(
            self.order,
            run_id=run_id,
            plan=plan,
            folder=folder,
            mapping=FieldMappings(fields, mapping.match, "clear"),
            verbs=_verbs_of(resolved, plan, self.order),
            in_doubt=False,
        )
        return order, self.schema


def undo(world: World, run_id: str, *, plan_id: str | None = None) -> RunResult:
    """Undo a run, by its id or an unambiguous beginning of it.

    Raises ConfigError if the run has no records, if the retention took them, or if the object cannot lose
    records; with `plan_id` if the plan is another one than that. The guard judges the plan as that of a run. The sync
    is held afterwards: while its model still says what was taken back, a run stops like at a guard.
    """
    undone = Undo.of(world, run_id)
    resolved = resolve(world, undone.record.sync)

    def make(asked: PlanRequest) -> Plan:
        plan = undone.made(world, resolved, asked)
        if plan_id is not None and plan.plan_id != plan_id:
            raise ConfigError(
                f"the plan of this undo is no longer {plan_id}: what is synced has changed since",
                code="usage.plan_moved_on",
                hint=f"look at it again with `levada undo {undone.record.run_id} --plan`",
            )
        return plan

    errand = Errand(make, undone.ordered, lambda lease, run: remember_undo(world, lease, run))
    return run(world, undone.record.sync, purpose="undo", errand=errand)


def plan_undo(world: World, run_id: str, *, sample_size: int = SAMPLE_DEFAULT) -> PlanView:
    """What `undo` would send now, and what it would leave alone. Changes nothing."""
    undone = Undo.of(world, run_id)
    resolved = resolve(world, undone.record.sync)
    ledger = world.ledger(resolved.name)
    check_target(world, resolved, ledger)
    with request(world, resolved, ledger, "undo") as asked:
        made = undone.made(world, resolved, asked)
        return PlanView(
            sync=resolved.name,
            model=resolved.model_name,
            to=resolved.sync.to,
            mode=resolved.sync.mode,
            plan=made,
            sample=sample(made, asked.folder, sample_size),
            invalid=(),
            left=sample_left(made, asked.folder, sample_size),
            guard=decide(world, resolved, made, asked.folder, ledger, None),
            approved=standing_approval(world, made.plan_id) is not None,
            first_run=False,
            notices=(*_unfinished(world, resolved.name), *made.notices),
            undoes=undone.record.run_id,
            outlook=Outlook({kind: made.counts.of(kind) for kind in KINDS}),
        )


def _unfinished(world: World, sync: str) -> tuple[str, ...]:
    """That a run is open, which is finished before anything is taken back."""
    found = world.store.runs.open_run(sync)
    if found is None:
        return ()
    return (f"{found.run_id} is not finished: it is finished first, and the plan of the undo is made after that",)


def _each_found_alone(resolved: Resolved) -> bool:
    """Can no two records have the same match value, so that a removal meets one record only?"""
    fields = [resolved.object_spec.field(name) for name in resolved.mapping.match]
    return any(field is not None and field.unique for field in fields)


def _verbs_of(resolved: Resolved, plan: Plan, order: DeliveryOrder) -> Mapping[Kind, Verb]:
    """The verb of each kind that an undo's plan holds."""
    has = set(resolved.object_spec.verbs)
    found: dict[Kind, Verb] = {}
    for kind in KINDS:
        still_there = kind == "added" and order.verbs.get("removed") in ("archive", "update", "upsert")
        choices = PUT_BACK if still_there else VERBS[kind]
        verb = next((choice for choice in choices if choice in has), None)
        if verb is not None:
            found[kind] = verb
        elif plan.counts.of(kind):
            undone = {"removed": "added", "changed": "changed", "added": "removed"}[kind]
            raise ConfigError(
                f"{resolved.sync.to} cannot take back what was {undone}: {plural(plan.counts.of(kind), 'record')}",
                code="usage.not_reversible",
                hint=f"that needs one of {', '.join(choices)}; the object has {', '.join(sorted(has)) or 'none'}",
            )
    return found

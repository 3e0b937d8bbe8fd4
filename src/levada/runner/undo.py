"""Takes back what a run delivered: plans its reverse against the ledger as it is now, and sends that.

The reverse of an addition is a removal, so an object must be able to lose records, whatever the sync's mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from levada.change import Kind, Verb
from levada.delivery.settled import settle
from levada.errors import ConfigError
from levada.plan import Plan
from levada.planner import PlanRequest
from levada.run import RunResult
from levada.runner.records import plan_folder
from levada.runner.resolve import resolve
from levada.runner.run import run
from levada.runner.undone import forget_undone, remember_undone

if TYPE_CHECKING:
    from levada.runner.project import Project
    from levada.store import RunRecord

VERBS: dict[Kind, tuple[Verb, ...]] = {
    "removed": ("delete", "remove", "archive"),
    "changed": ("upsert", "update", "add"),
    "added": ("upsert", "create", "add"),
}
"""What puts records back, in order of preference. To append again takes nothing back."""
REVERSED: dict[Kind, Kind] = {"added": "removed", "changed": "changed", "removed": "added"}


def undo(project: Project, run_id: str) -> RunResult:
    """Undo a run, by its id or an unambiguous beginning of it.

    Raises ConfigError if the run has no records, if the retention took them, or if the object cannot lose
    records. Records that a later run touched again are left alone. The sync is held afterwards: while its
    model still says what was undone, a run stops like at a guard.
    """
    record = project.store.run(run_id)
    project.sync_file(record.sync)
    if not record.folder:
        raise ConfigError(
            f"run {record.run_id} has nothing to undo",
            code="usage.run_without_plan",
            hint="it sent nothing, or retention took its details; `levada runs` lists the others",
        )
    folder = plan_folder(project.store, record)
    plan = Plan.read(folder)
    verbs = _verbs(project, record, plan)

    def reverse(request: PlanRequest) -> Plan:
        settled, _ = settle(plan, project.store.journal_entries(record.run_id), 0, request.folder)
        made: Plan = project.planner.reverse(plan, folder, settled, request)
        if made.counts.operations:
            # before the first request: an undo that is interrupted is finished by the next run, and then held
            remember_undone(project, record.sync, record.run_id)
        return made

    result = run(project, record.sync, purpose="undo", make=reverse, verbs=verbs)
    if result.status == "failed":
        forget_undone(project, record.sync)
    return result


def _verbs(project: Project, record: RunRecord, plan: Plan) -> dict[Kind, Verb]:
    resolved = resolve(project, record.sync)
    has = set(resolved.object_spec.verbs)
    if resolved.sync.mode == "replace":
        raise ConfigError(
            f"{record.sync} replaces its whole object, so its runs cannot be undone",
            code="usage.not_reversible",
            hint="change the model back and run again",
        )
    found: dict[Kind, Verb] = {}
    for kind, reversed_kind in REVERSED.items():
        verb = next((choice for choice in VERBS[reversed_kind] if choice in has), None)
        if verb is None:
            if plan.counts.of(kind):
                raise ConfigError(
                    f"{resolved.sync.to} cannot take back {plan.counts.of(kind):,} records that were {kind}",
                    code="usage.not_reversible",
                    hint=f"that needs one of {', '.join(VERBS[reversed_kind])}; "
                    f"the object has {', '.join(sorted(has)) or 'none'}",
                )
            continue
        found[reversed_kind] = verb
    return found

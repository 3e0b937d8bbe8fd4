"""Remembers an undo, so that the next run does not quietly send again what a person has just taken back.

The memory is the undone run's plan: as long as a new plan holds any of the same operations, it is stopped
like by a guard, until it is approved. It is forgotten when the model no longer says what was undone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from levada.change import KINDS
from levada.errors import LevadaError
from levada.guard import GuardReason
from levada.plan import Plan
from levada.sql.connection import connect

if TYPE_CHECKING:
    from levada.runner.project import Project

MEMORY = "undone"


def remember_undone(project: Project, sync: str, run_id: str) -> None:
    project.store.remember(sync, MEMORY, run_id)


def forget_undone(project: Project, sync: str) -> None:
    if project.store.recall(sync, MEMORY) is not None:
        project.store.remember(sync, MEMORY, None)


def undone_reason(project: Project, plan: Plan, folder: Path, *, forget: bool = True) -> GuardReason | None:
    """Why a plan is stopped after an undo; None if it holds nothing of what was undone, which is then forgotten
    (unless `forget` says otherwise: whoever only looks changes nothing)."""
    run_id = project.store.recall(plan.sync, MEMORY)
    if run_id is None or not plan.counts.operations:
        return None
    try:
        record = project.store.run(run_id)
        undone_folder = project.store.folder / "plans" / record.folder
        undone = Plan.read(undone_folder)
    except LevadaError:
        if forget:
            forget_undone(project, plan.sync)
        return None
    repeated = _repeated(plan, folder, undone, undone_folder)
    if not repeated:
        if forget:
            forget_undone(project, plan.sync)
        return None
    message = f"{repeated:,} of these changes were taken back by undoing {run_id}, and the model still says them"
    return GuardReason("undone", message, repeated, 0)


def _repeated(plan: Plan, folder: Path, undone: Plan, undone_folder: Path) -> int:
    """How many operations both plans hold: the same kind, key and new values."""
    if plan.keys != undone.keys:
        return 0
    fields = [name for name in plan.fields if name in undone.fields]
    total = 0
    with connect(memory_limit="256MB") as connection:
        for kind in KINDS:
            if kind not in plan.files or kind not in undone.files:
                continue
            names = [f"key.{key}" for key in plan.keys]
            if kind != "removed":
                names += [f"after.{name}" for name in fields]
            same = " AND ".join(f'n."{n}"::VARCHAR IS NOT DISTINCT FROM u."{n}"::VARCHAR' for n in _escaped(names))
            found = connection.execute(
                f"SELECT count(*) FROM read_parquet(?) AS n SEMI JOIN read_parquet(?) AS u ON {same}",
                [str(folder / plan.files[kind].name), str(undone_folder / undone.files[kind].name)],
            ).fetchone()
            total += int(found[0]) if found else 0
    return total


def _escaped(names: list[str]) -> list[str]:
    return [name.replace('"', '""') for name in names]

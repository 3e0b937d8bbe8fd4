"""Remembers undos, so that the next run does not quietly send again what a person has just taken back.

The memory names the undo's own runs. As long as a new plan would bring back any value that one of them took back, the
plan is stopped like by a guard, until it is approved. An undo is forgotten when the model no longer says what it took
back, or when a plan that says it was approved and sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from levada.change import KINDS, Kind
from levada.delivery.settled import settle
from levada.errors import LevadaError
from levada.guard import GuardReason
from levada.plan import Plan
from levada.sql.connection import connect

if TYPE_CHECKING:
    from levada.runner.project import Project
    from levada.store import Store

MEMORY = "undone"


def undone_runs(store: Store, sync: str) -> tuple[str, ...]:
    """The runs, oldest first, that took something back which the model may still say."""
    return tuple((store.recall(sync, MEMORY) or "").split())


def remember_undo(project: Project, sync: str, run_id: str) -> None:
    """Before the first request: an undo that is interrupted is finished by the next run, and then held."""
    _write(project, sync, (*undone_runs(project.store, sync), run_id))


def forget_undone(project: Project, sync: str) -> None:
    """What was taken back was sent again, or the model says nothing of it any more."""
    if undone_runs(project.store, sync):
        _write(project, sync, ())


def _write(project: Project, sync: str, runs: tuple[str, ...]) -> None:
    project.store.remember(sync, MEMORY, " ".join(runs) or None)


def undone_reason(project: Project, plan: Plan, folder: Path, *, forget: bool = True) -> GuardReason | None:
    """Why a plan is stopped after an undo; None if it brings nothing back. Undos of which it brings nothing back are
    forgotten (unless `forget` says otherwise: whoever only looks changes nothing)."""
    assert project.stored is not None
    runs = undone_runs(project.stored, plan.sync)
    if not runs or not plan.counts.operations:
        return None
    repeated = {run: _repeated(project, plan, folder, run) for run in runs}
    standing = tuple(run for run in runs if repeated[run])
    if forget and standing != runs:
        _write(project, plan.sync, standing)
    if not standing:
        return None
    total = sum(repeated.values())
    changes = "1 of these changes was" if total == 1 else f"{total:,} of these changes were"
    message = (
        f"{changes} taken back by {', '.join(standing)}, and the model still says {'it' if total == 1 else 'them'}"
    )
    return GuardReason("undone", message, total, 0)


def _repeated(project: Project, plan: Plan, folder: Path, run_id: str) -> int:
    """How many operations of a plan bring back what an undo took back: the same key with the values that it took
    away, or gone again where it was put back."""
    assert project.stored is not None
    try:
        record = project.stored.run(run_id)
        undo_folder = project.stored.folder / "plans" / record.folder
        undo = Plan.read(undo_folder)
        entries = list(project.stored.journal_entries(record.run_id))
    except LevadaError:
        return 0
    if plan.keys != undo.keys or not entries:
        return 0
    with connect(memory_limit="256MB") as connection:
        settled, _ = settle(undo, entries, 0, folder)
        ended = settled.exceptions
        connection.execute("CREATE TEMP TABLE not_delivered (sequence BIGINT)")
        if ended is not None:
            connection.register("ended", ended)
            connection.execute("INSERT INTO not_delivered SELECT sequence FROM ended WHERE settlement <> 'delivered'")
        fields = [name for name in plan.fields if name in undo.fields]
        total = 0
        for kind, taken_back in PAIRS:
            if kind not in plan.files or taken_back not in undo.files:
                continue
            columns = [(f"key.{key}", f"key.{key}") for key in plan.keys]
            if kind != "removed":
                columns += [(f"after.{name}", f"before.{name}") for name in fields]
            same = " AND ".join(
                f"n.{_quoted(new)}::VARCHAR IS NOT DISTINCT FROM u.{_quoted(old)}::VARCHAR" for new, old in columns
            )
            found = connection.execute(
                f"SELECT count(*) FROM read_parquet(?) AS n SEMI JOIN (SELECT * FROM read_parquet(?, "
                f"file_row_number = true) ANTI JOIN not_delivered ON sequence = file_row_number + ?) AS u ON {same}",
                [
                    str(folder / plan.files[kind].name),
                    str(undo_folder / undo.files[taken_back].name),
                    undo.first(taken_back),
                ],
            ).fetchone()
            total += int(found[0]) if found else 0
    return total


PAIRS: tuple[tuple[Kind, Kind], ...] = (
    ("added", "removed"),
    ("added", "changed"),
    ("changed", "changed"),
    ("changed", "removed"),
    ("removed", "added"),
)
"""Which kinds of operations may bring back what an undo's kinds took back."""
assert {kind for kind, _ in PAIRS} == set(KINDS)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

"""Remembers undos, so that the next run does not quietly send again what a person has just taken back.

The memory names the undo's own runs. As long as a new plan would bring back any value that one of them took back, the
plan is stopped like by a guard, until it is approved. An undo is forgotten when the model no longer says what it took
back, or when a plan that says it was approved and sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from levada.change import Kind
from levada.delivery.tally import settle
from levada.errors import LevadaError
from levada.guard import GuardReason
from levada.plan import Plan
from levada.sql.connection import connect
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.world import World
    from levada.store import Lease, Store

MEMORY = "undone"


def undone_runs(store: Store, sync: str) -> tuple[str, ...]:
    """The runs, oldest first, that took something back which the model may still say."""
    return tuple((store.memory.recall(sync, MEMORY) or "").split())


def remember_undo(world: World, lease: Lease, run_id: str) -> None:
    """Before the first request: an undo that is interrupted is finished by the next run, and then held."""
    _write(world, lease, (*undone_runs(world.store, lease.sync), run_id))


def forget_undone(world: World, lease: Lease) -> None:
    """What was taken back was sent again, or the model says nothing of it any more."""
    if undone_runs(world.store, lease.sync):
        _write(world, lease, ())


def _write(world: World, lease: Lease, runs: tuple[str, ...]) -> None:
    world.store.memory.remember(lease, MEMORY, " ".join(runs) or None)


def undone_reason(world: World, plan: Plan, folder: Path, lease: Lease | None) -> GuardReason | None:
    """Why a plan is stopped after an undo; None if it brings nothing back. Under a lease, undos of which it brings
    nothing back are forgotten: whoever only looks changes nothing."""
    assert world.stored is not None
    runs = undone_runs(world.stored, plan.sync)
    if not runs or not plan.counts.operations:
        return None
    repeated = {run: _repeated(world, plan, folder, run) for run in runs}
    standing = tuple(run for run in runs if repeated[run])
    if lease is not None and standing != runs:
        _write(world, lease, standing)
    if not standing:
        return None
    total = sum(repeated.values())
    changes = plural(total, "of these changes was", "of these changes were")
    message = (
        f"{changes} taken back by {', '.join(standing)}, and the model still says {'it' if total == 1 else 'them'}"
    )
    return GuardReason("undone", message, total, 0)


def _repeated(world: World, plan: Plan, folder: Path, run_id: str) -> int:
    """How many operations of a plan bring back what an undo took back: any value of a record that it changed, a record
    that it removed, the removal of one that it put back."""
    assert world.stored is not None
    try:
        record = world.stored.runs.get(run_id)
        entries = list(world.stored.journals.entries(record.run_id))
        if not entries:
            return 0  # nothing was sent
        undo_folder = world.stored.snapshots.plan(record.folder)
        undo = Plan.read(undo_folder)
    except LevadaError:
        return 0
    if plan.keys != undo.keys:
        return 0
    took = _Took(undo)
    with connect(memory_limit="256MB") as connection:
        settled, _ = settle(undo, entries, 0, folder)
        ended = settled.exceptions
        connection.execute("CREATE TEMP TABLE not_delivered (sequence BIGINT)")
        if ended is not None:
            connection.register("ended", ended)
            connection.execute("INSERT INTO not_delivered SELECT sequence FROM ended WHERE settlement <> 'delivered'")
        total = 0
        for kind in plan.files:
            for taken in took.kinds(kind):
                found = connection.execute(
                    f"SELECT count(*) FROM read_parquet(?) AS n SEMI JOIN (SELECT * FROM read_parquet(?, "
                    f"file_row_number = true) ANTI JOIN not_delivered ON sequence = file_row_number + ?) AS u "
                    f"ON {took.met(plan, kind, taken)}",
                    [
                        str(folder / plan.files[kind].name),
                        str(undo_folder / undo.files[taken].name),
                        undo.first(taken),
                    ],
                ).fetchone()
                total += int(found[0]) if found else 0
    return total


@dataclass(frozen=True, slots=True)
class _Took:
    """What was taken back, as the plan of the undo says it; or of one that an earlier version remembered, whose memory
    names the run that was undone, as the plan of that run says it."""

    plan: Plan

    def kinds(self, kind: Kind) -> list[Kind]:
        """The kinds of its operations that a new operation of this kind may bring back."""
        added: Kind = "removed" if self._by_undo else "added"
        removed: Kind = "added" if self._by_undo else "removed"
        wanted: tuple[Kind, ...] = (removed,) if kind == "removed" else (added, "changed")
        return [taken for taken in wanted if taken in self.plan.files]

    def met(self, plan: Plan, kind: Kind, taken: Kind) -> str:
        """The condition on a new operation `n` and one of these, `u`."""
        same_key = " AND ".join(_same(f"key.{key}", f"key.{key}") for key in plan.keys)
        if kind == "removed":
            return same_key
        took, gave = ("before", "after") if self._by_undo else ("after", "before")
        values = []
        for name in plan.fields:
            if name not in self.plan.fields or (taken != "changed" and name in plan.match):
                continue
            value = f"u.{_quoted(f'{took}.{name}')}"
            counts = (
                f"{value} IS DISTINCT FROM u.{_quoted(f'{gave}.{name}')}"
                if taken == "changed"
                else f"{value} IS NOT NULL"
            )
            values.append(f"({_same(f'after.{name}', f'{took}.{name}')} AND {counts})")
        return f"{same_key} AND ({' OR '.join(values)})" if values else same_key

    @property
    def _by_undo(self) -> bool:
        return self.plan.purpose == "undo"


def _same(new: str, old: str) -> str:
    return f"n.{_quoted(new)}::VARCHAR IS NOT DISTINCT FROM u.{_quoted(old)}::VARCHAR"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

"""Shows what a run would send. Plans into a temporary folder and removes it: nothing is changed anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from levada.delivery.outlook import Outlook
from levada.delivery.plan_reader import rows_within
from levada.delivery.table_engine import write_order
from levada.guard import GuardDecision
from levada.plan import Plan, Purpose
from levada.planner import Ledger, PlanRequest
from levada.proof import Foretelling
from levada.runner.approval import standing_approval
from levada.runner.foretelling import foretell
from levada.runner.guard_facts import decide
from levada.runner.order_file import ordered
from levada.runner.ownership import overlaps
from levada.runner.plan_sample import InvalidRow, Sampled, sample, sample_invalid
from levada.runner.proof import Place, check_proof
from levada.runner.resolve import resolve
from levada.runner.resolved import Resolved
from levada.runner.sending import Sending, sendings
from levada.runner.target import check_target
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.world import World

SAMPLE_DEFAULT = 10
RECORDS_AT_ONCE = 20_000
"""How many records a destination is asked about at a time."""


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan, a sample of it, and what its guard says. `approved`: a standing approval covers this very plan."""

    sync: str
    model: str
    to: str
    mode: str
    plan: Plan
    sample: tuple[Sampled, ...]
    invalid: tuple[InvalidRow, ...]
    guard: GuardDecision
    approved: bool
    first_run: bool
    notices: tuple[str, ...]
    #: of an undo: the run that it takes back, and the first records that it leaves alone
    undoes: str = ""
    left: tuple[InvalidRow, ...] = ()
    #: what each kind of change becomes
    sending: tuple[Sending, ...] = ()
    #: how many operations a run would send now
    outlook: Outlook = Outlook({})
    #: the run that an earlier process left open, and that would be finished first
    resumes: str = ""

    @property
    def blocked(self) -> bool:
        return self.guard.blocked and not self.approved

    @property
    def next_command(self) -> str | None:
        """What a person would do next; None if there is nothing to do."""
        if self.blocked:
            return f"levada approve {self.plan.plan_id}"
        found = self.outlook
        if found.waiting and not found.sent + found.held + found.in_doubt and not self.resumes:
            return f"levada retry {self.sync}"
        act = f"levada undo {self.undoes}" if self.undoes else f"levada run {self.sync}"
        return act if self.plan.counts.operations or self.resumes else None

    def as_dict(self) -> dict[str, Any]:
        """The document of `plan --json`."""
        plan = self.plan
        return {
            "sync": self.sync,
            "plan_id": plan.plan_id,
            "counts": plan.counts.as_dict(),
            "guard": {**self.guard.as_dict(), "approved": self.approved},
            "fields_changed": dict(plan.fields_changed),
            "sample": [one.as_dict() for one in self.sample],
            "invalid_sample": [one.as_dict() for one in self.invalid],
            "fields": list(plan.fields),
            "match": list(plan.match),
            "model": self.model,
            "to": self.to,
            "mode": self.mode,
            "model_rows": plan.model_rows,
            "generation": plan.generation,
            "first_run": self.first_run,
            "sending": [each.as_dict() for each in self.sending],
            **self.outlook.as_dict(),
            **({"resumes": self.resumes} if self.resumes else {}),
            "notices": list(self.notices),
            "next": self.next_command,
            **({"undoes": self.undoes, "left_sample": [one.as_dict() for one in self.left]} if self.undoes else {}),
        }


def plan(world: World, sync: str, *, sample_size: int = SAMPLE_DEFAULT) -> PlanView:
    """What a run of `sync` would send now. Raises what `resolve` and the planner raise."""
    resolved = resolve(world, sync)
    ledger = world.ledger(sync)
    check_target(world, resolved, ledger)
    shared = [overlap.message for overlap in overlaps(world, [sync]).get(sync, ())]
    ledger, told = check_proof(world, Place.of(resolved), ledger, None)
    with planned(world, resolved, ledger) as (made, folder):
        decision = decide(world, resolved, made, folder, ledger, None)
        foretold = foretell(world, resolved, made, folder, ledger)
        return PlanView(
            sync=sync,
            model=resolved.model_name,
            to=resolved.sync.to,
            mode=resolved.sync.mode,
            plan=made,
            sample=sample(made, folder, sample_size),
            invalid=sample_invalid(made, folder, sample_size),
            guard=decision,
            approved=standing_approval(world, made.plan_id) is not None,
            first_run=not ledger.exists,
            notices=(
                *_already(resolved, made, folder, ledger),
                *_notices(resolved, made, ledger),
                *told,
                *shared,
                *foretold.notices,
            ),
            sending=sendings(resolved),
            outlook=foretold.outlook,
            resumes=foretold.resumes,
        )


def _notices(resolved: Resolved, made: Plan, ledger: Ledger) -> tuple[str, ...]:
    skip: tuple[str, ...] = ()
    if resolved.sync.first_run == "skip" and not ledger.exists:
        skip = ("the first run takes all of this as already synced and sends nothing (first_run: skip)",)
    return tuple(dict.fromkeys((*skip, *resolved.notices, *made.notices)))


def _already(resolved: Resolved, made: Plan, folder: Path, ledger: Ledger) -> tuple[str, ...]:
    """Of a first run's records: how many the destination has already, where it can tell."""
    destination = resolved.destination
    if ledger.exists or resolved.sync.first_run == "skip" or not made.counts.added:
        return ()
    if not isinstance(destination, Foretelling):
        return ()
    order = write_order(ordered(resolved, "", made, folder, resolved.verbs), resolved.schema)
    found = destination.already(order, _records(folder / made.files["added"].name, resolved.schema))
    if not found.there:
        return ()
    there = plural(found.there, "of these is", "of these are")
    others = f", {found.differing:,} with other values" if found.differing else ", with the same values"
    return (f"{there} at the destination already{others}",)


def _records(file: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """The records of a plan's file, a piece at a time, in the destination's types."""
    import pyarrow.parquet as parquet

    rows = rows_within(file, RECORDS_AT_ONCE)
    with parquet.ParquetFile(file) as opened:
        for batch in opened.iter_batches(rows, columns=[f"after.{name}" for name in schema.names]):
            table = pa.Table.from_batches([batch])
            yield table.select([f"after.{name}" for name in schema.names]).rename_columns(schema.names).cast(schema)


@contextmanager
def planned(world: World, resolved: Resolved, ledger: Ledger, purpose: Purpose = "sync") -> Iterator[tuple[Plan, Path]]:
    """A plan in a folder that is gone afterwards."""
    with request(world, resolved, ledger, purpose) as asked:
        yield resolved.planner.plan(asked), asked.folder


@contextmanager
def request(world: World, resolved: Resolved, ledger: Ledger, purpose: Purpose = "sync") -> Iterator[PlanRequest]:
    """A request whose folder is temporary, private to this user, and gone afterwards."""
    folder = world.spool / world.clock.new_id("plan")
    folder.mkdir()
    try:
        yield PlanRequest(
            sync=resolved.name,
            model=resolved.model,
            source=resolved.source,
            mapping=resolved.mapping,
            policy=resolved.policy,
            ledger=ledger,
            folder=folder,
            purpose=purpose,
            listener=world.listener,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)

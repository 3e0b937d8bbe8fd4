"""How each sync stands, in words first: what needs a person, then the rest. Reads the store only, sends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from levada.errors import LevadaError
from levada.runner.standing import WHO, Known, Standing, State, Who, age_seconds, standings
from levada.runner.undone import undone_runs
from levada.store import RunRecord
from levada.wording import plural

if TYPE_CHECKING:
    from levada.project.files import SyncFile
    from levada.runner.world import World

NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """One sync. `standing` says all that is known, the most pressing first; `state`, `who`, `sentence` and
    `next_command` are short for it. `known`: the runs that it was read from."""

    sync: str
    model: str
    to: str
    mode: str
    schedule: str
    standing: tuple[Standing, ...]
    #: records that the destination has confirmed, those that may be present included
    records: int
    known: Known = field(default_factory=Known)
    #: the runs of undos that hold it
    held_by: tuple[str, ...] = ()
    age_seconds: float | None = None

    @property
    def state(self) -> State:
        return self.standing[0].state

    @property
    def who(self) -> Who:
        """Who must act first: of several facts, the first that somebody must act on."""
        return next((one.who for one in self.standing if one.who != "nobody"), "nobody")

    @property
    def sentence(self) -> str:
        return "; ".join(one.sentence for one in self.standing)

    @property
    def next_command(self) -> str | None:
        needed = next((one.next_command for one in self.standing if one.who != "nobody"), None)
        return needed or self.standing[0].next_command

    @property
    def needs_you(self) -> bool:
        return self.who != "nobody" and self.state != "never"

    def as_dict(self) -> dict[str, Any]:
        run, known = self.known.newest, self.known
        return {
            "sync": self.sync,
            "model": self.model,
            "to": self.to,
            "mode": self.mode,
            "schedule": self.schedule,
            "state": self.state,
            "who": self.who,
            "needs_you": self.needs_you,
            "sentence": self.sentence,
            "next": self.next_command,
            "standing": [one.as_dict(self.schedule) for one in self.standing],
            "left": dict(known.left),
            "held_by": list(self.held_by),
            "open_run": known.open.run_id if known.open is not None else None,
            "plan_waiting": run.plan_id if run is not None and run.status == "blocked" else None,
            "synced_at": known.synced_at,
            "age_seconds": None if self.age_seconds is None else round(self.age_seconds),
            "records": self.records,
            "last_run": run_document(run) if run else None,
        }


@dataclass(frozen=True, slots=True)
class StatusView:
    sentence: str
    syncs: tuple[SyncStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"sentence": self.sentence, "syncs": [sync.as_dict() for sync in self.syncs]}


def status(world: World, names: Sequence[str] | None = None) -> StatusView:
    """The status of these syncs (all by default): those that need a person first."""
    chosen = names if names is not None else tuple(sorted(world.files.syncs))
    found = [_status_of(world, name, world.sync_file(name)) for name in chosen]
    found.sort(key=lambda one: (not one.needs_you, one.sync))
    return StatusView(_sentence(found), tuple(found))


def run_document(record: RunRecord) -> dict[str, Any]:
    """A run as `runs --json` and `status --json` show it: the run's own document where it has one."""
    known: dict[str, Any] = dict(record.result or {})
    return {
        "run_id": record.run_id,
        "sync": record.sync,
        "purpose": record.purpose,
        "phase": record.phase,
        "status": record.status,
        "plan_id": record.plan_id or None,
        "started_at": record.created_at,
        "finished_at": record.finished_at or None,
        **{name: value for name, value in known.items() if name not in ("run_id", "sync", "status", "plan_id")},
    }


def _status_of(world: World, name: str, file: SyncFile) -> SyncStatus:
    known, rows = Known(), 0
    held: tuple[str, ...] = ()
    try:
        if world.stored is not None:
            known = Known.of(world.stored, name)
            held = undone_runs(world.stored, name)
        rows = world.ledger(name).rows
        found = standings(world, name, file.sync.to, known)
    except LevadaError as error:  # what is damaged of one sync does not hide the others
        damaged = Standing("unreadable", "you", error.message, "levada doctor")
        found = (damaged,)
    return SyncStatus(
        sync=name,
        model=file.sync.model or file.sync.audience or "",
        to=file.sync.to,
        mode=file.sync.mode,
        schedule=schedule_words(file),
        standing=found,
        records=rows,
        known=known,
        held_by=held,
        age_seconds=age_seconds(world, known.synced_at),
    )


def who_words(one: Standing, schedule: str) -> str:
    """Who must act, and the command; or that nobody must, and when it goes on."""
    if one.waits_for_a_run:
        return f"nobody: the next run ({schedule}) goes on"
    return f"{WHO[one.who]}: {one.next_command}" if one.next_command else WHO[one.who]


def schedule_words(file: SyncFile) -> str:
    """A schedule as a phrase: `every 15m`, `cron 0 6 * * 1-5`, `after x`, `when asked`."""
    schedule = file.sync.schedule
    if schedule is None:
        return "when asked"
    if schedule.every:
        return f"every {schedule.every}"
    if schedule.cron:
        return f"cron {schedule.cron}" + (f" ({schedule.timezone})" if schedule.timezone else "")
    return f"after {', '.join(schedule.after or ())}"


def _sentence(found: list[SyncStatus]) -> str:
    if not found:
        return "There are no syncs yet."
    busy = sum(one.state == "busy" for one in found)
    under_way = [plural(busy, "run is under way", "runs are under way")] if busy else []
    needy = sum(one.needs_you for one in found)
    if needy:
        number = NUMBERS[needy] if needy < len(NUMBERS) else f"{needy:,}"
        words = f"{number} {'sync needs' if needy == 1 else 'syncs need'} you"
        return "; ".join([words, *under_way]) + "."
    if all(one.state == "never" for one in found):
        return "No sync has run yet."
    waiting = sum(one.state not in ("well", "never", "busy") for one in found)
    if waiting:
        goes = "goes" if waiting == 1 else "go"
        under_way.append(f"{waiting} of {len(found)} {goes} on with the next run")
    elif not busy and any(one.state == "never" for one in found):
        under_way.append("some syncs have never run")
    return "; ".join(["Nothing needs you", *under_way]) + "." if under_way else "All is well."

"""How each sync stands, in words first: what needs a person, then the rest. Reads the store only, sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from levada.runner.undone import undone_runs
from levada.runner.unremembered import sentence as unremembered
from levada.runner.unremembered import unremembered_rows
from levada.store import RunRecord

if TYPE_CHECKING:
    from levada.project.files import SyncFile
    from levada.runner.project import Project

State = Literal[
    "never", "well", "records", "held", "unremembered", "blocked", "paused", "unfinished", "failed", "cancelled"
]  # fmt: skip
"""`held`: an undo took something back that the model may still say, so that the next run asks first. `unremembered`: it
is in step, but its object has records of earlier runs of which the ledger knows nothing."""
NEEDS_A_PERSON: frozenset[State] = frozenset({"blocked", "failed", "records", "held", "unremembered"})
RUNS_SEARCHED_MAX = 50
"""How far back the latest run is looked for that brought the object to what the model says."""
NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """One sync. `sentence` says how it stands, `next_command` what a person would do about it."""

    sync: str
    model: str
    to: str
    mode: str
    schedule: str
    state: State
    sentence: str
    next_command: str | None
    #: records that the destination has confirmed, those that may be present included
    records: int
    run: RunRecord | None

    @property
    def needs_you(self) -> bool:
        return self.state in NEEDS_A_PERSON or (self.state == "paused" and self.next_command is not None)

    def as_dict(self) -> dict[str, Any]:
        run = self.run
        return {
            "sync": self.sync,
            "model": self.model,
            "to": self.to,
            "mode": self.mode,
            "schedule": self.schedule,
            "state": self.state,
            "needs_you": self.needs_you,
            "sentence": self.sentence,
            "next": self.next_command,
            "records": self.records,
            "last_run": run_document(run) if run else None,
        }


@dataclass(frozen=True, slots=True)
class StatusView:
    sentence: str
    syncs: tuple[SyncStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"sentence": self.sentence, "syncs": [sync.as_dict() for sync in self.syncs]}


def status(project: Project, names: Sequence[str] | None = None) -> StatusView:
    """The status of these syncs (all by default): those that need a person first."""
    chosen = names if names is not None else tuple(sorted(project.files.syncs))
    found = [_status_of(project, name, project.sync_file(name)) for name in chosen]
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


def _status_of(project: Project, name: str, file: SyncFile) -> SyncStatus:
    recent = project.stored.runs(name, RUNS_SEARCHED_MAX) if project.stored is not None else ()
    run = recent[0] if recent else None
    state, sentence, command = _standing(name, run)
    if run is not None and run.purpose in ("undo", "settle") and state in ("well", "records"):
        # what such a run did says nothing of the records that the runs before it left
        before = next((one for one in recent if one.purpose not in ("undo", "settle")), None)
        state, sentence, command = _standing(name, before)
    held = undone_runs(project.stored, name) if project.stored is not None else ()
    if held and state in ("well", "records"):
        left = f"; the last sync {sentence}" if state == "records" else ""
        taken = f"what {' and '.join(held)} took back is held, and the next run asks before it sends it again{left}"
        state, sentence, command = "held", taken, f"levada plan {name}"
    rows = unremembered_rows(project, name)
    if rows is not None and state == "well":
        state, sentence, command = "unremembered", unremembered(name, file.sync.to, rows[0]), f"levada plan {name}"
    return SyncStatus(
        sync=name,
        model=file.sync.model or file.sync.audience or "",
        to=file.sync.to,
        mode=file.sync.mode,
        schedule=schedule_words(file),
        state=state,
        sentence=sentence,
        next_command=command,
        records=project.ledger(name).rows,
        run=run,
    )


def _standing(name: str, run: RunRecord | None) -> tuple[State, str, str | None]:
    if run is None:
        return "never", "never run", f"levada plan {name}"
    result: Mapping[str, Any] = run.result or {}
    match run.status:
        case "succeeded":
            return "well", _delivered(result), None
        case "partial":
            parts = [
                f"{result.get(word, 0):,} {word}"
                for word in ("rejected", "waiting", "invalid", "unknown", "unsent")
                if result.get(word)
            ]
            return "records", f"finished with {' and '.join(parts) or 'some records left'}", f"levada records {name}"
        case "blocked":
            reasons = result.get("guard", {}).get("reasons", [])
            why = reasons[0]["message"] if reasons else "a limit was passed"
            return "blocked", f"stopped by its guard: {why}", f"levada approve {run.plan_id}"
        case "failed":
            why = (result.get("error") or {}).get("message") or result.get("message") or "no reason was stored"
            return "failed", f"failed: {why}", f"levada check {name}"
        case "cancelled":
            return "cancelled", "cancelled", f"levada run {name}"
        case "paused":
            reason = result.get("paused", "operator")
            words = {
                "auth": "the destination refuses its credential",
                "disk": "the disk is full",
                "full": "the destination has no room left",
                "setup": "the destination's file or function must be mended",
                "operator": "stopped by a person",
                "rate": "the destination asks for more time",
                "quota": "the daily quota is used up",
                "outage": "the destination is down",
            }
            needs = f"levada check {name}" if reason in ("auth", "setup") else None
            return "paused", f"paused: {words.get(reason, reason)}; the next run resumes it", needs
        case None:
            return "unfinished", "running, or interrupted; the next run finishes it", None


def _delivered(result: Mapping[str, Any]) -> str:
    delivered = sum((result.get("delivered") or {}).values())
    return (
        f"in step; the last run delivered {delivered:,}" if delivered else "in step; the last run had nothing to send"
    )


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
    needy = sum(one.needs_you for one in found)
    if needy:
        number = NUMBERS[needy] if needy < len(NUMBERS) else f"{needy:,}"
        return f"{number} sync{'' if needy == 1 else 's'} need{'s' if needy == 1 else ''} you."
    if all(one.state == "never" for one in found):
        return "No sync has run yet."
    waiting = sum(one.state in ("paused", "unfinished") for one in found)
    if waiting:
        return f"Nothing needs you; {waiting} of {len(found)} wait to be resumed."
    return "All is well."

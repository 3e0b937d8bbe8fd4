"""What stands between a sync and being in step, and who must act on each: read from the store, in words.

A sync is more than its last run: what earlier runs left refused or invalid stays so after an undo, a pause, or a start
that came to nothing. Each fact is told once, the most pressing first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from levada.run import PauseReason
from levada.runner.approval import standing_approval
from levada.runner.attempt import last_attempt
from levada.runner.doubt import is_doubted
from levada.runner.undone import undone_runs
from levada.runner.unremembered import sentence as unremembered
from levada.runner.unremembered import unremembered_rows
from levada.store import RunRecord, Store
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.world import World

Who = Literal["nobody", "you", "destination", "model"]
WHO: Mapping[Who, str] = {
    "nobody": "nobody: it goes on by itself",
    "you": "you",
    "destination": "the owner of the destination",
    "model": "the owner of the model",
}
State = Literal[
    "never", "well", "busy", "failed", "blocked", "paused", "held", "unfinished", "cancelled", "records", "doubt",
    "unremembered", "unreadable",
]  # fmt: skip
"""`held`: an undo took something back that the model may still say, so that the next run asks first. `doubt`: what may
have been sent is not known. `unremembered`: the object has records of earlier runs of which the ledger knows nothing.
`unreadable`: the state of this sync is damaged."""
STATES: Mapping[State, str] = {
    "never": "it has not run yet",
    "well": "in step with its model, as of the last run",
    "busy": "a process runs it now",
    "failed": "the last start failed; nothing was sent by it",
    "blocked": "a plan waits for approval",
    "paused": "something cannot be done for now; the next run goes on",
    "held": "an undo holds it: the next run asks before it sends again what was taken back",
    "unfinished": "a run was interrupted; the next run finishes it",
    "cancelled": "the last run was stopped before it sent anything",
    "records": "some records were refused, are invalid, or have no known end",
    "doubt": "more may have been sent than is known; the next run compares again",
    "unremembered": "the object holds records of earlier runs that nobody remembers",
    "unreadable": "its part of the state is damaged",
}
LEFT = ("rejected", "waiting", "invalid", "unknown", "unsent", "possibly_duplicated", "possibly_missing", "suppressed")
ASIDE = ("undo", "settle")
"""Purposes of runs that say nothing of the records which the runs before them left."""
PAUSES: Mapping[PauseReason, tuple[Who, str]] = {
    "auth": ("you", "the destination refuses its credential"),
    "disk": ("you", "the disk is full"),
    "full": ("destination", "the destination has no room left"),
    "setup": ("you", "the destination's file or function must be mended"),
    "operator": ("nobody", "it was stopped by a person"),
    "rate": ("nobody", "the destination asks for more time"),
    "quota": ("nobody", "the daily quota is used up"),
    "outage": ("nobody", "something cannot be reached"),
}
RUNS_SEARCHED = (50, 2_000)
"""How far back the latest run is looked for that was committed: first a little, then far."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One fact. `next_command`: what whoever must act would type first."""

    state: State
    who: Who
    sentence: str
    next_command: str | None = None

    @property
    def waits_for_a_run(self) -> bool:
        """Does the next run put it right, without anybody?"""
        return self.who == "nobody" and self.state not in ("well", "busy")

    def as_dict(self, schedule: str) -> dict[str, Any]:
        return {
            "state": self.state,
            "who": self.who,
            "sentence": self.sentence,
            "next": self.next_command,
            "when": f"with the next run ({schedule})" if self.waits_for_a_run else None,
        }


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of a sync's runs. `committed`: the latest one that brought the object to the model."""

    newest: RunRecord | None = None
    committed: RunRecord | None = None
    open: RunRecord | None = None
    left: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(store: Store, name: str) -> Known:
        runs: Sequence[RunRecord] = ()
        committed = None
        for limit in RUNS_SEARCHED:
            runs = store.runs.newest(name, limit)
            committed = next((run for run in runs if _brought(run)), None)
            if committed is not None or len(runs) < limit:
                break
        left = {word: int((committed.result or {}).get(word) or 0) for word in LEFT} if committed else {}
        for run in runs:
            if run is committed or not left:
                break
            if run.purpose == "undo" and run.status in ("succeeded", "partial"):
                left["unknown"] += int((run.result or {}).get("unknown") or 0)
        return Known(runs[0] if runs else None, committed, store.runs.open_run(name), left)

    @property
    def synced_at(self) -> str | None:
        return self.committed.finished_at or None if self.committed is not None else None


def _brought(run: RunRecord) -> bool:
    return run.purpose not in ASIDE and run.status in ("succeeded", "partial")


def standings(world: World, name: str, to: str, known: Known) -> tuple[Standing, ...]:
    """Everything that can be said, the most pressing first; a sync that is in step has one entry, `well`."""
    store = world.stored
    if store is None:
        return (Standing("never", "you", "never run", f"levada plan {name}"),)
    running = _running(store, name)
    latest = _latest(world, name, known)
    if running:  # what is open is what runs
        latest = [one for one in latest if one.state not in ("unfinished", "paused")]
    found = [
        *running,
        *_attempt(world, name, known),
        *latest,
        *([] if _asks_for_undo(known) else _held(store, name)),
        *_records(name, known),
        *_doubt(world, store, name),
        *_unremembered(world, name, to),
    ]
    if found:
        return tuple(found)
    if known.committed is None:
        return (Standing("never", "you", "never run", f"levada plan {name}"),)
    return (Standing("well", "nobody", _in_step(world, known)),)


def _running(store: Store, name: str) -> list[Standing]:
    holder = store.leases.holder(name)
    return [Standing("busy", "nobody", f"{holder} runs it now")] if holder is not None else []


def _attempt(world: World, name: str, known: Known) -> list[Standing]:
    attempt = last_attempt(world, name)
    if attempt is None:
        return []
    ago = f"the last start, {age_words(world, attempt['at'])}, "
    if attempt["exit_code"] == 5:
        return [Standing("paused", "nobody", f"{ago}came to nothing: {attempt['message']}")]
    if attempt["code"] == "bug":
        mend = f"levada run {name} --discard-plan" if known.open is not None else f"levada run {name} --debug"
        return [Standing("failed", "you", f"{ago}met a bug in Levada: {attempt['message']}", mend)]
    sentence = f"{ago}failed: {attempt['message']}"
    return [Standing("failed", _who_of(attempt["code"]), sentence, f"levada check {name}")]


def _who_of(code: str) -> Who:
    """Who mends an error, by its code."""
    if code.startswith("source.") and code not in ("source.url", "source.driver", "source.missing"):
        return "model"
    mine = ("destination.auth", "destination.setup", "destination.url")
    return "destination" if code.startswith("destination.") and code not in mine else "you"


def _latest(world: World, name: str, known: Known) -> list[Standing]:
    """How the newest run ended, where it did not simply finish."""
    run = known.newest
    if known.open is not None and (run is None or run.status is None or run.run_id == known.open.run_id):
        return _open(name, known.open)
    if run is None:
        return []
    result: Mapping[str, Any] = run.result or {}
    error = result.get("error") or {}
    match run.status:
        case "blocked":
            return [_blocked(world, name, run, result)]
        case "failed" if last_attempt(world, name) is None:
            why = error.get("message") or result.get("message") or "no reason was stored"
            ago = age_words(world, run.finished_at)
            who = _who_of(str(error.get("code", ""))) if error else "nobody"
            return [Standing("failed", who, f"failed {ago}: {why}", f"levada check {name}" if error else None)]
        case "paused":
            why = error.get("message") or PAUSES["outage"][1]
            return [Standing("paused", PAUSES[result.get("paused", "outage")][0], f"paused: {why}; nothing was sent")]
        case "cancelled":
            return [Standing("cancelled", "nobody", f"the last run was cancelled {age_words(world, run.finished_at)}")]
        case None:
            return [Standing("unfinished", "nobody", "interrupted while its model was read; nothing was sent")]
        case _:
            return []


def _open(name: str, run: RunRecord) -> list[Standing]:
    result: Mapping[str, Any] = run.result or {}
    if run.status != "paused":
        return [Standing("unfinished", "nobody", f"{run.run_id} was interrupted, and is finished first")]
    reason: PauseReason = result.get("paused", "operator")
    who, why = PAUSES[reason]
    delivered = sum((result.get("delivered") or {}).values())
    so_far = f"; {delivered:,} delivered so far" if delivered else ""
    needs = f"levada check {name}" if reason in ("auth", "setup") else f"levada run {name}" if who != "nobody" else None
    return [Standing("paused", who, f"paused: {why}{so_far}; the next run resumes {run.run_id}", needs)]


def _blocked(world: World, name: str, run: RunRecord, result: Mapping[str, Any]) -> Standing:
    reasons = (result.get("guard") or {}).get("reasons") or []
    why = "; ".join(reason["message"] for reason in reasons) or "a limit was passed"
    if standing_approval(world, run.plan_id) is not None:
        return Standing("blocked", "nobody", f"{run.plan_id} was stopped by its guard, and is approved: {why}")
    plan = f"{run.plan_id} was stopped by its guard and waits for an approval: {why}"
    return Standing("blocked", "you", plan, f"levada approve {run.plan_id}")


def _asks_for_undo(known: Known) -> bool:
    """Does a plan wait that was stopped since it sends again what an undo took back? Then it says so itself."""
    run = known.newest
    guard: Mapping[str, Any] = (run.result or {}).get("guard") or {} if run is not None else {}
    blocked = run is not None and run.status == "blocked" and known.open is None
    return blocked and any(reason["rule"] == "undone" for reason in guard.get("reasons") or [])


def _held(store: Store, name: str) -> list[Standing]:
    held = undone_runs(store, name)
    if not held:
        return []
    taken = f"what {' and '.join(held)} took back is held, and the next run asks before it sends it again"
    return [Standing("held", "you", taken, f"levada plan {name}")]


def _records(name: str, known: Known) -> list[Standing]:
    left, found = known.left, []
    list_command = f"levada records {name} --outcome"
    refused = [f"{left[word]:,} {word}" for word in ("rejected", "waiting") if left.get(word)]
    if refused:
        word = "rejected" if left["rejected"] else "waiting"
        what = f"finished with {' and '.join(refused)}: the destination refuses them"
        found.append(Standing("records", "destination", what, f"{list_command} {word}"))
    if left.get("invalid"):
        rows = plural(left["invalid"], "row")
        what = f"finished with {left['invalid']:,} invalid: {rows} of the model cannot be sent"
        found.append(Standing("records", "model", what, f"{list_command} invalid"))
    if left.get("possibly_missing") or left.get("possibly_duplicated"):
        parts = [f"{left[w]:,} {w.replace('_', ' ')}" for w in ("possibly_missing", "possibly_duplicated") if left[w]]
        what = f"finished with {' and '.join(parts)}, since answers were lost: only the destination shows which"
        found.append(Standing("records", "destination", what, f"{list_command} unknown"))
    elif left.get("unknown"):
        what = f"finished with {left['unknown']:,} unknown: sent, and no answer that tells; asked or sent again"
        found.append(Standing("records", "nobody", what, f"{list_command} unknown"))
    if left.get("unsent"):
        found.append(Standing("records", "nobody", f"finished with {left['unsent']:,} unsent"))
    return found


def _doubt(world: World, store: Store, name: str) -> list[Standing]:
    if not (is_doubted(store.memory, name) or world.ledger(name).distrusted):
        return []
    what = "more may have been sent than is known: a plan or a state was dropped; the next run compares everything"
    return [Standing("doubt", "nobody", what)]


def _unremembered(world: World, name: str, to: str) -> list[Standing]:
    rows = unremembered_rows(world, name)
    if rows is None:
        return []
    return [Standing("unremembered", "you", unremembered(name, to, rows[0]), f"levada plan {name}")]


def _in_step(world: World, known: Known) -> str:
    assert known.committed is not None
    result: Mapping[str, Any] = known.committed.result or {}
    delivered = sum((result.get("delivered") or {}).values())
    did = f"delivered {delivered:,}" if delivered else "had nothing to send"
    aside = known.left.get("suppressed")
    left = f"; {aside:,} suppressed by the mode or a policy" if aside else ""
    return f"in step; the last run, {age_words(world, known.committed.finished_at)}, {did}{left}"


def age_seconds(world: World, moment: str | None) -> float | None:
    """How long ago, by this machine's clock; None where it is not known."""
    if not moment:
        return None
    return max(0.0, (world.clock.now() - datetime.fromisoformat(moment)).total_seconds())


def age_words(world: World, moment: str | None) -> str:
    """`just now`, `5 minutes ago`, `3 hours ago`, `2 days ago`."""
    seconds = age_seconds(world, moment)
    if seconds is None:
        return "some time ago"
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{plural(int(seconds // size), unit)} ago"
    return "just now"

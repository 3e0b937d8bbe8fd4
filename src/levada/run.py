"""A run: one execution of a sync, from its trigger to its commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from levada.change import Counts, Kind
from levada.errors import LevadaError
from levada.guard import GuardDecision
from levada.outcome import Effect

Status = Literal["succeeded", "partial", "blocked", "paused", "failed", "cancelled"]
Phase = Literal["reading", "planned", "delivering", "settling", "paused", "closed"]
"""Where a run is. Every phase from `planned` to `paused` is *open*: the next start of the sync resumes it."""

OPEN_PHASES: tuple[Phase, ...] = ("planned", "delivering", "settling", "paused")
PauseReason = Literal["rate", "quota", "outage", "auth", "disk", "full", "setup", "operator"]
"""`disk`: ours is full. `full`: the destination's is. `setup`: the destination's file or function must be mended."""

EXIT_CODES: Mapping[Status, int] = {
    "succeeded": 0,
    "failed": 1,
    "cancelled": 1,
    "partial": 3,
    "blocked": 4,
    "paused": 5,
}


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the operations of a run so far."""

    delivered: Mapping[Kind, int] = field(default_factory=dict)
    rejected: int = 0
    #: refused by an earlier run, and not asked in this one
    waiting: int = 0
    suppressed: int = 0
    unknown: int = 0
    unsent: int = 0
    requests: int = 0
    #: what the delivered requests changed at the destination, as far as it told
    effects: Mapping[Effect, int] = field(default_factory=dict)
    #: of the records that were added: how many were there before
    taken_over: int = 0
    #: class D, at_least_once: sent again after a lost answer, and so perhaps there twice; delivered or unknown
    possibly_duplicated: int = 0
    #: class D, at_most_once: not sent again after a lost answer, and so perhaps not there; unknown
    possibly_missing: int = 0

    @property
    def delivered_total(self) -> int:
        return sum(self.delivered.values())

    @property
    def operations(self) -> int:
        """For the conservation law: equal to the plan's operations when a run is committed."""
        refused = self.rejected + self.waiting
        return self.delivered_total + refused + self.suppressed + self.unknown + self.unsent


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait of a run before it could send what was left. `option`: the destination's option that says how long."""

    reason: Literal["hold"]
    seconds: float
    message: str
    records: int = 0
    option: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "records": self.records,
            "option": self.option,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did: the same figures on the command line, in the API and in Python."""

    sync: str
    run_id: str
    status: Status
    counts: Counts
    tally: Tally
    plan_id: str
    started_at: str
    finished_at: str
    seconds: float
    guard: GuardDecision = GuardDecision()
    pause: PauseReason | None = None
    message: str = ""
    error: LevadaError | None = None
    notices: tuple[str, ...] = ()
    #: the run that an earlier process had left open and that was finished first
    resumed: tuple[RunResult, ...] = ()
    #: how long it had to wait, and why
    waited: tuple[Wait, ...] = ()

    @property
    def exit_code(self) -> int:
        if self.status == "failed" and self.error is not None:
            return self.error.exit_code
        return EXIT_CODES[self.status]

    def as_dict(self) -> dict[str, Any]:
        """The document of `run --json`."""
        delivered: dict[str, int] = {
            kind: self.tally.delivered.get(kind, 0) for kind in ("added", "changed", "removed")
        }
        found: dict[str, Any] = {
            "sync": self.sync,
            "run_id": self.run_id,
            "status": self.status,
            "counts": self.counts.as_dict(),
            "delivered": delivered,
            "effects": {effect: count for effect, count in self.tally.effects.items() if effect != "untold"},
            "taken_over": self.tally.taken_over,
            "rejected": self.tally.rejected,
            "waiting": self.tally.waiting,
            "invalid": self.counts.invalid,
            "suppressed": self.tally.suppressed,
            "unknown": self.tally.unknown,
            "unsent": self.tally.unsent,
            "possibly_duplicated": self.tally.possibly_duplicated,
            "possibly_missing": self.tally.possibly_missing,
            "requests": self.tally.requests,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "seconds": round(self.seconds, 3),
            "plan_id": self.plan_id,
            "guard": self.guard.as_dict(),
        }
        if self.pause:
            found["paused"] = self.pause
        if self.message:
            found["message"] = self.message
        if self.error:
            found["error"] = self.error.as_dict()
        if self.waited:
            found["waited"] = [wait.as_dict() for wait in self.waited]
        if self.notices:
            found["notices"] = list(self.notices)
        if self.resumed:
            found["resumed"] = [result.as_dict() for result in self.resumed]
        return found

    def with_resumed(self, earlier: RunResult) -> RunResult:
        return replace(self, resumed=(earlier, *self.resumed))

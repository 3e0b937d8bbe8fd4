"""What a run tells while it runs: a noun and a verb each. Frozen values; who listens decides what to do.

An event carries counts and names, never values of rows and never secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from levada.change import Counts


@dataclass(frozen=True, slots=True)
class RunStarted:
    sync: str
    run_id: str
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class ModelRead:
    sync: str
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PlanMade:
    sync: str
    plan_id: str
    counts: Counts
    seconds: float


@dataclass(frozen=True, slots=True)
class BatchSettled:
    """One more batch is done. The figures are of the whole run so far."""

    sync: str
    run_id: str
    done: int
    total: int
    delivered: int
    rejected: int
    unknown: int
    requests: int


@dataclass(frozen=True, slots=True)
class DeliveryWaiting:
    """Nothing is sent for a while. `reason`: rate, retry, outage, auth, hold or quota.

    `records`: how many wait, where it is not all that is left. `option`: the destination's option that says how long.
    """

    sync: str
    reason: str
    seconds: float
    message: str = ""
    records: int = 0
    option: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know that stops nothing: a fallback taken, a column ignored."""

    sync: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    sync: str
    run_id: str
    status: str


Event = RunStarted | ModelRead | PlanMade | BatchSettled | DeliveryWaiting | Notice | RunFinished
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener for whoever does not listen."""

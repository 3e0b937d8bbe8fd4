"""What delivery is asked to do with a plan, and what it answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from levada.change import Kind, Verb
from levada.delivery.waiting import NOTHING, Waiting
from levada.mapping import Mapping as FieldMappings
from levada.plan import Plan
from levada.planner import Settled
from levada.run import PauseReason, Tally, Wait
from levada.sync import Mode, Removal


@dataclass(frozen=True, slots=True)
class DeliveryOrder:
    """One plan, to be sent. `folder` holds the plan's files; `verbs` says what each kind becomes."""

    sync: str
    run_id: str
    plan: Plan
    folder: Path
    mapping: FieldMappings
    object: str
    verbs: Mapping[Kind, Verb]
    mode: Mode
    removal: Removal
    #: for class D: what to do when an answer is lost
    repeats: Literal["at_least_once", "at_most_once"] = "at_least_once"
    #: may records be removed later that were there before?
    adopt: bool = True
    #: what is left out of this run
    waiting: Waiting = NOTHING
    #: was anything sent for the sync that the ledger cannot know of (a state that was put back, a dropped plan)?
    in_doubt: bool = False
    #: was it ever in doubt? Then class C looks up what it makes: a row that was away meanwhile may come back
    looks_first: bool = False


def owner_of(store: str, object_name: str) -> str:
    """Whose marks those of a plan are, by the store's identity and the object (`WriteOrder.owner`)."""
    return hashlib.sha256(f"{store}\n{object_name}".encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """How far it got. `pause` is None when every operation has its end; then `settled` says how each ended.

    `message` explains a pause in one line, redacted.
    """

    tally: Tally
    settled: Settled | None
    pause: PauseReason | None = None
    message: str = ""
    #: True while no operation may have been applied: the run can be dropped without a trace
    untouched: bool = False
    #: what a person should know of how it went, and that stops nothing
    notices: tuple[str, ...] = ()
    #: how long it had to wait, and why
    waited: tuple[Wait, ...] = ()

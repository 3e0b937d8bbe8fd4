"""How one delivery goes: what its lanes know together, and what is the same for all batches of a kind."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from levada.change import Kind, Verb
from levada.delivery.held import Held
from levada.limits import Limits
from levada.outcome import Outcomes
from levada.run import PauseReason
from levada.template import Node


@dataclass(frozen=True, slots=True)
class Phase:
    """What is the same for all batches of a kind."""

    kind: Kind
    verb: Verb
    node: Node | None
    limits: Limits
    idempotent: bool
    keyed: bool
    #: changes of records that may be created again once the tool says that they are gone
    recreates: bool


@dataclass(slots=True)
class Course:
    """Batches whose end is open, by number, and whether to stop, and why.

    `left_over`: batches below this number were begun by an earlier process. `doubtful`: sent, and not answered for.
    `kept`: what an earlier process settled of a batch that it left open. `stamps`: the key of class B with the moment
    at which it was first sent, until the batch has ended.
    """

    halt: threading.Event
    left_over: int
    doubtful: set[int]
    stamps: dict[int, str]
    kept: dict[int, Outcomes] = field(default_factory=dict)
    pause: PauseReason | None = None
    message: str = ""
    #: operations that are not sent before a wait is over; `put_off`: are there any whose batch was taken up?
    held: Held = field(default_factory=Held)
    put_off: bool = False
    #: what answers say that a person should know, each once, in the order in which it was said
    notices: dict[str, None] = field(default_factory=dict)

    @property
    def halted(self) -> bool:
        """Is nothing more to be sent? `halt` may have been set from any thread."""
        if self.halt.is_set():
            self.stop("operator", "stopped")
        return self.pause is not None

    def stop(self, reason: PauseReason, message: str) -> None:
        """Send nothing more; the first reason stays."""
        if self.pause is None:
            self.pause = reason
            self.message = message

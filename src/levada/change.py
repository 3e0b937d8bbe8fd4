"""What can happen to a row between two plans, in the words that plans, runs and pages use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Kind = Literal["added", "changed", "removed"]
KINDS: tuple[Kind, ...] = ("removed", "changed", "added")
"""In sending order: what leaves makes room for what comes."""

Verb = Literal["create", "update", "upsert", "delete", "archive", "add", "remove", "append"]
"""What a destination is asked to do with a record."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows of the model (or, for `removed` and `left`, of the ledger) met which fate in a plan.

    `left`: rows that left the model but whose policy says to leave the destination alone.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    invalid: int = 0
    left: int = 0

    @property
    def operations(self) -> int:
        return self.added + self.changed + self.removed

    def of(self, kind: Kind) -> int:
        return {"added": self.added, "changed": self.changed, "removed": self.removed}[kind]

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

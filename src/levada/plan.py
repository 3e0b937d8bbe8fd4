"""A plan: what a run will send, as frozen data on disk.

A plan's folder holds one Parquet file per kind that occurs, `plan.json`, and `invalid.parquet` if rows of
the model cannot be sent. The columns of the operation files:

    removed.parquet   key.*  before.*                                operation  identifier
    changed.parquet   key.*  before.*  after.*  input.*  hash  state  operation  identifier
    added.parquet     key.*            after.*  input.*  hash         operation

`key.<column>` has the model's type, `before.<field>` and `after.<field>` the destination's. `input.<field>`
exists for fields whose value SQL cannot compute: it is what was compared. `hash` covers all that is
compared. `state` is the ledger's: `confirmed` or `unknown`. `operation` is the id of an earlier attempt
whose end is unknown, else NULL; for a removal, of the last one at this key: a create or (`planner.REMOVAL`) a
removal. `identifier` is the destination's own id, where known. Where a field was taken out
of the mapping or put back, all three may have `lapsed`, the names of fields that the record may hold unmapped, and
changed.parquet `returned`, those that are sent again and whose `before` is not known.

An operation's `sequence` counts from 0 over removed, changed, added, in file order: `first(kind)` says
where each kind begins. The columns of `invalid.parquet`, and of `left.parquet`, which lists what an undo leaves alone:
key.*, field, code, reason.

A planner may keep more beside them for its own folding (the local one: `recipe.json`, `refreshed.parquet`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from levada.change import KINDS, Counts, Kind
from levada.durable import read_document, write_document
from levada.errors import CorruptedError
from levada.guard import GuardDecision, GuardReason

Purpose = Literal["sync", "resync", "undo", "repair", "erase", "settle"]
"""`settle`: asks again for what was never answered, before a plan is made (destinations of class B)."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class PlanFile:
    """One file of a plan or a ledger: its name inside the folder, rows, bytes and XXH3-128 digest."""

    name: str
    rows: int
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, and from which state of the ledger.

    `plan_id` is `<sync>@<12 hex digits>` and depends on nothing but the content: the ledger's generation,
    the mapping, and every operation with its values. The same model against the same ledger makes the
    same id again, so an approval of one plan can never cover another.
    """

    sync: str
    plan_id: str
    purpose: Purpose
    generation: int
    mapping_version: str
    hash_version: str
    keys: tuple[str, ...]
    fields: tuple[str, ...]
    match: tuple[str, ...]
    counts: Counts
    model_rows: int
    files: Mapping[Kind, PlanFile]
    invalid: PlanFile | None = None
    left: PlanFile | None = None
    fields_changed: Mapping[str, int] = field(default_factory=dict)
    nulls: Mapping[str, float] = field(default_factory=dict)
    guard: GuardDecision = GuardDecision()
    notices: tuple[str, ...] = ()
    created_at: str = ""
    #: of an undo: the run that it takes back
    undoes: str = ""

    def first(self, kind: Kind) -> int:
        """The sequence of the first operation of a kind."""
        start = 0
        for earlier in KINDS:
            if earlier == kind:
                return start
            start += self.counts.of(earlier)
        raise AssertionError(kind)

    def kind_of(self, sequence: int) -> Kind:
        for kind in reversed(KINDS):
            if sequence >= self.first(kind) and self.counts.of(kind):
                return kind
        raise AssertionError(sequence)

    def as_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["guard"] = self.guard.as_dict()
        data["format"] = FORMAT
        return data

    def write(self, folder: Path) -> None:
        """Write `plan.json` beside the operation files, durably. The plan exists from this moment on."""
        write_document(folder / "plan.json", self.as_dict())

    @staticmethod
    def read(folder: Path, plan_id: str | None = None) -> Plan:
        """The plan in a folder. Raises CorruptedError if it is missing, not what `write` wrote, or not `plan_id`."""
        path = folder / "plan.json"
        try:
            data = read_document(path)
            if data.pop("format") != FORMAT:
                raise ValueError("another format")
            if plan_id not in (None, data["plan_id"]):
                raise ValueError(f"it is {data['plan_id']} instead of {plan_id}")
            guard = data.pop("guard")
            reasons = tuple(GuardReason(**{**r, "keys": tuple(r["keys"])}) for r in guard["reasons"])
            return Plan(
                **{
                    **data,
                    "keys": tuple(data["keys"]),
                    "fields": tuple(data["fields"]),
                    "match": tuple(data["match"]),
                    "notices": tuple(data["notices"]),
                    "counts": Counts(**data["counts"]),
                    "files": {kind: PlanFile(**file) for kind, file in data["files"].items()},
                    "invalid": PlanFile(**data["invalid"]) if data["invalid"] else None,
                    "left": PlanFile(**data["left"]) if data.get("left") else None,
                    "guard": GuardDecision(guard["blocked"], reasons),
                }
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptedError(
                f"the plan {path} cannot be read: {error}",
                code="store.plan_corrupted",
                hint="nothing of it can be sent; `levada run --discard-plan` drops it and plans anew",
            ) from error

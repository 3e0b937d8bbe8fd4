"""The contract of a planner: it compares a model with a ledger and folds what was confirmed back into it.

A planner never sends anything and never decides whether a plan may run. Planning changes nothing but the
plan's own folder; folding writes new files beside the old ones and changes none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa

from levada import events
from levada.change import Kind
from levada.mapping import Mapping
from levada.model import Model
from levada.plan import Plan, PlanFile, Purpose
from levada.source import Column, Source


@dataclass(frozen=True, slots=True)
class Segment:
    """One immutable file of a ledger; a later segment overrides an earlier one, key by key.

    `kind` "upsert": columns key.*, after.*, input.*, hash, and where needed state, operation, identifier, created
    (did this sync make the record, as the destination told?) and lapsed: the names of fields that the record may hold
    though the ledger has no value of them (left out of the mapping).
    `kind` "remove": columns key.*; those keys are no longer held.
    `mapping_version` and `hash_version` say whether `hash` may be compared as it stands; if not, the
    planner computes it again from the values.
    """

    file: PlanFile
    kind: Literal["upsert", "remove"]
    mapping_version: str
    hash_version: str
    #: every record of the segment was made by this sync; else the column `created`, if there is one, says which
    created: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a destination has confirmed for one sync, as of `generation`. The only thing a plan is compared with.

    `rows`: keys held, those that may be present included. `nulls`: share of NULLs from 0 to 1 by field.
    `folder` holds the segments' files. With `distrusted`, every value counts as unknown (resync).
    """

    sync: str
    folder: Path
    generation: int = 0
    segments: tuple[Segment, ...] = ()
    rows: int = 0
    nulls: MappingOf[str, float] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    distrusted: bool = False

    @property
    def exists(self) -> bool:
        """Was anything ever committed? (An empty ledger may exist.)"""
        return self.generation > 0


@dataclass(frozen=True, slots=True)
class KindPolicy:
    """Which kinds of operations a mode plans. `left` rows (removed, not planned) stay in the ledger."""

    added: bool = True
    changed: bool = True
    removed: bool = False
    #: every run sends the whole model and forgets nothing: mode replace
    everything: bool = False
    #: may records be removed that were there before this sync wrote them, or of which that is not known?
    adopt: bool = True


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """All that a plan depends on. `folder` is empty and belongs to this plan."""

    sync: str
    model: Model
    source: Source
    mapping: Mapping
    policy: KindPolicy
    ledger: Ledger
    folder: Path
    purpose: Purpose = "sync"
    listener: events.Listener = events.ignore


REMOVAL = "removed"
"""What stands in the place of an operation's id where it is a removal whose end is unknown."""

Settlement = Literal["delivered", "rejected", "suppressed", "unsent", "unknown", "gone"]
"""How an operation ended, as folding needs it. `unknown`: it may or may not have been applied. `gone`: a change that
met no record."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How every operation of a plan ended: `common`, but for the table `exceptions`.

    `exceptions` has the columns sequence (int64), settlement (text) and operation (text: the id under which an
    unknown operation was sent, and where it expires an `@` and the moment of the first sending); `identifiers` has
    sequence and identifier (text), for delivered ones. `effects` has first and stop (int64) and effect (text): ranges
    of operations, in order and disjoint, of which the destination told the effect. `kept` are Parquet files with what
    stood in records before, where that was not what the plan believed (see `levada.destination.Keep`). With `keeps`, a
    record whose effect is told and that has no row there held what the plan believed.
    """

    common: Settlement
    exceptions: pa.Table | None = None
    identifiers: pa.Table | None = None
    effects: pa.Table | None = None
    kept: tuple[Path, ...] = ()
    #: a Parquet file with the keys, as text (k0…), that later runs wrote
    touched: Path | None = None
    keeps: bool = False


class Planner(Protocol):
    """Compares a model with a ledger. Which planner a sync has is chosen once, when it is resolved; a ledger and the
    plans that were made of it belong to the planner that wrote them."""

    def types(self, mapping: Mapping, columns: Sequence[Column]) -> pa.Schema:
        """The fields of a mapping as they would arrive, as Arrow types, told from the model's columns alone.

        What Arrow has no type for is marked by `levada.source.TYPE_KEY`: a number of unlimited size `numeric_text`, a
        JSON document `json`, a UUID `uuid`. Reads nothing. Raises ConfigError for what no row could satisfy: unknown
        columns, unfit types.
        """
        ...

    def plan(self, request: PlanRequest) -> Plan:
        """Read the model, compare, and write the plan's files into `request.folder`, `plan.json` last.

        The guard is not judged here; the plan carries the figures it needs. Raises SourceError if the
        model cannot be read in full, ConfigError for a mapping that the model cannot satisfy,
        CorruptedError for a segment that is not what was written.
        """
        ...

    def preview(self, request: PlanRequest, rows: int) -> pa.Table:
        """The first rows of the model as they would arrive: key.*, after.*; changes nothing."""
        ...

    def fold(self, plan: Plan, plan_folder: Path, ledger: Ledger, settled: Settled) -> Ledger:
        """The next ledger. delivered: the new value; rejected, suppressed, unsent: as before; unknown: as
        sent, but never equal to anything (an added one *may be present*: a removal is planned for it, and its
        `operation` id is kept; a removed one may be gone, and has REMOVAL for an id); gone: no longer held, so that
        the next plan adds it.

        Of a plan with purpose "settle" only what was delivered moves the ledger; all else stays as it was.
        """
        ...

    def unanswered(
        self, ledger: Ledger, folder: Path, match: tuple[str, ...], wanted: Callable[[str], bool], start: int = 0
    ) -> tuple[Plan, int] | None:
        """A plan, with purpose "settle", that asks again for what the ledger does not know the end of: the same
        operations with the values they had. None if there are none.

        `wanted` chooses by the `operation` kept in the ledger. One plan covers the rows of one segment, since others
        may have other fields; with it comes the `start` for the next one. Written into `folder`, which is empty.
        The model is not read.
        """
        ...

    def confirmed(self, request: PlanRequest) -> Ledger:
        """The next ledger if the model were already at the destination (first_run: skip, mark-synced)."""
        ...

    def reverse(self, plan: Plan, plan_folder: Path, settled: Settled, request: PlanRequest) -> Plan:
        """The plan that takes back what was delivered of `plan`, compared with the ledger as it is now.

        What `settled.effects` says was created is removed; what was there before gets the values back that stood in
        it (`settled.kept`, or what the ledger had confirmed); what was removed is added again. What a later run
        touched, or what is not known well enough, is left alone and listed in `plan.left`. Written into
        `request.folder`; `request.mapping` is the plan's own.
        """
        ...


def sample_kinds(plan: Plan, size: int) -> Sequence[tuple[Kind, int]]:
    """How many operations of each kind a sample of `size` shows: evenly, what one lacks goes to the others."""
    kinds: list[Kind] = [kind for kind in ("added", "changed", "removed") if plan.counts.of(kind)]
    shares: list[tuple[Kind, int]] = []
    left = size
    for index, kind in enumerate(sorted(kinds, key=plan.counts.of)):
        share = min(plan.counts.of(kind), left // (len(kinds) - index))
        shares.append((kind, share))
        left -= share
    return sorted(shares, key=lambda pair: ("added", "changed", "removed").index(pair[0]))

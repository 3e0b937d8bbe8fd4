"""What the contract of planners is tried with: a source of Arrow tables, a bench that plans and folds, and short
ways to write models, mappings and outcomes. The checks themselves are in `contracts.planners`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from levada.errors import SourceError
from levada.mapping import FieldMapping, FieldType
from levada.mapping import Mapping as FieldMappings
from levada.model import Model
from levada.outcome import Effect
from levada.plan import Plan
from levada.planner import KindPolicy, Ledger, Planner, PlanRequest, Settled
from levada.source import Attachment, Column, SourceAbilities

MIRROR = KindPolicy(removed=True)
BATCH_ROWS = 7

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ArrowSource:
    """A source of one Arrow table, whatever the query. `breaks_after` rows the read fails."""

    table: pa.Table
    breaks_after: int | None = None
    name: str = "arrow"
    abilities: SourceAbilities = SourceAbilities("duckdb")

    def check(self) -> None: ...

    def tables(self) -> tuple[str, ...]:
        return ("rows",)

    def columns(self, query: str) -> tuple[Column, ...]:
        return tuple(Column(each.name, each.type) for each in self.table.schema)

    def read(self, query: str) -> AbstractContextManager[Iterator[pa.RecordBatch]]:
        return self._read()

    @contextmanager
    def _read(self) -> Iterator[Iterator[pa.RecordBatch]]:
        yield self._batches()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        sent = 0
        for batch in self.table.to_batches(max_chunksize=BATCH_ROWS):
            if self.breaks_after is not None and sent >= self.breaks_after:
                raise SourceError("the connection broke", code="source.read")
            yield batch
            sent += batch.num_rows

    def attachment(self, query: str | None = None) -> Attachment | None:
        return None

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class PlannerBench:
    """A planner and a folder; `ledger` goes forward with every fold."""

    planner: Planner
    folder: Path
    ledger: Ledger = field(init=False)
    plans: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger("bench", self.folder / "ledger")

    def request(
        self,
        table: pa.Table,
        mapping: FieldMappings,
        policy: KindPolicy = MIRROR,
        key: Sequence[str] = ("id",),
        *,
        breaks_after: int | None = None,
    ) -> PlanRequest:
        self.plans += 1
        model = Model(source="arrow", key=tuple(key), query="SELECT * FROM rows")
        folder = self.folder / f"plan-{self.plans}"
        return PlanRequest("bench", model, ArrowSource(table, breaks_after), mapping, policy, self.ledger, folder)

    def plan(self, table: pa.Table, mapping: FieldMappings, **given: Any) -> Planned:
        request = self.request(table, mapping, **given)
        return Planned(self.planner.plan(request), request.folder)

    def fold(self, planned: Planned, settled: Settled | None = None) -> None:
        self.ledger = self.planner.fold(planned.plan, planned.folder, self.ledger, settled or Settled("delivered"))

    def run(self, table: pa.Table, mapping: FieldMappings, **given: Any) -> Planned:
        """Plan and fold as if all was delivered."""
        planned = self.plan(table, mapping, **given)
        self.fold(planned)
        return planned


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with its files, read as delivery reads them."""

    plan: Plan
    folder: Path

    def rows(self, kind: str) -> list[dict[str, Any]]:
        file = self.plan.files.get(kind)  # type: ignore[call-overload]
        return [] if file is None else list(pq.read_table(self.folder / file.name).to_pylist())

    def by_key(self, kind: str) -> dict[Any, dict[str, Any]]:
        """`{key: {"before": {...}, "after": {...}, ...}}`."""
        found = {}
        for row in self.rows(kind):
            keys = [row[f"key.{name}"] for name in self.plan.keys]
            entry: dict[str, Any] = {"before": {}, "after": {}}
            for name, value in row.items():
                side, dot, rest = name.partition(".")
                if dot and side in entry:
                    entry[side][rest] = value
                elif not dot:
                    entry[name] = value
            found[keys[0] if len(keys) == 1 else tuple(keys)] = entry
        return found

    def sequence(self, kind: str, key: Any) -> int:
        rows = self.rows(kind)
        position = [row[f"key.{self.plan.keys[0]}"] for row in rows].index(key)
        return self.plan.first(kind) + position  # type: ignore[arg-type]

    @property
    def invalid(self) -> list[dict[str, Any]]:
        return (
            [] if self.plan.invalid is None else list(pq.read_table(self.folder / self.plan.invalid.name).to_pylist())
        )

    @property
    def left(self) -> dict[Any, str]:
        """What an undo leaves alone: why, by key."""
        if self.plan.left is None:
            return {}
        rows = pq.read_table(self.folder / self.plan.left.name).to_pylist()
        return {row[f"key.{self.plan.keys[0]}"]: row["code"] for row in rows}

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.plan.counts.added, self.plan.counts.changed, self.plan.counts.removed


def people(*rows: tuple[Any, ...], **types: pa.DataType) -> pa.Table:
    """A table of id, name and n. Types may be given by column."""
    schema = pa.schema(
        [
            pa.field("id", types.get("id", pa.int64())),
            pa.field("name", types.get("name", pa.string())),
            pa.field("n", types.get("n", pa.int64())),
        ]
    )
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    arrays = [pa.array(list(column), each.type) for column, each in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def mapped(*names: str, nulls: str = "clear", match: Sequence[str] = (), **types: FieldType) -> FieldMappings:
    """Columns mapped by their own names."""
    fields = tuple(FieldMapping(name, "column", name, type=types.get(name, "any")) for name in names)
    return FieldMappings(fields, tuple(match), "skip" if nulls == "skip" else "clear")


BOTH = mapped("name", "n")


def exceptions(*rows: tuple[int, str, str | None]) -> pa.Table:
    """A table as `Settled.exceptions` is."""
    names = {"sequence": pa.int64(), "settlement": pa.string(), "operation": pa.string()}
    schema = pa.schema([pa.field(name, kind) for name, kind in names.items()])
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.Table.from_arrays(
        [pa.array(list(column), each.type) for column, each in zip(columns, schema, strict=True)], schema=schema
    )


def everything(settlement: Any, operation: str | None = None, size: int = 0) -> Settled:
    """All operations ended in the same way."""
    rows = [(sequence, str(settlement), operation) for sequence in range(size)]
    return Settled(settlement, exceptions(*rows) if rows else None)


def told(*effects: tuple[Planned, str, Any, Effect]) -> Settled:
    """All was delivered, and of these (plan, kind, key) the destination told the effect."""
    places = sorted((planned.sequence(kind, key), effect) for planned, kind, key, effect in effects)
    columns = {"first": pa.array([place for place, _ in places], pa.int64())}
    columns["stop"] = pa.array([place + 1 for place, _ in places], pa.int64())
    return Settled("delivered", effects=pa.table({**columns, "effect": [effect for _, effect in places]}))

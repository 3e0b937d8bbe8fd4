"""The simulation's own planner makes what the real one makes: the same operations, figures and ledgers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from levada.change import KINDS
from levada.delivery.tally import EFFECTS as RANGES
from levada.mapping import FieldMapping, Mapping
from levada.model import Model
from levada.outcome import Effect
from levada.plan import Plan
from levada.planner import KindPolicy, Ledger, Planner, PlanRequest, Settled, Settlement
from levada.planners.local import LocalPlanner
from levada.source import Attachment, Column, Source, SourceAbilities
from levada.testing.clock import FakeClock
from simulation.duck import shared
from simulation.outside import SCHEMA
from simulation.planning import PlainPlanner

SEQUENCES = 40
STEPS = 5
ENDS: tuple[Settlement, ...] = ("delivered", "rejected", "suppressed", "unsent", "unknown", "gone")
EFFECTS: tuple[Effect, ...] = ("created", "created", "updated", "same")
ID, NAME, SCORE = (FieldMapping(name, "column", name) for name in ("id", "name", "score"))
UPPER = FieldMapping("name", "sql", "upper(name)")
FIELDS = tuple(Mapping(fields, ("id",)) for fields in ((ID, NAME, SCORE), (ID, NAME), (ID, UPPER, SCORE)))
EMPTY_OR_ABSENT = ("lapsed", "returned", "created")
"""Columns that a plan has only if a row needs them."""
End = tuple[int, Settlement, str | None]
"""Sequence, how it ended, under which id it was sent."""


class Rows:
    """Fulfils `levada.source.Source` over a list."""

    name = "warehouse"
    abilities = SourceAbilities("duckdb")

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.table = pa.Table.from_pylist(rows, schema=SCHEMA)

    def check(self) -> None:
        return

    def tables(self) -> tuple[str, ...]:
        return ()

    def columns(self, query: str) -> tuple[Column, ...]:
        return tuple(Column(field.name, field.type) for field in SCHEMA)

    @contextmanager
    def read(self, query: str) -> Iterator[Iterator[pa.RecordBatch]]:
        yield iter(self.table.to_batches())

    def attachment(self, query: str | None = None) -> Attachment | None:
        return None

    def interrupt(self) -> None:
        return

    def close(self) -> None:
        return


class Side:
    """One planner with its ledger."""

    def __init__(self, planner: Any, folder: Path) -> None:
        self.planner: Planner = planner
        self.folder = folder
        self.ledger = Ledger("people", folder / "ledger")
        self.number = 0

    def step(self, source: Source, mapping: Mapping, policy: KindPolicy) -> tuple[Plan, Path]:
        self.number += 1
        folder = self.folder / f"plan-{self.number}"
        model = Model(source="warehouse", key=("id",), query="SELECT * FROM people")
        return self.planner.plan(PlanRequest("people", model, source, mapping, policy, self.ledger, folder)), folder


def operations(plan: Plan, folder: Path) -> dict[tuple[str, int], tuple[int, dict[str, Any]]]:
    """By kind and key: the sequence and all that is told of an operation, but for its hash."""
    found: dict[tuple[str, int], tuple[int, dict[str, Any]]] = {}
    for kind in KINDS:
        if kind in plan.files:
            for number, row in enumerate(pq.read_table(folder / plan.files[kind].name).to_pylist(), plan.first(kind)):
                row.pop("hash", None)
                row = {name: value for name, value in row.items() if value or name not in EMPTY_OR_ABSENT}
                found[kind, row["key.id"]] = number, row
    return found


def held(ledger: Ledger) -> dict[int, dict[str, Any]]:
    """What a ledger of either planner says of each key."""
    found: dict[int, dict[str, Any]] = {}
    for segment in ledger.segments:
        for row in pq.read_table(ledger.folder / segment.file.name).to_pylist():
            if segment.kind == "remove":
                found.pop(row["key.id"], None)
                continue
            state = row.get("state") or "confirmed"
            found[row["key.id"]] = {
                **{name: value for name, value in row.items() if name.startswith("after.") and value is not None},
                "state": state,
                "operation": row.get("operation") if state == "maybe_present" else None,
                "identifier": row.get("identifier"),
                "created": segment.created or bool(row.get("created")),
                "lapsed": row.get("lapsed"),
            }
    return found


def settled(chance: random.Random, common: Settlement, sequences: dict[tuple[str, int], int]) -> Settled:
    """Ends drawn for each operation in the order of kind and key, whatever its sequence."""
    rows: list[End] = []
    named: list[tuple[int, str]] = []
    effects: dict[int, Effect] = {}
    for (kind, key), number in sorted(sequences.items()):
        end = common
        if chance.random() < 0.4:
            end = chance.choice(ENDS)
            rows.append((number, end, f"op-{kind}-{key}" if end == "unknown" else None))
        if end == "delivered" and kind == "added" and chance.random() < 0.7:
            named.append((number, f"r{key}"))
        if end == "delivered" and chance.random() < 0.8:
            effects[number] = chance.choice(EFFECTS)
    ended, identifiers = _table(rows, "settlement", "operation"), _table(named, "identifier")
    ranges = [{"first": number, "stop": number + 1, "effect": effect} for number, effect in sorted(effects.items())]
    return Settled(common, ended, identifiers, pa.Table.from_pylist(ranges, RANGES) if ranges else None)


def _table(rows: list[Any], *names: str) -> pa.Table:
    columns: dict[str, Any] = {"sequence": pa.array([row[0] for row in rows], pa.int64())}
    for index, name in enumerate(names, 1):
        columns[name] = pa.array([row[index] for row in rows], pa.string())
    return pa.table(columns)


def figures(plan: Plan) -> tuple[Any, ...]:
    changed = {name: count for name, count in plan.fields_changed.items() if count}
    return plan.counts, plan.model_rows, changed, {name: round(share, 9) for name, share in plan.nulls.items()}


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_both_planners_make_the_same_plans_and_ledgers(seed: int, tmp_path: Path) -> None:
    """Random models, mappings and ends of operations, several plans and folds in a row."""
    chance = random.Random(seed)
    clock = FakeClock()
    with shared():
        real = Side(LocalPlanner(tmp_path / "spool", "256MB", 1, clock), tmp_path / "real")
        plain = Side(PlainPlanner(tmp_path / "spool", clock), tmp_path / "plain")
        rows: dict[int, dict[str, Any]] = {}
        for _ in range(STEPS):
            for _ in range(chance.randint(0, 6)):
                key = chance.randint(1, 9)
                if chance.random() < 0.3:
                    rows.pop(key, None)
                else:
                    rows[key] = {"id": key, "name": chance.choice(("a", "B", "")), "score": chance.choice((None, 0, 7))}
            source = Rows(list(rows.values()))
            mapping = FIELDS[chance.choice((0, 0, 0, 1, 2))]
            policy = KindPolicy(removed=chance.random() < 0.7, adopt=chance.random() < 0.7)
            distrusted = chance.random() < 0.15 and real.ledger.exists
            common = chance.choice(ENDS)
            state = chance.getstate()
            plans, told, ends = [], [], []
            for side in (real, plain):
                if distrusted:
                    side.ledger = replace(side.ledger, distrusted=True)
                plan, folder = side.step(source, mapping, policy)
                found = operations(plan, folder)
                chance.setstate(state)
                ends.append(settled(chance, common, {each: number for each, (number, _) in found.items()}))
                plans.append((plan, folder))
                told.append({each: row for each, (_, row) in found.items()})
            assert told[0] == told[1]
            assert figures(plans[0][0]) == figures(plans[1][0])
            for side, (plan, folder), ended in zip((real, plain), plans, ends, strict=True):
                side.ledger = side.planner.fold(plan, folder, side.ledger, ended)
            assert held(real.ledger) == held(plain.ledger)
            assert real.ledger.rows == plain.ledger.rows
            assert real.ledger.distrusted == plain.ledger.distrusted

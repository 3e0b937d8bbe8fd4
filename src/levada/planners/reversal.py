"""The plan that takes a run back: from what it delivered and what the ledger holds now.

added → removed, changed → changed back, removed → added. A key whose entry is no more what the run left is
left out and counted in a notice: a later run has touched it. The source is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from levada.change import KINDS, Counts
from levada.plan import Plan, PlanFile
from levada.planner import PlanRequest, Settled
from levada.planners import files, sql
from levada.planners.engine import Engine
from levada.planners.figures import fields_changed, null_counts
from levada.planners.folding import shape_of_recipe
from levada.planners.identity import plan_id
from levada.planners.ledgers import LedgerView
from levada.planners.mapped import after_name, before_name, hash_of, input_name, key_name


class Reversal:
    """One reversal; `run` writes the operation files into `folder` and returns the plan, not yet written."""

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        plan_folder: Path,
        settled: Settled,
        request: PlanRequest,
        recipe: dict[str, Any],
        folder: Path,
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.plan_folder = plan_folder
        self.settled = settled
        self.request = request
        self.recipe = recipe
        self.folder = folder
        self.shape = shape_of_recipe(plan.keys, recipe)
        self.view = LedgerView(engine, request.ledger, self.shape)
        self.touched = 0

    def run(self) -> Plan:
        for file in self.plan.files.values():
            files.verify(self.plan_folder, file, "the plan's file")
        self.view.prepare()
        self._gather_settled()
        rows = {"removed": self._undo_added(), "changed": self._undo_changed(), "added": self._undo_removed()}
        plan, ledger = self.plan, self.request.ledger
        described: dict[str, PlanFile] = {
            name: files.describe(self.folder / f"{name}.parquet", count) for name, count in rows.items() if count
        }
        counts = Counts(added=rows["added"], changed=rows["changed"], removed=rows["removed"])
        facts = {
            "generation": ledger.generation,
            "mapping": plan.mapping_version,
            "hash": plan.hash_version,
            "match": list(plan.match),
            "everything": False,
        }
        notices: tuple[str, ...] = ()
        if self.touched:
            notices = (f"{self.touched:,} records are left as they are: a later run has changed them",)
        return Plan(
            sync=plan.sync,
            plan_id=plan_id(self.engine, plan.sync, self.folder, rows, facts),
            purpose=self.request.purpose,
            generation=ledger.generation,
            mapping_version=plan.mapping_version,
            hash_version=plan.hash_version,
            keys=plan.keys,
            fields=plan.fields,
            match=plan.match,
            counts=counts,
            model_rows=ledger.rows - counts.removed + counts.added,
            files={kind: described[kind] for kind in KINDS if kind in described},
            fields_changed=(
                fields_changed(self.engine, self.folder / "changed.parquet", plan.fields) if rows["changed"] else {}
            ),
            nulls=self._nulls(rows),
            notices=notices,
        )

    @property
    def _count(self) -> int:
        return len(self.shape.keys)

    def _same(self, left: str, right: str) -> str:
        return sql.equal(left, right, "k", self._count)

    def _gather_settled(self) -> None:
        self.engine.run("CREATE TEMP TABLE ended (sequence BIGINT, settlement VARCHAR)")
        if self.settled.exceptions is not None and self.settled.exceptions.num_rows:
            self.engine.connection.register("levada_given", self.settled.exceptions)
            self.engine.run("INSERT INTO ended SELECT sequence, settlement FROM levada_given")
            self.engine.connection.unregister("levada_given")

    def _delivered(self, kind: str) -> str:
        """The delivered operations of one kind with k0…, v0… (after), o0… (before)."""
        file = self.plan.files[kind]  # type: ignore[index]
        first = self.plan.first(kind)  # type: ignore[arg-type]
        parts = [f"{key_name(name)} AS k{i}" for i, name in enumerate(self.shape.keys)]
        for i, (name, _, late) in enumerate(self.shape.fields):
            if kind != "removed":
                parts.append(f"{after_name(name)} AS v{i}")
                if late:
                    parts.append(f"{input_name(name)} AS i{i}")
            if kind != "added":
                parts.append(f"{before_name(name)} AS o{i}")
        if kind != "added":
            parts.append("identifier")
        scan = sql.parquet(self.plan_folder / file.name, "file_row_number = true")
        return (
            f"SELECT {sql.listed(parts)} FROM {scan} f LEFT JOIN ended e "
            f"ON e.sequence = f.file_row_number + {first} "
            f"WHERE coalesce(e.settlement, '{self.settled.common}') = 'delivered'"
        )

    def _untouched(self) -> str:
        same = [f"l.b{i} IS NOT DISTINCT FROM d.v{i}" for i in range(len(self.shape.fields))]
        return " AND ".join(["l.st = 'confirmed'", *same])

    def _met(self, kind: str) -> str:
        """Delivered operations joined with the ledger's entry of the key, if it is what they left."""
        delivered = self._delivered(kind)
        joined = f"({delivered}) d JOIN ({self.view.wide()}) l ON {self._same('d', 'l')}"
        (all_rows,) = self.engine.row(f"SELECT count(*) FROM ({delivered})")
        (same,) = self.engine.row(f"SELECT count(*) FROM {joined} WHERE {self._untouched()}")
        self.touched += all_rows - same
        return f"{joined} WHERE {self._untouched()}"

    def _keys_out(self) -> str:
        return sql.listed(f"d.k{i} AS {key_name(name)}" for i, name in enumerate(self.shape.keys))

    def _named(self, sign: str, name: Any) -> str:
        return sql.listed(f"{sign}{i} AS {name(field)}" for i, (field, _, _) in enumerate(self.shape.fields))

    def _undo_added(self) -> int:
        if "added" not in self.plan.files:
            return 0
        met = self._met("added")
        start = sql.listed([self._keys_out(), self._named("l.b", before_name)])
        query = f"SELECT {start}, l.identifier{self._lapsed} FROM {met}"
        return self.engine.copy(query, self.folder / "removed.parquet")

    def _undo_changed(self) -> int:
        if "changed" not in self.plan.files:
            return 0
        met = self._met("changed")
        start = [self._keys_out(), self._named("l.b", before_name), self._named("d.o", after_name), self._no_inputs()]
        query = (
            f"SELECT {sql.listed(start)}, {self._hash('d.o')} AS hash, 'confirmed' AS state, "
            f"CAST(NULL AS VARCHAR) AS operation, l.identifier{self._lapsed} FROM {met}"
        )
        return self.engine.copy(query, self.folder / "changed.parquet")

    def _undo_removed(self) -> int:
        if "removed" not in self.plan.files:
            return 0
        delivered = self._delivered("removed")
        gone = f"({delivered}) d ANTI JOIN levada_ledger l ON {self._same('d', 'l')}"
        start = [self._keys_out(), self._named("d.o", after_name), self._no_inputs()]
        query = (
            f"SELECT {sql.listed(start)}, {self._hash('d.o')} AS hash, CAST(NULL AS VARCHAR) AS operation FROM {gone}"
        )
        rows = self.engine.copy(query, self.folder / "added.parquet")
        (all_rows,) = self.engine.row(f"SELECT count(*) FROM ({delivered})")
        self.touched += all_rows - rows
        return rows

    @property
    def _lapsed(self) -> str:
        return ", l.lapsed" if self.view.lapses else ""

    def _no_inputs(self) -> str:
        return sql.listed(f"CAST(NULL AS VARCHAR) AS {input_name(name)}" for name, _, late in self.shape.fields if late)

    def _hash(self, sign: str) -> str:
        """Of the values; with late fields, whose inputs are not known any more, values decide next time."""
        if any(late for _, _, late in self.shape.fields):
            return "CAST(NULL AS UBIGINT)"
        return hash_of([(f"{sign}{i}", kind) for i, (_, kind, _) in enumerate(self.shape.fields)])

    def _nulls(self, rows: dict[str, int]) -> dict[str, float]:
        ledger = self.request.ledger
        counts = {name: round(ledger.nulls.get(name, 1.0) * ledger.rows) for name in self.plan.fields}
        sides: Sequence[tuple[str, str, int]] = (
            ("removed", "before", -1), ("changed", "before", -1), ("changed", "after", 1), ("added", "after", 1)
        )  # fmt: skip
        for kind, side, sign in sides:
            if rows[kind]:
                found = null_counts(self.engine, self.folder / f"{kind}.parquet", side, self.plan.fields)
                for name, count in found.items():
                    counts[name] += sign * count
        total = ledger.rows - rows["removed"] + rows["added"]
        return {name: min(1.0, max(0.0, count / total)) for name, count in counts.items()} if total > 0 else {}

"""Asking again for what was never answered: a plan made of the ledger alone, and its fold.

A record whose create was lost has no id by which it could be changed or removed, and may not even be there. Its
values as they were sent stand in the ledger, so that the very same request can be made again under the same
idempotency key, and its answer tells the id. A removal that was lost is repeated, too, before its key is used again.
What is not here: whether a tool still remembers a key (delivery knows), and planning what the model says now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from levada.change import Counts, Kind
from levada.durable import sync_path
from levada.plan import Plan, PlanFile
from levada.planner import REMOVAL, Ledger, Segment
from levada.planners import files, sql
from levada.planners.engine import Engine
from levada.planners.fold import Fold, created_by
from levada.planners.ledgers import CREATED
from levada.planners.mapped import before_name, key_name
from levada.planners.plan_figures import null_counts
from levada.planners.plan_identity import plan_id


class Unanswered:
    """The operations of one ledger whose end is not known, segment by segment."""

    def __init__(self, engine: Engine, ledger: Ledger, folder: Path, wanted: Callable[[str], bool]) -> None:
        self.engine = engine
        self.ledger = ledger
        self.folder = folder
        self.wanted = wanted

    def plan(self, match: tuple[str, ...], start: int) -> tuple[Plan, dict[str, Any], int] | None:
        """The plan of the first segment from `start` on that holds any, its recipe, and the next segment's place."""
        for index in range(start, len(self.ledger.segments)):
            segment = self.ledger.segments[index]
            columns = self.engine.types(f"SELECT * FROM {self._scan(segment)}")
            if segment.kind == "upsert" and {"state", "operation", "identifier"} <= set(columns):
                found = self._written(index, columns)
                if found:
                    return (*self._made(segment, columns, found, match), index + 1)
        return None

    def _scan(self, segment: Segment) -> str:
        return sql.parquet(self.ledger.folder / segment.file.name)

    def _rows(self, index: int) -> str:
        """The segment's rows that are not confirmed, and that no later one overrides."""
        rows = f"SELECT * FROM {self._scan(self.ledger.segments[index])} WHERE state <> 'confirmed'"
        keys = [key_name(name) for name in self.ledger.keys]
        same = " AND ".join(f"CAST(s.{key} AS VARCHAR) = CAST(n.{key} AS VARCHAR)" for key in keys)
        for later in self.ledger.segments[index + 1 :]:
            rows = f"SELECT s.* FROM ({rows}) s ANTI JOIN {self._scan(later)} n ON {same}"
        return rows

    def _written(self, index: int, columns: dict[str, str]) -> dict[Kind, PlanFile]:
        rows = self._rows(index)
        given = self.engine.rows(f"SELECT DISTINCT operation FROM ({rows}) WHERE operation IS NOT NULL")
        chosen = [operation for (operation,) in given if self.wanted(operation)]
        self.engine.connection.register("levada_chosen", pa.table({"operation": pa.array(chosen, pa.string())}))
        chosen_rows = f"SELECT r.* FROM ({rows}) r SEMI JOIN levada_chosen c ON r.operation = c.operation"
        keys = [key_name(name) for name in self.ledger.keys]
        befores = [
            f"{sql.quoted(name)} AS {before_name(name.removeprefix('after.'))}"
            for name in columns
            if name.startswith("after.")
        ]
        queries: dict[Kind, str] = {
            "removed": f"SELECT {sql.listed([*keys, *befores])}, operation, identifier FROM ({chosen_rows}) "
            f"WHERE operation = '{REMOVAL}' AND identifier IS NOT NULL",
            "added": f"SELECT * EXCLUDE (state, identifier) FROM ({chosen_rows}) WHERE operation <> '{REMOVAL}'",
        }
        found: dict[Kind, PlanFile] = {}
        for kind, query in queries.items():
            path = self.folder / f"{kind}.parquet"
            count = self.engine.copy(query, path)
            if count:
                found[kind] = files.describe(path, count)
        self.engine.connection.unregister("levada_chosen")
        return found

    def _made(
        self, segment: Segment, columns: dict[str, str], found: dict[Kind, PlanFile], match: tuple[str, ...]
    ) -> tuple[Plan, dict[str, Any]]:
        ledger = self.ledger
        fields = tuple(name.removeprefix("after.") for name in columns if name.startswith("after."))
        counts = Counts(**{kind: file.rows for kind, file in found.items()})
        facts = {
            "generation": ledger.generation,
            "mapping": segment.mapping_version,
            "hash": segment.hash_version,
            "settle": segment.file.name,
        }
        plan = Plan(
            sync=ledger.sync,
            plan_id=plan_id(self.engine, ledger.sync, self.folder, {k: f.rows for k, f in found.items()}, facts),
            purpose="settle",
            generation=ledger.generation,
            mapping_version=segment.mapping_version,
            hash_version=segment.hash_version,
            keys=ledger.keys,
            fields=fields,
            match=tuple(name for name in match if name in fields),
            counts=counts,
            model_rows=ledger.rows,
            files=found,
        )
        recipe = {
            "keys": [columns[f"key.{name}"] for name in ledger.keys],
            "fields": [
                {"name": name, "type": columns[f"after.{name}"], "late": f"input.{name}" in columns} for name in fields
            ],
            "mapping_version": segment.mapping_version,
            "hash_version": segment.hash_version,
            "everything": False,
            "refreshed": None,
        }
        return plan, recipe


class AnswersFold(Fold):
    """The fold of such a plan: what was delivered is confirmed with the values it was sent with, or gone."""

    def run(self) -> Ledger:
        for file in self._plan_files():
            files.verify(self.folder, file, "the plan's file")
        ledger = self.ledger
        self._prepare_exceptions()
        nulls = {name: round(share * ledger.rows) for name, share in ledger.nulls.items()}
        rows = ledger.rows
        for kind in self.files:
            written = self._answered(kind)
            if written is not None and kind == "removed":
                path, count = written
                rows -= count
                for name, missing in null_counts(self.engine, path, "before", self.plan.fields).items():
                    nulls[name] = nulls.get(name, 0) - missing
            if written is not None:
                self._take(*written, "remove" if kind == "removed" else "upsert")
        sync_path(ledger.folder)
        return replace(
            ledger,
            generation=self.generation,
            segments=(*ledger.segments, *self.segments),
            rows=rows,
            nulls={name: min(1.0, max(0.0, count / rows)) for name, count in nulls.items()} if rows else {},
        )

    def _answered(self, kind: Kind) -> tuple[Path, int] | None:
        """The rows of a kind that were delivered, as a segment's file with its number of rows."""
        first = self.plan.first(kind)
        scan = sql.parquet(self.folder / self.files[kind].name, "file_row_number = true")
        place = f"f.file_row_number + {first}"
        shown = "f.* EXCLUDE (file_row_number, operation, identifier)"
        if kind != "removed":
            held = f", {CREATED}" if CREATED in self.engine.types(f"SELECT * FROM {scan}") else ""
            shown = f"f.* EXCLUDE (file_row_number, operation{held}), 'confirmed' AS state, "
            shown += "CAST(NULL AS VARCHAR) AS operation, n.identifier AS identifier, "
            shown += f"{created_by('t', place)} AS {CREATED}"
        target = self.engine.spill / f"{kind}-answered.parquet"
        count = self.engine.copy(
            f"SELECT {shown} FROM {scan} f LEFT JOIN ended e ON e.sequence = {place} "
            f"LEFT JOIN named n ON n.sequence = {place} ASOF LEFT JOIN told t ON {place} >= t.first "
            f"WHERE coalesce(e.settlement, '{self.settled.common}') = 'delivered'",
            target,
        )
        return (target, count) if count else None

"""The plan that takes a run back: from what it delivered, what that changed, and what the ledger holds now.

Nothing is taken back on a guess. A record is removed only if the run made it, as the destination told. A record that
was there before gets the values back that stood in it: those that the destination told, or, where the run changed what
the ledger had confirmed, the ledger's. A removed record is added again. What is left alone is listed with the reason,
in left.parquet. The source is not read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from levada.change import KINDS, Counts, Kind
from levada.plan import Plan, PlanFile
from levada.planner import PlanRequest, Settled
from levada.planners import files, sql, unmapped_fields
from levada.planners.engine import Engine
from levada.planners.fold import shape_of_recipe, still_ours
from levada.planners.ledgers import CREATED, LedgerView
from levada.planners.mapped import after_name, before_name, hash_of, input_name, key_name
from levada.planners.plan_figures import fields_changed, null_counts
from levada.planners.plan_identity import plan_id
from levada.wording import plural

REASONS = {
    "touched": "no longer as the run left it: changed by a later run, or taken back already",
    "origin_unknown": "the destination does not tell whether the run made the record or found it there",
    "outcome_unknown": "it is not known whether the run's request was applied",
    "before_unknown": "there before the run, and what stood in the record is not known",
}
"""Why a record is left alone, by code."""

RESTORABLE = "(stood OR (sure AND NOT lost AND effect IN ('updated', 'untold')))"
"""Of a delivered operation that made no record: is it known what stood there before, and was it changed?"""


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

    def run(self) -> Plan:
        for file in self.plan.files.values():
            files.verify(self.plan_folder, file, "the plan's file")
        self.view.prepare()
        self._gather_settled()
        for kind in KINDS:
            self._gather_delivered(kind)
        rows = {"removed": self._removed(), "changed": self._changed(), "added": self._added()}
        left = self._left()
        plan, ledger = self.plan, self.request.ledger
        described: dict[str, PlanFile] = {
            name: files.describe(self.folder / f"{name}.parquet", count)
            for name, count in {**rows, "left": left}.items()
            if count
        }
        counts = Counts(added=rows["added"], changed=rows["changed"], removed=rows["removed"], left=left)
        facts = {
            "generation": ledger.generation,
            "mapping": plan.mapping_version,
            "hash": plan.hash_version,
            "match": list(plan.match),
            "everything": False,
            "undoes": plan.plan_id,
        }
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
            left=described.get("left"),
            fields_changed=(
                fields_changed(self.engine, self.folder / "changed.parquet", plan.fields) if rows["changed"] else {}
            ),
            nulls=self._nulls(rows),
            notices=self._notices() if left else (),
        )

    # what the run did, operation by operation

    @property
    def _count(self) -> int:
        return len(self.shape.keys)

    def _same(self, left: str, right: str) -> str:
        return sql.equal(left, right, "k", self._count)

    def _gather_settled(self) -> None:
        """Make the tables ended (sequence, settlement) and told (ranges with their effect), and the view kept."""
        engine, settled = self.engine, self.settled
        engine.run("CREATE TEMP TABLE ended (sequence BIGINT, settlement VARCHAR)")
        engine.run("CREATE TEMP TABLE told (first BIGINT, stop BIGINT, effect VARCHAR)")
        for table, rows, columns in (
            ("ended", settled.exceptions, "sequence, settlement"),
            ("told", settled.effects, "first, stop, effect"),
        ):
            if rows is not None and rows.num_rows:
                engine.connection.register("levada_given", rows)
                engine.run(f"INSERT INTO {table} SELECT {columns} FROM levada_given")
                engine.connection.unregister("levada_given")
        texts = sql.listed(f"k{i} VARCHAR" for i in range(self._count))
        engine.run(f"CREATE TEMP TABLE touched ({texts})")
        if settled.touched is not None:
            engine.run(f"INSERT INTO touched SELECT * FROM {sql.parquet(settled.touched)}")
        known = [f"CAST({before_name(name)} AS {kind}) AS w{i}" for i, (name, kind, _) in enumerate(self.shape.fields)]
        nothing = [f"CAST(NULL AS {kind}) AS w{i}" for i, (_, kind, _) in enumerate(self.shape.fields)]
        # a part that was refused and written again in smaller ones may have left its file
        parts = [
            f"SELECT sequence, {sql.listed(known)}, coalesce(len(unkept), 0) = 0 AS whole, {number} AS part "
            f"FROM {sql.parquet(path)}"
            for number, path in enumerate(settled.kept)
        ]
        empty = f"SELECT CAST(NULL AS BIGINT) AS sequence, {sql.listed(nothing)}, true AS whole, 0 AS part WHERE false"
        engine.run(
            "CREATE TEMP VIEW kept AS SELECT DISTINCT ON (sequence) * FROM "
            f"({' UNION ALL '.join([empty, *parts])}) ORDER BY sequence, part DESC"
        )

    def _gather_delivered(self, kind: Kind) -> None:
        """Make the view done_KIND: the delivered operations with k0…, what the run wrote (v0…), what the ledger had
        confirmed before (o0…, `sure`), what the destination told that stood there (w0…, `stood`; `lost` if it could not
        be kept), effect, met (is the ledger's entry as the run left it, and of a record of the same maker?), and of the
        ledger l0… with identifier. Those of which nobody knows whether they were applied are in it, `open`."""
        fields = range(len(self.shape.fields))
        if kind not in self.plan.files:
            return
        scan = sql.parquet(self.plan_folder / self.plan.files[kind].name, "file_row_number = true")
        columns = self.engine.types(f"SELECT * FROM {scan}")
        place = f"f.file_row_number + {self.plan.first(kind)}"
        parts = [f"{key_name(name)} AS k{i}" for i, name in enumerate(self.shape.keys)]
        for i, (name, field_type, _) in enumerate(self.shape.fields):
            nothing = f"CAST(NULL AS {field_type})"
            parts.append(f"{after_name(name) if kind != 'removed' else nothing} AS v{i}")
            parts.append(f"{before_name(name) if kind != 'added' else nothing} AS o{i}")
        state = "f.state = 'confirmed'" if "state" in columns else str(kind == "removed").lower()
        effect = f"CASE WHEN {place} < t.stop THEN t.effect END"
        if kind == "changed":
            told = f"({effect} IS NOT NULL)" if self.settled.keeps else "false"
            state += f" AND ({told} OR NOT {self._guessed(columns)})"
        made = still_ours(self.plan, kind) if CREATED in columns else "false"
        end = f"coalesce(e.settlement, '{self.settled.common}')"
        done = (
            f"SELECT {sql.listed(parts)}, {state} AS sure, coalesce({effect}, 'untold') AS effect, "
            f"coalesce({effect} = 'created', false) OR {made} AS made, {end} = 'unknown' AS open, "
            f"coalesce(w.whole, false) AS stood, NOT coalesce(w.whole, true) AS lost, "
            f"{sql.columns('w', len(fields), 'w')} "
            f"FROM {scan} f LEFT JOIN ended e ON e.sequence = {place} LEFT JOIN kept w ON w.sequence = {place} "
            f"ASOF LEFT JOIN told t ON {place} >= t.first "
            f"WHERE {end} IN ('delivered', 'unknown')"
        )
        if kind == "removed":
            same = "l.k0 IS NULL"
        else:
            values = [f"l.b{i} IS NOT DISTINCT FROM d.v{i}" for i in fields]
            same = " AND ".join(["l.st = 'confirmed'", f"l.{CREATED} = d.made", *values])
        now = sql.listed(f"l.b{i} AS l{i}" for i in fields)
        later = " AND ".join(f"CAST(d.k{i} AS VARCHAR) = x.k{i}" for i in range(self._count))
        known = sql.listed(
            [
                f"coalesce(NOT open AND x.k0 IS NULL AND {same}, false) AS met",
                now,
                "l.identifier",
                f"l.{CREATED}",
                "l.lapsed",
            ]
        )
        self.engine.run(
            f"CREATE TEMP VIEW done_{kind} AS SELECT d.*, {known} "
            f"FROM ({done}) d LEFT JOIN ({self.view.wide()}) l ON {self._same('d', 'l')} LEFT JOIN touched x ON {later}"
        )

    def _guessed(self, columns: Collection[str]) -> str:
        """Is what the ledger says of a changed record's old values more than was ever confirmed? A NULL is where the
        sync sends none, or has mapped the field since; and what is written where it is empty may not have been."""
        mapping, absent = self.request.mapping, self.recipe.get("absent", [name for name, _, _ in self.shape.fields])
        if_empty = [each.field for each in mapping.fields if each.only_if_empty and each.field in self.plan.fields]
        found = [f"f.{before_name(name)} IS DISTINCT FROM f.{after_name(name)}" for name in if_empty]
        found += [
            f"(f.{before_name(name)} IS NULL AND f.{after_name(name)} IS NOT NULL)"
            for name in (self.plan.fields if mapping.nulls == "skip" else absent)
        ]
        if unmapped_fields.RETURNED in columns:
            found.append(f"coalesce(len(f.{unmapped_fields.RETURNED}) > 0, false)")
        return sql.any_of(found)

    def _done(self, *kinds: Kind) -> list[str]:
        return [f"done_{kind}" for kind in kinds if kind in self.plan.files]

    # its reverse

    def _keys_out(self) -> str:
        return sql.listed(f"k{i} AS {key_name(name)}" for i, name in enumerate(self.shape.keys))

    def _named(self, sign: str, name: Any) -> str:
        return sql.listed(f"{sign}{i} AS {name(field)}" for i, (field, _, _) in enumerate(self.shape.fields))

    def _removed(self) -> int:
        """What the run made is removed."""
        columns = sql.listed([self._keys_out(), self._named("l", before_name)])
        return self._copied(
            [f"SELECT {columns}, {self._known} FROM {done} WHERE met AND effect = 'created'"
             for done in self._done("changed", "added")],
            "removed",
        )  # fmt: skip

    def _changed(self) -> int:
        """What the run changed gets its values back, as far as they are known."""
        queries = []
        for done in self._done("changed", "added"):
            back = sql.listed(f"CASE WHEN stood THEN w{i} ELSE o{i} END AS r{i}" for i in range(len(self.shape.fields)))
            rows = f"SELECT *, {back} FROM {done} WHERE met AND {RESTORABLE}"
            differs = sql.any_of([f"r{i} IS DISTINCT FROM l{i}" for i in range(len(self.shape.fields))])
            columns = [self._keys_out(), self._named("l", before_name), self._named("r", after_name), self._no_inputs()]
            queries.append(
                f"SELECT {sql.listed(columns)}, {self._hash('r')} AS hash, 'confirmed' AS state, "
                f"CAST(NULL AS VARCHAR) AS operation, {self._known} FROM ({rows}) WHERE {differs}"
            )
        return self._copied(queries, "changed")

    def _added(self) -> int:
        """What the run removed is added again, with the values that stood in it."""
        queries = []
        for done in self._done("removed"):
            back = sql.listed(f"CASE WHEN stood THEN w{i} ELSE o{i} END AS r{i}" for i in range(len(self.shape.fields)))
            rows = f"SELECT *, {back} FROM {done} WHERE met AND effect <> 'same'"
            columns = [self._keys_out(), self._named("r", after_name), self._no_inputs()]
            queries.append(
                f"SELECT {sql.listed(columns)}, {self._hash('r')} AS hash, CAST(NULL AS VARCHAR) AS operation "
                f"FROM ({rows})"
            )
        return self._copied(queries, "added")

    def _left(self) -> int:
        """What is left alone, with the reason; records on which the run had no effect are not among it."""
        unknown = {
            "added": "CASE effect WHEN 'untold' THEN 'origin_unknown' ELSE 'before_unknown' END",
            "changed": "'before_unknown'",
            "removed": "NULL",
        }
        queries = [
            f"SELECT {self._keys_out()}, CASE WHEN open THEN 'outcome_unknown' WHEN NOT met THEN 'touched' "
            f"WHEN effect IN ('created', 'same') OR {RESTORABLE} THEN NULL ELSE {unknown[kind]} END AS code "
            f"FROM done_{kind}"
            for kind in KINDS
            if kind in self.plan.files
        ]
        words = " ".join(f"WHEN {sql.text(code)} THEN {sql.text(reason)}" for code, reason in REASONS.items())
        shown = f"* EXCLUDE (code), CAST(NULL AS VARCHAR) AS field, code, CASE code {words} END AS reason"
        return self._copied([f"SELECT {shown} FROM ({query}) WHERE code IS NOT NULL" for query in queries], "left")

    def _copied(self, queries: Sequence[str], name: str) -> int:
        """Write the rows of all queries; no file where there are none."""
        if not queries:
            return 0
        target = self.folder / f"{name}.parquet"
        rows = self.engine.copy(" UNION ALL ".join(queries), target)
        if not rows:
            target.unlink(missing_ok=True)
        return rows

    @property
    def _known(self) -> str:
        """What else the ledger knows of a record that is removed or changed."""
        return f"identifier, {CREATED}{', lapsed' if self.view.lapses else ''}"

    def _no_inputs(self) -> str:
        return sql.listed(f"CAST(NULL AS VARCHAR) AS {input_name(name)}" for name, _, late in self.shape.fields if late)

    def _notices(self) -> tuple[str, ...]:
        counted = self.engine.rows(
            f"SELECT code, count(*) FROM {sql.parquet(self.folder / 'left.parquet')} GROUP BY code ORDER BY code"
        )
        return tuple(
            f"{plural(count, 'record is', 'records are')} left alone: {REASONS[code]}" for code, count in counted
        )

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

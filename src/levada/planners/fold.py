"""Folding what a run achieved into the next ledger: new segments beside the old ones, nothing rewritten.

A plan's file whose operations were all delivered becomes a segment by a hard link. Where operations ended
differently, a filtered copy says for each key what may be relied on. Many small segments are merged among
themselves; the base is rewritten only when much of it is overridden, or its hashes are of another mapping.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from levada.change import KINDS, Kind
from levada.durable import sync_path
from levada.errors import StoreError
from levada.plan import Plan, PlanFile
from levada.planner import REMOVAL, Ledger, Segment, Settled
from levada.planners import files, sql, unmapped_fields
from levada.planners.engine import Engine
from levada.planners.ledgers import CREATED, OVERLAY, UNSURE, LedgerView, Shape, overlay_rows
from levada.planners.mapped import after_name, before_name, input_name, key_name
from levada.planners.plan_figures import null_counts

SEGMENTS_MAX = 16
OVERLAY_SHARE_MAX = 0.25
OVERLAY_ROWS_FREE = 10_000
"""So many overriding rows never cause a rewrite of the base."""


def shape_of_recipe(plan_keys: tuple[str, ...], recipe: dict[str, Any]) -> Shape:
    return Shape(
        keys=plan_keys,
        key_types=tuple(recipe["keys"]),
        fields=tuple((each["name"], each["type"], each["late"]) for each in recipe["fields"]),
        mapping_version=recipe["mapping_version"],
        hash_version=recipe["hash_version"],
    )


class Fold:
    """One fold. Writes into the ledger's folder only; the returned ledger names what is part of it."""

    def __init__(
        self, engine: Engine, plan: Plan, folder: Path, ledger: Ledger, settled: Settled, recipe: dict[str, Any]
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.folder = folder
        self.ledger = ledger
        self.settled = settled
        self.recipe = recipe
        self.shape = shape_of_recipe(plan.keys, recipe)
        self.generation = ledger.generation + 1
        self.segments: list[Segment] = []
        self.rows = ledger.rows
        self.nulls = {name: round(ledger.nulls.get(name, 1.0) * ledger.rows) for name in plan.fields}
        self.files = dict(plan.files)
        #: does what was delivered stand for the whole ledger?
        self.replaces = False

    def run(self) -> Ledger:
        """The next ledger, its files durable."""
        plan, ledger = self.plan, self.ledger
        if plan.generation != ledger.generation:
            raise StoreError(
                f"{plan.plan_id} was planned at generation {plan.generation} of the ledger, now {ledger.generation}",
                code="store.generation",
                hint="plan again",
            )
        for file in self._plan_files():
            files.verify(self.folder, file, "the plan's file")
        replaced = self.recipe["everything"] and self._all_ended()
        self.replaces = replaced and self._delivered_any()
        if self.replaces:
            self.rows, self.nulls = 0, dict.fromkeys(plan.fields, 0)
        self._prepare_exceptions()
        self._count_held_again(ignore=replaced)
        for kind in KINDS:
            if kind in self.files:
                self._fold_kind(kind)
        self._fold_refreshed()
        earlier = () if self.replaces else ledger.segments
        found = Ledger(
            sync=ledger.sync,
            folder=ledger.folder,
            generation=self.generation,
            segments=(*earlier, *self.segments),
            rows=self.rows,
            nulls={name: min(1.0, max(0.0, count / self.rows)) for name, count in self.nulls.items()}
            if self.rows
            else {},
            keys=plan.keys,
            distrusted=ledger.distrusted and not self.segments,
        )
        # what a resync confirmed is trusted again; all else is unknown from then on, key by key
        doubted = len(earlier) if ledger.distrusted and self.segments else 0
        found = self._rewritten(found, doubted) if doubted else self._compacted(found)
        sync_path(ledger.folder)
        return found

    # how operations ended

    @property
    def _whole(self) -> bool:
        """Was everything delivered, with no word of the destination to keep?"""
        clean = self.settled.exceptions is None or not self.settled.exceptions.num_rows
        unnamed = self.settled.identifiers is None or not self.settled.identifiers.num_rows
        return self.settled.common == "delivered" and clean and unnamed

    def _settlements(self) -> set[str]:
        found: set[str] = {self.settled.common}
        if self.settled.exceptions is not None:
            found |= {str(end) for end in self.settled.exceptions.column("settlement").unique().to_pylist()}
        return found

    def _all_ended(self) -> bool:
        return "unknown" not in self._settlements() and bool(self.files)

    def _delivered_any(self) -> bool:
        return "delivered" in self._settlements()

    def _plan_files(self) -> list[PlanFile]:
        found = list(self.files.values())
        if self.recipe.get("refreshed"):
            found.append(PlanFile(*self.recipe["refreshed"]))
        return found

    def _prepare_exceptions(self) -> None:
        """Make the tables ended (sequence, settlement, operation), named (sequence, identifier) and told (ranges)."""
        self.engine.run("CREATE TEMP TABLE ended (sequence BIGINT, settlement VARCHAR, operation VARCHAR)")
        self.engine.run("CREATE TEMP TABLE named (sequence BIGINT, identifier VARCHAR)")
        self.engine.run("CREATE TEMP TABLE told (first BIGINT, stop BIGINT, effect VARCHAR)")
        for table, rows, columns in (
            ("ended", self.settled.exceptions, "sequence, settlement, operation"),
            ("named", self.settled.identifiers, "sequence, identifier"),
            ("told", self.settled.effects, "first, stop, effect"),
        ):
            if rows is not None and rows.num_rows:
                self.engine.connection.register("levada_given", rows)
                self.engine.run(f"INSERT INTO {table} SELECT {columns} FROM levada_given")
                self.engine.connection.unregister("levada_given")

    # one file of the plan

    def _fold_kind(self, kind: Kind) -> None:
        file = self.files[kind]
        created = self._created(kind)
        linked = created is False or (kind == "added" and created is True)
        if self._whole and linked and (kind != "changed" or self._all_kept(file)):
            self._link(file, "remove" if kind == "removed" else "upsert", created=bool(created))
            self._count(kind, self.folder / file.name, file.rows)
            return
        first = self.plan.first(kind)
        place = f"f.file_row_number + {first}"
        scan = sql.parquet(self.folder / file.name, "file_row_number = true")
        rows = (
            f"SELECT f.* EXCLUDE (file_row_number), coalesce(e.settlement, '{self.settled.common}') AS s_end, "
            f"e.operation AS s_operation, n.identifier AS s_identifier, {created_by('t', place)} AS s_created "
            f"FROM {scan} f LEFT JOIN ended e ON e.sequence = {place} LEFT JOIN named n ON n.sequence = {place} "
            f"ASOF LEFT JOIN told t ON {place} >= t.first"
        )
        self._write_upsert(kind, rows)
        left = {"removed": "delivered", "changed": "gone"}.get(kind)
        if left in self._settlements() and not (kind == "changed" and self.replaces):
            keys = sql.listed(key_name(name) for name in self.plan.keys)
            target = self.engine.spill / f"{kind}-left.parquet"
            befores = sql.listed(before_name(name) for name in self.plan.fields)
            count = self.engine.copy(
                f"SELECT {sql.listed([keys, befores])} FROM ({rows}) WHERE s_end = '{left}'", target
            )
            if count:
                self._count("removed", target, count)
                self._take(target, count, "remove")

    def _write_upsert(self, kind: Kind, rows: str) -> None:
        keys = sql.listed(key_name(name) for name in self.plan.keys)
        side = before_name if kind == "removed" else after_name
        values = sql.listed(f"{side(name)} AS {after_name(name)}" for name in self.plan.fields)
        late = [name for name, _, is_late in self.shape.fields if is_late]
        known = set(self.engine.types(f"SELECT * FROM ({rows})"))
        inputs = sql.listed(
            input_name(name) if f"input.{name}" in known else f"CAST(NULL AS VARCHAR) AS {input_name(name)}"
            for name in late
        )
        state = {"added": "maybe_present", "changed": "unknown", "removed": "maybe_present"}[kind]
        ends = "('unknown')" if kind == "removed" else "('delivered', 'unknown')"
        operation = {
            "added": f"coalesce(s_operation, nullif(operation, '{REMOVAL}'), '')",
            "changed": "CASE WHEN contains(s_operation, '@') THEN s_operation END",
            "removed": f"'{REMOVAL}'",
        }[kind]
        identifier = "coalesce(s_identifier, identifier)" if "identifier" in known else "s_identifier"
        stored = "hash" if "hash" in known else "CAST(NULL AS UBIGINT) AS hash"
        befores = sql.listed(before_name(name) for name in self.plan.fields) if kind == "changed" else ""
        created = "s_created"
        if CREATED in known and kind != "added":
            created = f"(s_created OR {still_ours(self.plan, kind)})"
        query = (
            f"SELECT {sql.listed([keys, values, befores, inputs, stored])}, "
            f"CASE WHEN s_end = 'unknown' THEN '{state}' ELSE 'confirmed' END AS state, "
            f"CASE WHEN s_end = 'unknown' THEN {operation} END AS operation, {identifier} AS identifier, "
            f"{created} AS {CREATED}"
            f"{', lapsed' if unmapped_fields.LAPSED in known else ''} FROM ({rows}) WHERE s_end IN {ends}"
        )
        target = self.engine.spill / f"{kind}-upsert.parquet"
        count = self.engine.copy(query, target)
        if count:
            if kind != "removed":
                self._count(kind, target, count)
            self._take(target, count, "upsert")

    def _created(self, kind: Kind) -> bool | None:
        """Were all records of a kind created by this sync in this run, or none? None: some of them."""
        start, rows = self.plan.first(kind), self.files[kind].rows
        (created,) = self.engine.row(
            f"SELECT coalesce(sum(least(stop, {start + rows}) - greatest(first, {start})), 0) FROM told "
            f"WHERE effect = 'created' AND first < {start + rows} AND stop > {start}"
        )
        return created == rows if created in (0, rows) else None

    def _all_kept(self, file: PlanFile) -> bool:
        """Of changed records: was each confirmed before, and is it still this sync's if it was?"""
        scan = sql.parquet(self.folder / file.name)
        ours = CREATED in self.engine.types(f"SELECT * FROM {scan}")
        lost = f" OR ({CREATED} AND NOT {still_ours(self.plan, 'changed')})" if ours else ""
        (found,) = self.engine.row(f"SELECT count(*) FROM {scan} WHERE state <> 'confirmed'{lost}")
        return not found

    def _count(self, kind: Kind, file: Path, rows: int) -> None:
        """Carry rows and NULLs forward by what one segment changes."""
        fields = self.plan.fields
        if kind != "removed":
            for name, count in null_counts(self.engine, file, "after", fields).items():
                self.nulls[name] += count
        if kind != "added":
            for name, count in null_counts(self.engine, file, "before", fields).items():
                self.nulls[name] -= count
        self.rows += {"added": rows, "changed": 0, "removed": -rows}[kind]

    def _count_held_again(self, *, ignore: bool) -> None:
        """Added keys that the ledger already holds as maybe present are not counted twice."""
        added = self.files.get("added")
        if added is None or ignore or not self.ledger.segments:
            return
        view = LedgerView(self.engine, self.ledger, self.shape)
        view.prepare()
        (unsure,) = self.engine.row(f"SELECT count(*) FROM {UNSURE} WHERE st = 'maybe_present'")
        if not unsure:
            return
        count = len(self.shape.keys)
        first = self.plan.first("added")
        keys = sql.listed(f"{key_name(name)} AS k{i}" for i, name in enumerate(self.shape.keys))
        scan = sql.parquet(self.folder / added.name, "file_row_number = true")
        kept = (
            f"SELECT {keys} FROM {scan} f LEFT JOIN ended e ON e.sequence = f.file_row_number + {first} "
            f"WHERE coalesce(e.settlement, '{self.settled.common}') IN ('delivered', 'unknown')"
        )
        shown = sql.listed(f"count(*) FILTER (l.b{i} IS NULL)" for i in range(len(self.shape.fields)))
        found = self.engine.row(
            f"SELECT {sql.listed(['count(*)', shown])} FROM ({view.wide()}) l SEMI JOIN ({kept}) a "
            f"ON {sql.equal('l', 'a', 'k', count)} WHERE l.st = 'maybe_present'"
        )
        self.rows -= found[0]
        for (name, _, _), nulls in zip(self.shape.fields, found[1:], strict=True):
            self.nulls[name] -= nulls

    def _fold_refreshed(self) -> None:
        if self.recipe.get("refreshed"):
            self._link(PlanFile(*self.recipe["refreshed"]), "upsert")

    # files

    def _name(self, digest: str) -> str:
        """Named by generation and content, so that nothing is ever overwritten by anything else."""
        return f"{self.generation:08d}-{digest[:16]}.parquet"

    def _link(self, file: PlanFile, kind: str, *, created: bool = False) -> None:
        self._add(replace(file, name=self._linked(self.folder / file.name, file.digest)), kind, created=created)

    def _linked(self, source: Path, digest: str) -> str:
        name = self._name(digest)
        files.linked(source, self.ledger.folder, name)
        return name

    def _take(self, target: Path, rows: int, kind: str) -> None:
        described = files.describe(target, rows)
        name = self._name(described.digest)
        target.replace(self.ledger.folder / name)
        self._add(replace(described, name=name), kind)

    def _add(self, file: PlanFile, kind: str, *, created: bool = False) -> None:
        assert kind in ("upsert", "remove")
        versions = (self.plan.mapping_version, self.plan.hash_version)
        self.segments.append(Segment(file, "remove" if kind == "remove" else "upsert", *versions, created))

    # compaction

    def _compacted(self, ledger: Ledger) -> Ledger:
        if len(ledger.segments) < 2 and not self._stale(ledger):
            return ledger
        if self.plan.purpose == "undo" and self._stale(ledger):
            return ledger  # a later mapping may hold more; the next run writes the ledger as it is mapped then
        base = ledger.segments[0].file.rows
        above = overlay_rows(ledger.segments)
        if self._stale(ledger) or above > max(base * OVERLAY_SHARE_MAX, OVERLAY_ROWS_FREE):
            return self._rewritten(ledger)
        if len(ledger.segments) > SEGMENTS_MAX:
            return self._merged(ledger)
        return ledger

    def _stale(self, ledger: Ledger) -> bool:
        view = LedgerView(self.engine, ledger, self.shape)
        return any(view.stale(segment) for segment in ledger.segments)

    def _view(self, ledger: Ledger, doubted: int = 0) -> LedgerView:
        for relation, kind in (("levada_ledger", "VIEW"), (UNSURE, "TABLE"), (OVERLAY, "TABLE")):
            self.engine.run(f"DROP {kind} IF EXISTS {relation}")
        view = LedgerView(self.engine, replace(ledger, distrusted=False), self.shape, doubted=doubted)
        view.prepare()
        return view

    def _segment_of(self, view: LedgerView, rows: str) -> str:
        return segment_query(self.shape, rows, lapses=view.lapses, created=view.tells_created)

    def _rewritten(self, ledger: Ledger, doubted: int = 0) -> Ledger:
        """The whole ledger as one base, with hashes of today."""
        view = self._view(ledger, doubted)
        self.segments = []
        target = self.engine.spill / "base.parquet"
        count = self.engine.copy(self._segment_of(view, view.wide()), target)
        assert count == ledger.rows, f"the ledger holds {count} rows, {ledger.rows} were expected"
        if count:
            self._take(target, count, "upsert")
        return replace(ledger, segments=tuple(self.segments))

    def _merged(self, ledger: Ledger) -> Ledger:
        """All segments above the base as at most two."""
        view = self._view(ledger)
        self.segments = []
        keys = sql.listed(f"k{i} AS {key_name(name)}" for i, name in enumerate(self.shape.keys))
        matched = sql.equal("s", "o", "k", len(self.shape.keys))
        upper = f"SELECT s.* FROM ({view.wide()}) s SEMI JOIN (SELECT * FROM {OVERLAY} WHERE live) o ON {matched}"
        for query, kind in (
            (self._segment_of(view, upper), "upsert"),
            (f"SELECT {keys} FROM {OVERLAY} WHERE NOT live", "remove"),
        ):
            target = self.engine.spill / f"merged-{kind}.parquet"
            count = self.engine.copy(query, target)
            if count:
                self._take(target, count, kind)
        return replace(ledger, segments=(ledger.segments[0], *self.segments))


def still_ours(plan: Plan, kind: Kind) -> str:
    """Of a row of a plan's file with the column `created`: was its record made by this sync, and is it the same one
    after the operation? A record that gets another match value may take the place of somebody else's."""
    ours = f"coalesce({CREATED}, false)"
    if kind != "changed":
        return ours
    moved = sql.any_of(
        [f"{before_name(name)} IS DISTINCT FROM {after_name(name)}" for name in plan.match if name in plan.fields]
    )
    return f"({ours} AND NOT {moved})"


def created_by(told: str, sequence: str) -> str:
    """Did an operation create its record, given the last range of `told` that begins before it?"""
    return f"coalesce({told}.effect = 'created' AND {sequence} < {told}.stop, false)"


def segment_query(shape: Shape, rows: str, *, lapses: bool, created: bool) -> str:
    """Rows as `LedgerView.wide` gives them, as a segment holds them."""
    keys = sql.listed(f"k{i} AS {key_name(name)}" for i, name in enumerate(shape.keys))
    values = sql.listed(f"b{i} AS {after_name(name)}" for i, (name, _, _) in enumerate(shape.fields))
    inputs = sql.listed(f"i{i} AS {input_name(name)}" for i, (name, _, late) in enumerate(shape.fields) if late)
    rest = "h AS hash, st AS state, op AS operation, identifier"
    rest += f"{f', {CREATED}' if created else ''}{', lapsed' if lapses else ''}"
    return f"SELECT {sql.listed([keys, values, inputs, rest])} FROM ({rows})"


def with_identifiers(engine: Engine, ledger: Ledger, earlier: Ledger) -> Ledger:
    """`ledger`, whose one base was just written, with what `earlier` knew beside the values: the destination's ids,
    which records this sync made, and lapsed fields."""
    base = ledger.segments[0]
    types = engine.types(f"SELECT * FROM {sql.parquet(ledger.folder / base.file.name)}")
    key_types = tuple(types[f"key.{name}"] for name in ledger.keys)
    fields = tuple((name.removeprefix("after."), types[name], False) for name in types if name.startswith("after."))
    shape = Shape(ledger.keys, key_types, fields, base.mapping_version, base.hash_version)
    view = LedgerView(engine, earlier, shape)
    view.prepare()
    keys = sql.columns("k", len(key_types))
    everything = [(name, "true") for name in shape.names]
    known = (
        f"SELECT * FROM (SELECT {keys}, identifier, {CREATED}, "
        f"{unmapped_fields.left_over(unmapped_fields.LAPSED, everything)} AS lapsed FROM ({view.wide()})) "
        f"WHERE identifier IS NOT NULL OR lapsed IS NOT NULL OR {CREATED}"
    )
    (count,) = engine.row(f"SELECT count(*) FROM ({known})")
    if not count:
        return ledger
    matched = " AND ".join(f"b.{key_name(name)} = l.k{i}" for i, name in enumerate(ledger.keys))
    target = engine.spill / "base.parquet"
    scan = sql.parquet(ledger.folder / base.file.name)
    more = f", l.{CREATED}" if view.tells_created else ""
    more += ", l.lapsed" if view.lapses else ""
    rows = engine.copy(f"SELECT b.*, l.identifier{more} FROM {scan} b LEFT JOIN ({known}) l ON {matched}", target)
    described = files.describe(target, rows)
    name = f"{ledger.generation:08d}-{described.digest[:16]}.parquet"
    target.replace(ledger.folder / name)
    sync_path(ledger.folder)
    return replace(ledger, segments=(replace(base, file=replace(described, name=name)),))

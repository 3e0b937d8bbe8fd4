"""The local planner: compares, folds and reverses in an embedded DuckDB, in bounded memory.

One fresh, restricted DuckDB per call, but for `types`, which reads nothing. The steps are in the modules beside this
one: `model_rows` (the model), `mapped` (the mapping), `ledgers`, `comparison`, `python_fields`, `fold`, `reversal`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from levada import events
from levada.change import KINDS
from levada.clock import Clock, SystemClock, isoformat
from levada.durable import read_document, write_document
from levada.errors import CorruptedError, StoreError
from levada.halt import Halt
from levada.mapping import Mapping
from levada.plan import Plan
from levada.planner import Ledger, PlanRequest, Settled
from levada.planners import files, fold, python_fields, reversal, sql, unanswered
from levada.planners.comparison import Comparison, Difference
from levada.planners.engine import Binder, Engine, first_line
from levada.planners.key_types import check_rewritten, known_type
from levada.planners.ledgers import LedgerView, Shape, Verification
from levada.planners.mapped import Layout, after_name, key_name, lay_out, model_column
from levada.planners.model_rows import MAPPED, MODEL, Reading
from levada.planners.plan_figures import fields_changed
from levada.planners.plan_identity import plan_id
from levada.source import TYPE_KEY, Attachment, Column
from levada.wording import plural

if TYPE_CHECKING:
    import pyarrow as pa

MEMORY_DEFAULT = "256MB"
RECIPE = "recipe.json"
NOT_OURS = "adopt is false, and it is not known that this sync made"
PREVIEW_ROWS_MAX = 10_000


class LocalPlanner:
    """Fulfils `levada.planner.Planner`. `memory` is DuckDB's limit; what exceeds it spills to disk.

    `spool` holds what previews and folds need for a moment; plans spill into their own folder. `halt` ends what is
    computed before anything is sent (StoppedError); what was delivered is folded to its end.
    """

    def __init__(
        self,
        spool: Path,
        memory: str = MEMORY_DEFAULT,
        threads: int | None = None,
        clock: Clock | None = None,
        halt: Halt | None = None,
    ) -> None:
        self.spool = spool.absolute()
        self.memory = memory
        self.threads = threads
        self.clock = clock or SystemClock()
        self.halt = halt or Halt()

    def plan(self, request: PlanRequest) -> Plan:
        """See Planner.plan. An unchanged model makes a plan without files."""
        started = self.clock.monotonic()
        folder = request.folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        verification = Verification(request.ledger)
        attachment = request.source.attachment(request.model.query_for(request.source.abilities.dialect))
        folders = [folder, request.ledger.folder.absolute()]
        with self._planning(folder / "work", folders, attachment, verification) as engine:
            compared_as = partial(known_type, engine, request.ledger)
            reading = Reading(engine, request.source, request.model, engine.spill, attachment, self.halt, compared_as)
            try:
                layout = reading.prepare(request.mapping)
                check_rewritten(engine, request.ledger, shape_of(layout), MAPPED)
                request.listener(
                    events.ModelRead(request.sync, reading.rows, round(self.clock.monotonic() - started, 3))
                )
                view = LedgerView(engine, request.ledger, shape_of(layout))
                comparison = Comparison(
                    engine, reading, layout, view, request.ledger, request.policy, folder, engine.spill
                )
                found = comparison.run()
                reading.finish()
            finally:
                reading.close()
            verification.finish()
            return self._written(engine, request, folder, layout, found, reading.rows, view.absent)

    def _written(
        self,
        engine: Engine,
        request: PlanRequest,
        folder: Path,
        layout: Layout,
        found: Difference,
        rows: int,
        absent: Sequence[str],
    ) -> Plan:
        facts = {
            "generation": request.ledger.generation,
            "mapping": layout.mapping_version,
            "hash": layout.hash_version,
            "match": list(layout.match),
            "everything": found.everything,
        }
        described = {
            name: files.describe(folder / f"{name}.parquet", count) for name, count in found.rows.items() if count
        }
        plan = Plan(
            sync=request.sync,
            plan_id=plan_id(engine, request.sync, folder, found.rows, facts),
            purpose=request.purpose,
            generation=request.ledger.generation,
            mapping_version=layout.mapping_version,
            hash_version=layout.hash_version,
            keys=layout.keys,
            fields=layout.names,
            match=layout.match,
            counts=found.counts,
            model_rows=rows,
            files={kind: described[kind] for kind in KINDS if kind in described},
            invalid=described.get("invalid"),
            fields_changed=(
                fields_changed(engine, folder / "changed.parquet", layout.names) if "changed" in described else {}
            ),
            nulls=found.nulls,
            notices=_notices(found),
            created_at=isoformat(self.clock.now()),
        )
        recipe = {**layout.recipe(), "everything": found.everything, "absent": list(absent)}
        refreshed = described.get("refreshed")
        recipe["refreshed"] = (
            None if refreshed is None else [refreshed.name, refreshed.rows, refreshed.bytes, refreshed.digest]
        )
        write_plan(plan, folder, recipe)
        return plan

    def preview(self, request: PlanRequest, rows: int) -> pa.Table:
        """See Planner.preview. At most PREVIEW_ROWS_MAX rows; those that are invalid have NULLs and
        a text in `invalid`."""
        import pyarrow as pa

        attachment = request.source.attachment(request.model.query_for(request.source.abilities.dialect))
        work = self.spool / self.clock.new_id("preview")
        with self._planning(work, [], attachment) as engine:
            reading = Reading(engine, request.source, request.model, work, attachment, self.halt)
            try:
                layout = reading.prepare(request.mapping, limit=min(rows, PREVIEW_ROWS_MAX))
                source = f"SELECT * FROM {MAPPED}"
                if layout.late:
                    target = work / "preview.parquet"
                    if engine.copy(f"SELECT * EXCLUDE (p, bad), p AS first_p FROM {MAPPED}", target):
                        done = python_fields.completed(engine, layout, target, work)
                        source = f"SELECT * EXCLUDE (p), coalesce(first_p, p) AS p FROM ({done})"
                keys = [f"k{i} AS {key_name(name)}" for i, name in enumerate(layout.keys)]
                values = [
                    f"CASE WHEN p IS NULL THEN v{each.index} END AS {after_name(each.name)}" for each in layout.fields
                ]
                reason = "nullif(split_part(p, chr(31), 3), '') AS invalid"
                with engine.reading():
                    found = engine.connection.sql(
                        f"SELECT {sql.listed([*keys, *values, reason])} FROM ({source})"
                    ).to_arrow_table()
                assert isinstance(found, pa.Table)
                return found
            finally:
                reading.close()

    def types(self, mapping: Mapping, columns: Sequence[Column]) -> pa.Schema:
        """See Planner.types."""
        import pyarrow as pa

        model = pa.schema([pa.field(column.name, column.type) for column in columns]).empty_table()
        with _told(), Binder() as engine:
            engine.connection.register("declared", model)
            marked = [
                f"CAST(NULL AS {column.in_place}) AS {sql.quoted(column.name)}"
                if column.in_place
                else model_column(column.name, _mark(column))
                for column in columns
            ]
            engine.run(f"CREATE TEMP VIEW {MODEL} AS SELECT {sql.listed(marked)} FROM declared")
            held = engine.types(MODEL)
            layout = lay_out(engine, MODEL, held, mapping, ())
            shown = sql.listed(f"CAST(NULL AS {each.type}) AS {sql.quoted(each.name)}" for each in layout.fields)
            found = engine.connection.sql(f"SELECT {shown} LIMIT 0").to_arrow_table().schema
            marks = {each.name: {TYPE_KEY: b"json"} for each in layout.fields if each.type == "JSON"}
            uuids = [each.name for each in layout.fields if each.plain and held.get(each.origin) == "UUID"]
            marks |= {name: {TYPE_KEY: b"uuid"} for name in uuids}
            marks |= {each.name: {TYPE_KEY: b"numeric_text"} for each in layout.fields if each.unlimited}
            return pa.schema([each.with_metadata(marks.get(each.name)) for each in found])

    def fold(self, plan: Plan, plan_folder: Path, ledger: Ledger, settled: Settled) -> Ledger:
        """See Planner.fold. What was delivered whole becomes part of the ledger as it is, by a hard link."""
        recipe = read_recipe(plan, plan_folder)
        ledger.folder.mkdir(parents=True, exist_ok=True)
        work = ledger.folder.absolute() / self.clock.new_id("work")
        with self._engine(work, [ledger.folder.absolute(), plan_folder.absolute()], None) as engine:
            made = unanswered.AnswersFold if plan.purpose == "settle" else fold.Fold
            return made(engine, plan, plan_folder.absolute(), ledger, settled, recipe).run()

    def unanswered(
        self, ledger: Ledger, folder: Path, match: tuple[str, ...], wanted: Callable[[str], bool], start: int = 0
    ) -> tuple[Plan, int] | None:
        """See Planner.unanswered."""
        folder = folder.absolute()
        verification = Verification(ledger)
        with self._engine(folder / "work", [folder, ledger.folder.absolute()], None, verification) as engine:
            found = unanswered.Unanswered(engine, ledger, folder, wanted).plan(match, start)
            verification.finish()
        if found is None:
            return None
        plan, recipe, after = found
        plan = replace(plan, created_at=isoformat(self.clock.now()))
        write_plan(plan, folder, recipe)
        return plan, after

    def confirmed(self, request: PlanRequest) -> Ledger:
        """See Planner.confirmed. Rows that are invalid, and so cannot be there, are not part of it."""
        ledger = replace(request.ledger, segments=(), rows=0, nulls={}, distrusted=False)
        plan = self.plan(replace(request, ledger=ledger, policy=replace(request.policy, added=True)))
        folded = self.fold(plan, request.folder, ledger, Settled("delivered"))
        return self._with_identifiers(folded, request.ledger)

    def _with_identifiers(self, folded: Ledger, earlier: Ledger) -> Ledger:
        if not earlier.segments or not folded.segments:
            return folded
        work = folded.folder.absolute() / self.clock.new_id("work")
        with self._engine(work, [folded.folder.absolute(), earlier.folder.absolute()], None) as engine:
            return fold.with_identifiers(engine, folded, earlier)

    def reverse(self, plan: Plan, plan_folder: Path, settled: Settled, request: PlanRequest) -> Plan:
        """See Planner.reverse. The source is not read."""
        folder = request.folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        verification = Verification(request.ledger)
        recipe = read_recipe(plan, plan_folder)
        folders = [folder, plan_folder.absolute(), request.ledger.folder.absolute()]
        with self._planning(folder / "work", folders, None, verification) as engine:
            made = reversal.Reversal(engine, plan, plan_folder.absolute(), settled, request, recipe, folder).run()
            verification.finish()
        reversed_plan = replace(made, created_at=isoformat(self.clock.now()))
        write_plan(reversed_plan, folder, {**recipe, "everything": False, "refreshed": None})
        return reversed_plan

    @contextmanager
    def _planning(
        self,
        work: Path,
        folders: Sequence[Path],
        attachment: Attachment | None,
        verification: Verification | None = None,
    ) -> Iterator[Engine]:
        """An engine whose work ends when the halt is set."""
        with (
            self._engine(work, folders, attachment, verification) as engine,
            self.halt.watch(engine.interrupt),
        ):
            yield engine

    @contextmanager
    def _engine(
        self,
        work: Path,
        folders: Sequence[Path],
        attachment: Attachment | None,
        verification: Verification | None = None,
    ) -> Iterator[Engine]:
        """An engine; how its failures are told: see `_told`."""
        work.mkdir(parents=True, exist_ok=True)
        try:
            with (
                _told(verification),
                Engine(
                    work, memory=self.memory, threads=self.threads, folders=folders, attachment=attachment
                ) as engine,
            ):
                yield engine
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _told(verification: Verification | None = None) -> Iterator[None]:
    """A failure of DuckDB's leaves as the corruption that caused it, or as one of planning."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if verification is not None:
            verification.finish()
        raise StoreError(
            f"planning failed: {first_line(error)}",
            code="store.planner",
            hint="`levada doctor` checks the state of every sync",
        ) from error


def _mark(column: Column) -> str:
    """What a text column holds, told from its native name: as `levada.source.TYPE_KEY` says it of rows."""
    native = column.native.lower()
    if native in ("json", "jsonb"):
        return "json"
    if native == "uuid":
        return "uuid"
    numbers = ("numeric", "decimal", "money")
    return "numeric_text" if native.startswith(numbers) and str(column.type) == "string" else ""


def shape_of(layout: Layout) -> Shape:
    """What the ledger's view needs of a layout."""
    return Shape(
        keys=layout.keys,
        key_types=layout.key_types,
        fields=tuple((each.name, each.type, each.late) for each in layout.fields),
        mapping_version=layout.mapping_version,
        hash_version=layout.hash_version,
    )


def _notices(found: Difference) -> tuple[str, ...]:
    notices: list[str] = []
    if found.collapsed:
        rows = plural(found.collapsed, "row of the model is", "rows of the model are")
        notices.append(f"{rows} equal to another row in key and values; each is sent once")
    if found.not_ours:
        kept = plural(found.not_ours, "record whose row left the model is", "records whose rows left the model are")
        notices.append(f"{kept} kept: {NOT_OURS} {'it' if found.not_ours == 1 else 'them'}")
    return tuple(notices)


def write_plan(plan: Plan, folder: Path, recipe: dict[str, Any]) -> None:
    """`plan.json` last, everything durable."""
    write_document(folder / RECIPE, {**recipe, "plan_id": plan.plan_id})
    plan.write(folder)


def read_recipe(plan: Plan, folder: Path) -> dict[str, Any]:
    """What `write_plan` kept beside a plan. Raises CorruptedError if it is not there, or another plan's."""
    try:
        found = read_document(folder / RECIPE)
        if found["plan_id"] != plan.plan_id:
            raise ValueError(f"it belongs to the plan {found['plan_id']}")
        return found
    except (OSError, ValueError, KeyError) as error:
        raise CorruptedError(
            f"{folder / RECIPE} cannot be read: {error}",
            code="store.plan_corrupted",
            hint="`levada run --discard-plan` drops it and plans anew",
        ) from error

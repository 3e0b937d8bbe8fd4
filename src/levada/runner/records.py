"""What happened to each record of a run: its plan joined with its journal.

The plan's files say what was meant (before, after), the journal how each batch ended, with exceptions by
position. Both stay columns in DuckDB until a record is handed out, so that a run of ten million rows can be
listed in bounded memory. Nothing here changes anything.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from levada.batch import python_rows
from levada.change import KINDS, Kind
from levada.errors import ConfigError, LevadaError
from levada.gathering import Rows
from levada.outcome import Outcome, Outcomes
from levada.plan import Plan, PlanFile
from levada.sql.connection import connect
from levada.store import JournalEntry, RunRecord, Store

if TYPE_CHECKING:
    import duckdb

    from levada.runner.world import World

RecordOutcome = Literal["delivered", "rejected", "waiting", "suppressed", "unknown", "unsent", "invalid", "left"]
"""As outcomes are; `invalid`: a row that could not be sent; `left`: a record that an undo left alone."""
OUTCOMES: tuple[RecordOutcome, ...] = get_args(RecordOutcome)

ROWS_AT_ONCE = 1_000
LONG_SCALE = 15
"""Decimals of so many places come of computations, not of a type that somebody chose."""
MEMORY_LIMIT = "256MB"
ELSEWHERE_MAX = 20
"""In so many of the latest runs a record is looked for that another run does not have."""
RUNS_SEARCHED_MAX = 200
"""How far back the latest run with records is looked for."""


_ENDS: list[pa.Field[Any]] = [pa.field(name, pa.string()) for name in ("outcome", "reason", "code")]
_EXCEPTIONS = pa.schema([pa.field("sequence", pa.int64()), *_ENDS])
_BATCHES = pa.schema(
    [pa.field("first", pa.int64()), pa.field("size", pa.int64()), *_ENDS, pa.field("request_id", pa.string())]
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a run. `key` is a value, or a dict for a key of several columns.

    `before` and `after` hold the mapped fields; None where there is no such side. `field` is the field
    that made a row invalid. `reason` holds the destination's own words where it refused.
    """

    sync: str
    run_id: str
    kind: Kind | None
    key: Any
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    outcome: RecordOutcome
    reason: str = ""
    code: str = ""
    request_id: str = ""
    field: str = ""

    @property
    def changed(self) -> tuple[str, ...]:
        """The fields whose value differs."""
        return changed_fields(self.before, self.after)

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "sync": self.sync,
            "run_id": self.run_id,
            "kind": self.kind,
            "key": self.key,
            "before": self.before,
            "after": self.after,
            "outcome": self.outcome,
            "reason": self.reason or None,
            "code": self.code or None,
            "request_id": self.request_id or None,
        }
        if self.field:
            found["field"] = self.field
        return found


def changed_fields(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The fields that differ between two sides; none where a side is missing."""
    if before is None or after is None:
        return ()
    return tuple(name for name, value in after.items() if before.get(name) != value)


def records(
    world: World,
    sync: str,
    *,
    run: str | None = None,
    outcome: RecordOutcome | None = None,
    key: str | None = None,
    limit: int | None = None,
) -> Iterator[Record]:
    """The records of a run of `sync` (by default the latest one that had any), in sending order, invalid ones last.

    `key`: the key as text; of several columns, their texts joined by commas. Raises ConfigError if there is
    no such run, or if the retention has taken its details.
    """
    world.sync_file(sync)
    if outcome is not None and outcome not in OUTCOMES:
        raise ConfigError(
            f"{outcome} is not an outcome", code="usage.outcome", hint=f"there are: {', '.join(OUTCOMES)}"
        )
    store = world.stored
    if store is None:
        raise _none_of(sync)
    record, folder, plan = found_run(store, sync, run, outcome)
    return _listed(store, record, folder, plan, outcome, key, limit)


def elsewhere(world: World, sync: str, run: str | None, outcome: RecordOutcome | None, key: str | None) -> str:
    """What is said where a run has no such record: which run it was, and the latest other one that has some."""
    store = world.stored
    assert store is not None, "records were looked for"
    looked = found_run(store, sync, run, outcome)[0].run_id
    more = "".join(f" --{name} {shlex.quote(value)}" for name, value in (("outcome", outcome), ("key", key)) if value)
    for record in store.runs.newest(sync, ELSEWHERE_MAX):
        if record.folder and record.run_id != looked:
            with suppress(LevadaError):
                if any(True for _ in records(world, sync, run=record.run_id, outcome=outcome, key=key, limit=1)):
                    return (
                        f"{looked} has no such record; the latest that has one is {record.run_id}: "
                        f"`levada records {sync} --run {record.run_id}{more}`"
                    )
    return f"{looked} has no such record, nor has any other of the latest runs: `levada runs {sync}` lists them"


def found_run(
    store: Store, sync: str, run: str | None, outcome: RecordOutcome | None = None
) -> tuple[RunRecord, Path, Plan]:
    """The run that was named; or the latest one with such records, by its own figures, or with any; with its plan."""
    if run is not None:
        record = store.runs.get(run)
        if record.sync != sync:
            raise ConfigError(
                f"{record.run_id} is a run of {record.sync}, not of {sync}",
                code="usage.run",
                hint=f"`levada records {record.sync} --run {record.run_id}`",
            )
        if not record.folder:
            raise _without_plan(store, record)
        folder = store.snapshots.plan(record.folder)
        return record, folder, Plan.read(folder)
    found = (latest_with_records(store, sync, outcome) if outcome else None) or latest_with_records(store, sync)
    if found is None:
        raise _none_of(sync)
    return found


def latest_with_records(
    store: Store, sync: str, outcome: RecordOutcome | None = None
) -> tuple[RunRecord, Path, Plan] | None:
    """The newest run of a sync that lists any record, or one of an outcome, with its folder and its plan."""
    for record in store.runs.newest(sync, RUNS_SEARCHED_MAX):
        if not record.folder or (outcome is not None and not _counts(record, outcome)):
            continue
        folder = store.snapshots.plan(record.folder)
        plan = Plan.read(folder)
        if plan.counts.operations or plan.counts.invalid or plan.left is not None:
            return record, folder, plan
    return None


def _counts(record: RunRecord, outcome: RecordOutcome) -> bool:
    """Does the run's own result count a record of this outcome?"""
    result = record.result or {}
    figure = result.get(outcome) or (result.get("counts") or {}).get(outcome)
    return any(figure.values()) if isinstance(figure, Mapping) else bool(figure)


def _without_plan(store: Store, record: RunRecord) -> ConfigError:
    """That a run lists nothing, and which one does."""
    kept = "it had nothing to send" if record.status == "succeeded" else "it ended before a plan was made"
    found = latest_with_records(store, record.sync)
    other = (
        f"the latest that has records is {found[0].run_id}: `levada records {record.sync} --run {found[0].run_id}`"
        if found is not None
        else f"no run of {record.sync} has any: `levada runs {record.sync}` lists them"
    )
    return ConfigError(
        f"run {record.run_id} has no records to list: {kept}, or retention took its details",
        code="usage.run_without_plan",
        hint=other,
    )


def _none_of(sync: str) -> ConfigError:
    return ConfigError(
        f"no run of {sync} has any records",
        code="usage.no_records",
        hint=f"`levada run {sync}` makes one, `levada runs {sync}` lists what there is",
    )


def _listed(
    store: Store,
    record: RunRecord,
    folder: Path,
    plan: Plan,
    outcome: RecordOutcome | None,
    key: str | None,
    limit: int | None,
) -> Iterator[Record]:
    left = limit if limit is not None else plan.counts.operations + plan.counts.invalid + plan.counts.left
    connection = connect(memory_limit=MEMORY_LIMIT, threads=1)
    try:
        if outcome not in ("invalid", "left") and plan.counts.operations:
            batches, exceptions = journal_tables(store.journals.entries(record.run_id), folder)
            connection.register("batches", batches)
            connection.register("exceptions", exceptions)
            for kind in KINDS:
                if left > 0 and kind in plan.files:
                    for found in _of_kind(connection, record, folder, plan, kind, outcome, key, left):
                        left -= 1
                        yield found
        unsent: tuple[tuple[RecordOutcome, PlanFile | None], ...] = (("invalid", plan.invalid), ("left", plan.left))
        for name, file in unsent:
            if outcome in (None, name) and file is not None and left > 0:
                for found in _unsent(connection, record, folder / file.name, plan, name, key, left):
                    left -= 1
                    yield found
    finally:
        connection.close()


def _of_kind(
    connection: duckdb.DuckDBPyConnection,
    record: RunRecord,
    folder: Path,
    plan: Plan,
    kind: Kind,
    outcome: RecordOutcome | None,
    key: str | None,
    limit: int,
) -> Iterator[Record]:
    path = folder / plan.files[kind].name
    columns = _column_names(path)
    wanted = [name for name in columns if name.startswith(("key.", "before.", "after."))]
    conditions: list[str] = []
    parameters: list[Any] = [str(path)]
    if key is not None:
        conditions.append(f"{_key_text(plan)} = ?")
        parameters.append(key)
    if outcome is not None:
        conditions.append("outcome = ?")
        parameters.append(outcome)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = f"""
        SELECT {", ".join(_quoted(name) for name in wanted)}, outcome, reason, code, request_id
        FROM (
            SELECT operations.*,
                   CASE WHEN batches.first IS NULL OR operations.sequence >= batches.first + batches.size THEN 'unsent'
                        ELSE coalesce(exceptions.outcome, batches.outcome) END AS outcome,
                   CASE WHEN exceptions.outcome IS NULL THEN batches.reason ELSE exceptions.reason END AS reason,
                   CASE WHEN exceptions.outcome IS NULL THEN batches.code ELSE exceptions.code END AS code,
                   batches.request_id AS request_id
            FROM (
                SELECT *, file_row_number + {plan.first(kind)} AS sequence
                FROM read_parquet(?, file_row_number = true)
            ) AS operations
            ASOF LEFT JOIN batches ON operations.sequence >= batches.first
            LEFT JOIN exceptions ON exceptions.sequence = operations.sequence
        )
        {where}
        ORDER BY sequence
        LIMIT {int(limit)}
    """
    for row in _rows(connection, statement, parameters):
        known = row["outcome"]
        yield Record(
            sync=record.sync,
            run_id=record.run_id,
            kind=kind,
            key=key_of(row, plan.keys),
            before=side(row, "before"),
            after=side(row, "after"),
            outcome=known,
            reason=(row["reason"] or "") if known != "unsent" else "",
            code=(row["code"] or "") if known != "unsent" else "",
            request_id=(row["request_id"] or "") if known != "unsent" else "",
        )


def _unsent(
    connection: duckdb.DuckDBPyConnection,
    record: RunRecord,
    path: Path,
    plan: Plan,
    outcome: RecordOutcome,
    key: str | None,
    limit: int,
) -> Iterator[Record]:
    """What a plan lists beside its operations, with the reason."""
    where = f"WHERE {_key_text(plan)} = ?" if key is not None else ""
    statement = f"SELECT * FROM read_parquet(?) {where} LIMIT {int(limit)}"
    for row in _rows(connection, statement, [str(path), *([key] if key is not None else [])]):
        yield Record(
            sync=record.sync,
            run_id=record.run_id,
            kind=None,
            key=key_of(row, plan.keys),
            before=None,
            after=None,
            outcome=outcome,
            reason=row["reason"] or "",
            code=row["code"] or "",
            field=row["field"] or "",
        )


def key_of(row: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The key in a row of a plan's file: a value, or a dict for several columns."""
    if len(keys) == 1:
        return row[f"key.{keys[0]}"]
    return {name: row[f"key.{name}"] for name in keys}


def side(row: Mapping[str, Any], prefix: str) -> dict[str, Any] | None:
    """The fields of one side of a row (`before` or `after`); None if the file has no such side."""
    found = {name[len(prefix) + 1 :]: shown(value) for name, value in row.items() if name.startswith(prefix + ".")}
    return found or None


def shown(value: Any) -> Any:
    """A value for people and JSON: a decimal that came of a computation without the zeros at its end."""
    if isinstance(value, Decimal) and value.is_finite() and int(value.as_tuple().exponent) <= -LONG_SCALE:
        return Decimal(format(value.normalize(), "f"))
    return value


def journal_tables(entries: Iterable[JournalEntry], folder: Path) -> tuple[pa.Table, pa.Table]:
    """The journal as two tables: batches by their first operation, and exceptions by sequence. If they are large, they
    lie in files without a name in `folder`."""
    with Rows(_BATCHES, folder) as batches, Rows(_EXCEPTIONS, folder) as exceptions:
        for entry in entries:
            outcomes = entry.outcomes or Outcomes(Outcome("unknown"))
            batches.append(entry.intent.first, entry.intent.size, *_ended(outcomes.common), outcomes.request_id)
            for index, outcome in outcomes.exceptions.items():
                exceptions.append(entry.intent.first + index, *_ended(outcome))
        return batches.table(), exceptions.table()


def _ended(outcome: Outcome) -> tuple[str, str, str]:
    return "unsent" if outcome.end == "not_applied" else outcome.end, outcome.reason, outcome.code


def _rows(connection: duckdb.DuckDBPyConnection, statement: str, parameters: list[Any]) -> Iterator[dict[str, Any]]:
    reader = connection.sql(statement, params=parameters).to_arrow_reader(ROWS_AT_ONCE)
    assert reader is not None
    for batch in reader:
        yield from python_rows(batch)


def _column_names(path: Path) -> list[str]:
    import pyarrow.parquet as parquet

    return list(parquet.read_schema(path).names)


def _key_text(plan: Plan) -> str:
    parts = [f"CAST({_quoted('key.' + name)} AS VARCHAR)" for name in plan.keys]
    return parts[0] if len(parts) == 1 else f"concat_ws(',', {', '.join(parts)})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

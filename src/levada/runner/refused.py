"""What the destination refuses for ever is sent again ever more rarely: after 1, 2, 4, 8, 16 runs, then every 24, or
after a day, if that comes first; and never twice by one command, which may finish an open run and then make one.

A finished run writes `refused.parquet` beside its plan: one row for each operation that was refused or was without
effect, by key and by the hash of its values. The next run joins its own plan with it. So an operation with other
values, another kind or another key is sent at once, and a missing or damaged file only means that all is sent. A mark
in the store names the run that wrote the last one, with the file's digest; to forget it (`levada retry`) is to make
everything due.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from levada.change import KINDS, Kind
from levada.delivery.order import DeliveryOrder
from levada.delivery.waiting import NOTHING, Waiting
from levada.plan import Plan
from levada.planners.files import digest_of
from levada.run import Tally
from levada.runner.records import MEMORY_LIMIT, journal_tables
from levada.sql.connection import connect
from levada.store import JournalEntry

if TYPE_CHECKING:
    import duckdb

    from levada.store import Lease, Memory, Store

WAITS = (1, 2, 4, 8, 16, 24)
"""How many runs after its first, second, … refusal an operation is sent again; from then on the last of them."""
WAIT_SECONDS_MAX = 86_400.0
"""After so long it is sent again, however few runs there were."""
MARK = "refused"
FILE = "refused.parquet"


def waiting(
    store: Store, sync: str, plan: Plan, folder: Path, just: Collection[str] = (), *, only_just: bool = False
) -> Waiting:
    """The operations of a plan in `folder` that were refused before with the same values.

    `just`: runs that this very command has finished. What they refused is not asked again by it, and their wait does
    not count as two. `only_just`: nothing else waits.
    """
    import duckdb

    named = store.memory.recall(sync, MARK)
    if named is None or not plan.counts.operations:
        return NOTHING
    run, _, digest = named.partition("/")
    path = store.snapshots.plan(run) / FILE
    if (only_just and run not in just) or not path.exists() or digest_of(path) != digest:
        return NOTHING
    again = int(run in just)
    with _connected(folder) as connection:
        try:
            moments = connection.sql(f"SELECT DISTINCT moment FROM read_parquet({_text(path)})").fetchall()
            late = [moment for (moment,) in moments if store.moments.seconds_since(moment) >= WAIT_SECONDS_MAX]
            asked = f"waits = list_extract({list(WAITS)}, least(tries, {len(WAITS)})) - 1" if only_just else "true"
            left = f"CASE WHEN list_contains({late}::VARCHAR[], moment) THEN 0 ELSE waits + {again} END"
            parts = [
                f"""
                SELECT o.sequence, r.ended AS "end", r.tries, r."left", r.reason, r.code, r.moment
                FROM ({_operations(folder, plan, kind)}) AS o
                JOIN (
                    SELECT *, {left} AS "left" FROM read_parquet({_text(path)}) WHERE kind = '{kind}' AND {asked}
                ) AS r ON o.key = r.key AND o.hash IS NOT DISTINCT FROM r.hash
                """
                for kind in _kinds(plan)
            ]
            found = connection.sql(f"{' UNION ALL '.join(parts)} ORDER BY 1").to_arrow_table()
        except duckdb.Error:  # a file that cannot be read: all is due
            return NOTHING
    return Waiting(found.combine_chunks())


def keep(store: Store, lease: Lease, order: DeliveryOrder, tally: Tally) -> None:
    """After a run: write down what was refused, for the next one. If that cannot be written, all is due."""
    import duckdb

    rows = 0
    if tally.rejected + tally.waiting + tally.suppressed:
        with suppress(duckdb.Error, OSError):
            entries = store.journals.entries(order.run_id)
            rows = _write(order.plan, order.folder, entries, order.waiting, store.moments.now())
    if rows:
        store.memory.remember(lease, MARK, f"{order.folder.name}/{digest_of(order.folder / FILE)}")
    else:
        forget(store.memory, lease)


def forget(memory: Memory, lease: Lease) -> None:
    """Everything is due."""
    if memory.recall(lease.sync, MARK) is not None:
        memory.remember(lease, MARK, None)


def _write(plan: Plan, folder: Path, entries: Iterable[JournalEntry], left_out: Waiting, moment: str) -> int:
    """The number of operations that were refused. A rejection beside a lost answer is not counted: it says
    nothing for certain, and is sent again by the next run."""
    known = (entry for entry in entries if entry.outcomes is not None and not entry.doubtful)
    batches, exceptions = journal_tables(known, folder)
    with _connected(folder) as connection:
        connection.register("batches", batches)
        connection.register("exceptions", exceptions)
        connection.register("earlier", left_out.table)
        parts = [
            f"""
            SELECT '{kind}' AS kind, o.key, o.hash,
                   coalesce(e.outcome, b.outcome) AS outcome,
                   CASE WHEN e.outcome IS NULL THEN b.reason ELSE e.reason END AS reason,
                   CASE WHEN e.outcome IS NULL THEN b.code ELSE e.code END AS code,
                   w."end" AS before, w.tries, w."left", w.reason AS words, w.moment
            FROM ({_operations(folder, plan, kind)}) AS o
            ASOF JOIN batches AS b ON o.sequence >= b.first
            LEFT JOIN exceptions AS e ON e.sequence = o.sequence
            LEFT JOIN earlier AS w ON w.sequence = o.sequence
            WHERE o.sequence < b.first + b.size
            """
            for kind in _kinds(plan)
        ]
        wait = f"list_extract({list(WAITS)}, least(coalesce(tries, 0) + 1, {len(WAITS)}))"
        made = f"""
            WITH refused AS (
                SELECT * FROM ({" UNION ALL ".join(parts)}) WHERE outcome IN ('rejected', 'waiting', 'suppressed')
            )
            SELECT kind, key, hash, before AS ended, tries, "left" - 1 AS waits, words AS reason, code, moment
            FROM refused WHERE "left" > 0
            UNION ALL
            SELECT kind, key, hash, outcome AS ended, coalesce(tries, 0) + 1 AS tries, {wait} - 1 AS waits, reason,
                   code, {_literal(moment)} AS moment
            FROM refused WHERE coalesce("left", 0) = 0
        """
        partial = folder / f"{FILE}.partial"
        (rows,) = connection.execute(f"COPY ({made}) TO {_text(partial)} (FORMAT parquet)").fetchone() or (0,)
    if rows:
        partial.replace(folder / FILE)
    else:
        partial.unlink()
    return int(rows)


def _kinds(plan: Plan) -> list[Kind]:
    return [kind for kind in KINDS if kind in plan.files and plan.counts.of(kind)]


def _operations(folder: Path, plan: Plan, kind: Kind) -> str:
    """The operations of a kind: sequence, key as text, and the hash of the values (none for removals)."""
    import pyarrow.parquet as parquet

    path = folder / plan.files[kind].name
    values = "CAST(hash AS VARCHAR)" if "hash" in parquet.read_schema(path).names else "CAST(NULL AS VARCHAR)"
    keys = ", ".join('"' + f"key.{key}".replace('"', '""') + '"' for key in plan.keys)
    return (
        f"SELECT file_row_number + {plan.first(kind)} AS sequence, CAST(json_array({keys}) AS VARCHAR) AS key, "
        f"{values} AS hash FROM read_parquet({_text(path)}, file_row_number = true)"
    )


def _text(path: Path) -> str:
    return _literal(str(path))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _connected(folder: Path) -> duckdb.DuckDBPyConnection:
    return connect(memory_limit=MEMORY_LIMIT, threads=1, temp_directory=str(folder / "spill"))

"""Which operations of a plan wait because an earlier request for their record may still be applied.

A request whose answer was lost may take effect late, for `max_server_seconds` after it was sent; an old value must not
overwrite a newer one. So the operations of those records wait, and all others go at once. A record is known by its key
and by its match values: what removes, makes or changes a record under the same match values waits with it, and what
would have to come after that. What is not here: how an order goes on without them (`levada.delivery.http_engine`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from levada.change import KINDS, Kind
from levada.delivery.idempotency import HELD
from levada.destination import DestinationSpec
from levada.errors import ConfigError, CorruptedError
from levada.outcome import Outcome
from levada.plan import Plan
from levada.run import Wait
from levada.sql.connection import connect
from levada.sql.text import literal, quoted
from levada.wording import plural

if TYPE_CHECKING:
    import duckdb

    from levada.store import Store

MEMORY = "160MB"
ROUNDS_MAX = 50
"""So many records may wait for one another in a row; in a longer row, everything waits."""
SIDES: dict[Kind, tuple[str, ...]] = {"removed": ("before",), "changed": ("before", "after"), "added": ("after",)}
_RANGES = pa.schema([pa.field("first", pa.int64()), pa.field("stop", pa.int64())])


@dataclass(frozen=True, slots=True)
class Held:
    """Operations of one plan that are not sent before `seconds` have passed.

    `sequences`: which, in order (int64); None: all, because it cannot be told which records are concerned.
    """

    seconds: float = 0.0
    sequences: pa.Array[Any] | None = field(default_factory=lambda: pa.array([], pa.int64()))

    def __bool__(self) -> bool:
        return self.sequences is None or len(self.sequences) > 0

    def of(self, first: int, size: int) -> dict[int, Outcome]:
        """The end, for now, of those among operations [first, first + size), by index from 0. Not for all."""
        if not self:
            return {}
        places: Any = self.sequences
        start = self._place(first)
        found = places.slice(start, self._place(first + size) - start).to_pylist()
        return dict.fromkeys((sequence - first for sequence in found), HELD)

    def _place(self, sequence: int) -> int:
        column: Any = self.sequences
        return bisect_left(range(len(column)), sequence, key=lambda index: int(column[index].as_py()))

    def wait(self, destination: str, spec: DestinationSpec, operations: int, seconds: float) -> Wait:
        """What is told of the wait: why, how long, how many of `operations` records, and what shortens it."""
        records = operations if self.sequences is None else len(self.sequences)
        which = plural(records, "record waits", "records wait")
        options = ["max_server_seconds", *(["index_lag_seconds"] if spec.index_lag_seconds else [])]
        says = "say" if len(options) > 1 else "says"
        named = " and ".join(f"`{option}: {getattr(spec, option):g}`" for option in options)
        why = "an earlier request was not answered and may still be applied"
        if self.sequences is not None:
            why = f"an earlier request for {'it' if records == 1 else 'them'} was not answered and may still be applied"
        words = f"{which}, because {why}; {named} of {destination} {says} for how long, and less shortens the wait"
        return Wait("hold", seconds, words, records, options[0])


def held(
    store: Store,
    sync: str,
    plan: Plan,
    folder: Path,
    run_id: str = "",
    *,
    own: Sequence[tuple[int, int]] = (),
    seconds: float = 0.0,
) -> Held:
    """The operations of a plan in `folder` that wait for what other runs of the sync have sent; and for what an
    earlier process sent of this very run, its operations [first, stop) in `own`, for `seconds` from now."""
    import duckdb

    # a settling run sends the same requests again
    hold = None if plan.purpose == "settle" else store.journals.hold(sync)
    runs = [run for run in hold.runs if run != run_id] if hold is not None else []
    if hold is not None and not hold.runs:
        return Held(max(hold.seconds_left, seconds), None)
    if not runs and not own:
        return Held()
    wait = max(hold.seconds_left if hold is not None and runs else 0.0, seconds if own else 0.0)
    with connect(memory_limit=MEMORY, threads=1, temp_directory=str(folder / "spill")) as connection:
        try:
            for table in ("open_keys", "open_matches"):
                connection.execute(f"CREATE TEMP TABLE {table} (name VARCHAR)")
            for run in runs:
                _sent_by(store, run, plan, connection)
            sequences = _closed(connection, plan, folder, own)
        except (_UntoldError, ConfigError, CorruptedError, OSError, duckdb.Error):
            return Held(wait, None)
    return Held(wait, sequences)


class _UntoldError(Exception):
    """It cannot be told which records are concerned."""


def _sent_by(store: Store, run_id: str, plan: Plan, connection: duckdb.DuckDBPyConnection) -> None:
    """Note the keys and match values of what a run sent and may still be applied."""
    record = store.runs.get(run_id)
    if record.status == "cancelled" or not record.folder:
        raise _UntoldError  # a plan that was dropped: nobody knows what its answered requests changed
    folder = store.snapshots.plan(record.folder)
    earlier = Plan.read(folder)
    if earlier.match != plan.match or earlier.keys != plan.keys:
        raise _UntoldError
    doubtful = (entry for entry in store.journals.entries(run_id) if entry.doubtful or entry.outcomes is None)
    ranges = [(entry.intent.first, entry.intent.first + entry.intent.size) for entry in doubtful]
    _register(connection, ranges)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE sent AS SELECT o.key, o.matches FROM ({_operations(earlier, folder)}) o
        JOIN ranges r ON o.place >= r.first AND o.place < r.stop"""
    )
    connection.execute("INSERT INTO open_keys SELECT key FROM sent")
    connection.execute("INSERT INTO open_matches SELECT unnest(matches) FROM sent")


def _closed(
    connection: duckdb.DuckDBPyConnection, plan: Plan, folder: Path, own: Iterable[tuple[int, int]]
) -> pa.Array[Any]:
    """The operations of the plan that are concerned, and those that have to come after one of them."""
    if not plan.files:
        return pa.array([], pa.int64())
    _register(connection, list(own))
    operations = _operations(plan, folder)
    connection.execute(
        f"""CREATE TEMP TABLE held AS SELECT place, matches FROM ({operations})
        WHERE key IN (SELECT name FROM open_keys)
        OR EXISTS (SELECT 1 FROM ranges r WHERE place >= r.first AND place < r.stop)"""
    )
    for _ in range(ROUNDS_MAX):
        connection.execute("INSERT INTO open_matches SELECT unnest(matches) FROM held")
        (more,) = connection.execute(
            f"""INSERT INTO held SELECT place, matches FROM ({operations})
            WHERE (matches[1] IN (SELECT name FROM open_matches) OR matches[2] IN (SELECT name FROM open_matches))
            AND place NOT IN (SELECT place FROM held)"""
        ).fetchone() or (0,)
        if not more:
            found: Any = connection.sql("SELECT place FROM held ORDER BY place").to_arrow_table()
            places: pa.Array[Any] = found["place"].combine_chunks().cast(pa.int64())
            return places
    raise _UntoldError


def _register(connection: duckdb.DuckDBPyConnection, ranges: Sequence[tuple[int, int]]) -> None:
    columns = zip(*ranges, strict=True) if ranges else ((), ())
    connection.register("ranges", pa.table([pa.array(list(column), pa.int64()) for column in columns], schema=_RANGES))


def _operations(plan: Plan, folder: Path) -> str:
    """Every operation of a plan: its place, its key, and the match values of its record, before and after."""
    keys = ", ".join(f"CAST({quoted('key.' + key)} AS VARCHAR)" for key in plan.keys)
    parts = []
    for kind in (kind for kind in KINDS if kind in plan.files):
        path = literal(str(folder / plan.files[kind].name))
        matches = ", ".join(_match(plan.match, side) for side in SIDES[kind])
        parts.append(
            f"SELECT file_row_number + {plan.first(kind)} AS place, CAST(json_array({keys}) AS VARCHAR) AS key, "
            f"CAST([{matches}] AS VARCHAR[]) AS matches FROM read_parquet({path}, file_row_number = true)"
        )
    return " UNION ALL ".join(parts)


def _match(fields: Sequence[str], side: str) -> str:
    """The match values of a record as one text, for comparing: upper and lower case are alike, as at many tools."""
    values = [f"CAST({quoted(f'{side}.{name}')} AS VARCHAR)" for name in fields]
    if not values:
        return "NULL"
    known = " AND ".join(f"{value} IS NOT NULL" for value in values)
    alike = ", ".join(f"lower(trim({value}))" for value in values)
    return f"CASE WHEN {known} THEN CAST(json_array({alike}) AS VARCHAR) END"

"""Which records of a run later runs have written: an undo leaves them alone, whatever they hold by now.

Values alone do not tell: a record that was taken back, and made again by a later run with the same values, is that
run's. A later undo takes its run out of the count, so that runs can be taken back one after the other, newest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from levada.delivery.tally import settle
from levada.errors import LevadaError
from levada.plan import Plan
from levada.sql.connection import connect
from levada.sql.text import literal, quoted

if TYPE_CHECKING:
    import duckdb

    from levada.runner.world import World
    from levada.store import RunRecord

RUNS_MAX = 10_000
"""So many runs are looked through: more than a retention of 30 days holds of a sync that runs every five minutes."""


def touched(world: World, undone: RunRecord, keys: tuple[str, ...], folder: Path) -> Path | None:
    """A Parquet file in `folder` with the keys, as text (k0…), that runs later than `undone` wrote or may have written;
    None if there are none. A key that a run wrote and its undo took back is none of them."""
    signs = {undone.run_id: 1}
    columns = ", ".join(f"k{index}" for index in range(len(keys)))
    declared = ", ".join(f"k{index} VARCHAR" for index in range(len(keys)))
    with connect(memory_limit="256MB", temp_directory=str(folder)) as connection:
        connection.execute(f"CREATE TEMP TABLE written ({declared}, run INTEGER, sign INTEGER)")
        for number, (record, plan, place) in enumerate(_later(world, undone)):
            sign = -signs.get(plan.undoes, 1) if plan.purpose == "undo" else 1
            signs[record.run_id] = sign
            if plan.keys == keys:
                settled, _ = settle(plan, world.store.journals.entries(record.run_id), 0, folder)
                _gather(connection, plan, place, settled.exceptions, number, sign)
        target = folder / "touched.parquet"
        (rows,) = connection.execute(
            f"COPY (SELECT {columns} FROM (SELECT *, sum(sign) OVER (PARTITION BY {columns} ORDER BY run) AS so_far "
            f"FROM written) GROUP BY {columns} HAVING min(so_far) < 0 OR arg_max(so_far, run) <> 0) "
            f"TO {literal(str(target))} (FORMAT parquet)"
        ).fetchone() or (0,)
    if not rows:
        target.unlink()
        return None
    return target


def _later(world: World, undone: RunRecord) -> Iterator[tuple[RunRecord, Plan, Path]]:
    """The runs of the sync after this one that have a plan, oldest first."""
    found = []
    for record in world.store.runs.newest(undone.sync, RUNS_MAX):
        if record.run_id == undone.run_id:
            break
        if record.folder and record.purpose != "settle" and record.status != "blocked":
            found.append(record)
    for record in reversed(found):
        place = world.store.snapshots.plan(record.folder)
        try:
            yield record, Plan.read(place), place
        except LevadaError:
            continue  # it was dropped before it was whole


def _gather(
    connection: duckdb.DuckDBPyConnection, plan: Plan, folder: Path, exceptions: object, number: int, sign: int
) -> None:
    """The keys of a plan's operations that were delivered, or may have been."""
    connection.execute("CREATE OR REPLACE TEMP TABLE untouched (sequence BIGINT)")
    if exceptions is not None:
        connection.register("ended", exceptions)
        connection.execute(
            "INSERT INTO untouched SELECT sequence FROM ended WHERE settlement NOT IN ('delivered', 'unknown', 'gone')"
        )
        connection.unregister("ended")
    shown = ", ".join(f"CAST({quoted('key.' + key)} AS VARCHAR)" for key in plan.keys)
    for kind, file in plan.files.items():
        connection.execute(
            f"INSERT INTO written SELECT {shown}, ?, ? FROM read_parquet(?, file_row_number = true) "
            "ANTI JOIN untouched ON sequence = file_row_number + ?",
            [number, sign, str(folder / file.name), plan.first(kind)],
        )

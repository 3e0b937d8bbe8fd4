"""A few records of a ledger, spread over it, with the values that it holds of them: to look for at the destination.

Cheap in a ledger of any size: some row groups are read, and the keys of the newer segments. Not here: what it means
when they are not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from levada.planner import Ledger, Segment
from levada.planners import sql
from levada.sql.connection import connect

if TYPE_CHECKING:
    import duckdb

GROUPS_MAX = 8
"""So many row groups of a segment are read."""


def witnesses(ledger: Ledger, schema: pa.Schema, match: Sequence[str], size: int) -> pa.Table:
    """At most `size` confirmed records as `schema` types them; a field that the ledger has not, or has in another
    type, is NULL. Records whose match fields are not known are left out.

    Raises OSError and pa.ArrowException for files that cannot be read.
    """
    candidates: list[pa.Table] = []
    with connect(memory_limit="256MB") if len(ledger.segments) > 1 else nullcontext() as connection:
        for place, segment in enumerate(ledger.segments):
            if segment.kind == "upsert" and segment.file.rows:
                found = _drawn(ledger, segment, schema, size)
                later = ledger.segments[place + 1 :]
                candidates.append(_newest(connection, ledger, found, later) if connection and later else found)
    keys = [f"key.{name}" for name in ledger.keys]
    tables = [table.drop_columns(keys) for table in candidates]
    whole = pa.concat_tables(tables) if tables else schema.empty_table()
    for name in match:
        whole = whole.filter(pc.is_valid(whole.column(name)))
    return _spread(whole, size)


def _spread(table: pa.Table, size: int) -> pa.Table:
    """At most `size` rows, from the first to the last."""
    if table.num_rows <= size:
        return table
    return table.take(pa.array([index * table.num_rows // size for index in range(size)], pa.int64()))


def _drawn(ledger: Ledger, segment: Segment, schema: pa.Schema, size: int) -> pa.Table:
    """Confirmed records of one segment: their keys, and their values."""
    with parquet.ParquetFile(ledger.folder / segment.file.name) as file:
        names = file.schema_arrow.names
        keys = [f"key.{name}" for name in ledger.keys]
        fields = [f"after.{name}" for name in schema.names if f"after.{name}" in names]
        state = ["state"] if "state" in names else []
        groups = range(file.num_row_groups)
        if len(groups) > GROUPS_MAX:
            groups = [index * len(groups) // GROUPS_MAX for index in range(GROUPS_MAX)]  # type: ignore[assignment]
        each = max(1, -(-size // max(1, len(groups))))
        parts = [_spread(file.read_row_group(group, columns=[*keys, *fields, *state]), each) for group in groups]
    table = pa.concat_tables(parts)
    if state:
        compute = cast("Any", pc)
        confirmed: Any = compute.fill_null(compute.equal(table.column("state"), "confirmed"), True)
        table = table.filter(confirmed)
    columns: dict[str, Any] = {name: table.column(name) for name in keys}
    for one in schema:
        columns[one.name] = _typed(table, f"after.{one.name}", one.type)
    return pa.table(columns)


def _typed(table: pa.Table, name: str, kind: pa.DataType) -> Any:
    if name in table.column_names:
        try:
            return table.column(name).cast(kind)
        except (ValueError, TypeError, NotImplementedError):
            pass  # another type: these values are not compared
    return cast("Any", pa).nulls(table.num_rows, kind)


def _newest(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, found: pa.Table, later: Sequence[Segment]
) -> pa.Table:
    """Without the records of which a later segment says something else."""
    if not found.num_rows:
        return found
    import duckdb

    # as text: a key may have been of another type when a segment was written
    keys = [f"CAST({sql.quoted(f'key.{name}')} AS VARCHAR)" for name in ledger.keys]
    named = sql.listed(f"{key} AS k{index}" for index, key in enumerate(keys))
    numbered = found.append_column("levada_place", pa.array(range(found.num_rows), pa.int64()))
    connection.register("found", numbered.select([*found.column_names[: len(keys)], "levada_place"]))
    said = " UNION ALL ".join(
        f"SELECT {named} FROM {sql.parquet(ledger.folder / segment.file.name)}" for segment in later
    )
    try:
        rows = connection.sql(
            f"SELECT levada_place FROM (SELECT {named}, levada_place FROM found) f ANTI JOIN ({said}) s "
            f"ON {sql.equal('f', 's', 'k', len(keys))} ORDER BY levada_place"
        ).to_arrow_table()
    except duckdb.Error as error:
        raise OSError(f"a file of the ledger cannot be read: {error}") from error
    return found.take(rows.column("levada_place"))

"""Figures of operation files: NULLs by field, and in how many rows each field changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from levada.planners import sql, unmapped_fields
from levada.planners.engine import PARTS_MAX, Engine
from levada.planners.mapped import after_name, before_name

PARTS_PER_MEMORY = 4


def null_counts(engine: Engine, file: Path, side: str, names: Sequence[str]) -> dict[str, int]:
    """NULLs per field in one file: from the file's own statistics, or counted where it has none."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    told: dict[str, int] = {}
    unknown: set[str] = set()
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            column = row_group.column(index)
            count = column.statistics.null_count if column.statistics is not None else None
            if count is None:
                unknown.add(column.path_in_schema)
            else:
                told[column.path_in_schema] = told.get(column.path_in_schema, 0) + count
    found = {name: told[f"{side}.{name}"] for name in names if f"{side}.{name}" in told.keys() - unknown}
    rest = [name for name in names if name not in found]
    if rest:
        shown = sql.listed(f"count(*) FILTER ({sql.quoted(f'{side}.{name}')} IS NULL)" for name in rest)
        found |= dict(zip(rest, engine.row(f"SELECT {shown} FROM {sql.parquet(file)}"), strict=True))
    return found


def parts_for(file: Path, memory_bytes: int) -> int:
    """Into how many parts a file is to be cut, so that each takes a fraction of the memory."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    return min(PARTS_MAX, 1 + size * PARTS_PER_MEMORY // memory_bytes)


def fields_changed(engine: Engine, changed: Path, names: Sequence[str]) -> dict[str, int]:
    """In how many rows of changed.parquet each field differs, or comes back to where its value is not known.

    Fields that differ nowhere are left out.
    """
    if not names:
        return {}
    back = unmapped_fields.RETURNED in engine.types(f"SELECT * FROM {sql.parquet(changed)}")
    shown = sql.listed(
        f"count(*) FILTER ({before_name(name)} IS DISTINCT FROM {after_name(name)}"
        f"{f' OR {unmapped_fields.met(unmapped_fields.RETURNED, [name])}' if back else ''})"
        for name in names
    )
    found = engine.row(f"SELECT {shown} FROM {sql.parquet(changed)}")
    return {name: count for name, count in zip(names, found, strict=True) if count}

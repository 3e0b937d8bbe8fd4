"""Reading a plan's files for people: rows as JSON-ready values, a few at a time.

Integers stay integers; a decimal becomes a JSON number if that is exact, else text; instants are ISO 8601 with
a Z, bytes are hex with 0x in front. Not here: reading for delivery, which stays in columns.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from levada.change import KINDS, Kind
from levada.errors import CorruptedError
from levada.plan import Plan
from levada.planner import sample_kinds

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 8_192


def operations(
    plan: Plan,
    folder: Path,
    kinds: Sequence[Kind] = KINDS,
    limit: int | None = None,
    *,
    sequences: Collection[int] | None = None,
) -> list[dict[str, Any]]:
    """Operations as `{"sequence", "kind", "key", "before", "after"}`, in sending order.

    `limit` is per kind; `sequences` picks single operations. `key` is the bare value of a key of one column, an
    object for several; `before` is None for added rows, `after` for removed ones.
    """
    found: list[dict[str, Any]] = []
    for kind in KINDS:
        if kind not in kinds or kind not in plan.files:
            continue
        first = plan.first(kind)
        wanted = None if sequences is None else {number - first for number in sequences}
        for position, row in _rows(folder / plan.files[kind].name, limit, wanted):
            found.append(
                {
                    "sequence": first + position,
                    "kind": kind,
                    "key": _key(row, plan.keys),
                    "before": _side(row, "before.") if kind != "added" else None,
                    "after": _side(row, "after.") if kind != "removed" else None,
                }
            )
    return found


def sample(plan: Plan, folder: Path, size: int) -> list[dict[str, Any]]:
    """At most `size` operations, of all kinds evenly, as `{"kind", "key", "before", "after"}`."""
    found: list[dict[str, Any]] = []
    for kind, share in sample_kinds(plan, size):
        for row in operations(plan, folder, (kind,), share):
            del row["sequence"]
            found.append(row)
    return found


def invalid_rows(plan: Plan, folder: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The model's rows that cannot be sent, as `{"key", "field", "code", "reason"}`."""
    if plan.invalid is None:
        return []
    return [
        {"key": _key(row, plan.keys), "field": row["field"], "code": row["code"], "reason": row["reason"]}
        for _, row in _rows(folder / plan.invalid.name, limit, None)
    ]


def _rows(file: Path, limit: int | None, wanted: Collection[int] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    position = 0
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(min(BATCH_ROWS, limit or BATCH_ROWS)):
                size = batch.num_rows
                if wanted is not None:
                    picked = sorted(number - position for number in wanted if position <= number < position + size)
                    for index in picked:
                        yield position + index, _as_python(batch.slice(index, 1))[0]
                else:
                    stop = size if limit is None else min(size, limit - position)
                    for index, row in enumerate(_as_python(batch.slice(0, stop))):
                        yield position + index, row
                position += size
                if limit is not None and position >= limit:
                    return
    except (OSError, pa.ArrowInvalid) as error:
        raise CorruptedError(
            f"the plan's file {file} cannot be read: {error}",
            code="store.plan_corrupted",
            hint="nothing of it can be sent; `levada run --discard-plan` drops it and plans anew",
        ) from error


def _as_python(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    import pyarrow as pa

    columns = []
    for column in batch.columns:
        nanoseconds = pa.types.is_timestamp(column.type) and column.type.unit == "ns"
        columns.append(column.cast(pa.string()) if nanoseconds else column)
    rows = pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()
    return [{name: json_ready(value) for name, value in row.items()} for row in rows]


def _key(row: dict[str, Any], keys: Sequence[str]) -> Any:
    if len(keys) == 1:
        return row[f"key.{keys[0]}"]
    return {name: row[f"key.{name}"] for name in keys}


def _side(row: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}


def json_ready(value: Any) -> Any:
    """A value of Arrow's as one that JSON can hold; see the module."""
    match value:
        case None | bool() | str() | int():
            return value
        case Decimal():
            whole = value == value.to_integral_value()
            if whole:
                return int(value)
            return float(value) if Decimal(repr(float(value))) == value else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case dt.date() | dt.time():
            return value.isoformat()
        case bytes():
            return f"0x{value.hex()}"
        case dict():
            return {str(name): json_ready(each) for name, each in value.items()}
        case list() | tuple():
            return [json_ready(each) for each in value]
        case _:
            return str(value)

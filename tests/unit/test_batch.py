"""Parts of batches, and rows as Python values."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from levada.batch import Batch, python_rows


def whole(first: int, size: int, number: int) -> Batch:
    table = pa.table({"id": pa.array(range(first, first + size), pa.int64())})
    return Batch("s", "s@1", number, first, "added", "append", "people", (), table, table, f"key-{number}")


def parts(batch: Batch) -> list[Batch]:
    """All that a batch is cut into when it is halved down to single records."""
    if len(batch) == 1:
        return [batch]
    half = -(-len(batch) // 2)
    left, right = batch.slice(0, half), batch.slice(half, len(batch) - half)
    return [batch, *parts(left), *parts(right)]


def test_every_part_of_every_batch_has_a_number_of_its_own() -> None:
    """Files and marks go by the number: two parts of one number would overwrite each other."""
    found = [part for number in range(3) for part in parts(whole(number * 700, 700, number))]
    runs = {(part.sequence, len(part)) for part in found}
    assert len({part.number for part in found}) == len(runs)
    assert max(part.number for part in found) < 1 << 63


def test_times_that_python_cannot_hold_are_text() -> None:
    """Nanoseconds and the year 10000 are shown, and a time of whole microseconds is Python's own."""
    moments = pa.array([1_000_000_001, 1_000_000_000, None], pa.timestamp("ns"))
    far = pa.array([253_402_300_800, 0, None], pa.timestamp("s"))
    rows = python_rows(pa.table({"fine": moments, "far": far}))
    assert [row["fine"] for row in rows] == ["1970-01-01T00:00:01.000000001", dt.datetime(1970, 1, 1, 0, 0, 1), None]  # noqa: DTZ001
    assert [row["far"] for row in rows] == ["10000-01-01T00:00:00", "1970-01-01T00:00:00", None]

"""Numbers of unlimited size: exact where they are sent, computed with as numbers, refused by name where too long."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from contracts.planner_bench import PlannerBench
from levada.mapping import FieldMapping, Mapping
from levada.planners.local import LocalPlanner
from levada.source import TYPE_KEY

LONG = "1" * 25
FINE = "0." + "1" * 20
TOO_FINE = "0." + "1" * 21


def arrived(folder: Path, texts: list[str | None], mapped: FieldMapping) -> list[Any]:
    """What each number arrives as; "invalid" for a row that is refused."""
    bench = PlannerBench(LocalPlanner(folder / "spool", threads=1), folder)
    fields: list[pa.Field[Any]] = [
        pa.field("id", pa.int64()),
        pa.field("n", pa.string(), metadata={TYPE_KEY: b"numeric_text"}),
    ]
    schema = pa.schema(fields)
    columns: list[Any] = [pa.array(range(len(texts)), pa.int64()), pa.array(texts, pa.string())]
    table = pa.Table.from_arrays(columns, schema=schema)
    found = bench.planner.preview(bench.request(table, Mapping((mapped,), ())), len(texts))
    rows = {row["key.id"]: row for row in found.to_pylist()}
    values = [rows[index] for index in range(len(texts))]
    return ["invalid" if row["invalid"] is not None else row[f"after.{mapped.field}"] for row in values]


def test_where_any_type_goes_it_is_a_number(tmp_path: Path) -> None:
    """sum() and avg() of PostgreSQL arrive as numbers, or the row is refused: never as text, never rounded."""
    found = arrived(tmp_path, ["6", "1.50", FINE, None, LONG, TOO_FINE, "NaN"], FieldMapping("out", "column", "n"))
    assert [Decimal(6), Decimal("1.5"), Decimal(FINE), None, "invalid", "invalid", "invalid"] == found


def test_expressions_compute_with_it(tmp_path: Path) -> None:
    """`round(total, 2)` works without a cast in the model."""
    found = arrived(tmp_path, ["1.555", LONG], FieldMapping("out", "sql", "round(n, 2)"))
    assert [Decimal("1.56"), "invalid"] == found


def test_a_field_of_type_text_gets_the_digits_as_they_are(tmp_path: Path) -> None:
    """Where digits are wanted, none is added or lost, however many there are."""
    found = arrived(tmp_path, ["1.50", LONG, "NaN"], FieldMapping("out", "column", "n", type="text"))
    assert found == ["1.50", LONG, "NaN"]


def test_a_template_shows_the_digits_as_they_are(tmp_path: Path) -> None:
    """No zeros appear behind a number in a sentence."""
    assert arrived(tmp_path, ["1.50"], FieldMapping("out", "template", "You spent {{ n }}")) == ["You spent 1.50"]


def test_a_column_that_is_not_sent_refuses_no_row(tmp_path: Path) -> None:
    """A number that is too long matters only where it is used."""
    assert arrived(tmp_path, [LONG], FieldMapping("out", "column", "id")) == [0]

"""Transforms: every documented example, in SQL and in Python alike, and the page that shows them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from contracts.planner_bench import PlannerBench
from levada.errors import ConfigError
from levada.mapping import FieldMapping, Mapping
from levada.planners.local import LocalPlanner
from levada.planners.transforms import TRANSFORMS, chain, parsed, reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "transforms.md"
EXAMPLES = [
    (f"{name}({argument})" if argument else name, value, result)
    for name, transform in TRANSFORMS.items()
    for argument, value, result in transform.examples
]


def applied(tmp_path: Path, values: list[str | None], *specs: str) -> list[str | None]:
    """What a chain of transforms makes of values, by way of the planner's preview."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    table = pa.table({"id": range(len(values)), "value": pa.array(values, pa.string())})
    mapping = Mapping((FieldMapping("out", "column", "value", apply=specs),), ())
    rows = bench.planner.preview(bench.request(table, mapping), len(values)).to_pylist()
    by_key = {row["key.id"]: row for row in rows}
    return [
        by_key[index]["after.out"] if by_key[index]["invalid"] is None else "invalid" for index in range(len(values))
    ]


def test_every_documented_example_is_true(tmp_path: Path) -> None:
    """The reference page shows what really happens."""
    for spec in sorted({spec for spec, _, _ in EXAMPLES}):
        values = [(value, result) for name, value, result in EXAMPLES if name == spec]
        expected = [result for _, result in values]
        assert applied(tmp_path, [value for value, _ in values], spec) == expected, spec


def test_the_reference_page_is_what_the_code_says() -> None:
    """A stale page fails: write `levada.planners.transforms.reference()` into it."""
    assert PAGE.read_text(encoding="utf-8") == reference()


def test_transforms_apply_in_order_across_sql_and_python(tmp_path: Path) -> None:
    """A chain may go from SQL to Python and back."""
    (hashed,) = applied(tmp_path, [" 020 7946 0958 "], "trim", "phone_e164(GB)", "digits", "sha256")
    (expected,) = applied(tmp_path, ["442079460958"], "sha256")
    assert hashed == expected


def test_null_stays_null_through_any_chain(tmp_path: Path) -> None:
    """The hash of nothing is nothing."""
    assert applied(tmp_path, [None, ""], "normalize_email", "sha256") == [None, None]
    assert applied(tmp_path, [None, " "], "phone_e164(ES)", "sha256") == [None, None]


def test_what_cannot_be_converted_makes_the_row_invalid(tmp_path: Path) -> None:
    """By name, never by an empty value."""
    assert applied(tmp_path, ["yesterday", "2026-02-30", "2026-02-03"], "iso_date") == [
        "invalid",
        "invalid",
        "2026-02-03",
    ]
    assert applied(tmp_path, ["12", "no", "+1 555 0100"], "phone_e164(GB)") == ["invalid", "invalid", "invalid"]


@pytest.mark.parametrize(
    ("spec", "hint"),
    [("normalise_email", "normalize_email"), ("sha265", "sha256"), ("phone_e164(XX)", "GB"), ("lower(x)", "lower")],
)
def test_an_unknown_transform_is_named_with_the_nearest(spec: str, hint: str) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigError) as caught:
        parsed(spec, subject="fields.x")
    assert caught.value.code == "config.transform"
    assert hint in (caught.value.hint or "")


def test_a_chain_is_bounded() -> None:
    """Twenty transforms are enough for anybody."""
    with pytest.raises(ConfigError):
        chain(["trim"] * 21, subject="fields.x")

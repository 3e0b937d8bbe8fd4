"""Exact values: what arrives is the model's value, or the row is invalid by name. Never anything between."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.planner_bench import PlannerBench
from levada.errors import ConfigError
from levada.mapping import FieldMapping, FieldType, Mapping, ValueLimits
from levada.planners.local import LocalPlanner


class _Refused:
    """Stands for a value that is refused; its name is the same in every test process."""

    def __repr__(self) -> str:
        return "refused"


INVALID = _Refused()
NONE = ValueLimits()
ROWS_MAX = 200


def arrived(
    folder: Path, values: list[Any], kind: pa.DataType, target: FieldType, limits: ValueLimits = NONE, sql: str = ""
) -> list[Any]:
    """What becomes of each value: what arrives, or INVALID. Through the whole planner, read with pyarrow."""
    bench = PlannerBench(LocalPlanner(folder / "spool", threads=1), folder)
    table = pa.table({"id": pa.array(range(len(values)), pa.int64()), "value": pa.array(values, kind)})
    mapped = FieldMapping("out", "sql" if sql else "column", sql or "value", type=target, limits=limits)
    found = bench.planner.preview(bench.request(table, Mapping((mapped,), ())), len(values))
    rows = {row["key.id"]: row for row in found.to_pylist()}
    return [INVALID if rows[i]["invalid"] is not None else rows[i]["after.out"] for i in range(len(values))]


def reasons(folder: Path, values: list[Any], kind: pa.DataType, target: FieldType, limits: ValueLimits) -> list[str]:
    bench = PlannerBench(LocalPlanner(folder / "spool", threads=1), folder)
    table = pa.table({"id": pa.array(range(len(values)), pa.int64()), "value": pa.array(values, kind)})
    mapped = FieldMapping("out", "column", "value", type=target, limits=limits)
    planned = bench.plan(table, Mapping((mapped,), ()))
    return [row["code"] for row in sorted(planned.invalid, key=lambda row: int(row["key.id"]))]


TEXT, INT, FLOAT = pa.string(), pa.int64(), pa.float64()
DAY, MOMENT, INSTANT = pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")
UTC = dt.UTC


def naive(*parts: int) -> dt.datetime:
    return dt.datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 -- naive on purpose


CASES: list[tuple[pa.DataType, FieldType, ValueLimits, list[Any], list[Any]]] = [
    (
        FLOAT,
        "integer",
        NONE,
        [1.5, 2.0, -0.0, math.nan, math.inf, 1e300, None],
        [INVALID, 2, 0, INVALID, INVALID, INVALID, None],
    ),
    (
        TEXT,
        "integer",
        NONE,
        ["12", "-0", "abc", "1.0", " 1", "", "9" * 38, "9" * 39],
        [12, 0, INVALID, INVALID, INVALID, INVALID, 10**38 - 1, INVALID],
    ),
    (INT, "integer", ValueLimits(integer_bits=16), [32767, 32768, -32768, -32769], [32767, INVALID, -32768, INVALID]),
    (INT, "integer", ValueLimits(integer_bits=64), [2**63 - 1, -(2**63)], [2**63 - 1, -(2**63)]),
    (pa.uint64(), "integer", ValueLimits(integer_bits=64), [2**64 - 1, 2**63 - 1], [INVALID, 2**63 - 1]),
    (pa.uint64(), "integer", NONE, [2**64 - 1], [Decimal(2**64 - 1)]),
    (pa.decimal128(10, 2), "integer", NONE, [Decimal("1.50"), Decimal("7.00")], [INVALID, 7]),
    (pa.bool_(), "integer", NONE, [True, False], [1, 0]),
    (
        TEXT,
        "decimal",
        ValueLimits(decimal_digits=5, decimal_scale=2),
        ["1.5", "1.50", "1.555", "999.99", "1000", "1e3", "NaN", ".5", "5."],
        [
            Decimal("1.5"),
            Decimal("1.5"),
            INVALID,
            Decimal("999.99"),
            INVALID,
            INVALID,
            INVALID,
            Decimal("0.5"),
            Decimal(5),
        ],
    ),
    (
        FLOAT,
        "decimal",
        ValueLimits(decimal_digits=5, decimal_scale=2),
        [0.1, 0.125, 999.99, 1000.0, math.nan],
        [Decimal("0.1"), INVALID, Decimal("999.99"), INVALID, INVALID],
    ),
    (
        pa.decimal128(20, 4),
        "decimal",
        ValueLimits(decimal_digits=10, decimal_scale=2),
        [Decimal("1.2300"), Decimal("1.2345"), Decimal("123456789")],
        [Decimal("1.23"), INVALID, INVALID],
    ),
    (
        pa.decimal128(38, 10),
        "decimal",
        NONE,
        [Decimal("1234567890123456789012345678.0123456789")],
        [Decimal("1234567890123456789012345678.0123456789")],
    ),
    (INT, "decimal", ValueLimits(decimal_digits=3, decimal_scale=0), [999, 1000], [Decimal(999), INVALID]),
    (INT, "number", NONE, [2**53, 2**53 + 1, -5], [float(2**53), INVALID, -5.0]),
    (pa.decimal128(20, 4), "number", NONE, [Decimal("0.1"), Decimal("1234567890123456.7891")], [0.1, INVALID]),
    (
        TEXT,
        "number",
        NONE,
        ["0.1", "1e3", "x", "inf", None, "0.12345678901234567890"],
        [0.1, 1000.0, INVALID, INVALID, None, INVALID],
    ),
    (FLOAT, "number", ValueLimits(nonfinite=True), [math.inf], [math.inf]),
    (FLOAT, "any", NONE, [math.inf, 1.5], [INVALID, 1.5]),
    (TEXT, "boolean", NONE, ["true", "F", "1", "yes", ""], [True, False, True, INVALID, INVALID]),
    (INT, "boolean", NONE, [1, 0, 2], [True, False, INVALID]),
    (MOMENT, "date", NONE, [naive(2026, 3, 1), naive(2026, 3, 1, 0, 0, 0, 1)], [dt.date(2026, 3, 1), INVALID]),
    (
        TEXT,
        "date",
        NONE,
        ["2026-03-01", "2026-02-30", "1.3.2026", "0001-01-01"],
        [dt.date(2026, 3, 1), INVALID, INVALID, dt.date(1, 1, 1)],
    ),
    (DAY, "timestamp", NONE, [dt.date(2026, 3, 1)], [naive(2026, 3, 1)]),
    (
        TEXT,
        "timestamp",
        NONE,
        ["2026-03-01 10:00:00.123456", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00.1234567", "x"],
        [naive(2026, 3, 1, 10, 0, 0, 123456), INVALID, INVALID, INVALID],
    ),
    (
        TEXT,
        "timestamp_tz",
        NONE,
        ["2026-03-01T10:00:00+02:00", "2026-03-01T10:00:00Z", "2026-03-01 10:00:00"],
        [dt.datetime(2026, 3, 1, 8, tzinfo=UTC), dt.datetime(2026, 3, 1, 10, tzinfo=UTC), INVALID],
    ),
    (pa.timestamp("ns"), "timestamp", NONE, [1_000, 1_001], [naive(1970, 1, 1, 0, 0, 0, 1), INVALID]),
    (TEXT, "time", NONE, ["10:00:00", "25:00:00", "10:00"], [dt.time(10), INVALID, dt.time(10)]),
    (
        TEXT,
        "uuid",
        NONE,
        ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "x"],
        ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", INVALID],
    ),
    (
        TEXT,
        "json",
        NONE,
        ['{"a": "NaN, ]"}', "abc", "[1]", None, "[NaN]", "[1,]", "Infinity", "'a'"],
        ['{"a": "NaN, ]"}', INVALID, "[1]", None, INVALID, INVALID, INVALID, INVALID],
    ),
    (TEXT, "list", NONE, ["[1, 2]", '{"a": 1}', "1"], ["[1, 2]", INVALID, INVALID]),
    (TEXT, "object", NONE, ["[1, 2]", '{"a": 1}', "null"], [INVALID, '{"a": 1}', INVALID]),
    (pa.list_(pa.int32()), "list", NONE, [[1, None, 2], [], None], [[1, None, 2], [], None]),
    (pa.list_(pa.float64()), "json", NONE, [[1.5], [math.nan]], ["[1.5]", INVALID]),
    (pa.binary(), "binary", NONE, [b"\x00\xff", b""], [b"\x00\xff", b""]),
    (
        TEXT,
        "text",
        ValueLimits(text_characters=2),
        ["ab", "abc", "é\u0301", "👨‍👩‍👧"],
        ["ab", INVALID, "é\u0301", INVALID],
    ),
    (TEXT, "text", ValueLimits(text_bytes=2), ["é", "éa"], ["é", INVALID]),
    (TEXT, "text", NONE, ["a\x00b"], [INVALID]),
    (TEXT, "text", ValueLimits(nul_character=True), ["a\x00b"], ["a\x00b"]),
    (TEXT, "text", ValueLimits(choices=("a", "b'")), ["a", "b'", "c", None], ["a", "b'", INVALID, None]),
    (TEXT, "text", ValueLimits(nullable=False), ["", None], ["", INVALID]),
    (INT, "text", NONE, [-5], ["-5"]),
    (pa.bool_(), "text", NONE, [True], ["true"]),
    (INSTANT, "text", NONE, [dt.datetime(2026, 3, 1, 10, 0, 0, 5, tzinfo=UTC)], ["2026-03-01T10:00:00.000005Z"]),
    (DAY, "text", NONE, [dt.date(1, 1, 1)], ["0001-01-01"]),
]


@pytest.mark.parametrize(("kind", "target", "limits", "values", "expected"), CASES, ids=lambda part: str(part)[:30])
def test_each_value_arrives_exactly_or_is_invalid(
    tmp_path: Path, kind: pa.DataType, target: FieldType, limits: ValueLimits, values: list[Any], expected: list[Any]
) -> None:
    """A table of the edges of every type."""
    assert arrived(tmp_path, values, kind, target, limits) == expected


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (pa.timestamp("us"), "timestamp_tz"),
        (pa.timestamp("us", "UTC"), "timestamp"),
        (pa.binary(), "text"),
        (pa.string(), "binary"),
        (pa.date32(), "integer"),
        (pa.int64(), "date"),
        (pa.int64(), "list"),
        (pa.bool_(), "decimal"),
    ],
    ids=str,
)
def test_types_that_no_value_can_cross_are_refused_before_anything_is_read(
    tmp_path: Path, kind: pa.DataType, target: FieldType
) -> None:
    """A naive time for a zoned field among them: which zone is meant is for a person to say."""
    with pytest.raises(ConfigError) as caught:
        arrived(tmp_path, [], kind, target)
    assert caught.value.code == "config.type"
    assert caught.value.hint


def test_a_zone_given_in_sql_makes_an_instant(tmp_path: Path) -> None:
    """What the hint says works."""
    found = arrived(tmp_path, [naive(2026, 7, 1, 12)], MOMENT, "timestamp_tz", sql="value at time zone 'Europe/Madrid'")
    assert found == [dt.datetime(2026, 7, 1, 10, tzinfo=UTC)]


def test_large_integers_of_duckdb_are_exact_or_refused(tmp_path: Path) -> None:
    """HUGEINT goes through files that know no such type."""
    huge = arrived(
        tmp_path,
        [0, 1],
        INT,
        "any",
        sql="case when value = 0 then 99999999999999999999999999999999999999::hugeint end",
    )
    assert huge == [Decimal(99999999999999999999999999999999999999), None]
    refused = arrived(tmp_path, [0], INT, "any", sql="170141183460469231731687303715884105727::hugeint")
    assert refused == [INVALID]


def test_an_infinite_date_is_invalid(tmp_path: Path) -> None:
    """No calendar has it, and neither has JSON."""
    for target in ("any", "date", "timestamp"):
        assert arrived(tmp_path, [0], INT, target, sql="date 'infinity'") == [INVALID]


def test_reasons_carry_codes_and_sizes_but_no_values(tmp_path: Path) -> None:
    """What the record listing shows is safe to print."""
    codes = reasons(tmp_path, ["secret-value", "ab"], TEXT, "text", ValueLimits(text_characters=3))
    assert codes == ["too_long"]


def decoded(value: Any, target: FieldType) -> Any:
    """A value as the arrived one has to compare with it."""
    if isinstance(value, str) and target in ("integer", "decimal", "number"):
        return Decimal(value)
    return value


scalars = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda value: (pa.int64(), value)),
    st.floats().map(lambda value: (pa.float64(), value)),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=5).map(
        lambda value: (pa.decimal128(38, 5), value)
    ),
    st.one_of(
        st.text(), st.integers().map(str), st.decimals(places=3, allow_nan=False, allow_infinity=False).map(str)
    ).map(lambda value: (pa.string(), value)),
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(scalars, min_size=30, max_size=ROWS_MAX),
    st.sampled_from(["integer", "decimal", "number", "text"]),
    st.sampled_from([NONE, ValueLimits(decimal_digits=12, decimal_scale=3, integer_bits=32, text_characters=20)]),
)
def test_generated_values_are_exact_or_invalid(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[pa.DataType, Any]],
    target: FieldType,
    limits: ValueLimits,
) -> None:
    """Whatever arrives decodes to the model's value: nothing is rounded, cut or replaced."""
    by_kind: dict[pa.DataType, list[Any]] = {}
    for kind, value in drawn:
        by_kind.setdefault(kind, []).append(value)
    for kind, values in by_kind.items():
        folder = tmp_path_factory.mktemp("values")
        for value, found in zip(values, arrived(folder, values, kind, target, limits), strict=True):
            if found is INVALID:
                continue
            if target == "text":
                assert _same_text(value, found), (kind, value, found)
            elif isinstance(value, float) or isinstance(found, float):
                assert float(value) == float(found), (kind, value, found)
                assert target != "decimal" or Decimal(repr(value)) == found, (value, found)
            else:
                assert Decimal(value) == Decimal(found), (kind, value, found)


def _same_text(value: Any, found: str) -> bool:
    if isinstance(value, str):
        return value == found
    if isinstance(value, float):
        return float(found) == value
    return bool(Decimal(found) == value)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(st.text(), st.sampled_from(["\ufeff", "\u2028", "e\u0301", "\U0010ffff", "\r\n"])),
        min_size=1,
        max_size=100,
    )
)
def test_every_valid_text_arrives_byte_by_byte(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    """All of Unicode but U+0000, which is refused."""
    found = arrived(tmp_path_factory.mktemp("text"), values, TEXT, "text")
    assert found == [INVALID if "\x00" in value else value for value in values]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.datetimes(), min_size=1, max_size=100))
def test_every_instant_and_date_arrives_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, values: list[dt.datetime]
) -> None:
    """No zone is applied to a naive time, and an instant stays the same instant."""
    folder = tmp_path_factory.mktemp("times")
    assert arrived(folder, values, MOMENT, "timestamp") == values
    instants = [value.replace(tzinfo=UTC) for value in values]
    assert arrived(folder, instants, INSTANT, "timestamp_tz") == instants
    texts = arrived(folder, instants, INSTANT, "text")
    assert [dt.datetime.fromisoformat(text) for text in texts] == instants
    days = [value.date() for value in values]
    assert arrived(folder, days, DAY, "date") == days


def test_json_of_nested_values_is_json(tmp_path: Path) -> None:
    """Structs, lists and maps become JSON that says the same."""
    kind = pa.struct([("a", pa.list_(pa.int64())), ("b", pa.string())])
    (found,) = arrived(tmp_path, [{"a": [1, None], "b": 'x"y'}], kind, "json")
    assert json.loads(found) == {"a": [1, None], "b": 'x"y'}

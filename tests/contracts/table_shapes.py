"""More of the contract of a database as destination: what is created, what is missing, names, values, mode replace.

Used as `contracts.tables`, whose bench it shares.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from contracts.tables import ALICE, BOB, SCHEMA, TableBench, columns_of, gathered, records, write
from levada.change import Kind
from levada.errors import ConfigError

ODD_NAMES = (
    'a "quoted" name',
    "back`tick",
    "semi;colon--",
    "Ünï çødé 表",
    "it's",
    "select",
    "100%s",
    "br]acket",
    "a.b",
)
INJECTIONS = (
    "'; DROP TABLE people; --",
    "\\'; --",
    '"',
    "%s %d %%",
    "$1",
    "{}",
    "\\",
    "\\N",
    "a\\.\nb\n\\.\nc",
    "NULL",
)

EXACT: Sequence[tuple[str, pa.DataType, Sequence[Any]]] = (
    ("flag", pa.bool_(), [True, False]),
    ("tiny", pa.int8(), [-128, 127]),
    ("small", pa.int16(), [-(2**15), 2**15 - 1]),
    ("medium", pa.int32(), [-(2**31), 2**31 - 1]),
    ("big", pa.int64(), [-(2**63), 2**63 - 1]),
    ("beyond_double", pa.int64(), [2**53 + 1, -(2**53) - 1]),
    ("unsigned", pa.uint64(), [0, 2**64 - 1]),
    ("money", pa.decimal128(12, 2), [Decimal("1234567890.12"), Decimal("-0.01")]),
    ("precise", pa.decimal128(38, 10), [Decimal("1234567890123456789012345678.0123456789"), Decimal("0.0000000001")]),
    ("whole", pa.decimal128(38, 0), [Decimal(10**37), Decimal(-1)]),
    ("ratio", pa.float64(), [0.1 + 0.2, 1.7976931348623157e308]),
    ("little", pa.float64(), [5e-324, -0.0]),
    ("words", pa.string(), ["", "  padded  "]),
    ("lines", pa.string(), ["a\r\nb\tc\\d'e\"f", "\u2028\ufeff"]),
    ("unicode", pa.string(), ["👩‍👩‍👧‍👦 e\u0301 é ﬁ", "\U0010ffff\u200b\u202e"]),
    ("bytes", pa.binary(), [b"\x00\xff\\'\"\n", b""]),
    ("day", pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    ("clock", pa.time64("us"), [dt.time(0, 0), dt.time(23, 59, 59, 999_999)]),
    (
        "moment",
        pa.timestamp("us"),
        [*map(dt.datetime.fromisoformat, ["1000-01-01 00:00:00", "9999-12-31 23:59:59.999999"])],
    ),
    (
        "instant",
        pa.timestamp("us", "UTC"),
        [dt.datetime(1969, 12, 31, 23, 59, 59, 1, dt.UTC), dt.datetime(2038, 1, 19, 3, 14, 8, tzinfo=dt.UTC)],
    ),
    ("seconds", pa.timestamp("s"), [*map(dt.datetime.fromisoformat, ["2024-02-29 00:00:00", "2024-03-31 02:30:00"])]),
    ("ids", pa.list_(pa.int64()), [[1, 2, 2**53 + 1], []]),
    ("tags", pa.list_(pa.string()), [["a,b", '"', "{}", "NULL", ""], ["\\"]]),
    (
        "address",
        pa.struct([("city", pa.string()), ("at", pa.list_(pa.float64()))]),
        [{"city": 'São "Paulo"\n', "at": [0.1, -23.5]}, {"city": None, "at": None}],
    ),
)


# -- what is missing, and what is created


def a_missing_table_is_an_error_that_shows_the_statement(bench: TableBench) -> None:
    """Without create_tables nothing is made; the statement in the hint makes exactly what is needed."""
    destination = bench.open(create_tables=False)
    with pytest.raises(ConfigError) as caught:
        destination.describe("people", SCHEMA, ("id",))
    assert caught.value.code == "destination.missing_table"
    with pytest.raises(ConfigError):
        bench.writer(destination=destination)
    bench.execute(_statement(caught.value))
    write(bench.writer(destination=destination), records(ALICE))
    assert bench.rows() == [ALICE]


def a_missing_column_is_an_error_that_shows_the_statement(bench: TableBench) -> None:
    """The same for a column; a name that is nearly right is suggested."""
    bench.execute(f"CREATE TABLE people (id {bench.integer} PRIMARY KEY, emails {bench.text}, score {bench.integer})")
    destination = bench.open(create_tables=False)
    with pytest.raises(ConfigError, match="did you mean emails") as caught:
        destination.describe("people", SCHEMA, ("id",))
    assert caught.value.code == "destination.missing_column"
    bench.execute(_statement(caught.value))
    assert destination.describe("people", SCHEMA, ("id",)).field("email") is not None


def a_missing_table_suggests_the_nearest(bench: TableBench) -> None:
    """A slip of the pen is named."""
    bench.table()
    with pytest.raises(ConfigError, match="did you mean people"):
        bench.open(create_tables=False).describe("peopel")


def _statement(error: ConfigError) -> str:
    assert error.hint is not None
    return error.hint.removeprefix("run: ").partition("; — or")[0]


def describing_changes_nothing_and_foretells_the_table(bench: TableBench) -> None:
    """With create_tables the answer is as if the table were there, and later it is the same."""
    schema = columns_of(("id", pa.int64()), *((name, kind) for name, kind, _ in EXACT))
    destination = bench.open()
    foretold = destination.describe("people", schema, ("id",))
    with pytest.raises(Exception, match="people"):
        bench.rows(columns="1")
    writer = bench.writer(schema=schema, natives={field.name: field.native for field in foretold.fields})
    assert any(notice.startswith("ran: CREATE TABLE") for notice in getattr(writer, "notices", ()))
    writer.close()
    found = destination.describe("people", schema, ("id",))
    assert [(f.name, f.type, f.native, f.limits) for f in found.fields] == [
        (f.name, f.type, f.native, f.limits) for f in foretold.fields
    ]
    assert found.field("id") is not None
    assert found.fields[0].unique


def a_new_field_becomes_a_column_with_a_notice(bench: TableBench) -> None:
    """With create_tables a column is added, and said; rows that are there keep what they have."""
    bench.table()
    bench.execute("INSERT INTO people VALUES (2, 'bob@example.com', 20)")
    schema = SCHEMA.append(pa.field("born", pa.date32()))
    writer = bench.writer(schema=schema)
    assert any("ADD COLUMN" in notice for notice in getattr(writer, "notices", ()))
    write(writer, records((*ALICE, dt.date(2000, 2, 29)), schema=schema))
    assert bench.rows() == [ALICE, BOB]
    writer.close()
    quiet = bench.writer(schema=schema)
    assert not [notice for notice in getattr(quiet, "notices", ()) if "ran:" in notice]


def required_and_unique_columns_are_described(bench: TableBench) -> None:
    """NOT NULL without a default is required; a column with a unique index of its own is unique."""
    bench.table(
        f"code {bench.integer} NOT NULL",
        f"grade {bench.integer} DEFAULT 3 NOT NULL",
        key=", PRIMARY KEY (id), UNIQUE (email)",
    )
    found = bench.open().describe("people")
    assert {field.name for field in found.fields if field.required} - {"id"} == {"code"}
    assert {field.name for field in found.fields if field.unique} == {"id", "email"}
    code = found.field("code")
    assert code is not None
    assert not code.limits.nullable


def a_type_that_is_no_type_never_reaches_a_statement(bench: TableBench) -> None:
    """Declared column types are checked before they stand in SQL."""
    with pytest.raises(ConfigError):
        bench.writer(natives={"email": "text); DROP TABLE x; --"})


# -- names and values


def odd_names_are_names(bench: TableBench) -> None:
    """Tables and columns of any name are created, described and written; nothing in a name is ever run."""
    schema = columns_of(("id", pa.int64()), *((name, pa.string()) for name in ODD_NAMES))
    table = '"odd ""table""; DROP TABLE x"'
    destination = bench.open()
    writer = bench.writer(schema=schema, table=table, destination=destination)
    row = (1, *(name[::-1] for name in ODD_NAMES))
    assert write(writer, records(row, schema=schema)).common.end == "delivered"
    write(writer, records(row, schema=schema), kind="changed", number=1)
    assert [field.name for field in destination.describe(table).fields] == ["id", *ODD_NAMES]
    columns = ", ".join(bench.quoted(name) for name in ODD_NAMES)
    assert bench.rows(bench.quoted('odd "table"; DROP TABLE x'), columns) == [row[1:]]


def odd_values_are_values(bench: TableBench) -> None:
    """Text that looks like SQL, like a placeholder or like the end of a load arrives as it is."""
    rows = [(index, value, index) for index, value in enumerate(INJECTIONS)]
    writer = bench.writer()
    write(writer, records(*rows), bench.adds)
    assert bench.rows() == rows
    if bench.adds == "append":
        return
    write(writer, records(*rows), kind="changed", number=1)
    write(writer, records(*rows), "update", "changed", number=2)
    assert bench.rows() == rows


def text_and_its_absence_differ(bench: TableBench) -> None:
    """NULL and empty text stay two things, by the fast way and by the other."""
    rows = [(1, "", 0), (2, None, None), (3, "NULL", 0), (4, " ", 0)]
    writer = bench.writer()
    write(writer, records(*rows), bench.adds)
    assert bench.rows() == rows
    if bench.adds == "append":
        return
    write(writer, records(*rows), kind="changed", number=1)
    assert bench.rows() == rows


def every_type_arrives_exactly(bench: TableBench) -> None:
    """Every type's extremes, in a created table, by both ways in; each value comes back as it was."""
    schema = columns_of(("id", pa.int64()), *((name, kind) for name, kind, _ in EXACT))
    wanted = [(index + 1, *(values[index] for _, _, values in EXACT)) for index in range(2)]
    rows = [*wanted, (3, *(None for _ in EXACT))]
    writer = bench.writer(schema=schema)
    kinds: tuple[Kind, ...] = ("added", "changed") if bench.adds == "upsert" else ("added",)
    for number, kind in enumerate(kinds):
        outcomes = write(writer, records(*rows, schema=schema), bench.adds, kind, number=number)
        assert outcomes.common.end == "delivered", outcomes.common
        found = bench.rows(columns=", ".join(bench.quoted(name) for name in schema.names))
        for before, after in zip(rows, found, strict=True):
            for mapped, value, arrived in zip(schema, before, after, strict=True):
                assert came_back(arrived, mapped.type) == value, mapped.name


def came_back(value: Any, kind: pa.DataType) -> Any:
    """A value as an independent driver reads it, in Python's type for the Arrow type it had."""
    types = pa.types
    if value is None:
        return None
    if isinstance(value, memoryview | bytearray):
        value = bytes(value)
    if types.is_boolean(kind):
        return bool(value)
    if types.is_decimal(kind) or types.is_uint64(kind):
        return Decimal(str(value))
    if types.is_nested(kind) and isinstance(value, str):
        return json.loads(value)
    if types.is_time(kind):
        if isinstance(value, dt.timedelta):
            return (dt.datetime(2000, 1, 1, tzinfo=dt.UTC) + value).time()
        return dt.time.fromisoformat(value) if isinstance(value, str) else value
    if types.is_date(kind) and isinstance(value, str):
        return dt.date.fromisoformat(value)
    if types.is_timestamp(kind):
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        zoned = pa.timestamp("us", "UTC") == kind
        if zoned and moment.tzinfo is None:
            return moment.replace(tzinfo=dt.UTC)
        return moment.astimezone(dt.UTC) if zoned else moment
    return value


def nan_is_kept_or_refused(bench: TableBench) -> None:
    """NaN and the infinities arrive where the description allows them, and are refused where it does not."""
    schema = columns_of(("id", pa.int64()), ("ratio", pa.float64()))
    field = bench.open().describe("people", schema, ("id",)).field("ratio")
    assert field is not None
    writer = bench.writer(schema=schema)
    outcomes = write(writer, records((1, math.nan), (2, math.inf), (3, -math.inf), schema=schema), bench.adds)
    if field.limits.nonfinite:
        assert outcomes.common.end == "delivered"
        found = [row[0] for row in bench.rows(columns="ratio", order="id")]
        assert math.isnan(found[0])
        assert found[1:] == [math.inf, -math.inf]
    else:
        assert outcomes.common.end == "rejected"
        assert bench.rows(columns="id") == []


def nanoseconds_are_never_cut(bench: TableBench) -> None:
    """A finer time than the column's arrives whole or is refused."""
    schema = columns_of(("id", pa.int64()), ("moment", pa.timestamp("ns")))
    writer = bench.writer(schema=schema)
    fine = write(writer, records((1, 1_000_000_001), schema=schema), bench.adds)
    assert write(writer, records((2, 1_000_000_000), schema=schema), bench.adds, number=1).common.end == "delivered"
    if fine.common.end == "delivered":
        assert "000000001" in str(bench.rows(columns="CAST(moment AS varchar)", order="id")[0][0])
    else:
        assert bench.rows(columns="id") == [(2,)]


def identifiers_of_type_uuid_match(bench: TableBench) -> None:
    """A UUID can be the match, whether it comes as such or as text."""
    first, second = "00000000-0000-0000-0000-000000000001", "80000000-0000-0000-0000-000000000000"
    schema = columns_of(("code", pa.string()), ("score", pa.int64()))
    writer = bench.writer(schema=schema, match=("code",))
    write(writer, records((first, 1), (second, 2), schema=schema), match=("code",))
    write(writer, records((second, 3), schema=schema), kind="changed", number=1, match=("code",))
    assert [(str(code), score) for code, score in bench.rows(columns="code, score")] == [(first, 1), (second, 3)]


# -- mode replace


def replace_swaps_in_one_step(bench: TableBench) -> None:
    """Until `finish` readers see the old rows, then all of the new ones; the table keeps its key."""
    bench.table(f"note {bench.text}")
    bench.execute("INSERT INTO people VALUES (1, 'old', 0, 'theirs'), (9, 'old', 0, 'theirs')")
    writer = bench.writer(mode="replace")
    write(writer, records(ALICE), "append")
    write(writer, records(BOB), "append", number=1)
    assert bench.rows(columns="id, email") == [(1, "old"), (9, "old")]
    writer.finish()
    writer.close()
    assert bench.rows() == [ALICE, BOB]
    assert bench.open().describe("people").fields[0].unique
    assert _ours(bench) == {"_levada_marks"}


def replace_survives_a_crash_before_and_after_the_swap(bench: TableBench) -> None:
    """What was filled is taken up again; finishing twice, and opening once more, changes nothing."""
    first = bench.writer(mode="replace")
    write(first, records(ALICE), "append")
    first.close()
    second = bench.writer(mode="replace")
    assert second.applied(0) is (True if bench.marks else None)
    write(second, records(ALICE), "append")
    write(second, records(BOB), "append", number=1)
    second.finish()
    second.finish()
    second.close()
    third = bench.writer(mode="replace")
    assert {third.applied(0), third.applied(1)} == {True if bench.marks else None}
    third.finish()
    assert bench.rows() == [ALICE, BOB]
    assert _ours(bench) == ({"_levada_marks"} if bench.marks else set())


def replace_again_with_a_newer_plan(bench: TableBench) -> None:
    """Plan after plan; what an abandoned one had begun to fill is removed."""
    for plan, row in (("1", ALICE), ("2", BOB)):
        writer = bench.writer(plan, mode="replace")
        write(writer, records(row), "append", plan=plan)
        writer.finish()
        writer.close()
    abandoned = bench.writer("3", mode="replace")
    write(abandoned, records(ALICE), "append", plan="3")
    abandoned.close()
    assert bench.rows() == [BOB]
    last = bench.writer("4", mode="replace")
    write(last, records(ALICE, BOB), "append", plan="4")
    last.finish()
    last.close()
    assert bench.rows() == [ALICE, BOB]
    assert _ours(bench) == ({"_levada_marks"} if bench.marks else set())


def replace_by_nothing_empties_the_table(bench: TableBench) -> None:
    """A model without rows, once somebody has approved it, is an empty table."""
    bench.table()
    bench.execute("INSERT INTO people VALUES (1, 'old', 0)")
    writer = bench.writer(mode="replace")
    writer.finish()
    assert bench.rows() == []


def replace_needs_the_marks(bench: TableBench) -> None:
    """Without marks a swap could not be resumed: it is refused before anything is written."""
    bench.table()
    with pytest.raises(ConfigError) as caught:
        bench.writer(mode="replace", destination=bench.open(marks=False))
    assert caught.value.code == "destination.replace_marks"


def _ours(bench: TableBench) -> set[str]:
    """The tables of ours that are there."""
    return {name for name in bench.tables() if name.startswith("_levada_")}


CHECKS = gathered(dict(globals()))

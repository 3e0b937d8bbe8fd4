"""Parquet: columns that DuckDB would round, rename or read as another value are refused, and only when asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.sources import table_of
from levada.errors import SourceError
from unit.sources.reading_files import source

NANOS = pa.timestamp("ns", tz="UTC")
MICROS = pa.timestamp("us", tz="UTC")
MOMENT = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
WHOLE, FINE = 1_700_000_000_123_456_000, 1_700_000_000_123_456_789


def read(folder: Path, *columns: Any, query: str = "SELECT v FROM t", **options: Any) -> list[Any]:
    """The values of a column `v` written into one file for each of `columns`."""
    (folder / "t").mkdir(exist_ok=True)
    for number, values in enumerate(columns):
        table = pa.table({"id": list(range(len(values))), "v": values})
        pq.write_table(table, folder / "t" / f"{number}.parquet", **options)
    found: list[Any] = table_of(source(folder), query).column(0).to_pylist()
    return found


DUPLICATES = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "A"])
UNFIT = {
    "decimal256": pa.array([Decimal("0.1")], pa.decimal256(76, 38)),
    "list of decimal256": pa.array([[Decimal("0.1")]], pa.list_(pa.decimal256(39, 2))),
    "struct of decimal256": pa.array([{"a": Decimal("0.1")}], pa.struct([("a", pa.decimal256(50, 2))])),
    "instant": pa.array([WHOLE, FINE], NANOS),
    "list of instants": pa.array([[None, FINE]], pa.list_(NANOS)),
    "struct of instants": pa.array([{"t": FINE}], pa.struct([("t", NANOS)])),
    "duration": pa.array([1], pa.duration("s")),
    "list of durations": pa.array([[1]], pa.list_(pa.duration("ms"))),
    "members of one name": DUPLICATES,
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_would_be_changed_is_refused_by_file_and_column(tmp_path: Path, name: str) -> None:
    """With what to do; the other columns, and the count of the rows, can be read all the same."""
    with pytest.raises(SourceError) as caught:
        read(tmp_path, UNFIT[name])
    assert caught.value.code == "source.value"
    assert "column 'v' of" in caught.value.message
    assert "0.parquet" in caught.value.message
    assert caught.value.hint
    rows = len(UNFIT[name])
    assert read(tmp_path, UNFIT[name], query="SELECT * EXCLUDE (v) FROM t ORDER BY id") == list(range(rows))
    assert read(tmp_path, UNFIT[name], query="SELECT count(*) FROM t") == [rows]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pa.array([WHOLE, None, -WHOLE], NANOS), [MOMENT, None, datetime(1916, 2, 18, 1, 46, 39, 876544, tzinfo=UTC)]),
        (pa.array([WHOLE], pa.timestamp("ns", tz="Europe/Berlin")), [MOMENT]),
        (pa.array([[WHOLE, None], None], pa.list_(NANOS)), [[MOMENT, None], None]),
        (pa.array([{"t": WHOLE}], pa.struct([("t", NANOS)])), [{"t": MOMENT}]),
        (pa.array([[("a", WHOLE)]], pa.map_(pa.string(), NANOS)), [[("a", MOMENT)]]),
    ],
)
def test_instants_in_nanoseconds_arrive_as_instants(tmp_path: Path, values: Any, wanted: list[Any]) -> None:
    """As many writers write every instant; at any depth."""
    assert read(tmp_path, values) == wanted


def test_timestamps_of_96_bits(tmp_path: Path) -> None:
    """Whole microseconds of all years arrive, as instants if their writer said so; finer ones are refused."""
    old: dict[str, Any] = {"use_deprecated_int96_timestamps": True}
    naive = MOMENT.replace(tzinfo=None)
    assert read(tmp_path, pa.array([WHOLE], pa.timestamp("ns")), **old) == [naive]
    assert read(tmp_path, pa.array([WHOLE], NANOS), **old) == [MOMENT]
    ends = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), None]  # noqa: DTZ001 -- they have no zone
    assert read(tmp_path, pa.array(ends, pa.timestamp("us")), **old) == ends
    for values in (pa.array([None, FINE], pa.timestamp("ns")), pa.array([[FINE]], pa.list_(pa.timestamp("ns")))):
        with pytest.raises(SourceError, match=r"column 'v' of .*below microseconds"):
            read(tmp_path, values, **old)


@pytest.mark.parametrize(("one", "other"), [("name", "name"), ("name", "NAME"), ("É", "é")])
def test_columns_of_one_name_are_refused(tmp_path: Path, one: str, other: str) -> None:
    """Names know no case; none is renamed. `name_1` is a name like any other."""
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=[one, other]), tmp_path / "t.parquet")
    with pytest.raises(SourceError, match=r"t\.parquet has two columns named") as caught:
        table_of(source(tmp_path), "FROM t")
    assert caught.value.code == "source.duplicate_column"
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["name", "name_1"]), tmp_path / "t.parquet")
    assert table_of(source(tmp_path), "FROM t").to_pylist() == [{"name": 1, "name_1": 2}]


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (pa.array([1], pa.int8()), pa.array([2**62]), [1, 2**62]),
        (pa.array([2**64 - 1], pa.uint64()), pa.array([-1]), [2**64 - 1, -1]),
        (pa.array([2**62]), pa.array([Decimal("1.5")], pa.decimal128(5, 2)), [2**62, Decimal("1.5")]),
        (
            pa.array([Decimal("1.25")], pa.decimal128(10, 2)), pa.array([Decimal("123456789.5")], pa.decimal128(18, 1)),
            [Decimal("1.25"), Decimal("123456789.5")],
        ),
        (pa.array([[1]], pa.list_(pa.int32())), pa.array([[2**40]]), [[1], [2**40]]),
        (pa.array([1], pa.timestamp("s", "UTC")), pa.array([1], MICROS),
         [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]),
        (pa.nulls(1), pa.array(["x"]), [None, "x"]),
    ],
)  # fmt: skip
def test_files_of_one_table_may_differ_in_size(tmp_path: Path, first: Any, second: Any, wanted: list[Any]) -> None:
    """Whole numbers and decimals of any size, and columns without a value, in either order."""
    assert sorted(read(tmp_path, first, second), key=str) == sorted(wanted, key=str)
    assert sorted(read(tmp_path, second, first), key=str) == sorted(wanted, key=str)


WHOLES, FRACTIONS, STRUCT = pa.array([2**53 + 1]), pa.array([0.5]), pa.array([{"a": 1}])
DIFFERENT = {
    "whole and floating": (WHOLES, FRACTIONS),
    "small whole and floating": (pa.array([2**24 + 1], pa.int32()), pa.array([0.5], pa.float32())),
    "floating of two sizes": (pa.array([0.1], pa.float32()), FRACTIONS),
    "decimals that no decimal holds": (
        pa.array([Decimal(10**37)], pa.decimal128(38, 0)), pa.array([Decimal("0.123456789")], pa.decimal128(20, 10)),
    ),
    "whole and long decimal": (WHOLES, pa.array([Decimal("0.5")], pa.decimal128(38, 30))),
    "decimal and floating": (pa.array([Decimal("0.1")]), FRACTIONS),
    "true and whole": (pa.array([True]), WHOLES),
    "true and text": (pa.array([True]), pa.array(["x"])),
    "whole and text": (WHOLES, pa.array(["x"])),
    "day and moment": (pa.array([date(2024, 1, 1)]), pa.array([0], pa.timestamp("us"))),
    "moment and instant": (pa.array([0], pa.timestamp("us")), pa.array([0], MICROS)),
    "instants of two sizes": (pa.array([0], MICROS), pa.array([0], NANOS)),
    "moments of two sizes": (pa.array([0], pa.timestamp("us")), pa.array([0], pa.timestamp("ns"))),
    "text and bytes": (pa.array(["x"]), pa.array([b"x"])),
    "list and value": (pa.array([[1]]), WHOLES),
    "lists of two kinds": (pa.array([[1]]), pa.array([[0.5]])),
    "objects of two shapes": (STRUCT, pa.array([{"b": 1}])),
    "objects with more": (STRUCT, pa.array([{"a": 1, "b": 1}])),
    "objects of two kinds": (STRUCT, pa.array([{"a": 0.5}])),
    "duration and whole": (pa.array([1], pa.duration("s")), WHOLES),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_files_of_one_table_that_differ_in_type_are_refused(tmp_path: Path, name: str) -> None:
    """By both types and a file, in either order, with a way out; as two tables both are read."""
    for number, pair in enumerate((DIFFERENT[name], DIFFERENT[name][::-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(SourceError) as caught:
            read(folder, *pair)
        assert caught.value.code == "source.value"
        assert "column 'v' of" in caught.value.message
        assert ".parquet" in caught.value.message
        assert caught.value.hint


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pa.nulls(1), [None]),
        (pa.array([[None], [], None], pa.list_(pa.null())), [[None], [], None]),
        (pa.array([{"a": None}], pa.struct([("a", pa.null())])), [{"a": None}]),
        (pa.array([[{"a": [None]}]], pa.list_(pa.struct([("a", pa.list_(pa.null()))]))), [[{"a": [None]}]]),
    ],
)
def test_what_holds_nothing_has_a_type_all_the_same(tmp_path: Path, values: Any, wanted: list[Any]) -> None:
    """A column of NULLs, and lists and objects of them, come as text that is not there."""
    assert read(tmp_path, values) == wanted
    (column,) = source(tmp_path).columns("SELECT v FROM t")
    assert "null" not in str(column.type).replace("not null", "")


def test_a_file_that_is_cut_fails_the_read(tmp_path: Path) -> None:
    """Without its end there is no schema; with no bytes there is no file."""
    pq.write_table(pa.table({"a": list(range(1_000))}), tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    for content in (whole[:-1], whole[:50], b""):
        (tmp_path / "t.parquet").write_bytes(content)
        with pytest.raises(SourceError, match=r"t\.parquet"):
            table_of(source(tmp_path), "FROM t")

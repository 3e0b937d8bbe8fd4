"""Files as tables: which tables there are, what their columns are, and that no value is lost on the way."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.sources import table_of
from levada.errors import ConfigError, SourceError
from levada.sources.csv_files import SAMPLE_ROWS
from unit.sources.reading_files import put, source


def native_types(folder: Path, query: str, **options: object) -> dict[str, str]:
    return {column.name: column.native for column in source(folder, **options).columns(query)}


def csv_of(*columns: tuple[str, list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    writer.writerows(zip(*(values for _, values in columns), strict=True))
    return text.getvalue()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-5", "0"], "BIGINT"),
        (["999999999999999999"], "BIGINT"),
        (["1", "1234567890123456789"], "DECIMAL(38,0)"),
        (["9" * 38], "DECIMAL(38,0)"),
        (["9" * 39], "VARCHAR"),
        (["00123", "1"], "VARCHAR"),
        (["-0"], "VARCHAR"),
        (["+49"], "VARCHAR"),
        (["1.50", "2"], "DECIMAL(18,2)"),
        (["0.1", "12345678901234567890.5"], "DECIMAL(38,1)"),
        (["1." + "1" * 37, "1" * 37], "VARCHAR"),
        (["01.5"], "VARCHAR"),
        ([".5"], "VARCHAR"),
        (["1,5"], "VARCHAR"),
        (["1E5", "2"], "VARCHAR"),
        (["1_000"], "VARCHAR"),
        ([" 1"], "VARCHAR"),
        (["NaN", "1.0"], "VARCHAR"),
        (["true", "False", "TRUE"], "BOOLEAN"),
        (["t", "f"], "VARCHAR"),
        (["yes"], "VARCHAR"),
        (["2024-02-29"], "DATE"),
        (["2023-02-29"], "VARCHAR"),
        (["01/02/2024"], "VARCHAR"),
        (["2024-01-02 03:04:05", "2024-01-02T03:04:05.123456"], "TIMESTAMP"),
        (["2024-01-02 03:04:05.1234567"], "VARCHAR"),
        (["2024-01-02", "2024-01-02 03:04:05"], "VARCHAR"),
        (["2024-01-02T03:04:05Z", "2024-01-02 03:04:05+02:00"], "TIMESTAMP WITH TIME ZONE"),
        (["03:04:05"], "TIME"),
        (["24:00:01"], "VARCHAR"),
        (["", ""], "VARCHAR"),
        (["", "7"], "BIGINT"),
        (["infinity"], "VARCHAR"),
        (["2024-01-02 BC"], "VARCHAR"),
    ],
)
def test_a_type_is_given_only_where_every_value_is_written_so(tmp_path: Path, values: list[str], kind: str) -> None:
    """The documented rules, one by one; in doubt a column stays text."""
    (tmp_path / "t.csv").write_text(csv_of(("x", values), ("y", ["text"] * len(values))))
    assert native_types(tmp_path, "FROM t")["x"] == kind


CELLS = st.one_of(
    st.integers(-(10**40), 10**40).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str),
    st.from_regex(r"\A-?0?[0-9]{1,4}(\.[0-9]{0,3})?\Z"),
    st.dates().map(str),
    st.datetimes().map(str),
    st.booleans().map(str),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(columns=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=4))
def test_no_cell_loses_anything(tmp_path: Path, columns: list[list[str]]) -> None:
    """Whatever the columns become, every cell means what was written: numbers by value, all else by letter."""
    named = [(f"c{index}", cells) for index, cells in enumerate(columns)]
    (tmp_path / "t.csv").write_text(csv_of(*named, ("last", ["z"] * 3)), encoding="utf-8", newline="")
    table = table_of(source(tmp_path), "FROM t")
    for name, cells in named:
        for cell, value in zip(cells, table.column(name).to_pylist(), strict=True):
            match value:
                case None:
                    assert cell == ""
                case bool():
                    assert cell.lower() == str(value).lower()
                case int() | Decimal():
                    assert Decimal(cell) == Decimal(value)
                    assert cell.lstrip("-")[:1] != "0" or cell.lstrip("-")[:2] in ("0", "0.")
                case str():
                    assert cell == value
                case _:
                    assert str(value)[:10] == cell[:10]


@pytest.mark.parametrize("cell", ["\r", "a\rb", "\r\n", "a\r\nb"])
def test_a_carriage_return_in_a_cell_is_kept_or_fails_the_read(tmp_path: Path, cell: str) -> None:
    """DuckDB's reader cannot place every one of them: then it says so, and no value is changed."""
    (tmp_path / "t.csv").write_text(csv_of(("c", ["0", "0", cell]), ("last", ["z"] * 3)), encoding="utf-8", newline="")
    try:
        table = table_of(source(tmp_path), "FROM t")
    except SourceError:
        return
    assert table.column("c").to_pylist()[-1] == cell


def test_a_value_far_down_still_decides(tmp_path: Path) -> None:
    """Types come from all rows: one code after the sample keeps the whole column as text, and no zero is lost."""
    numbers = [str(number) for number in range(1, SAMPLE_ROWS + 100)]
    (tmp_path / "t.csv").write_text(
        csv_of(("code", [*numbers, "007"]), ("price", [*numbers, "1.25"]), ("n", [*numbers, "9" * 25]))
    )
    assert native_types(tmp_path, "FROM t") == {"code": "VARCHAR", "price": "DECIMAL(18,2)", "n": "DECIMAL(38,0)"}
    table = table_of(source(tmp_path), "SELECT code, price FROM t WHERE code = '007'")
    assert table.to_pylist() == [{"code": "007", "price": Decimal("1.25")}]


def test_columns_can_be_kept_as_text(tmp_path: Path) -> None:
    """`text:` pins what would otherwise depend on today's values."""
    (tmp_path / "a.csv").write_text("zip,n\n12345,1\n")
    (tmp_path / "b.csv").write_text("zip,n\n12345,1\n")
    assert native_types(tmp_path, "FROM a", text=["zip", "b.n"]) == {"zip": "VARCHAR", "n": "BIGINT"}
    assert native_types(tmp_path, "FROM b", text=["zip", "b.n"]) == {"zip": "VARCHAR", "n": "VARCHAR"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_delimiters_and_line_ends_are_found(tmp_path: Path, delimiter: str, ending: str) -> None:
    """The header's most frequent delimiter is the file's; quoted text may hold all of them, and line ends too."""
    lines = [f'"a,b;c"{delimiter}second', f'"x{ending}y ""z"" ,;|"{delimiter}2', f"plain{delimiter}3"]
    (tmp_path / "t.csv").write_bytes(("\ufeff" + ending.join(lines) + ending).encode())
    table = table_of(source(tmp_path), "FROM t")
    assert table.to_pylist() == [
        {"a,b;c": f'x{ending}y "z" ,;|', "second": 2},
        {"a,b;c": "plain", "second": 3},
    ]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "source.header"),
        ("a,a\n1,2\n", "source.duplicate_column"),
        ("a,A\n1,2\n", "source.duplicate_column"),
        ("a,b\n1,2,3\n", "source.read"),
        ("a,b\n1\n", "source.read"),
        ('a,b\n1,"open\n', "source.read"),
    ],
)
def test_a_broken_csv_is_refused_and_never_cut(tmp_path: Path, content: str, code: str) -> None:
    """A row of another width, or a quote without end, fails the read by file and line."""
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(SourceError) as caught:
        table_of(source(tmp_path), "FROM t")
    assert caught.value.code == code
    assert "t.csv" in caught.value.message
    assert "\n" not in caught.value.message


def test_errors_of_a_csv_do_not_quote_its_rows(tmp_path: Path) -> None:
    """A broken line may hold a person's data."""
    (tmp_path / "t.csv").write_text("a,b\nmary@example.com,2,3\n")
    with pytest.raises(SourceError) as caught:
        table_of(source(tmp_path), "FROM t")
    assert "mary" not in str(caught.value)
    assert "Line: 2" in caught.value.message


def test_compressed_files_are_read(tmp_path: Path) -> None:
    """`.csv.gz` and `.jsonl.gz` are tables like their uncompressed forms."""
    with gzip.open(tmp_path / "orders.csv.gz", "wt") as file:
        file.write("id,price\n1,1.50\n")
    with gzip.open(tmp_path / "lines.jsonl.gz", "wt") as file:
        file.write('{"a": 1}\n')
    assert source(tmp_path).tables() == ("lines", "orders")
    assert table_of(source(tmp_path), "FROM orders").to_pylist() == [{"id": 1, "price": Decimal("1.50")}]
    assert table_of(source(tmp_path), "FROM lines").to_pylist() == [{"a": 1}]


def test_json_lines_keep_their_kinds(tmp_path: Path) -> None:
    """Texts stay text, integers are exact, nested values stay JSON, an absent key is NULL."""
    rows = [
        {"b": True, "i": 1, "big": 10**30, "f": 0.1, "t": "2024-01-01", "o": {"x": [1.5]}, "m": 1, "a": [1]},
        {"i": None, "m": "x", "late": -5},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    found = table_of(source(tmp_path), "FROM t")
    assert found.to_pylist() == [
        {
            "b": True, "i": 1, "big": Decimal(10**30), "f": 0.1, "t": "2024-01-01", "o": '{"x":[1.5]}', "m": "1",
            "a": "[1]", "late": None,
        },
        {
            "b": None, "i": None, "big": None, "f": None, "t": None, "o": None, "m": "x", "a": None, "late": -5,
        },
    ]  # fmt: skip
    kinds = {field.name: (field.metadata or {}).get(b"levada.type") for field in found.schema}
    assert {name for name, kind in kinds.items() if kind == b"json"} == {"o", "a"}


@pytest.mark.parametrize(
    "number", ["0.12345678901234567891", "-1234567890.123456789", "123456789012345678.5", "1e400", "-1E999", "1e-400"]
)
def test_a_json_number_that_would_be_rounded_is_refused(tmp_path: Path, number: str) -> None:
    """A number that floating point would change is an error; the same digits in a text are no number."""
    (tmp_path / "t.jsonl").write_text(f'{{"a": {number}}}\n')
    with pytest.raises(SourceError) as caught:
        table_of(source(tmp_path), "FROM t")
    assert caught.value.code == "source.value"
    (tmp_path / "t.jsonl").write_text('{"a": "0.12345678901234567891", "b": 0.30000000000000004}\n')
    assert table_of(source(tmp_path), "FROM t").to_pylist() == [{"a": "0.12345678901234567891", "b": 0.1 + 0.2}]


def test_json_keys_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    """Names of columns know no case, so one of two such keys would be lost; a key that looks renamed is none."""
    (tmp_path / "t.jsonl").write_text('{"A": 1, "a": 2}\n')
    with pytest.raises(SourceError) as caught:
        table_of(source(tmp_path), "FROM t")
    assert caught.value.code == "source.duplicate_column"
    (tmp_path / "t.jsonl").write_text('{"A": 1, "a_1": 2}\n')
    assert table_of(source(tmp_path), "FROM t").to_pylist() == [{"A": 1, "a_1": 2}]


@pytest.mark.parametrize("content", ['{"a": 1}\n{"a":', "[1, 2]", "nonsense", '{"a": 1}\n\0'])
def test_broken_json_is_refused(tmp_path: Path, content: str) -> None:
    """Half a line, or something that is no object, fails the read."""
    (tmp_path / "t.jsonl").write_text(content)
    with pytest.raises(SourceError):
        table_of(source(tmp_path), "FROM t")


NASTY_NAMES = [
    "quo'te", 'dou"ble', "br[a]cket", "st*r", "que?stion", "sp ace", "ünï 漢🜁", "semi;colon--", "per%41cent", "{a,b}",
    "back\\slash", "s3:x", "~home", "-dash", "dollar$1",
]  # fmt: skip


@pytest.mark.parametrize("name", NASTY_NAMES)
@pytest.mark.parametrize("nested", [False, True])
def test_any_file_name_is_one_file(tmp_path: Path, name: str, nested: bool) -> None:
    """Characters that mean something in patterns or SQL mean themselves; neighbours are not read instead."""
    folder = tmp_path / f"{name} folder" if nested else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text("a\nright\n")
    for neighbour in ("bra", "stXr", "queXstion", "a", "b", "perAcent"):
        (folder / f"{neighbour}cket.csv" if neighbour == "bra" else folder / f"{neighbour}.csv").write_text(
            "a\nwrong\n"
        )
    quoted = '"' + name.replace('"', '""') + '"'
    assert table_of(source(folder), f"SELECT a FROM {quoted}").column("a").to_pylist() == ["right"]
    table = pa.table({"a": ["right"]})
    import pyarrow.parquet as pq

    pq.write_table(table, folder / f"{name}2.parquet")
    assert table_of(source(folder), f'SELECT a FROM {quoted[:-1]}2"').column("a").to_pylist() == ["right"]


def test_a_folder_is_one_table_by_the_names_of_its_columns(tmp_path: Path) -> None:
    """Files of a folder are put together by column name; what one lacks is NULL; types hold for all of them."""
    (tmp_path / "orders" / "deep").mkdir(parents=True)
    (tmp_path / "orders" / "1.csv").write_text("id,code\n1,7\n")
    (tmp_path / "orders" / "deep" / "2.csv").write_text("code;price\n007;1.5\n")
    (tmp_path / "orders" / "_SUCCESS").write_text("")
    (tmp_path / "orders" / ".hidden.csv").write_text("zzz\n1\n")
    table = table_of(source(tmp_path), "SELECT * FROM orders ORDER BY id")
    assert table.to_pylist() == [
        {"id": 1, "code": "7", "price": None},
        {"id": None, "code": "007", "price": Decimal("1.5")},
    ]


def test_partitions_are_columns_of_text(tmp_path: Path) -> None:
    """Folders named `column=value` make a column, in which `01` stays `01`."""
    for month in ("01", "12"):
        folder = tmp_path / "sales" / "year=2024" / f"month={month}"
        folder.mkdir(parents=True)
        duckdb.execute(f"COPY (SELECT 1 AS a) TO '{folder}/x.parquet'")
    table = table_of(source(tmp_path), "SELECT month, year FROM sales ORDER BY 1")
    assert table.to_pylist() == [{"month": "01", "year": "2024"}, {"month": "12", "year": "2024"}]


def test_one_file_is_one_table(tmp_path: Path) -> None:
    """`path:` may name a single file; its neighbours cannot be read."""
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "other.csv").write_text("a\n1\n")
    found = source(tmp_path / "t.csv")
    assert found.tables() == ("t",)
    with pytest.raises(SourceError):
        table_of(found, f"SELECT * FROM read_csv('{tmp_path}/other.csv')")


def test_clashing_names_are_told(tmp_path: Path) -> None:
    """Two files that would be one table, or a folder of two formats, are an error and not a choice."""
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "T.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(SourceError) as caught:
        source(tmp_path).check()
    assert caught.value.code == "source.tables"
    (tmp_path / "T.jsonl").unlink()
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.csv").write_text("a\n1\n")
    (tmp_path / "mixed" / "b.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(SourceError, match="mixes csv and json"):
        source(tmp_path).check()


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    """A path that does not exist, and one without data files, are different errors."""
    with pytest.raises(ConfigError) as missing:
        source(tmp_path / "none").check()
    with pytest.raises(SourceError) as empty:
        source(tmp_path).check()
    assert (missing.value.code, empty.value.code) == ("source.missing", "source.empty")


BAD: dict[str, str | bytes] = {
    "bad.csv": 'a,b\n1,"open\n', "fr.csv": b"n\n\xe9\n", "x.jsonl": "nonsense", "y.parquet": b"none", "zz.csv": "a,a\n",
}  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "FROM good", "SELECT a FROM main.good", "SELECT * FROM good AS fr", "SELECT a AS bad FROM good", "from GOOD x",
        "WITH bad AS (SELECT * FROM good) SELECT * FROM bad", "SELECT * FROM good -- bad fr x y",
        "SELECT * FROM good WHERE 'fr' <> 'bad'", 'SELECT "good"."a" FROM "good"', "FROM good JOIN good g USING (a)",
        "SELECT (SELECT max(a) FROM good) AS a",
        "WITH RECURSIVE x AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM x WHERE a < 1) SELECT good.a FROM good, x",
    ],
)  # fmt: skip
def test_broken_files_that_a_query_does_not_name_do_not_matter(tmp_path: Path, query: str) -> None:
    """A query pays for the tables that it names, and fails for no other; nor does a look at the source."""
    put(tmp_path, {"good.csv": "a\n1\n", "good_2024.csv": b"\xff", **BAD})
    assert table_of(source(tmp_path), query).column(0).to_pylist() == [1]
    source(tmp_path).check()
    assert source(tmp_path).tables() == ("bad", "fr", "good", "good_2024", "x", "y", "zz")


@pytest.mark.parametrize(
    "query",
    [
        "FROM bad", "SELECT * FROM good, (SELECT * FROM bad)", "SELECT (SELECT count(*) FROM BAD) FROM good",
        "WITH good AS (SELECT * FROM bad) SELECT * FROM good", "SELECT * FROM query_table('bad')", 'FROM "bad"',
        "FROM good WHERE a IN (SELECT a FROM bad)", "FROM (PIVOT bad ON a USING count(*))", "FROM (DESCRIBE bad)",
        "WITH bad AS (SELECT * FROM bad) SELECT * FROM bad", "FROM good UNION ALL BY NAME FROM bad",
    ],
)  # fmt: skip
def test_a_broken_file_that_a_query_names_is_found(tmp_path: Path, query: str) -> None:
    """In every place in which SQL names a table."""
    put(tmp_path, {"good.csv": "a\n1\n", **BAD})
    with pytest.raises(SourceError, match=r"bad\.csv"):
        table_of(source(tmp_path), query)


def test_a_changed_file_is_looked_at_again(tmp_path: Path) -> None:
    """What was found out about a file holds only as long as the file is the same."""
    found = source(tmp_path)
    (tmp_path / "t.csv").write_text("a\n1\n")
    assert table_of(found, "FROM t").column("a").to_pylist() == [1]
    (tmp_path / "t.csv").write_text("a,d\n007,2024-01-01\n")
    assert table_of(found, "FROM t").to_pylist() == [{"a": "007", "d": date(2024, 1, 1)}]


def test_types_are_the_same_every_time(tmp_path: Path) -> None:
    """Several threads and several looks find the same columns in the same order."""
    rows = [json.dumps({f"k{number % 7}": number, "x": str(number)}) for number in range(20_000)]
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    looks = {source(tmp_path).columns("FROM t") for _ in range(3)}
    assert len(looks) == 1


def test_csv_dates_stay_dates_where_some_are_missing(tmp_path: Path) -> None:
    """An empty field is NULL in columns of every type, and changes no column's type."""
    line = "2024-02-29,2024-02-29 12:30:00,2024-02-29T12:30:00Z,12:30:00"
    (tmp_path / "events.csv").write_text(f"id,day,moment,instant,clock\n1,{line}\n2,,,,\n")
    found = {column.name: str(column.type) for column in source(tmp_path).columns("select * from events")}
    assert found == {
        "id": "int64", "day": "date32[day]", "moment": "timestamp[us]", "instant": "timestamp[us, tz=UTC]",
        "clock": "time64[us]",
    }  # fmt: skip

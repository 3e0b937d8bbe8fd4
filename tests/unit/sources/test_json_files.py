"""JSON: numbers that keep their digits, columns of several kinds, and no object that is passed over."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from contracts.sources import table_of
from levada.errors import SourceError
from unit.sources.reading_files import put, source


def column(folder: Path, *values: str, **options: object) -> tuple[str, list[Any]]:
    """The type of a column whose values are written so, and what they are read as."""
    put(folder, {"t.jsonl": "".join(f'{{"id": {index}, "n": {value}}}\n' for index, value in enumerate(values))})
    table = table_of(source(folder, **options), "SELECT n FROM t ORDER BY id")
    mark = (table.schema.field(0).metadata or {}).get(b"levada.type", b"").decode()
    return mark or str(table.schema.field(0).type), table.column(0).to_pylist()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1.10", "12345678901234567890", "9007199254740993"], "decimal128(38, 1)"),
        (["0.25", "-9007199254740993"], "decimal128(38, 2)"),
        (["1e5", "12345678901234567"], "decimal128(38, 1)"),
        (["123456789012.125", "123456789012345678901234567890"], "decimal128(38, 3)"),
        (["1.5", "9007199254740991"], "decimal128(38, 1)"),
        (["1.5", "123456789012345"], "double"),
        (["0.1", "-7", "1e300", "5e-324"], "double"),
        (["0.30000000000000004", "0.10000000000000001", "1.0000000000000000000"], "double"),
        (["9223372036854775808", "-1"], "decimal128(38, 0)"),
        (["1" * 38], "decimal128(38, 0)"),
        (["1", "null"], "int64"),
    ],
)
def test_numbers_keep_all_their_digits(tmp_path: Path, values: list[str], kind: str) -> None:
    """Whole numbers beside fractions are decimals where floating point would round one of them."""
    found, read = column(tmp_path, *values)
    assert found == kind
    for written, value in zip(values, read, strict=True):
        if isinstance(value, float):
            assert value == float(written)
        else:
            assert value is None if written == "null" else Decimal(written) == value


@pytest.mark.parametrize(
    "values",
    [
        ["1e-7", "12345678901234567890"], ["0.1234567890123456", "12345678901234567"], ["1" * 39], ["-" + "9" * 42],
        ["0.5", "1" * 39], ["12345678901234567890123456789012345678", "0.5"], ["0.12345678901234567"],
        ["0.1234567890123456789"], ["12345678901234567891e5"], ["1e400"], ["-1e400"], ["1e-400"],
        ["100000000000000000000.5"], ['{"x": [0.1234567890123456789]}'], ["[1e400]", "[2]"],
    ],
)  # fmt: skip
def test_numbers_that_would_lose_digits_are_refused_by_column(tmp_path: Path, values: list[str]) -> None:
    """With the file, the column and what to do, wherever in the value the number stands."""
    with pytest.raises(SourceError) as caught:
        column(tmp_path, *values)
    assert caught.value.code == "source.value"
    assert "column 'n' of" in caught.value.message
    assert "t.jsonl" in caught.value.message
    assert caught.value.hint


def test_drawn_numbers_are_exact_or_refused(tmp_path: Path) -> None:
    """Whole numbers of all sizes and fractions of all lengths in one column: equal as decimals, or no row at all."""
    random, exact = Random(1), 0
    for case in range(60):
        whole, places = random.choice((3, 15, 16, 19, 25, 38, 40)), random.choice((1, 2, 6, 14, 17))
        values = [
            str(random.randrange(10 ** random.randint(1, whole))),
            f"{random.randrange(10 ** random.randint(1, 4))}.{random.randrange(10**places):0{places}}",
        ]
        folder = tmp_path / str(case)
        try:
            _, read = column(folder, *values)
        except SourceError:
            continue
        exact += 1
        assert [Decimal(repr(each)) if isinstance(each, float) else each for each in read] == [
            Decimal(each) for each in values
        ]
    assert exact > 15


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        (['"C0"', "8", "true", "1.5", "null"], "string", ["C0", "8", "true", "1.5", None]),
        (['"x"', "123456789012345678901234567890"], "string", ["x", "123456789012345678901234567890"]),
        (["true", "1"], "json", ["true", "1"]),
        (["1", '{"a": 1}', "[2]"], "json", ["1", '{"a":1}', "[2]"]),
        (["true", "null"], "bool", [True, None]),
        (["null"], "string", [None]),
    ],
)
def test_kinds_that_meet_in_a_column_have_one_type(
    tmp_path: Path, values: list[str], kind: str, read: list[Any]
) -> None:
    """A text stays as it is whatever comes beside it."""
    assert column(tmp_path, *values) == (kind, read)


def test_texts_beside_objects_are_refused_until_it_is_said_what_they_are(tmp_path: Path) -> None:
    """As JSON a text would get quotation marks, as text an object would be none. Other columns can be read."""
    values = ['"a"', '{"b": 1}']
    with pytest.raises(SourceError, match="texts beside objects") as caught:
        column(tmp_path, *values)
    assert "column 'n' of" in caught.value.message
    assert column(tmp_path, *values, json=["n"]) == ("json", ['"a"', '{"b":1}'])
    assert column(tmp_path, *values, text=["t.n"]) == ("string", ["a", '{"b":1}'])
    assert table_of(source(tmp_path), "SELECT * EXCLUDE (n) FROM t ORDER BY id").to_pylist() == [{"id": 0}, {"id": 1}]
    assert table_of(source(tmp_path), "SELECT count(*) AS c FROM t").to_pylist() == [{"c": 2}]


def test_the_type_of_a_column_is_that_of_all_files(tmp_path: Path) -> None:
    """Two files of one table are one column; an empty file has no say, and a missing key is NULL."""
    put(tmp_path, {"t/1.jsonl": '{"n": 1}', "t/2.jsonl": "", "t/3.json": '[{"n": "x"}]', "t/4.jsonl": '{"m": 1}'})
    table = table_of(source(tmp_path), "SELECT n FROM t ORDER BY n")
    assert table.column("n").to_pylist() == ["1", "x", None]


@pytest.mark.parametrize(
    "content",
    [
        '[{"a": 1},', '[{"a": 1}', "[", '[{"a": 1}, 5]', '[{"a": 1}, [1]', '[{"a": 1}, null]', '[{"a": 1}] 5',
        '[{"a": 1}]\n[{"a": 2}]', '{"a": 1}\nnull\n', '{"a": 1}\n"x"\n', '{"a": 1}\n[1]\n', '{"a": 1} {"a": 2}',
        '{"a": 1}\r{"a": 2}', '{\n"a": 1\n}\n', '{"a": 1}\n{"a"', '{"a": 1, "a": 2}', '{"a": "x', "", "[]", "\n\n",
        "{}\n{}\n", '{"a": 1}\n}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_no_whole_object_fails_the_read(tmp_path: Path, content: str, compressed: bool) -> None:
    """An array that breaks off, a value that is no object, two objects on a line, none at all: never fewer rows."""
    put(tmp_path, {"t.json.gz": gzip.compress(content.encode())} if compressed else {"t.json": content})
    with pytest.raises(SourceError) as caught:
        table_of(source(tmp_path), "FROM t")
    assert "t.json" in caught.value.message


def test_every_object_is_a_row(tmp_path: Path) -> None:
    """Blank lines, either line end, a last line with none, members of one file in another order."""
    put(tmp_path, {"t.jsonl": '{"a": 1, "b": 2}\r\n\r\n  \n{"b": 3, "a": 4}\n\n{"a": 5}'})
    assert table_of(source(tmp_path), "FROM t").to_pylist() == [
        {"a": 1, "b": 2}, {"a": 4, "b": 3}, {"a": 5, "b": None},
    ]  # fmt: skip


def test_an_object_beyond_what_the_reader_holds_fails_the_read(tmp_path: Path) -> None:
    """And errors do not quote what is in it."""
    lines = [json.dumps({"a": "mary" * 10}), json.dumps({"a": "mary" * 10_000_000})]
    put(tmp_path, {"t.jsonl": "\n".join(lines)})
    with pytest.raises(SourceError) as caught:
        table_of(source(tmp_path), "FROM t")
    assert "mary" not in str(caught.value)


def test_wide_objects_are_read_in_the_memory_of_a_read(tmp_path: Path) -> None:
    """Some hundred keys, of all kinds: what is kept to find their types does not grow with the square of them."""
    kinds = [1, "x", 1.5, None, True]
    rows = [{f"c{number}": kinds[(number + row) % 5] for number in range(250)} for row in range(3)]
    put(tmp_path, {"t.jsonl": "\n".join(json.dumps(row) for row in rows)})
    table = table_of(source(tmp_path), "FROM t")
    assert (table.num_columns, table.num_rows) == (250, 3)
    assert table.column("c1").to_pylist() == ["x", "1.5", None]

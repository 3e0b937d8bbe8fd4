"""Rows of CSV files are counted a second way: none is passed over in silence."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from contracts.sources import table_of
from levada.errors import SourceError
from levada.sources import record_counts
from unit.sources.reading_files import put, source

ODD = ("a", "", '"', '""', "x\ny", "\n", "\n\n", "\r\n", "a,b", '5" pipe', "é", ",", '"\n"', " ", "1")


@pytest.mark.parametrize(
    ("letters", "place", "end"),
    [
        (2_000_000, "first", "\n"), (2_000_000, "last", ""), (31_000_000, "last", "\n"), (40_000_000, "first", ""),
        (40_000_000, "last", ""), (40_000_000, "last", "\n"), (40_000_000, "only", "\n"),
    ],
)  # fmt: skip
def test_a_line_that_the_reader_cannot_hold_fails_the_read(tmp_path: Path, letters: int, place: str, end: str) -> None:
    """It does not count as gone, wherever in the file it stands and whatever its length."""
    short = [f"{number},abc" for number in range(29)]
    long = f"99,{'a' * letters}"
    lines = {"first": [long, *short], "last": [*short, long], "only": [long]}[place]
    put(tmp_path, {"t.csv": "\n".join(["id,v", *lines]) + end})
    with pytest.raises(SourceError) as caught:
        table_of(source(tmp_path), "FROM t")
    number = {"first": 2, "last": 31, "only": 2}[place]
    length = len(long) + (place == "first" or bool(end))
    assert f"line {number} of {tmp_path}/t.csv has {length:,} bytes; the most is" in caught.value.message
    assert "aaaa" not in str(caught.value)


def test_drawn_files_are_counted_as_they_are_written(tmp_path: Path) -> None:
    """Quotes, line ends within fields, empty fields, blank lines, all delimiters: what was written is what is read."""
    random = Random(7)
    for case in range(40):
        columns = random.randint(1, 3)
        rows = [[random.choice(ODD) for _ in range(columns)] for _ in range(random.randint(0, 6))]
        out = io.StringIO()
        delimiter = random.choice(",;\t|") if columns > 1 else ","
        end = random.choice(("\n", "\r\n"))
        style: Literal[0, 1] = csv.QUOTE_ALL if random.random() < 0.5 else csv.QUOTE_MINIMAL
        writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=style)
        writer.writerow([f"c{number}" for number in range(columns)])
        writer.writerows(rows)
        text = out.getvalue()
        if columns > 1 and random.random() < 0.3:
            text += random.choice(("\n", "\n\n"))
        put(tmp_path, {f"{case}/t.csv": text})
        try:
            table = table_of(source(tmp_path / str(case)), "FROM t")
        except SourceError:
            # the reader mistakes some carriage returns, and says so
            if "\r" not in text:
                raise
            continue
        assert table.num_rows == len(rows), text


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_the_count_does_not_depend_on_where_the_file_is_cut(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Pairs of quotes and letters of several bytes lie across the pieces in which a file is read."""
    text = 'a,b\n"x""y","\n"\n"","é😀"\n"""",""""\n5" pipe,"z\n\n"'
    file = Path(__file__).parent / "unused"
    monkeypatch.setattr(record_counts, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(record_counts, "raw", lambda path: io.BytesIO(text.replace('5" pipe', "5 pipe").encode()))
    record_counts.check_csv(file, ",", 2, 4)


@pytest.mark.parametrize("found", [0, 1, 3])
def test_another_number_of_rows_is_an_error(tmp_path: Path, found: int) -> None:
    """Fewer or more, by both numbers."""
    put(tmp_path, {"t.csv": 'a,b\n1,"x\ny"\n2,z\n'})
    with pytest.raises(SourceError, match=f"holds 2 rows, and {found} of them"):
        record_counts.check_csv(tmp_path / "t.csv", ",", 2, found)
    record_counts.check_csv(tmp_path / "t.csv", ",", 2, 2)


def test_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    """It has columns, and no rows; a file without a byte has neither, and says so."""
    put(tmp_path, {"t.csv": "a,b\n", "u.csv": "a,b", "v.csv": ""})
    for table in ("t", "u"):
        assert table_of(source(tmp_path), f"FROM {table}").num_rows == 0
    with pytest.raises(SourceError, match="no header"):
        table_of(source(tmp_path), "FROM v")

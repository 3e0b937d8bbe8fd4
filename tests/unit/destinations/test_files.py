"""Files as a destination: whole or not there, inside the folder or not at all, and exact."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import os
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.tables import ALICE, BOB, SCHEMA, SYNC, batch, columns_of, records
from levada.destination import Surroundings, WriteOrder, Writer
from levada.destinations import files
from levada.destinations.file_formats import Csv
from levada.destinations.files import TYPE, FilesDestination, object_parts
from levada.errors import AccessError, ConfigError, UnavailableError
from levada.sync import Mode

Kind = Literal["csv", "jsonl", "parquet"]
FORMATS: tuple[Kind, ...] = ("csv", "jsonl", "parquet")


def destination(folder: Path, kind: Kind = "csv", **options: Any) -> FilesDestination:
    found = TYPE.open("out", TYPE.options(path="out", format=kind, **options), Surroundings(folder))
    assert isinstance(found, FilesDestination)
    return found


def writer(
    folder: Path, kind: Kind = "csv", *, mode: Mode = "append", name: str = "people", plan: str = "1",
    schema: pa.Schema = SCHEMA, **options: Any,
) -> Writer:  # fmt: skip
    order = WriteOrder(SYNC, "run_1", f"{SYNC}@{plan}", name, mode, "ignore", (), schema)
    return destination(folder, kind, **options).open(order)


def add(to: Writer, *rows: tuple[Any, ...], number: int = 0, schema: pa.Schema = SCHEMA) -> str:
    return to.write(batch(records(*rows, schema=schema), "append", number=number, match=())).common.end


def read(path: Path) -> list[tuple[Any, ...]]:
    """What a reader that is not ours makes of a file or a folder of files."""
    where = str(path / "*") if path.is_dir() else str(path)
    kind = path.suffix or next(iter(sorted(path.iterdir()))).suffix
    match kind:
        case ".csv":
            source = (
                f"read_csv('{where}', header=true, types={{'id': 'BIGINT', 'email': 'VARCHAR', 'score': 'BIGINT'}})"
            )
        case ".jsonl":
            source = f"read_json('{where}', format='newline_delimited')"
        case _:
            source = f"read_parquet('{where}')"
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT id, email, score FROM {source} ORDER BY id").fetchall()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_batch_becomes_a_part_of_its_own(tmp_path: Path, kind: Kind) -> None:
    """Plans and batches never overwrite each other; the folder of parts is the table."""
    first = writer(tmp_path, kind)
    assert (add(first, ALICE), add(first, BOB, number=1)) == ("delivered", "delivered")
    first.finish()
    first.close()
    second = writer(tmp_path, kind, plan="2")
    add(second, (3, "c", 3))
    second.close()
    assert read(tmp_path / "out/people") == [ALICE, BOB, (3, "c", 3)]
    assert len(list((tmp_path / "out/people").iterdir())) == 3


@pytest.mark.parametrize("kind", FORMATS)
def test_a_batch_written_again_is_the_same_file(tmp_path: Path, kind: Kind) -> None:
    """Class A: an attempt whose end is not known is written again, without a second effect."""
    for _ in range(2):
        again = writer(tmp_path, kind)
        assert again.applied(0) is None
        add(again, ALICE)
        again.close()
    assert read(tmp_path / "out/people") == [ALICE]


@pytest.mark.parametrize("kind", FORMATS)
def test_replace_swaps_one_file_when_all_is_in(tmp_path: Path, kind: Kind) -> None:
    """Until `finish` the old file is whole; then the new one is; nothing else is left."""
    path = tmp_path / f"out/reports/people.{kind}"
    for plan, rows in (("1", [ALICE]), ("2", [BOB, ALICE])):
        before = path.read_bytes() if path.exists() else None
        to = writer(tmp_path, kind, mode="replace", name="reports/people", plan=plan)
        for number, row in enumerate(rows):
            add(to, row, number=number)
        assert (path.read_bytes() if path.exists() else None) == before
        to.finish()
        to.close()
        assert read(path) == sorted(rows)
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    assert all(found.suffix == ".done" for found in (tmp_path / "out/.levada").iterdir())


@pytest.mark.parametrize("kind", FORMATS)
def test_replace_goes_on_after_a_crash_and_finishes_once(tmp_path: Path, kind: Kind) -> None:
    """Parts wait for the next process; finishing again, with nothing waiting, does not empty the file."""
    first = writer(tmp_path, kind, mode="replace")
    add(first, ALICE)
    first.close()
    second = writer(tmp_path, kind, mode="replace")
    add(second, BOB, number=1)
    second.finish()
    second.finish()
    second.close()
    third = writer(tmp_path, kind, mode="replace")
    third.finish()
    third.close()
    assert read(tmp_path / f"out/people.{kind}") == [ALICE, BOB]


@pytest.mark.parametrize("kind", FORMATS)
def test_replace_forgets_an_abandoned_plan(tmp_path: Path, kind: Kind) -> None:
    """Parts of an older plan are never mixed into a newer one."""
    abandoned = writer(tmp_path, kind, mode="replace")
    add(abandoned, ALICE)
    abandoned.close()
    newer = writer(tmp_path, kind, mode="replace", plan="2")
    add(newer, BOB)
    newer.finish()
    newer.close()
    assert read(tmp_path / f"out/people.{kind}") == [BOB]
    assert len(list((tmp_path / "out/.levada").iterdir())) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_replace_by_nothing_is_a_file_without_rows(tmp_path: Path, kind: Kind) -> None:
    """An empty model makes an empty file, with its columns where the format has such."""
    to = writer(tmp_path, kind, mode="replace")
    to.finish()
    to.close()
    path = tmp_path / f"out/people.{kind}"
    if kind == "parquet":
        assert pq.read_table(path).schema.names == SCHEMA.names
    else:
        assert path.read_text() == ('"id","email","score"\n' if kind == "csv" else "")


def test_a_write_that_breaks_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: nothing appears under a name that readers look for, and the next try makes it whole."""
    to = writer(tmp_path)
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match="No space left"):
        add(to, ALICE)
    assert not list((tmp_path / "out").rglob("*.csv"))
    monkeypatch.setattr(os, "fsync", real)
    assert add(to, ALICE) == "delivered"
    assert read(tmp_path / "out/people") == [ALICE]
    assert not list((tmp_path / "out").rglob("*.partial"))
    to.close()


# -- places

UNSAFE = (
    "", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", ".hidden", ".levada/x", "a\\b", "a\0b", "a\nb",
    " a", "x" * 200, "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Relative, plain names only."""
    with pytest.raises(ConfigError):
        destination(tmp_path).describe(name)


@given(st.text(max_size=30) | st.text(st.sampled_from("./\\ab~\0\n"), max_size=12))
def test_a_name_that_is_taken_stays_below_the_folder(name: str) -> None:
    """Whatever is not refused means a path inside."""
    try:
        parts = object_parts(name, "csv")
    except ConfigError:
        return
    root = Path("/srv/out")
    assert root in Path(os.path.normpath(root.joinpath(*parts))).parents


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link in the way is an error, and what it leads to stays as it was."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/people").symlink_to(tmp_path / "elsewhere")
    to = writer(tmp_path)
    with pytest.raises(AccessError):
        add(to, ALICE)
    to.close()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_in_place_of_the_file_is_replaced_itself(tmp_path: Path) -> None:
    """A swap puts the file where the link was; what the link led to is not written to."""
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").write_text("theirs")
    (tmp_path / "out/people.csv").symlink_to(tmp_path / "secret")
    to = writer(tmp_path, mode="replace")
    add(to, ALICE)
    to.finish()
    to.close()
    assert (tmp_path / "secret").read_text() == "theirs"
    assert read(tmp_path / "out/people.csv") == [ALICE]


# -- values


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x"])
def test_text_that_a_spreadsheet_would_run_is_made_harmless(tmp_path: Path, text: str) -> None:
    """A ' before it, in CSV, unless switched off; numbers, negative ones too, are left alone."""
    for escape in (True, False):
        to = writer(tmp_path, name=f"people-{escape}", escape_formulas=escape)
        add(to, (-1, text, -5))
        to.close()
        path = next((tmp_path / f"out/people-{escape}").iterdir())
        with path.open(newline="") as file:
            assert list(csv.reader(file))[1] == ["-1", ("'" if escape else "") + text, "-5"]


@given(st.lists(st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=5))
def test_no_cell_of_a_csv_begins_like_a_formula(values: list[str | None]) -> None:
    """Whatever the text, and with the ' taken off again it is the model's value."""
    column = Csv().prepared(pa.table({"x": pa.array(values, pa.string())})).column("x").to_pylist()
    for value, cell in zip(values, column, strict=True):
        assert cell is None or cell[:1] not in tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
        assert value in (cell, cell and cell.removeprefix("'"))


def test_null_and_empty_text_differ_in_every_format(tmp_path: Path) -> None:
    """NULL is an empty cell, empty text is two quotes; in JSON lines null and ""."""
    for kind in FORMATS:
        to = writer(tmp_path, kind, name=kind)
        add(to, (1, "", 1), (2, None, 2))
        to.close()
    assert next((tmp_path / "out/csv").iterdir()).read_text().splitlines()[1:] == ['1,"",1', "2,,2"]
    lines = next((tmp_path / "out/jsonl").iterdir()).read_text().splitlines()
    assert [json.loads(line)["email"] for line in lines] == ["", None]
    assert read(tmp_path / "out/parquet") == [(1, "", 1), (2, None, 2)]


TYPED = columns_of(
    ("money", pa.decimal128(38, 10)),
    ("big", pa.int64()),
    ("at", pa.timestamp("us", "UTC")),
    ("day", pa.date32()),
    ("ok", pa.bool_()),
    ("tags", pa.list_(pa.string())),
)
ROW = (
    Decimal("1234567890123456789012345678.0123456789"),
    2**63 - 1,
    dt.datetime(2024, 2, 29, 23, 59, 59, 1, dt.UTC),
    dt.date(1, 1, 1),
    True,
    ['a"b', "\n"],
)


def test_values_are_exact_in_json_lines(tmp_path: Path) -> None:
    """Every digit of a decimal, whole 64-bit integers, instants as RFC 3339 says."""
    to = writer(tmp_path, "jsonl", schema=TYPED)
    add(to, ROW, (Decimal("0.0000000001"), -1, None, None, None, None), schema=TYPED)
    to.close()
    text = next((tmp_path / "out/people").iterdir()).read_text(encoding="utf-8")
    first, second = (json.loads(line, parse_float=Decimal) for line in text.splitlines())
    assert first == {
        "money": ROW[0],
        "big": ROW[1],
        "at": "2024-02-29T23:59:59.000001Z",
        "day": "0001-01-01",
        "ok": True,
        "tags": ROW[5],
    }
    assert second["money"] == Decimal("0.0000000001")


def test_values_are_exact_in_csv(tmp_path: Path) -> None:
    """Decimals without an exponent, lists as JSON."""
    to = writer(tmp_path, schema=TYPED)
    add(to, ROW, (Decimal("0.0000000001"), -1, None, None, None, None), schema=TYPED)
    to.close()
    with next((tmp_path / "out/people").iterdir()).open(newline="") as file:
        _, first, second = csv.reader(file)
    assert first[:5] == [str(ROW[0]), str(ROW[1]), "2024-02-29 23:59:59.000001Z", "0001-01-01", "true"]
    assert json.loads(first[5]) == ROW[5]
    assert second == ["0.0000000001", "-1", "", "", "", ""]


def test_parquet_keeps_the_models_own_types(tmp_path: Path) -> None:
    """What was written is what is read, types and all."""
    to = writer(tmp_path, "parquet", schema=TYPED, mode="replace")
    add(to, ROW, schema=TYPED)
    to.finish()
    to.close()
    found = pq.read_table(tmp_path / "out/people.parquet")
    assert found.schema.equals(TYPED)
    assert found.equals(records(ROW, schema=TYPED))


def test_what_a_format_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    """Bytes in text formats before anything is written; NaN in JSON when it comes."""
    schema = pa.schema([pa.field("photo", pa.binary())])
    for kind in ("csv", "jsonl"):
        with pytest.raises(ConfigError, match="photo"):
            destination(tmp_path, kind).describe("people", schema)
    destination(tmp_path, "parquet").describe("people", schema)
    ratio = pa.schema([pa.field("ratio", pa.float64())])
    field = destination(tmp_path, "jsonl").describe("people", ratio).fields[0]
    assert not field.limits.nonfinite
    to = writer(tmp_path, "jsonl", schema=ratio)
    assert add(to, (math.nan,), schema=ratio) == "rejected"
    assert add(to, (1.5,), number=1, schema=ratio) == "delivered"
    to.close()


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    """`check` needs a folder, or a place where it can be made."""
    destination(tmp_path).check()
    (tmp_path / "out").write_text("a file")
    with pytest.raises(AccessError):
        destination(tmp_path).check()
    with pytest.raises((AccessError, UnavailableError)):
        writer(tmp_path)


def test_the_spec_says_class_a() -> None:
    """Only adding and replacing; sending again is harmless."""
    spec = destination(Path()).spec
    assert dict(spec.classes) == {"append": "A"}
    assert spec.replaces
    assert files.TYPE.type == "files"

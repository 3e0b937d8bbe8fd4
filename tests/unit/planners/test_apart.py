"""Rows with one key are shown with what tells them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada.runner.project import Project
from servers.answering import http_project

OPEN = "objects: {things: {upsert: {send: POST /things, record: '{fields_all}'}, delete: POST /gone}}"


def reasons(folder: Path, rows: str, sync: str = "") -> list[tuple[object, str, str]]:
    http_project(folder, OPEN, rows, sync)
    with Project.open(folder) as project:
        found = [(row.key, row.code, row.reason) for row in project.plan("s").invalid]
    return sorted(found, key=lambda row: row[2])


def test_each_row_says_the_fields_that_differ_and_its_own_values(tmp_path: Path) -> None:
    """Not those that are equal; a missing value is one, too; a long one is cut."""
    rows = "id,name,town,note\n1,Ann,Faro,\n1,Ann,Lagos,hello\n2,Bo,Faro,\n3,Cy," + "x" * 60 + ",\n3,Cy,y,\n"
    start = "several rows with this key and different values; this one: "
    assert reasons(tmp_path, rows) == [
        (1, "duplicate_key", start + "town Faro, note NULL"),
        (1, "duplicate_key", start + "town Lagos, note hello"),
        (3, "duplicate_key", start + "town " + "x" * 39 + "…"),
        (3, "duplicate_key", start + "town y"),
    ]


def test_of_many_fields_that_differ_the_first_are_named(tmp_path: Path) -> None:
    """Five, and that there are more."""
    names = [f"c{number}" for number in range(7)]
    rows = "\n".join([",".join(["id", *names]), ",".join(["1", *"abcdefg"]), ",".join(["1", *"ABCDEFG"]), ""])
    (first, _) = reasons(tmp_path, rows)
    assert first[2].endswith("this one: c0 A, c1 B, c2 C, c3 D, c4 E, …")


@pytest.mark.parametrize(
    ("kind", "values"),
    [("integer", ("1", "2")), ("json", ('{"a":1}', '{"a":2}')), ("timestamp", ("2026-01-01 00:00:00",))],
)
def test_values_of_every_kind_are_told(tmp_path: Path, kind: str, values: tuple[str, ...]) -> None:
    """Also against NULL."""
    import duckdb

    http_project(tmp_path, OPEN, "id\n1\n", "")
    (tmp_path / "sources" / "files.yml").write_text("type: duckdb\npath: d.duckdb\n")
    listed = [*values, *([None] if len(values) == 1 else [])]
    with duckdb.connect(str(tmp_path / "d.duckdb")) as connection:
        connection.execute(f"CREATE TABLE m (id INTEGER, v {kind})")
        for value in listed:
            connection.execute("INSERT INTO m VALUES (1, ?)", [value])
    with Project.open(tmp_path) as project:
        told = {row.reason.partition("this one: ")[2] for row in project.plan("s").invalid}
    assert told == {f"v {value or 'NULL'}" for value in listed}


def test_rows_that_would_be_one_record_say_which(tmp_path: Path) -> None:
    """Different keys, one match value: the value is named beside each key."""
    rows = "id,email\n1,a@x.example\n2,a@x.example\n3,b@x.example\n"
    found = reasons(tmp_path, rows, "match: {email: email}")
    words = "several rows would be found as the same record: email a@x.example"
    assert sorted(found, key=str) == [(1, "duplicate_match", words), (2, "duplicate_match", words)]

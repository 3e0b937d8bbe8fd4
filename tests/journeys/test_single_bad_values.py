"""One value that cannot be kept, in any source: its row is invalid, by key and reason, and the others arrive."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import duckdb
import psycopg
import pytest

from levada import Project
from levada_process import write

POSTGRES = {
    "date": ("'2024-05-06'", "'infinity'"),
    "timestamp": ("'2024-05-06 07:08'", "'-infinity'"),
    "timestamptz": ("'2024-05-06 07:08+00'", "'infinity'"),
    "timestamp(0)": ("'2024-05-06'", "'294276-12-31'"),
    "date[]": ("'{2024-05-06}'", "'{2024-05-06,infinity}'"),
    "timestamptz[]": ("'{2024-05-06}'", "'{-infinity}'"),
    "numeric(9,2)": ("1.50", "'NaN'"),
    "time": ("'12:00'", "'24:00'"),
    "int[]": ("'{1,2}'", "'{{1},{2}}'"),
    "text[]": ("'{a}'", "'[0:0]={a}'"),
}
DUCKDB = {
    "DATE": ("'2024-05-06'", "'infinity'"),
    "TIMESTAMP": ("'2024-05-06 07:08'", "'-infinity'"),
    "TIMESTAMPTZ": ("'2024-05-06 07:08+00'", "'infinity'"),
    "DATE[]": ("['2024-05-06'::DATE]", "['infinity'::DATE]"),
    "STRUCT(a TIMESTAMP)": ("{'a': '2024-05-06'::TIMESTAMP}", "{'a': 'infinity'::TIMESTAMP}"),
    "HUGEINT": ("1", "170141183460469231731687303715884105727"),
    "DATE[][]": ("[['2024-05-06'::DATE]]", "[['-infinity'::DATE]]"),
}
SQLITE = {
    "integer": ("1", "'many'"),
    "date": ("'2024-05-06'", "'infinity'"),
    "timestamp": ("'2024-05-06 07:08:09'", "'yesterday'"),
    "time": ("'12:00'", "'24:00'"),
    "boolean": ("1", "7"),
    "decimal(9,2)": ("'1.50'", "'NaN'"),
    "real": ("1.5", "'a lot'"),
    "text": ("'a'", "CAST(x'ff' AS TEXT)"),
}
CASES = [
    *(("postgres", kind, *values) for kind, values in POSTGRES.items()),
    *(("duckdb", kind, *values) for kind, values in DUCKDB.items()),
    *(("sqlite", kind, *values) for kind, values in SQLITE.items()),
]


def fill(folder: Path, source: str, url: str, kind: str, good: str, bad: str) -> str:
    """A table of three rows, of which the second has the bad value; how the source is declared."""
    statements = [
        f"CREATE TABLE t (id integer PRIMARY KEY, x {kind})",
        f"INSERT INTO t VALUES (1, {good}), (2, {bad}), (3, NULL)",
    ]
    if source == "postgres":
        with psycopg.connect(url, autocommit=True) as server:
            for statement in statements:
                server.execute(statement)  # type: ignore[arg-type,unused-ignore]
        return f"type: postgres\nurl: {url}\n"
    if source == "duckdb":
        with duckdb.connect(str(folder / "w.duckdb")) as embedded:
            for statement in statements:
                embedded.execute(statement)
        return "type: duckdb\npath: w.duckdb\n"
    with sqlite3.connect(folder / "w.db") as file:
        for statement in statements:
            file.execute(statement)
    return "type: sqlite\npath: w.db\n"


@pytest.mark.parametrize(("source", "kind", "good", "bad"), CASES, ids=[f"{case[0]} {case[1]}" for case in CASES])
def test_a_single_bad_value_is_an_invalid_row(
    source: str, kind: str, good: str, bad: str, tmp_path: Path, postgres_url: str
) -> None:
    """The row's key and the reason are shown; a sync that does not take the column knows nothing of it."""
    declared = fill(tmp_path, source, postgres_url, kind, good, bad)
    write(
        tmp_path,
        {
            "levada.yml": "name: t\n",
            "sources/w.yml": declared,
            "models/m.sql": "/*\nsource: w\nkey: id\n*/\nselect id, x from t\n",
            "destinations/o.yml": "type: files\npath: out\nformat: jsonl\n",
            "syncs/all.yml": "model: m\nto: o.all\nmode: append\nfields: {id: id, x: x}\n",
            "syncs/ids.yml": "model: m\nto: o.ids\nmode: append\nfields: {id: id}\n",
        },
    )
    with Project.open(tmp_path) as project:
        view = project.plan("all")
        assert (view.plan.counts.added, view.plan.counts.invalid) == (2, 1)
        [row] = view.invalid
        assert (row.key, row.field) == (2, "x")
        assert row.reason.startswith("x: "), row.reason
        assert [shown["id"] for shown in project.preview("m").rows] == [1, 2, 3]
        assert project.plan("ids").plan.counts.added == 3

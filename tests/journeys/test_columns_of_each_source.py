"""Columns come, go and change their type in every kind of source: what a run says, and what it never sends."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from levada import Project
from levada.errors import ConfigError
from levada.run import RunResult
from levada_process import write
from processes.test_memory import counting

ROWS = 12
Columns = dict[str, Callable[[int], Any]]
"""The columns of the source's table: their value in each row. Types follow from the values."""
BEGUN: Columns = {"id": int, "email": lambda i: f"p{i}@example.com", "score": lambda i: i * 10}
KINDS = {int: ("bigint", "integer"), float: ("double precision", "real"), str: ("text", "text")}
"""Types of the values: of DuckDB and PostgreSQL, and of SQLite."""
SYNC = "model: people\nto: there.{to}\nmode: mirror\nmatch: {{id: id}}\nfields: {{{fields}}}\n"
THERE = {
    "http": "type: http\nbase_url: {url}\nobjects:\n  people: &verbs\n"
    "    upsert: {{send: POST /upsert, record: '{{fields_all}}'}}\n"
    "    delete: {{send: POST /delete, record: {{id: '{{key}}'}}}}\n  ids: *verbs\n",
    "sqlite": "type: sqlite\npath: there.db\ncreate_tables: true\n",
}


def into_database(run: Callable[[str], object], columns: Columns, flavour: int) -> None:
    declared = ", ".join(f"{name} {KINDS[type(of(1))][flavour]}" for name, of in columns.items())
    run("DROP TABLE IF EXISTS people")
    run(f"CREATE TABLE people ({declared})")
    rows = (", ".join(repr(of(i)) for of in columns.values()) for i in range(1, ROWS + 1))
    run(f"INSERT INTO people VALUES {', '.join(f'({row})' for row in rows)}")


def put(kind: str, folder: Path, url: str, columns: Columns) -> str:
    """Make the source's table anew; how the source is declared."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    rows = [{name: of(i) for name, of in columns.items()} for i in range(1, ROWS + 1)]
    match kind:
        case "postgres":
            with psycopg.connect(url, autocommit=True) as server:
                into_database(server.execute, columns, 0)
            return f"type: postgres\nurl: {url}\n"
        case "sqlite":
            with sqlite3.connect(folder / "w.db") as file:
                into_database(file.execute, columns, 1)
            return "type: sqlite\npath: w.db\n"
        case "duckdb":
            with duckdb.connect(str(folder / "w.duckdb")) as embedded:
                into_database(embedded.execute, columns, 0)
            return "type: duckdb\npath: w.duckdb\n"
        case "parquet":
            with duckdb.connect() as embedded:
                into_database(embedded.execute, columns, 0)
                embedded.execute(f"COPY people TO '{data / 'people.parquet'}'")
        case "csv":
            with (data / "people.csv").open("w", encoding="utf-8", newline="") as text:
                writer = csv.DictWriter(text, list(columns))
                writer.writeheader()
                writer.writerows(rows)
        case _:
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (data / "people.jsonl").write_text(lines, encoding="utf-8")
    return "type: files\npath: data\n"


@contextmanager
def there(folder: Path, kind: str) -> Iterator[Callable[[], object]]:
    """A destination; what tells whether anything has been sent to it."""
    with counting() as counter:
        write(folder, {"destinations/there.yml": THERE[kind].format(url=counter.url)})
        yield (lambda: counter.records) if kind == "http" else (lambda: (folder / "there.db").read_bytes())


def run(folder: Path, sync: str = "people") -> RunResult:
    with Project.open(folder) as project:
        return project.run(sync)


SOURCES = ["csv", "jsonl", "parquet", "duckdb", "sqlite", "postgres"]


@pytest.mark.parametrize("to", THERE)
@pytest.mark.parametrize("kind", SOURCES)
def test_columns_come_go_and_change_their_type(kind: str, to: str, tmp_path: Path, postgres_url: str) -> None:
    """New: told once. Another type of equal values: told, nothing sent. Gone, or unfit: stopped by name, alone."""
    write(
        tmp_path,
        {
            "levada.yml": "name: t\n",
            "sources/w.yml": put(kind, tmp_path, postgres_url, BEGUN),
            "models/people.sql": "/*\nsource: w\nkey: id\n*/\nselect * from people\n",
            "syncs/people.yml": SYNC.format(to="people", fields="id: id, email: email, score: score"),
            "syncs/ids.yml": SYNC.format(to="ids", fields="id: id"),
        },
    )
    with there(tmp_path, to) as sent:
        assert [run(tmp_path, sync).tally.delivered_total for sync in ("people", "ids")] == [ROWS, ROWS]
        before = sent()

        put(kind, tmp_path, postgres_url, BEGUN | {"extra": lambda i: f"x{i}"})
        found = run(tmp_path)
        told = ("the model has a new column, which no field takes: extra",)
        assert (found.status, found.counts.operations, found.notices) == ("succeeded", 0, told)
        assert run(tmp_path).notices == ()

        put(kind, tmp_path, postgres_url, BEGUN | {"score": lambda i: i * 10.0, "extra": str})
        found = run(tmp_path)
        assert (found.status, found.counts.operations, found.tally.requests) == ("succeeded", 0, 0)
        assert any("the column score was" in notice for notice in found.notices)

        renamed = {name.replace("email", "e_mail"): of for name, of in BEGUN.items()}
        put(kind, tmp_path, postgres_url, renamed)
        with pytest.raises(ConfigError) as caught:
            run(tmp_path)
        assert (caught.value.code, caught.value.exit_code) == ("config.unknown_column", 2)
        assert "email" in caught.value.message
        assert "e_mail" in (caught.value.hint or "")

        put(kind, tmp_path, postgres_url, BEGUN | {"score": lambda i: f"no number {i}"})
        found = run(tmp_path)
        assert (found.status, found.tally.requests) == ("blocked", 0)
        (reason,) = [reason for reason in found.guard.reasons if reason.rule == "type_changed"]
        assert "the column score was" in reason.message
        assert (run(tmp_path, "ids").status, sent()) == ("succeeded", before)

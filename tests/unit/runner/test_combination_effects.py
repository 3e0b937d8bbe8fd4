"""Mode × nulls × removed × only_if_empty, through real runs into each kind of destination: each has its effect.

A record that was there before, one that changes, one that leaves the model, with NULLs, in two runs. What the
destination then holds is read from it, and compared with what the docs' words make of the same rows.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pymysql
import pytest

import claims
from combinations import (
    DECLARED,
    FILES,
    TABLES,
    Combination,
    Row,
    abilities,
    combinations,
    impossible,
    model,
    project_of,
    type_of,
)
from levada.runner.project import Project
from servers.answering import answering
from unit.runner.test_combinations import NEEDS, url_of

THERE: Row = (1, "theirs", "Faro")
FIRST: list[Row] = [(1, "A", None), (2, "B", "Lagos"), (3, "C", "Tavira")]
SECOND: list[Row] = [(1, "A", None), (2, "B2", None), (4, None, "Olhão")]
OLD = "before the sync"


class Keeping:
    """A tool, or a user's function, that keeps records: what each verb does to those that an object holds.

    A create of a record that is there is refused, and so is an update of one that is not, as most tools do.
    """

    def __init__(self) -> None:
        self.held: dict[str, list[dict[str, Any]]] = {}
        self.archived: list[tuple[str, int]] = []

    def of(self, name: str) -> list[dict[str, Any]]:
        return self.held.setdefault(name, [dict(zip(("id", "name", "town"), THERE, strict=True))])

    def take(self, name: str, verb: str, record: dict[str, Any]) -> int:
        """The status that it answers with."""
        records = self.of(name)
        found = next((each for each in records if each["id"] == record["id"]), None)
        match verb:
            case "append":
                records.append(record)
            case "create" if found is not None:
                return 409
            case "update" if found is None:
                return 404
            case "delete" | "archive" | "remove":
                records[:] = [each for each in records if each is not found]
                self.archived += [(name, record["id"])] if verb == "archive" and found is not None else []
            case _ if found is None:
                records.append(record)
            case _:
                found.update(record)
        return 200

    def rows(self, name: str) -> list[Row]:
        rows = [(int(each["id"]), each.get("name"), each.get("town")) for each in self.of(name)]
        return rows + [(key, "archived", None) for where, key in self.archived if where == name]


def expected(kind: str, mode: str, nulls: str, removed: str | None, only: bool) -> list[Row]:
    """What the object holds after both runs, by the words of the docs."""
    if kind == "audience":
        removed = removed or ("ignore" if mode == "insert" else "delete")
        mode = "upsert"  # members are added and updated in every mode that there is
    if mode == "replace":
        return SECOND
    if mode == "append" or kind in FILES:
        return [*([] if kind in FILES else [THERE]), *FIRST, SECOND[2]]
    held: dict[int, tuple[Any, Any]] = {1: THERE[1:]}
    sent: set[int] = set()
    for rows in (FIRST, SECOND):
        for key, name, town in rows:
            if (mode == "insert" and (key in held or key in sent)) or (mode == "update" and key not in held):
                continue
            old = held.get(key, (None, None))
            new = tuple(
                past if value is None and nulls == "skip" else value
                for past, value in zip(old, (name, town), strict=True)
            )
            held[key] = (old[0] if only and old[0] is not None else new[0], new[1])
            sent.add(key)
    removal = removed or ("delete" if mode == "mirror" else "ignore")
    if 3 in sent and removal != "ignore":
        held[3] = {"clear": (None, None), "archive": ("archived", None)}.get(removal, ("", None))
        if removal == "delete":
            del held[3]
    return [(key, *values) for key, values in held.items()]


def events(mode: str, nulls: str, removed: str | None) -> list[tuple[str, dict[str, Any]]]:
    """What a webhook is told in both runs: the kind of change, and the data."""

    def data(row: Row) -> dict[str, Any]:
        found = dict(zip(("id", "name", "town"), row, strict=True))
        return {key: value for key, value in found.items() if value is not None or nulls == "clear"}

    found: list[tuple[str, dict[str, Any]]] = [("added", data(row)) for row in FIRST]
    removal = removed or ("delete" if mode == "mirror" else "ignore")
    if removal == "delete":
        found.append(("removed", data(FIRST[2])))
    if removal == "clear":
        found.append(("removed", {"id": 3, "name": None, "town": None}))
    if mode in ("upsert", "mirror"):
        # whole records: what the model has no value for any more is sent as it was last confirmed
        found.append(("changed", data(SECOND[1] if nulls == "clear" else (2, "B2", "Lagos"))))
    return [*found, ("added", data(SECOND[2]))]


TRIED: Sequence[Combination] = (
    ("upsert", "skip", "delete", True),
    ("upsert", "skip", "clear", False),
    ("mirror", "clear", None, False),
    ("update", "clear", None, False),
    ("replace", "clear", None, False),
    ("append", "clear", None, False),
    ("insert", "clear", "delete", False),
    ("mirror", "skip", "archive", False),
    ("upsert", "clear", "clear", False),
)
"""What is tried in small."""
FEW = {
    "sqlite": 7,
    "duckdb": 2,
    "mysql": 2,
    "postgres": 3,
    "jsonl": 1,
    "parquet": 1,
    "http": 6,
    "http upsert only": 1,
    "webhook": 4,
    "audience": 2,
}
"""How many of them where the same code was tried with another kind."""


def chosen(kind: str) -> list[Combination]:
    """Those that resolve, by the page."""
    full = claims.campaign() or claims.full()
    can = abilities()[type_of(kind)]
    verbs = can.verbs or frozenset(DECLARED[kind])
    possible = [each for each in (combinations() if full else TRIED) if not impossible(can, verbs, each)]
    return possible if full else possible[: FEW.get(kind)]


def run_twice(folder: Path, tried: Sequence[Combination]) -> None:
    for rows in (FIRST, SECOND):
        model(folder, rows)
        with Project.open(folder) as project:
            for number in range(len(tried)):
                result = project.run(f"s{number}")
                assert result.status in ("succeeded", "partial"), (tried[number], result)


def sort(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in rows), key=repr)


def compared(kind: str, tried: Sequence[Combination], rows: Callable[[str], Sequence[Sequence[Any]]]) -> None:
    assert tried
    for number, each in enumerate(tried):
        assert sort(rows(f"t{number}")) == sort(expected(kind, *each)), (kind, each)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["http", "http upsert only", "audience"])
def test_a_tool_holds_what_the_words_say(tmp_path: Path, kind: str) -> None:
    """One request for each record: fields cleared or left as they are, records deleted, archived, cleared or kept."""
    kept = Keeping()

    def answer(method: str, path: str, body: str) -> tuple[int, Any]:
        _, verb, name = path.split("/")
        found = json.loads(body)
        return kept.take(name, verb, found[0] if isinstance(found, list) else found), {}

    tried = chosen(kind)
    with answering(answer) as tool:
        project_of(tmp_path, kind, tool.url, tried)
        run_twice(tmp_path, tried)
    compared(kind, tried, kept.rows)


@pytest.mark.timeout(900)
def test_a_function_is_given_what_the_words_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records and verbs, played by a tool that keeps records."""
    monkeypatch.chdir(tmp_path)
    tried = chosen("python")
    project_of(tmp_path, "python", "", tried)
    run_twice(tmp_path, tried)
    kept = Keeping()
    for line in (tmp_path / "taken.jsonl").read_text().splitlines():
        name, verb, _, record = json.loads(line)
        kept.take(name, verb, record)
    compared("python", tried, kept.rows)


@pytest.mark.timeout(900)
def test_a_webhook_is_told_what_the_words_say(tmp_path: Path) -> None:
    """An event for each change, with NULLs or without; of a removed row as it was, or emptied."""
    told: list[dict[str, Any]] = []

    def answer(method: str, path: str, body: str) -> tuple[int, Any]:
        told.append(json.loads(body))
        return 200, {}

    tried = chosen("webhook")
    with answering(answer) as tool:
        project_of(tmp_path, "webhook", tool.url, tried)
        run_twice(tmp_path, tried)
    for number, (mode, nulls, removed, _) in enumerate(tried):
        found = [(one["type"].partition(".")[2], one["data"]) for one in told if one["type"].startswith(f"t{number}.")]
        assert sort(found) == sort(events(mode, nulls, removed)), tried[number]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", FILES)
def test_files_hold_what_the_words_say(tmp_path: Path, kind: str) -> None:
    """In modes append and insert every new row once, in replace the rows of the last run."""
    tried = chosen(kind)
    project_of(tmp_path, kind, "", tried)
    run_twice(tmp_path, tried)
    reader = {"csv": "read_csv", "jsonl": "read_json", "parquet": "read_parquet"}[kind]

    def rows(name: str) -> list[Any]:
        files = [str(file) for file in tmp_path.glob(f"out/{name}*/*.*")] or [str(tmp_path / "out" / f"{name}.{kind}")]
        with duckdb.connect() as connection:
            return connection.execute(f"SELECT id, name, town FROM {reader}({files}, union_by_name=true)").fetchall()

    compared(kind, tried, rows)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=NEEDS.get(kind, ())) for kind in TABLES])
def test_a_table_holds_what_the_words_say(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """By every combination that is allowed; mode append has a table without a key."""
    url = url_of(kind, request)
    tried = chosen(kind)
    project_of(tmp_path, kind, url, tried)
    with ExitStack() as stack:
        query = asking(kind, url, tmp_path, stack)
        for number, each in enumerate(tried):
            key = "" if each[0] == "append" else " PRIMARY KEY"
            query(f"CREATE TABLE t{number} (id INTEGER{key}, name VARCHAR(20), town VARCHAR(20))")
            query(f"INSERT INTO t{number} VALUES (1, 'theirs', 'Faro')")
    run_twice(tmp_path, tried)
    with ExitStack() as stack:
        query = asking(kind, url, tmp_path, stack)
        compared(kind, tried, lambda name: query(f"SELECT id, name, town FROM {name}"))


def asking(kind: str, url: str, folder: Path, stack: ExitStack) -> Callable[[str], list[Any]]:
    """Speaks to the database on its own; what it did is committed when the stack is left."""
    connection: Any
    match kind:
        case "sqlite":
            connection = sqlite3.connect(folder / "to.sqlite", isolation_level=None)
        case "duckdb":
            connection = duckdb.connect(str(folder / "to.duckdb"))
        case "postgres":
            connection = psycopg.connect(url, autocommit=True)
        case _:
            parts = url.removeprefix("mysql://").replace(":", " ").replace("@", " ").replace("/", " ").split()
            user, password, host, port, database = parts
            connection = pymysql.connect(
                host=host, port=int(port), user=user, password=password, database=database, autocommit=True
            )
    stack.callback(connection.close)

    def query(statement: str) -> list[Any]:
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall()) if statement.startswith("SELECT") else []

    return query

"""Mode × nulls × removed × only_if_empty × kind of destination: each has its effect, or is refused by name."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest

from levada.errors import ConfigError
from levada.runner.project import Project
from levada.runner.resolve import resolve
from servers.answering import http_project

MODES = ("insert", "update", "upsert", "mirror", "append", "replace")
NULLS = ("clear", "skip")
REMOVED = (None, "ignore", "delete", "archive", "clear")
VERBS = (
    "upsert: {send: POST /t, record: '{fields}'}, update: PATCH /t, create: POST /n, append: POST /a, "
    "delete: POST /g, archive: POST /h"
)
KINDS = {
    "http": "type: http\nbase_url: http://127.0.0.1:9\nobjects: {things: {" + VERBS + "}}\n",
    "http upsert only": "type: http\nbase_url: http://127.0.0.1:9\nobjects: {things: {upsert: POST /t}}\n",
    "audience": "type: http\nbase_url: http://127.0.0.1:9\nobjects: {things: {add: POST /t, remove: POST /g}}\n",
    "webhook": "type: webhook\nurl: http://127.0.0.1:9/in\nsecret: abc\n",
    "csv": "type: files\npath: out\nformat: csv\n",
    "sqlite": "type: sqlite\npath: to.sqlite\ncreate_tables: true\n",
    "duckdb": "type: duckdb\npath: to.duckdb\ncreate_tables: true\n",
}
CANNOT: dict[str, dict[str, set[Any]]] = {
    "http": {"mode": {"replace"}, "only": {True}},
    "http upsert only": {
        "mode": {"insert", "update", "mirror", "append", "replace"},
        "only": {True},
        "removed": {"delete", "archive"},
    },
    "audience": {"mode": {"update", "append", "replace"}, "only": {True}, "removed": {"archive", "clear"}},
    "webhook": {
        "mode": {"update", "replace"},
        "only": {True},
        "removed": {"archive"},
    },
    **{
        name: {
            "mode": {"update", "upsert", "mirror"},
            "only": {True},
            "nulls": {"skip"},
            "removed": {"delete", "archive", "clear"},
        }
        for name in ("csv",)
    },
    "sqlite": {"removed": {"archive"}},
    "duckdb": {"removed": {"archive"}},
}
"""What each kind cannot do, as its page says."""


def sync_of(mode: str, nulls: str, removed: str | None, only: bool) -> str:
    """A sync's file, without model and destination."""
    name = "{column: name, only_if_empty: true}" if only else "name"
    lines = [f"mode: {mode}", f"nulls: {nulls}", f"fields: {{id: id, name: {name}, town: town}}"]
    return "\n".join(
        [
            *lines,
            *([f"removed: {removed}"] if removed else []),
            "guard: {removed_max: none, changed_max: none, nulls_max: none}",
        ]
    )


def removed_means_nothing(mode: str, removed: str | None) -> bool:
    if removed is None:
        return False
    return mode in ("append", "replace") or (mode == "mirror" and removed not in ("delete", "archive"))


def contradictions(mode: str, nulls: str, removed: str | None, only: bool) -> set[str]:
    """Options that the mode gives no meaning to, whatever the destination."""
    if mode != "replace":
        return set()
    return ({"nulls"} if nulls == "skip" else set()) | ({"only"} if only else set())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_destination_cannot_do_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    """All 120 combinations: what the declarations allow resolves, any other is refused, naming what is impossible."""
    names = {"mode": "mode", "nulls": "nulls", "removed": "removed", "only": "only where it is empty"}
    http_project(tmp_path, "", "id,name,town\n1,A,\n", "")
    (tmp_path / "destinations" / "api.yml").write_text(KINDS[kind])
    (tmp_path / "syncs" / "s.yml").unlink()
    combinations = list(product(MODES, NULLS, REMOVED, (False, True)))
    read = [each for each in combinations if not removed_means_nothing(each[0], each[2])]
    for number, each in enumerate(read):
        (tmp_path / "syncs" / f"s{number}.yml").write_text(f"model: m\nto: api.things\n{sync_of(*each)}\n")
    resolved = 0
    with Project.open(tmp_path) as project:
        for number, each in enumerate(read):
            chosen = dict(zip(("mode", "nulls", "removed", "only"), each, strict=True))
            wrong = contradictions(*each)
            wrong |= {option for option, values in CANNOT[kind].items() if chosen[option] in values}
            refused = refusal(project, f"s{number}")
            resolved += refused is None
            assert (refused is not None) == bool(wrong), (kind, chosen, refused)
            if refused is not None:
                assert any(names[option] in refused or "verb" in refused for option in wrong), (chosen, refused)
    assert resolved


@pytest.mark.parametrize(("mode", "removed"), [("append", "delete"), ("replace", "ignore"), ("mirror", "clear")])
def test_what_a_mode_gives_no_meaning_to_is_refused_when_files_are_read(
    tmp_path: Path, mode: str, removed: str
) -> None:
    """Whatever the destination."""
    assert removed_means_nothing(mode, removed)
    http_project(
        tmp_path, KINDS["http"].partition("\n")[2].partition("\n")[2], ROWS, f"mode: {mode}\nremoved: {removed}"
    )
    with Project.open(tmp_path) as project, pytest.raises(ConfigError, match="removed:"):
        resolve(project, "s")


ROWS = "id,name,town\n1,A,\n"


def refusal(project: Project, sync: str) -> str | None:
    """What the project says of a sync."""
    try:
        resolve(project, sync)
    except ConfigError as error:
        return error.message
    return None


THERE = {1: ("theirs", "Faro")}
FIRST = {1: ("A", None), 2: ("B", "Lagos"), 3: ("C", "Tavira")}
SECOND = {1: ("A", None), 2: ("B2", None)}


def expected(mode: str, nulls: str, removed: str | None, only: bool) -> dict[int, tuple[Any, Any]]:
    """What the table holds after two runs, by the words of the docs."""
    if mode == "replace":
        return dict(SECOND)
    held: dict[int, tuple[Any, Any]] = dict(THERE)
    sent: set[int] = set()
    for rows in (FIRST, SECOND):
        for key, (name, town) in rows.items():
            if (mode == "insert" and (key in held or key in sent)) or (mode == "update" and key not in held):
                continue
            old = held.get(key, (None, None))
            kept = old[0] if only and old[0] is not None else name
            held[key] = (kept, old[1] if town is None and nulls == "skip" else town)
            sent.add(key)
    removal = removed or ("delete" if mode == "mirror" else "ignore")
    if removal == "delete" and 3 in sent:
        del held[3]
    elif removal == "clear" and 3 in sent:
        held[3] = (None, None)
    return held


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sqlite"])
def test_what_a_table_can_do_has_its_effect(tmp_path: Path, kind: str) -> None:
    """A record that was there, one that changes, one that leaves, with NULLs: by every combination that is allowed."""
    found = product(MODES, NULLS, (None, "delete", "clear"), (False, True))
    tried = [
        each
        for each in found
        # append adds rows that nobody looks for: it has tests of its own
        if each[0] != "append" and not contradictions(*each) and not removed_means_nothing(each[0], each[2])
    ]
    http_project(tmp_path, "", text(FIRST), "")
    (tmp_path / "syncs" / "s.yml").unlink()
    (tmp_path / "destinations" / "api.yml").write_text(KINDS[kind].replace("create_tables: true\n", ""))
    for number, each in enumerate(tried):
        make = f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, name VARCHAR, town VARCHAR)"
        execute(kind, tmp_path, make, f"INSERT INTO t{number} VALUES (1, 'theirs', 'Faro')")
        (tmp_path / "syncs" / f"s{number}.yml").write_text(f"model: m\nto: api.t{number}\n{sync_of(*each)}\n")
    for rows in (FIRST, SECOND):
        (tmp_path / "data" / "m.csv").write_text(text(rows))
        with Project.open(tmp_path) as project:
            for number in range(len(tried)):
                project.run(f"s{number}")
    for number, each in enumerate(tried):
        held = {row[0]: (row[1], row[2]) for row in execute(kind, tmp_path, f"SELECT id, name, town FROM t{number}")}
        assert held == expected(*each), each
    assert len(tried) > 40


def text(rows: Mapping[int, tuple[str, str | None]]) -> str:
    return "id,name,town\n" + "".join(f"{key},{name},{town or ''}\n" for key, (name, town) in rows.items())


def execute(kind: str, folder: Path, *statements: str) -> list[Any]:
    connection: Any = (
        sqlite3.connect(folder / "to.sqlite") if kind == "sqlite" else duckdb.connect(str(folder / "to.duckdb"))
    )
    try:
        for statement in statements:
            found = connection.execute(statement).fetchall()
        if kind == "sqlite":
            connection.commit()
        return list(found)
    finally:
        connection.close()

"""The one list of places where values rest is complete, and nothing of it is made up."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from levada import Project
from levada.at_rest import PLACES, Place, resting_places
from levada_process import write
from security.canaries import outputs
from servers.records import Records, records_server

PERSON = "zqkeeper77"
"""Stands in every key and every value of the rows below, and nowhere else."""
ROOT = Path(__file__).resolve().parents[2]
API = """\
type: http
base_url: URL
max_server_seconds: 0.1
limits: {records_per_request: 2, concurrent_requests: 1}
objects:
  contacts:
    upsert: {send: POST /records, record: "{fields_all}", outcomes: {identifier: id}}
    delete: {send: POST /records/delete, record: "{fields_all}"}
"""
UNREACHED = {"backups/*", "plans/*/touched.parquet", "plans/*/work/*"}
"""Places that this test does not fill: what a migration copies, and what a killed process leaves."""


def rows(folder: Path, lines: dict[str, str]) -> None:
    text = "".join(f"{PERSON}-{key},{value}\n" for key, value in lines.items())
    write(folder, {"data/people.csv": "id,note\n" + text})


def lived(folder: Path, server: Records) -> None:
    """A table and an API: added, changed, removed, written over, refused, invalid, stopped by a guard, taken back."""
    server.refuses = lambda record: record["id"].endswith("-4")
    server.words = f"{PERSON} of ours"
    write(
        folder,
        {
            "levada.yml": "name: rest\n",
            "sources/shop.yml": "type: files\npath: data\n",
            "models/people.sql": "/*\nsource: shop\nkey: id\n*/\nselect id, note from people\n",
            "destinations/crm.yml": "type: sqlite\npath: crm.db\n",
            "destinations/api.yml": API.replace("URL", server.url),
            "syncs/to_table.yml": "model: people\nto: crm.people\nmode: mirror\n"
            "guard: {removed_max: 3, changed_max: none, undo_max: none}\nfields: {id: id, note: note}\n",
            "syncs/to_api.yml": "model: people\nto: api.contacts\nmode: mirror\n"
            "guard: {removed_max: none, changed_max: none}\nfields: {id: id, note: note}\n",
        },
    )
    connection = sqlite3.connect(folder / "crm.db")
    connection.execute("CREATE TABLE people (id TEXT PRIMARY KEY, note TEXT NOT NULL)")
    connection.execute("INSERT INTO people VALUES (?, ?)", (f"{PERSON}-1", f"{PERSON} as somebody else wrote it"))
    connection.commit()
    connection.close()
    people = {str(n): f"{PERSON} note {n}" for n in range(1, 9)}
    with Project.open(folder) as project:
        rows(folder, people)
        first = project.run("to_table").run_id
        assert project.run("to_api").status == "partial"
        rows(folder, {**people, "1": f"{PERSON} changed", "9": ""})
        del people["2"]
        rows(folder, {**people, "1": f"{PERSON} changed", "9": ""})
        project.run("to_table")
        project.run("to_api")
        rows(folder, {key: people[key] for key in ("1", "3")})
        assert project.run("to_table").status == "blocked"
        rows(folder, {**people, "1": f"{PERSON} changed"})
        assert project.undo(first).status == "succeeded"


def found_in(state: Path) -> Iterator[str]:
    """The files and tables of a state that hold the person."""
    for name, data in outputs(state):
        if PERSON.encode() in data and not name.startswith("state.sqlite-") and name != "state.sqlite":
            yield name.removesuffix(", read")


def test_every_place_that_holds_a_value_is_in_the_list_and_every_place_of_the_list_holds_some(tmp_path: Path) -> None:
    """The state of syncs to which everything has happened is searched, whole, and column by column."""
    with records_server() as server:
        lived(tmp_path, server)
    state = tmp_path / ".levada"
    names = set(found_in(state))
    assert [name for name in names if not resting_places(name)] == []
    reached = {place for name in names for place in resting_places(name) if held(state, place, name)}
    assert {place.pattern + place.column for place in PLACES if place not in reached} == UNREACHED
    for column, pattern in columns_with_values(state):
        assert any(place.pattern == pattern and place.column == column for place in PLACES), (pattern, column)


def held(state: Path, place: Place, name: str) -> bool:
    """Does it hold the person there: for a table, in the column of the place?"""
    return not place.column or (place.column, name) in set(columns_with_values(state))


def columns_with_values(state: Path) -> Iterator[tuple[str, str]]:
    connection = sqlite3.connect(f"file:{state / 'state.sqlite'}?mode=ro", uri=True)
    try:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall():
                query = f'SELECT 1 FROM "{table}" WHERE instr(CAST("{column}" AS TEXT), ?) LIMIT 1'
                if connection.execute(query, (PERSON,)).fetchone():
                    yield column, f"state.sqlite:{table}"
    finally:
        connection.close()


def test_nothing_of_the_list_is_outside_of_the_state(tmp_path: Path) -> None:
    """Without the state's folder and the destination's file, no file below the project but its data holds a value."""
    with records_server() as server:
        lived(tmp_path, server)
    shutil.rmtree(tmp_path / ".levada")
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and PERSON.encode() in path.read_bytes()}
    assert left <= {"people.csv", "crm.db", "crm.db-wal"}


def test_the_security_page_has_the_list() -> None:
    """docs/concepts/security.md, in the order of the list."""
    page = (ROOT / "docs/concepts/security.md").read_text(encoding="utf-8")
    lines = [
        f"| `{place.pattern}`{place.column and f', `{place.column}`'} | {place.holds} | {place.until} |"
        for place in PLACES
    ]
    assert [line for line in lines if line not in page] == []

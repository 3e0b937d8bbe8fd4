"""What a run changed at a table, and what stood there before: told by the journal and kept with the plan."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from levada import Project
from levada.batch import Batch
from levada.delivery.before import verify_before
from levada.destinations.tables.writer import TableWriter
from levada.outcome import Outcomes
from levada_process import small_project, write_customers

SYNC = "customers_to_crm"


def kept_before(folder: Path, kind: str) -> pa.Table | None:
    """What is kept of a kind, as one table."""
    found = [parquet.read_table(path) for path in verify_before(folder) if path.name.startswith(f"before-{kind}-")]
    return pa.concat_tables(found) if found else None


def crm(folder: Path, *statements: str) -> list[tuple[Any, ...]]:
    """Somebody else at the destination. Returns its records."""
    with closing(sqlite3.connect(folder / "crm.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
        return connection.execute("SELECT id, email, score FROM contacts ORDER BY id").fetchall()


def effects_of_last(project: Project) -> str:
    """A letter for each record of the last run's only batch."""
    record = project.runs(SYNC, 1)[0]
    (entry,) = [each for each in project.world.store.journals.entries(record.run_id) if each.outcomes is not None]
    assert entry.outcomes is not None
    return entry.outcomes.effects.of_size(entry.intent.size)


def plan_folder(project: Project) -> Path:
    return project.world.store.folder / "plans" / project.runs(SYNC, 1)[0].folder


def kept(project: Project, kind: Any) -> list[tuple[Any, ...]]:
    table = kept_before(plan_folder(project), kind)
    return [] if table is None else [tuple(row.values()) for row in table.to_pylist()]


def test_a_first_run_over_records_keeps_them(tmp_path: Path) -> None:
    """Records that were there before the first run: told as updated or the same, and kept as they were."""
    small_project(tmp_path, rows=4)
    with closing(sqlite3.connect(tmp_path / "crm.db")) as connection:
        connection.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, score INTEGER, note TEXT)")
        connection.commit()
    crm(
        tmp_path,
        "INSERT INTO contacts VALUES (2, 'old@example.com', 7, 'call')",
        "INSERT INTO contacts VALUES (3, 'person3@example.com', 30, NULL)",
    )
    with Project.open(tmp_path) as project:
        assert project.run(SYNC).status == "succeeded"
        assert effects_of_last(project) == "cusc"
        assert kept(project, "added") == [
            (1, 2, "old@example.com", 7, None),
            (2, 3, "person3@example.com", 30, None),
        ]


def test_only_what_others_changed_is_kept_of_changes(tmp_path: Path) -> None:
    """Changed and removed records: those that held what the ledger says leave nothing behind."""
    small_project(tmp_path, rows=8)
    with Project.open(tmp_path) as project:
        project.run(SYNC)
        assert effects_of_last(project) == "c" * 8
        assert list(plan_folder(project).glob("before-*")) == []
        crm(tmp_path, "UPDATE contacts SET email = 'theirs' WHERE id IN (2, 8)", "DELETE FROM contacts WHERE id = 3")
        write_customers(tmp_path, 7, changed=(1, 2, 3))
        removed = project.run(SYNC)
        if removed.status == "blocked":
            project.approve(removed.plan_id)
            removed = project.run(SYNC)
        assert removed.status == "succeeded"
        entries = list(project.world.store.journals.entries(removed.run_id))
        told = {e.intent.kind: e.outcomes.effects.of_size(e.intent.size) for e in entries if e.outcomes}
        assert told == {"removed": "g", "changed": "uuc"}
        assert kept(project, "changed") == [(2, 2, "theirs", 20, None)]
        assert kept(project, "removed") == [(0, 8, "theirs", 80, None)]


def test_what_is_written_a_second_time_without_marks_is_not_taken_for_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """marks: false and an answer that was lost: our own values are not kept as what stood there before, and nobody
    says what the writing changed."""
    small_project(tmp_path, rows=2, changes={"destination": "type: sqlite\npath: crm.db\nmarks: false\n"})
    with closing(sqlite3.connect(tmp_path / "crm.db")) as connection:
        connection.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, score INTEGER)")
        connection.execute("INSERT INTO contacts VALUES (2, 'old@example.com', 7)")
        connection.commit()
    write, lost = TableWriter.write, [True]

    def loses_the_first_answer(self: TableWriter, batch: Batch) -> Outcomes:
        outcomes = write(self, batch)
        if lost.pop() if lost else False:
            raise ConnectionError("the answer to COMMIT was lost")
        return outcomes

    monkeypatch.setattr(TableWriter, "write", loses_the_first_answer)
    with Project.open(tmp_path) as project:
        assert project.run(SYNC).status == "succeeded"
        assert effects_of_last(project) == "--"
        assert kept(project, "added") == [(1, 2, "old@example.com", 7, None)]


def test_what_was_kept_is_of_the_types_of_the_plan(tmp_path: Path) -> None:
    """The columns are the plan's own, so that a plan can be made of them."""
    small_project(tmp_path, rows=1)
    with Project.open(tmp_path) as project:
        project.run(SYNC)
        crm(tmp_path, "UPDATE contacts SET score = 3")
        write_customers(tmp_path, 1, changed=(1,))
        project.run(SYNC)
        table = kept_before(plan_folder(project), "changed")
        assert table is not None
        planned = parquet.read_schema(plan_folder(project) / "changed.parquet")
        for name in ("id", "email", "score"):
            assert table.schema.field(f"before.{name}").type == planned.field(f"before.{name}").type

"""A ledger speaks of one table: what is gone, made anew, emptied or put back is another, and the run stops."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from levada import Project, events
from levada.errors import ConfigError, UnavailableError
from levada_process import levada, small_project, write, write_customers

SYNC = "customers_to_crm"
ROWS = 40
DECLARED = "model: customers\nto: crm.contacts\nmode: {mode}\nfields: all\n"


def crm(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "crm.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def held(folder: Path) -> list[Any]:
    """The ids of the table; none where there is no table."""
    try:
        with closing(sqlite3.connect(folder / "crm.db")) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM contacts ORDER BY id")]
    except sqlite3.OperationalError:
        return []


def started(folder: Path, **changes: str) -> Path:
    """A project whose first run is done."""
    small_project(folder, rows=ROWS, changes=changes)
    with Project.open(folder) as project:
        assert project.run(SYNC).status == "succeeded"
    return folder


def ran(folder: Path) -> Any:
    with Project.open(folder) as project:
        return project.run(SYNC)


def stopped(folder: Path) -> str:
    """A run, a plan and a check say that it is another table. Returns what the run says; it changed nothing."""
    before = held(folder)
    with Project.open(folder) as project:
        result = project.run(SYNC)
        assert result.error is not None, result
        assert (result.status, result.error.code, result.exit_code) == ("failed", "destination.not_the_one", 2)
        with pytest.raises(ConfigError) as planned:
            project.plan(SYNC)
        assert planned.value.code == "destination.not_the_one"
        assert "destination.not_the_one" in {finding.code for finding in project.check([SYNC]).findings}
        assert result.tally.delivered_total == 0
    assert held(folder) == before
    assert "levada resync customers_to_crm" in str(result.error.hint)
    assert "crm.contacts" in result.error.message
    return str(result.error.message)


def sent_again(folder: Path, rows: int = ROWS) -> None:
    """`resync` is the way out: every record is there again, and the next run is in step."""
    with Project.open(folder) as project:
        assert project.resync(SYNC).status == "succeeded"
    assert held(folder) == list(range(1, rows + 1))
    after = ran(folder)
    assert (after.status, after.tally.requests) == ("succeeded", 0)


def dropped(folder: Path) -> None:
    crm(folder, "DROP TABLE contacts")


def made_anew(folder: Path) -> None:
    crm(
        folder,
        "DROP TABLE contacts",
        "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, score INTEGER)",
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
        " INSERT INTO contacts SELECT i, 'other', 0 FROM n",
    )


def deleted_file(folder: Path) -> None:
    (folder / "crm.db").unlink()


def emptied(folder: Path) -> None:
    crm(folder, "DELETE FROM contacts")


def mostly_emptied(folder: Path) -> None:
    crm(folder, f"DELETE FROM contacts WHERE id > {ROWS // 5}")


def other_rows(folder: Path) -> None:
    crm(folder, "UPDATE contacts SET id = id + 1000")


def other_values(folder: Path) -> None:
    crm(folder, "UPDATE contacts SET email = 'x' || id, score = -score")


def without_marks(folder: Path) -> None:
    crm(folder, "DROP TABLE _levada_marks")


def emptied_marks(folder: Path) -> None:
    crm(folder, "DELETE FROM _levada_marks")


ANOTHER = (
    dropped, made_anew, deleted_file, emptied, mostly_emptied, other_rows, other_values, without_marks, emptied_marks,
)  # fmt: skip


@pytest.mark.parametrize("happens", ANOTHER, ids=lambda happens: happens.__name__)
def test_another_table_stops_the_run(tmp_path: Path, happens: Callable[[Path], None]) -> None:
    """Whatever became of the table that the sync had filled: nothing is sent, and `resync` is named and works."""
    started(tmp_path)
    happens(tmp_path)
    write_customers(tmp_path, ROWS, changed=(1,))
    stopped(tmp_path)
    if happens is other_rows:
        crm(tmp_path, "DELETE FROM contacts")
    sent_again(tmp_path)


@pytest.mark.parametrize("happens", [dropped, emptied, deleted_file], ids=lambda happens: happens.__name__)
def test_a_run_without_changes_stops_too(tmp_path: Path, happens: Callable[[Path], None]) -> None:
    """An empty table is not in step with a model, though nothing of it changed."""
    started(tmp_path)
    happens(tmp_path)
    stopped(tmp_path)
    sent_again(tmp_path)


def test_a_table_put_back_from_an_older_copy_stops_the_run(tmp_path: Path) -> None:
    """A backup of last week: its marks are of another plan than the last one."""
    started(tmp_path)
    shutil.copy(tmp_path / "crm.db", tmp_path / "older.db")
    write_customers(tmp_path, ROWS, changed=(1, 2))
    assert ran(tmp_path).status == "succeeded"
    shutil.copy(tmp_path / "older.db", tmp_path / "crm.db")
    write_customers(tmp_path, ROWS, changed=(1, 2, 3))
    assert "an older copy" in stopped(tmp_path)
    sent_again(tmp_path)


def test_mark_synced_takes_the_table_as_it_is(tmp_path: Path) -> None:
    """The other way out: a person says that it is right, and the runs after that go on from there."""
    started(tmp_path)
    made_anew(tmp_path)
    stopped(tmp_path)
    assert levada(tmp_path, "mark-synced", SYNC).code == 0
    write_customers(tmp_path, ROWS, changed=(1,))
    result = ran(tmp_path)
    assert (result.status, result.tally.delivered_total) == ("succeeded", 1)


def test_rebuild_is_a_way_out(tmp_path: Path) -> None:
    """A new ledger claims nothing of the table."""
    started(tmp_path)
    dropped(tmp_path)
    stopped(tmp_path)
    assert levada(tmp_path, "resync", SYNC, "--rebuild").code == 0
    assert held(tmp_path) == list(range(1, ROWS + 1))
    assert ran(tmp_path).tally.requests == 0


LEGITIMATE = {
    "vacuum": ("DELETE FROM contacts WHERE id = 7", "VACUUM"),
    "another column": ("ALTER TABLE contacts ADD COLUMN note TEXT",),
    "an index": ("CREATE INDEX by_email ON contacts (email)",),
    "a few rows deleted": (f"DELETE FROM contacts WHERE id <= {ROWS // 4}",),
    "a column overwritten": ("UPDATE contacts SET email = 'x' || id",),
    "rows of others": ("INSERT INTO contacts VALUES (1001, 'theirs', 0)",),
    "another table": ("CREATE TABLE others (id INTEGER)", "DROP TABLE others"),
}


@pytest.mark.parametrize("what", LEGITIMATE)
def test_what_people_do_to_a_table_stops_nothing(tmp_path: Path, what: str) -> None:
    """Upkeep, and changes of some records, leave it the same table."""
    started(tmp_path)
    for turn in (1, 2):
        crm(tmp_path, *(statement for statement in LEGITIMATE[what] if turn == 1))
        write_customers(tmp_path, ROWS, changed=tuple(range(30, 30 + turn)))
        result = ran(tmp_path)
        assert (result.status, result.tally.delivered_total) == ("succeeded", 1)


def test_a_mass_removal_that_was_approved_is_no_loss(tmp_path: Path) -> None:
    """What the sync removed itself is not missed, neither by the next run nor by one that is gone on with."""
    started(tmp_path)
    write_customers(tmp_path, 4)
    with Project.open(tmp_path) as project:
        blocked = project.run(SYNC)
        project.approve(blocked.plan_id)
        assert project.run(SYNC).status == "succeeded"
    write_customers(tmp_path, 4, changed=(1,))
    assert ran(tmp_path).status == "succeeded"
    assert held(tmp_path) == [1, 2, 3, 4]


def test_a_sync_that_began_with_nothing_sent_misses_nothing(tmp_path: Path) -> None:
    """first_run: skip over a table that is still empty: what was never there is not missed."""
    small_project(tmp_path, rows=ROWS, changes={"sync": DECLARED.format(mode="upsert") + "first_run: skip\n"})
    crm(tmp_path, "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, score INTEGER)")
    assert ran(tmp_path).status == "succeeded"
    for changed in ((1,), (1, 2)):
        write_customers(tmp_path, ROWS, changed=changed)
        result = ran(tmp_path)
        assert (result.status, result.tally.delivered_total) == ("succeeded", 1)
    assert held(tmp_path) == [1, 2]


@pytest.mark.parametrize("mode", ["append", "insert"])
def test_records_that_are_taken_away_stop_nothing(tmp_path: Path, mode: str) -> None:
    """A table of events, or of orders to be worked off: its consumer may empty it, which is told. It may not vanish."""
    started(tmp_path, sync=DECLARED.format(mode=mode))
    emptied(tmp_path)
    write_customers(tmp_path, ROWS + 1)
    result = ran(tmp_path)
    assert (result.status, result.tally.delivered_total) == ("succeeded", 1)
    assert any(f"is empty, and {ROWS} records are there by the ledger" in notice for notice in result.notices)
    assert held(tmp_path) == [ROWS + 1]
    dropped(tmp_path)
    write_customers(tmp_path, ROWS + 2)
    assert "is gone" in stopped(tmp_path)
    again = levada(tmp_path, "resync", SYNC, "--rebuild", "--json")
    if again.code == 4:  # nobody knows whether rows that were appended are there
        assert levada(tmp_path, "approve", again.document["plan_id"]).code == 0
        assert levada(tmp_path, "run").code == 0
    assert held(tmp_path) == list(range(1, ROWS + 3))


def test_a_table_that_is_swapped_each_time_is_filled_anew(tmp_path: Path) -> None:
    """Mode replace needs nobody: an object that is gone or empty is written again, and the run says so."""
    started(tmp_path, sync=DECLARED.format(mode="replace"))
    for happens in (emptied, dropped, deleted_file):
        happens(tmp_path)
        result = ran(tmp_path)
        assert result.status == "succeeded"
        assert any("all of the model is sent" in notice for notice in result.notices)
        assert held(tmp_path) == list(range(1, ROWS + 1))
        assert ran(tmp_path).tally.requests == 0


def test_without_marks_a_table_is_still_known(tmp_path: Path) -> None:
    """marks: false: what is gone or empty is noticed by its records."""
    started(tmp_path, destination="type: sqlite\npath: crm.db\ncreate_tables: true\nmarks: false\n")
    write_customers(tmp_path, ROWS, changed=(1,))
    assert ran(tmp_path).status == "succeeded"
    for happens in (emptied, other_values, dropped):
        happens(tmp_path)
        stopped(tmp_path)
        sent_again(tmp_path)


def test_two_syncs_in_one_table_do_not_stop_each_other(tmp_path: Path) -> None:
    """Each has its own marks, and looks for its own records."""
    small_project(tmp_path, rows=ROWS)
    second = "model: more\nto: crm.contacts\nmode: mirror\nfields: all\n"
    write(
        tmp_path,
        {
            "models/more.sql": "/*\nsource: shop\nkey: id\n*/\nselect id + 1000 as id, email, score from customers\n",
            "syncs/more.yml": second,
        },
    )
    for changed in ((), (1,), (1, 2)):
        write_customers(tmp_path, ROWS, changed=changed)
        assert levada(tmp_path, "run").code == 0
    assert len(held(tmp_path)) == 2 * ROWS


def half_sent(folder: Path) -> None:
    """A run that is stopped after its first batch."""
    with Project.open(folder) as opened:

        def stop(event: events.Event) -> None:
            if isinstance(event, events.BatchSettled):
                opened.stop()

        opened.world.listener = stop
        assert opened.run(SYNC).status == "paused"


@pytest.mark.parametrize("happens", [dropped, emptied, without_marks], ids=lambda happens: happens.__name__)
def test_a_run_that_is_gone_on_with_misses_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Path], None]
) -> None:
    """A run that was stopped half-way, and its table became another: it is not filled with the rest."""
    monkeypatch.setattr("levada.destinations.sqlite.RECORDS_PER_BATCH", 5)
    started(tmp_path)
    for rebuild, last in ((False, 11), (True, 21)):
        write_customers(tmp_path, ROWS, changed=tuple(range(last - 10, last)))
        half_sent(tmp_path)
        happens(tmp_path)
        before = held(tmp_path)
        with Project.open(tmp_path) as project:
            with pytest.raises(ConfigError) as raised:
                project.run(SYNC)
            assert raised.value.code == "destination.not_the_one"
            assert f"levada resync {SYNC}" in str(raised.value.hint)
            assert held(tmp_path) == before
            result = project.resync(SYNC, rebuild=rebuild)
        assert result.status == "succeeded"
        assert held(tmp_path) == list(range(1, ROWS + 1))


def test_a_run_that_is_gone_on_with_is_not_stopped_by_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not answer when it is asked is no other one: delivery finds out whether it is away."""
    monkeypatch.setattr("levada.destinations.sqlite.RECORDS_PER_BATCH", 5)
    started(tmp_path)
    write_customers(tmp_path, ROWS, changed=tuple(range(1, 11)))
    half_sent(tmp_path)

    def silent(*_: object) -> None:
        raise UnavailableError("it does not answer")

    monkeypatch.setattr("levada.destinations.tables.destination.SqlDestination.proof", silent)
    with Project.open(tmp_path) as project:
        result = project.run(SYNC)
        assert [one.status for one in result.resumed] == ["succeeded"]
        assert (result.status, str(result.error.message if result.error else "")) == ("paused", "it does not answer")


def test_a_run_that_is_gone_on_with_misses_nothing_that_it_did_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most records were removed by the run's own first batches: the rest of it is sent."""
    monkeypatch.setattr("levada.destinations.sqlite.RECORDS_PER_BATCH", 30)
    started(tmp_path)
    write_customers(tmp_path, 4)
    with Project.open(tmp_path) as project:
        project.approve(project.run(SYNC).plan_id)
    half_sent(tmp_path)
    assert len(held(tmp_path)) == ROWS - 30
    assert ran(tmp_path).status == "succeeded"
    assert held(tmp_path) == [1, 2, 3, 4]


def test_files_may_be_taken_away_but_not_their_folder(tmp_path: Path) -> None:
    """Files are there to be picked up. A folder that is gone is a disk that is not mounted."""
    started(tmp_path, sync=DECLARED.format(mode="append"), destination="type: files\npath: out\nformat: csv\n")
    shutil.rmtree(tmp_path / "out" / "contacts")
    write_customers(tmp_path, ROWS + 1)
    assert ran(tmp_path).tally.delivered_total == 1
    shutil.rmtree(tmp_path / "out")
    write_customers(tmp_path, ROWS + 2)
    result = ran(tmp_path)
    assert result.error is not None
    assert result.error.code == "destination.not_the_one"
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_swapped_is_written_again(tmp_path: Path) -> None:
    """Mode replace: a file that was taken away is there after the next run."""
    started(tmp_path, sync=DECLARED.format(mode="replace"), destination="type: files\npath: out\nformat: csv\n")
    (tmp_path / "out" / "contacts.csv").unlink()
    assert ran(tmp_path).status == "succeeded"
    assert len((tmp_path / "out" / "contacts.csv").read_text().splitlines()) == ROWS + 1


def test_a_duckdb_file_is_known_again(tmp_path: Path) -> None:
    """The same for DuckDB, which tells no table from its successor: gone, emptied, other values."""
    import duckdb

    def shop(*statements: str) -> None:
        with duckdb.connect(str(tmp_path / "crm.duckdb")) as connection:
            for statement in statements:
                connection.execute(statement)

    started(tmp_path, destination="type: duckdb\npath: crm.duckdb\ncreate_tables: true\n")
    shop("ALTER TABLE contacts ADD COLUMN note VARCHAR", "DELETE FROM contacts WHERE id < 5", "CHECKPOINT")
    write_customers(tmp_path, ROWS, changed=(30,))
    assert ran(tmp_path).status == "succeeded"
    for statement in ("DELETE FROM contacts", "UPDATE contacts SET email = 'x', score = 0", "DROP TABLE contacts"):
        shop(statement)
        result = ran(tmp_path)
        assert result.error is not None
        assert result.error.code == "destination.not_the_one"
        assert levada(tmp_path, "resync", SYNC).code == 0
    (tmp_path / "crm.duckdb").unlink()
    assert ran(tmp_path).exit_code == 2


@pytest.mark.needs("postgres")
def test_a_table_of_postgres_is_known_again(tmp_path: Path, postgres_url: str) -> None:
    """PostgreSQL tells a table from its successor. What rewrites it, or moves a whole database, leaves it the same."""

    def shop(*statements: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    started(tmp_path, destination=f"type: postgres\nurl: {postgres_url}\ncreate_tables: true\n")
    copied = "CREATE TABLE {0}_copy (LIKE {0} INCLUDING ALL)", "INSERT INTO {0}_copy SELECT * FROM {0}"
    anew = (*copied, "DROP TABLE {0}", "ALTER TABLE {0}_copy RENAME TO {0}")
    moved = tuple(part.format(name) for name in ("contacts", "_levada_marks") for part in anew)
    legitimate = (
        ("VACUUM FULL contacts", "ALTER TABLE contacts ALTER COLUMN score TYPE numeric"),
        ("ALTER TABLE contacts ADD COLUMN note text DEFAULT 'x'", "CLUSTER contacts USING contacts_pkey"),
        moved,
    )
    for turn, statements in enumerate(legitimate):
        shop(*statements)
        write_customers(tmp_path, ROWS, changed=tuple(range(1, turn + 2)))
        result = ran(tmp_path)
        assert (result.status, result.tally.delivered_total) == ("succeeded", 1), statements
    for statements in (
        ("TRUNCATE contacts",),
        tuple(part.format("contacts") for part in anew),
        ("DROP TABLE contacts",),
    ):
        shop(*statements)
        result = ran(tmp_path)
        assert result.error is not None, statements
        assert result.error.code == "destination.not_the_one"
        assert levada(tmp_path, "resync", SYNC).code == 0
        assert ran(tmp_path).tally.requests == 0

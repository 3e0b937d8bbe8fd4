"""How table destinations end when something else does: connections, rights, locks, and what hangs on a table."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from contracts.tables import ALICE, BOB, SCHEMA, TableBench, batch, columns_of, records, write
from contracts.test_tables import mysql_bench, postgres_bench, sqlite_bench
from levada.destination import Surroundings
from levada.destinations import destination_type
from levada.destinations.tables.engine import Session
from levada.errors import AccessError, ConfigError, LevadaError, UnavailableError
from servers.mariadb import MariadbServer, fresh_mariadb
from servers.postgres import PostgresServer

SECRET = "s3cret-Pass"


@pytest.fixture
def people(postgres_url: str, tmp_path: Path) -> Iterator[TableBench]:
    """A bench over a fresh PostgreSQL database."""
    bench = postgres_bench(tmp_path, postgres_url)
    yield bench
    bench.close()


@dataclass
class Cut:
    """A session whose connection is cut at the commit: before it is sent, or after."""

    session: Any
    after: bool

    def commit(self) -> None:
        if self.after:
            self.session.commit()
            raise ConnectionError("the answer to COMMIT was lost")
        self.session.close()
        raise UnavailableError("the connection was lost")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
def test_a_connection_cut_at_the_commit_is_settled_by_the_mark(people: TableBench, after: bool) -> None:
    """Whichever side of the commit the cut was on, the mark tells, and the batch ends up applied once."""
    writer: Any = people.writer(mode="append")
    writer.session = Cut(writer.session, after)
    with pytest.raises(ConnectionError if after else UnavailableError):
        write(writer, records(ALICE), "append")
    writer.close()
    again = people.writer(mode="append")
    assert again.applied(0) is after
    write(again, records(ALICE), "append")
    assert people.rows() == [ALICE]


def test_a_server_that_ends_the_connection_applies_nothing(people: TableBench, postgres_url: str) -> None:
    """Killed by the administrator while it waits for a row: surely not applied, and the next writer can go on."""
    people.table()
    people.execute("INSERT INTO people VALUES (1, 'old', 0)")
    writer = people.writer()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            write(writer, records(ALICE, BOB), kind="changed")
        except UnavailableError as error:
            failed.append(error)

    with psycopg.connect(postgres_url) as blocker, psycopg.connect(postgres_url, autocommit=True) as administrator:
        blocker.execute("SELECT * FROM people WHERE id = 1 FOR UPDATE")
        thread = threading.Thread(target=work)
        thread.start()
        until_waiting(administrator)
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> %s",
            (blocker.info.backend_pid,),
        )
        thread.join(20)
        blocker.rollback()
    assert len(failed) == 1
    assert people.rows() == [(1, "old", 0)]
    with pytest.raises(UnavailableError):
        write(writer, records(ALICE), kind="changed")
    again = people.writer()
    assert again.applied(0) is False
    write(again, records(ALICE, BOB), kind="changed")
    assert people.rows() == [ALICE, BOB]


def until_waiting(administrator: psycopg.Connection[Any], seconds: float = 10.0) -> None:
    """Wait until some connection of the database waits for a lock."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = administrator.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
        if found and found[0]:
            return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


def test_a_deadlock_is_tried_again(people: TableBench, postgres_url: str) -> None:
    """The database gives up one of two transactions that wait for each other: ours runs again and arrives."""
    people.table()
    people.execute("INSERT INTO people VALUES (1, 'old', 0), (2, 'old', 0)")
    writer: Any = people.writer()
    writer.session.run("SET deadlock_timeout = '50ms'")
    with (
        psycopg.connect(postgres_url) as other,
        psycopg.connect(postgres_url, autocommit=True) as administrator,
    ):
        other.execute("SET deadlock_timeout = '10s'")
        other.execute("UPDATE people SET score = 1 WHERE id = 2")
        thread = threading.Thread(target=write, args=(writer, records(ALICE, BOB)), kwargs={"kind": "changed"})
        thread.start()
        until_waiting(administrator)
        other.execute("UPDATE people SET score = 1 WHERE id = 1")
        other.commit()
        thread.join(20)
    assert people.rows() == [ALICE, BOB]


@pytest.fixture
def restricted(postgres_server: PostgresServer, postgres_url: str, tmp_path: Path) -> Iterator[TableBench]:
    """A bench whose destination signs in as a user who may write to `people` and create nothing."""
    name = "limited_" + postgres_url.rpartition("_")[2]
    owner = postgres_bench(tmp_path, postgres_url)
    owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    owner.execute(f"CREATE USER {name} PASSWORD '{SECRET}'")
    owner.table()
    owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON people TO {name}")
    bench = postgres_bench(tmp_path, postgres_url.replace("levada:", f"{name}:", 1))
    bench.query, bench.execute = owner.query, owner.execute
    yield bench
    bench.close()
    owner.execute(f"DROP OWNED BY {name}")
    owner.execute(f"DROP USER {name}")


def test_without_the_right_to_create_the_class_is_a(restricted: TableBench) -> None:
    """A user who may make no table still writes, as class A, and is told; append is then said to be class D."""
    destination = restricted.open(create_tables=False)
    destination.describe("people", SCHEMA, ("id",))
    assert destination.spec.delivery_class("people", "upsert") == "A"
    assert destination.spec.delivery_class("people", "append") == "D"
    writer = restricted.writer(destination=destination)
    assert writer.applied(0) is None
    assert any("no right to make it" in notice for notice in getattr(writer, "notices", ()))
    write(writer, records(ALICE))
    write(writer, records(ALICE))
    write(writer, records(BOB), "upsert", number=1)
    assert restricted.rows() == [ALICE, BOB]


def test_a_missing_right_is_an_access_error(restricted: TableBench) -> None:
    """What the user may not do is said in the database's words, with a hint and without the password."""
    restricted.execute("CREATE TABLE closed (id bigint PRIMARY KEY, email text, score bigint)")
    restricted.execute("GRANT SELECT ON closed TO PUBLIC")
    writer = restricted.writer(table="closed")
    with pytest.raises(AccessError) as caught:
        write(writer, records(ALICE))
    assert "permission denied" in caught.value.message
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ((SECRET, "wrong-" + SECRET), AccessError),
        (("levada:", "nobody_here:"), AccessError),
        (("127.0.0.1:", "127.0.0.1:1"), LevadaError),
    ],
    ids=["password", "user", "port"],
)
def test_a_refused_connection_says_why_without_the_password(
    postgres_url: str, tmp_path: Path, change: tuple[str, str], kind: type[LevadaError]
) -> None:
    """One line and a hint; the password is nowhere in it."""
    with pytest.raises(kind) as caught:
        postgres_bench(tmp_path, postgres_url.replace(*change, 1)).open().check()
    assert caught.value.hint
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)


def test_a_database_that_is_not_there_is_named(postgres_url: str, tmp_path: Path) -> None:
    """The wrong name in the URL is a matter of configuration."""
    with pytest.raises(ConfigError, match="does not exist"):
        postgres_bench(tmp_path, postgres_url + "x").open().check()


# -- what hangs on a table that is swapped


def swapped(bench: TableBench, *rows: Sequence[Any]) -> None:
    writer = bench.writer(mode="replace")
    write(writer, records(*(tuple(row) for row in rows)), "append")
    writer.finish()
    writer.close()


def test_a_swap_keeps_grants_comment_and_the_names_of_indexes(people: TableBench) -> None:
    """The new table has the old one's grants, comment, column defaults, checks and index names."""
    people.table("grade integer DEFAULT 7", key=", CONSTRAINT people_key PRIMARY KEY (id), CHECK (score < 100)")
    people.execute("CREATE INDEX people_by_email ON people (lower(email)) WHERE score > 0")
    people.execute("COMMENT ON TABLE people IS 'it''s ours'")
    people.execute("GRANT SELECT ON people TO PUBLIC")
    people.execute("GRANT UPDATE ON people TO pg_monitor WITH GRANT OPTION")
    facts = (
        "SELECT (SELECT array_agg(indexdef ORDER BY indexname) FROM pg_indexes WHERE tablename = 'people'),"
        " (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(relacl) x), obj_description(oid, 'pg_class'),"
        " (SELECT array_agg(pg_get_constraintdef(k.oid) ORDER BY contype) FROM pg_constraint k WHERE conrelid = c.oid)"
        " FROM pg_class c WHERE relname = 'people'"
    )
    before, oid = people.query(facts), people.query("SELECT 'people'::regclass::oid")
    swapped(people, ALICE)
    assert people.query(facts) == before
    assert people.query("SELECT 'people'::regclass::oid") != oid
    assert people.rows(columns="id, email, score, grade") == [(*ALICE, 7)]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW names AS SELECT email FROM people",
        "CREATE TABLE orders (person bigint REFERENCES people DEFERRABLE INITIALLY DEFERRED)",
        "CREATE RULE quiet AS ON UPDATE TO people WHERE old.id < 0 DO INSTEAD NOTHING",
        "ALTER TABLE people ADD COLUMN number serial",
        "ALTER TABLE people ENABLE ROW LEVEL SECURITY",
        "CREATE PUBLICATION everything FOR TABLE people",
    ],
    ids=["view", "foreign key", "rule", "sequence", "policy", "publication"],
)
def test_what_hangs_on_a_table_survives_its_swap(people: TableBench, statement: str) -> None:
    """Where something hangs on the table itself, its rows are exchanged and it stays the same table."""
    people.table()
    people.execute("INSERT INTO people VALUES (9, 'old', 0)")
    people.execute(statement)
    oid = people.query("SELECT 'people'::regclass::oid")
    swapped(people, ALICE, BOB)
    assert people.query("SELECT 'people'::regclass::oid") == oid
    assert people.rows() == [ALICE, BOB]


def test_a_swap_that_is_refused_leaves_the_old_rows(people: TableBench) -> None:
    """A row of another table that needs a vanished one: the swap is refused, readers keep what they had."""
    people.table()
    people.execute("INSERT INTO people VALUES (9, 'old', 0)")
    people.execute("CREATE TABLE orders (person bigint REFERENCES people)")
    people.execute("INSERT INTO orders VALUES (9)")
    with pytest.raises(LevadaError, match="cannot be swapped"):
        swapped(people, ALICE)
    assert people.rows() == [(9, "old", 0)]


# -- columns of kinds that only PostgreSQL has


def test_columns_are_described_with_their_limits(people: TableBench) -> None:
    """Lengths, digits, choices, domains, generated and identity columns are told before anything is sent."""
    people.execute("CREATE TYPE mood AS ENUM ('glad', 'it''s, fine')")
    people.execute("CREATE DOMAIN short AS varchar(3) NOT NULL CHECK (VALUE <> 'bad')")
    people.execute(
        "CREATE TABLE odd (id bigint GENERATED ALWAYS AS IDENTITY, a varchar(5), b numeric(6,2), c smallint, d mood,"
        " e short, f text GENERATED ALWAYS AS (a || 'x') STORED, g jsonb, h uuid, i inet, j text[], k real)"
    )
    found = {field.name: field for field in people.open().describe("odd").fields}
    assert found["a"].limits.text_characters == 5
    assert (found["b"].limits.decimal_digits, found["b"].limits.decimal_scale) == (6, 2)
    assert found["c"].limits.integer_bits == 16
    assert found["d"].limits.choices == ("glad", "it's, fine")
    assert (found["e"].limits.text_characters, found["e"].required) == (3, True)
    assert [name for name, field in found.items() if not field.writable] == ["id", "f"]
    assert [found[name].type for name in "ghijk"] == ["json", "uuid", "text", "list", "number"]
    assert not found["a"].limits.nul_character


def test_columns_of_other_types_take_their_values(people: TableBench) -> None:
    """Text becomes jsonb, uuid, an enum, an address, an array; a value too long is refused, never cut."""
    people.execute("CREATE TYPE mood AS ENUM ('glad', 'sad')")
    people.execute(
        "CREATE TABLE odd (id bigint PRIMARY KEY,"
        " a varchar(3), b jsonb, c uuid, d mood, e inet, f int[], g timestamp(3))"
    )
    texts = [(name, pa.string()) for name in "abcde"]
    schema = columns_of(("id", pa.int64()), *texts, ("f", pa.list_(pa.int64())), ("g", pa.timestamp("us")))
    writer = people.writer(table="odd", schema=schema)
    code = "00000000-0000-0000-0000-00000000000a"
    good = (1, "abc", '{"a": [1, null]}', code, "sad", "10.0.0.1/32", [1, None], 1_000)
    for kind, number in (("added", 0), ("changed", 1)):
        found = writer.write(batch(records(good, schema=schema), "upsert", kind, number=number))  # type: ignore[arg-type]
        assert found.common.end == "delivered", found.common
    rows = people.query("SELECT a, b, c::text, d::text, e::text, f, g::text FROM odd")
    assert rows == [
        ("abc", {"a": [1, None]}, code, "sad", "10.0.0.1/32", [1, None], "1970-01-01 00:00:00.001"),
    ]
    for number, (place, value) in enumerate(((1, "abcd"), (2, "{"), (3, "x"), (4, "cross"), (7, 1_001)), start=2):
        bad = tuple(value if index == place else part for index, part in enumerate(good))
        refused = writer.write(batch(records(bad, schema=schema), "upsert", "changed", number=number))
        assert refused.common.end == "rejected", (place, refused)
    assert people.query("SELECT a FROM odd") == [("abc",)]


def test_a_schema_is_part_of_the_name(people: TableBench) -> None:
    """`schema.table`, and names with dots and quotes; marks are kept in the same schema."""
    people.execute('CREATE SCHEMA "sales.eu"')
    writer = people.writer(table='"sales.eu"."top ""50"""')
    write(writer, records(ALICE))
    assert people.rows('"sales.eu"."top ""50"""') == [ALICE]
    assert people.query('SELECT count(*) FROM "sales.eu"._levada_marks') == [(1,)]


# -- MySQL


@pytest.fixture
def shop(mariadb_server: MariadbServer, tmp_path: Path) -> Iterator[TableBench]:
    """A bench over a fresh MariaDB database."""
    with fresh_mariadb(mariadb_server) as url:
        bench = mysql_bench(tmp_path, url)
        yield bench
        bench.close()


def test_letter_case_that_mysql_ignores_is_no_second_record(shop: TableBench) -> None:
    """Where the column's collation takes two values for equal, both are rejected, and so is one that comes later."""
    shop.execute(
        "CREATE TABLE people (id bigint, email varchar(100) COLLATE utf8mb4_general_ci PRIMARY KEY, score int)"
    )
    writer = shop.writer(match=("email",))
    outcomes = write(writer, records((1, "A@x", 1), (2, "a@x", 2), (3, "b@x", 3)), match=("email",))
    assert [outcomes.of(index).end for index in range(3)] == ["rejected", "rejected", "delivered"]
    later = write(writer, records((4, "B@X", 4)), kind="changed", number=1, match=("email",))
    assert (later.of(0).end, later.of(0).code) == ("rejected", "match_equal")
    assert shop.rows() == [(3, "b@x", 3)]
    write(writer, records((4, "b@x", 4)), kind="changed", number=2, match=("email",))
    assert shop.rows() == [(4, "b@x", 4)]


def test_a_table_without_transactions_is_refused(shop: TableBench) -> None:
    """MyISAM cannot keep rows and mark together: the statement that changes it is shown."""
    shop.execute("CREATE TABLE people (id bigint PRIMARY KEY, email text, score bigint) ENGINE=MyISAM")
    with pytest.raises(ConfigError) as caught:
        shop.writer()
    assert "ENGINE=InnoDB" in str(caught.value.hint)


@pytest.mark.parametrize("hanging", [False, True], ids=["alone", "with a trigger"])
def test_a_swap_in_mysql_leaves_nothing_behind(shop: TableBench, hanging: bool) -> None:
    """Renamed in one statement, or, where a trigger hangs on the table, its rows exchanged."""
    shop.table()
    shop.execute("INSERT INTO people VALUES (9, 'old', 0)")
    if hanging:
        shop.execute("CREATE TRIGGER t BEFORE INSERT ON people FOR EACH ROW SET NEW.score = NEW.score")
    swapped(shop, ALICE, BOB)
    assert shop.rows() == [ALICE, BOB]
    assert set(shop.tables()) == {"people", "_levada_marks"}
    triggers = shop.query("SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = database()")
    assert triggers == [(int(hanging),)]


def test_a_crash_right_after_the_rename_is_noticed(shop: TableBench) -> None:
    """RENAME commits by itself: when the process dies before the mark, the next one sees that it was done."""
    writer: Any = shop.writer(mode="replace")
    write(writer, records(ALICE), "append")
    writer.session.begin()
    assert writer.engine.swap(writer.session, writer.facts.name, writer.staging, writer.retired) is True
    writer.close()
    again = shop.writer(mode="replace")
    assert again.applied(0) is True
    again.finish()
    again.close()
    assert shop.rows() == [ALICE]
    assert set(shop.tables()) == {"people", "_levada_marks"}


def test_a_mysql_user_without_rights_is_class_a(
    mariadb_server: MariadbServer, shop: TableBench, tmp_path: Path
) -> None:
    """No right to make the mark table: written as class A, with a notice."""
    shop.table()
    name = shop.query("SELECT database()")[0][0]
    user = f"u_{name[-6:]}"
    mariadb_server.execute(
        f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY '{SECRET}'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.people TO '{user}'@'127.0.0.1'",
        f"GRANT CREATE TEMPORARY TABLES ON `{name}`.* TO '{user}'@'127.0.0.1'",
    )
    limited = mysql_bench(tmp_path, mariadb_server.url(name, user=user, password=SECRET))
    writer = limited.writer(destination=limited.open(create_tables=False))
    assert writer.applied(0) is None
    for number in (0, 0, 1):
        write(writer, records(ALICE), number=number)
    assert shop.rows() == [ALICE]
    limited.close()


# -- SQLite

KILLED_AT_THE_COMMIT = """
import os, signal, sys
from pathlib import Path

sys.path[:0] = {paths!r}
from contracts.test_tables import sqlite_bench
from contracts.tables import ALICE, BOB, records, write


class Deadly:
    def __init__(self, session):
        self.session = session

    def __getattr__(self, name):
        return getattr(self.session, name)

    def commit(self):
        os.kill(os.getpid(), signal.SIGKILL)


writer = sqlite_bench(Path({folder!r})).writer(mode="append")
write(writer, records(ALICE), "append")
writer.session = Deadly(writer.session)
write(writer, records(BOB), "append", number=1)
"""


def test_a_process_killed_before_its_commit_leaves_no_part_of_a_batch(tmp_path: Path) -> None:
    """kill -9 after the rows and the mark were written and before COMMIT: neither is there."""
    script = KILLED_AT_THE_COMMIT.format(paths=[path for path in sys.path if path], folder=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", script], env={**os.environ}, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    bench = sqlite_bench(tmp_path)
    writer = bench.writer(mode="append")
    assert (writer.applied(0), writer.applied(1)) == (True, False)
    assert bench.rows() == [ALICE]
    write(writer, records(BOB), "append", number=1)
    assert bench.rows() == [ALICE, BOB]
    bench.close()


def test_a_file_that_another_process_writes_to_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that lasts too long pauses the run; nothing was applied."""
    monkeypatch.setattr("levada.destinations.sqlite.BUSY_SECONDS", 0.05)
    bench = sqlite_bench(tmp_path)
    writer = bench.writer()
    with sqlite3.connect(tmp_path / "shop.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError):
            write(writer, records(ALICE))
        other.execute("ROLLBACK")
    assert write(writer, records(ALICE)).common.end == "delivered"
    bench.close()


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_missing_file_is_named(kind: str, tmp_path: Path) -> None:
    """Without create_tables no file is made."""
    found = destination_type(kind)
    assert found is not None
    with pytest.raises(ConfigError) as caught:
        found.open("shop", found.options(path="none.db"), Surroundings(tmp_path)).check()
    assert caught.value.code == "destination.missing_file"
    assert list(tmp_path.iterdir()) == []


def test_sessions_fulfil_their_protocol(people: TableBench) -> None:
    """The proxy of these tests stands before a real session."""
    writer: Any = people.writer()
    session: Session = writer.session
    assert session.alive
    writer.close()
    assert not session.alive

"""Flipped bits and lost files of the state are found, byte by byte (GUARANTEES 6.27)."""

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from contracts.store_bench import SYNC, begun, committed, intents, with_segment
from levada.errors import CorruptedError, LevadaError
from levada.outcome import DELIVERED, Outcome, Outcomes
from levada.store import Approval, AuditEntry
from levada.stores.sqlite import FILE, SqliteStore
from levada.testing.clock import FakeClock

FLIPS_PER_TABLE = 40
"""Bytes tried per table and run of the tests; which ones is drawn by a fixed seed."""

TABLES = ["meta", "lease", "run", "journal_head", "journal", "ledger", "hold"]
TABLES += ["approval", "mark", "quota", "pace", "secret", "audit"]


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """The folder of a store with rows in every table, closed, all of it in the database's file."""
    folder = tmp_path / "state"
    store = SqliteStore.open(folder, FakeClock(), environment={"XDG_CONFIG_HOME": str(tmp_path / "config")})
    lease = begun(store)
    journal = store.journals.open(lease, "run_1")
    journal.intend(intents(3))
    journal.doubt([2], 30)
    journal.settle([(0, Outcomes(DELIVERED, {4: Outcome("rejected", "no such field", "E1")}, identifiers={0: "id-0"}))])
    committed(store, lease, "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    store.runs.create(lease, "run_2", "sync")
    store.runs.update(lease, "run_2", phase="paused", status="paused", result={"status": "paused"})
    store.approvals.put(Approval("plan@abc", SYNC, "ana", "2026-03-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z"))
    store.memory.remember(lease, "undone", "run_1")
    store.limits.use_quota("crm", "2026-03-01", 7)
    store.limits.reserve("crm", 1_000.0, 0.5, 1)
    store.vault.set("TOKEN", "value")
    store.audit.note(AuditEntry("2026-03-01T00:00:00.000Z", "ana", "approve", "plan@abc", {"why": "asked"}))
    store.leases.release(lease)
    assert store.upkeep.verify() == []
    store.close()
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute("vacuum")  # leaves no remains of rows that were written again: those are no values
    return folder


def cells(content: bytes, page: int, size: int) -> list[tuple[int, int]]:
    """Where the rows of a leaf page lie in the file: from, to. See sqlite.org/fileformat2.html, section 1.6."""
    start = (page - 1) * size
    header = start + (100 if page == 1 else 0)
    kind = content[header]
    assert kind in (0x0D, 0x0A), "a small table is one leaf page"
    count, area = struct.unpack_from(">HH", content, header + 3)
    assert count
    return [(start + (area or 65_536), start + size)]


def tables(folder: Path) -> dict[str, int]:
    """Each table and index with its root page."""
    with closing(sqlite3.connect(folder / FILE)) as connection:
        return dict(connection.execute("select name, rootpage from sqlite_schema where rootpage > 0").fetchall())


def rows(folder: Path) -> list[str]:
    """All values as SQLite reads them. (A bit of a row's header may be flipped without a change to any.)"""
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.text_factory = bytes
        return [str(connection.execute(f"select * from {name}").fetchall()) for name in TABLES]


def found(folder: Path) -> bool:
    """Does anybody notice, at opening or in `verify`?"""
    try:
        store = SqliteStore.open(folder, FakeClock())
    except LevadaError:
        return True
    try:
        return bool(store.upkeep.verify())
    finally:
        store.close()


def test_a_flipped_bit_in_any_value_of_any_table_is_found(full: Path) -> None:
    """SQLite alone notices none of them inside a value; the rows' checksums notice all."""
    path = full / FILE
    sound = path.read_bytes()
    size = struct.unpack_from(">H", sound, 16)[0]
    chance = random.Random(20261120)
    roots = tables(full)
    assert set(TABLES) <= roots.keys()
    expected = rows(full)
    missed: list[tuple[str, int]] = []
    for name, page in roots.items():
        for start, end in cells(sound, page, size):
            for index in chance.sample(range(start, end), min(FLIPS_PER_TABLE, end - start)):
                flipped = bytearray(sound)
                flipped[index] ^= 1 << chance.randrange(8)
                path.write_bytes(flipped)
                if not found(full) and rows(full) != expected:
                    missed.append((name, index - start))
    path.write_bytes(sound)
    assert missed == []
    assert not found(full)


READS: dict[str, tuple[bytes, Callable[[SqliteStore], object]]] = {
    "ledger": (b'"segments"', lambda store: store.ledgers.get(SYNC)),
    "lease": (b"run_2", lambda store: store.runs.open_run(SYNC)),
    "run": (b"2026-03-01T12:00:00.000Z", lambda store: store.runs.newest()),
    "intent": (b"key-1", lambda store: list(store.journals.entries("run_1"))),
    "outcome": (b"no such field", lambda store: list(store.journals.entries("run_1"))),
    "identifier": (b"id-0", lambda store: list(store.journals.entries("run_1"))),
    "approval": (b"2026-03-02T00", lambda store: store.approvals.get("plan@abc")),
    "mark": (b"undonerun_1", lambda store: store.memory.recall(SYNC, "undone")),
    "secret": (b"TOKEN", lambda store: store.vault.get("TOKEN")),
    "audit": (b'{"why":"asked"}', lambda store: store.audit.newest()),
}


@pytest.mark.parametrize("row", READS)
def test_a_flipped_bit_is_found_when_the_row_is_read(full: Path, row: str) -> None:
    """Wherever the value stands, key or not: the read raises instead of answering with something else."""
    value, read = READS[row]
    path = full / FILE
    content = bytearray(path.read_bytes())
    places = [index for index in range(len(content)) if content.startswith(value, index)]
    assert places
    for place in places:
        content[place + 3] ^= 1
    path.write_bytes(content)
    store = SqliteStore.open(full, FakeClock())
    with pytest.raises(CorruptedError) as caught:
        read(store)
    assert caught.value.hint
    assert store.upkeep.verify()
    store.close()


@pytest.mark.parametrize("table", ["ledger", "hold", "mark", "approval", "lease", "quota", "pace", "secret"])
def test_a_damaged_key_does_not_make_a_row_absent(full: Path, table: str) -> None:
    """A row that hides behind a flipped key must not read as "never was": that would be a silent reset. Nothing of
    another key is in doubt by it."""
    key = {"approval": b"plan@abc", "secret": b"TOKEN", "quota": b"crm", "pace": b"crm"}.get(table, SYNC.encode())
    damage_key(full, table, key)
    store = SqliteStore.open(full, FakeClock())
    reads: dict[str, Callable[[], object]] = {
        "ledger": lambda: store.ledgers.get(SYNC),
        "hold": lambda: store.journals.hold(SYNC),
        "mark": lambda: store.memory.recall(SYNC, "undone"),
        "approval": lambda: store.approvals.get("plan@abc"),
        "secret": lambda: store.vault.get("TOKEN"),
        "lease": lambda: store.leases.acquire(SYNC),
        "quota": lambda: store.limits.use_quota("crm", "2026-03-01", 1),
        "pace": lambda: store.limits.reserve("crm", 1_000.0, 0.5, 1),
    }
    with pytest.raises(CorruptedError):
        reads[table]()
    others: dict[str, Callable[[], object]] = {
        "ledger": lambda: store.ledgers.get("other"),
        "hold": lambda: store.journals.hold("other"),
        "mark": lambda: store.memory.recall("other", "undone"),
        "approval": lambda: store.approvals.get("other@abc"),
        "lease": lambda: store.leases.acquire("other"),
        "quota": lambda: store.limits.use_quota("other", "2026-03-01", 1),
        "pace": lambda: store.limits.reserve("other", 1_000.0, 0.5, 1),
    }
    if table in others:
        others[table]()
    assert store.upkeep.verify()
    store.close()


@pytest.mark.parametrize("table", ["ledger", "mark", "lease"])
def test_a_store_with_a_damaged_key_can_be_gone_on_with(full: Path, table: str) -> None:
    """Accepting drops the row, and makes the copies of the keys anew, which another key was in."""
    damage_key(full, table, SYNC.encode())
    store = SqliteStore.open(full, FakeClock(), check=False)
    assert f"{table} " in " ".join(store.upkeep.accept_rollback("ana"))
    assert store.upkeep.verify() == []
    store.leases.acquire(SYNC)
    assert store.memory.recall(SYNC, "undone") == (None if table == "mark" else "run_1")
    store.close()


def test_a_ledger_behind_a_damaged_key_can_be_rebuilt(full: Path) -> None:
    """As the error says; `verify` names the row that nobody finds any more."""
    damage_key(full, "ledger", SYNC.encode())
    store = SqliteStore.open(full, FakeClock())
    with pytest.raises(CorruptedError) as caught:
        store.ledgers.get(SYNC)
    assert f"resync {SYNC} --rebuild" in str(caught.value.hint)
    lease = store.leases.acquire(SYNC)
    store.ledgers.rebuild(lease, SYNC)
    assert store.ledgers.get(SYNC).generation == 1
    store.leases.release(lease)
    assert any("the ledger of" in problem for problem in store.upkeep.verify())
    store.close()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_store_from_before_there_were_copies_of_its_keys_opens(full: Path, damaged: bool) -> None:
    """They are made from its tables, which are read through once: what was damaged before is not taken as it is."""
    with closing(sqlite3.connect(full / FILE)) as connection:
        for (name,) in connection.execute(
            "select name from sqlite_schema where name like '%^_key' escape '^'"
        ).fetchall():
            connection.execute(f"drop index {name}")
        connection.execute("pragma user_version = 1")
        connection.commit()
    if damaged:
        damage_key(full, "ledger", SYNC.encode())
        with pytest.raises(CorruptedError, match="the ledger of"):
            SqliteStore.open(full, FakeClock())
        return
    store = SqliteStore.open(full, FakeClock())
    assert store.upkeep.verify() == []
    assert store.ledgers.get(SYNC).generation == 1
    store.close()


@pytest.mark.parametrize("table", ["mark", "hold"])
def test_a_damaged_copy_of_a_key_is_no_lost_row(full: Path, table: str) -> None:
    """The row is read as ever; `verify` tells, and what would change the copy says how to make it anew."""
    damage_key(full, f"{table}_key", SYNC.encode())
    store = SqliteStore.open(full, FakeClock())
    assert store.memory.recall(SYNC, "undone") == "run_1"
    assert store.journals.hold(SYNC) is not None
    assert store.upkeep.verify()
    if table == "mark":
        lease = store.leases.acquire(SYNC)
        with pytest.raises(CorruptedError) as caught:
            store.memory.remember(lease, "undone", None)
        store.leases.release(lease)
        assert "--accept-rollback" in str(caught.value.hint)
    store.upkeep.accept_rollback("ana")
    assert store.upkeep.verify() == []
    assert store.memory.recall(SYNC, "undone") == "run_1"
    store.close()


def damage_key(folder: Path, table: str, key: bytes) -> None:
    """Flip a bit of a key in the table's page, and not in the copy of its keys."""
    path = folder / FILE
    content = bytearray(path.read_bytes())
    size = struct.unpack_from(">H", content, 16)[0]
    start = (tables(folder)[table] - 1) * size
    place = content.find(key, start, start + size)
    assert place > 0
    while place > 0:
        content[place + 1] ^= 1
        place = content.find(key, place + 1, start + size)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "loss",
    [
        "delete from journal where number = 2",
        "delete from journal_head",
        "update journal set number = 7 where number = 1",
        "update journal set outcome = null, exceptions = null, identifiers = null, request_id = null where number = 0",
    ],
)
def test_a_batch_that_is_missing_from_the_journal_is_noticed(full: Path, loss: str) -> None:
    """A forgotten batch would be sent as if it never had been; the error names the run and the way out."""
    with closing(sqlite3.connect(full / FILE)) as connection:
        connection.execute(loss)
        connection.commit()
    store = SqliteStore.open(full, FakeClock())
    with pytest.raises(CorruptedError, match="run_1") as caught:
        list(store.journals.entries("run_1"))
    assert "--rebuild" in str(caught.value.hint)
    assert store.upkeep.verify()
    store.close()


def test_an_open_run_that_is_missing_is_noticed(full: Path) -> None:
    """The lease knows of it: it is not taken for "nothing to resume"."""
    with closing(sqlite3.connect(full / FILE)) as connection:
        connection.execute("delete from run where run_id = 'run_2'")
        connection.commit()
    store = SqliteStore.open(full, FakeClock())
    with pytest.raises(CorruptedError, match="run_2"):
        store.runs.open_run(SYNC)
    assert store.upkeep.verify()
    store.close()


def test_every_flipped_bit_of_a_segment_is_found(full: Path) -> None:
    """Each byte of the file."""
    path = full / "ledgers" / SYNC / "one.parquet"
    sound = path.read_bytes()
    store = SqliteStore.open(full, FakeClock())
    for index in range(len(sound)):
        path.write_bytes(sound[:index] + bytes([sound[index] ^ 4]) + sound[index + 1 :])
        assert any("one.parquet" in sentence for sentence in store.upkeep.verify())
    store.close()


def test_a_damaged_store_can_be_gone_on_with(full: Path) -> None:
    """Accepting sets right or drops what is not as written, and says which; afterwards all verifies."""
    with closing(sqlite3.connect(full / FILE)) as connection:
        for table, column in (("lease", "beats"), ("journal", "attempts"), ("mark", "value"), ("secret", "key_id")):
            connection.execute(f"update {table} set {column} = 77")
        connection.execute("update run set created_at = 'x' where run_id = 'run_2'")
        connection.execute("update ledger set document = '{}'")
        connection.execute("update meta set value = 'x' where name = 'audit'")
        connection.commit()
    store = SqliteStore.open(full, FakeClock(), check=False)
    done = " ".join(store.upkeep.accept_rollback("ana"))
    for named in ("lease", "journal of run run_1", "mark", "secret", "run run_2", "ledger"):
        assert named in done
    assert store.upkeep.verify() == []
    assert store.ledgers.get(SYNC).generation == 0
    store.leases.acquire(SYNC)
    store.close()


def test_a_database_cut_short_is_noticed(full: Path) -> None:
    """At any page."""
    path = full / FILE
    sound = path.read_bytes()
    for length in range(4096, len(sound), 4096 * 3):
        path.write_bytes(sound[:length])
        assert found(full), length

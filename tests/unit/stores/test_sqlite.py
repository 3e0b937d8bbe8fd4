"""What the SQLite store promises beyond the contract: modes, versions, marks, keys, full disks."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.store_bench import SYNC, begun, committed, intents, with_segment
from levada.errors import BusyError, CorruptedError, StoreError
from levada.outcome import DELIVERED, Outcomes
from levada.store import AuditEntry, Intent
from levada.stores.database import BACKUPS, Database
from levada.stores.machine import Machine, Owner
from levada.stores.sqlite import FILE, SqliteStore
from levada.stores.statements import migrations, split
from levada.testing.clock import FakeClock


class AnotherBoot(Machine):
    """The machine after a restart. `during_wait` runs while somebody watches a heartbeat."""

    def __init__(self, boot: str = "another boot") -> None:
        super().__init__()
        self._name = boot
        self.waited = 0.0

    @property
    def boot(self) -> str:
        return self._name

    def gone(self, owner: Owner) -> bool:
        return False

    def wait(self, seconds: float) -> None:
        self.waited += seconds
        self.during_wait()

    def during_wait(self) -> None:
        pass


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(folder: Path, environment: dict[str, str]) -> Iterator[SqliteStore]:
    store = SqliteStore.open(folder, FakeClock(), environment=environment)
    yield store
    store.close()


def used(folder: Path) -> SqliteStore:
    """A store with one commit."""
    store = SqliteStore.open(folder, FakeClock())
    lease = begun(store)
    committed(store, lease, "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    store.leases.release(lease)
    return store


# -- opening


def test_folder_and_files_are_private_whatever_the_umask(folder: Path) -> None:
    """0700 and 0600, also for a folder that was there with wider permissions."""
    folder.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        store = used(folder)
        modes = {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.iterdir()]}
    finally:
        os.umask(before)
    store.close()
    assert modes.pop("state") == 0o700
    assert modes.pop("ledgers") == 0o700
    assert set(modes) >= {FILE, f"{FILE}-wal", "high-water"}
    assert set(modes.values()) == {0o600}


def test_files_that_others_could_read_are_narrowed(folder: Path) -> None:
    """A store that was copied or restored with wider permissions."""
    used(folder).close()
    folder.chmod(0o755)
    (folder / FILE).chmod(0o644)
    SqliteStore.open(folder).close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600


def test_a_store_that_is_not_there_is_not_made_unasked(folder: Path) -> None:
    """Reading commands leave no folder behind."""
    with pytest.raises(StoreError) as caught:
        SqliteStore.open(folder, create=False)
    assert caught.value.code == "store.missing"
    assert not folder.exists()


def test_the_store_of_a_newer_levada_is_left_as_it_is(folder: Path) -> None:
    """A downgrade says so and changes no byte (6.44)."""
    used(folder).close()
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute(f"pragma user_version = {len(migrations()) + 1}")
        connection.execute("pragma wal_checkpoint(truncate)")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(StoreError, match="newer") as caught:
        SqliteStore.open(folder)
    assert caught.value.code == "store.newer"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_store_whose_making_was_cut_off_by_a_power_cut_is_made_anew(folder: Path) -> None:
    """The log was begun, and the end of the rollback journal by which the file was made had not reached the disk."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        made = (folder / FILE).read_bytes()
        connection.execute("pragma user_version = 0")
        log = (folder / f"{FILE}-wal").read_bytes()[:32]
    (folder / FILE).write_bytes(made)
    (folder / f"{FILE}-wal").write_bytes(log)
    header = bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", 0, 0xACF7B15F, 0, 512, 4_096)
    (folder / f"{FILE}-journal").write_bytes(header.ljust(512, b"\0"))
    with closing(SqliteStore.open(folder, FakeClock())) as store:
        assert list(store.runs.newest()) == []


def test_a_migration_keeps_a_copy_of_what_was_there(tmp_path: Path) -> None:
    """The copy opens with the old version, and the rows are in both."""
    first = ("create table thing (name text)", "insert into thing values ('kept')")
    path = tmp_path / FILE
    Database.open(path, steps=[first]).close()
    database = Database.open(path, steps=[first, ("alter table thing add column size integer",)])
    with database.read():
        assert database.plain("select name, size from thing") == [("kept", None)]
    database.close()
    copy = tmp_path / BACKUPS / "state-schema-1.sqlite"
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("select * from thing").fetchall() == [("kept",)]
        assert connection.execute("pragma user_version").fetchone() == (1,)


def test_a_migration_that_fails_half_way_leaves_the_old_schema(tmp_path: Path) -> None:
    """Each migration is one transaction with its version number."""
    first = ("create table thing (name text)",)
    path = tmp_path / FILE
    Database.open(path, steps=[first]).close()
    with pytest.raises(StoreError):
        Database.open(path, steps=[first, ("alter table thing add column size integer", "create table thing (x)")])
    database = Database.open(path, steps=[first])
    with database.read():
        assert database.plain("select name from pragma_table_info('thing')") == [("name",)]
    database.close()


def test_a_script_is_split_into_its_statements() -> None:
    """A trigger is one statement, though it has several semicolons."""
    script = "-- why\ncreate table a (b);\n\ncreate trigger c after insert on a begin\n select 1;\n select 2;\nend;\n"
    assert [part.split()[1] for part in split(script)] == ["table", "trigger"]


def test_a_file_that_is_no_database_is_said_to_be_damaged(folder: Path) -> None:
    """Not a traceback of SQLite."""
    used(folder).close()
    (folder / FILE).write_bytes(b"this is not a database" * 500)
    with pytest.raises(CorruptedError, match="damaged"):
        SqliteStore.open(folder)


# -- the high-water mark


def test_an_older_copy_of_the_store_is_noticed(folder: Path, tmp_path: Path) -> None:
    """At opening, and by a process that had it open, with the way out (6.28)."""
    store = used(folder)
    store.close()
    shutil.copy(folder / FILE, tmp_path / "old")
    store = SqliteStore.open(folder, FakeClock())
    lease = begun(store, "run_2")
    committed(store, lease, "run_2", with_segment(store, store.ledgers.get(SYNC), "two.parquet"))
    store.leases.release(lease)
    store.close()
    shutil.copy(tmp_path / "old", folder / FILE)
    with pytest.raises(CorruptedError, match="older than it was") as caught:
        SqliteStore.open(folder)
    assert caught.value.code == "store.rolled_back"
    assert "levada doctor --accept-rollback" in str(caught.value.hint)
    store = SqliteStore.open(folder, check=False)
    with pytest.raises(CorruptedError):
        store.ledgers.get(SYNC)
    assert store.upkeep.accept_rollback("ana")
    assert store.ledgers.get(SYNC).distrusted
    assert [path.name for path in store.snapshots.ledger(SYNC).iterdir()] == ["one.parquet"]
    assert store.audit.newest()[0].action == "store.accept_rollback"
    assert store.upkeep.verify() == []
    store.close()
    SqliteStore.open(folder).close()
    shutil.copy(tmp_path / "old", folder / FILE)
    with pytest.raises(CorruptedError, match="older than it was: commit 1 of 4"):
        SqliteStore.open(folder)


def test_a_copy_from_before_a_run_that_never_committed_is_noticed(folder: Path, tmp_path: Path) -> None:
    """The mark is raised when a lease is given out: what a crashed run sent is not forgotten either."""
    used(folder).close()
    shutil.copy(folder / FILE, tmp_path / "old")
    store = SqliteStore.open(folder)
    begun(store, "run_2")
    store.close()
    shutil.copy(tmp_path / "old", folder / FILE)
    with pytest.raises(CorruptedError, match="older than it was"):
        SqliteStore.open(folder)


def test_a_lost_database_is_not_replaced_in_silence(folder: Path) -> None:
    """An empty store beside an old mark would send everything as new."""
    used(folder).close()
    for remains in (True, False):
        (folder / FILE).unlink()
        if remains:
            (folder / FILE).touch(0o600)
        with pytest.raises(CorruptedError) as caught:
            SqliteStore.open(folder)
        assert caught.value.code == "store.rolled_back"
    store = SqliteStore.open(folder, check=False)
    store.upkeep.accept_rollback("ana")
    assert store.ledgers.get(SYNC).generation == 0
    assert store.leases.acquire(SYNC).epoch > 1
    store.close()


@pytest.mark.parametrize("content", [None, b"", b'{"store": "x"', b"[]", b"{}"])
def test_a_mark_that_is_missing_or_cut_is_named(folder: Path, content: bytes | None) -> None:
    """It proves nothing any more, so a person decides."""
    used(folder).close()
    mark = folder / "high-water"
    if content is None:
        mark.unlink()
    else:
        mark.write_bytes(content)
    with pytest.raises(CorruptedError, match="high-water") as caught:
        SqliteStore.open(folder)
    assert caught.value.code == "store.high_water"
    store = SqliteStore.open(folder, check=False)
    store.upkeep.accept_rollback("ana")
    store.close()
    SqliteStore.open(folder).close()


def test_every_flipped_bit_of_the_mark_is_noticed(folder: Path) -> None:
    """One bit of each of its bytes; what still reads the same says the same."""
    used(folder).close()
    mark = folder / "high-water"
    sound = mark.read_bytes()
    for index in range(len(sound)):
        mark.write_bytes(sound[:index] + bytes([sound[index] ^ 1]) + sound[index + 1 :])
        if sound[index : index + 1].isspace():
            continue
        with pytest.raises(CorruptedError):
            SqliteStore.open(folder)


def test_a_store_ahead_of_its_mark_is_sound(folder: Path) -> None:
    """A crash came between the commit and the mark."""
    store = used(folder)
    before = (folder / "high-water").read_bytes()
    store.ledgers.rebuild(store.leases.acquire(SYNC), SYNC)
    store.close()
    (folder / "high-water").write_bytes(before)
    store = SqliteStore.open(folder)
    assert store.ledgers.get(SYNC).generation == 2
    store.close()


# -- leases and holds over reboots


def test_an_owner_of_another_boot_is_watched_and_then_succeeded(folder: Path) -> None:
    """Its process may live on another machine: only a heartbeat that stands still gives it up (E12)."""
    store = used(folder)
    store.leases.acquire(SYNC)
    machine = AnotherBoot()
    other = SqliteStore.open(folder, FakeClock(), machine=machine)
    assert other.leases.acquire(SYNC).epoch == 3
    assert machine.waited == 60
    other.close()
    store.close()


def test_an_owner_of_another_boot_that_gives_a_sign_keeps_its_lease(folder: Path) -> None:
    """The watcher leaves at the first heartbeat."""
    store = used(folder)
    lease = store.leases.acquire(SYNC)

    class Watching(AnotherBoot):
        def during_wait(self) -> None:
            if self.waited == 5:
                store.leases.renew(lease)

    machine = Watching()
    other = SqliteStore.open(folder, FakeClock(), machine=machine)
    with pytest.raises(BusyError):
        other.leases.acquire(SYNC)
    assert machine.waited == 5
    other.close()
    store.close()


def test_an_owner_that_lets_go_while_watched_is_succeeded(folder: Path) -> None:
    """No need to wait on."""
    store = used(folder)
    lease = store.leases.acquire(SYNC)

    class Watching(AnotherBoot):
        def during_wait(self) -> None:
            if self.waited == 5:
                store.leases.release(lease)

    machine = Watching()
    other = SqliteStore.open(folder, FakeClock(), machine=machine)
    assert other.leases.acquire(SYNC).epoch == 3
    assert machine.waited == 5
    other.close()
    store.close()


def test_a_hold_starts_again_once_after_a_reboot(folder: Path) -> None:
    """The deadline belonged to a clock that is gone; the second process after the reboot does not start it again."""
    clock = FakeClock()
    store = SqliteStore.open(folder, clock)
    journal = store.journals.open(begun(store), "run_1")
    journal.intend(intents(1))
    journal.doubt([0], 30)
    clock.advance(29)
    store.close()
    machine = AnotherBoot()
    store = SqliteStore.open(folder, clock, machine=machine)
    hold = store.journals.hold(SYNC)
    assert hold is not None
    assert hold.seconds_left == 30
    clock.advance(20)
    store.close()
    store = SqliteStore.open(folder, clock, machine=machine)
    hold = store.journals.hold(SYNC)
    assert hold is not None
    assert hold.seconds_left == 10
    store.close()


# -- threads


def test_several_threads_write_one_journal(store: SqliteStore) -> None:
    """Delivery writes from worker threads while the heartbeat renews."""
    lease = begun(store)
    journal = store.journals.open(lease, "run_1")
    errors: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 50):
                journal.intend([Intent(number, "added", number, 1, f"k{number}")])
                journal.settle([(number, Outcomes(DELIVERED))])
                store.leases.renew(lease)
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(entry.outcomes == Outcomes(DELIVERED) for entry in journal.entries()) == 200
    assert store.upkeep.verify() == []


# -- secrets


def test_secrets_are_not_in_the_folder(store: SqliteStore, folder: Path) -> None:
    """Neither as they stand nor in an encoding; the key lies elsewhere, for its owner only (G10)."""
    value = "canary-s3cr3t-value"
    store.vault.set("TOKEN", value)
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert value.encode() not in content
    assert base64.b64encode(value.encode())[:20] not in content
    (key,) = (folder.parent / "config" / "levada" / "keys").iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert key.read_bytes().strip() not in content


def test_a_ciphertext_under_another_name_does_not_open(store: SqliteStore, folder: Path) -> None:
    """Whoever can write the database cannot point one secret at another's place (the checksum set right too)."""
    from levada.stores.checksums import sealed

    store.vault.set("ADMIN", "powerful")
    store.vault.set("GUEST", "harmless")
    with closing(sqlite3.connect(folder / FILE)) as connection:
        row = connection.execute("select key_id, wrapped_key, ciphertext from secret where name='ADMIN'").fetchone()
        checksum = sealed("secret", ("GUEST", *row))[-1]
        connection.execute(
            "update secret set wrapped_key=?, ciphertext=?, checksum=? where name='GUEST'", (*row[1:], checksum)
        )
        connection.commit()
    with pytest.raises(StoreError, match="GUEST") as caught:
        store.vault.get("GUEST")
    assert caught.value.code == "store.key"


def test_a_missing_or_wrong_key_is_said_with_the_way_out(folder: Path, environment: dict[str, str]) -> None:
    """And no new key is made over secrets that it could not open."""
    store = SqliteStore.open(folder, environment=environment)
    store.vault.set("TOKEN", "value")
    (key,) = (folder.parent / "config" / "levada" / "keys").iterdir()
    sound = key.read_bytes()
    key.unlink()
    attempts: list[Callable[[], object]] = [
        lambda: store.vault.get("TOKEN"),
        lambda: store.vault.set("OTHER", "value"),
    ]
    for attempt in attempts:
        with pytest.raises(StoreError, match="missing") as caught:
            attempt()
        assert caught.value.code == "store.key"
        assert not key.exists()
    key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    key.chmod(0o600)
    with pytest.raises(StoreError, match="another key"):
        store.vault.get("TOKEN")
    key.write_bytes(sound)
    key.chmod(0o644)
    with pytest.raises(StoreError, match="read by others"):
        store.vault.get("TOKEN")
    key.chmod(0o600)
    assert store.vault.get("TOKEN") == "value"
    store.close()


def test_the_key_may_come_from_the_environment(folder: Path, tmp_path: Path) -> None:
    """As a value or as the name of a file; what is no key is refused."""
    value = base64.b64encode(secrets.token_bytes(32)).decode()
    store = SqliteStore.open(folder, environment={"LEVADA_MASTER_KEY": value})
    store.vault.set("TOKEN", "value")
    store.close()
    file = tmp_path / "mounted-key"
    file.write_text(value)
    file.chmod(0o600)
    store = SqliteStore.open(folder, environment={"LEVADA_KEY_FILE": str(file)})
    assert store.vault.get("TOKEN") == "value"
    store.close()
    store = SqliteStore.open(folder, environment={"LEVADA_MASTER_KEY": "short"})
    with pytest.raises(StoreError, match="not a master key"):
        store.vault.get("TOKEN")
    store.close()


def test_a_rotated_key_opens_every_secret_and_the_old_one_none(store: SqliteStore, folder: Path) -> None:
    """Only the wrapping changes, in one transaction."""
    store.vault.set("A", "one")
    store.vault.set("B", "two")
    (key,) = (folder.parent / "config" / "levada" / "keys").iterdir()
    old = key.read_bytes()
    store.vault.rotate()
    assert key.read_bytes() != old
    assert (store.vault.get("A"), store.vault.get("B")) == ("one", "two")
    key.write_bytes(old)
    with pytest.raises(StoreError, match="another key"):
        store.vault.get("A")


def test_a_rotation_that_crashed_before_the_rename_is_finished(store: SqliteStore, folder: Path) -> None:
    """The new key lies beside the old one before any row depends on it."""
    store.vault.set("A", "one")
    (key,) = (folder.parent / "config" / "levada" / "keys").iterdir()
    old = key.read_bytes()
    store.vault.rotate()
    new = key.read_bytes()
    key.with_name(key.name + ".next").write_bytes(new)
    key.with_name(key.name + ".next").chmod(0o600)
    key.write_bytes(old)
    assert store.vault.get("A") == "one"
    assert key.read_bytes() == new


def test_a_key_of_the_environment_is_rotated_with_the_new_one_at_hand(folder: Path) -> None:
    """Levada cannot write it back, so it must be given."""
    old, new = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    store = SqliteStore.open(folder, environment={"LEVADA_MASTER_KEY": old})
    store.vault.set("A", "one")
    with pytest.raises(StoreError, match="LEVADA_MASTER_KEY"):
        store.vault.rotate()
    store.vault.rotate(new)
    store.close()
    store = SqliteStore.open(folder, environment={"LEVADA_MASTER_KEY": new})
    assert store.vault.get("A") == "one"
    store.close()


# -- audit


@pytest.mark.parametrize(
    "tampering",
    [
        "update audit set actor = 'eve' where number = 2",
        "delete from audit where number = 2",
        "delete from audit where number = 3",
        "insert into audit select 4, at, actor, action, subject, detail, hash from audit where number = 3",
    ],
)
def test_tampering_with_the_audit_log_is_found(store: SqliteStore, folder: Path, tampering: str) -> None:
    """Changed, removed from the middle, cut off at the end, added from outside (S26)."""
    for number in range(3):
        store.audit.note(AuditEntry("2026-03-01T00:00:00.000Z", "ana", "approve", f"plan {number}"))
    assert store.upkeep.verify() == []
    with closing(sqlite3.connect(folder / FILE)) as connection:
        if not tampering.startswith("insert"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(tampering)
            connection.rollback()
        for trigger in ("audit_is_not_changed", "audit_is_not_deleted"):
            connection.execute(f"drop trigger {trigger}")
        connection.execute(tampering)
        connection.commit()
    problems = store.upkeep.verify()
    assert any("audit" in sentence for sentence in problems)
    assert any("schema" in sentence for sentence in problems)
    with pytest.raises(CorruptedError):
        store.audit.newest()


# -- trouble with the disk


def test_a_database_locked_for_too_long_is_said(tmp_path: Path) -> None:
    """With the way out, and the store goes on afterwards."""
    path = tmp_path / FILE
    database = Database.open(path, steps=[("create table thing (name text)",)], busy_seconds=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(StoreError) as caught, database.write():
            pass
        assert caught.value.code == "store.locked"
        other.execute("rollback")
    with database.write():
        database.plain("insert into thing values ('after')")
    database.close()


def test_a_closed_store_says_so(folder: Path) -> None:
    """Instead of a driver's error."""
    store = SqliteStore.open(folder)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.runs.newest()


# -- sweeping


def test_a_sweep_takes_plans_that_no_run_names_after_a_day(folder: Path) -> None:
    """A plan may belong to a run that is still being made; what a crash left goes later, however long plans are kept:
    it holds the rows of the model. A run that has been reading for more than a day keeps its own."""
    clock = FakeClock()
    store = SqliteStore.open(folder, clock)
    store.runs.create(store.leases.acquire("slow"), "run_slow", "sync")
    for name, age_hours in (("run_left", 25), ("run_fresh", 23), ("run_slow", 30)):
        plan = folder / "plans" / name
        plan.mkdir(parents=True)
        moment = clock.now().timestamp() - age_hours * 3600
        os.utime(plan, (moment, moment))
    store.upkeep.sweep(plans_older_than=clock.now() - timedelta(days=30))
    assert sorted(plan.name for plan in (folder / "plans").iterdir()) == ["run_fresh", "run_slow"]
    store.close()


def test_a_sweep_never_follows_a_folder_out_of_the_plans(store: SqliteStore, folder: Path) -> None:
    """A row's folder is a name inside `plans`."""
    precious = folder.parent / "precious"
    precious.mkdir()
    lease = begun(store)
    store.runs.update(lease, "run_1", phase="closed", status="succeeded", folder="../../precious")
    clock = FakeClock()
    clock.advance(86_400)
    assert store.upkeep.sweep(plans_older_than=clock.now()) == 1
    assert precious.exists()


def test_a_commit_leaves_hard_links_of_other_folders_alone(store: SqliteStore, folder: Path) -> None:
    """A segment may be a link to a plan's file: only the ledger's name for it goes."""
    plan = folder / "plans" / "run_1"
    plan.mkdir(parents=True)
    (plan / "added.parquet").write_bytes(b"rows")
    os.link(plan / "added.parquet", store.snapshots.ledger(SYNC) / "old.parquet")
    lease = begun(store)
    committed(store, lease, "run_1", replace(store.ledgers.get(SYNC), generation=1))
    assert not (store.snapshots.ledger(SYNC) / "old.parquet").exists()
    assert (plan / "added.parquet").read_bytes() == b"rows"

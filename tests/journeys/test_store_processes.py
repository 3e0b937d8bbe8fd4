"""The store among real processes: killed ones, rivals, a lost write-ahead log, a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.store_bench import SYNC, begun, committed, intents, with_segment
from levada.errors import BusyError, CorruptedError
from levada.outcome import DELIVERED, Outcomes
from levada.store import JournalEntry
from levada.stores.database import Database
from levada.stores.sqlite import FILE, SqliteStore

SECONDS_MAX = 30
PRELUDE = f"""
import os, sys, resource
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from levada.outcome import DELIVERED, Outcomes
from levada.errors import LevadaError
from levada.stores.sqlite import SqliteStore
from contracts.store_bench import SYNC, begun, committed, intents, with_segment
folder = Path(sys.argv[1])

def say(word):
    print(word, flush=True)
    sys.stdin.readline()
"""


@contextmanager
def process(folder: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the script; killed at the end, if it still lives."""
    started = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=SECONDS_MAX)


def said(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def kill(started: subprocess.Popen[str]) -> None:
    started.send_signal(signal.SIGKILL)
    started.wait(timeout=SECONDS_MAX)


def test_what_was_intended_before_kill_9_is_there_for_the_next_process(tmp_path: Path) -> None:
    """Killed between intent and answer: settled batches stay settled, the others may have been sent (c6, c9)."""
    script = """
        store = SqliteStore.open(folder)
        journal = store.journals.open(begun(store), "run_1")
        journal.intend(intents(5))
        journal.settle([(0, Outcomes(DELIVERED))])
        say("sent")
    """
    with process(tmp_path / "state", script) as worker:
        assert said(worker) == "sent"
        kill(worker)
    store = SqliteStore.open(tmp_path / "state")
    lease = store.leases.acquire(SYNC)
    found = store.runs.open_run(SYNC)
    assert found is not None
    journal = store.journals.open(lease, found.run_id)
    first, *others = journal.entries()
    assert first == JournalEntry(intents(1)[0], outcomes=Outcomes(DELIVERED))
    assert others == [JournalEntry(intent) for intent in intents(4, 1)]
    journal.doubt([entry.intent.number for entry in others], 30)
    assert store.journals.hold(SYNC) is not None
    assert store.upkeep.verify() == []
    store.close()


def test_of_two_processes_one_runs_and_the_other_is_told_its_run(tmp_path: Path) -> None:
    """And when the first has ended, the second gets the sync."""
    script = """
        store = SqliteStore.open(folder)
        lease = begun(store, "run_of_the_first")
        say("runs")
        store.runs.update(lease, "run_of_the_first", phase="closed", status="failed")
        store.leases.release(lease)
        say("ended")
    """
    with process(tmp_path / "state", script) as worker:
        assert said(worker) == "runs"
        store = SqliteStore.open(tmp_path / "state")
        with pytest.raises(BusyError) as caught:
            store.leases.acquire(SYNC)
        assert caught.value.run_id == "run_of_the_first"
        assert str(worker.pid) in caught.value.message
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
        assert said(worker) == "ended"
        assert store.leases.acquire(SYNC).epoch == 2
        store.close()


def test_four_processes_never_hold_one_sync_together(tmp_path: Path) -> None:
    """Each takes the lease ten times; a file that only the holder has tells an overlap (6.4)."""
    script = """
        from levada.errors import BusyError
        store = SqliteStore.open(folder)
        won = 0
        for _ in range(5_000):
            try:
                lease = store.leases.acquire(SYNC)
            except BusyError:
                continue
            held = folder / "held"
            os.close(os.open(held, os.O_CREAT | os.O_EXCL))
            held.unlink()
            store.leases.release(lease)
            won += 1
            if won == 10:
                break
        print(won, flush=True)
    """
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(tmp_path / "state")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    ended = [worker.communicate(timeout=SECONDS_MAX * 2)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    won = sum(int(text) for text in ended)
    assert won >= 10
    store = SqliteStore.open(tmp_path / "state")
    assert store.leases.acquire(SYNC).epoch == won + 1
    store.close()


def test_a_lost_write_ahead_log_is_noticed(tmp_path: Path) -> None:
    """A crash leaves the last commits in the log; without it the store is whole, but older."""
    folder = tmp_path / "state"
    store = SqliteStore.open(folder)
    lease = begun(store)
    committed(store, lease, "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    store.close()
    script = """
        store = SqliteStore.open(folder)
        lease = begun(store, "run_2")
        committed(store, lease, "run_2", with_segment(store, store.ledgers.get(SYNC), "two.parquet"))
        say("committed")
    """
    with process(folder, script) as worker:
        assert said(worker) == "committed"
        kill(worker)
    log = folder / f"{FILE}-wal"
    assert log.stat().st_size > 0
    log.unlink()
    (folder / f"{FILE}-shm").unlink()
    with pytest.raises(CorruptedError) as caught:
        SqliteStore.open(folder)
    assert caught.value.code == "store.rolled_back"


def test_a_process_that_is_killed_while_migrating_leaves_one_of_two_schemas(tmp_path: Path) -> None:
    """After each statement of the migration, the database opens and the migration runs again (6.44)."""
    first = ["create table thing (name text)", "insert into thing values ('kept')"]
    second = ["alter table thing add column size integer", "create table other (x)", "update thing set size = 1"]
    script = f"""
        import os, sys
        from pathlib import Path
        from levada.stores.database import Database

        class Dying(list):
            def __iter__(self):
                yield from self[: int(os.environ["STATEMENTS"])]
                os.kill(os.getpid(), 9)

        Database.open(Path(sys.argv[1]), steps=[{first!r}, Dying({second!r})])
    """
    for statements in range(len(second) + 1):
        path = tmp_path / f"{statements}.sqlite"
        Database.open(path, steps=[first]).close()
        died = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(path)],
            env={**os.environ, "STATEMENTS": str(statements)},
            timeout=SECONDS_MAX,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL
        database = Database.open(path, steps=[first, second])
        with database.read():
            assert database.plain("select name, size from thing") == [("kept", 1)]
        database.close()


FILL = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["LIMIT"]), int(os.environ["LIMIT"])))
    store = SqliteStore.open(folder)
    journal = store.journals.open(begun(store), "run_1")
    settled = 0
    try:
        for start in range(0, 100_000, 128):
            journal.intend(intents(128, start))
            journal.settle([(number, Outcomes(DELIVERED)) for number in range(start, start + 128)])
            settled = start + 128
    except LevadaError as error:
        print(error.code, settled, flush=True)
"""


def _survives(folder: Path, answer: str) -> None:
    """All that was acknowledged before the disk was full is there, and the store goes on."""
    code, settled = answer.split()
    assert code == "store.disk_full"
    assert int(settled) > 0
    store = SqliteStore.open(folder)
    lease = store.leases.acquire(SYNC)
    journal = store.journals.open(lease, "run_1")
    answered = [entry.intent.number for entry in journal.entries() if entry.outcomes]
    assert answered[: int(settled)] == list(range(int(settled)))
    assert store.upkeep.verify() == []
    journal.settle([(0, Outcomes(DELIVERED))])
    store.close()


def test_a_file_that_may_not_grow_any_more_leaves_the_store_intact(tmp_path: Path) -> None:
    """The limit on the size of files stands for a quota (6.25)."""
    folder = tmp_path / "state"
    ended = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(FILL), str(folder)],
        env={**os.environ, "LIMIT": "600000"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS_MAX,
        check=True,
    )
    _survives(folder, ended.stdout)


@pytest.mark.needs("tmpfs")
def test_a_full_disk_leaves_the_store_intact(tmp_path: Path) -> None:
    """A real file system of 2 MiB that runs full: 71 commits or seven, all that were acknowledged are kept (6.25)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        folder = disk / "state"
        ended = subprocess.run(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(FILL), str(folder)],
            env={**os.environ, "LIMIT": str(1 << 40)},
            stdout=subprocess.PIPE,
            text=True,
            timeout=SECONDS_MAX,
            check=True,
        )
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        _survives(folder, ended.stdout)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)

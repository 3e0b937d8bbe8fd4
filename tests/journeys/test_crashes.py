"""The real process killed, stopped, and answered badly: the destination ends equal to the model, nothing doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import claims
from levada_process import levada
from servers.records import Records, records_server

ROWS = 2_000
SYNC = """
model: people
to: sink.records
mode: mirror
fields: all
guard: {removed_max: none, changed_max: none, nulls_max: none}
"""
DESTINATION = """
type: http
base_url: %s
limits: {records_per_request: 20, concurrent_requests: 4}
class: A
max_server_seconds: 0.1
objects:
  records:
    match: [id]
    upsert: POST /records
    delete: {send: POST /records/delete, body: "{records}", record: {id: "{id}"}}
"""


@pytest.fixture
def sink() -> Iterator[Records]:
    with records_server() as state:
        yield state


def project(folder: Path, sink: Records) -> Path:
    """A warehouse of ROWS people and one sync to the sink."""
    for name in ("sources", "models", "destinations", "syncs"):
        (folder / name).mkdir(parents=True)
    (folder / "levada.yml").write_text("name: crashes\n")
    (folder / "sources/warehouse.yml").write_text("type: duckdb\npath: warehouse.duckdb\n")
    (folder / "models/people.sql").write_text(
        "/*\nsource: warehouse\nkey: id\n*/\nselect id, name, score from people\n"
    )
    (folder / "destinations/sink.yml").write_text(DESTINATION % sink.url)
    (folder / "syncs/people.yml").write_text(SYNC)
    warehouse(folder, f"create table people as select i as id, 'p' || i as name, i as score from range({ROWS}) t(i)")
    return folder


def warehouse(folder: Path, *statements: str) -> None:
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        for statement in statements:
            connection.execute(statement)


def model(folder: Path) -> dict[int, dict[str, Any]]:
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute("select id, name, score from people").fetchall()
    return {row[0]: {"id": row[0], "name": row[1], "score": row[2]} for row in rows}


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "levada", "run", "people", "--json"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(folder: Path) -> dict[str, Any]:
    done = levada(folder, "run", "people", "--json")
    assert done.code == 0, done
    found: dict[str, Any] = done.lines[-1]
    return found


def killed_after(folder: Path, sink: Records, requests: int, sort: signal.Signals) -> int:
    """Start a run and send it a signal once the sink has seen so many more requests; returns its exit code."""
    wanted = sink.requests + requests
    process = start(folder)
    deadline = time.monotonic() + 60
    while sink.requests < wanted and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(sort)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize("moment", [0, 1, 17, 60, 99])
def test_killed_at_any_moment_the_next_run_brings_the_model(tmp_path: Path, sink: Records, moment: int) -> None:
    """kill -9 after so many requests: the next run resumes, the sink equals the model, and at most a window repeats."""
    folder = project(tmp_path / "p", sink)
    killed_after(folder, sink, moment, signal.SIGKILL)
    finish(folder)
    assert sink.held == model(folder)
    repeats = Counter(record["id"] for _, record in sink.log)
    assert max(repeats.values()) <= 2
    assert sum(count - 1 for count in repeats.values()) <= 128 * 20
    assert finish(folder)["requests"] == 0


def test_killed_again_and_again_through_changes_it_converges(tmp_path: Path, sink: Records) -> None:
    """Kills at random moments, with the model changing between them, and every value ends right. In CI ten of them."""
    folder = project(tmp_path / "p", sink)
    chance = random.Random(7)
    for step in range(10 if claims.full() or claims.campaign() else 4):
        killed_after(folder, sink, chance.randrange(0, 40), signal.SIGKILL)
        warehouse(
            folder,
            f"update people set score = score + 10000 where id % 10 = {step}",
            f"delete from people where id % 97 = {step}",
            f"insert into people values ({10_000 + step}, 'new', {step})",
        )
    finish(folder)
    last = finish(folder)
    assert last["requests"] == 0
    assert sink.held == model(folder)


def test_a_run_that_is_asked_to_stop_ends_cleanly_and_is_resumed(tmp_path: Path, sink: Records) -> None:
    """SIGTERM: exit code 5, nothing in doubt, and the next run goes on where it ended."""
    folder = project(tmp_path / "p", sink)
    sink.pause = lambda number: time.sleep(0.02)
    code = killed_after(folder, sink, 8, signal.SIGTERM)
    assert code == 5
    sink.pause = lambda number: None
    finish(folder)
    assert sink.held == model(folder)
    assert max(Counter(record["id"] for _, record in sink.log).values()) == 1


def test_lost_answers_double_nothing_and_lose_nothing(tmp_path: Path, sink: Records) -> None:
    """A third of the answers is lost, before or after applying: the sink equals the model all the same."""
    folder = project(tmp_path / "p", sink)
    ways = ("ok", "ok", "lose", "ok", "drop", "ok", "500", "ok", "429")
    sink.behave = lambda number, path: ways[number % len(ways)]
    result = finish(folder)
    assert result["delivered"]["added"] == ROWS
    assert sink.held == model(folder)


def test_two_processes_at_once_send_everything_once(tmp_path: Path, sink: Records) -> None:
    """One runs; the other says so, with the run, and ends with exit code 5."""
    folder = project(tmp_path / "p", sink)
    sink.pause = lambda number: time.sleep(0.01)
    first, second = start(folder), start(folder)
    first.communicate(timeout=60)
    second.communicate(timeout=60)
    codes = sorted((first.returncode, second.returncode))
    assert codes in ([0, 5], [0, 0])
    assert max(Counter(record["id"] for _, record in sink.log).values()) == 1
    assert sink.held == model(folder)


def test_a_stopped_worker_cannot_write_after_it_was_taken_over(tmp_path: Path, sink: Records) -> None:
    """A process frozen in the middle wakes up after another finished its work: it notices, and harms nothing."""
    folder = project(tmp_path / "p", sink)
    sink.pause = lambda number: time.sleep(0.005)
    process = start(folder)
    while sink.requests < 5 and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        sink.pause = lambda number: None
        waited = subprocess.run(
            [sys.executable, "-m", "levada", "run", "people", "--json"],
            cwd=folder,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert waited.returncode == 5
        assert b"store.busy" in waited.stdout or b"store.locked" in waited.stdout
    finally:
        os.kill(process.pid, signal.SIGCONT)
    process.communicate(timeout=60)
    finish(folder)
    assert sink.held == model(folder)

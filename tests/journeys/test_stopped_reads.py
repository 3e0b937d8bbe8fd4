"""Ctrl-C and SIGTERM while a source or a plan computes, and the time that a statement may take."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import psycopg
import pytest

from levada_process import Ended, environment, levada, small_project, write

SECONDS_MAX = 60
"""Far less than any of the computations below takes."""

ENDLESS = {
    "sqlite": "with recursive r(i) as (select 1 union all select i + 1 from r)"
    " select count(*) as id, 'x' as email, 1 as score from r",
    "files": "select sum(hash(a.range, b.range) % 7) as id, 'x' as email, 1 as score"
    " from range(10000000) a, range(10000000) b",
    "postgres": "select count(*) as id, 'x' as email, 1 as score"
    " from generate_series(1, 1000000) a, generate_series(1, 1000000) b where a % 7 = b % 5",
}
ENDLESS["duckdb"] = ENDLESS["files"]
SIGNALLED = r"""
import os, sys, threading, time
def send():
    while not any(thread.name == "watch" for thread in threading.enumerate()):
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(os.getpid(), int(sys.argv[1]))
threading.Thread(target=send, daemon=True).start()
from levada.cli.app import execute
sys.exit(execute(sys.argv[2:]))
"""
"""A command of Levada that gets a signal while it computes."""


def project(folder: Path, kind: str, postgres_url: str, query: str = "", options: str = "") -> Path:
    """A project whose model is computed by a source of a kind, by default without end."""
    source = {
        "sqlite": "type: sqlite\npath: shop.db\n",
        "duckdb": "type: duckdb\npath: shop.duckdb\n",
        "files": "type: files\npath: data\n",
        "postgres": f"type: postgres\nurl: {postgres_url}\n",
    }[kind]
    model = f"/*\nsource: shop\nkey: id\n*/\n{query or ENDLESS[kind]}\n"
    sync = "model: customers\nto: crm.contacts\nmode: mirror\nfields: {id: id, email: email, score: score}\n"
    small_project(folder, 3, {"source": source + options, "model": model, "sync": sync})
    write(folder, {"data/customers.csv": "id,email,score\n1,a@example.com,1\n"})
    (folder / "shop.db").touch()
    duckdb.connect(str(folder / "shop.duckdb")).close()
    return folder


def signalled(folder: Path, number: int, *words: str) -> Ended:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(number), *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("sqlite", signal.SIGTERM),
        ("sqlite", signal.SIGINT),
        ("duckdb", signal.SIGTERM),
        ("files", signal.SIGINT),
        ("postgres", signal.SIGTERM),
    ],
)
def test_a_run_ends_while_its_source_computes(
    kind: str, number: signal.Signals, tmp_path: Path, postgres_url: str
) -> None:
    """Exit code of the signal, status cancelled, nothing half-written: the next run works, also at the warehouse."""
    folder = project(tmp_path, kind, postgres_url)
    ended = signalled(folder, number, "run", "--json")
    assert ended.code == 128 + number, ended.talk
    # with the columns of the query not known yet there is no run
    told = ended.document
    assert "cancelled" in told.get("status", "") or told["error"]["code"] == "stopped"
    assert list(folder.glob(".levada/plans/*/*")) == []
    if kind == "postgres":
        with psycopg.connect(postgres_url) as connection:
            statement = "select count(*) from pg_stat_activity where application_name = 'levada' and state = 'active'"
            assert connection.execute(statement).fetchone() == (0,)
    query = "select 1 as id, 'x' as email, 1 as score"
    project(folder, kind, postgres_url, query)
    again = levada(folder, "run", "--json")
    assert (again.code, again.document["status"]) == (0, "succeeded"), again.talk


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("sqlite", ["plan"]),
        ("sqlite", ["check"]),
        ("sqlite", ["preview", "customers"]),
        ("files", ["plan"]),
        ("files", ["preview", "customers_to_crm"]),
    ],
)
def test_whatever_only_looks_ends_as_well(kind: str, words: list[str], tmp_path: Path) -> None:
    """Nothing is left of it, and no finding is told that is none."""
    folder = project(tmp_path, kind, "postgresql://127.0.0.1:9/none")
    ended = signalled(folder, signal.SIGTERM, *words)
    assert ended.code == 128 + signal.SIGTERM, ended.talk + ended.out
    assert "✗" not in ended.out
    assert "stopped" in ended.talk
    assert not (folder / ".levada" / "plans").exists()


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "files", "postgres"])
def test_a_statement_has_a_limit_of_time(kind: str, tmp_path: Path, postgres_url: str) -> None:
    """`statement_timeout_seconds` of the source ends it, with the code `source.timeout`, for runs and for plans."""
    folder = project(tmp_path, kind, postgres_url, options="statement_timeout_seconds: 1\n")
    ended = levada(folder, "run", "--json")
    assert ended.code == 1, ended.talk
    document = json.loads(ended.out)
    error = document["error"]
    assert error["code"] == "source.timeout", error
    assert "statement_timeout_seconds" in error["hint"]

"""H9, 6.3: memory stays below 512 MiB however many rows the model has and whatever the destination says of each, also
when the run is stopped; and a run that the kernel ends for its memory goes on.

The limit is the kernel's own: the run is alone in a control group that may not have more.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

import claims
from levada_process import environment, write
from processes import judge
from processes.cgroup import Group, limited
from processes.command import Commands
from processes.destination import Destination
from processes.matrix import RUN
from processes.test_crash_points import AGAIN_MAX
from processes.worlds import LANES, Letter, World

LIMIT_BYTES = 512 << 20
MIB = 1 << 20
ROWS = [int(part) for part in os.environ.get("LEVADA_ROWS", "1000000,10000000,30000000,100000000").split(",")]
"""The full size; 100,000,000 take some tens of gigabytes of disk. LEVADA_ROWS asks for others."""
ROWS_SMALL = [50_000]
ROWS_NAMED = 3_000_000 if claims.full() else 50_000
"""So many records of which the destination tells an id each."""
ROWS_STOPPED = 30_000_000 if claims.full() else 200_000
STOPPED_AFTER = 50_000
ROWS_ENOUGH = 30_000_000
"""So many rows need all the memory that planning may have (`planner.memory`, 256 MB). What grows from there on are the
tables of contents of Parquet files that are open: less than 1 MiB for a million rows."""
GROWTH_MAX_BYTES = MIB
"""For each million rows beyond."""
RUN_SECONDS_MAX = 8 * 3600.0
MODEL = """
copy (
  select i as id, 'person.' || i || '@example.com' as email, ['Alma', 'Dörte', 'Goran'][1 + i % 3] as first_name,
         (i * 7 % 100000 + {edition} * (i % 100 = 0)::integer)::decimal(12, 2) as lifetime_value,
         timestamp '2019-01-01' + to_seconds(i * 31 % 200000000) as created_at,
         case when i % 3 = 0 then 'asked about ' || i || ', wants "express" delivery' end as note
  from range({first}, {last}) rows(i)
) to '{path}' (format parquet)
"""
DESTINATION = """type: http
base_url: {url}
limits: {{records_per_request: 500, concurrent_requests: 8}}
max_server_seconds: 0.1
objects:
  people:{verbs}
"""
UPSERTED = """
    upsert: {send: POST /upsert, record: "{fields_all}"}
    delete: {send: POST /delete, record: {id: "{key}"}}"""
CREATED = """
    create:
      send: POST /create
      record: "{fields_all}"
      outcomes: {items: {list: results, ok: ok, identifier: id}}
    update: {send: "PATCH /people/{destination_id}", record: "{fields_all}"}
    look_up: {send: POST /search, body: {ids: "{records}"}, list: found, match: id, identifier: rid}"""


@dataclass
class Counter:
    """A destination that takes everything and counts the records. `names`: it tells an id for each."""

    url: str = ""
    records: int = 0
    names: bool = False

    def answer(self, first: int, records: int) -> bytes:
        if not self.names:
            return b"{}"
        results = (b'{"ok":true,"id":"rec_%020d"}' % number for number in range(first, first + records))
        return b'{"results":[' + b",".join(results) + b"]}"


@contextmanager
def counting(*, names: bool = False) -> Iterator[Counter]:
    state, lock = Counter(names=names), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            records = body.count(b'"id":')
            with lock:
                first = state.records
                state.records += records
            answer = state.answer(first, records)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def project(folder: Path, url: str, verbs: str = UPSERTED, mode: str = "mirror") -> None:
    write(
        folder,
        {
            "levada.yml": "name: large\n",
            "sources/shop.yml": "type: files\npath: data\n",
            "models/people.sql": "/*\nsource: shop\nkey: id\n*/\nselect * from people\n",
            "destinations/there.yml": DESTINATION.format(url=url, verbs=verbs),
            "syncs/people.yml": f"model: people\nto: there.people\nmode: {mode}\nmatch: {{id: id}}\nfields: all\n"
            "guard: {removed_max: none, changed_max: none}\n",
        },
    )


def model(folder: Path, rows: int, edition: int) -> None:
    """`rows` people. In the second edition one of a hundred has another value, one of a thousand is gone, as many are
    new."""
    (folder / "data").mkdir(exist_ok=True)
    moved = edition * (rows // 1_000)
    with duckdb.connect() as connection:
        connection.execute("set memory_limit = '512MB'")
        path = folder / "data" / "people.parquet"
        connection.execute(MODEL.format(edition=edition, first=1 + moved, last=1 + moved + rows, path=path))


def peak(folder: Path, group: Group, *, stop: Callable[[], bool] | None = None) -> tuple[int, dict[str, Any]]:
    """Run the sync alone in the group: its peak memory in bytes, and its report. It is told to stop once `stop` says
    so."""
    report = folder / "peak"
    script = Path(__file__).with_name("measured.py")
    with subprocess.Popen(
        [sys.executable, str(script), str(report), str(group.folder), *RUN],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while stop is not None and not stop() and process.poll() is None:
            time.sleep(0.01)
        if stop is not None:
            process.terminate()
        out, talk = process.communicate(timeout=RUN_SECONDS_MAX)
    assert process.returncode == (0 if stop is None else 5), f"{process.returncode}: {out} {talk}"
    return int(report.read_text(encoding="ascii")), json.loads(out)


@pytest.mark.needs("memory limit")
@pytest.mark.claim("H9")
@pytest.mark.timeout(24 * 3600)
def test_memory_does_not_grow_with_the_model(tmp_path: Path, figure: claims.Figure) -> None:
    """A first run that sends every row and one that sends what has changed, both with 512 MiB and no more."""
    peaks: dict[int, int] = {}
    for rows in ROWS if claims.full() else ROWS_SMALL:
        folder = tmp_path / str(rows)
        folder.mkdir()
        with counting() as there, limited(LIMIT_BYTES) as group:
            project(folder, there.url)
            model(folder, rows, 0)
            first, report = peak(folder, group)
            assert there.records == rows == report["counts"]["added"]
            model(folder, rows, 1)
            second, report = peak(folder, group)
            changes = sum(report["delivered"].values())
            assert there.records == rows + changes
            assert report["counts"]["added"] == report["counts"]["removed"] == rows // 1_000
            assert report["counts"]["changed"] >= rows // 100 - rows // 1_000
        peaks[rows] = max(first, second)
        figure(
            "H9",
            f"{rows:,} rows of 6 columns: {first // MIB:,} MiB at most while all are sent to an HTTP API, "
            f"{second // MIB:,} MiB while {changes:,} changes are; under a limit of {LIMIT_BYTES // MIB} MiB",
        )
    assert max(peaks.values()) <= LIMIT_BYTES
    enough = sorted(rows for rows in peaks if rows >= ROWS_ENOUGH)
    for less, more in pairwise(enough):
        allowed = (more - less) // 1_000_000 * GROWTH_MAX_BYTES
        assert peaks[more] - peaks[less] <= allowed, f"memory grows with the rows: {peaks}"


@pytest.mark.needs("memory limit")
@pytest.mark.claim("H9")
@pytest.mark.timeout(4 * 3600)
def test_memory_does_not_grow_with_what_the_destination_says(tmp_path: Path, figure: claims.Figure) -> None:
    """An id for each record that was created: they are kept in files, and the ledger knows every one."""
    with counting(names=True) as there, limited(LIMIT_BYTES) as group:
        project(tmp_path, there.url, CREATED, "append")
        model(tmp_path, ROWS_NAMED, 0)
        most, report = peak(tmp_path, group)
    assert there.records == ROWS_NAMED == report["delivered"]["added"]
    [segment] = (tmp_path / ".levada" / "ledgers" / "people").glob("*.parquet")
    with duckdb.connect() as connection:
        counted = f"select count(distinct identifier) from read_parquet('{segment}')"
        assert connection.execute(counted).fetchone() == (ROWS_NAMED,)
    assert most <= LIMIT_BYTES
    words = f"{ROWS_NAMED:,} records are created of which the answers tell an id each"
    figure("H9", f"{most // MIB:,} MiB at most while {words}; under a limit of {LIMIT_BYTES // MIB} MiB")


@pytest.mark.needs("memory limit")
@pytest.mark.claim("H9")
@pytest.mark.timeout(4 * 3600)
def test_memory_does_not_grow_with_what_a_stop_leaves(tmp_path: Path, figure: claims.Figure) -> None:
    """Stopped near its beginning, and resumed: what was not sent yet is a figure, not rows in memory."""
    with counting() as there, limited(LIMIT_BYTES) as group:
        project(tmp_path, there.url)
        model(tmp_path, ROWS_STOPPED, 0)
        stopped, report = peak(tmp_path, group, stop=lambda: there.records >= STOPPED_AFTER)
        assert report["status"] == "paused"
        assert 0 < report["unsent"] == ROWS_STOPPED - there.records
        resumed, report = peak(tmp_path, group)
        assert there.records == ROWS_STOPPED == report["delivered"]["added"]
    assert max(stopped, resumed) <= LIMIT_BYTES
    figure(
        "H9",
        f"{ROWS_STOPPED:,} rows: {stopped // MIB:,} MiB at most in a run that is stopped at its beginning, "
        f"{resumed // MIB:,} MiB in the one that finishes it; under a limit of {LIMIT_BYTES // MIB} MiB",
    )


HEAVY_ROWS = 6_000 if claims.full() else 600
HEAVY_CHARACTERS = 200_000
WIDE_COLUMNS = 1_000
WIDE_ROWS = 20_000 if claims.full() else 200
HEAVIEST_ROWS = 60 if claims.full() else 12
HEAVIEST_CHARACTERS = 5_000_000


def notes(rows: int, characters: int) -> Iterator[tuple[int, str]]:
    """Rows of a number and a text that no compression makes small."""
    return ((row, os.urandom(characters // 2).hex()) for row in range(1, rows + 1))


def into_sqlite(folder: Path, rows: Iterator[tuple[int, str]]) -> None:
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("create table people (id integer primary key, note text)")
        connection.executemany("insert into people values (?, ?)", rows)
    write(folder, {"sources/shop.yml": "type: sqlite\npath: shop.db\n"})


def heavy_sqlite(folder: Path, url: str) -> int:
    """Rows of 200 KB in SQLite."""
    into_sqlite(folder, notes(HEAVY_ROWS, HEAVY_CHARACTERS))
    return HEAVY_ROWS


def heaviest_sqlite(folder: Path, url: str) -> int:
    """A few rows of 5 MB in SQLite."""
    into_sqlite(folder, notes(HEAVIEST_ROWS, HEAVIEST_CHARACTERS))
    return HEAVIEST_ROWS


def into_file(folder: Path, name: str, lines: Iterator[str]) -> int:
    (folder / "data").mkdir()
    with (folder / "data" / name).open("w", encoding="utf-8") as file:
        file.writelines(lines)
    return HEAVY_ROWS


def heavy_json_lines(folder: Path, url: str) -> int:
    """Objects of 200 KB, one a line."""
    made = notes(HEAVY_ROWS, HEAVY_CHARACTERS)
    return into_file(folder, "people.jsonl", (f'{{"id": {row}, "note": "{note}"}}\n' for row, note in made))


def heavy_json_array(folder: Path, url: str) -> int:
    """Objects of 200 KB in one array."""
    made = notes(HEAVY_ROWS, HEAVY_CHARACTERS)
    objects = (f'{"[" if row == 1 else ","}{{"id": {row}, "note": "{note}"}}' for row, note in made)
    return into_file(folder, "people.json", chain(objects, "]"))


def heavy_csv(folder: Path, url: str) -> int:
    """Lines of 200 KB."""
    made = notes(HEAVY_ROWS, HEAVY_CHARACTERS)
    return into_file(folder, "people.csv", chain(["id,note\n"], (f"{row},{note}\n" for row, note in made)))


def heavy_postgres(folder: Path, url: str) -> int:
    """Rows of 200 KB in PostgreSQL."""
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("create table people (id integer primary key, note text)")
        with server.cursor().copy("copy people from stdin") as copy:
            for row in notes(HEAVY_ROWS, HEAVY_CHARACTERS):
                copy.write_row(row)
    write(folder, {"sources/shop.yml": f"type: postgres\nurl: {url}\n"})
    return HEAVY_ROWS


def wide_csv(folder: Path, url: str) -> int:
    """Rows of 1,000 columns in a CSV file."""
    (folder / "data").mkdir()
    with (folder / "data" / "people.csv").open("w", encoding="utf-8") as file:
        file.write("id," + ",".join(f"c{number}" for number in range(WIDE_COLUMNS)) + "\n")
        for row in range(WIDE_ROWS):
            file.write(f"{row}," + ",".join(f"{row}-{number}" for number in range(WIDE_COLUMNS)) + "\n")
    return WIDE_ROWS


SHAPES = [heavy_sqlite, heaviest_sqlite, heavy_json_lines, heavy_json_array, heavy_csv, heavy_postgres, wide_csv]


@pytest.mark.needs("memory limit")
@pytest.mark.claim("H9")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("there", ["http", "sqlite"])
def test_memory_does_not_grow_with_what_a_row_weighs(
    shape: Callable[[Path, str], int], there: str, tmp_path: Path, figure: claims.Figure, postgres_url: str
) -> None:
    """Batches are cut by bytes, not by rows alone: where they are read, planned, rendered and written.

    The kernel's limit is what holds; what is reported counts the files of the libraries as well.
    """
    with counting() as counter, limited(LIMIT_BYTES) as group:
        project(tmp_path, counter.url)
        rows = shape(tmp_path, postgres_url)
        if there == "sqlite":
            write(tmp_path, {"destinations/there.yml": "type: sqlite\npath: there.db\ncreate_tables: true\n"})
        most, report = peak(tmp_path, group)
    assert report["delivered"]["added"] == rows
    assert there == "sqlite" or counter.records == rows
    what = (shape.__doc__ or "").rstrip(".")
    figure("H9", f"{what}, {rows:,} to {there}: {most // MIB:,} MiB at most; under a limit of {LIMIT_BYTES // MIB} MiB")


HOG = "import sys; held = bytearray(int(sys.argv[1])); held[::4096] = bytes(len(held[::4096]))"
"""A neighbour in the same container that takes all the memory."""
GROUP_BYTES = 48 * MIB


@pytest.mark.needs("memory limit", "steps")
@pytest.mark.claim("H9")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("letter", ["A", "B", "C", "D", "D once"] if claims.full() else ["C"])
def test_a_run_that_the_kernel_ends_for_its_memory_goes_on(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """Out of memory with a request under way, whichever: the next start needs no person, and nothing is wrong."""
    world = World(letter, tmp_path / "project", server)
    cases, again = 0, 0
    for request in range(1, 5) if claims.full() else (3,):
        world.prepare()
        started: list[int] = []
        at_work = threading.Event()
        first = next(server.numbers) + request

        def starve(number: int, first: int = first, started: list[int] = started) -> None:
            """Request number so and so: the memory runs out before it takes effect."""
            assert at_work.wait(20)  # noqa: B023 - the loop waits for this very one
            if number != first:
                return
            with limited(GROUP_BYTES) as group:
                group.take(started[0])
                Path(f"/proc/{started[0]}/oom_score_adj").write_text("1000", encoding="ascii")
                hog = subprocess.Popen([sys.executable, "-c", HOG, str(4 * GROUP_BYTES)])
                group.take(hog.pid)
                hog.wait(timeout=60)

        server.pause = starve
        started.append(forge.start(world.folder, *RUN))
        at_work.set()
        died = forge.wait(started[0])
        server.pause = lambda number: None
        assert died.killed, f"it was not killed: {died.code} {died.out} {died.talk}"
        server.wait_until_idle()
        marks = [len(world.log())]
        good = (0, 3) if letter == "D once" else (0,)
        resumed = forge.run(world.folder, *RUN)
        quiet_from = world.writes()
        quiet = forge.run(world.folder, *RUN)
        assert resumed.code in good, resumed.talk
        assert quiet.code in good, quiet.talk
        log = [(one.request, one.verb, one.key, one.values, one.rid) for one in world.log()]
        evidence = judge.Evidence(
            letter, world.history, log, world.held(), world.reports(), marks, world.writes() - quiet_from
        )
        assert list(judge.findings(evidence)) == []
        assert max(judge.sent_again(evidence)) <= AGAIN_MAX.get(letter, LANES)
        cases += 1
        again = max(again, *judge.sent_again(evidence))
    figure("H9", f"class {letter}: {cases} runs killed by the kernel for memory went on, {again} batches sent again")

"""H9, 6.3: memory stays below 512 MiB however many rows the model has, and a run that the kernel ends for its memory
goes on.

The limit is the kernel's own: the run is alone in a control group that may not have more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
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
ROWS = [int(part) for part in os.environ.get("LEVADA_ROWS", "1000000,10000000,30000000").split(",")]
"""The full size. LEVADA_ROWS asks for others: 100,000,000 take some tens of gigabytes of disk."""
ROWS_SMALL = [50_000]
ROWS_ENOUGH = 10_000_000
"""So many rows need all the memory that planning may have (`planner.memory`, 256 MB): from there on it is flat."""
GROWTH_MAX = 1.1
"""How much more the largest size may take than that one."""
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
  people:
    upsert: {{send: POST /upsert, record: "{{fields_all}}"}}
    delete: {{send: POST /delete, record: {{id: "{{key}}"}}}}
"""


@dataclass
class Counter:
    """A destination that takes everything and counts the records."""

    url: str = ""
    records: int = 0


@contextmanager
def counting() -> Iterator[Counter]:
    state, lock = Counter(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                state.records += body.count(b'"id":')
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

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


def project(folder: Path, url: str) -> None:
    write(
        folder,
        {
            "levada.yml": "name: large\n",
            "sources/shop.yml": "type: files\npath: data\n",
            "models/people.sql": "/*\nsource: shop\nkey: id\n*/\nselect * from people\n",
            "destinations/there.yml": DESTINATION.format(url=url),
            "syncs/people.yml": "model: people\nto: there.people\nmode: mirror\nmatch: {id: id}\nfields: all\n"
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


def peak(folder: Path, group: Group) -> tuple[int, dict[str, Any]]:
    """Run the sync alone in the group: its peak memory in bytes, and its report."""
    report = folder / "peak"
    script = Path(__file__).with_name("measured.py")
    ended = subprocess.run(
        [sys.executable, str(script), str(report), str(group.folder), *RUN],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.returncode}: {ended.stdout} {ended.stderr}"
    return int(report.read_text(encoding="ascii")), json.loads(ended.stdout)


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
    last = [peaks[rows] for rows in peaks if rows >= ROWS_ENOUGH]
    assert not last or last[-1] <= last[0] * GROWTH_MAX, f"memory grows with the rows: {peaks}"


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

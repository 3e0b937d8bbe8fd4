"""Ctrl-C and SIGTERM in the middle of a run, at a destination that takes its time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from levada_process import TIMEOUT_SECONDS, environment, levada, small_project

SECONDS_PER_ANSWER = 0.1
ROWS = 16


class Slow(BaseHTTPRequestHandler):
    """Takes one contact per request, slowly, and remembers it."""

    taken: list[int]
    first: threading.Event
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.first.set()
        threading.Event().wait(SECONDS_PER_ANSWER)
        self.taken.append(int(body["id"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def slow_destination() -> Iterator[tuple[str, type[Slow]]]:
    handler = type("SlowHere", (Slow,), {"taken": [], "first": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def http_project(folder: Path, url: str) -> Path:
    destination = (
        f"type: http\nbase_url: {url}\nclass: A\nmax_server_seconds: 1\n"
        "limits: {concurrent_requests: 1, records_per_request: 1}\n"
        'objects:\n  contacts:\n    match: id\n    upsert: {send: POST /contacts, body: "{record}"}\n'
    )
    sync = "model: customers\nto: crm.contacts\nfields: {id: id, email: email}\n"
    return small_project(folder, ROWS, {"destination": destination, "sync": sync})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly_and_the_next_run_resumes(tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 5, paused by the operator; what was answered is not sent again, and the rest arrives."""
    with slow_destination() as (url, slow):
        folder = http_project(tmp_path, url)
        process = subprocess.Popen(
            [sys.executable, "-m", "levada", "run", "--json"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert slow.first.wait(TIMEOUT_SECONDS)
        process.send_signal(number)
        out, talk = process.communicate(timeout=TIMEOUT_SECONDS)
        document = json.loads(out)
        assert (process.returncode, document["status"], document["paused"]) == (5, "paused", "operator"), talk
        assert "stopping after what is under way" in talk
        taken = list(slow.taken)
        assert len(taken) < ROWS
        assert document["delivered"]["added"] == len(taken)
        assert "paused" in levada(folder, "status").out
        resumed = levada(folder, "run", "--json")
        assert (resumed.code, resumed.document["status"]) == (0, "succeeded"), resumed.talk
        assert sorted(slow.taken) == list(range(1, ROWS + 1))


def test_a_second_signal_ends_at_once_and_the_next_run_resumes(tmp_path: Path) -> None:
    """The process is gone with 143; at most what was under way is sent again."""
    with slow_destination() as (url, slow):
        folder = http_project(tmp_path, url)
        process = subprocess.Popen(
            [sys.executable, "-m", "levada", "run", "--json"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert slow.first.wait(TIMEOUT_SECONDS)
        process.send_signal(signal.SIGTERM)
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode in (143, 5), "5: the clean stop was faster than the second signal"
        resumed = levada(folder, "run", "--json")
        assert resumed.code == 0, resumed.talk
        assert sorted(set(slow.taken)) == list(range(1, ROWS + 1))
        assert len(slow.taken) <= ROWS + 128, "no more than one window of batches is sent again"

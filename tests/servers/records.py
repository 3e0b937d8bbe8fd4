"""A small real HTTP server that keeps records and a log of all that it accepted, and misbehaves when told.

`POST /records` takes a JSON array and upserts by `id`; `POST /records/delete` removes; `POST /events` appends.
The log is what the server accepted, in its order: the independent witness of what was sent.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[[int, str], str]
"""From the number of the request (from 1) and its path to what to do: see `Records.ends`."""


@dataclass
class Records:
    """What the server holds. `behave` says per request: ok, lose (apply, then cut), drop (cut without
    applying), 500 (apply and answer 500), 429, or a number as another status."""

    url: str = ""
    held: dict[Any, dict[str, Any]] = field(default_factory=dict)
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    behave: Behaviour = lambda number, path: "ok"
    #: which records it refuses: a request that holds one is answered `refusal`, and nothing of it is applied
    refuses: Callable[[dict[str, Any]], bool] = lambda record: False
    refusal: str = "422"
    #: its name for a record that it took, and what it says of one that it refuses
    words: str = ""
    #: called before each answer, with the number of the request
    pause: Callable[[int], None] = lambda number: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, path: str, body: list[dict[str, Any]]) -> None:
        with self.lock:
            for record in body:
                self.log.append((path, record))
                if path.endswith("/delete"):
                    self.held.pop(record["id"], None)
                elif path.startswith("/events"):
                    self.events.append(record)
                else:
                    self.held.setdefault(record["id"], {}).update(record)


def declared(url: str, size: int = 1) -> str:
    """The destination's file for this server, with so many records a request, one request at a time."""
    return (
        f"type: http\nbase_url: {url}\nmax_server_seconds: 0.1\n"
        f"limits: {{records_per_request: {size}, concurrent_requests: 1}}\n"
        "objects:\n  contacts:\n    upsert: {send: POST /records, record: '{fields_all}'}\n"
        "    delete: {send: POST /records/delete, record: '{fields_all}'}\n"
    )


@contextmanager
def records_server() -> Iterator[Records]:
    """The server on a free port of this machine."""
    state = Records()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"[]")
            rows = body if isinstance(body, list) else [body]
            with state.lock:
                state.requests += 1
                number = state.requests
            refused = any(state.refuses(record) for record in rows)
            what = state.refusal if refused else state.behave(number, self.path)
            if what in ("ok", "lose", "500"):
                state.apply(self.path, rows)
            state.pause(number)
            if what in ("lose", "drop"):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._answer(200 if what == "ok" else int(what))

        def _answer(self, status: int) -> None:
            named = {"id": state.words} if state.words else {}
            text = json.dumps({"ok": True, **named} if status == 200 else {"error": state.words or "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            return

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)

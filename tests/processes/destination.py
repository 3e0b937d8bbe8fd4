"""The destination: a small real HTTP server with a log of what it accepted, which is all that the judge believes.

Records have an id of the server's own (`rid`). It upserts and deletes by key, creates once per idempotency key or
every time, searches, changes and deletes by rid, and takes events. It answers correctly: what fails in these tests
is the sender. A request that ends before its length is no request.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

IDLE_SECONDS_MAX = 20.0
REPLAY = "replay"
"""The verb of a create whose idempotency key had been used: it has no effect, and stands in the log all the same."""


class NotHere(Exception):
    """There is no record with that id (any more)."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """One effect, in the order in which they happened. `values` is None for a deletion."""

    request: int
    verb: str
    key: int
    values: dict[str, Any] | None
    rid: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One whole request. `connection` is the sender's port; only one process has it."""

    number: int
    connection: int
    writes: bool


@dataclass
class Held:
    """What the server knows; copied to go back to it."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[Accepted] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    replays: dict[str, tuple[Any, str]] = field(default_factory=dict)
    made: int = 0


@dataclass
class Destination:
    url: str = ""
    held: Held = field(default_factory=Held)
    #: called before a request takes effect, with its number
    pause: Callable[[int], None] = lambda number: None
    lock: threading.Lock = field(default_factory=threading.Lock)
    connections: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def copy(self) -> Held:
        with self.lock:
            return deepcopy(self.held)

    def put_back(self, held: Held) -> None:
        with self.lock:
            self.held = deepcopy(held)

    def wait_until_idle(self) -> None:
        """Until whatever a dead sender had sent has taken effect or been dropped."""
        deadline = time.monotonic() + IDLE_SECONDS_MAX
        while self.connections:
            assert time.monotonic() < deadline, "the server still has connections of a process that is gone"
            time.sleep(0.001)

    # -- what requests do

    def apply(self, number: int, method: str, path: str, key: str | None, document: Any) -> dict[str, Any]:
        verb, _, rid = path.strip("/").partition("/")
        if verb == "search":
            wanted = {int(each) for each in document["ids"]}
            found = [{"id": held["id"], "rid": rid} for rid, held in self.held.records.items() if held["id"] in wanted]
            return {"found": found}
        if verb == "records":
            if rid not in self.held.records:
                raise NotHere
            if method == "DELETE":
                gone = self.held.records.pop(rid)
                self.note(number, "delete", gone["id"], None, rid)
            else:
                self.held.records[rid].update(document["fields"])
                self.note(number, "update", self.held.records[rid]["id"], self.held.records[rid], rid)
            return {"done": True, "rid": rid}
        if key is not None:
            if key not in self.held.replays:
                self.held.replays[key] = (document, self.create(number, document["fields"]))
            else:
                self.note(number, REPLAY, document["fields"]["id"], document["fields"], self.held.replays[key][1])
            before, rid = self.held.replays[key]
            assert before == document, "an idempotency key came with another body"
            return {"done": True, "rid": rid}
        return {"results": [self._one(number, verb, record) for record in document["records"]]}

    def _one(self, number: int, verb: str, record: dict[str, Any]) -> dict[str, Any]:
        fields = record.get("fields", record)
        rids = [rid for rid, held in self.held.records.items() if held["id"] == fields["id"]]
        if verb == "delete":
            for rid in rids:
                del self.held.records[rid]
            self.note(number, verb, fields["id"], None, rids[0] if rids else "")
            return {"id": fields["id"], "ok": True}
        if verb == "upsert" and rids:
            self.held.records[rids[0]].update(fields)
            self.note(number, verb, fields["id"], fields, rids[0])
            return {"id": fields["id"], "ok": True, "rid": rids[0]}
        return {"id": fields["id"], "ok": True, "rid": self.create(number, fields, verb)}

    def create(self, number: int, fields: dict[str, Any], verb: str = "create") -> str:
        self.held.made += 1
        rid = f"r{self.held.made}"
        self.held.records[rid] = dict(fields)
        self.note(number, verb, fields["id"], fields, rid)
        return rid

    def note(self, number: int, verb: str, key: int, values: dict[str, Any] | None, rid: str) -> None:
        self.held.log.append(Accepted(number, verb, key, None if values is None else dict(values), rid))


@contextmanager
def destination() -> Iterator[Destination]:
    """The server on a free port of this machine."""
    state = Destination()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def act(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            # a head that was cut off lacks its length, where it has one
            if len(body) < length or (self.command != "DELETE" and not length):
                self.close_connection = True
                return
            number = next(state.numbers)
            state.pause(number)
            status, told = b"200 OK", {}
            with state.lock:
                state.held.asked.append(Asked(number, self.client_address[1], self.path != "/search"))
                document = json.loads(body) if body else None
                try:
                    told = state.apply(number, self.command, self.path, self.headers.get("Idempotency-Key"), document)
                except NotHere:
                    status, told = b"404 Not Found", {"message": "no such record"}
            text = json.dumps(told).encode()
            head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self.wfile.write(head % (status, len(text)) + text)

        do_POST = do_PATCH = do_DELETE = act  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def process_request(self, request: Any, client_address: Any) -> None:
            with state.lock:
                state.connections += 1
            super().process_request(request, client_address)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                with state.lock:
                    state.connections -= 1

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A sender that is gone is what these tests are about; any other error is the server's own fault."""
            if not isinstance(sys.exc_info()[1], ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.05), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)

"""A pretend CRM on this machine, to try a destination with: `python examples/pretend_crm.py [port]`.

`POST /contacts/batch` takes `{"inputs": [{"id": …, "properties": {…}}]}`: contacts whose e-mail address has no @ are
refused and named in an answer 207, all others are kept. `DELETE /contacts/{id}` removes one. Every third request is
answered 429 with `Retry-After: 1` and does nothing. `GET /contacts` shows what is there. It forgets everything when it
ends.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import unquote

TOKEN = "pretend-token"  # noqa: S105 - of a pretend tool


class Crm(ThreadingHTTPServer):
    """The server and its contacts by their ids."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.contacts: dict[str, dict[str, Any]] = {}
        self.writes = 0
        self.lock = Lock()


class Handler(BaseHTTPRequestHandler):
    server: Crm
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, self.server.contacts)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/contacts/batch":
            self._answer(404, {"message": f"there is no {self.path}"})
        elif self._may_write():
            self._save(body["inputs"])

    def do_DELETE(self) -> None:
        if self._may_write():
            with self.server.lock:
                found = self.server.contacts.pop(unquote(self.path.rpartition("/")[2]), None)
            self._answer(204 if found else 404, None)

    def _may_write(self) -> bool:
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {"message": "no such token"})
            return False
        with self.server.lock:
            self.server.writes += 1
            throttled = self.server.writes % 3 == 0
        if throttled:
            self._answer(429, {"message": "too many requests"}, {"Retry-After": "1"})
        return not throttled

    def _save(self, inputs: list[dict[str, Any]]) -> None:
        errors = []
        for entry in inputs:
            name = str(entry["id"])
            email = entry["properties"].get("email")
            if email is not None and "@" not in email:
                errors.append({"context": {"ids": [name]}, "message": f"Property email: {email!r} is no address"})
                continue
            with self.server.lock:
                self.server.contacts.setdefault(name, {}).update(entry["properties"])
        self._answer(207 if errors else 200, {"status": "COMPLETE", "errors": errors})

    def _answer(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        text = b"" if document is None else json.dumps(document, indent=1).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    with Crm(int(sys.argv[1]) if len(sys.argv) > 1 else 8899) as crm:
        print(f"http://127.0.0.1:{crm.server_address[1]}", flush=True)
        try:
            crm.serve_forever()
        except KeyboardInterrupt:
            print("forgotten")

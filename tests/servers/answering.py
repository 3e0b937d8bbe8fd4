"""A tool on loopback that answers as a function says and keeps what it was asked, and a project that sends to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, Any]
Answers = Callable[[str, str, str], Answer]
"""From method, path with query, and body to status and what the body says as JSON."""


@dataclass
class Tool:
    answers: Answers
    url: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """Method and path of every request, in their order."""
        return [f"{method} {path}" for method, path, _ in self.asked]


@contextmanager
def answering(answers: Answers) -> Iterator[Tool]:
    """The tool on a free port."""
    tool = Tool(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            tool.asked.append((self.command, self.path, body))
            status, value = tool.answers(self.command, self.path, body)
            text = b"" if status == 204 else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = reply  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            return

    with serving(Handler) as tool.url:
        yield tool


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on loopback for as long as this lasts, by its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def http_project(folder: Path, destination: str, rows: str, sync: str, url: str = "http://127.0.0.1:9") -> Path:
    """A project with one sync `s` of the rows of a CSV file (key `id`) to `api`; texts are in the files' own words."""
    for name in ("sources", "models", "destinations", "syncs", "data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "levada.yml").write_text("name: t\n")
    (folder / "sources" / "files.yml").write_text("type: files\npath: data\n")
    (folder / "data" / "m.csv").write_text(rows)
    (folder / "models" / "m.yml").write_text("source: files\nkey: id\ntable: m\n")
    (folder / "destinations" / "api.yml").write_text(f"type: http\nbase_url: {url}\nauth: none\n{destination}\n")
    (folder / "syncs" / "s.yml").write_text(f"model: m\nto: api.things\n{sync}\n")
    return folder

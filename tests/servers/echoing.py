"""A real HTTP server that hands back all that it was sent, credentials and rows, in every form that servers quote.

Whatever it is asked, it answers with the status that it was told to, or cuts the connection; the words of its answer
are the request's own.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

FORMS: tuple[Callable[[str], str], ...] = (
    str,
    lambda text: quote(text, safe=""),
    lambda text: json.dumps(json.dumps(text)),
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    lambda text: text.encode().hex(),
    lambda text: repr(text.encode()),
)


@dataclass
class Echo:
    """`status` 0 cuts the connection; `shape` is where the words stand: json, plain, html or a list of errors."""

    url: str = ""
    status: int = 400
    shape: str = "json"
    requests: int = 0
    #: after so many requests the answer is 403, which ends a run at once
    patience: int = 4
    #: so many characters stand before what is echoed, so that whoever cuts the words cuts them in the middle
    padding: int = 0
    #: called with each request, while the client waits
    seen: Callable[[], None] = lambda: None
    lock: threading.Lock = field(default_factory=threading.Lock)


def _credentials(headers: list[tuple[str, str]], path: str) -> Iterator[str]:
    """What a request carries as a secret, also out of basic authentication and the query."""
    for name, value in headers:
        if name.lower() in ("authorization", "x-api-key"):
            bare = value.split(" ", 1)[-1]
            yield bare
            if value.startswith("Basic "):
                yield base64.b64decode(bare).decode().split(":", 1)[1]
    for value in re.findall(r"[?&][^=]*=([^&]*)", path):
        yield unquote(value)


@contextmanager
def echoing_server() -> Iterator[Echo]:
    """The server on a free port of this machine."""
    state = Echo()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode("utf-8", "replace")
            with state.lock:
                state.requests += 1
                number = state.requests
            state.seen()
            status = state.status if number <= state.patience else 403
            if status == 0:
                self.close_connection = True
                return
            secrets = list(_credentials(list(self.headers.items()), self.path))
            form = FORMS[number % len(FORMS)]
            said = " ".join(["." * state.padding, *(form(secret) for secret in secrets), body[:400]])
            self._answer(status, said, secrets)

        do_GET = do_POST  # noqa: N815 - the base class's words
        do_PUT = do_POST  # noqa: N815
        do_PATCH = do_POST  # noqa: N815
        do_DELETE = do_POST  # noqa: N815

        def _answer(self, status: int, said: str, secrets: list[str]) -> None:
            document: Any = {"message": said, "code": "ECHO", "headers": dict(self.headers.items()), "path": self.path}
            if state.shape == "list":
                document = {"errors": [{"message": said, "detail": said}], "request": self.path}
            text = said if state.shape == "plain" else json.dumps(document)
            if state.shape == "html":
                text = f"<html><title>{said}</title></html>"
            data = text.encode()
            self.send_response(status, "no")
            self.send_header("Content-Type", "application/json" if state.shape in ("json", "list") else "text/html")
            self.send_header("Content-Length", str(len(data)))
            for secret in secrets:
                self.send_header("X-Echo", quote(secret))
            self.send_header("X-Request-Id", quote(" ".join(secrets))[:60])
            self.send_header("WWW-Authenticate", f'Bearer error="{quote(secrets[0] if secrets else "")}"')
            if status == 429:
                self.send_header("Retry-After", "4000")
            if status in (301, 302, 307, 308):
                self.send_header("Location", f"http://127.0.0.1:9/{quote(' '.join(secrets), safe='')}?x={quote(said)}")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
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

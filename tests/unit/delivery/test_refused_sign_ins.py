"""A sign-in that was refused is asked for once, and known to be refused by all that a process sends."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from levada.delivery.refusals import REFUSED_SECONDS, Refusals
from levada.destination import Request
from levada.errors import AuthError
from levada.runner.project import Project
from servers.answering import serving
from simulation.virtual import VirtualClock

ROWS = 40


@dataclass
class TokenServer:
    """Refuses every sign-in whose secret is `wrong`, and takes every write that has a token."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    writes: int = 0


@contextmanager
def token_server() -> Iterator[TokenServer]:
    state = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            if self.path == "/token":
                state.asked.append(body)
                refused = "client_secret=wrong" in body
                found = {"error": "invalid_client"} if refused else {"access_token": "fresh", "expires_in": 3600}
                self.answer(400 if refused else 200, found)
            else:
                state.writes += 1
                self.answer(200 if self.headers["Authorization"] == "Bearer fresh" else 401, {})

        def answer(self, status: int, value: object) -> None:
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            return

    with serving(Handler) as state.url:
        yield state


def project_of(folder: Path, url: str, secret: str) -> None:
    """Three syncs to two objects of one account, eight requests at once."""
    for name in ("sources", "models", "destinations", "syncs", "data"):
        (folder / name).mkdir()
    (folder / "levada.yml").write_text("name: t\n")
    (folder / "sources" / "files.yml").write_text("type: files\npath: data\n")
    (folder / "data" / "m.csv").write_text("id,v\n" + "".join(f"{n},{n}\n" for n in range(ROWS)))
    (folder / "models" / "m.yml").write_text("source: files\nkey: id\ntable: m\n")
    account(folder, url, secret)
    for name, target in (("a", "things"), ("b", "things"), ("c", "others")):
        (folder / "syncs" / f"{name}.yml").write_text(f"model: m\nto: api.{target}\n")


def account(folder: Path, url: str, secret: str) -> None:
    (folder / "destinations" / "api.yml").write_text(
        f"type: http\nbase_url: {url}\n"
        f"auth: {{oauth2: {{token_url: {url}/token, client_id: me, client_secret: {secret}}}}}\n"
        "objects: {things: {upsert: POST /things}, others: {upsert: POST /others}}\n"
    )


def test_a_refused_grant_is_asked_for_once_by_all_lanes_and_all_syncs(tmp_path: Path) -> None:
    """Eight lanes of three syncs find it out from one answer; nothing is sent, and each sync says why."""
    with token_server() as server:
        project_of(tmp_path, server.url, "wrong")
        with Project.open(tmp_path) as project:
            for sync in ("a", "b", "c"):
                result = project.run(sync)
                assert result.status == "failed"
                assert isinstance(result.error, AuthError)
                assert "invalid_client" in result.error.message
        assert (len(server.asked), server.writes) == (1, 0)
        with Project.open(tmp_path) as project:
            project.run("a")
        assert len(server.asked) == 2, "a later process may ask again, once"
        account(tmp_path, server.url, "right")
        with Project.open(tmp_path) as project:
            assert [project.run(sync).status for sync in ("a", "b", "c")] == ["succeeded"] * 3
        assert server.writes == 3 * ROWS


@pytest.mark.parametrize(
    "changed", [{"body": b"client_secret=new"}, {"url": "http://t/other"}, {"headers": {"A": "b"}}]
)
def test_another_question_is_not_known_to_be_refused(changed: dict[str, object]) -> None:
    """A rotated token, another client, another server: only the very same request has been refused."""
    refusals = Refusals(VirtualClock(random.Random("refusals")))
    asked = {"method": "POST", "url": "http://t/token", "body": b"client_secret=old"}
    refusals.add(Refusals.question(Request(**asked)), "no")  # type: ignore[arg-type]
    assert refusals.of(Refusals.question(Request(**asked))) == "no"  # type: ignore[arg-type]
    assert refusals.of(Refusals.question(Request(**{**asked, **changed}))) is None  # type: ignore[arg-type]


def test_a_refusal_is_not_believed_for_ever() -> None:
    """It may be mended at the tool, where no file changes."""
    clock = VirtualClock(random.Random("refusals"))
    refusals = Refusals(clock)
    refusals.add("q", "no")
    clock.advance(REFUSED_SECONDS - 1)
    assert refusals.of("q") == "no"
    clock.advance(2)
    assert refusals.of("q") is None

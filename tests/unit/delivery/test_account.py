"""What all requests of an account share, in virtual time: throttling, the declared rate, the quota, the credential."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from claims import full
from levada.delivery.account import Patience
from levada.delivery.wire import Outgoing
from levada.destination import Response
from levada.destinations.auth import auth_from
from levada.destinations.signing import AuthDeclaration
from levada.retry import RETRY_AFTER_MAX_SECONDS
from simulation.virtual import VirtualClock, run_virtually
from unit.delivery.scene import Answer, Scene, ScriptedWire, always_ok, ok

OWN_MAX_SECONDS = 0.7
"""The engine's own first wait, with what it costs to take a turn."""


def scene(folder: Path, script: Any = always_ok, **more: Any) -> tuple[Scene, VirtualClock]:
    """A scene whose time passes only in waits."""
    clock = VirtualClock(random.Random("account"))
    patience = more.pop("patience", Patience())
    made = Scene(folder, script, clock=clock, patience=patience, **more)
    made.run_loop = lambda main: run_virtually(clock, random.Random("loop"), main)
    return made, clock


def dated(clock: VirtualClock, seconds: float, skew: float = 0.0) -> dict[str, str]:
    """Retry-After as a date, by a server whose clock goes `skew` seconds ahead of ours."""
    there = clock.now() + timedelta(seconds=skew)
    return {
        "retry-after": format_datetime(there + timedelta(seconds=seconds), usegmt=True),
        "date": format_datetime(there, usegmt=True),
    }


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (None, 0.25, OWN_MAX_SECONDS),
        ("0", 0.25, OWN_MAX_SECONDS),
        ("-5", 0.25, OWN_MAX_SECONDS),
        ("soon", 0.25, OWN_MAX_SECONDS),
        ("nan", 0.25, OWN_MAX_SECONDS),
        ("0.01", 0.25, OWN_MAX_SECONDS),
        ("7", 7.0, 8.0),
        ("3600", 3600.0, 3601.0),
        ("date 30", 29.0, 31.5),
        ("date 30 skewed", 29.0, 31.5),
        ("date -30", 0.25, OWN_MAX_SECONDS),
        ("3601", None, None),
        ("1000000000", None, None),
        ("inf", None, None),
        ("date 86400", None, None),
    ],
)
def test_a_429_is_waited_out_as_asked_within_limits(
    tmp_path: Path, header: str | None, least: float | None, most: float | None
) -> None:
    """GUARANTEES 6.20: the longer of the own wait and what is asked for; over an hour the run pauses instead."""
    times: list[float] = []

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        times.append(clock.seconds)
        if len(times) > 1:
            return ok()
        if header is None:
            return Response(429)
        if header.startswith("date"):
            seconds = float(header.split()[1])
            return Response(429, dated(clock, seconds, 7_200.0 if header.endswith("skewed") else 0.0))
        return Response(429, {"retry-after": header})

    made, clock = scene(tmp_path, script, added=1)
    report = made.deliver()
    if least is None or most is None:
        assert (report.pause, len(times)) == ("rate", 1)
        assert report.tally.unsent == 1
    else:
        assert report.tally.delivered_total == 1
        assert least <= times[1] - times[0] <= most
        assert most <= RETRY_AFTER_MAX_SECONDS + 1


ASKS = [
    ("0", 0.25, OWN_MAX_SECONDS),
    ("-5", 0.25, OWN_MAX_SECONDS),
    ("soon", 0.25, OWN_MAX_SECONDS),
    ("1_000", 0.25, OWN_MAX_SECONDS),
    ("\u0663\u0660", 0.25, OWN_MAX_SECONDS),
    ("7; 8", 0.25, OWN_MAX_SECONDS),
    ("", 0.25, OWN_MAX_SECONDS),
    ("7", 7.0, 8.0),
    ("180.5", 180.0, 182.0),
    ("3600", 3600.0, 3601.0),
    ("date 300", 299.0, 301.5),
    ("date 300 skewed", 299.0, 301.5),
    ("date -30", 0.25, OWN_MAX_SECONDS),
]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(("header", "least", "most"), ASKS)
def test_whoever_says_when_to_come_again_is_obeyed(
    tmp_path: Path, status: int, applied: bool, header: str, least: float, most: float
) -> None:
    """Whatever the status and whether or not the request may have been applied: no request before that time, the
    record arrives, and an answer that says when is no outage, however long it asks for below the cap."""
    times: list[float] = []

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        times.append(clock.seconds)
        if len(times) > 1:
            return ok()
        if header.startswith("date"):
            skew = 7_200.0 if header.endswith("skewed") else 0.0
            return Response(status, dated(clock, float(header.split()[1]), skew))
        return Response(status, {"retry-after": header})

    statuses = frozenset() if applied else frozenset({status})
    made, clock = scene(tmp_path, script, added=1, not_applied_statuses=statuses)
    report = made.deliver()
    assert (report.pause, report.tally.delivered_total, len(times)) == (None, 1, 2)
    # a write in doubt has a wait of its own before it is sent again
    assert least <= times[1] - times[0] <= most + OWN_MAX_SECONDS


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("header", ["3601", "9" * 25, "inf", "date 86400"])
def test_whoever_asks_for_more_than_the_cap_makes_a_pause(
    tmp_path: Path, status: int, applied: bool, header: str
) -> None:
    """The run ends and goes on later; a write that may have been applied stays open, and is settled then."""
    sent: list[float] = []

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        sent.append(clock.seconds)
        if len(sent) > 1:
            return ok()
        asks = dated(clock, float(header.split()[1])) if header.startswith("date") else {"retry-after": header}
        return Response(status, asks)

    made, clock = scene(tmp_path, script, added=1, not_applied_statuses=frozenset() if applied else frozenset({status}))
    report = made.deliver()
    assert (report.pause, len(sent)) == ("rate", 1)
    again = made.deliver()
    assert (again.pause, again.tally.delivered_total, len(sent)) == (None, 1, 2)


@pytest.mark.parametrize("rate", [2.0, 10.0, 90.0])
def test_no_window_holds_more_requests_than_declared(tmp_path: Path, rate: float) -> None:
    """However many lanes there are, however unevenly answers come, and also when some answers are 429."""
    times: list[float] = []
    chance = random.Random("answers")

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        times.append(clock.seconds)
        return Response(429, {"retry-after": "1"}) if chance.random() < 0.05 else ok()

    made, clock = scene(tmp_path, script, added=300, batch=1, lanes=16, rate=rate)
    made.wire.answer_seconds = 0.35
    assert made.deliver().tally.delivered_total == 300
    for window in (1.0, 10.0, 60.0):
        fullest = max(sum(start <= each < start + window - 1e-6 for each in times) for start in times)
        assert fullest <= rate * window


def test_a_daily_quota_spreads_a_plan_over_days_and_loses_nothing(tmp_path: Path) -> None:
    """GUARANTEES 6.21: ten times the quota takes ten days; each day goes on where the last one ended."""
    quota = 1_000 if full() else 25
    days: Counter[int] = Counter()
    arrived: Counter[str] = Counter()

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        days[clock.now().toordinal()] += 1
        arrived.update(record["email"] for record in records)
        return ok()

    made, clock = scene(tmp_path, script, added=10 * quota, batch=1, quota=quota)
    for day in range(1, 11):
        report = made.deliver()
        assert report.pause == ("quota" if day < 10 else None)
        assert report.tally.delivered_total == day * quota
        again = made.deliver()  # an impatient person, the same day
        assert again.tally.delivered_total == day * quota
        clock.advance(86_400.0)
    assert set(days.values()) == {quota}
    assert len(days) == 10
    assert (len(arrived), set(arrived.values())) == (10 * quota, {1})


@dataclass
class TokenServer(ScriptedWire):
    """Gives out access tokens for refresh tokens, each of which it takes once. Its API takes the newest token."""

    made: Scene | None = None
    given: int = 0
    revoked: bool = False
    asked_with: list[str] = field(default_factory=list)
    kept_at_use: list[tuple[str, str]] = field(default_factory=list)
    api: int = 0

    async def send(self, outgoing: Outgoing) -> Response:
        if not outgoing.url.endswith("/token"):
            return await super().send(outgoing)
        self.asked_with += parse_qs((outgoing.body or b"").decode())["refresh_token"]
        if self.asked_with[-1] != f"refresh-{self.given}":
            return Response(400, {}, b'{"error": "invalid_grant"}')
        self.given += 1
        answer = {"access_token": f"access-{self.given}", "refresh_token": f"refresh-{self.given}"}
        return Response(200, {}, json.dumps(answer).encode())

    def judge(self, outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        """The API: a token is good for 100 requests."""
        assert self.made is not None
        kept = json.loads(self.made.store.vault.get("oauth:crm") or "{}")
        self.kept_at_use.append((outgoing.headers["Authorization"], json.dumps(kept)))
        self.api += 1
        current = outgoing.headers["Authorization"] == f"Bearer access-{self.given}"
        if self.revoked or not current or (self.given == 1 and self.api > 100):
            return Response(401)
        return ok()


def token_server(folder: Path, records: int) -> tuple[Scene, TokenServer]:
    declared = {
        "token_url": "http://127.0.0.1:9/token",
        "client_id": "id",
        "client_secret": "secret",
        "refresh_token": "refresh-0",
    }
    made, _ = scene(
        folder,
        added=records,
        batch=1,
        lanes=16,
        auth=auth_from(AuthDeclaration.model_validate({"oauth2": declared})),
    )
    server = TokenServer(always_ok, answer_seconds=0.2, made=made)
    server.script = server.judge
    made.wire = server
    return made, server


def test_sixteen_requests_that_find_the_token_expired_refresh_it_once(tmp_path: Path) -> None:
    """GUARANTEES 6.23: one refresh for all; the rotated token is stored before the access token with it is used."""
    made, server = token_server(tmp_path, 400)
    report = made.deliver()
    assert report.tally.delivered_total == 400
    assert server.asked_with == ["refresh-0", "refresh-1"]
    refused = sum(token == "Bearer access-1" for token, _ in server.kept_at_use) - 100
    assert 1 <= refused <= 16
    for token, kept in server.kept_at_use:
        stored = json.loads(kept)["refresh_token"]
        assert int(stored.rpartition("-")[2]) >= int(token.rpartition("-")[2])


def test_a_token_that_is_refused_though_fresh_pauses_after_one_refresh(tmp_path: Path) -> None:
    """A revoked permission is no reason to ask for tokens again and again, and the rotated token survives."""
    made, server = token_server(tmp_path, 40)
    server.revoked = True
    report = made.deliver()
    assert (report.pause, report.untouched) == ("auth", True)
    assert server.asked_with == ["refresh-0", "refresh-1"]
    assert server.api <= 2 * 16
    server.revoked = False
    assert made.deliver().tally.delivered_total == 40
    assert server.asked_with == ["refresh-0", "refresh-1", "refresh-2"]


@pytest.mark.parametrize("token", ["geheim\n", "geheim\r\nX-Admin: yes", "geheim\0"])
def test_a_credential_that_no_header_can_hold_is_said_so_and_nothing_is_sent(tmp_path: Path, token: str) -> None:
    """A secret read from a file often ends in a line break: no bug, no other header, and the secret is not repeated."""
    asked: list[Outgoing] = []

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        asked.append(outgoing)
        return ok()

    made, _ = scene(tmp_path, script, added=2, auth=auth_from(AuthDeclaration.model_validate({"bearer": token})))
    report = made.deliver()
    assert (report.pause, asked) == ("setup", [])
    assert "Authorization" in report.message
    assert "geheim" not in report.message

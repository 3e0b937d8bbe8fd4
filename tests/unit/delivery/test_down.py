"""A tool that is down is known to be down within half a minute, in every class; told on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from levada import events
from levada.delivery.account import Patience
from levada.delivery.wire import CONNECT_SECONDS, Lost, NotSent, Outgoing
from levada.destination import Response
from simulation.virtual import VirtualClock, run_virtually
from unit.delivery.scene import Answer, Scene, ok

HALF_A_MINUTE = 30.0
GOOD = 30
"""So many requests are answered before the tool goes down in the middle of a run."""


class Slow:
    """A wire that answers as a script says, and takes `connects` seconds where it cannot connect, and `answers` seconds
    until an answer is given up."""

    def __init__(
        self, script: Callable[[int], Answer], clock: VirtualClock, connects: float, answers: float = 0.05
    ) -> None:
        self.answers = answers
        self.script = script
        self.clock = clock
        self.connects = connects
        self.sent: list[Outgoing] = []
        self.failing_since: float | None = None

    async def send(self, outgoing: Outgoing) -> Response:
        self.sent.append(outgoing)
        found = self.script(len(self.sent))
        if found != ok() and self.failing_since is None:
            self.failing_since = self.clock.monotonic()
        if isinstance(found, NotSent):
            await asyncio.sleep(self.connects)
        elif isinstance(found, Lost):
            await asyncio.sleep(self.answers)
        else:
            await asyncio.sleep(0.05)
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        return


def away(
    folder: Path, failure: Callable[[], Answer], good: int, connects: float = 0.01, answers: float = 0.05, **more: Any
) -> tuple[Any, Any, float]:
    """The scene, its report, and for how many seconds the tool had been away when the run gave it up."""
    chance = random.Random(7)
    clock = VirtualClock(chance)
    scene = Scene(
        folder,
        lambda outgoing, records: ok(),
        added=400,
        batch=4,
        patience=Patience(),
        server_seconds=60,
        clock=clock,
        run_loop=lambda main: run_virtually(clock, chance, main),
        **more,
    )
    wire = Slow(lambda number: ok() if number <= good else failure(), clock, connects, answers)
    scene.wire = wire  # type: ignore[assignment]
    report = scene.deliver()
    assert wire.failing_since is not None
    return scene, report, clock.monotonic() - wire.failing_since


CREATE: dict[str, Any] = {"delivery_class": "C", "verbs": {"added": "create"}, "mode": "insert"}
CLASSES: dict[str, dict[str, Any]] = {
    "A": {},
    "C": CREATE,
    "D": {"delivery_class": "D", "verbs": {"added": "append"}},
    "D once": {"delivery_class": "D", "verbs": {"added": "append"}, "repeats": "at_most_once"},
}


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("letter", CLASSES)
@pytest.mark.parametrize("good", [0, GOOD])
@pytest.mark.parametrize(
    ("failure", "connects"),
    [
        (lambda: NotSent("connection refused"), 0.01),
        (lambda: NotSent("no address for crm.example"), 2.0),
        (lambda: NotSent("no connection within 10 seconds"), CONNECT_SECONDS),
        (lambda: Response(503, {}, b"maintenance"), 0.01),
        (lambda: Lost("connection reset"), 0.01),
    ],
    ids=["refused", "no name", "connect timeout", "503", "reset"],
)
def test_it_is_given_up_within_half_a_minute(
    tmp_path: Path, failure: Callable[[], Answer], connects: float, good: int, letter: str, lanes: int
) -> None:
    """Before its first answer and in the middle of a run; and the wait says until when, and keeps its word."""
    scene, report, seconds = away(tmp_path, failure, good, connects, lanes=lanes, **CLASSES[letter])
    assert report.pause == "outage"
    assert seconds <= HALF_A_MINUTE
    waits = [event for event in scene.seen if isinstance(event, events.DeliveryWaiting)]
    assert all(wait.seconds <= HALF_A_MINUTE for wait in waits if wait.reason == "outage")
    assert all("given up" in wait.message for wait in waits if wait.reason == "outage")


@pytest.mark.parametrize("good", [0, GOOD])
def test_one_request_that_hangs_is_no_outage(tmp_path: Path, good: int) -> None:
    """Its time is over after a minute; it is sent again, and the run comes to its end."""
    asked: list[int] = []

    def failure() -> Answer:
        asked.append(1)
        return Lost("no answer within 60 seconds") if len(asked) == 1 else ok()

    _, report, _ = away(tmp_path, failure, good, answers=60.0, lanes=1)
    assert len(asked) > 1
    assert report.pause is None


def test_a_short_absence_is_sat_out(tmp_path: Path) -> None:
    """Ten seconds of 503 in the middle of a run stop nothing."""
    failing: list[float] = []
    clock_of: list[VirtualClock] = []

    def failure() -> Answer:
        now = clock_of[0].monotonic()
        failing.append(now)
        return Response(503) if now - failing[0] < 10 else ok()

    chance = random.Random(7)
    clock = VirtualClock(chance)
    clock_of.append(clock)
    scene = Scene(
        tmp_path, lambda o, r: ok(), added=400, batch=4, patience=Patience(), clock=clock,
        run_loop=lambda main: run_virtually(clock, chance, main),
    )  # fmt: skip
    scene.wire = Slow(lambda number: ok() if number <= GOOD else failure(), clock, 0.01)  # type: ignore[assignment]
    report = scene.deliver()
    assert (report.pause, report.tally.delivered_total) == (None, 400)


def test_one_record_that_always_fails_is_not_taken_for_an_outage(tmp_path: Path) -> None:
    """With the patience that users have: the others arrive, and it is reported as unknown."""
    chance = random.Random(7)
    clock = VirtualClock(chance)

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        return Response(500) if any(record["email"] == "user1007@example.com" for record in records) else ok()

    scene = Scene(
        tmp_path, script, added=20, batch=1, lanes=1, patience=Patience(), clock=clock,
        run_loop=lambda main: run_virtually(clock, chance, main),
    )  # fmt: skip
    report = scene.deliver()
    assert (report.pause, report.tally.delivered_total, report.tally.unknown) == (None, 19, 1)

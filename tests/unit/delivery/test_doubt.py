"""What becomes of records whose request was never answered for: over attempts, and over processes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from levada.batch import Batch
from levada.delivery import dispatcher
from levada.delivery.account import Patience
from levada.delivery.order import DeliveryReport
from levada.delivery.wire import Lost, Outgoing
from levada.destination import Request, Response, Talk
from levada.outcome import Outcomes
from levada.retry import RetryPolicy
from unit.delivery.scene import Answer, Contacts, Scene, ok

FEW = Patience(RetryPolicy(attempts_max=3, base_seconds=0.001), contact_seconds=0.05, outage_seconds=30)


def test_an_object_that_cannot_be_updated_is_left_as_it_is_where_it_was_created(tmp_path: Path) -> None:
    """Class C without the verb update: a create whose answer was lost, and that is found, is delivered."""
    held: list[str] = []

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        if outgoing.url.endswith("/search"):
            return ok(**{str(i): "id" for i, record in enumerate(records) if record["email"] in held})
        held.extend(record["email"] for record in records)
        return Lost("cut") if len(held) == 4 else ok()

    scene = Scene(tmp_path, script, added=8, batch=4, delivery_class="C", verbs={"added": "create"}, lanes=1)
    scene.destination.lacks = ("update",)
    report = scene.deliver()
    assert (report.pause, report.tally.delivered_total) == (None, 8)
    assert len(held) == len(set(held)) == 8


def test_a_destination_that_answers_for_nothing_pauses_the_run(tmp_path: Path) -> None:
    """503 from the first request on is an outage, not a set of doubtful records; the status says why, no words that
    may repeat a row."""
    scene = Scene(tmp_path, lambda o, r: Response(503, {}, b"maintenance"), added=5, patience=FEW)
    report = scene.deliver()
    assert (report.pause, report.settled, report.untouched) == ("outage", None, False)
    assert report.message == "crm answers for no record: answer 503"


def test_a_record_that_no_attempt_brings_to_an_end_holds_up_nobody_for_ever(tmp_path: Path) -> None:
    """One record makes the tool fail, always: the second run leaves it unknown, and ends."""
    scene = Scene(tmp_path, lambda o, r: Response(500), added=1, patience=FEW)
    assert scene.deliver().pause == "outage"
    again = scene.deliver()
    assert (again.pause, again.tally.unknown) == (None, 1)


def test_one_failing_record_among_good_ones_is_unknown_at_once(tmp_path: Path) -> None:
    """Where others are answered for it is no outage."""

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        return Response(500) if records[0]["email"] == "user1003@example.com" else ok()

    report = Scene(tmp_path, script, added=6, batch=1, lanes=1, patience=FEW).deliver()
    assert (report.pause, report.tally.unknown, report.tally.delivered_total) == (None, 1, 5)


def test_in_an_outage_all_lanes_together_ask_ever_more_rarely(tmp_path: Path) -> None:
    """An open circuit sends single probes with one shared back-off, however many lanes wait."""
    patience = Patience(RetryPolicy(attempts_max=50, base_seconds=0.01), outage_seconds=0.5)
    scene = Scene(tmp_path, lambda o, r: Response(503), added=400, lanes=16, patience=patience)
    report = scene.deliver()
    assert report.pause == "outage"
    assert len(scene.wire.sent) <= 16 + 8


class Unanswered:
    """A wire whose answers never come; `arrived` is set when `count` requests have been sent."""

    def __init__(self, count: int) -> None:
        self.arrived = threading.Event()
        self.count = count
        self.requests = 0

    async def send(self, outgoing: Outgoing) -> Response:
        self.requests += 1
        if self.requests == self.count:
            self.arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("nothing ever comes")

    async def close(self) -> None:
        return


def test_a_stop_waits_only_so_long_for_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests without an answer are left in doubt when the time to stop is over, and the rest is unsent."""
    monkeypatch.setattr(dispatcher, "DRAIN_SECONDS", 0.1)
    scene = Scene(tmp_path, lambda o, r: ok(), added=100, lanes=2)
    wire = Unanswered(2)
    scene.wire = wire  # type: ignore[assignment]
    reports: list[DeliveryReport] = []
    thread = threading.Thread(target=lambda: reports.append(scene.deliver()), daemon=True)
    thread.start()
    assert wire.arrived.wait(10)
    assert scene.halt is not None
    scene.halt.set()
    thread.join(10)
    (report,) = reports
    assert (report.pause, report.untouched, wire.requests) == ("operator", False, 2)
    assert (report.tally.unknown, report.tally.unsent) == (20, 80)
    assert sum(entry.doubtful for entry in scene.store.journals.entries("run_1")) == 2


def test_a_stop_ends_the_wait_before_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A back-off of a minute does not hold up whoever stops the run."""
    monkeypatch.setattr(dispatcher, "DRAIN_SECONDS", 0.1)
    patience = Patience(RetryPolicy(base_seconds=60), outage_seconds=600)
    scene: Scene

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        assert scene.halt is not None
        scene.halt.set()
        return Response(503)

    scene = Scene(tmp_path, script, added=5, patience=patience)
    report = scene.deliver()
    assert (report.pause, len(scene.wire.sent), report.tally.unknown) == ("operator", 1, 5)


def test_a_pause_in_the_middle_of_a_conversation_leaves_its_records_in_doubt(tmp_path: Path) -> None:
    """A job that was accepted and then cannot be asked, because the credential is refused, was not `not applied`."""

    class Jobs(Contacts):
        def deliver(self, batch: Batch) -> Talk[Outcomes]:
            yield Request("POST", "/job", {}, b"{}")
            yield Request("GET", "/job/1", {}, safe=True)
            return batch.delivered()

    scene = Scene(tmp_path, lambda o, r: Response(403) if o.method == "GET" else ok(), added=5, delivery_class="D")
    scene.destination = Jobs(scene.destination.spec)
    report = scene.deliver()
    assert (report.pause, report.untouched, report.tally.unknown) == ("auth", False, 5)

"""What becomes of records whose request was never answered for: over attempts, and over processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from levada.delivery.account import Patience
from levada.delivery.wire import Lost, Outgoing
from levada.destination import Response
from levada.retry import RetryPolicy
from unit.delivery.scene import Answer, Scene, ok

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
    """503 from the first request on is an outage, not a set of doubtful records; what was answered says why."""
    scene = Scene(tmp_path, lambda o, r: Response(503, {}, b"maintenance"), added=5, patience=FEW)
    report = scene.deliver()
    assert (report.pause, report.settled, report.untouched) == ("outage", None, False)
    assert "maintenance" in report.message


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

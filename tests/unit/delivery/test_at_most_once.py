"""Class D with `at_most_once`: a record that an earlier run may have sent is not sent again, and hides no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from levada.change import Kind, Verb
from levada.delivery.wire import Lost, Outgoing
from levada.destination import Response
from levada.planner import REMOVAL
from unit.delivery.scene import Answer, Scene, ok


def test_a_pause_beside_a_record_in_doubt_leaves_the_others_unsent(tmp_path: Path) -> None:
    """Record 0 may have been sent by an earlier run; its companions, refused with the credential, were never sent."""
    answers: list[Answer] = [Response(401)]
    scene = Scene(
        tmp_path,
        lambda outgoing, records: answers.pop() if answers else ok(),
        added=10,
        lanes=1,
        delivery_class="D",
        verbs={"added": "create"},
        repeats="at_most_once",
    )
    path = scene.plan_folder / "added.parquet"
    table = pq.read_table(path)
    earlier = pa.array(["0" * 32, *[None] * 9], pa.string())
    pq.write_table(table.append_column("operation", earlier), path)
    report = scene.deliver()
    assert (report.pause, report.tally.delivered_total, report.tally.unsent) == ("auth", 0, 10)
    report = scene.deliver()
    assert (report.pause, report.tally.delivered_total, report.tally.unknown) == (None, 9, 1)


def scene_of(tmp_path: Path, *answers: Answer, repeats: str = "at_most_once", **more: Any) -> Scene:
    """A destination of class D that gives these answers, and then takes all."""
    left = list(answers)
    verbs: dict[Kind, Verb] = {"added": "create", "removed": "delete"}
    script = lambda outgoing, records: left.pop(0) if left else ok()  # noqa: E731
    return Scene(tmp_path, script, lanes=1, delivery_class="D", verbs=verbs, repeats=repeats, **more)


def test_a_removal_that_may_have_been_sent_is_not_sent_again(tmp_path: Path) -> None:
    """Record 0's removal was lost in an earlier run; that of record 1 never was: its create was."""
    scene = scene_of(tmp_path, removed=3)
    path = scene.plan_folder / "removed.parquet"
    earlier = pa.array([REMOVAL, "0" * 32, None], pa.string())
    pq.write_table(pq.read_table(path).append_column("operation", earlier), path)
    tally = scene.deliver().tally
    assert (tally.unknown, tally.possibly_missing, tally.delivered_total) == (1, 1, 2)


def test_what_may_be_there_twice_and_what_may_be_missing_is_counted(tmp_path: Path) -> None:
    """A lost batch that is sent again may be there twice; one that is not may be missing; no other counts."""
    again = scene_of(tmp_path / "again", Lost("cut"), repeats="at_least_once", added=15).deliver().tally
    assert (again.delivered_total, again.possibly_duplicated, again.possibly_missing) == (15, 10, 0)
    once = scene_of(tmp_path / "once", Lost("cut"), added=15).deliver().tally
    assert (once.delivered_total, once.possibly_duplicated, once.possibly_missing) == (5, 0, 10)


def test_what_was_left_unsent_and_then_sent_by_a_process_that_died_counts_as_sent(tmp_path: Path) -> None:
    """A pause left the batch unsent; the process that resumed it died before the answer; the third sends nothing."""

    class Crash(BaseException):
        pass

    scene = scene_of(tmp_path, Response(403), added=10)
    assert scene.deliver().tally.unsent == 10

    def dies(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        raise Crash

    scene.wire.script = dies
    with pytest.raises(Crash):
        scene.deliver()
    scene.wire.script = lambda outgoing, records: ok()
    sent = len(scene.wire.sent)
    assert (scene.deliver().tally.unknown, len(scene.wire.sent)) == (10, sent)

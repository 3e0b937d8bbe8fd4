"""Class D with `at_most_once`: a record that an earlier run may have sent is not sent again, and hides no other."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from levada.destination import Response
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

"""Which records wait for an earlier request: by key, by match value, and what would have to come after those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from levada.change import Counts, Kind
from levada.delivery.held import ROUNDS_MAX, Held, held
from levada.destination import DestinationSpec
from levada.outcome import DELIVERED, Outcomes
from levada.plan import Plan, PlanFile
from levada.store import Intent
from levada.stores.sqlite import SqliteStore

Row = tuple[int, str | None, str | None]
"""Key, match value before, match value after."""


def written(folder: Path, operations: Mapping[Kind, Sequence[Row]], *, match: tuple[str, ...] = ("email",)) -> Plan:
    folder.mkdir(parents=True)
    files: dict[Kind, PlanFile] = {}
    for kind, rows in operations.items():
        columns: dict[str, Any] = {"key.id": pa.array([row[0] for row in rows], pa.int64())}
        if kind != "added":
            columns["before.email"] = pa.array([row[1] for row in rows], pa.string())
        if kind != "removed":
            columns["after.email"] = pa.array([row[2] for row in rows], pa.string())
        pq.write_table(pa.table(columns), folder / f"{kind}.parquet")
        files[kind] = PlanFile(f"{kind}.parquet", len(rows), 1, "")
    counts = Counts(**{kind: len(rows) for kind, rows in operations.items()})
    plan = Plan("s", "s@0", "sync", 0, "m", "h", ("id",), ("email",), match, counts, 9, files)
    plan.write(folder)
    return plan


def doubted(
    folder: Path, rows: Sequence[Row], doubtful: Sequence[int], *, status: Any = "partial", **more: Any
) -> SqliteStore:
    """A store with one run, `rows` of which it changed, one a batch; the batches `doubtful` were lost."""
    store = SqliteStore.open(folder / "state")
    lease = store.leases.acquire("s")
    plan = written(store.folder / "plans" / "run_1", {"changed": rows}, **more)
    store.runs.create(lease, "run_1", "sync")
    store.runs.update(lease, "run_1", phase="delivering", plan_id=plan.plan_id, folder="run_1")
    journal = store.journals.open(lease, "run_1")
    journal.intend([Intent(number, "changed", number, 1, f"k{number}") for number in range(len(rows))])
    journal.settle([(number, Outcomes(DELIVERED)) for number in range(len(rows)) if number not in doubtful])
    if doubtful:
        journal.doubt(doubtful, 60)
    store.runs.update(lease, "run_1", phase="closed", status=status)
    return store


SENT: list[Row] = [(1, "a@x", "a@x"), (2, "b@x", "c@x")]


def of(tmp_path: Path, store: SqliteStore, operations: Mapping[Kind, Sequence[Row]]) -> Any:
    found = held(store, "s", written(tmp_path / "plan", operations), tmp_path / "plan")
    store.close()
    assert not found or 0 < found.seconds <= 60
    return None if found.sequences is None else found.sequences.to_pylist()


@pytest.mark.parametrize(
    ("operations", "waits"),
    [
        ({"changed": [(1, "a@x", "a@x"), (2, "c@x", "c@x"), (3, "d@x", "d@x")]}, [0]),
        # another record takes the match value of one that is open, and one leaves it
        ({"added": [(7, None, "A@x "), (8, None, "h@x")]}, [0]),
        ({"removed": [(7, "a@x", None)], "added": [(8, None, "h@x")]}, [0]),
        # what has to come after a record that waits
        ({"changed": [(1, "a@x", "n@x"), (3, "d@x", "a@x"), (4, "e@x", "d@x"), (5, "f@x", "f@x")]}, [0, 1, 2]),
        ({"changed": [(1, "a@x", None)], "added": [(9, None, None)]}, [0]),
        ({"added": [(9, None, "z@x")]}, []),
    ],
)
def test_a_record_is_known_by_its_key_and_by_its_match_values(
    tmp_path: Path, operations: Mapping[Kind, Sequence[Row]], waits: list[int]
) -> None:
    """The change of key 1 was lost, that of key 2 was answered for."""
    assert of(tmp_path, doubted(tmp_path, SENT, [0]), operations) == waits


def test_both_match_values_of_a_record_that_moved_are_open(tmp_path: Path) -> None:
    """The change of key 2, from b to c, was lost."""
    operations: dict[Kind, Sequence[Row]] = {"added": [(7, None, "b@x"), (8, None, "c@x"), (9, None, "a@x")]}
    assert of(tmp_path, doubted(tmp_path, SENT, [1]), operations) == [0, 1]


def test_everything_waits_where_it_cannot_be_told_what_was_sent(tmp_path: Path) -> None:
    """A plan that was dropped, one whose files are gone, one that was matched by other fields."""
    added: dict[Kind, Sequence[Row]] = {"added": [(7, None, "h@x")]}
    assert of(tmp_path / "1", doubted(tmp_path / "1", SENT, [0], status="cancelled"), added) is None
    store = doubted(tmp_path / "2", SENT, [0])
    (store.folder / "plans" / "run_1" / "changed.parquet").unlink()
    assert of(tmp_path / "2", store, added) is None
    assert of(tmp_path / "3", doubted(tmp_path / "3", SENT, [0], match=()), added) is None


def test_a_row_of_records_that_wait_for_one_another_is_followed_so_far_and_then_everything_waits(
    tmp_path: Path,
) -> None:
    """Each takes the match value that the one before it leaves."""
    chain = [(1, "a@x", "0@x"), *((10 + i, f"{i + 1}@x", f"{i}@x") for i in range(ROUNDS_MAX + 5))]
    assert of(tmp_path, doubted(tmp_path, SENT, [0]), {"changed": chain}) is None


def test_nothing_waits_without_a_lost_answer(tmp_path: Path) -> None:
    """And nothing is read for it."""
    store = doubted(tmp_path, SENT, [])
    assert not held(store, "s", written(tmp_path / "plan", {"added": [(1, None, "a@x")]}), tmp_path / "nowhere")


def test_the_words_name_each_option_that_shortens_the_wait() -> None:
    """Why, how many, how long it can take, and by which option."""
    spec = DestinationSpec("http", "HTTP", "", max_server_seconds=60, index_lag_seconds=2)
    found = Held(62, pa.array([3, 9], pa.int64())).wait("crm", spec, 10, 58.0)
    assert found.message == (
        "2 records wait, because an earlier request for them was not answered and may still be applied; "
        "`max_server_seconds: 60` and `index_lag_seconds: 2` of crm say for how long, and less shortens the wait"
    )
    assert (found.records, found.seconds, found.option) == (2, 58.0, "max_server_seconds")
    everything = Held(60, None).wait("crm", spec, 10, 60.0)
    assert everything.message.startswith("10 records wait, because an earlier request was not answered")

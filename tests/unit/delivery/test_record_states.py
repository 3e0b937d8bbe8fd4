"""What happens to a record in each state, in each class, and that it is the same whatever stands beside it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pytest

from levada.batch import Batch
from levada.change import Verb
from levada.delivery.ends import Ends
from levada.delivery.idempotency import TWICE, left_unsent
from levada.delivery.waiting import SCHEMA, Waiting
from levada.delivery.wire import Outgoing
from levada.destination import DeliveryClass
from levada.outcome import DELIVERED, End, Outcome, Outcomes
from levada.planner import REMOVAL
from levada.store import Intent
from unit.delivery.scene import Answer, Scene, ok

State = Literal["fresh", "sent", "removing", "waiting", "ended"]
STATES: tuple[State, ...] = get_args(State)
EARLIER = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Way:
    """A class with what else decides: the verb, the mode, and how often an event may be sent."""

    delivery_class: DeliveryClass
    verb: Verb
    mode: str = "upsert"
    repeats: str = "at_least_once"

    def __str__(self) -> str:
        return f"{self.delivery_class}-{self.verb}-{self.mode}-{self.repeats}"


WAYS = (
    Way("A", "upsert"),
    Way("B", "create"),
    Way("C", "create", "upsert"),
    Way("C", "create", "insert"),
    Way("D", "create"),
    Way("D", "create", "insert", "at_most_once"),
)
Told = tuple[End, str, tuple[str, ...]]
"""A record's end, its code, and the paths that it was sent to, in order."""
NOT_SENT: dict[State, Told] = {
    "waiting": ("waiting", "E1", ()),
    "ended": ("delivered", "", ()),
}
SENT: Told = ("delivered", "", ("create",))
LOOKED_UP: Told = ("delivered", "", ("search", "create"))
TABLE: dict[tuple[str, State], Told] = {
    ("A-upsert-upsert-at_least_once", "fresh"): ("delivered", "", ("upsert",)),
    ("A-upsert-upsert-at_least_once", "sent"): ("delivered", "", ("upsert",)),
    ("A-upsert-upsert-at_least_once", "removing"): ("delivered", "", ("upsert",)),
    ("B-create-upsert-at_least_once", "fresh"): SENT,
    ("B-create-upsert-at_least_once", "sent"): ("unknown", "unanswered", ()),
    ("B-create-upsert-at_least_once", "removing"): ("unknown", "unanswered", ()),
    ("C-create-upsert-at_least_once", "fresh"): LOOKED_UP,
    ("C-create-upsert-at_least_once", "sent"): LOOKED_UP,
    ("C-create-upsert-at_least_once", "removing"): LOOKED_UP,
    ("C-create-insert-at_least_once", "fresh"): SENT,
    ("C-create-insert-at_least_once", "sent"): LOOKED_UP,
    ("C-create-insert-at_least_once", "removing"): LOOKED_UP,
    ("D-create-upsert-at_least_once", "fresh"): SENT,
    ("D-create-upsert-at_least_once", "sent"): ("delivered", "possibly_duplicated", ("create",)),
    ("D-create-upsert-at_least_once", "removing"): SENT,
    ("D-create-insert-at_most_once", "fresh"): SENT,
    ("D-create-insert-at_most_once", "sent"): ("unknown", "at_most_once", ()),
    ("D-create-insert-at_most_once", "removing"): SENT,
}


def delivered(folder: Path, way: Way, states: tuple[State, ...]) -> list[Told]:
    """Deliver one batch with records in these states, in a folder of its own."""
    folder.mkdir()
    paths: dict[str, list[str]] = {}

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        for record in records:
            paths.setdefault(record["email"], []).append(outgoing.url.rsplit("/", 1)[1])
        return ok()

    rows = [_waits(index) for index, state in enumerate(states) if state == "waiting"]
    scene = Scene(
        folder,
        script,
        added=len(states),
        delivery_class=way.delivery_class,
        verbs={"added": way.verb},
        mode=way.mode,
        repeats=way.repeats,
        lanes=1,
        waiting=Waiting(pa.Table.from_pylist(rows, SCHEMA)),
    )
    scene.operations = [_operation(scene, way, state) for state in states]
    scene._write("added", range(1000, 1000 + len(states)))
    if "ended" in states:
        _resumed(scene, states, one_by_one=way.delivery_class == "B")
    report = scene.deliver()
    assert report.pause is None
    found: list[Told] = []
    for entry in scene.store.journals.entries("run_1"):
        assert entry.outcomes is not None
        for index in range(entry.intent.size):
            outcome = entry.outcomes.of(index)
            sent = tuple(paths.get(f"user{1000 + entry.intent.first + index}@example.com", ()))
            found.append((outcome.end, outcome.code, sent))
    return found


def _operation(scene: Scene, way: Way, state: State) -> str | None:
    if state == "removing":
        return REMOVAL
    if state == "sent":
        return f"{EARLIER}@{scene.store.moments.now()}" if way.delivery_class == "B" else EARLIER
    return None


def _waits(sequence: int) -> dict[str, Any]:
    return {"sequence": sequence, "end": "rejected", "tries": 1, "left": 2, "reason": "no", "code": "E1"}


def _resumed(scene: Scene, states: tuple[State, ...], *, one_by_one: bool) -> None:
    """An earlier process sent the batch and was stopped: the journal says what has ended, the rest was not sent."""
    journal = scene.store.journals.open(scene.lease, "run_1")
    open_end = Outcome("not_applied")
    if not one_by_one:
        journal.intend([Intent(0, "added", 0, len(states), "key")])
        ends = {index: open_end for index, state in enumerate(states) if state != "ended"}
        journal.settle([(0, Outcomes(DELIVERED, ends))])
        return
    for index, state in enumerate(states):
        if state == "ended":
            journal.intend([Intent(index, "added", index, 1, f"key{index}@{scene.store.moments.now()}")])
            journal.settle([(index, Outcomes(DELIVERED))])
        else:
            break  # the batches behind it were never made


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_consequence_in_each_class(tmp_path: Path, way: Way, state: State) -> None:
    """The table of destination classes: sent, looked up first, sent again and counted, or not sent."""
    wanted = NOT_SENT.get(state) or TABLE[str(way), state]
    assert delivered(tmp_path / "alone", way, (state,)) == [wanted]


PAIRS = [
    pytest.param(way, pair, id=f"{way}-{'-'.join(pair)}")
    for way, pair in product(WAYS, product(STATES, STATES))
    # in class B each record is a batch of its own, and batches are begun in order
    if not (way.delivery_class == "B" and pair[1] == "ended" and pair[0] != "ended")
]


@pytest.mark.parametrize(("way", "pair"), PAIRS)
def test_a_record_fares_the_same_whatever_stands_beside_it(tmp_path: Path, way: Way, pair: tuple[State, State]) -> None:
    """Facts about single records go with their rows when a batch is cut: a create that may have been applied is looked
    up, and a neighbour that waits, is left out or has ended already changes nothing."""
    alone = [NOT_SENT.get(state) or TABLE[str(way), state] for state in pair]
    assert delivered(tmp_path / "pair", way, pair) == alone


def test_in_a_batch_of_many_each_is_looked_up_that_was_sent_before(tmp_path: Path) -> None:
    """Whichever of the others are left out, and wherever they stand."""
    way = WAYS[3]
    states: tuple[State, ...] = ("waiting", "sent", "fresh", "removing", "waiting", "sent", "fresh", "waiting")
    found = delivered(tmp_path / "many", way, states)
    assert Counter(found) == Counter(NOT_SENT.get(state) or TABLE[str(way), state] for state in states)
    assert found[1] == found[5] == LOOKED_UP


def test_what_is_known_of_a_record_is_cut_along_with_it(tmp_path: Path) -> None:
    """A part of a batch, and a part of that part, knows what the batch knew."""
    rows = pa.table({"id": range(6)})
    whole = Batch("s", "p", 0, 0, "added", "create", "o", (), rows, rows, "k").with_state("sent", [1, 4])
    whole = whole.with_state("removing", [2])
    assert whole.in_state("sent") == [1, 4]
    assert whole.take([4, 2, 0]).in_state("sent") == [0]
    assert whole.slice(1, 4).take([0, 1, 3]).in_state("sent", "removing") == [0, 1, 2]
    assert whole.slice(0, 4).slice(2, 2).in_state("fresh") == [1]


def test_an_event_that_a_pause_kept_from_being_sent_again_stays_open() -> None:
    """Class D: its run goes on with it when the tool is back; it is not closed as sent again, and left to the next."""
    ends = Ends(1, {0}, counted=True)
    ends.take([0], Outcomes(Outcome("not_applied")))
    assert (ends.open, left_unsent(ends.joined(), 1)) == ([0], True)
    ends.take([0], Outcomes(DELIVERED))
    assert ends.joined().of(0) == TWICE

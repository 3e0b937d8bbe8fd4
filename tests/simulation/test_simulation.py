"""Schedules of faults over the whole engine, the oracle that judges them, and the mutants that it must catch."""

from __future__ import annotations

import ast
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

import levada.stores
from claims import Figure, full
from claims import campaign as in_campaign
from simulation import oracle
from simulation.coverage import impossible
from simulation.museum import MUTANTS, Mutant, caught
from simulation.oracle import judge
from simulation.pairing import meeting
from simulation.pairs import KINDS, PAIRS, cells, meetings, named, reason
from simulation.play import REAL_EVERY, Played, campaign, of_seed, plain_planner, play
from simulation.schedule import LETTERS, Edit, Letter, Schedule, Stage

SEEDS, SEEDS_CAMPAIGN, SEEDS_FULL = 300, 2_500, 10_000
ROWS = (Edit(1, "a"), Edit(2, "b"), Edit(3, "c"))


def schedule(letter: Letter, *stages: Stage, batch: int = 2, lanes: int = 2) -> Schedule:
    return Schedule(0, letter, batch if letter != "B" else 1, lanes, "at_least_once", None, ROWS, stages)


def played(wanted: Schedule) -> Played:
    with campaign():
        return play(wanted)


@pytest.mark.claim("H1")
@pytest.mark.timeout(1_800)
def test_no_schedule_of_faults_breaks_a_guarantee() -> None:
    """What `make simulate` does: nothing lost, doubled, stale, backwards or leaked, each fault met that is aimed at.

    In CI these are all cells there are.
    """
    seeds = SEEDS_FULL if full() else SEEDS_CAMPAIGN if in_campaign() else SEEDS
    command = [sys.executable, "-m", "simulation", "--seeds", str(seeds)]
    tests = Path(__file__).parent.parent
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tests)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]


def test_a_schedule_is_the_same_at_every_replay() -> None:
    """A seed that fails can be looked at again: same log, same reports."""
    with campaign():
        for seed in (3, 11, 17, 24, 30):
            one, two = play(of_seed(seed)), play(of_seed(seed))
            assert one.evidence is not None
            assert two.evidence is not None
            assert by_order(one.evidence.accepted) == by_order(two.evidence.accepted)
            assert by_order(one.evidence.requests) == by_order(two.evidence.requests)


def by_order(lines: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """A log whose runs have numbers in the order in which they come: their ids count all that a process ever named."""
    numbers: dict[object, int] = {}
    return [{**line, "run": numbers.setdefault(line.get("run"), len(numbers))} for line in lines]


def test_the_oracle_imports_nothing_of_the_engine() -> None:
    """Only the standard library, and none of the simulation either: it cannot share a mistake with what it judges."""
    tree = ast.parse(Path(oracle.__file__).read_text(encoding="utf-8"))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


def written() -> set[str]:
    """The names of all functions of the store that open a transaction of their own, read from the code."""
    folder = Path(levada.stores.__path__[0])
    found = set()
    for name in ("journal", "ledgers", "leases", "runs"):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and "_database.write(" in ast.unparse(node):
                found.add(node.name)
    return found


OTHER_WAYS = {"rebuild", "distrust", "left", "renew"}
"""Not written by a run: repairs, a hold after a reboot, and heartbeats, which lose nothing."""


@pytest.mark.parametrize("letter", ["T", "A", "B", "C", "D"])
def test_a_run_may_die_at_every_durable_step_and_the_next_one_too(letter: Letter) -> None:
    """Killed before and after each transaction and request, then again while it resumes: the third run ends well.

    At every third of them, from a place that is the class's own; in CI at every one.
    """
    points: Counter[str] = Counter()
    edits = (Edit(1, "z"), Edit(2, None), Edit(4, "n"))
    first, every = (0, 1) if full() or in_campaign() else (LETTERS.index(letter) % 3, 3)
    with campaign():
        for step in range(first, 60, every):
            again = Stage(crash=step // 2) if step % 3 == 0 else Stage()
            lost = ((0, "lost_after"),) if step % 4 == 0 else ()
            found = play(schedule(letter, Stage(), Stage(edits=edits, crash=step, faults=lost), again))
            points += found.points
            assert not found.findings, (step, found.findings)
            assert found.evidence is not None
            if step > 20 and not any(report.get("crashed") for report in found.evidence.reports):
                break
    steps = {f"{name}.{side}" for name in written() - OTHER_WAYS for side in ("before", "after")}
    assert steps <= set(points), f"never reached: {sorted(steps - set(points))}"


def test_a_crash_while_a_planned_run_is_closed_needs_no_person() -> None:
    """Found by seed 35: the plan's folder went before the run was closed, and the run stayed open without it."""
    for crash in range(2, 12):
        assert not played(schedule("T", Stage(crash=crash))).findings


def test_a_crash_in_the_very_first_lease_needs_no_person() -> None:
    """Found by seed 45: the store had given out an epoch, and its mark was not yet written."""
    for crash in range(4):
        assert not played(schedule("A", Stage(crash=crash))).findings


def test_records_that_a_look_up_finds_are_updated_in_requests_of_the_size_that_update_takes() -> None:
    """Found by seed 13: four records created before were sent as one update of a single record."""
    lost = Stage(faults=((1, "lost_after"),))
    found = played(schedule("C", lost, batch=3, lanes=1))
    assert not found.findings
    assert found.evidence is not None
    assert sum(line["method"] == "PATCH" for line in found.evidence.requests) == 3


@pytest.mark.parametrize("letter", ["A", "B", "C"])
def test_a_worker_that_was_stopped_for_longer_than_its_lease_sends_nothing_more(letter: Letter) -> None:
    """Found by seed 33: it woke up after another had taken over, and sent what it still held."""
    for number in range(3):
        found = played(schedule(letter, Stage(frozen=number), batch=1, lanes=1))
        assert not found.findings, (number, found.findings)


def test_a_run_that_an_error_stops_still_tells_the_end_of_every_operation() -> None:
    """Found by seed 48: a look-up within a delivery failed, and the paused run told of no operation at all."""
    assert not played(of_seed(48)).findings


@pytest.mark.parametrize("letter", ["T", "A", "C"])
def test_a_field_that_was_out_of_the_mapping_is_cleared_when_it_returns_empty(letter: Letter) -> None:
    """Found by seed 235: it kept the last value it had been sent with."""
    sent = Stage(edits=(Edit(1, "a", 7),))
    without = Stage(edits=(Edit(1, "b", 7),), mapping=1)
    emptied = Stage(edits=(Edit(1, "b", None),))
    assert not played(schedule(letter, Stage(), sent, without, emptied)).findings
    assert not played(of_seed(235)).findings


def test_a_worker_that_is_stopped_between_the_halves_of_a_refused_batch_writes_no_other_half() -> None:
    """Found by seed 1007475: a table's writer looked at its lease before a batch, and not before its halves."""
    rows = (Edit(1, "a"), Edit(2, "b"))
    taken_over = Stage(edits=(Edit(2, "z"),), faults=((0, "refuse_batch"),), frozen=1)
    for crash in range(8, 20):
        stages = (Stage(crash=crash), taken_over)
        assert not played(Schedule(0, "T", 2, 1, "at_least_once", None, rows, stages)).findings


def test_a_record_that_is_gone_from_the_tool_is_created_by_the_next_run() -> None:
    """Found by seed 1005938: an id out of an older copy of the state was asked for for ever, and never created."""
    put_back = Stage(edits=(Edit(1, "z"),), restored=True)
    assert not played(schedule("C", Stage(copied=True), Stage(edits=(Edit(1, None),)), put_back)).findings
    found = played(schedule("C", Stage(), Stage(edits=(Edit(1, "z"),), human=(("delete", 1),)), Stage()))
    assert found.evidence is not None
    assert sorted(record["id"] for record in found.evidence.held) == [1, 2, 3]
    first, second = (report for report in found.evidence.reports if report["stage"] in (1, 2))
    assert (first["status"], first["rejected"], first["delivered"]["changed"]) == ("partial", 1, 0)
    assert (second["status"], second["delivered"]["added"]) == ("succeeded", 1)


def test_an_event_that_is_refused_after_a_lost_answer_is_counted_as_possibly_there() -> None:
    """Found by seed 1007779: class D, sent again and again without an answer, then refused, and said to be nowhere."""
    unheard = Stage(edits=(Edit(1, "z"),), faults=tuple((number, "lie_garbage") for number in range(8)))
    refused = Stage(faults=((0, "refuse_batch"),))
    assert not played(schedule("D", Stage(), unheard, refused, batch=1, lanes=1)).findings


def test_a_pause_in_the_middle_of_a_batch_keeps_what_was_learnt_of_it() -> None:
    """Records delivered before the pause are delivered: they are neither sent nor counted again."""
    faults = ((0, "fewer"), (1, "expired"))
    for weather in ("revoked", "down"):
        assert not played(schedule("D", Stage(faults=faults), Stage(weather=weather), lanes=1)).findings


def test_people_may_be_in_a_half_made_file_of_a_ledger_and_nowhere_else() -> None:
    """Found by seed 7001700, a fault of the judge: a copy of the state was made before the run after a crash."""
    with campaign():
        found = play(of_seed(7_001_700))
    assert not found.findings
    assert found.evidence is not None
    (half,) = (name for name in found.evidence.files if name.endswith(".partial"))
    assert half.startswith("copy/ledgers/people/")
    for name, people in (("copy/high-water.partial", 1), ("copy/added.parquet", 1), ("copy/plans/run_1/x.partial", 0)):
        moved = replace(found.evidence, files={name: found.evidence.people})
        assert len(judge(moved)) == people, name


def test_what_a_crash_left_beside_a_ledger_is_gone_after_the_next_run() -> None:
    """Found by seed 74: a process died between its commit and the deletion of what that had replaced, and nothing
    changed from then on."""
    rewritten = replace(
        schedule("D", Stage(), Stage(edits=(Edit(4, "n"),), crash="commit.after")), seed=5 * REAL_EVERY - 1
    )
    found = played(rewritten)
    assert not found.findings
    assert found.evidence is not None
    assert any("crashed" in report for report in found.evidence.reports)
    assert judge(replace(found.evidence, leftovers=("ledgers/people/old.parquet",)))


BESIDE_A_WAITING_ONE = Schedule(
    seed=9,
    letter="C",
    batch=2,
    lanes=1,
    repeats="at_least_once",
    rate=None,
    rows=(Edit(1, "a"), Edit(2, "b")),
    stages=(
        Stage(fates=((1, "refused"),)),
        Stage(edits=(Edit(3, "x"), Edit(4, "c")), fates=((1, "refused"), (4, "unheard_after"))),
        Stage(),
    ),
    mode="insert",
)
"""Record 4 is there, and nobody knows; record 1 was refused twice; in the third run both are in one batch."""


def test_a_create_that_was_never_answered_is_looked_up_though_a_record_beside_it_waits() -> None:
    """Class C, mode insert. Found by seed 1848, when what was known of a record was forgotten as its batch was cut."""
    found = played(BESIDE_A_WAITING_ONE)
    assert not found.findings
    assert found.cells["earlier + waiting", "added", "C"]
    (forgets,) = (mutant for mutant in MUTANTS if mutant.name == "states_are_not_cut")
    with forgets.alive():
        assert any("doubled: a second record of key 4" in finding for finding in played(BESIDE_A_WAITING_ONE).findings)


REFUSED_THEN_RESTORED = Schedule(
    seed=9,
    letter="C",
    batch=1,
    lanes=1,
    repeats="at_least_once",
    rate=None,
    rows=(Edit(1, "a"),),
    stages=(
        Stage(edits=(Edit(3, "x"),), fates=((3, "suppressed"),)),
        Stage(copied=True, fates=((3, "suppressed"),)),
        Stage(),
        Stage(),
        Stage(restored=True),
    ),
    mode="insert",
)
"""Record 3 is refused twice, waits for its turn and is made at last; then the state from before that is put back."""


def test_a_refusal_of_an_older_state_keeps_no_record_from_being_looked_up() -> None:
    """Found by seed 7100248: the run after the state was put back waited with the record, and the next one made it."""
    assert not played(REFUSED_THEN_RESTORED).findings


GONE_WHEN_RESTORED = replace(
    REFUSED_THEN_RESTORED,
    stages=(
        Stage(copied=True),
        Stage(edits=(Edit(4, "d"),)),
        Stage(edits=(Edit(4, None), Edit(2, "x")), restored=True),
        Stage(edits=(Edit(4, "c"),)),
    ),
)
"""Record 4 is made, the state from before that is put back while its row is gone, and then the row comes back."""


def test_a_record_that_an_older_state_did_not_know_is_looked_up_whenever_it_comes() -> None:
    """Found by seed 7204553: the doubt was settled by a run whose model did not have the row."""
    assert not played(GONE_WHEN_RESTORED).findings


def test_what_is_put_off_is_sent_again_under_its_key() -> None:
    """Class B. Found by seed 2167: a batch that an earlier process left open waited, and its key was forgotten."""
    with campaign():
        assert not play(of_seed(2167)).findings


SAMPLED_EVERY = 12


@pytest.mark.parametrize("letter", LETTERS)
def test_two_states_meet_in_a_batch_whenever_a_schedule_aims_at_them(letter: Letter) -> None:
    """A part of the table, from every class and kind; a campaign meets every pair."""
    with campaign():
        for number, (one, other, kind) in list(enumerate(meetings(letter)))[::SAMPLED_EVERY]:
            aimed = meeting(one, other, kind, letter, 5 * number + LETTERS.index(letter), random.Random(number))
            found = play(aimed, plain_planner)
            assert not found.findings, (one, other, kind)
            assert found.cells[named(one, other), kind, letter], (one, other, kind)


def test_each_pair_of_states_can_meet_or_has_a_reason_why_not() -> None:
    """No cell of the table is empty without one, and a pair that meets against its reason fails the campaign."""
    can = set(cells())
    for letter, kind, pair in product(LETTERS, KINDS, PAIRS):
        assert ((named(*pair), kind, letter) in can) == (not reason(*pair, kind, letter))
    assert impossible(Counter({("fresh + settled", "added", "T"): 1, ("crash", "run", "T"): 1, next(cells()): 1})) == [
        ("fresh + settled", "added", "T")
    ]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_published_failure_is_caught(mutant: Mutant) -> None:
    """The engine with the fault of another tool fails the oracle within a bounded number of schedules."""
    with campaign():
        assert not play(mutant.first, mutant.planner).findings
        assert caught(mutant) is not None


@pytest.mark.claim("H5")
def test_the_museum_is_as_large_as_it_is_said_to_be(figure: Figure) -> None:
    """Each mutant is caught at the schedule that is named for it, and what it rebuilds was published.

    In `make test`, where the test above catches each of them, a few.
    """
    rebuilt = {each for mutant in MUTANTS for each in re.findall(r"I\.[a-z]|\b\d+(?:\.\d+)?\b", mutant.like)}
    tried = MUTANTS if full() else MUTANTS[::11]
    with campaign():
        seen = [mutant.name for mutant in tried if caught(mutant, seeds_max=0) is not None]
    assert len(seen) == len(tried)
    assert len(MUTANTS) >= 25
    figure("H5", f"{len(seen)} mutants of the engine, after {len(rebuilt)} published failures, all caught")


UNHEARD = Stage(faults=tuple((number, "lie_empty") for number in range(1, 40)))
"""The first record is answered for; what becomes of the others is never heard, though it is done."""


def test_a_create_that_was_never_answered_is_asked_for_again_before_its_row_is_changed_or_removed() -> None:
    """Class B: the same body under the same key tells the id; then the record is updated, or deleted."""
    found = played(schedule("B", UNHEARD, Stage(edits=(Edit(2, "z"), Edit(3, None))), lanes=1))
    assert not found.findings
    assert found.evidence is not None
    methods = [line["method"] for line in found.evidence.requests if line["stage"] == 1]
    assert sorted(methods) == ["DELETE", "PATCH", "POST", "POST"]
    assert sum(line["what"] == "create" for line in found.evidence.accepted) == 3


def test_after_its_key_has_expired_a_create_that_was_never_answered_is_left_to_people_by_name() -> None:
    """Class B: sent again it would be a second record. Every run names it, and sends nothing of it."""
    found = played(schedule("B", UNHEARD, Stage(wait_seconds=200_000.0), lanes=1))
    assert not found.findings
    assert found.evidence is not None
    assert found.evidence.named == {2, 3}
    assert found.evidence.reports[-1]["unknown"] == 2
    assert not [line for line in found.evidence.requests if line["stage"] >= 1]


def test_after_an_older_state_was_put_back_nothing_is_created_twice() -> None:
    """Class B: what the lost part may have created is named, and not sent under another key."""
    found = played(schedule("B", Stage(copied=True), Stage(edits=(Edit(4, "n"),)), Stage(restored=True)))
    assert not found.findings
    assert found.evidence is not None
    assert found.evidence.named == {4}
    assert sum(line["what"] == "create" for line in found.evidence.accepted) == 4


def test_a_copy_of_the_state_that_had_lost_nothing_leaves_nothing_to_people() -> None:
    """Found by seed 1078902, a fault of the judge: what somebody deleted was taken for left over by a rollback."""
    put_back = Stage(restored=True)
    gone = Stage(edits=(Edit(1, "z"),), human=(("delete", 1),))
    found = played(schedule("B", Stage(source="empty", copied=True), put_back, gone))
    assert not found.findings
    assert found.evidence is not None
    assert (found.evidence.restored, found.evidence.named) == (False, frozenset())
    assert found.evidence.reports[-1]["suppressed"] == 1

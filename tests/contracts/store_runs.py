"""The contract of a store, first half: leases, runs, the journal. To be run by way of `contracts.stores`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from contracts.store_bench import (
    SYNC,
    StoreBench,
    begun,
    committed,
    intents,
    with_segment,
)
from levada.clock import isoformat
from levada.errors import BusyError, ConfigError, CorruptedError, FencedError, StoreError
from levada.outcome import DELIVERED, UNKNOWN, Effects, Outcome, Outcomes
from levada.store import LEASE_SECONDS, JournalEntry

# -- leases


def a_second_process_is_told_which_run_holds_the_sync(bench: StoreBench) -> None:
    """Two processes on one sync: one runs, the other says so."""
    begun(bench.open(), "run_7")
    with pytest.raises(BusyError) as caught:
        bench.open().leases.acquire(SYNC)
    assert caught.value.run_id == "run_7"


def a_store_is_known_by_its_identity(bench: StoreBench) -> None:
    """The same in every process, and never empty."""
    first, second = bench.open(), bench.open()
    assert first.identity == second.identity != ""


def syncs_do_not_wait_for_each_other(bench: StoreBench) -> None:
    """A lease is for one sync."""
    one, other = bench.open(), bench.open()
    assert one.leases.acquire("one").epoch != other.leases.acquire("other").epoch


def a_released_lease_is_free_with_a_higher_epoch(bench: StoreBench) -> None:
    """Epochs only rise, whoever gets them."""
    one, other = bench.open(), bench.open()
    first = one.leases.acquire(SYNC)
    one.leases.release(first)
    assert other.leases.acquire(SYNC).epoch > first.epoch


def a_dead_owner_is_succeeded_at_once(bench: StoreBench) -> None:
    """A crash needs no waiting and no operator, and the open run is found."""
    dead = bench.open()
    begun(dead, "run_7")
    dead.close()
    store = bench.open()
    store.leases.acquire(SYNC)
    found = store.runs.open_run(SYNC)
    assert found is not None
    assert found.run_id == "run_7"


def a_silent_owner_is_given_up_after_the_lease_time(bench: StoreBench) -> None:
    """A stopped process loses its lease, not earlier than promised."""
    stopped, other = bench.open(), bench.open()
    stopped.leases.acquire(SYNC)
    bench.clock.advance(LEASE_SECONDS)
    with pytest.raises(BusyError):
        other.leases.acquire(SYNC)
    bench.clock.advance(1)
    assert other.leases.acquire(SYNC).epoch == 2


def a_heartbeat_keeps_the_lease(bench: StoreBench) -> None:
    """Whoever renews is not given up, however long the run."""
    owner, other = bench.open(), bench.open()
    lease = owner.leases.acquire(SYNC)
    for _ in range(3):
        bench.clock.advance(LEASE_SECONDS - 1)
        owner.leases.renew(lease)
    with pytest.raises(BusyError):
        other.leases.acquire(SYNC)


def who_holds_a_sync_is_told_as_long_as_it_lives(bench: StoreBench) -> None:
    """In words, to whoever only looks; nobody once it was given back, or its owner is silent for too long."""
    owner, other = bench.open(), bench.open()
    assert other.leases.holder(SYNC) is None
    lease = owner.leases.acquire(SYNC)
    assert "process" in (other.leases.holder(SYNC) or "")
    assert other.leases.holder("another") is None
    owner.leases.release(lease)
    assert other.leases.holder(SYNC) is None
    owner.leases.acquire(SYNC)
    bench.clock.advance(LEASE_SECONDS + 1)
    assert other.leases.holder(SYNC) is None


def an_overtaken_process_cannot_write(bench: StoreBench) -> None:
    """Every write compares the epoch, and a refused one leaves nothing behind (G7)."""
    stale, other = bench.open(), bench.open()
    old = begun(stale)
    journal = stale.journals.open(old, "run_1")
    journal.intend(intents(1))
    bench.clock.advance(LEASE_SECONDS + 1)
    other.leases.acquire(SYNC)
    ledger = with_segment(stale, stale.ledgers.get(SYNC), "one.parquet")
    writes: Sequence[Callable[[], Any]] = (
        lambda: stale.leases.renew(old),
        lambda: stale.leases.release(old),
        lambda: stale.runs.create(old, "run_2", "sync"),
        lambda: stale.runs.update(old, "run_1", phase="settling"),
        lambda: stale.journals.open(old, "run_1"),
        lambda: journal.intend(intents(1, 5)),
        lambda: journal.doubt([0], 10),
        lambda: journal.settle([(0, Outcomes(DELIVERED))]),
        lambda: committed(stale, old, "run_1", ledger),
        lambda: stale.ledgers.distrust(old, ledger),
        lambda: stale.ledgers.rebuild(old, SYNC),
        lambda: stale.memory.remember(old, "undone", "run_1"),
    )
    for write in writes:
        with pytest.raises(FencedError):
            write()
    assert list(other.journals.entries("run_1")) == [JournalEntry(intents(1)[0])]
    assert other.runs.get("run_1").phase == "delivering"
    assert other.ledgers.get(SYNC).generation == 0
    assert other.journals.hold(SYNC) is None
    assert other.memory.recall(SYNC, "undone") is None


def a_released_lease_writes_no_more(bench: StoreBench) -> None:
    """Giving a lease back ends the right to write, even if nobody took it since."""
    store = bench.open()
    lease = store.leases.acquire(SYNC)
    store.leases.release(lease)
    with pytest.raises(FencedError):
        store.runs.create(lease, "run_1", "sync")


# -- runs


def a_sync_has_at_most_one_open_run(bench: StoreBench) -> None:
    """Resume before plan (E11)."""
    store = bench.open()
    lease = begun(store)
    with pytest.raises(StoreError) as caught:
        store.runs.create(lease, "run_2", "sync")
    assert caught.value.code == "store.run_open"
    assert [run.run_id for run in store.runs.newest()] == ["run_1"]


def a_run_that_ended_while_reading_is_closed_as_failed(bench: StoreBench) -> None:
    """Nothing was sent: it is not resumed, and does not stand in the way."""
    dead = bench.open()
    dead.runs.create(dead.leases.acquire(SYNC), "run_1", "sync")
    dead.close()
    store = bench.open()
    lease = store.leases.acquire(SYNC)
    assert store.runs.open_run(SYNC) is None
    store.runs.create(lease, "run_2", "sync")
    old = store.runs.get("run_1")
    assert (old.phase, old.status) == ("closed", "failed")


def a_run_comes_back_as_it_was_stored(bench: StoreBench) -> None:
    """Phase, status, plan, folder and result survive the process."""
    store = bench.open()
    lease = begun(store)
    store.runs.update(lease, "run_1", phase="paused", status="paused", result={"status": "paused", "requests": 3})
    store.close()
    found = bench.open().runs.open_run(SYNC)
    assert found is not None
    assert (found.phase, found.status, found.plan_id, found.folder) == ("paused", "paused", f"{SYNC}@abc", "run_1")
    assert found.result == {"status": "paused", "requests": 3}
    assert found.created_at == isoformat(bench.clock.now())
    assert found.finished_at == ""


def a_closed_run_is_not_open(bench: StoreBench) -> None:
    """A run that ends without a commit makes room for the next."""
    store = bench.open()
    lease = begun(store)
    store.runs.update(lease, "run_1", phase="closed", status="blocked", result={"status": "blocked"})
    assert store.runs.open_run(SYNC) is None
    assert store.runs.get("run_1").finished_at == isoformat(bench.clock.now())
    store.runs.create(lease, "run_2", "sync")


def runs_are_listed_newest_first(bench: StoreBench) -> None:
    """By order of creation, of all syncs or of one, at most so many."""
    store = bench.open()
    for sync, run_id in (("a", "run_1"), ("b", "run_2"), ("a", "run_3")):
        lease = begun(store, run_id, sync)
        store.runs.update(lease, run_id, phase="closed", status="succeeded")
        store.leases.release(lease)
    assert [run.run_id for run in store.runs.newest()] == ["run_3", "run_2", "run_1"]
    assert [run.run_id for run in store.runs.newest("a")] == ["run_3", "run_1"]
    assert [run.run_id for run in store.runs.newest(limit=1)] == ["run_3"]


def a_run_is_found_by_the_beginning_of_its_id(bench: StoreBench) -> None:
    """With or without the prefix, if only one fits; otherwise an error that helps."""
    store = bench.open()
    for sync, run_id in (("a", "run_0aa1"), ("b", "run_0ab2")):
        begun(store, run_id, sync)
    assert store.runs.get("run_0aa").run_id == "run_0aa1"
    assert store.runs.get("0ab").run_id == "run_0ab2"
    with pytest.raises(ConfigError, match="several"):
        store.runs.get("run_0a")
    with pytest.raises(ConfigError) as caught:
        store.runs.get("run_0ab3")
    assert "run_0ab2" in str(caught.value.hint)


# -- the journal


def intended_batches_are_there_for_the_next_process(bench: StoreBench) -> None:
    """What may have been sent is known, though no answer came (c6)."""
    store = bench.open()
    store.journals.open(begun(store), "run_1").intend(intents(300))
    store.close()
    store = bench.open()
    entries = list(store.journals.open(store.leases.acquire(SYNC), "run_1").entries())
    assert entries == [JournalEntry(intent) for intent in intents(300)]


def intending_a_batch_again_changes_nothing(bench: StoreBench) -> None:
    """A resumed run may intend what its dead predecessor had intended."""
    store = bench.open()
    journal = store.journals.open(begun(store), "run_1")
    journal.intend(intents(2))
    journal.settle([(0, Outcomes(DELIVERED))])
    journal.intend(intents(3))
    assert [entry.outcomes for entry in journal.entries()] == [Outcomes(DELIVERED), None, None]


def a_batch_cannot_be_intended_with_another_content(bench: StoreBench) -> None:
    """A batch number means the same records for ever; anything else is a bug."""
    store = bench.open()
    journal = store.journals.open(begun(store), "run_1")
    journal.intend(intents(1))
    with pytest.raises(AssertionError):
        journal.intend([replace(intents(1)[0], size=7)])
    assert next(iter(journal.entries())).intent.size == 100


def outcomes_come_back_as_they_were_stored(bench: StoreBench) -> None:
    """Common outcome, exceptions, identifiers, request id and attribution, with any text in them."""
    store = bench.open()
    journal = store.journals.open(begun(store), "run_1")
    words = 'no such "field" \\ ü 🙂 \u2028 \x00 \ud800'
    found = [
        Outcomes(DELIVERED),
        Outcomes(UNKNOWN, request_id="req-1"),
        Outcomes(DELIVERED, {3: Outcome("rejected", words, "E42"), 99: Outcome("not_applied", code="x")}),
        Outcomes(DELIVERED, identifiers={index: f"id{index}" for index in range(100)}, request_id="r"),
        Outcomes(DELIVERED, identifiers={5: "id5", 70: words}),
        Outcomes(Outcome("rejected", "bad batch"), attributed=False),
        Outcomes(DELIVERED, effects=Effects.all("created")),
        Outcomes(
            DELIVERED, {1: UNKNOWN}, effects=Effects.each(["created", "untold", "updated", "same", "same", "gone"])
        ),
        Outcomes(Outcome("rejected", "bad batch"), attributed=False, effects=Effects.all("updated")),
        Outcomes(Outcome("suppressed", "", "policy"), {0: DELIVERED}),
    ]
    journal.intend(intents(len(found)))
    journal.settle(list(enumerate(found)))
    store.close()
    assert [entry.outcomes for entry in bench.open().journals.entries("run_1")] == found


def a_doubt_counts_an_attempt_and_outlives_the_answer(bench: StoreBench) -> None:
    """A later answer does not undo that an earlier attempt may have been applied (E7)."""
    store = bench.open()
    journal = store.journals.open(begun(store), "run_1")
    journal.intend(intents(2))
    journal.doubt([1], 30)
    journal.settle([(1, Outcomes(Outcome("rejected", "no")))])
    first, second = journal.entries()
    assert (first.attempts, first.doubtful) == (1, False)
    assert (second.attempts, second.doubtful) == (2, True)


def a_doubt_holds_the_sync_for_its_time(bench: StoreBench) -> None:
    """Nothing newer is sent before a lost request can no longer be applied (E10)."""
    store = bench.open()
    journal = store.journals.open(begun(store), "run_1")
    journal.intend(intents(1))
    assert store.journals.hold(SYNC) is None
    journal.doubt([0], 30)
    bench.clock.advance(10)
    hold = bench.open().journals.hold(SYNC)
    assert hold is not None
    assert hold.seconds_left == pytest.approx(20)
    assert hold.runs == ("run_1",)
    journal.doubt([0], 5)
    still = store.journals.hold(SYNC)
    assert still is not None
    assert still.seconds_left == pytest.approx(20)
    bench.clock.advance(21)
    assert store.journals.hold(SYNC) is None


def an_answer_to_a_batch_that_was_never_intended_is_refused(bench: StoreBench) -> None:
    """And none of its group is stored."""
    store = bench.open()
    journal = store.journals.open(begun(store), "run_1")
    journal.intend(intents(1))
    with pytest.raises(CorruptedError):
        journal.settle([(0, Outcomes(DELIVERED)), (8, Outcomes(DELIVERED))])
    assert [entry.outcomes for entry in journal.entries()] == [None]

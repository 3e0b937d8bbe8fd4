"""The contract of a store as checks, to be run over every implementation:

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    def test_a_store_keeps_its_contract(check, tmp_path):
        check(StoreBench(lambda clock: MyStore.open(tmp_path, clock)))

Each check gets a bench with an empty store. What is not here: what only one implementation has (its files,
its way of being damaged).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_128_hexdigest

from levada.clock import isoformat
from levada.errors import BusyError, ConfigError, CorruptedError, FencedError, StoreError
from levada.outcome import DELIVERED, UNKNOWN, Outcome, Outcomes
from levada.plan import PlanFile
from levada.planner import Ledger, Segment
from levada.store import LEASE_SECONDS, Approval, AuditEntry, Intent, JournalEntry, Lease, Store
from levada.testing.clock import FakeClock

SYNC = "customers_to_crm"


@dataclass
class StoreBench:
    """`opener(clock)` opens the same store again and again, each time as another process would."""

    opener: Callable[[FakeClock], Store]
    clock: FakeClock = field(default_factory=FakeClock)
    _opened: list[Store] = field(default_factory=list)

    def open(self) -> Store:
        store = self.opener(self.clock)
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()


Check = Callable[[StoreBench], None]


def name_of(check: Check) -> str:
    return check.__name__


def begun(store: Store, run_id: str = "run_1", sync: str = SYNC) -> Lease:
    """A run that delivers, under a new lease."""
    lease = store.acquire(sync)
    store.create_run(lease, run_id, "sync")
    store.update_run(lease, run_id, phase="delivering", plan_id=f"{sync}@abc", folder=run_id)
    return lease


def intents(count: int, first: int = 0) -> list[Intent]:
    return [Intent(number, "added", number * 100, 100, f"key-{number}") for number in range(first, first + count)]


def with_segment(store: Store, ledger: Ledger, name: str, content: bytes = b"rows of a segment") -> Ledger:
    """The next generation of a ledger: one more segment, whose file is there."""
    (store.ledger_folder(ledger.sync) / name).write_bytes(content)
    file = PlanFile(name, 3, len(content), xxh3_128_hexdigest(content))
    segment = Segment(file, "upsert", "mapping", "hash")
    return replace(
        ledger,
        generation=ledger.generation + 1,
        segments=(*ledger.segments, segment),
        rows=ledger.rows + 3,
        nulls={"email": 0.25},
        keys=("customer_id",),
    )


def committed(store: Store, lease: Lease, run_id: str, ledger: Ledger) -> None:
    store.commit(lease, run_id, ledger, status="succeeded", result={"status": "succeeded"})


# -- leases


def a_second_process_is_told_which_run_holds_the_sync(bench: StoreBench) -> None:
    """Two processes on one sync: one runs, the other says so."""
    begun(bench.open(), "run_7")
    with pytest.raises(BusyError) as caught:
        bench.open().acquire(SYNC)
    assert caught.value.run_id == "run_7"


def syncs_do_not_wait_for_each_other(bench: StoreBench) -> None:
    """A lease is for one sync."""
    one, other = bench.open(), bench.open()
    assert one.acquire("one").epoch != other.acquire("other").epoch


def a_released_lease_is_free_with_a_higher_epoch(bench: StoreBench) -> None:
    """Epochs only rise, whoever gets them."""
    one, other = bench.open(), bench.open()
    first = one.acquire(SYNC)
    one.release(first)
    assert other.acquire(SYNC).epoch > first.epoch


def a_dead_owner_is_succeeded_at_once(bench: StoreBench) -> None:
    """A crash needs no waiting and no operator, and the open run is found."""
    dead = bench.open()
    begun(dead, "run_7")
    dead.close()
    store = bench.open()
    store.acquire(SYNC)
    found = store.open_run(SYNC)
    assert found is not None
    assert found.run_id == "run_7"


def a_silent_owner_is_given_up_after_the_lease_time(bench: StoreBench) -> None:
    """A stopped process loses its lease, not earlier than promised."""
    stopped, other = bench.open(), bench.open()
    stopped.acquire(SYNC)
    bench.clock.advance(LEASE_SECONDS)
    with pytest.raises(BusyError):
        other.acquire(SYNC)
    bench.clock.advance(1)
    assert other.acquire(SYNC).epoch == 2


def a_heartbeat_keeps_the_lease(bench: StoreBench) -> None:
    """Whoever renews is not given up, however long the run."""
    owner, other = bench.open(), bench.open()
    lease = owner.acquire(SYNC)
    for _ in range(3):
        bench.clock.advance(LEASE_SECONDS - 1)
        owner.renew(lease)
    with pytest.raises(BusyError):
        other.acquire(SYNC)


def an_overtaken_process_cannot_write(bench: StoreBench) -> None:
    """Every write compares the epoch, and a refused one leaves nothing behind (G7)."""
    stale, other = bench.open(), bench.open()
    old = begun(stale)
    journal = stale.journal(old, "run_1")
    journal.intend(intents(1))
    bench.clock.advance(LEASE_SECONDS + 1)
    other.acquire(SYNC)
    ledger = with_segment(stale, stale.ledger(SYNC), "one.parquet")
    writes: Sequence[Callable[[], Any]] = (
        lambda: stale.renew(old),
        lambda: stale.release(old),
        lambda: stale.create_run(old, "run_2", "sync"),
        lambda: stale.update_run(old, "run_1", phase="settling"),
        lambda: stale.journal(old, "run_1"),
        lambda: journal.intend(intents(1, 5)),
        lambda: journal.doubt([0], 10),
        lambda: journal.settle([(0, Outcomes(DELIVERED))]),
        lambda: committed(stale, old, "run_1", ledger),
        lambda: stale.distrust(old, ledger),
        lambda: stale.rebuild(old, SYNC),
    )
    for write in writes:
        with pytest.raises(FencedError):
            write()
    assert list(other.journal_entries("run_1")) == [JournalEntry(intents(1)[0])]
    assert other.run("run_1").phase == "delivering"
    assert other.ledger(SYNC).generation == 0
    assert other.hold(SYNC) is None


def a_released_lease_writes_no_more(bench: StoreBench) -> None:
    """Giving a lease back ends the right to write, even if nobody took it since."""
    store = bench.open()
    lease = store.acquire(SYNC)
    store.release(lease)
    with pytest.raises(FencedError):
        store.create_run(lease, "run_1", "sync")


# -- runs


def a_sync_has_at_most_one_open_run(bench: StoreBench) -> None:
    """Resume before plan (E11)."""
    store = bench.open()
    lease = begun(store)
    with pytest.raises(StoreError) as caught:
        store.create_run(lease, "run_2", "sync")
    assert caught.value.code == "store.run_open"
    assert [run.run_id for run in store.runs()] == ["run_1"]


def a_run_that_ended_while_reading_is_closed_as_failed(bench: StoreBench) -> None:
    """Nothing was sent: it is not resumed, and does not stand in the way."""
    dead = bench.open()
    dead.create_run(dead.acquire(SYNC), "run_1", "sync")
    dead.close()
    store = bench.open()
    lease = store.acquire(SYNC)
    assert store.open_run(SYNC) is None
    store.create_run(lease, "run_2", "sync")
    old = store.run("run_1")
    assert (old.phase, old.status) == ("closed", "failed")


def a_run_comes_back_as_it_was_stored(bench: StoreBench) -> None:
    """Phase, status, plan, folder and result survive the process."""
    store = bench.open()
    lease = begun(store)
    store.update_run(lease, "run_1", phase="paused", status="paused", result={"status": "paused", "requests": 3})
    store.close()
    found = bench.open().open_run(SYNC)
    assert found is not None
    assert (found.phase, found.status, found.plan_id, found.folder) == ("paused", "paused", f"{SYNC}@abc", "run_1")
    assert found.result == {"status": "paused", "requests": 3}
    assert found.created_at == isoformat(bench.clock.now())
    assert found.finished_at == ""


def a_closed_run_is_not_open(bench: StoreBench) -> None:
    """A run that ends without a commit makes room for the next."""
    store = bench.open()
    lease = begun(store)
    store.update_run(lease, "run_1", phase="closed", status="blocked", result={"status": "blocked"})
    assert store.open_run(SYNC) is None
    assert store.run("run_1").finished_at == isoformat(bench.clock.now())
    store.create_run(lease, "run_2", "sync")


def runs_are_listed_newest_first(bench: StoreBench) -> None:
    """By order of creation, of all syncs or of one, at most so many."""
    store = bench.open()
    for sync, run_id in (("a", "run_1"), ("b", "run_2"), ("a", "run_3")):
        lease = begun(store, run_id, sync)
        store.update_run(lease, run_id, phase="closed", status="succeeded")
        store.release(lease)
    assert [run.run_id for run in store.runs()] == ["run_3", "run_2", "run_1"]
    assert [run.run_id for run in store.runs("a")] == ["run_3", "run_1"]
    assert [run.run_id for run in store.runs(limit=1)] == ["run_3"]


def a_run_is_found_by_the_beginning_of_its_id(bench: StoreBench) -> None:
    """With or without the prefix, if only one fits; otherwise an error that helps."""
    store = bench.open()
    for sync, run_id in (("a", "run_0aa1"), ("b", "run_0ab2")):
        begun(store, run_id, sync)
    assert store.run("run_0aa").run_id == "run_0aa1"
    assert store.run("0ab").run_id == "run_0ab2"
    with pytest.raises(ConfigError, match="several"):
        store.run("run_0a")
    with pytest.raises(ConfigError) as caught:
        store.run("run_0ab3")
    assert "run_0ab2" in str(caught.value.hint)


# -- the journal


def intended_batches_are_there_for_the_next_process(bench: StoreBench) -> None:
    """What may have been sent is known, though no answer came (c6)."""
    store = bench.open()
    store.journal(begun(store), "run_1").intend(intents(300))
    store.close()
    store = bench.open()
    entries = list(store.journal(store.acquire(SYNC), "run_1").entries())
    assert entries == [JournalEntry(intent) for intent in intents(300)]


def intending_a_batch_again_changes_nothing(bench: StoreBench) -> None:
    """A resumed run may intend what its dead predecessor had intended."""
    store = bench.open()
    journal = store.journal(begun(store), "run_1")
    journal.intend(intents(2))
    journal.settle([(0, Outcomes(DELIVERED))])
    journal.intend(intents(3))
    assert [entry.outcomes for entry in journal.entries()] == [Outcomes(DELIVERED), None, None]


def a_batch_cannot_be_intended_with_another_content(bench: StoreBench) -> None:
    """A batch number means the same records for ever; anything else is a bug."""
    store = bench.open()
    journal = store.journal(begun(store), "run_1")
    journal.intend(intents(1))
    with pytest.raises(AssertionError):
        journal.intend([replace(intents(1)[0], size=7)])
    assert next(iter(journal.entries())).intent.size == 100


def outcomes_come_back_as_they_were_stored(bench: StoreBench) -> None:
    """Common outcome, exceptions, identifiers, request id and attribution, with any text in them."""
    store = bench.open()
    journal = store.journal(begun(store), "run_1")
    words = 'no such "field" \\ ü 🙂 \u2028 \x00 \ud800'
    found = [
        Outcomes(DELIVERED),
        Outcomes(UNKNOWN, request_id="req-1"),
        Outcomes(DELIVERED, {3: Outcome("rejected", words, "E42"), 99: Outcome("not_applied", code="x")}),
        Outcomes(DELIVERED, identifiers={index: f"id{index}" for index in range(100)}, request_id="r"),
        Outcomes(DELIVERED, identifiers={5: "id5", 70: words}),
        Outcomes(Outcome("rejected", "bad batch"), attributed=False),
        Outcomes(Outcome("suppressed", "", "policy"), {0: DELIVERED}),
    ]
    journal.intend(intents(len(found)))
    journal.settle(list(enumerate(found)))
    store.close()
    assert [entry.outcomes for entry in bench.open().journal_entries("run_1")] == found


def a_doubt_counts_an_attempt_and_outlives_the_answer(bench: StoreBench) -> None:
    """A later answer does not undo that an earlier attempt may have been applied (E7)."""
    store = bench.open()
    journal = store.journal(begun(store), "run_1")
    journal.intend(intents(2))
    journal.doubt([1], 30)
    journal.settle([(1, Outcomes(Outcome("rejected", "no")))])
    first, second = journal.entries()
    assert (first.attempts, first.doubtful) == (1, False)
    assert (second.attempts, second.doubtful) == (2, True)


def a_doubt_holds_the_sync_for_its_time(bench: StoreBench) -> None:
    """Nothing newer is sent before a lost request can no longer be applied (E10)."""
    store = bench.open()
    journal = store.journal(begun(store), "run_1")
    journal.intend(intents(1))
    assert store.hold(SYNC) is None
    journal.doubt([0], 30)
    bench.clock.advance(10)
    hold = bench.open().hold(SYNC)
    assert hold is not None
    assert hold.seconds_left == pytest.approx(20)
    journal.doubt([0], 5)
    still = store.hold(SYNC)
    assert still is not None
    assert still.seconds_left == pytest.approx(20)
    bench.clock.advance(21)
    assert store.hold(SYNC) is None


def an_answer_to_a_batch_that_was_never_intended_is_refused(bench: StoreBench) -> None:
    """And none of its group is stored."""
    store = bench.open()
    journal = store.journal(begun(store), "run_1")
    journal.intend(intents(1))
    with pytest.raises(CorruptedError):
        journal.settle([(0, Outcomes(DELIVERED)), (8, Outcomes(DELIVERED))])
    assert [entry.outcomes for entry in journal.entries()] == [None]


# -- ledgers


def a_sync_without_commits_has_an_empty_ledger(bench: StoreBench) -> None:
    """Generation 0: nothing was ever confirmed."""
    store = bench.open()
    ledger = store.ledger(SYNC)
    assert (ledger.exists, ledger.segments, ledger.rows) == (False, (), 0)
    assert ledger.folder == store.ledger_folder(SYNC)
    assert ledger.folder.is_dir()


def a_commit_swaps_the_ledger_and_closes_the_run(bench: StoreBench) -> None:
    """Both or none (c11)."""
    store = bench.open()
    lease = begun(store)
    ledger = with_segment(store, store.ledger(SYNC), "one.parquet")
    committed(store, lease, "run_1", ledger)
    store.close()
    store = bench.open()
    assert store.ledger(SYNC) == ledger
    assert store.open_run(SYNC) is None
    run = store.run("run_1")
    assert (run.phase, run.status, run.result) == ("closed", "succeeded", {"status": "succeeded"})


def a_commit_deletes_segments_that_nothing_refers_to(bench: StoreBench) -> None:
    """The old files go only after the new pointer is durable; other syncs' files stay."""
    store = bench.open()
    lease = begun(store)
    first = with_segment(store, store.ledger(SYNC), "one.parquet")
    committed(store, lease, "run_1", first)
    other = store.ledger_folder("other") / "one.parquet"
    other.write_bytes(b"theirs")
    store.create_run(lease, "run_2", "sync")
    second = with_segment(store, replace(first, segments=()), "two.parquet")
    committed(store, lease, "run_2", second)
    assert [path.name for path in second.folder.iterdir()] == ["two.parquet"]
    assert other.exists()


def a_missing_segment_is_named_with_the_way_out(bench: StoreBench) -> None:
    """A ledger without its file is never taken for an empty one (6.27)."""
    store = bench.open()
    committed(store, begun(store), "run_1", with_segment(store, store.ledger(SYNC), "one.parquet"))
    (store.ledger_folder(SYNC) / "one.parquet").unlink()
    with pytest.raises(CorruptedError) as caught:
        store.ledger(SYNC)
    assert "one.parquet" in caught.value.message
    assert f"levada resync {SYNC} --rebuild" in str(caught.value.hint)


def a_truncated_segment_is_named(bench: StoreBench) -> None:
    """The size is compared at every look; the content by the planner and by `verify`."""
    store = bench.open()
    committed(store, begun(store), "run_1", with_segment(store, store.ledger(SYNC), "one.parquet"))
    (store.ledger_folder(SYNC) / "one.parquet").write_bytes(b"row")
    with pytest.raises(CorruptedError, match=r"one\.parquet"):
        store.ledger(SYNC)


def a_commit_without_its_files_is_refused(bench: StoreBench) -> None:
    """The pointer never leads to a file that is not there."""
    store = bench.open()
    lease = begun(store)
    ledger = with_segment(store, store.ledger(SYNC), "one.parquet")
    (ledger.folder / "one.parquet").unlink()
    with pytest.raises(CorruptedError):
        committed(store, lease, "run_1", ledger)
    assert store.ledger(SYNC).generation == 0
    assert store.open_run(SYNC) is not None


def a_ledger_never_goes_back(bench: StoreBench) -> None:
    """Another content needs a higher generation."""
    store = bench.open()
    lease = begun(store)
    ledger = with_segment(store, store.ledger(SYNC), "one.parquet")
    committed(store, lease, "run_1", ledger)
    store.create_run(lease, "run_2", "sync")
    for wrong in (replace(ledger, rows=1), replace(ledger, generation=0)):
        with pytest.raises(StoreError, match="generation"):
            committed(store, lease, "run_2", wrong)
    committed(store, lease, "run_2", ledger)


def a_distrusted_ledger_keeps_its_keys(bench: StoreBench) -> None:
    """A resync loses no pending removals."""
    store = bench.open()
    lease = begun(store)
    ledger = with_segment(store, store.ledger(SYNC), "one.parquet")
    committed(store, lease, "run_1", ledger)
    store.distrust(lease, ledger)
    assert store.ledger(SYNC) == replace(ledger, distrusted=True)


def a_rebuilt_ledger_holds_nothing_and_closes_the_open_run(bench: StoreBench) -> None:
    """The way out of a lost segment works without reading it."""
    store = bench.open()
    lease = begun(store)
    committed(store, lease, "run_1", with_segment(store, store.ledger(SYNC), "one.parquet"))
    store.create_run(lease, "run_2", "sync")
    store.update_run(lease, "run_2", phase="delivering")
    (store.ledger_folder(SYNC) / "one.parquet").unlink()
    rebuilt = store.rebuild(lease, SYNC)
    assert (rebuilt.generation, rebuilt.segments) == (2, ())
    assert store.ledger(SYNC) == rebuilt
    assert store.run("run_2").status == "cancelled"
    assert store.open_run(SYNC) is None


def an_accepted_rollback_trusts_no_ledger(bench: StoreBench) -> None:
    """Every ledger is distrusted, open runs are closed, epochs go on rising."""
    store = bench.open()
    lease = begun(store)
    committed(store, lease, "run_1", with_segment(store, store.ledger(SYNC), "one.parquet"))
    store.create_run(lease, "run_2", "sync")
    store.update_run(lease, "run_2", phase="planned")
    with pytest.raises(BusyError):
        store.accept_rollback("me")
    store.release(lease)
    done = store.accept_rollback("me")
    assert any(SYNC in sentence for sentence in done)
    assert store.ledger(SYNC).distrusted
    assert store.run("run_2").status == "cancelled"
    assert store.acquire(SYNC).epoch > lease.epoch
    assert store.verify() == []


def names_of_syncs_stay_inside_the_folder(bench: StoreBench) -> None:
    """A name is a name, not a path."""
    store = bench.open()
    home = store.ledger_folder("plain").parent
    found = {store.ledger_folder(name) for name in ("..", ".", "../x", "a/b", ".hidden", "ü ü")}
    assert len(found) == 6
    assert {folder.resolve().parent for folder in found} == {home.resolve()}


# -- facts


def an_approval_comes_back_expired_or_not(bench: StoreBench) -> None:
    """The caller judges; the store keeps."""
    store = bench.open()
    approval = Approval(f"{SYNC}@abc", SYNC, "ana", "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z")
    assert store.approval(approval.plan_id) is None
    store.approve(approval)
    store.approve(replace(approval, approved_by="bo"))
    assert bench.open().approval(approval.plan_id) == replace(approval, approved_by="bo")


def a_remembered_fact_is_recalled_until_forgotten(bench: StoreBench) -> None:
    """By sync and name."""
    store = bench.open()
    store.remember(SYNC, "cursor", "1")
    store.remember(SYNC, "cursor", "2")
    store.remember("other", "cursor", "3")
    assert bench.open().recall(SYNC, "cursor") == "2"
    store.remember(SYNC, "cursor", None)
    assert store.recall(SYNC, "cursor") is None
    assert store.recall("other", "cursor") == "3"


def a_quota_is_one_sum_for_all_processes(bench: StoreBench) -> None:
    """Per account and day."""
    one, other = bench.open(), bench.open()
    assert one.use_quota("crm", "2026-03-01", 10) == 10
    assert other.use_quota("crm", "2026-03-01", 5) == 15
    assert one.use_quota("crm", "2026-03-02", 1) == 1
    assert one.use_quota("ads", "2026-03-01", 0) == 0


def sending_times_of_all_processes_are_evenly_spaced(bench: StoreBench) -> None:
    """No two processes send more together than the account allows."""
    one, other = bench.open(), bench.open()
    waits = [store.reserve("crm", 1_000.0, 0.5, 2) for store in (one, other, one)]
    assert waits == [0.0, 1.0, 2.0]
    assert other.reserve("ads", 1_000.0, 0.5, 1) == 0.0
    assert one.reserve("crm", 1_010.0, 0.5, 1) == 0.0


def a_restarted_clock_starts_sending_times_afresh(bench: StoreBench) -> None:
    """A reboot must not stop sending for as long as the machine had been up."""
    store = bench.open()
    assert store.reserve("crm", 90_000.0, 1.0, 5) == 0.0
    assert store.reserve("crm", 5.0, 1.0, 1) == 0.0


def a_secret_comes_back_until_it_is_deleted(bench: StoreBench) -> None:
    """Set, replaced, listed by name, deleted."""
    store = bench.open()
    assert store.secret("TOKEN") is None
    store.set_secret("TOKEN", "first")
    store.set_secret("TOKEN", "ünïcode \n second")
    store.set_secret("A", "")
    assert bench.open().secret("TOKEN") == "ünïcode \n second"
    assert store.secret("A") == ""
    assert list(store.secret_names()) == ["A", "TOKEN"]
    assert store.delete_secret("TOKEN")
    assert not store.delete_secret("TOKEN")
    assert store.secret("TOKEN") is None


def the_audit_log_is_read_newest_first(bench: StoreBench) -> None:
    """With whatever detail was noted."""
    store = bench.open()
    for number in range(5):
        store.note(AuditEntry("2026-03-01T00:00:00.000Z", "ana", "approve", f"plan {number}", {"number": number}))
    entries = bench.open().audit(limit=2)
    assert [entry.subject for entry in entries] == ["plan 4", "plan 3"]
    assert entries[0].detail == {"number": 4}


# -- upkeep


def a_sweep_takes_the_details_of_old_closed_runs_only(bench: StoreBench) -> None:
    """Open runs and plans that wait for an approval keep theirs, and every run stays listed."""
    store = bench.open()
    for sync, run_id, status in (
        ("old", "run_1", "succeeded"),
        ("blocked", "run_2", "blocked"),
        ("paused", "run_3", "paused"),
    ):
        lease = begun(store, run_id, sync)
        store.journal(lease, run_id).intend(intents(2))
        plan = store.folder / "plans" / run_id
        plan.mkdir(parents=True)
        (plan / "added.parquet").write_bytes(b"rows")
        phase: Any = "paused" if status == "paused" else "closed"
        store.update_run(lease, run_id, phase=phase, status=status)  # type: ignore[arg-type]
        store.release(lease)
    bench.clock.advance(3600)
    assert store.sweep(plans_older_than=bench.clock.now()) == 1
    assert _details(store) == {"run_1": (0, False), "run_2": (2, True), "run_3": (2, True)}
    assert store.run("run_1").folder == ""
    bench.clock.advance(24 * 3600)
    assert store.sweep(plans_older_than=bench.clock.now() - timedelta(minutes=1)) == 1
    assert _details(store) == {"run_1": (0, False), "run_2": (0, False), "run_3": (2, True)}
    assert store.verify() == []


def a_sound_store_verifies(bench: StoreBench) -> None:
    """Nothing is said when all is as written."""
    store = bench.open()
    lease = begun(store)
    journal = store.journal(lease, "run_1")
    journal.intend(intents(3))
    journal.doubt([2], 10)
    journal.settle([(0, Outcomes(DELIVERED))])
    committed(store, lease, "run_1", with_segment(store, store.ledger(SYNC), "one.parquet"))
    store.set_secret("TOKEN", "value")
    store.note(AuditEntry("2026-03-01T00:00:00.000Z", "ana", "approve", "plan"))
    assert store.verify() == []


def a_changed_segment_is_found_by_verify(bench: StoreBench) -> None:
    """One flipped bit is enough."""
    store = bench.open()
    committed(store, begun(store), "run_1", with_segment(store, store.ledger(SYNC), "one.parquet"))
    path = store.ledger_folder(SYNC) / "one.parquet"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    assert any("one.parquet" in sentence for sentence in store.verify())


def _details(store: Store) -> dict[str, tuple[int, bool]]:
    """Per run: how many batches its journal has, and whether its plan is there."""
    plans: Path = store.folder / "plans"
    return {
        run.run_id: (len(list(store.journal_entries(run.run_id))), (plans / run.run_id).exists())
        for run in store.runs()
    }


CHECKS: tuple[Check, ...] = tuple(
    value
    for name, value in list(globals().items())
    if callable(value)
    and getattr(value, "__module__", "") == __name__
    and list(getattr(value, "__annotations__", {})) == ["bench", "return"]
)

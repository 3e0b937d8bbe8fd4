"""The contract of a store, second half: ledgers, facts, upkeep. To be run by way of `contracts.stores`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
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
from levada.errors import BusyError, CorruptedError, StoreError
from levada.outcome import DELIVERED, Outcomes
from levada.store import Approval, AuditEntry, Fact, Store

# -- ledgers


def a_sync_without_commits_has_an_empty_ledger(bench: StoreBench) -> None:
    """Generation 0: nothing was ever confirmed."""
    store = bench.open()
    ledger = store.ledgers.get(SYNC)
    assert (ledger.exists, ledger.segments, ledger.rows) == (False, (), 0)
    assert ledger.folder == store.snapshots.ledger(SYNC)
    assert ledger.folder.is_dir()


def a_commit_swaps_the_ledger_and_closes_the_run(bench: StoreBench) -> None:
    """Both or none (c11)."""
    store = bench.open()
    lease = begun(store)
    ledger = with_segment(store, store.ledgers.get(SYNC), "one.parquet")
    committed(store, lease, "run_1", ledger)
    store.close()
    store = bench.open()
    assert store.ledgers.get(SYNC) == ledger
    assert store.runs.open_run(SYNC) is None
    run = store.runs.get("run_1")
    assert (run.phase, run.status, run.result) == ("closed", "succeeded", {"status": "succeeded"})


def a_commit_deletes_segments_that_nothing_refers_to(bench: StoreBench) -> None:
    """The old files go only after the new pointer is durable; other syncs' files stay."""
    store = bench.open()
    lease = begun(store)
    first = with_segment(store, store.ledgers.get(SYNC), "one.parquet")
    committed(store, lease, "run_1", first)
    other = store.snapshots.ledger("other") / "one.parquet"
    other.write_bytes(b"theirs")
    store.runs.create(lease, "run_2", "sync")
    second = with_segment(store, replace(first, segments=()), "two.parquet")
    committed(store, lease, "run_2", second)
    assert [path.name for path in second.folder.iterdir()] == ["two.parquet"]
    assert other.exists()


def a_run_that_begins_deletes_what_a_crash_left_beside_the_ledger(bench: StoreBench) -> None:
    """Half a segment, one that was never committed, one that was replaced: gone, though nothing may be committed for
    long. What belongs to the ledger, to another sync or to a run that is open stays."""
    store = bench.open()
    lease = begun(store)
    ledger = with_segment(store, store.ledgers.get(SYNC), "one.parquet")
    committed(store, lease, "run_1", ledger)
    other = store.snapshots.ledger("other") / "theirs.parquet.partial"
    other.write_bytes(b"theirs")
    for name in ("old.parquet", "two.parquet", "two.parquet.partial"):
        (ledger.folder / name).write_bytes(b"rows")
    store.runs.create(lease, "run_2", "sync")
    assert [path.name for path in ledger.folder.iterdir()] == ["one.parquet"]
    assert other.exists()
    store.runs.update(lease, "run_2", phase="settling")
    (ledger.folder / "two.parquet").write_bytes(b"rows")
    with pytest.raises(StoreError, match="still open"):
        store.runs.create(lease, "run_3", "sync")
    assert (ledger.folder / "two.parquet").exists()


def a_run_that_begins_deletes_nothing_beside_a_damaged_ledger(bench: StoreBench) -> None:
    """Somebody may want to put things right by hand."""
    store = bench.open()
    lease = begun(store)
    committed(store, lease, "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    folder = store.snapshots.ledger(SYNC)
    (folder / "one.parquet").rename(folder / "elsewhere.parquet")
    store.runs.create(lease, "run_2", "sync")
    assert [path.name for path in folder.iterdir()] == ["elsewhere.parquet"]


def a_missing_segment_is_named_with_the_way_out(bench: StoreBench) -> None:
    """A ledger without its file is never taken for an empty one (6.27)."""
    store = bench.open()
    committed(store, begun(store), "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    (store.snapshots.ledger(SYNC) / "one.parquet").unlink()
    with pytest.raises(CorruptedError) as caught:
        store.ledgers.get(SYNC)
    assert "one.parquet" in caught.value.message
    assert f"levada resync {SYNC} --rebuild" in str(caught.value.hint)


def a_truncated_segment_is_named(bench: StoreBench) -> None:
    """The size is compared at every look; the content by the planner and by `verify`."""
    store = bench.open()
    committed(store, begun(store), "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    (store.snapshots.ledger(SYNC) / "one.parquet").write_bytes(b"row")
    with pytest.raises(CorruptedError, match=r"one\.parquet"):
        store.ledgers.get(SYNC)


def a_commit_without_its_files_is_refused(bench: StoreBench) -> None:
    """The pointer never leads to a file that is not there."""
    store = bench.open()
    lease = begun(store)
    ledger = with_segment(store, store.ledgers.get(SYNC), "one.parquet")
    (ledger.folder / "one.parquet").unlink()
    with pytest.raises(CorruptedError):
        committed(store, lease, "run_1", ledger)
    assert store.ledgers.get(SYNC).generation == 0
    assert store.runs.open_run(SYNC) is not None


def a_ledger_never_goes_back(bench: StoreBench) -> None:
    """Another content needs a higher generation."""
    store = bench.open()
    lease = begun(store)
    ledger = with_segment(store, store.ledgers.get(SYNC), "one.parquet")
    committed(store, lease, "run_1", ledger)
    store.runs.create(lease, "run_2", "sync")
    for wrong in (replace(ledger, rows=1), replace(ledger, generation=0)):
        with pytest.raises(StoreError, match="generation"):
            committed(store, lease, "run_2", wrong)
    committed(store, lease, "run_2", ledger)


def a_distrusted_ledger_keeps_its_keys(bench: StoreBench) -> None:
    """A resync loses no pending removals."""
    store = bench.open()
    lease = begun(store)
    ledger = with_segment(store, store.ledgers.get(SYNC), "one.parquet")
    committed(store, lease, "run_1", ledger)
    store.ledgers.distrust(lease, ledger)
    assert store.ledgers.get(SYNC) == replace(ledger, distrusted=True)


def a_rebuilt_ledger_holds_nothing_and_closes_the_open_run(bench: StoreBench) -> None:
    """The way out of a lost segment works without reading it."""
    store = bench.open()
    lease = begun(store)
    committed(store, lease, "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    store.runs.create(lease, "run_2", "sync")
    store.runs.update(lease, "run_2", phase="delivering")
    (store.snapshots.ledger(SYNC) / "one.parquet").unlink()
    rebuilt = store.ledgers.rebuild(lease, SYNC)
    assert (rebuilt.generation, rebuilt.segments) == (2, ())
    assert store.ledgers.get(SYNC) == rebuilt
    assert store.runs.get("run_2").status == "cancelled"
    assert store.runs.open_run(SYNC) is None


def an_accepted_rollback_trusts_no_ledger(bench: StoreBench) -> None:
    """Every ledger is distrusted, open runs are closed, epochs go on rising."""
    store = bench.open()
    lease = begun(store)
    committed(store, lease, "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    store.runs.create(lease, "run_2", "sync")
    store.runs.update(lease, "run_2", phase="planned")
    with pytest.raises(BusyError):
        store.upkeep.accept_rollback("me")
    store.leases.release(lease)
    done = store.upkeep.accept_rollback("me")
    assert any(SYNC in sentence for sentence in done)
    assert store.ledgers.get(SYNC).distrusted
    assert store.runs.get("run_2").status == "cancelled"
    assert store.leases.acquire(SYNC).epoch > lease.epoch
    assert store.upkeep.verify() == []


def names_of_syncs_stay_inside_the_folder(bench: StoreBench) -> None:
    """A name is a name, not a path."""
    store = bench.open()
    home = store.snapshots.ledger("plain").parent
    found = {store.snapshots.ledger(name) for name in ("..", ".", "../x", "a/b", ".hidden", "ü ü")}
    assert len(found) == 6
    assert {folder.resolve().parent for folder in found} == {home.resolve()}


# -- facts


def an_approval_comes_back_expired_or_not(bench: StoreBench) -> None:
    """The caller judges; the store keeps."""
    store = bench.open()
    approval = Approval(f"{SYNC}@abc", SYNC, "ana", "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z")
    assert store.approvals.get(approval.plan_id) is None
    store.approvals.put(approval)
    store.approvals.put(replace(approval, approved_by="bo"))
    assert bench.open().approvals.get(approval.plan_id) == replace(approval, approved_by="bo")


def the_folder_of_a_plan_is_found_by_its_name(bench: StoreBench) -> None:
    """By every process, with what was put into it, until it is deleted; to delete it again is no mistake."""
    store, other = bench.open(), bench.open()
    assert not store.snapshots.plan("run_1").exists()
    assert "run_1" not in store.snapshots.plans()
    folder = store.snapshots.create("run_1")
    (folder / "plan.json").write_bytes(b"{}")
    assert (other.snapshots.plan("run_1") / "plan.json").read_bytes() == b"{}"
    assert (other.snapshots.create("run_1") / "plan.json").exists()
    assert list(other.snapshots.plans()) == ["run_1"]
    other.snapshots.delete("run_1")
    other.snapshots.delete("run_1")
    assert not store.snapshots.plan("run_1").exists()
    assert dict(store.snapshots.plans()) == {}


def nothing_but_a_plan_is_deleted_as_one(bench: StoreBench) -> None:
    """Neither all of them, nor what a name leads to outside of them, nor what a link leads to."""
    store = bench.open()
    kept = store.snapshots.create("run_1")
    segments = store.snapshots.ledger(SYNC)
    (kept.parent / "link").symlink_to(segments)
    for name in ("", ".", "..", f"../{segments.parent.name}", "link"):
        store.snapshots.delete(name)
    assert kept.is_dir()
    assert segments.is_dir()


def a_remembered_fact_is_recalled_until_forgotten(bench: StoreBench) -> None:
    """By sync and name."""
    store = bench.open()
    lease = store.leases.acquire(SYNC)
    store.memory.remember(lease, "cursor", "1")
    store.memory.remember(lease, "cursor", "2")
    store.memory.remember(store.leases.acquire("other"), "cursor", "3")
    assert bench.open().memory.recall(SYNC, "cursor") == "2"
    store.memory.remember(lease, "cursor", None)
    assert store.memory.recall(SYNC, "cursor") is None
    assert store.memory.recall("other", "cursor") == "3"


def what_no_run_makes_is_noted_without_its_lease(bench: StoreBench) -> None:
    """A start that came to no run, while another process runs the sync; any other fact is refused."""
    store, other = bench.open(), bench.open()
    store.leases.acquire(SYNC)
    other.memory.note(SYNC, "attempt", "a file was wrong")
    assert store.memory.recall(SYNC, "attempt") == "a file was wrong"
    other.memory.note(SYNC, "attempt", None)
    assert store.memory.recall(SYNC, "attempt") is None
    with pytest.raises(AssertionError):
        other.memory.note(SYNC, "undone", "run_1")


def accepting_a_rollback_remembers_what_it_is_told_of_syncs(bench: StoreBench) -> None:
    """With the acceptance, of which no process holds a lease meanwhile."""
    store = bench.open()
    store.upkeep.accept_rollback("me", [Fact(SYNC, "in_doubt", "yes")])
    assert bench.open().memory.recall(SYNC, "in_doubt") == "yes"


def a_quota_is_one_sum_for_all_processes(bench: StoreBench) -> None:
    """Per account and day."""
    one, other = bench.open(), bench.open()
    assert one.limits.use_quota("crm", "2026-03-01", 10) == 10
    assert other.limits.use_quota("crm", "2026-03-01", 5) == 15
    assert one.limits.use_quota("crm", "2026-03-02", 1) == 1
    assert one.limits.use_quota("ads", "2026-03-01", 0) == 0


def sending_times_of_all_processes_are_evenly_spaced(bench: StoreBench) -> None:
    """No two processes send more together than the account allows."""
    one, other = bench.open(), bench.open()
    waits = [store.limits.reserve("crm", 1_000.0, 0.5, 2) for store in (one, other, one)]
    assert waits == [0.0, 1.0, 2.0]
    assert other.limits.reserve("ads", 1_000.0, 0.5, 1) == 0.0
    assert one.limits.reserve("crm", 1_010.0, 0.5, 1) == 0.0


def a_restarted_clock_starts_sending_times_afresh(bench: StoreBench) -> None:
    """A reboot must not stop sending for as long as the machine had been up."""
    store = bench.open()
    assert store.limits.reserve("crm", 90_000.0, 1.0, 5) == 0.0
    assert store.limits.reserve("crm", 5.0, 1.0, 1) == 0.0


def a_secret_comes_back_until_it_is_deleted(bench: StoreBench) -> None:
    """Set, replaced, listed by name, deleted."""
    store = bench.open()
    assert store.vault.get("TOKEN") is None
    store.vault.set("TOKEN", "first")
    store.vault.set("TOKEN", "ünïcode \n second")
    store.vault.set("A", "")
    assert bench.open().vault.get("TOKEN") == "ünïcode \n second"
    assert store.vault.get("A") == ""
    assert list(store.vault.names()) == ["A", "TOKEN"]
    assert store.vault.delete("TOKEN")
    assert not store.vault.delete("TOKEN")
    assert store.vault.get("TOKEN") is None


def the_audit_log_is_read_newest_first(bench: StoreBench) -> None:
    """With whatever detail was noted."""
    store = bench.open()
    for number in range(5):
        store.audit.note(AuditEntry("2026-03-01T00:00:00.000Z", "ana", "approve", f"plan {number}", {"number": number}))
    entries = bench.open().audit.newest(limit=2)
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
        store.journals.open(lease, run_id).intend(intents(2))
        plan = store.folder / "plans" / run_id
        plan.mkdir(parents=True)
        (plan / "added.parquet").write_bytes(b"rows")
        phase: Any = "paused" if status == "paused" else "closed"
        store.runs.update(lease, run_id, phase=phase, status=status)  # type: ignore[arg-type]
        store.leases.release(lease)
    bench.clock.advance(3600)
    assert store.upkeep.sweep(plans_older_than=bench.clock.now(), keep={"run_1"}) == 0
    assert store.upkeep.sweep(plans_older_than=bench.clock.now()) == 1
    assert _details(store) == {"run_1": (0, False), "run_2": (2, True), "run_3": (2, True)}
    assert store.runs.get("run_1").folder == ""
    bench.clock.advance(24 * 3600)
    assert store.upkeep.sweep(plans_older_than=bench.clock.now() - timedelta(minutes=1)) == 1
    assert _details(store) == {"run_1": (0, False), "run_2": (0, False), "run_3": (2, True)}
    assert store.upkeep.verify() == []


def a_sound_store_verifies(bench: StoreBench) -> None:
    """Nothing is said when all is as written."""
    store = bench.open()
    lease = begun(store)
    journal = store.journals.open(lease, "run_1")
    journal.intend(intents(3))
    journal.doubt([2], 10)
    journal.settle([(0, Outcomes(DELIVERED))])
    committed(store, lease, "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    store.vault.set("TOKEN", "value")
    store.audit.note(AuditEntry("2026-03-01T00:00:00.000Z", "ana", "approve", "plan"))
    assert store.upkeep.verify() == []


def a_changed_segment_is_found_by_verify(bench: StoreBench) -> None:
    """One flipped bit is enough."""
    store = bench.open()
    committed(store, begun(store), "run_1", with_segment(store, store.ledgers.get(SYNC), "one.parquet"))
    path = store.snapshots.ledger(SYNC) / "one.parquet"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    assert any("one.parquet" in sentence for sentence in store.upkeep.verify())


def _details(store: Store) -> dict[str, tuple[int, bool]]:
    """Per run: how many batches its journal has, and whether its plan is there."""
    plans: Path = store.folder / "plans"
    return {
        run.run_id: (len(list(store.journals.entries(run.run_id))), (plans / run.run_id).exists())
        for run in store.runs.newest()
    }

"""What the checks of the store's contract work with: a store opened several times, and small values for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from xxhash import xxh3_128_hexdigest

from levada.plan import PlanFile
from levada.planner import Ledger, Segment
from levada.store import Intent, Lease, Store
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
    lease = store.leases.acquire(sync)
    store.runs.create(lease, run_id, "sync")
    store.runs.update(lease, run_id, phase="delivering", plan_id=f"{sync}@abc", folder=run_id)
    return lease


def intents(count: int, first: int = 0) -> list[Intent]:
    return [Intent(number, "added", number * 100, 100, f"key-{number}") for number in range(first, first + count)]


def with_segment(store: Store, ledger: Ledger, name: str, content: bytes = b"rows of a segment") -> Ledger:
    """The next generation of a ledger: one more segment, whose file is there."""
    (store.snapshots.ledger(ledger.sync) / name).write_bytes(content)
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
    store.ledgers.commit(lease, run_id, ledger, status="succeeded", result={"status": "succeeded"})

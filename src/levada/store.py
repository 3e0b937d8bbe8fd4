"""The contract of a store, in parts: whoever works with one asks for the part that it needs.

Whatever returns has been made durable. Every method that writes for a sync takes its `Lease` and raises
FencedError if another process has taken the sync over since. The order of writes is GUARANTEES' c0 to c12,
which docs/internals/state.md lists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from levada.change import Kind
from levada.outcome import Outcomes
from levada.planner import Ledger
from levada.run import Phase, Status

LEASE_SECONDS = 60.0
"""An owner that gave no sign of life for so long is given up, even if its process still exists."""
HEARTBEAT_SECONDS = 10.0
"""How often whoever holds a lease calls `renew`, from a thread of its own."""
WITHOUT_LEASE = frozenset({"attempt", "swept"})
"""The facts that no run makes: a start of a sync that came to no run, and the day of the last sweep."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for a sync, until another `epoch` is given out."""

    sync: str
    epoch: int
    owner: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as stored. `result` is RunResult.as_dict() once the run has ended or paused."""

    run_id: str
    sync: str
    phase: Phase
    status: Status | None
    created_at: str
    plan_id: str = ""
    epoch: int = 0
    purpose: str = "sync"
    #: the plan's name in `Snapshots`; empty once retention took it
    folder: str = ""
    finished_at: str = ""
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """A batch that may be sent from now on: operations [first, first + size) of the plan.

    A key that expires (class B) has an `@` and the moment from which it may have been sent behind it.
    """

    number: int
    kind: Kind
    first: int
    size: int
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One batch of a run. `outcomes` is None while no answer was stored.

    `doubtful`: at least one attempt may have been applied without an answer. A record of such a batch that is
    rejected later stays unknown in the ledger (E7).
    """

    intent: Intent
    attempts: int = 1
    doubtful: bool = False
    outcomes: Outcomes | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    plan_id: str
    sync: str
    approved_by: str
    approved_at: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class Fact:
    """Something small about a sync that is no part of its ledger."""

    sync: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Hold:
    """After a lost answer: nothing newer may be sent for the records concerned before `seconds_left` have passed.

    `runs`: those whose batches were in doubt, and still may be applied; empty where the store cannot tell.
    """

    seconds_left: float
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    at: str
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class Leases(Protocol):
    """Who may write for a sync."""

    def acquire(self, sync: str) -> Lease:
        """Raises BusyError (with the run) while another living process holds the sync.

        A dead owner on this host is recognised at once; one elsewhere, or stopped, after its lease's time.
        """
        ...

    def holder(self, sync: str) -> str | None:
        """The living process that holds the sync, in words; None if there is none."""
        ...

    def renew(self, lease: Lease) -> None: ...

    def release(self, lease: Lease) -> None: ...


class Runs(Protocol):
    """The runs, of which a sync never has more than one that is open."""

    def create(self, lease: Lease, run_id: str, purpose: str) -> RunRecord:
        """Begin a run, in phase reading, and delete what an earlier process left beside the sync's ledger.

        Raises StoreError `store.run_open` if a run waits to be resumed.
        """
        ...

    def update(
        self,
        lease: Lease,
        run_id: str,
        *,
        phase: Phase,
        status: Status | None = None,
        plan_id: str | None = None,
        folder: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """`status` is taken as given; of the others, None leaves what was there. `closed` closes for good."""
        ...

    def get(self, run_id: str) -> RunRecord:
        """Raises ConfigError naming the nearest run if there is none. Unambiguous prefixes are taken."""
        ...

    def open_run(self, sync: str) -> RunRecord | None:
        """The run of the sync in one of OPEN_PHASES, if any."""
        ...

    def newest(self, sync: str | None = None, limit: int = 50) -> Sequence[RunRecord]:
        """Newest first."""
        ...


class Journal(Protocol):
    """The batches of one open run."""

    def intend(self, intents: Sequence[Intent]) -> None:
        """Batches that may be sent once this has returned; one durable write for all of them."""
        ...

    def doubt(self, numbers: Sequence[int], hold_seconds: float) -> None:
        """An attempt at these batches was lost: one more attempt, doubtful, and the run's doubtful batches may still
        be applied for so long."""
        ...

    def settle(self, outcomes: Sequence[tuple[int, Outcomes]]) -> None:
        """The final outcomes of these batches; one durable write for all of them."""
        ...

    def entries(self) -> Iterable[JournalEntry]:
        """Every batch that was ever intended, by number."""
        ...


class Journals(Protocol):
    """What was sent, batch by batch, and until when what was not answered may still be applied."""

    def open(self, lease: Lease, run_id: str) -> Journal:
        """The journal of a run of the lease's sync that is not closed."""
        ...

    def entries(self, run_id: str) -> Iterable[JournalEntry]:
        """For reading a run's history, without a lease."""
        ...

    def hold(self, sync: str) -> Hold | None: ...


class Ledgers(Protocol):
    """What is confirmed of each sync: a pointer to immutable segment files."""

    def get(self, sync: str) -> Ledger:
        """The committed ledger; an empty one of generation 0 if there is none.

        Verifies the pointer's checksum, the high-water file and that every segment is there: CorruptedError
        names what is wrong and how to rebuild it.
        """
        ...

    def commit(
        self,
        lease: Lease,
        run_id: str,
        ledger: Ledger,
        *,
        status: Status,
        result: Mapping[str, Any],
    ) -> None:
        """Swap the pointer and close the run, in one transaction; then raise the high-water mark and delete
        segment files that nothing refers to."""
        ...

    def distrust(self, lease: Lease, ledger: Ledger) -> None:
        """Commit `ledger` as it is but distrusted (resync): keys stay, every value counts as unknown."""
        ...

    def rebuild(self, lease: Lease, sync: str) -> Ledger:
        """The way out of a corrupted ledger or journal: a ledger of the next generation that holds nothing.

        Reads neither the old ledger's row nor its files. A run of the sync that is open is closed as
        cancelled. Removals that were pending are forgotten with the keys.
        """
        ...


class Snapshots(Protocol):
    """The files of plans and ledgers, each in a folder of this machine while somebody works with it.

    Where a store keeps them elsewhere, it brings a folder's files as the folder is asked for. It takes a plan's over
    when a run names their folder, pauses or is closed (`Runs.update`, `Ledgers.commit`), and a ledger's with its
    pointer (`Ledgers.commit`): whatever has to outlive this machine is there by then.
    """

    def create(self, name: str) -> Path:
        """A folder for the files of a plan, for its owner only. One that is there is taken as it is."""
        ...

    def plan(self, name: str) -> Path:
        """The folder of a plan, with its files; it is not there if retention took it, or nobody has made it yet."""
        ...

    def plans(self) -> Mapping[str, datetime]:
        """The names of all plans' folders, and when anything in each was last added or taken away."""
        ...

    def delete(self, name: str) -> None:
        """Delete a plan's folder with all that is in it, if it is there. Never follows a link out of it."""
        ...

    def ledger(self, sync: str) -> Path:
        """The folder of a sync's segments, with the committed ones; made if missing. No two syncs have the same."""
        ...


class Memory(Protocol):
    """Small facts about syncs, each by its name."""

    def recall(self, sync: str, name: str) -> str | None: ...

    def remember(self, lease: Lease, name: str, value: str | None) -> None:
        """A fact of the lease's sync, in place of an earlier one of the name; None forgets it."""
        ...

    def note(self, sync: str, name: str, value: str | None) -> None:
        """As `remember`, for one of `WITHOUT_LEASE`: it is written while another process may run the sync."""
        ...


class Approvals(Protocol):
    """Which plans a person has approved. No run makes them, so that they need no lease."""

    def put(self, approval: Approval) -> None: ...

    def get(self, plan_id: str) -> Approval | None:
        """The approval of a plan, expired ones included: the caller compares `expires_at`."""
        ...


class Limits(Protocol):
    """What all processes together have used of an account."""

    def use_quota(self, account: str, day: str, requests: int) -> int:
        """Add to what was used of the UTC day, and return the sum."""
        ...

    def reserve(self, account: str, now: float, interval_seconds: float, permits: int) -> float:
        """Take `permits` evenly spaced sending times of an account, shared by all processes of this host.

        `now` is the monotonic clock; returns the seconds to wait before the first one. A clock that
        restarted (reboot) is noticed and starts afresh.
        """
        ...


class Vault(Protocol):
    """Secrets, encrypted at rest."""

    def set(self, name: str, value: str) -> None: ...

    def get(self, name: str) -> str | None: ...

    def names(self) -> Sequence[str]: ...

    def delete(self, name: str) -> bool: ...

    def rotate(self, new_key: str | None = None) -> str:
        """Wrap every secret under a new master key (base64 of 32 bytes; a fresh one if None); returns its id.

        A key file is replaced; a key in the environment must be given, and set there afterwards.
        """
        ...


class Audit(Protocol):
    """Who did what, in a log that is only ever added to."""

    def note(self, entry: AuditEntry) -> None: ...

    def newest(self, limit: int = 100) -> Sequence[AuditEntry]:
        """Newest first."""
        ...


class Moments(Protocol):
    """Moments that outlive a process."""

    def now(self) -> str:
        """This moment, as text that another process can compare with its own; without `@`."""
        ...

    def seconds_since(self, moment: str) -> float:
        """At least so many seconds have passed; infinite where that cannot be told (a reboot, a clock set back)."""
        ...


class Upkeep(Protocol):
    """What concerns the store as a whole."""

    def sweep(self, *, plans_older_than: datetime, keep: Collection[str] = ()) -> int:
        """Delete plans, spools and journal rows past the retention, but for the runs to `keep`; returns how many runs
        lost their details."""
        ...

    def verify(self) -> Sequence[str]:
        """Everything that is not as written, as sentences; empty if all is well. Reads every byte."""
        ...

    def accept_rollback(self, actor: str, facts: Collection[Fact] = ()) -> Sequence[str]:
        """The way out of a store that is older than its high-water mark: go on with it, and trust no ledger.

        Every ledger is distrusted (emptied where its row or files are gone), open runs are closed as cancelled,
        rows that are not as written are set right or dropped, `facts` are remembered, and the mark is raised.
        Returns what was done, as sentences. Raises BusyError while a living process holds a lease.
        """
        ...


class Store(Protocol):
    """All parts of one store. May be used by several threads and processes."""

    @property
    def folder(self) -> Path: ...

    @property
    def identity(self) -> str:
        """Tells this store from every other one; a copy of it has the same."""
        ...

    @property
    def leases(self) -> Leases: ...

    @property
    def runs(self) -> Runs: ...

    @property
    def journals(self) -> Journals: ...

    @property
    def ledgers(self) -> Ledgers: ...

    @property
    def snapshots(self) -> Snapshots: ...

    @property
    def memory(self) -> Memory: ...

    @property
    def approvals(self) -> Approvals: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def moments(self) -> Moments: ...

    @property
    def vault(self) -> Vault: ...

    @property
    def audit(self) -> Audit: ...

    @property
    def upkeep(self) -> Upkeep: ...

    def close(self) -> None: ...

"""The pointer to each sync's ledger: which immutable segment files it consists of.

A commit swaps the pointer and closes the run in one transaction, after the files are durable and before
anything older is deleted. What is not here: reading and writing segments, which is the planner's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from xxhash import xxh3_128

from levada.durable import sync_path
from levada.errors import CorruptedError, StoreError
from levada.plan import PlanFile
from levada.planner import Ledger, Segment
from levada.run import Status
from levada.store import Lease, Snapshots
from levada.stores.checksums import REBUILD_HINT, Row, sealed, sought, verified
from levada.stores.database import Database, translated
from levada.stores.highwater import Meta
from levada.stores.leases import SqliteLeases
from levada.stores.runs import RunRows

_READ_BYTES = 1 << 20
REBUILT = "the sync's ledger was rebuilt; what this run had sent counts as unknown"


class SqliteLedgers:
    """Fulfils `levada.store.Ledgers`; what else it has is for the other parts of this store."""

    def __init__(
        self, database: Database, meta: Meta, leases: SqliteLeases, runs: RunRows, snapshots: Snapshots
    ) -> None:
        self._database = database
        self._meta = meta
        self._leases = leases
        self._runs = runs
        self._snapshots = snapshots

    def get(self, sync: str) -> Ledger:
        """See `Ledgers.get`."""
        self._meta.compare()
        with self._database.read():
            found = self.stored(sync)
        folder = self._snapshots.ledger(sync)
        for segment in found.segments:
            problem = missing(folder, segment.file)
            if problem:
                raise CorruptedError(problem, code="store.segment", hint=REBUILD_HINT.format(sync=sync))
        return found

    # -- rows; each wants a transaction around it

    def stored(self, sync: str) -> Ledger:
        """The ledger's row, without a look at its files."""
        what, hint = _words(sync)
        row = sought(self._database, "ledgers.", "ledger", sync, what=what, hint=hint)
        return Ledger(sync, self._snapshots.ledger(sync)) if row is None else self.from_row(row)

    def all(self) -> list[Ledger]:
        found = []
        for row in self._database.rows("ledgers.all"):
            what, hint = _words(row[0])
            found.append(self.from_row(verified("ledger", row, what=what, hint=hint)))
        return found

    def from_row(self, row: Row) -> Ledger:
        """The ledger of a verified row."""
        sync, generation, document = row
        data = json.loads(document)
        segments = tuple(
            Segment(
                PlanFile(**part["file"]),
                part["kind"],
                part["mapping_version"],
                part["hash_version"],
                part.get("created", False),
            )
            for part in data["segments"]
        )
        return Ledger(
            sync=sync,
            folder=self._snapshots.ledger(sync),
            generation=generation,
            segments=segments,
            rows=data["rows"],
            nulls=data["nulls"],
            keys=tuple(data["keys"]),
            distrusted=data["distrusted"],
        )

    def write(self, ledger: Ledger) -> None:
        values = (ledger.sync, ledger.generation, _document(ledger))
        self._database.change("ledgers.write", sealed("ledger", values))
        self._meta.next("commits")

    # -- verbs

    def commit(self, lease: Lease, run_id: str, ledger: Ledger, *, status: Status, result: Mapping[str, Any]) -> None:
        """See `Ledgers.commit`."""
        assert ledger.sync == lease.sync, (ledger.sync, lease.sync)
        self._prove_durable(ledger)
        with self._database.write():
            held = self._leases.fence(lease)
            found = self._runs.expected(lease.sync, run_id)
            assert found.run.phase != "closed", f"{run_id} is closed"
            self._advance(ledger)
            self._runs.close(held, found, status, result)
        self._finish(ledger)

    def distrust(self, lease: Lease, ledger: Ledger) -> None:
        """See `Ledgers.distrust`. The generation stays: no value has changed."""
        assert ledger.sync == lease.sync, (ledger.sync, lease.sync)
        self._prove_durable(ledger)
        with self._database.write():
            self._leases.fence(lease)
            self.write(replace(ledger, distrusted=True))
        self._finish(ledger)

    def rebuild(self, lease: Lease, sync: str) -> Ledger:
        """See `Ledgers.rebuild`."""
        assert sync == lease.sync, (sync, lease.sync)
        with self._database.write():
            held = self._leases.fence(lease)
            row = self._database.row("ledgers.read", sync)
            generation = row[1] if row is not None and isinstance(row[1], int) else 0
            ledger = Ledger(sync, self._snapshots.ledger(sync), generation=max(0, generation) + 1)
            self.write(ledger)
            found = self._runs.find(held.run_id) if held.run_id else None
            if found is not None:
                self._runs.close(held, found, "cancelled", {"status": "cancelled", "message": REBUILT})
            elif held.run_id:
                self._leases.write(replace(held, run_id=""))
        self._finish(ledger)
        return ledger

    def tidy(self, sync: str) -> None:
        """Delete what a process that died left beside the sync's ledger: half a segment, one that was never committed,
        one that a commit had replaced. For who holds the lease, while no run of the sync is open: nobody else writes
        there. Beside a ledger that is not as written everything stays as it is."""
        with suppress(CorruptedError):
            ledger = self.get(sync)
            with translated(ledger.folder):
                self.drop_unreferenced(ledger)

    def drop_unreferenced(self, ledger: Ledger) -> int:
        """Delete the files of the sync's folder that its ledger does not name; returns how many."""
        kept = {segment.file.name for segment in ledger.segments}
        dropped = 0
        for path in self._snapshots.ledger(ledger.sync).iterdir():
            if path.name not in kept and path.is_file() and not path.is_symlink():
                path.unlink(missing_ok=True)
                dropped += 1
        return dropped

    def _advance(self, ledger: Ledger) -> None:
        """Write the next ledger. One that is no further on must be the one that is stored."""
        stored = self.stored(ledger.sync)
        if ledger.generation < stored.generation or (
            ledger.generation == stored.generation and _document(ledger) != _document(stored)
        ):
            raise StoreError(
                f"the ledger of {ledger.sync} is at generation {stored.generation}; "
                f"another one of generation {ledger.generation} cannot follow it",
                code="store.generation",
                hint="this is a mistake in Levada: please report it; nothing was changed",
            )
        self.write(ledger)

    def _prove_durable(self, ledger: Ledger) -> None:
        folder = self._snapshots.ledger(ledger.sync)
        with translated(folder):
            for segment in ledger.segments:
                problem = missing(folder, segment.file)
                if problem:
                    raise CorruptedError(problem, code="store.segment", hint=REBUILD_HINT.format(sync=ledger.sync))
            sync_path(folder)

    def _finish(self, ledger: Ledger) -> None:
        with translated(ledger.folder):
            self._meta.raise_mark()
            self.drop_unreferenced(ledger)


def missing(folder: Path, file: PlanFile) -> str | None:
    """What is wrong with a segment's file at a glance, as a sentence: absent, or of another size."""
    path = folder / file.name
    if path.parent != folder:
        return f"the ledger names a file outside its folder: {file.name}"
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return f"the ledger's file {path} is missing"
    if size != file.bytes:
        return f"the ledger's file {path} has {size} bytes instead of {file.bytes}"
    return None


def file_problem(folder: Path, file: PlanFile) -> str | None:
    """What is wrong with a file, every byte read; None if nothing is."""
    problem = missing(folder, file)
    if problem:
        return problem
    digest = xxh3_128()
    with translated(folder), (folder / file.name).open("rb") as stream:
        while part := stream.read(_READ_BYTES):
            digest.update(part)
    if digest.hexdigest() != file.digest:
        return f"the ledger's file {folder / file.name} is not what was written"
    return None


def _words(sync: str) -> tuple[str, str]:
    """What is damaged, and how to go on."""
    return f"the ledger of sync {sync!r}", REBUILD_HINT.format(sync=sync)


def _document(ledger: Ledger) -> str:
    return json.dumps(
        {
            "segments": [asdict(segment) for segment in ledger.segments],
            "rows": ledger.rows,
            "nulls": dict(ledger.nulls),
            "keys": list(ledger.keys),
            "distrusted": ledger.distrusted,
        },
        separators=(",", ":"),
    )

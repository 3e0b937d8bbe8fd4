"""The journal: one row per batch, written ahead of the sending, and the holds after lost answers.

Outcomes are kept small: the common one with the effects as a short text, and the exceptions by index as JSON. What is
not here: what becomes of a batch without an answer (delivery decides) and how outcomes move the ledger (the planner
folds).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from levada.clock import Clock
from levada.outcome import UNTOLD, Effects, End, Outcome, Outcomes
from levada.store import Hold, Intent, JournalEntry, Lease
from levada.stores.checksums import Row, holds, seal, sealed, sought, verified
from levada.stores.database import Database
from levada.stores.leases import SqliteLeases
from levada.stores.machine import Machine
from levada.stores.runs import RunRows, lost

_PAGE_ROWS = 500
_INTENT_COLUMNS = 8
_OUTCOME = "journal.outcome"
_INTENT = "journal.intent"


OPEN_ENDS = "open_ends"
"""The mark of a sync that names the runs whose batches may still be applied, each with its deadline."""


class Holds:
    """Until when requests without an answer may still be applied. After a reboot the whole time counts again."""

    def __init__(self, database: Database, clock: Clock, machine: Machine) -> None:
        self._database = database
        self._clock = clock
        self._machine = machine

    def extend(self, sync: str, run_id: str, seconds: float) -> None:
        """Wants a transaction around it."""
        if seconds <= 0:
            return
        row = self._row(sync)
        now = self._clock.monotonic()
        deadline = now + seconds
        runs = self._runs(sync) if row is not None and self._left(row) > 0 else {}
        boot, until = runs.get(run_id, ("", 0.0))
        runs[run_id] = (self._machine.boot, max(deadline, until if boot == self._machine.boot else 0.0))
        self._database.change("facts.mark_write", sealed("mark", (sync, OPEN_ENDS, _json(runs))))
        if row is not None:
            deadline = max(deadline, now + self._left(row))
            seconds = max(seconds, row[3])
        self._write(sync, deadline, seconds)

    def left(self, sync: str) -> Hold | None:
        with self._database.read():
            row = self._row(sync)
        if row is None:
            return None
        if not self._counts(row):
            # Another boot: its clock says nothing here. The hold starts again once, not with every process.
            with self._database.write():
                row = self._row(sync)
                if row is not None and not self._counts(row):
                    self._write(sync, self._clock.monotonic() + row[3], row[3])
                    row = self._row(sync)
        if row is None or self._left(row) <= 0:
            return None
        with self._database.read():
            return Hold(self._left(row), tuple(self._runs(sync)))

    def _runs(self, sync: str) -> dict[str, tuple[str, float]]:
        """The runs whose deadline has not passed, with its boot: one of another boot's clock says nothing."""
        row = sought(self._database, "facts.mark_", "mark", sync, OPEN_ENDS, what=f"the open ends of sync {sync!r}")
        if row is None:
            return {}
        found = json.loads(row[2])
        now = self._clock.monotonic()
        return {
            run: (boot, until)
            for run, (boot, until) in found.items()
            if not self._machine.comparable(boot) or until > now
        }

    def _counts(self, row: Row) -> bool:
        """Is the deadline one of this clock? One further away than the whole hold is of another."""
        return self._machine.comparable(row[1]) and row[2] - self._clock.monotonic() <= row[3]

    def _left(self, row: Row) -> float:
        return float(row[2] - self._clock.monotonic()) if self._counts(row) else float(row[3])

    def _write(self, sync: str, deadline: float, seconds: float) -> None:
        values = (sync, self._machine.boot, float(deadline), float(seconds))
        self._database.change("journal.hold_write", sealed("hold", values))

    def _row(self, sync: str) -> Row | None:
        return sought(self._database, "journal.hold_", "hold", sync, what=f"the hold of sync {sync!r}")


class SqliteJournals:
    """Fulfils `levada.store.Journals`."""

    def __init__(self, database: Database, leases: SqliteLeases, runs: RunRows, holds: Holds) -> None:
        self._database = database
        self._leases = leases
        self._runs = runs
        self._holds = holds

    def open(self, lease: Lease, run_id: str) -> SqliteJournal:
        with self._database.read():
            self._leases.fence(lease)
            found = self._runs.expected(lease.sync, run_id)
        assert found.run.phase != "closed", f"{run_id} is closed"
        return SqliteJournal(self._database, self._leases, self._holds, lease, run_id)

    def entries(self, run_id: str) -> Iterator[JournalEntry]:
        return entries(self._database, run_id)

    def hold(self, sync: str) -> Hold | None:
        return self._holds.left(sync)


class SqliteJournal:
    """See `levada.store.Journal`. Every write compares the lease's epoch in its own transaction."""

    def __init__(self, database: Database, leases: SqliteLeases, held: Holds, lease: Lease, run_id: str) -> None:
        self._database = database
        self._leases = leases
        self._holds = held
        self._lease = lease
        self._run_id = run_id

    def intend(self, intents: Sequence[Intent]) -> None:
        """A batch that was intended before stays as it is; with another content it is a bug."""
        rows: list[Row] = []
        for intent in intents:
            values = (self._run_id, *_values(intent), 1, 0)
            rows.append((*values, seal(_INTENT, values)))
        with self._database.write():
            self._leases.fence(self._lease)
            added = self._database.change_many("journal.intend", rows)
            if added < len(rows):
                for intent in intents:
                    known = _entry(self._read(intent.number)).intent
                    assert known == intent, f"batch {intent.number} was intended as {known}, now as {intent}"
            entries = head(self._database, self._run_id)
            if entries is None:
                raise lost(self._run_id, "the journal")
            values = (self._run_id, entries + added)
            self._database.change("journal.head_write", sealed("journal_head", values))

    def doubt(self, numbers: Sequence[int], hold_seconds: float) -> None:
        with self._database.write():
            self._leases.fence(self._lease)
            for number in numbers:
                row = self._read(number)
                values = (*row[:6], row[6] + 1, 1)
                changed = (values[6], seal(_INTENT, values), self._run_id, number)
                self._database.change("journal.doubt", changed)
            if numbers:
                self._holds.extend(self._lease.sync, self._run_id, hold_seconds)

    def settle(self, outcomes: Sequence[tuple[int, Outcomes]]) -> None:
        rows: list[Row] = []
        for number, found in outcomes:
            columns = outcome_columns(found)
            checksum = seal(_OUTCOME, (self._run_id, number, *columns))
            rows.append((*columns, checksum, self._run_id, number))
        with self._database.write():
            self._leases.fence(self._lease)
            if self._database.change_many("journal.settle", rows) != len(rows):
                raise lost(self._run_id, f"one of the batches {', '.join(str(row[-1]) for row in rows[:10])}")

    def entries(self) -> Iterator[JournalEntry]:
        return entries(self._database, self._run_id)

    def _read(self, number: int) -> Row:
        row = self._database.row("journal.read", self._run_id, number)
        if row is None:
            raise lost(self._run_id, f"batch {number}")
        return verified(_INTENT, row[: _INTENT_COLUMNS + 1], what=f"batch {number} of run {self._run_id}")


def head(database: Database, run_id: str) -> int | None:
    """How many batches the run has intended; None if retention took its journal. Wants a transaction."""
    row = database.row("journal.head", run_id)
    if row is None:
        return None
    if not holds("journal_head", row):
        raise lost(run_id, "the journal's length")
    return int(row[1])


def entries(database: Database, run_id: str) -> Iterator[JournalEntry]:
    """All batches of a run by number, a page at a time. Raises CorruptedError for one damaged or missing."""
    with database.read():
        expected = head(database, run_id)
        if expected is None and database.rows("journal.count", run_id)[0][0]:
            raise lost(run_id, "the journal's length")
    seen = 0
    last = -1 << 62
    while True:
        with database.read():
            rows = database.rows("journal.page", run_id, last, _PAGE_ROWS)
        if not rows:
            break
        for row in rows:
            yield _entry(row)
        seen += len(rows)
        last = rows[-1][1]
    # A run under way may have grown meanwhile, but never shrunk.
    if seen < (expected or 0):
        raise lost(run_id, f"one of {expected} batches is missing: the journal")


def outcome_columns(outcomes: Outcomes) -> tuple[str, str | None, str | None, str]:
    """The outcome, exceptions, identifiers and request id as they are stored."""
    common: list[Any] = _compact(outcomes.common)
    if not outcomes.attributed or outcomes.effects != UNTOLD:
        common = [outcomes.common.end, outcomes.common.reason, outcomes.common.code, outcomes.attributed]
    if outcomes.effects != UNTOLD:
        common.append(outcomes.effects.as_text())
    exceptions = {str(index): _compact(outcome) for index, outcome in outcomes.exceptions.items()}
    names: Mapping[str, str] | list[str] | None = None
    if outcomes.identifiers:
        count = len(outcomes.identifiers)
        if outcomes.identifiers.keys() == set(range(count)):
            names = [outcomes.identifiers[index] for index in range(count)]
        else:
            names = {str(index): name for index, name in outcomes.identifiers.items()}
    return (
        _json(common),
        _json(exceptions) if exceptions else None,
        _json(names) if names else None,
        outcomes.request_id.encode("utf-8", "backslashreplace").decode("utf-8"),
    )


def entry_problem(row: Row) -> str | None:
    """What is wrong with a journal row, as a sentence; None if nothing is."""
    run_id, number = row[0], row[1]
    answered = row[9] is not None or row[13] is not None
    if not holds(_INTENT, row[: _INTENT_COLUMNS + 1]):
        return f"batch {number} of run {run_id} is not what was written"
    if answered and not holds(_OUTCOME, (run_id, number, *row[9:])):
        return f"the outcome of batch {number} of run {run_id} is not what was written"
    if not answered and any(value is not None for value in row[10:13]):
        return f"the outcome of batch {number} of run {run_id} is not what was written"
    return None


def _entry(row: Row) -> JournalEntry:
    if len(row) > _INTENT_COLUMNS and entry_problem(row):
        raise lost(row[0], f"batch {row[1]}")
    _, number, kind, first, size, key, attempts, doubtful, *rest = row
    intent = Intent(number, kind, first, size, key)
    outcomes = _outcomes(rest[1], rest[2], rest[3], rest[4]) if rest and rest[1] is not None else None
    return JournalEntry(intent, attempts, bool(doubtful), outcomes)


def _outcomes(common: str, exceptions: str | None, identifiers: str | None, request_id: str) -> Outcomes:
    parts = json.loads(common)
    names = json.loads(identifiers) if identifiers else {}
    pairs = enumerate(names) if isinstance(names, list) else ((int(index), name) for index, name in names.items())
    return Outcomes(
        common=_outcome(parts[:3]),
        exceptions={int(index): _outcome(part) for index, part in json.loads(exceptions or "{}").items()},
        attributed=len(parts) < 4 or bool(parts[3]),
        identifiers=dict(pairs),
        request_id=request_id,
        effects=Effects.from_text(parts[4]) if len(parts) > 4 else UNTOLD,
    )


def _outcome(parts: Sequence[str]) -> Outcome:
    return Outcome(cast("End", parts[0]), *parts[1:])


def _compact(outcome: Outcome) -> list[Any]:
    if outcome.code:
        return [outcome.end, outcome.reason, outcome.code]
    return [outcome.end, outcome.reason] if outcome.reason else [outcome.end]


def _values(intent: Intent) -> Row:
    return (intent.number, intent.kind, intent.first, intent.size, intent.idempotency_key)


def _json(value: object) -> str:
    # ASCII only: a destination's words may hold lone surrogates, which UTF-8 cannot carry.
    return json.dumps(value, separators=(",", ":"))

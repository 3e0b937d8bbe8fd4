"""The audit log: entries that are only ever added, each one's hash covering the one before it.

Changing, removing or swapping an entry breaks the chain; cutting off its end contradicts the count and the
last hash, which the store keeps apart. Whoever can rewrite the whole database can rewrite the chain: export
it to where they cannot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from levada.store import AuditEntry
from levada.stores.checksums import Row, as_bytes, damaged
from levada.stores.database import Database
from levada.stores.highwater import Meta

START = ""
_PAGE_ROWS = 1_000


class SqliteAudit:
    """Fulfils `levada.store.Audit`; what else it has is for the other parts of this store."""

    def __init__(self, database: Database, meta: Meta) -> None:
        self._database = database
        self._meta = meta

    def note(self, entry: AuditEntry) -> None:
        detail = json.dumps(entry.detail, separators=(",", ":"), sort_keys=True, default=str)
        with self._database.write():
            entries, last = self._head()
            values = (entries + 1, entry.at, entry.actor, entry.action, entry.subject, detail)
            digest = _hash(last, values)
            self._database.change("facts.audit_insert", (*values, digest))
            self.set_head(entries + 1, digest)

    def newest(self, limit: int = 100) -> Sequence[AuditEntry]:
        """Newest first. Raises CorruptedError if the ones asked for do not hang together."""
        with self._database.read():
            rows = self._database.rows("facts.audit_newest", limit + 1)
            entries, last = self._head()
        if (rows[0][0], rows[0][6]) != (entries, last) if rows else entries:
            raise damaged("the end of the audit log")
        for index, row in enumerate(rows[:limit]):
            before = rows[index + 1][6] if index + 1 < len(rows) else START
            if row[6] != _hash(before, row[:6]):
                raise damaged(f"audit entry {row[0]}")
        return [AuditEntry(row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows[:limit]]

    def problems(self) -> Iterator[str]:
        """Everything that is wrong with the chain, as sentences. Wants a transaction around it."""
        number, last = 0, START
        while rows := self._database.rows("facts.audit_page", number, _PAGE_ROWS):
            for row in rows:
                if row[0] != number + 1:
                    yield f"the audit log lacks the entries from {number + 1} to {row[0] - 1}"
                elif row[6] != _hash(last, row[:6]):
                    yield f"audit entry {row[0]} is not what was written, or not in its place"
                number, last = row[0], row[6]
        if (number, last) != self._head():
            yield "the end of the audit log is missing or was added to from outside"

    def set_head(self, entries: int, last: str) -> None:
        """Wants a transaction around it."""
        self._meta.set("audit", f"{entries} {last}")

    def _head(self) -> tuple[int, str]:
        entries, _, last = self._meta.get("audit").partition(" ")
        return int(entries), last


def _hash(previous: str, values: Row) -> str:
    return hashlib.sha256(as_bytes([previous, *values])).hexdigest()

"""Where the demo's tools keep what they were sent: one SQLite file each, so that it outlives the process.

Not durable against power loss, which nobody expects of a demo; a killed process loses nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Cabinet:
    """A SQLite file with counters; each tool adds its own tables."""

    def __init__(self, path: Path, tables: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.executescript(
            "pragma journal_mode = wal; pragma synchronous = off;"
            "create table if not exists counter (name text primary key, value integer not null);" + tables
        )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what the block writes."""
        self.connection.execute("begin immediate")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.connection.execute("commit")

    def count(self, name: str, by: int = 1) -> None:
        self.connection.execute(
            "insert into counter values (?, ?) on conflict (name) do update set value = value + excluded.value",
            (name, by),
        )

    def counters(self) -> Mapping[str, int]:
        return dict(self.connection.execute("select name, value from counter order by name").fetchall())

    def close(self) -> None:
        self.connection.close()

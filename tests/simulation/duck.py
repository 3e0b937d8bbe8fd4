"""One embedded DuckDB for a whole campaign instead of one a plan: opening it costs more than a schedule may.

Each `duckdb.connect` becomes a cursor of the shared one, with temporary tables of its own. The statements by which
the planner shuts its connection in are left out, for they hold for the whole database; the planner's own tests
see to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import duckdb

GLOBAL = ("SET allowed_", "SET enable_external_access", "SET lock_configuration", "SET python_enable")


class Shared:
    """A cursor that looks like a connection of its own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Any = None) -> duckdb.DuckDBPyConnection:
        if isinstance(statement, str) and statement.startswith(GLOBAL):
            return self._connection
        return self._connection.execute(statement, values) if values else self._connection.execute(statement)

    def cursor(self) -> Shared:
        return Shared(self._connection.cursor())

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@cache
def _one() -> duckdb.DuckDBPyConnection:
    """Open for as long as the process lives: the planner keeps cursors for its own checks of expressions."""
    return duckdb.connect(":memory:", config={"threads": 1, "preserve_insertion_order": True})


@contextmanager
def shared() -> Iterator[None]:
    """While this lasts, `duckdb.connect` gives cursors of one database."""
    one, real = _one(), duckdb.connect
    duckdb.connect = lambda *_, **__: Shared(one.cursor())  # type: ignore[assignment]
    try:
        yield
    finally:
        duckdb.connect = real

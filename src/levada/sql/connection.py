"""The one way in which Levada opens DuckDB.

Every connection, and every cursor of one, works in UTC: DuckDB would take the zone of the machine, and show each
instant in it. A test holds that no other module opens one. Not here: what an opened connection may reach.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def connect(database: str | Path = ":memory:", **settings: str | int | bool) -> duckdb.DuckDBPyConnection:
    """A connection that installs and loads nothing by itself. `settings` are DuckDB's own, by name.

    Raises DuckDB's errors.
    """
    import duckdb

    alone = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(str(database), config={**alone, **settings})
    try:
        # GLOBAL: a cursor begins with the settings of its database, not with those of its connection
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
    except BaseException:
        connection.close()
        raise
    return connection


KEPT_MEMORY = "256MB"


def bare() -> duckdb.DuckDBPyConnection:
    """A connection that reaches no file, network or variable of Python, and cannot be configured; to be closed.

    All of them share one DuckDB, which the process keeps, since opening one takes longer than most that is asked of it.
    Temporary names are each connection's own, and nobody makes others.
    """
    return _kept().cursor()


@cache
def _kept() -> duckdb.DuckDBPyConnection:
    # one thread is the caller's own: a process that is forked can use it, too
    found = connect(threads=1, memory_limit=KEPT_MEMORY, python_enable_replacements=False)
    found.execute("SET temp_directory = ''")
    found.execute("SET enable_external_access = false")
    found.execute("SET lock_configuration = true")
    return found

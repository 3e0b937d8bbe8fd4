"""The one way in which Levada opens DuckDB.

Every connection, and every cursor of one, works in UTC: DuckDB would take the zone of the machine, and show each
instant in it. A test holds that no other module opens one. Not here: what a connection may reach.
"""

from __future__ import annotations

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

"""The destinations there are, by the name that stands as `type:` in a destination's file.

A module is imported when its type is asked for, so that no driver is loaded that nobody uses.
"""

from __future__ import annotations

from importlib import import_module

from levada.destination import DestinationType

_HOMES = {
    "postgres": "levada.destinations.postgres",
    "mysql": "levada.destinations.mysql",
    "sqlite": "levada.destinations.sqlite",
    "duckdb": "levada.destinations.duckdb",
    "files": "levada.destinations.files",
    "webhook": "levada.destinations.webhook",
    "http": "levada.destinations.declared",
    "python": "levada.destinations.python",
}


def destination_types() -> tuple[str, ...]:
    """The names of all types, without importing any."""
    return tuple(_HOMES)


def destination_type(name: str) -> DestinationType | None:
    """The type of this name; None if there is none."""
    home = _HOMES.get(name)
    if home is None:
        return None
    found = import_module(home).TYPE
    assert isinstance(found, DestinationType)
    return found

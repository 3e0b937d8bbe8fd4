"""The destinations there are, by the name that stands as `type:` in a destination's file.

Some are modules, the others connectors' files that ship with Levada: `vendors/NAME.yml`. A module is imported, and a
file is read, when its type is asked for, so that no driver is loaded that nobody uses.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

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
VENDORS = Path(__file__).parent / "vendors"
"""The folder of the connectors' files that ship."""


def destination_types() -> tuple[str, ...]:
    """The names of all types, without importing or reading any."""
    return (*_HOMES, *vendor_files())


def destination_type(name: str) -> DestinationType | None:
    """The type of this name; None if there is none."""
    if home := _HOMES.get(name):
        found = import_module(home).TYPE
        assert isinstance(found, DestinationType)
        return found
    path = vendor_files().get(name)
    if path is None:
        return None
    from levada.destinations.connectors import declared_type

    return declared_type(name, path)


def vendor_files() -> dict[str, Path]:
    """The connectors' files that ship, by name."""
    return {path.stem: path for path in sorted(VENDORS.glob("*.yml"))}

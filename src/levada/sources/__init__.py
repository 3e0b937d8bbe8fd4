"""The kinds of warehouses that models are read from: one module for each, named after its `type:`.

Importing this package imports no driver. Each module exports `TYPE`, a `levada.source.SourceType`.

Columns whose Arrow type alone does not say what they hold carry field metadata under the key
`levada.type` (`levada.source.TYPE_KEY`): text that is `json`, a `uuid`, or a `numeric_text`, an exact number
of any size written in digits, or NaN, Infinity, -Infinity. docs/reference/sources.md lists the types of each warehouse.

What is not here: comparing, mapping and keeping, which are the planner's.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from levada.source import SourceType

_MODULES = {
    "duckdb": "levada.sources.duckdb",
    "files": "levada.sources.files",
    "postgres": "levada.sources.postgres",
    "sqlite": "levada.sources.sqlite",
}


def source_types() -> tuple[str, ...]:
    """The words that `type:` knows, sorted."""
    return tuple(sorted(_MODULES))


def source_type(name: str) -> SourceType | None:
    """What `type: name` means; None if nothing. Loads the module, which loads its driver only when it reads."""
    if name not in _MODULES:
        return None
    return cast("SourceType", import_module(_MODULES[name]).TYPE)

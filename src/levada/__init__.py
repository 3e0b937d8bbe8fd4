"""Levada keeps the tools in which people work equal to the models in a data warehouse.

`from levada import Project, destination` is the public Python interface; names load when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from levada.destinations.python import destination
    from levada.errors import LevadaError
    from levada.runner.project import Project

__all__ = ["LevadaError", "Project", "__version__", "destination"]
__version__ = "0.1.0"

_HOMES = {
    "Project": "levada.runner.project",
    "LevadaError": "levada.errors",
    "destination": "levada.destinations.python",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'levada' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)

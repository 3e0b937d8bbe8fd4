"""Runs the cases of the project's own connectors: records in, request out, answer in, outcomes out. Sends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from levada.destinations.cases import CaseResult, run_cases_of
from levada.errors import ConfigError
from levada.runner.connectors import connector_files

if TYPE_CHECKING:
    from levada.runner.world import World

__all__ = ["CaseResult", "run_cases"]


def run_cases(world: World, names: Sequence[str] = ()) -> tuple[CaseResult, ...]:
    """Every case of these connectors, or of all. Raises ConfigError for an unknown name and for a bad file."""
    from levada.nearest import nearest_hint

    files = connector_files(world.root)
    for name in names:
        if name not in files:
            raise ConfigError(
                f"there is no connector {name}", code="config.unknown_name", hint=nearest_hint(name, files)
            )
    return tuple(result for name in names or files for result in run_cases_of(name, files[name]))

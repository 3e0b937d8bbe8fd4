"""Holds a sync to the object that its ledger was kept for: what one object confirmed says nothing of another.

The object is remembered by its name in the project, `destination.object`. That the same name leads to another
account since (another url, other credentials) is not noticed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from levada.errors import ConfigError

if TYPE_CHECKING:
    from levada.planner import Ledger
    from levada.runner.project import Project
    from levada.runner.resolve import Resolved

MEMORY = "target"


def check_target(project: Project, resolved: Resolved, ledger: Ledger) -> None:
    """Raises ConfigError if the ledger holds records of another object than the one that the sync writes to."""
    if not ledger.segments or project.stored is None:
        return
    before = project.stored.recall(resolved.name, MEMORY)
    if before is not None and before != resolved.sync.to:
        raise ConfigError(
            f"{resolved.name} was kept for {before}, and goes to {resolved.sync.to} now",
            code="config.target_changed",
            where=project.sync_file(resolved.name).positions.at("to"),
            hint="give the sync a new name, or begin anew: "
            f"`levada resync {resolved.name} --rebuild` sends everything, "
            f"`levada mark-synced {resolved.name}` takes it as there already; {before} is left as it is",
        )


def remember_target(project: Project, resolved: Resolved) -> None:
    """Before anything is sent or taken as synced."""
    if project.store.recall(resolved.name, MEMORY) != resolved.sync.to:
        project.store.remember(resolved.name, MEMORY, resolved.sync.to)

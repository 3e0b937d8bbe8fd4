"""Who did what: the log of everything that a person changes through Levada."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from levada.clock import isoformat
from levada.store import AuditEntry

if TYPE_CHECKING:
    from levada.runner.world import World


def note(world: World, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> None:
    """Write down an action of whoever runs this process, such as `secret.set`, and what it was done to."""
    world.store.audit.note(AuditEntry(isoformat(world.clock.now()), actor(), action, subject, detail or {}))


def actor() -> str:
    """Who does this, for the audit: the name of the user of this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"

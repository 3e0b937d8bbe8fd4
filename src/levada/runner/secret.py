"""Credentials in the project's encrypted store: `${secret:NAME}` in its files. Values go in and never come out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from levada.clock import isoformat
from levada.errors import ConfigError
from levada.runner.approve import actor
from levada.store import AuditEntry

if TYPE_CHECKING:
    from levada.runner.project import Project

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")


def set_secret(project: Project, name: str, value: str) -> None:
    """Keep `value` under `name`, in place of an earlier one."""
    if not _NAME.match(name):
        raise ConfigError(
            f"{name!r} cannot name a secret",
            code="usage.secret_name",
            hint="use letters, digits and underscores, such as HUBSPOT_TOKEN",
        )
    if not value:
        raise ConfigError("the secret is empty", code="usage.secret_empty", hint="nothing was kept; enter its value")
    project.store.set_secret(name, value)
    _note(project, "secret.set", name)


def secret_names(project: Project) -> Sequence[str]:
    """The names of what is kept."""
    store = project.stored
    return store.secret_names() if store is not None else ()


def remove_secret(project: Project, name: str) -> None:
    """Forget a secret. Raises ConfigError if there is none of that name."""
    if not project.store.delete_secret(name):
        from levada.nearest import nearest_hint

        raise ConfigError(
            f"there is no secret {name}", code="usage.unknown_secret", hint=nearest_hint(name, secret_names(project))
        )
    _note(project, "secret.remove", name)


def _note(project: Project, action: str, name: str) -> None:
    project.store.note(AuditEntry(isoformat(project.clock.now()), actor(), action, name))

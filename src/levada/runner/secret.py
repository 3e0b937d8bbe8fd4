"""Credentials in the project's encrypted store: `${secret:NAME}` in its files. Values go in and never come out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from levada.errors import ConfigError
from levada.runner.audit import note

if TYPE_CHECKING:
    from levada.runner.world import World

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")


def set_secret(world: World, name: str, value: str) -> None:
    """Keep `value` under `name`, in place of an earlier one."""
    if not _NAME.match(name):
        raise ConfigError(
            f"{name!r} cannot name a secret",
            code="usage.secret_name",
            hint="use letters, digits and underscores, such as HUBSPOT_TOKEN",
        )
    if not value:
        raise ConfigError("the secret is empty", code="usage.secret_empty", hint="nothing was kept; enter its value")
    world.store.vault.set(name, value)
    note(world, "secret.set", name)


def secret_names(world: World) -> Sequence[str]:
    """The names of what is kept."""
    store = world.stored
    return store.vault.names() if store is not None else ()


def remove_secret(world: World, name: str) -> None:
    """Forget a secret. Raises ConfigError if there is none of that name."""
    if not world.store.vault.delete(name):
        from levada.nearest import nearest_hint

        raise ConfigError(
            f"there is no secret {name}", code="usage.unknown_secret", hint=nearest_hint(name, secret_names(world))
        )
    note(world, "secret.remove", name)

"""What `levada.yml` declares: the project's name, its clock, its store, and defaults for its syncs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from levada.guard import GuardDeclaration
from levada.model import Declaration
from levada.schedule import Schedule, Zone

_SIZE = re.compile(r"[1-9][0-9]*(\.[0-9]+)?\s*(KB|MB|GB|TB|KiB|MiB|GiB|TiB)\Z")


def _is_size(text: str) -> str:
    if not _SIZE.match(text):
        raise ValueError(f"{text!r} is not a size: write a number and MB or GB, such as 256MB")
    return text


class StoreSettings(Declaration):
    """Where Levada keeps its state."""

    path: Annotated[str, Field(min_length=1)] = ".levada"
    """A folder on a local disk, relative to the project. It can be deleted as a whole; git should ignore it."""


class Defaults(Declaration):
    """What holds for every sync that does not say otherwise."""

    guard: GuardDeclaration = GuardDeclaration()
    """Limits beyond which a run asks a person first; a sync's own `guard:` goes before them key by key."""
    nulls: Literal["clear", "skip"] | None = None
    """What a NULL does in syncs without `nulls:`."""
    schedule: Schedule | None = None
    """When syncs without `schedule:` run; a sync with `schedule: none` runs when asked."""


class Retention(Declaration):
    """How long what a run leaves behind is kept. The ledger itself is never deleted by age."""

    plans_days: Annotated[int, Field(ge=1, le=36_500)] = 30
    """Days for which plans and the outcomes of single records are kept: for `records` and `undo`."""


class PlannerSettings(Declaration):
    """What planning may use of this machine."""

    memory: Annotated[str, AfterValidator(_is_size)] = "256MB"
    """Memory of the embedded planner; what does not fit is put on disk."""
    threads: Annotated[int, Field(ge=1, le=1_024)] | None = None
    """Threads of the embedded planner; as many as the machine has cores if absent."""


class NetworkSettings(Declaration):
    """Where requests may go."""

    allow_hosts: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] = ()
    """Hosts that may be sent to though their addresses are private or loopback."""
    ca_files: dict[Annotated[str, Field(min_length=1, max_length=253)], Annotated[str, Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """For a host, the file (PEM) of the authorities that its certificate is checked by, instead of the system's."""


class Settings(Declaration):
    """`levada.yml`. Its folder is the project's root."""

    name: Annotated[str, Field(max_length=100)] = ""
    """The project's name; its folder's name if absent."""
    timezone: Zone = "UTC"
    """The zone in which schedules are read, such as Europe/Madrid."""
    store: StoreSettings = StoreSettings()
    """Where Levada keeps its state."""
    defaults: Defaults = Defaults()
    """What holds for every sync that does not say otherwise."""
    retention: Retention = Retention()
    """How long what a run leaves behind is kept."""
    planner: PlannerSettings = PlannerSettings()
    """What planning may use of this machine."""
    network: NetworkSettings = NetworkSettings()
    """Where requests may go."""
    alerts: tuple[dict[str, Any], ...] = ()
    """Reserved: a list of mappings. This version sends no alerts and says so."""

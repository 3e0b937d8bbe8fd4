"""Examines an installation and a project's state: what is there, whether the state is what was written, and room."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from levada import __version__
from levada.clock import Clock, SystemClock
from levada.errors import StoreError
from levada.runner.audit import actor
from levada.runner.doubt import doubts
from levada.runner.shifted import possibly_shifted
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.world import World

DISK_LOW_BYTES = 1_000_000_000
CLOCK_EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
PACKAGES = ("duckdb", "pyarrow", "pydantic", "aiohttp", "sqlglot", "cryptography")
DRIVERS = {
    "postgres": ("adbc-driver-postgresql", "psycopg"),
    "mysql": ("pymysql",),
}
"""Extra of the package: the distributions it brings."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at."""

    subject: str
    state: Literal["ok", "notice", "wrong"]
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"subject": self.subject, "state": self.state, "message": self.message, "hint": self.hint or None}


def doctor(world: World | None, clock: Clock | None = None) -> tuple[Diagnosis, ...]:
    """What was found. Without a project only the installation is examined. Reads every byte of the state."""
    found = [_versions(), *_drivers(), _clock((clock or SystemClock()).now())]
    if world is None:
        hint = "`levada init` begins one; -p names its folder"
        return (*found, Diagnosis("project", "notice", "no project here", hint))
    files = world.files
    summary = (
        f"{files.settings.name or world.root.name}: {plural(len(files.sources), 'source')}, "
        f"{plural(len(files.models), 'model')}, {plural(len(files.destinations), 'destination')}, "
        f"{plural(len(files.syncs), 'sync')}"
    )
    found.append(Diagnosis("project", "ok", summary))
    if files.errors:
        message = f"{plural(len(files.errors), 'error')} in its files, the first: {files.errors[0].message}"
        found.append(Diagnosis("files", "wrong", message, "`levada check` names them all"))
    return (*found, _disk(world), *_state(world), *_shifted(world))


def accept_rollback(world: World) -> Sequence[str]:
    """Go on with a state that is behind its high-water mark or damaged: trust no ledger, keep what is legible.

    Returns what was done, as sentences. Raises BusyError while a run is under way.
    """
    from levada.stores.sqlite import SqliteStore

    store = SqliteStore.open(world.state_folder, world.clock, check=False)
    try:
        return store.upkeep.accept_rollback(actor(), doubts(world.files.syncs))
    finally:
        store.close()


def _versions() -> Diagnosis:
    parts = [f"levada {__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return Diagnosis("versions", "ok", ", ".join(parts))


def _drivers() -> list[Diagnosis]:
    found = []
    for extra, distributions in DRIVERS.items():
        missing = [name for name in distributions if not _installed(name)]
        if missing:
            hint = f"needed only for {extra}: pip install 'levada[{extra}]'"
            found.append(Diagnosis(f"driver {extra}", "notice", f"not installed: {', '.join(missing)}", hint))
        else:
            versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)
            found.append(Diagnosis(f"driver {extra}", "ok", versions))
    return found


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _clock(now: datetime) -> Diagnosis:
    if now < CLOCK_EARLIEST:
        hint = "set the machine's clock: signatures, approvals and quotas are dated by it"
        return Diagnosis("clock", "wrong", f"the machine's clock says {now:%Y-%m-%d}", hint)
    return Diagnosis("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC")


def _disk(world: World) -> Diagnosis:
    usage = shutil.disk_usage(world.root)
    message = f"{usage.free / 1e9:,.1f} GB free of {usage.total / 1e9:,.0f} GB"
    if usage.free < DISK_LOW_BYTES:
        return Diagnosis("disk", "wrong", message, "make room: a run that cannot write its state pauses")
    return Diagnosis("disk", "ok", message)


def _shifted(world: World) -> list[Diagnosis]:
    """Syncs whose instants an earlier version sent, which shifted them by the zone of its machine."""
    try:
        found = list(possibly_shifted(world))
    except StoreError:
        return []  # the state itself is wrong, and says so
    return [
        Diagnosis(
            f"sync {name}",
            "notice",
            f"instants of its {plural(rows, 'record')} may be shifted at the destination, by the zone of the machine "
            "that sent them: an earlier version did so over HTTP, unless the machine was set to UTC",
            f"`levada resync {name}` sends every record again; a run does not, since the ledger holds the right values",
        )
        for name, rows in found
    ]


def _state(world: World) -> list[Diagnosis]:
    try:
        store = world.stored
    except StoreError as error:
        return [Diagnosis("state", "wrong", error.message, error.hint or "")]
    if store is None:
        return [Diagnosis("state", "ok", "no run yet: there is no state")]
    wrong = store.upkeep.verify()
    if not wrong:
        runs = len(store.runs.newest(None, 1_000))
        return [Diagnosis("state", "ok", f"{store.folder}: as written; {plural(runs, 'run')} remembered")]
    hint = "docs/reference/errors.md#storecorrupted says how to rebuild it; nothing is sent before that"
    return [Diagnosis("state", "wrong", sentence, hint) for sentence in wrong]

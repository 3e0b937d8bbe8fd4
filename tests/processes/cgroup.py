"""A control group of Linux that bounds the memory of the processes in it, as a container does."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_NUMBERS = itertools.count()
EMPTY_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Group:
    """The kernel ends a process of it rather than let them all together have more than the limit."""

    folder: Path

    def take(self, pid: int) -> None:
        """From now on the process is one of it, with all that it will yet ask for."""
        (self.folder / "cgroup.procs").write_text(str(pid), encoding="ascii")


@contextmanager
def limited(limit_bytes: int) -> Iterator[Group]:
    """A group with that limit, and no swap. Raises OSError where the system has none for us."""
    old = ROOT / "memory"
    parent, limits = (old, _OLD) if old.is_dir() else (ROOT, _NEW)
    if parent == ROOT:
        (ROOT / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    folder = parent / f"levada-{os.getpid()}-{next(_NUMBERS)}"
    folder.mkdir()
    try:
        for name, value in limits.items():
            with suppress(FileNotFoundError):  # a kernel without swap has no limit of it
                (folder / name).write_text(str(limit_bytes if value is None else value), encoding="ascii")
        yield Group(folder)
    finally:
        deadline = time.monotonic() + EMPTY_SECONDS_MAX
        while (folder / "cgroup.procs").read_text(encoding="ascii"):
            assert time.monotonic() < deadline, f"{folder} still has processes"
            time.sleep(0.01)
        folder.rmdir()


_OLD: dict[str, int | None] = {"memory.limit_in_bytes": None, "memory.memsw.limit_in_bytes": None}
_NEW: dict[str, int | None] = {"memory.max": None, "memory.swap.max": 0}


def missing() -> str | None:
    """Why there are no such groups here; None if there are."""
    try:
        with limited(1 << 30):
            return None
    except OSError as error:
        return str(error)

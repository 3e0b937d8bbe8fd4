"""Folders for what is needed for a moment, outside of the project, so that looking at it changes nothing in it.

Each is private to this user and gone when its process closes it. What a killed process left is deleted by the next
one that makes such a folder: the lock on the file inside says whether its process still lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

PREFIX = "levada-spool-"
OWNER = "owner"
SWEPT_MAX = 100
"""How many left folders one process looks at."""


@dataclass(frozen=True, slots=True)
class Spool:
    """A folder, and the lock that shows that it is in use."""

    folder: Path
    lock: int

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)


def make_spool() -> Spool:
    """A new empty folder, held until it is closed."""
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # locked before it has its name, so that no other process finds it unlocked
    made = folder / f"{OWNER}.made"
    lock = os.open(made, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _locks(lock)
    made.rename(folder / OWNER)
    return Spool(folder, lock)


def _sweep(place: Path) -> None:
    """Delete the folders of this user whose process is gone."""
    for folder in sorted(place.glob(f"{PREFIX}*"))[:SWEPT_MAX]:
        with contextlib.suppress(OSError):
            lock = os.open(folder / OWNER, os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
            try:
                if os.fstat(lock).st_uid == os.geteuid() and _locks(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _locks(lock: int) -> bool:
    """Take the lock of an open file, if nobody has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

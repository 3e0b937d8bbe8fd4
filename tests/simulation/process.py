"""A process that may die at any of its durable steps, or find the disk full.

Steps are the transactions of the store, the requests, and every operation on a file below the state folder: those
are seen through Python's audit events, so that a new kind of file is a new point by itself. What is not here:
when to die (`schedule`).
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from levada.stores.sqlite import SqliteStore

MAKING = {"os.mkdir", "os.link", "os.symlink"}
MOVING = {"os.rename", "os.remove", "os.rmdir"}
WRITING = os.O_WRONLY | os.O_RDWR
PASSED_OVER = ("lock", "state.sqlite")
"""Files that hold nothing, and the database, whose transactions are points of their own."""


class Crash(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class Process:
    """What a crash ends. `steps` counts transactions and requests of one run, `files` its operations on files.

    `run`: which run it is busy with. `undoes`: which run it is to take back. `approved`: it began with an approval.
    """

    crash_at: int | str | None = None
    torn_at: int | None = None
    full_at: int | None = None
    steps: int = 0
    files: int = 0
    dead: bool = False
    frozen: bool = False
    resuming: bool = False
    run: str = ""
    undoes: str = ""
    approved: bool = False
    filled: bool = False
    points: Counter[str] = field(default_factory=Counter)

    def step(self, point: str) -> None:
        """A transaction or a request: a point at which a process may die."""
        if self.dead:
            raise Crash(point)
        self.points[point] += 1
        if self.crash_at is not None and self.crash_at in (self.steps, point):
            self.dead = True
            raise Crash(point)
        self.steps += 1

    def touch(self, point: str) -> bool:
        """An operation on a file; True if the process dies in the middle of it."""
        if self.dead:
            raise Crash(point)
        self.points[point] += 1
        self.dead = self.torn_at == self.files
        self.files += 1
        return self.dead

    def out_of_space(self) -> bool:
        """Is the disk full by now?"""
        full = self.full_at is not None and self.steps + self.files >= self.full_at
        self.filled = self.filled or full
        return full


@dataclass(slots=True)
class _Watched:
    """Whose operations on files are steps, and in which folder."""

    folder: str = ""
    process: Process | None = None
    installed: bool = False


_WATCHED = _Watched()


@contextmanager
def living(process: Process, folder: Path) -> Iterator[None]:
    """While this lasts, what is done to files in the folder is done by this process."""
    if not _WATCHED.installed:
        sys.addaudithook(_audited)
        _WATCHED.installed = True
    before = _WATCHED.folder, _WATCHED.process
    _WATCHED.folder, _WATCHED.process = f"{folder}/", process
    try:
        yield
    finally:
        _WATCHED.folder, _WATCHED.process = before


def _audited(event: str, given: tuple[Any, ...]) -> None:
    process = _WATCHED.process
    if process is None or not (event == "open" or event in MAKING or event in MOVING):
        return
    path = os.fspath(given[0]) if isinstance(given[0], str | os.PathLike) else ""
    if not isinstance(path, str) or not path.startswith(_WATCHED.folder):
        return
    writes = event == "open" and isinstance(given[2], int) and bool(given[2] & WRITING)
    if event == "open" and not writes:
        return
    name = path.removeprefix(_WATCHED.folder)
    if name.startswith(PASSED_OVER):
        return
    _touched(process, event, path, re.sub(r"\b(\w+_)?[0-9a-f]{16,}|\d+", "*", name))


def _touched(process: Process, event: str, path: str, point: str) -> None:
    verb = event.removeprefix("os.")
    dies = process.touch(f"{verb} {point}")
    if dies:
        if verb == "open":  # begun, and not finished
            _WATCHED.process = None
            try:
                Path(path).write_bytes(b"{")
            finally:
                _WATCHED.process = process
        raise Crash(point)
    if event not in MOVING and process.out_of_space():
        raise OSError(errno.ENOSPC, "No space left on device", path)


def hooked(store: SqliteStore, process: Process) -> None:
    """Make every transaction of the store a point before and after which the process may die, or the disk be full."""
    database = store._database
    real = database.write

    @contextmanager
    def write(*, durable: bool = True) -> Iterator[None]:
        name = sys._getframe(2).f_code.co_name
        beats = name == "renew" and not process.dead
        if not beats:
            process.step(f"{name}.before")
        with real(durable=durable):
            yield
            if process.out_of_space():
                raise _full()
        if not beats:
            process.step(f"{name}.after")

    database.write = write  # type: ignore[method-assign]


def _full() -> sqlite3.OperationalError:
    """What SQLite says when the disk is full."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error

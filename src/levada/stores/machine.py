"""Which process of which machine this is, and whether another one is surely gone.

Everything here errs towards "may be alive": a lease is taken from an owner only if it is provably gone or if
its heartbeat stood still. What is not here: time (`levada.clock`) and the lease itself.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import threading
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_COMMAND_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: a number alone may be used again, so its start time belongs to it.

    `host` holds the name of the machine and of the process-id space in it (containers have their own).
    `instance` tells two stores of one process apart.
    """

    host: str
    boot: str
    pid: int
    started: str
    instance: str

    def as_text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @staticmethod
    def from_text(text: str) -> Owner:
        return Owner(**json.loads(text))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition('/')[0]}"


class Machine:
    """This machine. A test or a simulation passes one that restarts, or whose processes die, on command."""

    def __init__(self) -> None:
        self._open: set[str] = set()

    @property
    def boot(self) -> str:
        """An id that changes when the monotonic clock starts anew; empty where there is none."""
        return _boot()

    def enter(self) -> Owner:
        """A new owner in this process, alive until `leave`."""
        pid = os.getpid()
        owner = Owner(_host(), self.boot, pid, _started(pid) or "", secrets.token_hex(4))
        self._open.add(owner.instance)
        return owner

    def leave(self, owner: Owner) -> None:
        self._open.discard(owner.instance)

    def gone(self, owner: Owner) -> bool:
        """Is the owner surely gone? False if it lives, or if that cannot be known from here."""
        if not owner.boot or owner.boot != self.boot or owner.host != _host():
            return False
        started = _started(owner.pid)
        if started is None or started != owner.started:
            return True
        return owner.pid == os.getpid() and owner.instance not in self._open

    def comparable(self, boot: str) -> bool:
        """Can monotonic times of that boot be compared with ours?"""
        return bool(boot) and boot == self.boot

    def wait(self, seconds: float) -> None:
        """Let real time pass."""
        threading.Event().wait(seconds)


#: one for the process, so that two stores of one process know of each other
THIS_MACHINE = Machine()


@cache
def _host() -> str:
    try:
        space = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        space = ""
    return f"{socket.gethostname()}/{space}"


@cache
def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return _answer("sysctl", "-n", "kern.bootsessionuuid") or ""


def _started(pid: int) -> str | None:
    """When the process started, in the system's own words; None if there is no such process (any more)."""
    if _BOOT_ID.exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        except OSError:
            return ""
        state, *fields = stat.rpartition(")")[2].split()
        return None if state in "ZXx" else fields[18]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return _answer("ps", "-o", "lstart=", "-p", str(pid)) or ""


def _answer(*command: str) -> str | None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS_MAX, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() or None

"""Commands of Levada in real processes that are counted step by step and struck by a signal at one of them."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import zygote
from levada_process import TIMEOUT_SECONDS, environment

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a process did and that outlives it: which call, on what (a path below the folder, or tcp)."""

    number: int
    call: str
    where: str

    @property
    def sort(self) -> str:
        """The same for what happens at every run: names that are drawn are left out, and 64-bit twins are one."""
        parts = [part for part in self.where.split("/") if not any(c.isdigit() for c in part)]
        if self.where.startswith("tmp/"):
            parts = ["tmp"]
        return f"{self.call.removesuffix('64')} {'/'.join(parts)}"


@dataclass(frozen=True, slots=True)
class Strike:
    """Send the process a signal before or after its step of this number.

    `only`: count the steps of this call and no others, for what has to be there whatever else happens.
    `error`: no signal, the step itself fails with this errno; `on`: and so does every later one of a file.
    """

    number: int
    after: bool = False
    signal: int = signal.SIGKILL
    only: str = ""
    error: int = 0
    on: bool = False

    def __str__(self) -> str:
        if self.error:
            return f"{errno.errorcode[self.error]} {'from' if self.on else 'at'} step {self.number}"
        return f"{signal.Signals(self.signal).name} {'after' if self.after else 'before'} step {self.number}"


@dataclass(frozen=True, slots=True)
class Clocks:
    """By how many seconds a process's clocks are off those of this machine, from its step of this number on."""

    wall: int = 0
    monotonic: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: exit code (negative: the signal), what it printed, what it did."""

    code: int
    out: str
    talk: str
    steps: tuple[Step, ...]

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on stdout."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass(slots=True)
class Commands:
    """A forge of processes. `scratch` is a folder for their output, outside of every project."""

    scratch: Path
    library: Path
    forge: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _ended: dict[int, int] = field(default_factory=dict)
    _files: dict[int, tuple[Path, Path, Path]] = field(default_factory=dict)
    started: int = 0

    def start(
        self,
        folder: Path,
        *arguments: str,
        strike: Strike | None = None,
        constants: Mapping[str, object] | None = None,
        clocks: Clocks = Clocks(),
    ) -> int:
        """Start `levada …` in a folder; returns its process id."""
        number = next(self._numbers)
        self.started += 1
        out, talk, trace = (self.scratch / f"{number}.{name}" for name in ("out", "talk", "trace"))
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        asked = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment(TMPDIR=str(temporary), LD_PRELOAD=str(self.library)),
            "out": str(out),
            "talk": str(talk),
            "trace": str(trace),
            "strike": asdict(strike) if strike else None,
            "constants": dict(constants or {}),
            "clocks": astuple(clocks),
        }
        assert self.forge.stdin is not None
        self.forge.stdin.write(json.dumps(asked).encode() + b"\n")
        self.forge.stdin.flush()
        while "code" in (told := self._told()):
            self._ended[told["pid"]] = told["code"]
        pid: int = told["pid"]
        self._files[pid] = (out, talk, trace)
        return pid

    def wait(self, pid: int) -> Ended:
        """Wait for the end of a command."""
        while pid not in self._ended:
            told = self._told()
            self._ended[told["pid"]] = told["code"]
        files = self._files.pop(pid)
        out, talk, trace = (file.read_text(encoding="utf-8") for file in files)
        for file in files:
            file.unlink()
        return Ended(self._ended.pop(pid), out, talk, tuple(_steps(trace)))

    def steps(self, pid: int) -> list[Step]:
        """What a command has done so far."""
        trace = self._files[pid][2]
        return _steps(trace.read_text(encoding="utf-8")) if trace.exists() else []

    def run(
        self,
        folder: Path,
        *arguments: str,
        strike: Strike | None = None,
        clocks: Clocks = Clocks(),
    ) -> Ended:
        """Run `levada …` to its end, or to the strike."""
        return self.wait(self.start(folder, *arguments, strike=strike, clocks=clocks))

    def _told(self) -> dict[str, int]:
        assert self.forge.stdout is not None
        line = self.forge.stdout.readline()
        assert line, f"the process that forks has ended with {self.forge.poll()}"
        found: dict[str, int] = json.loads(line)
        return found


def _steps(trace: str) -> list[Step]:
    lines = [line.split("\t") for line in trace.splitlines()]
    return sorted((Step(int(number), call, where) for number, call, where in lines), key=lambda step: step.number)


def compiled(folder: Path) -> Path:
    """steps.c as a library to be preloaded."""
    library = folder / "steps.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(library)]
    subprocess.run([*command, str(HERE / "steps.c"), "-ldl"], check=True, timeout=TIMEOUT_SECONDS)
    return library


@contextmanager
def commands(scratch: Path) -> Iterator[Commands]:
    """Compile what counts the steps, and start the process that forks; both end with the context."""
    library = compiled(scratch)
    forge = subprocess.Popen(
        [sys.executable, zygote.__file__],
        env=environment(LD_PRELOAD=str(library)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    made = Commands(scratch, library, forge)
    try:
        assert "ready" in made._told()
        yield made
    finally:
        assert forge.stdin is not None
        forge.stdin.close()
        forge.kill()  # it has nothing to finish
        forge.wait(timeout=TIMEOUT_SECONDS)
        assert forge.stdout is not None
        forge.stdout.close()


def copied(folder: Path, to: Path) -> None:
    """Make `to` what `folder` is."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)


def stopped(pid: int) -> bool:
    """Has the process been stopped (SIGSTOP), every thread of it?"""
    try:
        states = [
            (thread / "stat").read_text().rpartition(")")[2].split()[0]
            for thread in Path(f"/proc/{pid}/task").iterdir()
        ]
    except FileNotFoundError:
        os.kill(pid, 0)  # raises ProcessLookupError if it was not one thread alone that has ended
        return False
    return all(state in "Tt" for state in states)

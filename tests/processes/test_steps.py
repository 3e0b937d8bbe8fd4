"""The list of crash points is complete: another witness, strace, sees no write that the list does not have."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from levada_process import TIMEOUT_SECONDS, environment
from processes.command import Commands, _steps
from processes.destination import Destination
from processes.worlds import Letter, World

WRITING = (
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync", "fdatasync", "sync_file_range", "ftruncate"),
    *("truncate", "fallocate", "copy_file_range", "sendfile", "splice", "sendto", "sendmsg", "sendmmsg", "rename"),
    *("renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "mkdir"),
    *("mkdirat", "mknodat", "msync", "io_uring_enter"),
)
SAID_BY_LIBC = {"send": "sendto"}
"""The name in the C library: the system call that it makes."""


def seen(trace: str, folder: Path) -> tuple[Counter[str], set[str]]:
    """From strace's lines: how often each writing call was made below the folder or over TCP; which files opened
    with O_CREAT."""
    calls: Counter[str] = Counter()
    made: set[str] = set()
    for line in trace.splitlines():
        found = re.match(r"\d+ +(\w+)\((.*)", line)
        if found is None:
            continue
        call, rest = found.groups()
        where = f"{folder}" in rest.partition(" = ")[0]
        if call == "openat":
            path = re.search(rf'"{re.escape(str(folder))}/([^"]+)", [A-Z_|]*O_CREAT', rest)
            if path:
                made.add(path.group(1))
        elif where or (call.startswith("send") and "<TCP" in rest):
            calls[call.removesuffix("64")] += 1
    return calls, made


@pytest.mark.needs("steps", "strace")
@pytest.mark.parametrize("letter", ["T", "C"])
def test_no_write_of_a_run_is_missing_from_its_crash_points(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path
) -> None:
    """Every system call that changes a file below the project, or sends, is a step; counted twice, independently."""
    world = World(letter, tmp_path / "project", server)
    world.prepare()
    before = {str(path.relative_to(world.folder)) for path in world.folder.rglob("*")}
    trace, witness = tmp_path / "steps", tmp_path / "strace"
    variables = {"STEPS_FOLDER": str(world.folder), "STEPS_TRACE": str(trace), "TMPDIR": str(world.folder / "tmp")}
    preload = ["-E", f"LD_PRELOAD={forge.library}"]
    options = ["-f", "-yy", "-qq", "-s", "0", "-e", f"trace=openat,{','.join(WRITING)}", "-o", str(witness), *preload]
    ended = subprocess.run(
        ["strace", *options, sys.executable, "-m", "levada", "run", "people", "--json"],
        cwd=world.folder,
        env=environment(**variables),
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    calls, made = seen(witness.read_text(encoding="utf-8", errors="replace"), world.folder)
    steps = _steps(trace.read_text(encoding="utf-8"))
    names = [SAID_BY_LIBC.get(step.call, step.call.removesuffix("64")) for step in steps]
    counted = Counter(name for name in names if name not in ("open", "connect") and not name.startswith("recv"))
    assert counted == calls
    assert made <= {step.where for step in steps if step.call == "open"} | before
    assert {"fdatasync", "rename", "unlink", "mkdir"} <= set(calls), "the witness has seen nothing"

"""What a test may need of the machine, and how to find out whether it is there.

A test says `@pytest.mark.needs("postgres")`, or a fixture calls `require("postgres")`. A missing component skips the
test by name; with LEVADA_REQUIRE_ALL=1, as in CI, it fails it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable

import pytest

from processes import cgroup
from servers import mariadb, postgres


def _no_tmpfs() -> str | None:
    """A small file system of one's own, to be filled up: needs a root that may mount."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
        try:
            mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return str(error)
        if mounted.returncode:
            return mounted.stderr.strip() or "mount refuses"
        subprocess.run(["umount", folder], check=True)
    return None


def _no_steps() -> str | None:
    """Counting a process's system calls: a C compiler, and a preloaded library as Linux has it."""
    if sys.platform != "linux":
        return "system calls are counted on Linux only"
    return None if shutil.which("cc") else "there is no C compiler (cc)"


def _no_strace() -> str | None:
    """Another witness of system calls, which the machine may forbid."""
    try:
        traced = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return (traced.stderr.strip() or "strace refuses") if traced.returncode else None


def _no_netns() -> str | None:
    """A network of one's own, in which there is nobody: needs a root that may make one."""
    try:
        made = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return (made.stderr.strip() or "unshare refuses") if made.returncode else None


COMPONENTS: dict[str, Callable[[], str | None]] = {
    "postgres": postgres.missing,
    "tmpfs": _no_tmpfs,
    "steps": _no_steps,
    "strace": _no_strace,
    "mariadb": mariadb.missing,
    "netns": _no_netns,
    "memory limit": cgroup.missing,
}
"""Name of a component: a function that says why it is missing, or None."""


def require(component: str) -> None:
    """Go on if the component is there; otherwise skip the test, or fail it where all must be there."""
    if component not in COMPONENTS:
        pytest.fail(f"no component is called {component!r}; known: {', '.join(sorted(COMPONENTS))}")
    reason = COMPONENTS[component]()
    if reason is None:
        return
    if os.environ.get("LEVADA_REQUIRE_ALL") == "1":
        pytest.fail(f"{component} is missing: {reason}")
    pytest.skip(f"{component} is missing: {reason}")

"""Exit codes of several syncs, and the line of one that had no end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from levada.errors import LevadaError

if TYPE_CHECKING:
    from levada.cli.invocation import Invocation
    from levada.runner.project import Project

WORST_FIRST = (2, 1, 143, 130, 4, 5, 3, 0)
"""Which exit code stands for several syncs: who must act first. Someone edits (2), someone looks (1), someone
stopped it (143, 130), someone approves (4), a run has not come to its end (5), someone reads records (3)."""


def worst(codes: Iterable[int]) -> int:
    """The exit code of a command over several syncs."""
    given = set(codes)
    return next((code for code in WORST_FIRST if code in given), 0)


def failed_line(
    invocation: Invocation, project: Project, sync: str, error: BaseException, *, several: bool = True
) -> int:
    """Tell of a sync that had no end; returns its exit code. A bug is told like an error: the others go on."""
    from levada.cli.app import report
    from levada.runner.attempt import crash_of

    told = error if isinstance(error, LevadaError) else crash_of(project.world, sync, error)
    return report(told, invocation, sync=sync, named=several)

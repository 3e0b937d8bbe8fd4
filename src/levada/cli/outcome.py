"""Exit codes of several syncs, and the line of one that failed before it had a result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from levada.errors import LevadaError

if TYPE_CHECKING:
    from levada.cli.terminal import Terminal

WORST_FIRST = (2, 1, 143, 130, 4, 5, 3, 0)
"""Which exit code stands for several syncs: who must act first. Someone edits (2), someone looks (1), someone
stopped it (143, 130), someone approves (4), time passes (5), someone reads records (3)."""


def worst(codes: Iterable[int]) -> int:
    """The exit code of a command over several syncs."""
    given = set(codes)
    return next((code for code in WORST_FIRST if code in given), 0)


def failed_line(terminal: Terminal, sync: str, error: LevadaError) -> int:
    """Tell of a sync that could not even be planned; returns its exit code. The others go on."""
    from levada.cli.app import error_document

    if terminal.json:
        terminal.document({"sync": sync, "status": "failed", "error": error_document(error)})
    terminal.error(f"{sync}: {error.where}: {error.message}" if error.where else f"{sync}: {error.message}", error.hint)
    return error.exit_code

"""Chooses syncs and puts them into the order in which they run: each after those that it waits for."""

from __future__ import annotations

from collections.abc import Sequence

from levada.project.files import ProjectFiles
from levada.project.references import waits_for
from levada.project.selection import select as selected


def select(files: ProjectFiles, words: Sequence[str] = (), exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """The chosen syncs; names decide among those that need not wait. Raises what `project.selection` raises."""
    return ordered(files, selected(files, words, exclude))


def ordered(files: ProjectFiles, names: Sequence[str]) -> tuple[str, ...]:
    """The same names, each behind those among them that its `after:` names. Circles are errors of the files."""
    left = sorted(names)
    found: list[str] = []
    while left:
        free = [
            name
            for name in left
            if name not in files.syncs or not any(other in left for other in waits_for(files.syncs[name]))
        ]
        step = free or left
        found.extend(step)
        left = [name for name in left if name not in step]
    return tuple(found)

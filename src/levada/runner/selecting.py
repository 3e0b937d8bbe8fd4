"""Chooses syncs and puts them into the order in which they run: each after those that it waits for."""

from __future__ import annotations

from collections.abc import Sequence

from levada.errors import ConfigError, ConfigErrors
from levada.project.files import ProjectFiles
from levada.project.references import waits_for
from levada.project.selection import select as selected


def select(files: ProjectFiles, words: Sequence[str] = (), exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """The chosen syncs; names decide among those that need not wait. Raises what `project.selection` raises."""
    return ordered(files, selected(files, words, exclude))


def startable(
    files: ProjectFiles, words: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[ConfigError, ...]]:
    """The chosen syncs, also those with something wrong in their files, as long as one has not; and, where all are
    meant, what is wrong in files that none of them is made of. A sync with a wrong file fails by itself when it is
    started, and keeps no other.

    Raises ConfigErrors if there is something wrong and no sync is whole.
    """
    chosen = ordered(files, selected(files, words, exclude, broken=True))
    errors = files.errors_for(chosen) if words or exclude else files.errors
    if errors and all(files.errors_for([name]) for name in chosen):
        raise ConfigErrors(list(errors))
    concerned = files.errors_for(chosen)
    return chosen, tuple(error for error in errors if error not in concerned)


def ordered(files: ProjectFiles, names: Sequence[str]) -> tuple[str, ...]:
    """The same names, each behind those among them that its `after:` names. Circles are errors of the files."""
    left = dict.fromkeys(sorted(names))
    found: list[str] = []
    while left:
        free = [
            name
            for name in left
            if name not in files.syncs or not any(other in left for other in waits_for(files.syncs[name]))
        ]
        step = free or list(left)
        found.extend(step)
        for name in step:
            del left[name]
    return tuple(found)

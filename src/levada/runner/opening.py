"""What is proved before a source or a destination of the project's files is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from levada.errors import ConfigError
from levada.own_files import refuse_own_files
from levada.project.yaml import Positions


@contextmanager
def opening(options: Any, positions: Positions, root: Path, state: Path) -> Iterator[None]:
    """Around the opening of what a file declares. Raises ConfigError for a path into Levada's own state, asked here
    since links may have changed; gives errors that know no place that of their option."""
    try:
        path = getattr(options, "path", None)
        if isinstance(path, str) and path:
            try:
                refuse_own_files((root / Path(path).expanduser()).absolute(), state)
            except ConfigError as error:
                error.path = ("path",)
                raise
        yield
    except ConfigError as error:
        if error.where is None:
            error.where = positions.at(*error.path)
        raise

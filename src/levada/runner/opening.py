"""What is proved before a source or a destination of the project's files is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from levada.addresses import OWN_MACHINE, AddressPolicy
from levada.declaration.yaml import Positions
from levada.errors import ConfigError
from levada.own_files import below, refuse_links_to_own_files, refuse_own_files


@contextmanager
def opening(
    options: Any, positions: Positions, root: Path, state: Path, policy: AddressPolicy = OWN_MACHINE
) -> Iterator[None]:
    """Around the opening of what a file declares. Raises ConfigError for a path into Levada's own state, by whatever
    links, and for one out of the project if `policy` is that of others than this machine's user. Asked here since
    links may have changed; gives errors that know no place that of their option."""
    with located(positions):
        path = getattr(options, "path", None)
        if isinstance(path, str) and path:
            try:
                _check((root / Path(path).expanduser()).absolute(), root, state, policy)
            except ConfigError as error:
                error.path = ("path",)
                raise
        yield


@contextmanager
def located(positions: Positions) -> Iterator[None]:
    """Gives errors that know no place that of their option in the file of these positions."""
    try:
        yield
    except ConfigError as error:
        if error.where is None:
            error.where = positions.at(*error.path)
        raise


def _check(path: Path, root: Path, state: Path, policy: AddressPolicy) -> None:
    refuse_own_files(path, state)
    refuse_links_to_own_files(path, state)
    if policy.private:
        return
    for one in (path, *(each for each in below(path) if each.is_symlink())):
        if not one.resolve().is_relative_to(root.resolve()):
            raise ConfigError(
                f"{path} leads to files outside of the project",
                code="config.path_refused",
                hint="put the files into the project's folder",
            )

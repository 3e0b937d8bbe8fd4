"""Levada's own files, which no source reads and no destination writes: states, this project's and others', and keys.

Whoever can write into a state can approve their own plans; whoever can read it reads every sync's people. A path is
judged by where it leads: through links, `..`, other names of one folder, and other names of one file (hard links). What
is not here: the rights of the files, which keep out other users of the machine.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from levada.errors import ConfigError

PROCESSES = Path("/proc")
"""Where Linux shows each process's memory, files and environment, the master key among it."""
STATE_FILE = "state.sqlite"
MARK_FILE = "high-water"
HEADER = b"SQLite format 3\0"
TABLES = {"meta", "lease", "run", "approval"}
"""Tables that every state has."""


def refuse_own_files(path: Path, state: Path, environment: Mapping[str, str] | None = None) -> None:
    """Raises ConfigError `config.own_files` if a file or folder, there or not yet, is Levada's own or lies in it.

    A folder that holds the state is refused, too, unless all that leads to the state from there is hidden, which
    neither a source nor a destination of files looks into.
    """
    environment = os.environ if environment is None else environment
    leads = _resolved(path)
    if PROCESSES in (leads, *leads.parents):
        raise _refused(path)
    for owned in (_resolved(state), _resolved(state) / STATE_FILE, *_keys(environment)):
        if _within(leads, owned):
            raise _refused(path)
        inside = _resolved(owned).parts[len(leads.parts) :]
        if _within(owned, leads) and not any(part.startswith(".") for part in inside):
            raise _refused(path)
    if any(_holds_state(folder) for folder in _there(leads)) or _is_state(leads):
        raise _refused(path)
    if _shared(leads) and _identity(leads) in _identities(state, environment):
        raise _refused(path)


def refuse_links_to_own_files(folder: Path, state: Path, environment: Mapping[str, str] | None = None) -> None:
    """The same for what a folder of data files holds at any depth: links, and files that have more than one name."""
    environment = os.environ if environment is None else environment
    identities: set[tuple[int, int]] | None = None
    for one in below(folder):
        if one.is_symlink():
            refuse_own_files(one, state, environment)
        elif _shared(one):
            identities = _identities(state, environment) if identities is None else identities
            if _identity(one) in identities:
                raise _refused(one)


def below(folder: Path) -> Iterator[Path]:
    """What a source of files would look at: all that is not hidden. Links to folders are followed where tables are
    named, in the folder itself, and not below it."""
    for top in (folder, *_linked(folder)):
        for place, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(place, name) for name in (*folders, *names) if not name.startswith("."))


def _linked(folder: Path) -> list[Path]:
    try:
        entries = list(folder.iterdir()) if folder.is_dir() else []
    except OSError:
        return []
    return [one for one in entries if one.is_symlink() and one.is_dir() and not one.name.startswith(".")]


def _shared(file: Path) -> bool:
    """Has a file more than one name?"""
    try:
        found = file.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink > 1


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _identities(state: Path, environment: Mapping[str, str]) -> set[tuple[int, int]]:
    """By which numbers the system knows the files of this project's state, and the keys."""
    files = [Path(place, name) for place, _, names in os.walk(state) for name in names]
    for key in _keys(environment):
        files += [key] if key.is_file() else [Path(place, name) for place, _, names in os.walk(key) for name in names]
    return {found for file in files if (found := _identity(file))}


def _refused(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is, or holds, files of Levada's own: a state, keys or a process",
        code="config.own_files",
        hint="name a file or folder outside of the state (`store: path:` of levada.yml, `.levada` as a rule)",
    )


def _keys(environment: Mapping[str, str]) -> Iterator[Path]:
    if named := environment.get("LEVADA_KEY_FILE"):
        yield Path(named)
    configured = environment.get("XDG_CONFIG_HOME")
    home = environment.get("HOME")
    if configured or home:
        yield (Path(configured) if configured else Path(home or "") / ".config") / "levada" / "keys"


def _resolved(path: Path) -> Path:
    """Where a path leads, though its last parts may not be there yet. Raises ConfigError for a circle of links."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path} cannot be followed: {type(error).__name__}", code="config.own_files") from error


def _there(path: Path) -> Iterator[Path]:
    """The path and the folders above it that exist, innermost first."""
    yield from (folder for folder in (path, *path.parents) if folder.is_dir())


def _within(path: Path, owned: Path) -> bool:
    """Is `path` the same as `owned` or below it, by whatever name the system knows them?"""
    if path == owned or owned in path.parents:
        return True
    try:
        known = owned.stat()
    except OSError:
        return False
    for one in (path, *path.parents):
        try:
            found = one.stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (known.st_dev, known.st_ino):
            return True
    return False


def _holds_state(folder: Path) -> bool:
    file = folder / STATE_FILE
    return file.is_file() and ((folder / MARK_FILE).is_file() or _is_state(file))


def _is_state(file: Path) -> bool:
    """Is a file the database of a state, whatever its name is?"""
    try:
        with file.open("rb") as opened:
            if opened.read(len(HEADER)) != HEADER:
                return False
        # read as it lies: no lock is taken and no file is made beside it
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)
    except (OSError, sqlite3.Error):
        return False
    try:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error:
        return False
    finally:
        connection.close()
    return {str(name) for (name,) in names} >= TABLES

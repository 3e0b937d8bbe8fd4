"""Which files a project has, by kind and name. What stands in them is not looked at here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from levada.declaration.keys import either
from levada.errors import ConfigError, Where
from levada.model import NAME_PATTERN

Kind = Literal["source", "model", "destination", "sync", "connector"]

FOLDERS: Mapping[Kind, str] = {
    "source": "sources",
    "model": "models",
    "destination": "destinations",
    "sync": "syncs",
    "connector": "connectors",
}
"""The folder is the kind. In the order in which files are read and errors are shown."""

SETTINGS_FILES = ("levada.yml", "levada.yaml")
FILES_MAX = 10_000
"""The most files in one folder of a project."""

_YAML = (".yml", ".yaml")
_ENDINGS: Mapping[Kind, tuple[str, ...]] = {
    "source": _YAML,
    "model": (".sql", *_YAML),
    "destination": _YAML,
    "sync": _YAML,
    "connector": (*_YAML, ".py"),
}
_NAME = re.compile(NAME_PATTERN)
_NAME_CHARACTERS_MAX = 100


@dataclass(frozen=True, slots=True)
class FileNotice:
    """Something in the project's folder that a person should know and that stops nothing."""

    code: str
    message: str
    where: Where | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(slots=True)
class Listing:
    """The files of a project: kind, name, path. `errors`: files whose names cannot be names."""

    root: Path
    files: dict[Kind, dict[str, Path]] = field(default_factory=dict)
    errors: list[ConfigError] = field(default_factory=list)
    notices: list[FileNotice] = field(default_factory=list)

    def shown(self, path: Path) -> str:
        """A path as errors name it: relative to the project, with forward slashes."""
        return path.relative_to(self.root).as_posix()


def find_root(start: Path) -> Path:
    """The nearest folder with a levada.yml, from `start` upwards. Raises ConfigError (config.no_project)."""
    start = whole(start)
    if root := root_above(start):
        return root
    raise ConfigError(
        f"there is no levada.yml in {start} or above it",
        code="config.no_project",
        hint="go to a project's folder, or begin one with `levada init NAME`",
    )


def root_above(folder: Path) -> Path | None:
    """The project that a folder, given as a whole path, is or lies in."""
    return next((each for each in (folder, *folder.parents) if settings_file(each) is not None), None)


def whole(path: Path) -> Path:
    """The path from the root of the disk on. `..` goes back in it, as in a shell, so that no parent stands twice."""
    return Path(os.path.normpath(path.absolute()))


def settings_file(root: Path) -> Path | None:
    return next((root / name for name in SETTINGS_FILES if (root / name).is_file()), None)


def list_files(root: Path) -> Listing:
    """Every file that belongs to the project by its folder and ending."""
    listing = Listing(root)
    for kind, folder in FOLDERS.items():
        listing.files[kind] = _list_kind(listing, kind, root / folder)
    for name in sorted({folder.removesuffix("s") for folder in FOLDERS.values()}):
        if (root / name).is_dir():
            message = f"the folder {name}/ is not read; {name}s/ is"
            listing.notices.append(FileNotice("project.unread_folder", message, Where(name)))
    _note_unavailable(listing)
    if all((root / name).is_file() for name in SETTINGS_FILES):
        listing.errors.append(_twice("the project", SETTINGS_FILES[1], SETTINGS_FILES[0]))
    return listing


def _list_kind(listing: Listing, kind: Kind, folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        names = sorted((entry.name, entry.is_dir()) for entry in entries)
    if len(names) > FILES_MAX:
        message = f"the folder has more than {FILES_MAX:,} files"
        raise ConfigError(message, code="config.too_many_files", where=Where(folder.name))
    for name, is_folder in names:
        path = folder / name
        if name.startswith((".", "__")) or name.endswith("~") or name.upper().startswith("README"):
            continue
        if is_folder or path.suffix not in _ENDINGS[kind]:
            _note_unread(listing, kind, path, is_folder)
            continue
        if not _NAME.match(path.stem) or len(path.stem) > _NAME_CHARACTERS_MAX:
            listing.errors.append(
                ConfigError(
                    f"`{path.stem}` cannot be the name of a {kind}",
                    code="config.bad_name",
                    where=Where(listing.shown(path)),
                    hint="rename the file: letters, digits, _ and -, beginning with a letter or _, at most 100",
                )
            )
        elif path.stem in found:
            listing.errors.append(_twice(f"the {kind} `{path.stem}`", listing.shown(path), found[path.stem].name))
        else:
            found[path.stem] = path
    return found


def _twice(what: str, file: str, other: str) -> ConfigError:
    folder = file.rpartition("/")[0]
    other = f"{folder}/{other}" if folder else other
    return ConfigError(
        f"{what} is declared twice: in {other} and in {file}",
        code="config.duplicate_name",
        where=Where(file),
        hint="remove or rename one of the files",
    )


def _note_unread(listing: Listing, kind: Kind, path: Path, is_folder: bool) -> None:
    shown = listing.shown(path)
    if is_folder:
        message = f"the folder is not read: files stand directly in {FOLDERS[kind]}/"
    else:
        message = f"the file is not read: a {kind} is a file {either(_ENDINGS[kind])}"
    listing.notices.append(FileNotice("project.unread_file", message, Where(shown)))


def _note_unavailable(listing: Listing) -> None:
    folder = listing.root / "audiences"
    for path in sorted(folder.glob("*.y*ml")) if folder.is_dir() else ():
        message = "the file is not read: audiences are not available in this version"
        listing.notices.append(FileNotice("project.unavailable", message, Where(listing.shown(path))))

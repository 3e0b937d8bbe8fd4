"""Which syncs `--select` and `--exclude` mean.

    customers_to_crm   customers_*      by name, or by a pattern with * ? [ ]
    tag:marketing                       syncs with the tag, or whose model, source or destination has it
    model:customers    source:warehouse    destination:crm    what they read, and where they send
    state:modified                      made of a file that differs from git's HEAD
    +model:customers   +source:shop     all that descends from it: those, and the syncs that run after them
    +customers_to_crm                   the sync, and all that it runs after
    customers_to_crm+                   the sync, and all that runs after it
    tag:a,model:b                       both at once; several values, or words in one, are united

The order of the result is that of the names. Running is not here, nor the order of running.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from levada.declaration.validation import choices_hint
from levada.errors import ConfigError, ConfigErrors
from levada.project.files import ProjectFiles
from levada.project.references import waits_for

GIT_TIMEOUT_SECONDS = 20
"""How long `git status` of a project may take."""

_METHODS = ("name", "tag", "model", "source", "destination", "state")
_PATTERN = re.compile(r"[*?\[]")
_RAW_GIT = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


def select(
    files: ProjectFiles, select: Sequence[str] = (), exclude: Sequence[str] = (), *, broken: bool = False
) -> tuple[str, ...]:
    """The names of the selected syncs, in the order of the names; all of them if `select` is empty.

    Raises ConfigError (config.selection) for a selector that matches nothing; only `state:modified` may.
    Raises ConfigErrors for a sync whose file is wrong and that is named, or that may have been meant: whether
    it has a tag cannot be told. Excluding it by name leaves it out. With `broken` such syncs are chosen like others.
    """
    excluded = _united(files, exclude)
    chosen = _united(files, select) if select else set(files.listed["sync"])
    words = [word for text in select for word in text.split()]
    if not words or any(not _is_name(word) for word in words):
        chosen |= _broken(files)
    if not broken and (errors := files.errors_for(sorted((chosen - excluded) & _broken(files)))):
        raise ConfigErrors(list(errors))
    return tuple(sorted(chosen - excluded))


def _broken(files: ProjectFiles) -> set[str]:
    return set(files.listed["sync"]) - set(files.syncs)


def _is_name(word: str) -> bool:
    return ":" not in word and "+" not in word


def _united(files: ProjectFiles, selectors: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for selector in (word for text in selectors for word in text.split()):
        parts = [_matched(files, part) for part in selector.split(",") if part]
        both = set.intersection(*parts) if parts else set()
        if not both and "state:" not in selector:
            raise ConfigError(
                f"`{selector}` selects no sync",
                code="config.selection",
                hint="no sync meets all parts of it" if len(parts) > 1 else "see the names with `levada status`",
            )
        found |= both
    return found


def _matched(files: ProjectFiles, selector: str) -> set[str]:
    before, after = selector.startswith("+"), selector.endswith("+")
    plain = selector.strip("+")
    method, colon, value = plain.partition(":")
    if not colon:
        method, value = "name", plain
    if method not in _METHODS:
        hint = choices_hint(method, _METHODS, what="methods")
        raise ConfigError(f"`{selector}`: there is no way to select by `{method}:`", code="config.selection", hint=hint)
    found = _by_method(files, method, value)
    descends = {name: _followers(files, name) for name in files.syncs}
    if after or (before and method in ("model", "source")):
        found |= _reached(found, lambda name: descends[name])
    if before and method not in ("model", "source"):
        found |= _reached(found, lambda name: waits_for(files.syncs[name]) if name in files.syncs else ())
    return found


def _followers(files: ProjectFiles, name: str) -> tuple[str, ...]:
    return tuple(other for other, declared in files.syncs.items() if name in waits_for(declared))


def _reached(start: Iterable[str], step: Callable[[str], Iterable[str]]) -> set[str]:
    """All that the steps lead to. Ends because no name is taken twice."""
    seen = set(start)
    waiting = list(seen)
    while waiting:
        for name in step(waiting.pop()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def _by_method(files: ProjectFiles, method: str, value: str) -> set[str]:
    match method:
        case "name":
            return set(_names(files, "sync", value, files.listed["sync"]))
        case "tag":
            tags = {name: _tags(files, name) for name in files.syncs}
            known = sorted({tag for found in tags.values() for tag in found})
            wanted = set(_names(files, "tag", value, known))
            return {name for name, found in tags.items() if found & wanted}
        case "model":
            wanted = set(_names(files, "model", value, files.listed["model"]))
            found = {name for name, declared in files.syncs.items() if declared.sync.model in wanted}
        case "source":
            wanted = set(_names(files, "source", value, files.listed["source"]))
            models = {name for name, declared in files.models.items() if declared.model.source in wanted}
            found = {name for name, declared in files.syncs.items() if declared.sync.model in models}
        case "destination":
            wanted = set(_names(files, "destination", value, files.listed["destination"]))
            found = {name for name, declared in files.syncs.items() if declared.sync.destination in wanted}
        case _:
            return _by_state(files, value)
    if not found:
        raise ConfigError(f"no sync uses the {method} `{value}`", code="config.selection", hint="see syncs/")
    return found


def _names(files: ProjectFiles, what: str, value: str, known: Iterable[str]) -> list[str]:
    """The known names that a name or a pattern means; raises with the nearest one if it means none."""
    names = sorted(known)
    found = [name for name in names if name == value or (_PATTERN.search(value) and fnmatchcase(name, value))]
    if found:
        return found
    hint = choices_hint(value, names, what=f"{what}s") or f"the project in {files.root} has none"
    verb = "matches" if _PATTERN.search(value) else "is called"
    raise ConfigError(f"no {what} {verb} `{value}`", code="config.selection", hint=hint)


def _tags(files: ProjectFiles, name: str) -> set[str]:
    sync = files.syncs[name].sync
    found = set(sync.tags)
    if model := files.models.get(sync.model or ""):
        found.update(model.model.tags)
        if source := files.sources.get(model.model.source):
            found.update(source.tags)
    if destination := files.destinations.get(sync.destination):
        found.update(destination.tags)
    return found


def _by_state(files: ProjectFiles, value: str) -> set[str]:
    if value != "modified":
        raise ConfigError(f"there is no state `{value}`", code="config.selection", hint="write state:modified")
    changed = modified_files(files.root)
    return {name for name in files.syncs if any(path in changed for path in files.paths_of(name))}


def modified_files(root: Path) -> frozenset[Path]:
    """The files below `root` that differ from git's HEAD, new ones included; all of them before a first commit.

    Raises ConfigError (config.git) without git, outside a repository, and when git takes too long.
    """
    git = shutil.which("git")
    if git is None:
        raise ConfigError("state:modified needs git, which is not installed", code="config.git", hint="install git")
    prefix = _git(git, root, "rev-parse", "--show-prefix").removesuffix("\n")
    status = _git(
        git, root, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignored=no", "--", "."
    )
    shown = [entry[3:] for entry in status.split("\0") if entry]
    return frozenset(root / name.removeprefix(prefix) for name in shown)


def _git(git: str, root: Path, *arguments: str) -> str:
    # a repository's own settings must not start programs: its fsmonitor would be one
    command = [git, "-C", str(root), "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - the program is git and the arguments are ours
            command, capture_output=True, timeout=GIT_TIMEOUT_SECONDS, check=False, env=_git_environment()
        )
    except subprocess.TimeoutExpired:
        message = f"git did not answer within {GIT_TIMEOUT_SECONDS} seconds"
        raise ConfigError(message, code="config.git", hint="select by name instead") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigError(
            f"git cannot tell what is modified: {reason[-1] if reason else done.returncode}",
            code="config.git",
            hint=f"make {root} part of a git repository, or select by name",
        )
    return done.stdout.decode("utf-8", errors="surrogateescape")


def _git_environment() -> Mapping[str, str]:
    """This process's environment without what would point git to another repository."""
    kept = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    return {**kept, **_RAW_GIT}

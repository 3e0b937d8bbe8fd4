"""What the files of a project say of each other: each name must lead to a file, and no sync may wait for itself.

Whether the columns and fields that a sync names exist is asked of the source and the destination, not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from levada.declaration.yaml import Positions
from levada.errors import ConfigError, Where
from levada.model import NAME_PATTERN
from levada.nearest import nearest_hint
from levada.project.listing import FOLDERS, Kind

if TYPE_CHECKING:
    from levada.project.files import SyncFile

DBT_PREFIX = "dbt:"


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that stands in a file and should be that of another file."""

    kind: Kind
    name: str
    where: Where


def references_of_model(value: Mapping[str, Any], positions: Positions) -> list[Reference]:
    """The source of a model, as its file has it, whether or not the rest of the file is valid."""
    source = value.get("source")
    return [Reference("source", source, positions.at("source"))] if _is_name(source) else []


def references_of_sync(value: Mapping[str, Any], positions: Positions) -> list[Reference]:
    """The model, the destination and the syncs waited for, whether or not the rest of the file is valid."""
    found: list[Reference] = []
    if _is_name(model := value.get("model")):
        found.append(Reference("model", model, positions.at("model")))
    destination, dot, _ = to.partition(".") if isinstance(to := value.get("to"), str) else ("", "", "")
    if dot and _is_name(destination):
        found.append(Reference("destination", destination, positions.at("to")))
    schedule = value.get("schedule")
    after = schedule.get("after") if isinstance(schedule, dict) else None
    for index, name in enumerate(after if isinstance(after, list) else ()):
        if isinstance(name, str) and not name.startswith(DBT_PREFIX):
            found.append(Reference("sync", name, positions.at("schedule", "after", index)))
    return found


def _is_name(value: object) -> TypeGuard[str]:
    """What cannot be a name is complained of as such, and not as the name of nothing."""
    return isinstance(value, str) and re.match(NAME_PATTERN, value) is not None


def check_references(
    listed: Mapping[Kind, Mapping[str, Path]], references: Iterable[Reference], syncs: Mapping[str, SyncFile]
) -> list[ConfigError]:
    """An error for each name that leads nowhere, and for syncs that wait for themselves.

    A file with errors of its own counts as being there.
    """
    errors: list[ConfigError] = []
    for reference in references:
        known = sorted(listed[reference.kind])
        if reference.name not in known:
            kind, name = reference.kind, reference.name
            hint = nearest_hint(name, known) if known else f"there are no files in {FOLDERS[kind]}/"
            message = f"there is no {kind} {name}"
            errors.append(ConfigError(message, code="config.unknown_name", where=reference.where, hint=hint))
    for name, declared in syncs.items():
        if circle := _circle(name, syncs):
            errors.append(
                ConfigError(
                    f"the sync waits for itself: {' after '.join(circle)}",
                    code="config.circle",
                    where=declared.positions.at("schedule", "after"),
                    hint="take one of them out of `after`",
                )
            )
    return errors


def waits_for(declared: SyncFile) -> tuple[str, ...]:
    """The syncs after whose success this one runs; models of dbt are not among them."""
    schedule = declared.sync.schedule
    names = schedule.after if schedule and schedule.after else ()
    return tuple(name for name in names if not name.startswith(DBT_PREFIX))


def _circle(start: str, syncs: Mapping[str, SyncFile]) -> list[str] | None:
    """A way from `start` along `after` back to it, if there is one and no smaller name is on it."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop()
        for other in waits_for(syncs[way[-1]]) if way[-1] in syncs else ():
            if other == start:
                return [*way, start] if min(way) == start else None
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return None

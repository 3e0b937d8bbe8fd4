"""Whose object is it? Names the syncs that write to one object, where one may undo what the other did.

Two syncs may well share an object: each with fields of its own, or each with records of its own. So nothing is refused;
`check` and `plan` say what they share. Objects are compared by where they are, not by what they are called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from levada.errors import LevadaError, Where
from levada.proof import Placed
from levada.sync import Sync

if TYPE_CHECKING:
    from levada.runner.world import World

OVERWRITES = ("update", "upsert", "mirror")
"""Modes that write into records which are there."""
FIELDS_NAMED = 6
HINT = (
    "give each field and each record to one sync: other fields, models without a common row, or one model for both; "
    "if no record is in both models, all is well"
)


@dataclass(frozen=True, slots=True)
class Overlap:
    """What one sync shares with another."""

    message: str
    where: Where
    hint: str = HINT


def overlaps(world: World, names: Sequence[str]) -> Mapping[str, tuple[Overlap, ...]]:
    """What each of these syncs shares with every other one of the project. Files that are wrong are left out."""
    files = world.files
    sharing: dict[tuple[str, str], list[str]] = {}
    where: dict[str, tuple[str, str]] = {}
    for name, file in files.syncs.items():
        place = _place(world, file.sync)
        if place is not None:
            where[name] = _kind(world, file.sync), place
            sharing.setdefault(where[name], []).append(name)
    return {
        name: tuple(
            Overlap(message, files.syncs[name].positions.at("to"))
            for other in sharing[where[name]]
            if other != name
            for message in _sentences(world, name, files.syncs[name].sync, other, files.syncs[other].sync)
        )
        for name in names
        if name in where
    }


def _sentences(world: World, name: str, mine: Sync, other: str, theirs: Sync) -> list[str]:
    to = mine.to if mine.to == theirs.to else f"{mine.to} ({theirs.to} is the same)"
    if "replace" in (mine.mode, theirs.mode):
        if mine.mode == theirs.mode:
            return [f"{name} and {other} both replace the whole of {to}: the last run's rows stay"]
        whole, part = (name, other) if mine.mode == "replace" else (other, name)
        return [f"{whole} replaces the whole of {to}, and with it what {part} writes there"]
    found = []
    if mine.mode in OVERWRITES and theirs.mode in OVERWRITES:
        fields = _shared(_fields(world, mine), _fields(world, theirs))
        if fields:
            more = f" and {len(fields) - FIELDS_NAMED} more" if len(fields) > FIELDS_NAMED else ""
            named = ", ".join(fields[:FIELDS_NAMED]) + more
            found.append(
                f"{name} and {other} both write {named} of {to}: in a record of both, the values of the last run stay"
            )
    if mine.removal != "ignore" and theirs.removal != "ignore":
        done = "delete" if mine.removal == theirs.removal == "delete" else "remove"
        found.append(
            f"{name} and {other} both {done} records of {to}: a record of both goes when it leaves one of the models"
        )
    return found


def _fields(world: World, sync: Sync) -> tuple[str, ...] | None:
    """The fields that a sync writes, but those by which it finds records; None if that cannot be known now."""
    if sync.fields != "all":
        names: Iterable[str] = sync.fields
    else:
        from levada.runner.resolve import model_columns

        assert sync.model is not None, "an audience is refused when the files are read"
        try:
            names = [column.name for column in model_columns(world, sync.model, world.model(sync.model))]
        except LevadaError:
            return None
    match = set(sync.match) or (set(world.files.models[sync.model].model.key) if sync.model else set())
    return tuple(name for name in names if name not in match)


def _shared(mine: Sequence[str] | None, theirs: Sequence[str] | None) -> list[str]:
    """The fields of both; an object and what is in it are one field. What is not known may be any."""
    if mine is None or theirs is None:
        return ["perhaps the same fields"]
    return [name for name in mine if any(_is_within(name, other) or _is_within(other, name) for other in theirs)]


def _is_within(name: str, other: str) -> bool:
    return name == other or name.startswith((f"{other}.", f"{other}["))


def _place(world: World, sync: Sync) -> str | None:
    """Where a sync's object is; None if that cannot be known now. No secret is in it."""
    try:
        destination = world.destination(sync.destination)
        if isinstance(destination, Placed):
            return destination.place(sync.object)
    except (LevadaError, KeyError):
        return None
    declared = world.files.destinations.get(sync.destination)
    if declared is None:
        return f"{sync.destination} {sync.object}"
    # of a tool, one name and another are the same account only if all that is said of them is
    said = hashlib.sha256(declared.options.model_dump_json().encode()).hexdigest()
    return f"{declared.type} {said} {sync.object}"


def _kind(world: World, sync: Sync) -> str:
    """Destinations of two kinds are two places."""
    declared = world.files.destinations.get(sync.destination)
    return declared.type if declared is not None else sync.destination

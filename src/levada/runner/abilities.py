"""Holds what a sync asks for against what its destination declares that it can do: nothing is ignored in silence.

Which verb each kind of change becomes is `levada.destination.verbs_for`; whether the requests and the mapping suit
each other is `levada.runner.sending`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from levada.change import Kind, Verb
from levada.destination import Destination, Naming, TableDestination
from levada.errors import ConfigError
from levada.mapping import FieldMapping
from levada.mapping import Mapping as FieldMappings
from levada.planner import KindPolicy
from levada.runner.sending import planned
from levada.sync import Sync

if TYPE_CHECKING:
    from levada.project.files import SyncFile

_WHOLE = "mode replace makes every record anew"
_NULL_AS_SUCH = "`nulls: clear` sends a NULL as such"


def check_abilities(
    file: SyncFile,
    destination: Destination | TableDestination,
    mapping: FieldMappings,
    verbs: Mapping[Kind, Verb],
    policy: KindPolicy,
    keys: Sequence[str],
) -> None:
    """Raises ConfigError for a mode, `match`, `nulls`, `only_if_empty` or `delivery` that cannot be, with its place in
    the sync's file. `keys`: the model's key."""
    sync = file.sync
    if sync.mode == "replace" and not destination.spec.replaces:
        raise ConfigError(
            f"{destination.name} cannot swap a whole object, so it has no mode replace",
            code="config.mode_not_possible",
            where=file.positions.at("mode"),
            hint="mode mirror keeps the object equal to the model record by record",
        )
    _check_match(file, destination, verbs)
    if sync.nulls == "skip":
        _check_skip(file, destination, mapping, verbs, policy, keys)
    _check_only_if_empty(file, destination, mapping)
    if isinstance(destination, TableDestination) and sync.delivery == "at_most_once":
        repeated = [verb for verb in verbs.values() if destination.spec.delivery_class(sync.object, verb) == "D"]
        if repeated:
            raise ConfigError(
                f"{destination.name} is written without marks, so that a batch whose answer was lost is written again: "
                f"delivery: at_most_once cannot be kept in mode {sync.mode}",
                code="config.delivery_not_possible",
                where=file.positions.at("delivery"),
                hint="let Levada make the table _levada_marks (leave out marks: false): then each row is written once",
            )


def _check_match(file: SyncFile, destination: Destination | TableDestination, verbs: Mapping[Kind, Verb]) -> None:
    """In a table or a file, rows that are only added are found by nothing. Requests may name the match values."""
    sync = file.sync
    if not sync.match or not isinstance(destination, TableDestination):
        return
    adds_files = set(verbs.values()) == {"append"} and not destination.spec.only_if_empty
    if sync.mode == "append" or adds_files:
        raise ConfigError(
            f"{sync.to}: mode {sync.mode} adds every row and finds no record there, so that match has no meaning",
            code="config.match_not_possible",
            where=file.positions.at("match"),
            hint="leave out match; a column that is to be sent goes into `fields`",
        )


def _check_skip(
    file: SyncFile,
    destination: Destination | TableDestination,
    mapping: FieldMappings,
    verbs: Mapping[Kind, Verb],
    policy: KindPolicy,
    keys: Sequence[str],
) -> None:
    """Can a field be left as it is?"""
    whole = file.sync.mode == "replace"
    if whole or not destination.spec.skips_nulls:
        what = _WHOLE if whole else f"{destination.name} is given whole records"
        raise ConfigError(
            f"{what}, so that nulls: skip cannot leave a field as it is",
            code="config.nulls_not_possible",
            where=file.positions.at("nulls"),
            hint=_NULL_AS_SUCH,
        )
    if not isinstance(destination, Naming):
        return
    for kind in planned(verbs, policy):
        if kind == "removed":
            continue  # what is sent for it is said by `removed`
        places = destination.facts(file.sync.object, verbs[kind]).always
        named = {place.name for place in places}
        for mapped in mapping.fields:
            if _may_be_null(mapped, mapping, keys) and ("" in named or mapped.field in named):
                raise ConfigError(
                    f"{file.sync.to}: the requests for {verbs[kind]} hold {mapped.field} where it cannot be left out "
                    "(a query, a header, CSV, a list, a longer text), so that nulls: skip cannot leave it as it is",
                    code="config.nulls_not_possible",
                    where=file.positions.at("nulls"),
                    hint=f"make it a member of the record of its own (`{mapped.field}: '{{{mapped.field}}}'`), or: "
                    + _NULL_AS_SUCH,
                )


def _may_be_null(mapped: FieldMapping, mapping: FieldMappings, keys: Sequence[str]) -> bool:
    if mapped.field in mapping.match or (mapped.kind == "value" and mapped.constant is not None):
        return False
    return not (mapped.kind == "column" and mapped.origin in keys)


def _check_only_if_empty(file: SyncFile, destination: Destination | TableDestination, mapping: FieldMappings) -> None:

    whole = file.sync.mode == "replace"
    for mapped in mapping.fields:
        if mapped.only_if_empty and (whole or not destination.spec.only_if_empty):
            what = f"{_WHOLE}, and" if whole else destination.name
            raise ConfigError(
                f"{what} cannot set {mapped.field} only where it is empty",
                code="config.only_if_empty_not_possible",
                where=file.field_position(mapped.field),
                hint="leave out only_if_empty, or the field",
            )


def without_effect(
    sync: Sync, destination: Destination | TableDestination, verbs: Mapping[Kind, Verb], policy: KindPolicy
) -> tuple[str, ...]:
    """Sentences on what the sync says and what changes nothing, because the destination promises more."""
    if sync.delivery != "at_most_once":
        return ()
    classes = {destination.spec.delivery_class(sync.object, verbs[kind]) for kind in planned(verbs, policy)}
    if "D" in classes:
        return ()
    named, end = " and ".join(sorted(classes)), "what a lost answer leaves open is settled without a second effect"
    return (f"delivery: at_most_once changes nothing, since {sync.to} is of class {named}: {end}",)

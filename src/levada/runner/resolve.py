"""Brings a sync's two ends together: the model's columns, the destination's fields, and the mapping between.

Every mistake that can be seen without reading a row is found here, with the place in the file that holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from levada.change import Kind, Verb
from levada.destination import Destination, Naming, ObjectSpec, TableDestination, verbs_for
from levada.destinations.python import PythonDestination
from levada.errors import ConfigError, SourceError
from levada.mapping import FieldDeclaration, FieldMapping, ValueLimits
from levada.mapping import Mapping as FieldMappings
from levada.model import Model
from levada.nearest import nearest_hint
from levada.planner import KindPolicy
from levada.runner.abilities import check_abilities, without_effect
from levada.runner.column_changes import FIELDLESS_CODES, drift_of, left_out, notices, renamed
from levada.runner.resolved import Drift, Resolved
from levada.runner.sending import check_sending
from levada.source import Column, Source
from levada.sync import Sync

if TYPE_CHECKING:
    from levada.project.files import SyncFile
    from levada.runner.world import World


QUERY_MISTAKES = ("source.query", "source.not_read_only", "source.duplicate_column", "source.outside")
"""Codes of a source that whoever edits the model answers for."""

TRIED_MAX = 20
"""So many new columns are offered to a destination one by one; of more, none is sent if one cannot be."""


def resolve(world: World, name: str) -> Resolved:
    """Resolve one sync. Raises ConfigError with file:line:column, SourceError, AccessError, DestinationError."""
    file = world.sync_file(name)
    sync = file.sync
    assert sync.model is not None, "an audience is refused when the files are read"
    model = world.model(sync.model)
    source = world.source(model.source)
    columns = model_columns(world, sync.model, model)
    drift = drift_of(world, name, columns)
    just_came = drift.new
    waiting = [each for each in left_out(world, name) if each in drift.now and each not in just_came]
    # as new as on its first day, should the destination have a field for it by now
    drift = replace(drift, new=(*just_came, *waiting))

    def resolved(left: Collection[str] = ()) -> Resolved:
        taken = [column for column in columns if column.name not in left]
        told = replace(drift, new=tuple(name for name in drift.new if name not in left))
        assert sync.model is not None
        return _resolved(world, name, file, sync.model, model, source, taken, told)

    try:
        return resolved()
    except ConfigError as error:
        newer = set(drift.new)
        if sync.fields != "all" or error.code not in FIELDLESS_CODES or not newer:
            raise renamed(error, drift) from error.__cause__
    left = tuple(sorted(each for each in newer if len(newer) > TRIED_MAX or not _takes(resolved, newer - {each})))
    words = f"the model has a new column, which {sync.to} has no field for"
    told = [f"{words}: {each}" for each in left if each in just_came]
    found = resolved(left)
    return replace(found, left_out=left, notices=(*found.notices, *told))


def _takes(resolved: Callable[[Collection[str]], Resolved], without: Collection[str]) -> bool:
    """Does the destination take a new column, the other new ones left out?"""
    try:
        resolved(without)
    except ConfigError as error:
        if error.code in FIELDLESS_CODES:
            return False
        raise
    return True


def _resolved(
    world: World,
    name: str,
    file: SyncFile,
    model_name: str,
    model: Model,
    source: Source,
    columns: Sequence[Column],
    drift: Drift,
) -> Resolved:
    sync = file.sync
    _check_key(world, model_name, model, columns)
    destination = world.destination(sync.destination)
    declared = _declared_fields(file, model, columns)
    match = _match(file, model, columns, declared)
    drafts = tuple(_draft(file, target, declaration, columns) for target, declaration in declared.items())
    if not isinstance(destination, TableDestination | PythonDestination):
        # JSON has numbers of any size
        drafts = tuple(replace(each, limits=ValueLimits(decimal_unlimited=True)) for each in drafts)
    planner = world.planner
    draft = FieldMappings(drafts, tuple(match), sync.nulls)
    with located(file):
        schema = planner.types(draft, columns)
    if isinstance(destination, TableDestination):
        spec = destination.describe(sync.object, schema, tuple(match))
    else:
        world.dispatcher.check_address(destination)
        spec = world.talk(destination, destination.describe(sync.object))
    mapping = _fitted(file, draft, spec, destination)
    if mapping != draft:
        with located(file):
            schema = planner.types(mapping, columns)
    verbs = verbs_for(sync.mode, sync.removal, spec.verbs)
    if isinstance(verbs, str):
        place = "removed" if "removed:" in verbs and sync.removed is not None else "mode"
        raise ConfigError(f"{sync.to}: {verbs}", code="config.mode_not_possible", where=file.positions.at(place))
    if sync.removed == "ignore":
        verbs.pop("removed", None)  # an audience's members leave by default
    policy = policy_of(sync, verbs)
    check_abilities(file, destination, mapping, verbs, policy, model.key)
    check_sending(file, destination, mapping, verbs, policy, model.key)
    _check_adopt(file, destination, verbs)
    return Resolved(
        name=name,
        sync=sync,
        model_name=model_name,
        model=model,
        source=source,
        planner=planner,
        destination=destination,
        object_spec=spec,
        mapping=mapping,
        verbs=verbs,
        policy=policy,
        guard=sync.guard,
        schema=schema,
        notices=(
            *notices(drift, mapping.fields, all_fields=sync.fields == "all"),
            *without_effect(sync, destination, verbs, policy),
        ),
        drift=drift,
    )


def _check_adopt(file: SyncFile, destination: Destination | TableDestination, verbs: Mapping[Kind, Verb]) -> None:
    """Without adopt, what is not known to have been made by the sync is never removed: where the destination cannot
    tell, that would be everything."""
    sync = file.sync
    if sync.adopt or "added" not in verbs or not isinstance(destination, Naming):
        return
    if not destination.facts(sync.object, verbs["added"]).tells_created:
        raise ConfigError(
            f"adopt: false needs to know which records this sync made, and {sync.to} does not tell",
            code="config.adopt",
            where=file.positions.at("adopt"),
            hint=f"`created:` in `outcomes` of the verb {verbs['added']} says how its answer tells, if it does; "
            "or leave `adopt` out",
        )


@contextmanager
def located(file: SyncFile) -> Iterator[None]:
    """Gives the planner's errors about a field the place where the field stands."""
    try:
        yield
    except ConfigError as error:
        if error.where is None:
            target = next((name for name in _targets(file.sync) if error.message.startswith(f"fields.{name}:")), None)
            if target is not None:
                error.where = file.field_position(target)
        raise


def _targets(sync: Sync) -> list[str]:
    """The declared fields, longest names first."""
    names = [] if sync.fields == "all" else list(sync.fields)
    return sorted([*names, *sync.match], key=len, reverse=True)


def policy_of(sync: Sync, verbs: Mapping[Kind, Verb]) -> KindPolicy:
    """Which kinds of operations a sync plans."""
    if sync.mode == "replace":
        return KindPolicy(added=True, changed=False, removed=False, everything=True)
    changed = "changed" in verbs and (sync.mode != "append" or sync.changed == "send")
    return KindPolicy(added="added" in verbs, changed=changed, removed="removed" in verbs, adopt=sync.adopt)


def model_columns(world: World, name: str, model: Model) -> Sequence[Column]:
    """The columns that the source describes. A query that it refuses is a mistake in the model's file."""
    try:
        source = world.source(model.source)
        return source.columns(model.query_for(source.abilities.dialect))
    except SourceError as error:
        if error.code not in QUERY_MISTAKES:
            raise
        file = world.files.models[name]
        where = file.in_query(error.offset or 0) if model.table is None else file.positions.at("table")
        hint = error.hint or f"`levada preview {name}` tries the model alone"
        raise ConfigError(error.message, code=error.code, where=where, hint=hint) from error


def _check_key(world: World, model_name: str, model: Model, columns: Sequence[Column]) -> None:
    names = [column.name for column in columns]
    for key in model.key:
        if key not in names:
            raise ConfigError(
                f"model {model_name} has no column {key}, which is its key",
                code="config.missing_key_column",
                where=world.model_position(model_name, "key"),
                hint=nearest_hint(key, names),
            )


def _declared_fields(file: SyncFile, model: Model, columns: Sequence[Column]) -> dict[str, FieldDeclaration]:
    """The fields to send, in order; match fields that are not among them are added, first."""
    sync = file.sync
    if sync.fields == "all":
        declared = {column.name: FieldDeclaration(column=column.name) for column in columns}
    else:
        declared = dict(sync.fields)
    if not declared:
        where = file.positions.at("fields")
        raise ConfigError("a sync without fields sends nothing", code="config.no_fields", where=where)
    missing: dict[str, FieldDeclaration] = {}
    for target, column in sync.match.items():
        if target not in declared:
            missing[target] = FieldDeclaration(column=column)
    if not sync.match:
        origins = {d.column: t for t, d in declared.items() if d.column is not None and not d.apply}
        for key in model.key:
            if key not in origins and key not in declared:
                missing[key] = FieldDeclaration(column=key)
    return {**missing, **declared}


def _match(
    file: SyncFile, model: Model, columns: Sequence[Column], declared: Mapping[str, FieldDeclaration]
) -> tuple[str, ...]:
    """The destination's fields that identify a record."""
    names = [column.name for column in columns]
    for target, column in file.sync.match.items():
        if column not in names:
            raise ConfigError(
                f"match: the model has no column {column}",
                code="config.unknown_column",
                where=file.positions.at("match", target),
                hint=nearest_hint(column, names),
            )
    if file.sync.match:
        return tuple(file.sync.match)
    found: list[str] = []
    for key in model.key:
        by_origin = [t for t, d in declared.items() if d.column == key and not d.apply]
        found.append(key if key in declared else by_origin[0])
    return tuple(found)


def _draft(file: SyncFile, target: str, declared: FieldDeclaration, columns: Sequence[Column]) -> FieldMapping:
    """One field before the destination was asked."""
    if declared.column is not None:
        names = [column.name for column in columns]
        if declared.column not in names:
            raise ConfigError(
                f"{target}: the model has no column {declared.column}",
                code="config.unknown_column",
                where=file.positions.at("fields", target, "column"),
                hint=nearest_hint(declared.column, names),
            )
        return FieldMapping(target, "column", declared.column, None, declared.apply, declared.only_if_empty)
    if declared.sql is not None:
        return FieldMapping(target, "sql", declared.sql, None, declared.apply, declared.only_if_empty)
    if declared.template is not None:
        return FieldMapping(target, "template", declared.template, None, declared.apply, declared.only_if_empty)
    return FieldMapping(target, "value", "", declared.value, declared.apply, declared.only_if_empty)


def _match_hint(file: SyncFile, draft: FieldMappings, spec: ObjectSpec, name: str) -> str:
    """What to write where a record would be found by the model's key, and the object knows it by another field."""
    if file.sync.match or name not in draft.match:
        return ""
    finding = spec.match or tuple(each.name for each in spec.fields if each.unique)
    if not finding:
        return ""
    origins = {each.field: each.origin for each in draft.fields if each.kind == "column"}
    examples = " or ".join(f"match: {{{each}: {origins.get(each, 'COLUMN')}}}" for each in finding)
    return f"a record is found by the model's key unless the sync says by what: write {examples}"


def _fitted(
    file: SyncFile, draft: FieldMappings, spec: ObjectSpec, destination: Destination | TableDestination
) -> FieldMappings:
    """The mapping with the destination's types and limits."""
    known = {declared.name: declared for declared in spec.fields}
    fitted: list[FieldMapping] = []
    for mapped in draft.fields:
        declared = known.get(mapped.field) or known.get(mapped.field.split(".")[0].split("[")[0])
        if declared is None:
            if not spec.open:
                raise ConfigError(
                    f"{destination.name}.{spec.name} has no field {mapped.field}",
                    code="config.unknown_field",
                    where=file.field_position(mapped.field),
                    hint=_match_hint(file, draft, spec, mapped.field) or nearest_hint(mapped.field, known),
                )
            fitted.append(mapped)
            continue
        if not declared.writable:
            raise ConfigError(
                f"{destination.name}.{spec.name}.{mapped.field} cannot be written",
                code="config.field_not_writable",
                where=file.field_position(mapped.field),
            )
        nested = declared.name != mapped.field
        fitted.append(
            FieldMapping(
                mapped.field,
                mapped.kind,
                mapped.origin,
                mapped.constant,
                mapped.apply,
                mapped.only_if_empty,
                "any" if nested else declared.type,
                "" if nested else declared.native,
                type(declared.limits)() if nested else declared.limits,
            )
        )
    if spec.match is not None:
        for name in draft.match:
            if name not in spec.match:
                raise ConfigError(
                    f"records of {destination.name}.{spec.name} cannot be found by {name}",
                    code="config.match_not_possible",
                    where=file.positions.at("match", name),
                    hint=_match_hint(file, draft, spec, name) or f"match by {' or '.join(spec.match)}",
                )
    missing = [f.name for f in spec.fields if f.required and f.name not in {m.field.split(".")[0] for m in fitted}]
    if missing and file.sync.mode not in ("update",):
        raise ConfigError(
            f"{destination.name}.{spec.name} needs the field {', '.join(missing)}, which is not mapped",
            code="config.required_field",
            where=file.positions.at("fields"),
            hint="map it, or use mode update, which never creates a record",
        )
    return FieldMappings(tuple(fitted), draft.match, draft.nulls)

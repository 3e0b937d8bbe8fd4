"""What a sync sends for each kind of change, known before any record is: for refusing what cannot be, and for showing.

A destination that names its requests beforehand (`levada.destination.Naming`) is held against the sync's mapping here.
Databases and files are sent every mapped field; a function in Python reads what it wants, which cannot be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from levada.change import KINDS, Kind, Verb
from levada.destination import DeliveryClass, Destination, Naming, RequestFacts, TableDestination
from levada.errors import ConfigError, Where
from levada.mapping import Mapping as FieldMappings
from levada.planner import KindPolicy
from levada.template import WITHOUT_MATCH, Placeholder, field_tree

if TYPE_CHECKING:
    from levada.project.files import SyncFile
    from levada.runner.resolved import Resolved

_REMOVALS = ("delete", "archive", "remove")
_FINDING = ("upsert", "update")
"""Verbs whose record the tool finds by what is sent; a match field that is not the model's key says by what."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What one kind of change becomes. `sends` is None where that cannot be known."""

    kind: Kind
    verb: Verb
    #: what may be done after the answer was lost
    delivery_class: DeliveryClass
    method: str | None = None
    path: str | None = None
    table: str | None = None
    sends: tuple[str, ...] | None = None
    #: with nulls: skip: in place of a NULL goes the value that was last confirmed, over whatever is there by now
    null_as_confirmed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return {
            "kind": self.kind,
            "verb": self.verb,
            "class": self.delivery_class,
            "method": self.method,
            "path": self.path,
            "table": self.table,
            "fields": None if self.sends is None else list(self.sends),
            "null_as_confirmed": self.null_as_confirmed,
        }

    def __str__(self) -> str:
        begin = f"{self.kind} → {self.verb}"
        if self.method is not None:
            begin += f" {self.method} {self.path}"
        elif self.table is not None:
            begin += f" {'from' if self.verb in _REMOVALS else 'into'} table {self.table}"
        begin += f", class {self.delivery_class}"
        if self.sends is None:
            return f"{begin}; what it sends is up to its function"
        null = ", and for a NULL the value that was last confirmed" if self.null_as_confirmed else ""
        return f"{begin}; sends {', '.join(self.sends) or 'no field'}{null}"


def sendings(resolved: Resolved) -> tuple[Sending, ...]:
    """What each kind of change becomes, for the kinds that the sync plans."""
    fields = [mapped.field for mapped in resolved.mapping.fields]
    match = resolved.mapping.match
    skips = resolved.mapping.nulls == "skip"
    found: list[Sending] = []
    for kind in planned(resolved.verbs, resolved.policy):
        verb, letter = resolved.verbs[kind], resolved.delivery_class(kind)
        if isinstance(resolved.destination, TableDestination):
            sent = match if verb in _REMOVALS else fields
            again = skips and kind == "changed"
            found.append(
                Sending(kind, verb, letter, table=resolved.sync.object, sends=tuple(sent), null_as_confirmed=again)
            )
        elif isinstance(resolved.destination, Naming):
            facts = resolved.destination.facts(resolved.sync.object, verb)
            held = _held(facts.held, fields, match) | _by_match(facts.held, match)
            sent = [name for name in fields if name in held]
            again = skips and kind == "changed" and _unchanged(facts.held, match)
            found.append(Sending(kind, verb, letter, facts.method, facts.path, None, tuple(sent), again))
        else:
            found.append(Sending(kind, verb, letter))
    return tuple(found)


def planned(verbs: Mapping[Kind, Verb], policy: KindPolicy) -> tuple[Kind, ...]:
    """The kinds of changes that are sent, in the order in which people name them."""
    sent = {"added": policy.added, "changed": policy.changed, "removed": policy.removed}
    order: tuple[Kind, ...] = ("added", "changed", "removed")
    assert set(order) == set(KINDS)
    return tuple(kind for kind in order if kind in verbs and sent[kind])


def check_sending(
    file: SyncFile,
    destination: Destination | TableDestination,
    mapping: FieldMappings,
    verbs: Mapping[Kind, Verb],
    policy: KindPolicy,
    keys: Sequence[str],
) -> None:
    """Raises ConfigError where the requests and the mapping do not suit each other, with the place in the sync's file.

    `keys`: the model's key.
    """
    if not isinstance(destination, Naming):
        return
    kinds = planned(verbs, policy)
    facts = {kind: destination.facts(file.sync.object, verbs[kind]) for kind in verbs}
    check = _Check(file, mapping, verbs, frozenset(keys))
    for kind in verbs:
        check.names(kind, facts[kind])
    for kind in kinds:
        check.reserved(kind, facts[kind])
        check.identifier(kind, facts[kind], facts.get("added"))
        check.held(kind, facts[kind])


@dataclass(frozen=True, slots=True)
class _Check:
    file: SyncFile
    mapping: FieldMappings
    verbs: Mapping[Kind, Verb]
    keys: frozenset[str]

    @property
    def fields(self) -> list[str]:
        return [mapped.field for mapped in self.mapping.fields]

    def names(self, kind: Kind, facts: RequestFacts) -> None:
        """Do the fields make one tree, and does the sync map what the requests name?"""
        for place in (*facts.held, *facts.asked):
            if place.source in WITHOUT_MATCH or (place.source in ("fields", "fields_all") and not place.name):
                try:
                    field_tree(self.fields)
                except ConfigError as error:
                    where = self.file.positions.at("fields")
                    raise ConfigError(error.message, code=error.code, where=where, hint=error.hint) from error
            known: Sequence[str] = self.mapping.match if place.source == "match" else self.fields
            if place.source in ("fields", "match", "before") and place.name and place.name not in known:
                from levada.nearest import nearest_hint

                raise ConfigError(
                    f"{self.file.sync.to}: the requests for {self.verbs[kind]} name {{{place.name}}}, which this sync "
                    f"does not {'match by' if place.source == 'match' else 'map'}",
                    code="config.unknown_placeholder",
                    where=self.file.positions.at("fields"),
                    hint=nearest_hint(place.name, known),
                )

    def reserved(self, kind: Kind, facts: RequestFacts) -> None:
        """Is no field called like a word of ours that the requests write?"""
        from levada.destinations.feasibility import check_fields

        for name in self.fields:
            try:
                check_fields([name], facts, self.mapping.match)
            except ConfigError as error:
                raise ConfigError(
                    f"{self.file.sync.to}: in the requests for {self.verbs[kind]} {error.message}",
                    code=error.code,
                    where=self._at(name),
                    hint=error.hint,
                ) from error

    def identifier(self, kind: Kind, facts: RequestFacts, added: RequestFacts | None) -> None:
        """Can the tool's own id be known, where a request needs it?"""
        if not facts.needs_identifier or facts.looks_up:
            return
        if kind != "added" and added is not None and added.tells_identifier:
            return
        verb = self.verbs[kind]
        why = "and a new record has none" if kind == "added" else f"which {self.verbs['added']} never tells"
        raise ConfigError(
            f"{self.file.sync.to}: {kind} records are sent with {verb}, which needs {{destination_id}}, {why}",
            code="config.identifier_never_known",
            where=self.file.positions.at("mode"),
            hint="declare look_up for the object, or say where the answer tells the id, or choose another mode",
        )

    def held(self, kind: Kind, facts: RequestFacts) -> None:
        """Does a request of this kind hold every mapped field? What none holds would be delivered in name only."""
        if kind == "removed" and self.verbs[kind] in _REMOVALS:
            return
        match = self.mapping.match
        held = _held(facts.held, self.fields, match)
        by_match = _by_match(facts.held, match)
        asked = _by_match(facts.asked, match) | _held(facts.asked, self.fields, match)
        lost: list[str] = []
        for mapped in self.mapping.fields:
            name = mapped.field
            if name in held:
                continue
            moves = not (mapped.kind == "column" and mapped.origin in self.keys)
            if name not in match:
                lost.append(name)
            elif name in by_match:
                if kind == "changed" and moves:
                    raise self._stale(name)
            elif name not in asked:
                finds = moves and self.verbs[kind] in _FINDING and not facts.needs_identifier
                if finds or (self.file.sync.fields != "all" and name in self.file.sync.fields):
                    lost.append(name)
        if lost:
            raise self._lost(kind, lost)

    def _lost(self, kind: Kind, lost: Sequence[str]) -> ConfigError:
        verb = self.verbs[kind]
        several = len(lost) > 1
        named = ", ".join(f"{{{name}}}" for name in lost)
        return ConfigError(
            f"{self.file.sync.to}: no request for {verb} ({kind}) holds the field{'s' if several else ''} "
            f"{', '.join(lost)}, so that {'they' if several else 'it'} would never arrive",
            code="config.field_never_sent",
            where=self._at(lost[0]),
            hint=f"put {named} into the record of {verb} in destinations/{self.file.sync.destination}.yml, or leave "
            f"{'them' if several else 'it'} out of `{'match' if set(lost) <= set(self.mapping.match) else 'fields'}`",
        )

    def _stale(self, name: str) -> ConfigError:
        verb = self.verbs["changed"]
        return ConfigError(
            f"{self.file.sync.to}: requests for {verb} (changed) hold the match field {name} only as it was last "
            f"confirmed, so that a new value of it would never arrive",
            code="config.field_never_sent",
            where=self._at(name),
            hint=f"put {{{name}}} into the record of {verb}, or match by the model's key, which never changes",
        )

    def _at(self, name: str) -> Where:
        return self.file.field_position(name)


def _held(places: Iterable[Placeholder], fields: Sequence[str], match: Sequence[str]) -> set[str]:
    """The fields whose new value the requests hold."""
    found: set[str] = set()
    for place in places:
        if place.source in ("fields", "fields_all"):
            found.update([place.name] if place.name else fields)
        elif place.source in WITHOUT_MATCH:
            found.update(name for name in fields if name not in match)
    return found


def _unchanged(places: Iterable[Placeholder], match: Sequence[str]) -> bool:
    """Do the requests hold fields beside the match fields whether they changed or not?"""
    return any(
        place.source == "fields_all" or (place.source == "fields" and place.name and place.name not in match)
        for place in places
    )


def _by_match(places: Iterable[Placeholder], match: Sequence[str]) -> set[str]:
    """The match fields that the requests hold as they were last confirmed; of a new record, its values."""
    found: set[str] = set()
    for place in places:
        if place.source == "match":
            found.update([place.name] if place.name else match)
        elif place.source == "key":
            found.update(match[:1])
    return found

"""What a declared destination can never do, found when its file is read; and what is known of its requests beforehand.

What a sync asks of it, which stands in another file, is compared with these facts by the runner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from levada.change import Verb
from levada.destination import RequestFacts
from levada.destinations.language import VERBS, Action
from levada.destinations.questions import LookUp, RequestDeclaration
from levada.destinations.reading import Reading, Scalar
from levada.destinations.request_maker import Sender
from levada.errors import ConfigError
from levada.template import GROUPS, OWN, WITHOUT_MATCH, Items, Members, Node, Placeholder, Text, placeholders, written

NEW: Final[frozenset[Verb]] = frozenset({"create", "upsert", "append", "add"})
"""Verbs whose record may be new to the tool, and then has no id there."""
MAKING: Final[frozenset[Verb]] = frozenset({"create", "append"})
"""Verbs that do nothing but make records."""
_REMOVING: Final[frozenset[Verb]] = frozenset({"delete", "archive", "remove"})
_RECORD: Final = frozenset({"fields", "fields_all", "match", "key", "before", "destination_id"})
"""Sources of placeholders that say of a record which one it is."""
_MEANINGS: Final[Mapping[str, str]] = {
    "kind": "what happened to the record",
    "verb": "the verb",
    "object": "the object's name",
    "sync": "the sync's name",
    "key": "the value of the match field",
    "key_field": "the name of the match field",
    "destination_id": "the tool's own id of the record",
    "operation": "the id of this change",
    "fields": "the fields that changed",
    "fields_all": "all fields",
    "fields_but_match": "the fields that changed, without those of match",
    "fields_all_but_match": "all fields without those of match",
    "match": "the match fields",
    "before": "the values last confirmed",
    "idempotency_key": "the key of the request",
}
CONSTANT: Final = "a constant of the destination's file"


def reserved(
    action: Action, look_up: LookUp | None, headers: Mapping[str, str], constants: Mapping[str, Scalar]
) -> dict[str, str]:
    """Names written bare in braces that are no fields, with what they stand for; see `RequestFacts`."""
    found: dict[str, str] = {}
    names = {*_names(action, headers), *(_names(look_up, headers) if look_up is not None else ())}
    for name in names:
        group, dot, rest = name.partition(".")
        if f"fields.{name}" in names or group == OWN:
            continue  # whoever writes both knows which is which
        if name in constants:
            found[name] = CONSTANT
        elif name in _MEANINGS and name != "idempotency_key":
            found[name] = _MEANINGS[name]
        elif dot and rest and group in GROUPS:
            found[name] = f"{_MEANINGS[group]}, of which {rest}"
    if "idempotency_key" in written(action.body):
        found["idempotency_key"] = _MEANINGS["idempotency_key"]
    return found


def always(sender: Sender) -> tuple[Placeholder, ...]:
    """The fields that a request holds whatever their values are: only a member of an object can be left out."""
    # a record without a value in its path is rejected by name
    beside = (node for _, node in (*sender.address.query, *sender.address.headers))
    fields = [place for node in beside for place in placeholders(node)]
    if sender.template is not None:
        # a member that is left out is an empty cell in CSV
        csv = sender.encoding == "csv"
        fields += placeholders(sender.template) if csv else _always(sender.template)
    return tuple(place for place in fields if place.source in WITHOUT_MATCH or place.source in ("fields", "fields_all"))


def _always(node: Node) -> Iterator[Placeholder]:
    match node:
        case Members(members):
            for _, value in members:
                if not isinstance(value, Placeholder):
                    yield from _always(value)
        case Items(items):
            for item in items:
                yield from _always(item)
        case Text() | Placeholder():
            yield from (place for place in placeholders(node) if place.name)


def _names(declared: RequestDeclaration, headers: Mapping[str, str]) -> Iterator[str]:
    given = declared.model_fields_set
    trees: list[Any] = [declared.send, declared.query, {**headers, **declared.headers}, declared.body]
    trees += [getattr(declared, word) for word in ("record", "to") if word in given]
    if isinstance(declared, Action):
        trees += [entries.to for entries in declared.outcomes.lists if "to" in entries.model_fields_set]
    for tree in trees:
        yield from written(tree)


def tells_identifier(action: Action, records_max: int) -> bool:
    """Does every answer of success tell the id of each record? `records_max`: the most records in a request."""
    reading: Reading = action.job.results if action.job is not None and action.job.results else action.outcomes
    accepted, items = reading.accepted, reading.items
    if items is not None and items.identifier is not None:
        return True
    if accepted is not None and accepted.identifier is not None:
        return records_max == 1 or accepted.index is not None or accepted.match is not None
    return reading.identifier is not None and records_max == 1


def tells_created(verb: Verb, action: Action) -> bool:
    """Does an answer tell whether a record was made, or was there before?"""
    reading: Reading = action.job.results if action.job is not None and action.job.results else action.outcomes
    return verb in MAKING or any(
        each is not None and each.created for each in (reading, reading.accepted, reading.items)
    )


def sends_a_key(made: Sender) -> bool:
    """Does a request hold something by which the tool knows it again?"""
    places = [*made.address.named()]
    for node in (made.body, made.template):
        places += placeholders(node) if node is not None else ()
    return made.idempotency_header is not None or any(
        place.source == "operation" or place == Placeholder("other", "idempotency_key") for place in places
    )


def check_action(verb: Verb, action: Action, records_max: int) -> None:
    """Raises ConfigError for words of a verb that would never be read."""
    if action.job is not None and action.outcomes.created is not None and action.outcomes.created.status:
        raise _never("created: a job's answer has no status of its records", "name a place: created: {path: …}")
    if action.outcomes.created is not None and records_max > 1:
        raise _never(
            f"created is read from the answer to one record, and {verb} sends up to {records_max:,} in a request",
            "put created into `items` or `accepted`, or write records_per_request: 1",
        )


def check_removal(verb: Verb, facts: RequestFacts) -> None:
    """Raises ConfigError for a removal that names no record: `DELETE /contacts` with no body is for all of them."""
    if verb in _REMOVING and not any(place.source in _RECORD for place in facts.held):
        raise _never(
            f"a request for {verb} does not say which record it is for",
            "put {key}, {match} or {destination_id} into its path, its query, its record or its body",
        )


def check_verbs(facts: Mapping[Verb, RequestFacts], actions: Mapping[Verb, Action]) -> Iterator[tuple[Verb, str, str]]:
    """Verbs of one object that need an id of the tool's which can never be known: the verb, the message and a hint."""
    telling = [verb for verb in VERBS if verb in facts and verb in NEW and facts[verb].tells_identifier]
    for verb, each in facts.items():
        if not each.needs_identifier or each.looks_up:
            continue
        if verb in NEW:
            yield verb, f"a new record has no {{destination_id}}, and {verb} needs it", "declare look_up"
        elif not telling:
            yield verb, f"{verb} needs {{destination_id}}, which can never be known: {_why(actions)}", _HINT


_HINT: Final = (
    "declare look_up, or say where the answer tells each record's id: `outcomes: {items: {…, identifier: …}}`, or "
    "`identifier` with records_per_request: 1"
)


def _why(actions: Mapping[Verb, Action]) -> str:
    making = [verb for verb in VERBS if verb in NEW and verb in actions]
    named = next((verb for verb in making if actions[verb].outcomes.identifier is not None), None)
    if named is not None:
        return (
            f"{named} sends several records in a request, `identifier` is read from the answer to one record only, "
            f"and there is no look_up"
        )
    if making:
        return f"no answer of {' or '.join(making)} tells it (there is no `identifier`), and there is no look_up"
    return "no verb of the object makes records, and there is no look_up"


def clash(name: str, meaning: str) -> ConfigError:
    """The error of a field that has the name of one of our words, where the requests write that word."""
    hint = f"write {{fields.{name}}} for the field"
    hint += ", or give the constant another name" if meaning == CONSTANT else f", or {{{OWN}.{name}}} for Levada's word"
    whose = "" if meaning == CONSTANT else "Levada's own word for "
    message = f"{{{name}}} is {whose}{meaning}, not the field {name}"
    return ConfigError(message, code="config.reserved_placeholder", hint=hint)


def check_fields(fields: Iterable[str], each: RequestFacts, match: tuple[str, ...] = ()) -> None:
    """Raises ConfigError for a field that has the name of a word which the requests write."""
    for name in fields:
        if name in each.reserved and not (name == "key" and match == ("key",)):
            raise clash(name, each.reserved[name])


def _never(message: str, hint: str) -> ConfigError:
    return ConfigError(message, code="config.connector", hint=hint)

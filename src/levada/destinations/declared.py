"""A destination made from the connector language: `type: http`, and every connector's file.

Here the words of `language` become talks. How a request is made is in `requests`, how an answer is read in
`answers`, jobs in `jobs`, discovery, look-ups and read-back in `asking`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from levada.batch import Batch
from levada.change import Verb
from levada.destination import (
    Auth,
    DeliveryClass,
    DestinationSpec,
    DestinationType,
    FieldSpec,
    Found,
    ObjectSpec,
    Page,
    Request,
    RequestFacts,
    Surroundings,
    Talk,
    not_looked_up,
)
from levada.destinations import asking, feasibility, jobs
from levada.destinations.answers import Reader
from levada.destinations.auth import auth_from
from levada.destinations.identifiers import OWN_ID, filled, identified
from levada.destinations.json_places import answer_words
from levada.destinations.language import VERBS, Action, HttpOptions, Object
from levada.destinations.questions import FieldFacts
from levada.destinations.reading import Scalar
from levada.destinations.request_maker import Sender, Unsendable, address, scalars, sender
from levada.errors import ConfigError, DestinationError
from levada.limits import Limits
from levada.mapping import ValueLimits
from levada.nearest import nearest_hint
from levada.outcome import DELIVERED, Effects, Outcome, Outcomes, shortened
from levada.template import OWN, Names, Node, Placeholder, placeholders

DOCS = "docs/reference/connector-language.md"
_IDEMPOTENT = frozenset({"update", "upsert", "delete", "archive", "add", "remove"})


@dataclass(frozen=True, slots=True)
class Ability:
    """One verb of one object, made ready."""

    action: Action
    sender: Sender
    reader: Reader
    job: jobs.JobTalk | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class DeclaredDestination:
    """Fulfils `levada.destination.Destination` and `Readable`."""

    name: str
    spec: DestinationSpec
    options: HttpOptions = field(repr=False)
    #: what `{options.…}` stands for
    given: Mapping[str, Scalar] = field(default_factory=dict, repr=False)
    #: secrets besides those of the auth
    secrets: tuple[str, ...] = field(default=(), repr=False)
    _abilities: dict[tuple[str, Verb], Ability] = field(default_factory=dict, repr=False)

    @property
    def base_url(self) -> str:
        return self.options.base_url

    @property
    def auth(self) -> Auth | None:
        return auth_from(self.options.auth, self.secrets)

    # -- what there is

    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        declared = self.options.objects.get(object_name)
        if declared is None:
            known = yield from self.objects()
            if object_name not in known:
                raise self._unknown(object_name, known)
        shape = self.options.shape(object_name)
        assert shape is not None, "a name that is known is declared, or was discovered"
        fields = {name: _field_spec(name, each) for name, each in shape.fields.items()}
        discovery = self.options.discover.fields
        if discovery is not None and self.options.asks_fields(object_name):
            names = replace(self._names(object_name), fields=frozenset())
            where = address(discovery, names, self.options.headers)
            found = yield from asking.fields(where, discovery, object_name, self.base_url)
            fields = {**{each.name: each for each in found}, **fields}
        return ObjectSpec(
            object_name,
            tuple(fields.values()),
            open=not fields if shape.open is None else shape.open,
            verbs=tuple(verb for verb in VERBS if self.options.action(object_name, verb) is not None),
            match=shape.match,
            title=declared.title if declared is not None else "",
        )

    def objects(self) -> Talk[tuple[str, ...]]:
        names = tuple(self.options.objects)
        discovery = self.options.discover.objects
        if discovery is None:
            return names
        where = address(discovery, Names(frozenset(), constants=self._constants(None)), self.options.headers)
        found = yield from asking.objects(where, discovery, self.base_url)
        return (*names, *(name for name in found if name not in names))

    def check(self) -> Talk[None]:
        if self.options.check is None:
            return
        method, _, path = self.options.check.partition(" ")
        answer = yield Request(method, path, headers=dict(self.options.headers), safe=True)
        if not answer.ok:
            raise DestinationError(
                f"{self.name}: {method} {path} was answered with {answer.status}: {shortened(answer_words(answer))}",
                hint="check base_url and the credential",
            )

    def template(self, object_name: str, verb: Verb) -> Node | None:
        return self._ability(object_name, verb).sender.template

    def facts(self, object_name: str, verb: Verb) -> RequestFacts:
        ability = self._ability(object_name, verb)
        method, _, path = ability.action.send.partition(" ")
        held = tuple(self._named(ability))
        look_up = self._look_up(object_name)
        records_max = 1 if self.spec.delivery_class(object_name, verb) == "B" else ability.limits.records_per_request
        return RequestFacts(
            method,
            path.replace("{object}", object_name).replace(f"{{{OWN}.object}}", object_name),
            held,
            asked=tuple(look_up.named()) if look_up is not None else (),
            reserved=feasibility.reserved(
                ability.action,
                look_up.declared if look_up is not None else None,
                self.options.headers,
                self._constants(self.options.objects.get(object_name)),
            ),
            needs_identifier=OWN_ID in held,
            tells_identifier=feasibility.tells_identifier(ability.action, records_max),
            looks_up=look_up is not None,
            tells_created=feasibility.tells_created(verb, ability.action),
            always=feasibility.always(ability.sender),
        )

    def limits(self, object_name: str, verb: Verb) -> Limits:
        return self._ability(object_name, verb).limits

    # -- talks

    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        ability = self._ability(batch.object, batch.verb)
        lacking = self._lacking(ability, batch)
        if not lacking:
            return (yield from self._send(ability, batch))
        ends = dict.fromkeys(lacking, _without_identifier(batch.verb, looked_up=False))
        found: dict[int, str] = {}
        look_up = self._look_up(batch.object)
        if look_up is not None:
            found, untold = yield from self._asked(look_up, batch, lacking)
            absent = _without_identifier(batch.verb, looked_up=True)
            ends = {index: untold.get(index, absent) for index in lacking if index not in found}
        parts: list[tuple[int, Outcomes]] = []
        for start, length, is_lacking in _runs(len(batch), set(ends)):
            if is_lacking:
                parts += [(1, ends[index]) for index in range(start, start + length)]
            else:
                part = identified(batch.slice(start, length), found, start)
                parts.append((length, (yield from self._send(ability, part))))
        joined = Outcomes.joined(parts)
        return replace(joined, attributed=all(outcomes.attributed for _, outcomes in parts))

    @staticmethod
    def _asked(
        look_up: asking.LookUpTalk, batch: Batch, lacking: Sequence[int]
    ) -> Talk[tuple[dict[int, str], dict[int, Outcomes]]]:
        """The ids that a look-up brings, and the end of the records of which it does not tell."""
        try:
            there = yield from asking.look_up(look_up, batch.take(lacking))
        except DestinationError as error:
            there = Found({}, dict.fromkeys(range(len(lacking)), not_looked_up(error)))
        untold = {lacking[index]: Outcomes(outcome) for index, outcome in there.untold.items()}
        return {lacking[index]: identifier for index, identifier in there.identifiers.items()}, untold

    def _send(self, ability: Ability, batch: Batch) -> Talk[Outcomes]:
        try:
            request = ability.sender.request(filled(batch, ability.sender.template))
        except Unsendable as error:
            return batch.rejected(str(error), code="value.unaddressable")
        answer = yield request
        if ability.job is not None and answer.ok:
            return (yield from ability.job.follow(batch, answer))
        return ability.reader.read(batch, answer)

    def look_up(self, batch: Batch) -> Talk[Found]:
        look_up = self._look_up(batch.object)
        if look_up is None:
            raise DestinationError(
                f"{self.name}: {batch.object} has no look_up", hint="declare look_up, or another class"
            )
        return (yield from asking.look_up(look_up, batch))

    def read(self, object_name: str, fields: Sequence[str], after: str | None = None) -> Talk[Page]:
        declared = self.options.read(object_name)
        if declared is None:
            raise ConfigError(f"{self.name}: {object_name} cannot be read back", code="config.cannot_read")
        names = replace(self._names(object_name), fields=frozenset(), others=frozenset({"field_names"}))
        where = address(declared, names, self.options.headers)
        return (yield from asking.read(where, declared, object_name, fields, after, self.base_url))

    # -- what was declared, made ready

    def _ability(self, object_name: str, verb: Verb) -> Ability:
        found = self._abilities.get((object_name, verb))
        if found is None:
            found = self._abilities[object_name, verb] = self._made(object_name, verb)
        return found

    def _made(self, object_name: str, verb: Verb) -> Ability:
        action = self.options.action(object_name, verb)
        if action is None:
            raise ConfigError(f"{self.name}: {object_name} has no verb {verb}", code="config.no_verb")
        limits = self.options.limits
        names = self._names(object_name)
        made = sender(action, verb, names, self.options.headers, limits.records_per_request)
        records = 1 if made.single else action.records_per_request or limits.records_per_request
        within = limits.model_copy(
            update={
                "records_per_request": records,
                "bytes_per_request": max(1, (action.bytes_per_request or limits.bytes_per_request) - made.around_bytes),
            }
        )
        reader = Reader(action.outcomes, verb, made.address.per_record, names)
        job = jobs.made(action, verb, names, self.options.headers, reader) if action.job is not None else None
        return Ability(action, made, reader, job, within)

    def checked(self) -> DeclaredDestination:
        """Make every verb of every object ready now. Raises ConfigError for the first that can never be.

        Its `path` leads to the verb in the file.
        """
        for object_name in self.options.objects:
            self._check(object_name, object_name, self.options.objects[object_name].fields)
        if self.options.discover.objects is not None:
            self._check("{object}", "verbs", self.options.discover.objects.fields)
        return self

    def _check(self, object_name: str, shown: str, fields: Iterable[str]) -> None:
        """What one object can never do; `{object}` stands for those that are discovered."""
        actions: dict[Verb, Action] = {}
        facts: dict[Verb, RequestFacts] = {}
        for verb in VERBS:
            action = self.options.action(object_name, verb)
            if action is None:
                continue
            actions[verb] = action
            try:
                facts[verb] = self.facts(object_name, verb)
                self._check_verb(object_name, verb, facts[verb])
                feasibility.check_fields(fields, facts[verb])
            except ConfigError as error:
                raise self._placed(object_name, shown, verb, error) from error
        for verb, message, hint in feasibility.check_verbs(facts, actions):
            raise self._placed(
                object_name, shown, verb, ConfigError(message, code="config.identifier_never_known", hint=hint)
            )
        self._look_up(object_name)

    def _check_verb(self, object_name: str, verb: Verb, facts: RequestFacts) -> None:
        ability = self._ability(object_name, verb)
        letter = self.spec.delivery_class(object_name, verb)
        records_max = 1 if letter == "B" else ability.limits.records_per_request
        feasibility.check_action(verb, ability.action, records_max)
        feasibility.check_removal(verb, facts)
        if verb == "create" and letter == "C" and not facts.looks_up:
            raise ConfigError(
                "class C looks first, and there is no look_up",
                code="config.connector",
                hint="declare look_up, or another class",
            )
        if verb in ("create", "append") and letter == "B" and not feasibility.sends_a_key(ability.sender):
            raise ConfigError(
                "class B repeats a request under the same key, and no key is sent",
                code="config.connector",
                hint="declare idempotency_header, or put {idempotency_key} or {operation} into the request",
            )

    def _placed(self, object_name: str, shown: str, verb: Verb, error: ConfigError) -> ConfigError:
        """An error of a verb, with the verb's place in the file."""
        found = ConfigError(f"{shown}.{verb}: {error.message}", code=error.code, hint=error.hint)
        declared = self.options.objects.get(object_name)
        own = declared is not None and verb in declared.declared
        found.path = ("objects", object_name, verb) if own else ("verbs", verb)
        return found

    def _look_up(self, object_name: str) -> asking.LookUpTalk | None:
        declared = self.options.look_up(object_name)
        if declared is None:
            return None
        return asking.look_up_talk(declared, self._names(object_name), self.options.headers, self.base_url)

    def _names(self, object_name: str) -> Names:
        """Fields that a template may name: those declared, where the object takes no others."""
        declared = self.options.objects.get(object_name)
        return Names(self.options.closed(object_name), constants=self._constants(declared))

    def _constants(self, declared: Object | None) -> dict[str, Scalar]:
        own = declared.constants if declared is not None else {}
        return scalars(self.given, self.options.constants, own)

    def _lacking(self, ability: Ability, batch: Batch) -> list[int]:
        """Records whose request needs the tool's own id, and which have none."""
        if OWN_ID not in self._named(ability):
            return []
        if batch.identifiers is None:
            return list(range(len(batch)))
        return [index for index, value in enumerate(batch.identifiers.to_pylist()) if not value]

    @staticmethod
    def _named(ability: Ability) -> Iterator[Placeholder]:
        yield from ability.sender.address.named()
        if ability.sender.template is not None:
            yield from placeholders(ability.sender.template)

    def _unknown(self, object_name: str, known: Sequence[str]) -> ConfigError:
        return ConfigError(
            f"{self.name} has no object {object_name}",
            code="config.unknown_object",
            hint=nearest_hint(object_name, known),
        )


def _without_identifier(verb: Verb, *, looked_up: bool) -> Outcomes:
    """What becomes of a record whose id is not known: looked up and not found, or never told."""
    if not looked_up:
        return Outcomes(Outcome("rejected", "the destination's own id of this record is not known", "no_identifier"))
    if verb in ("delete", "archive", "remove"):
        return Outcomes(DELIVERED, effects=Effects.all("same"))
    return Outcomes(Outcome("suppressed", "not found", "not_found"))


def _runs(size: int, marked: set[int]) -> Iterator[tuple[int, int, bool]]:
    """Consecutive indexes that are alike: start, length, marked."""
    start = 0
    for index in range(1, size + 1):
        if index == size or (index in marked) != (start in marked):
            yield start, index - start, start in marked
            start = index


def _field_spec(name: str, facts: FieldFacts) -> FieldSpec:
    limits = ValueLimits(
        text_characters=facts.text_characters,
        text_bytes=facts.text_bytes,
        integer_bits=facts.integer_bits,
        decimal_digits=facts.decimal_digits,
        decimal_scale=facts.decimal_scale,
        choices=facts.choices,
        nullable=facts.nullable,
    )
    return FieldSpec(
        name, facts.type, facts.native, facts.required, facts.writable, facts.unique, limits, facts.description
    )


def classes_of(options: HttpOptions, object_name: str | None = None) -> dict[Verb, DeliveryClass]:
    """The class of each verb of an object, or of those that declare none: as declared, else by what the verb means.

    A verb that names its record may be sent again (A). A create may be under an idempotency key (B), or be
    looked for first (C); otherwise nothing is known after an answer was lost (D).
    """
    found: dict[Verb, DeliveryClass] = {}
    for verb in VERBS:
        action = options.action(object_name, verb)
        if action is not None:
            found[verb] = (
                action.class_ or _by_connector(options, verb) or _by_meaning(options, object_name, verb, action)
            )
    return found


def _by_connector(options: HttpOptions, verb: Verb) -> DeliveryClass | None:
    return options.class_ if options.class_ is None or isinstance(options.class_, str) else options.class_.get(verb)


def _by_meaning(options: HttpOptions, object_name: str | None, verb: Verb, action: Action) -> DeliveryClass:
    if verb in _IDEMPOTENT:
        return "A"
    if action.idempotency_header is not None:
        return "B"
    return "C" if verb == "create" and options.look_up(object_name) is not None else "D"


def spec_of(type_name: str, title: str, docs: str, options: HttpOptions) -> DestinationSpec:
    """What a connector declares about its tool."""
    return DestinationSpec(
        type_name,
        title,
        docs,
        limits=options.limits,
        classes=classes_of(options),
        object_classes={name: classes_of(options, name) for name in options.objects},
        max_server_seconds=options.max_server_seconds,
        index_lag_seconds=options.index_lag_seconds,
        idempotency_seconds=options.idempotency_seconds,
        timeout_seconds=options.timeout_seconds,
        forbidden=options.forbidden,
        not_applied_statuses=frozenset(options.not_applied_statuses),
    )


def open_http(name: str, options: HttpOptions, surroundings: Surroundings) -> DeclaredDestination:
    """A destination of `type: http`."""
    return DeclaredDestination(name, spec_of("http", "HTTP", DOCS, options), options).checked()


TYPE = DestinationType("http", "HTTP", DOCS, HttpOptions, open_http)

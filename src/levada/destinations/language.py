"""The connector language: what can stand in a connector's file, as classes.

These classes are the vocabulary: they check a file, make its JSON Schema, and the reference
(docs/reference/connector-language.md) is generated from their docstrings. The vocabulary is closed: there
are no conditions, no loops, no inheritance and no names of classes. What it cannot say is a Python function
(docs/guides/your-own-destination.md). What the words do is in the modules beside this one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from levada.change import Verb
from levada.destinations.questions import (
    Discovery,
    FieldFacts,
    LookUp,
    ObjectsDiscovery,
    Read,
    RequestDeclaration,
    Send,
)
from levada.destinations.reading import Reading, Scalar
from levada.destinations.signing import AuthDeclaration, BaseAddress
from levada.limits import Limits
from levada.model import ONE_OR_MORE, OR_NONE, Declaration, Name, Shorthand
from levada.outcome import Effect

VERBS: tuple[Verb, ...] = get_args(Verb)
Encoding = Literal["json", "form", "json_lines", "csv"]
HttpClass = Literal["A", "B", "C", "D"]
"""T, a transaction with our mark in it, is for databases."""


class Until(Declaration):
    """When a job has ended."""

    path: str
    """The place of the job's state in the answer."""
    done: tuple[Scalar, ...]
    """States of a job that went through."""
    failed: tuple[Scalar, ...] = ()
    """States of a job that took nothing. Every other state counts as running."""


class Results(Reading):
    """The answer that says what became of each record of a job."""

    send: Send
    """The request for it; `{job}` is the job's id."""
    format: Literal["json", "json_lines", "csv"] = "json"
    """How the answer is written; lines and rows become a list."""


class Job(Declaration):
    """A job that the tool works on after its answer: it is polled to its end, and then read."""

    id: str
    """The place of the job's id in the first answer."""
    status: Send
    """The request for its state; `{job}` is the id."""
    until: Until
    """When it has ended."""
    every_seconds: float = Field(default=2.0, gt=0, le=3600)
    """How long to wait before each poll."""
    polls_max: int = Field(default=300, gt=0, le=10_000)
    """After so many polls the records are unknown."""
    results: Results | None = None
    """Where the outcomes are; without it, `outcomes` of the verb reads the last state."""


class Action(RequestDeclaration, Shorthand):
    """What a verb sends, and how its answer is read. A bare string is its `send`."""

    bare = "send"

    record: Any = None
    """How one record looks: a template. By default `{fields_all}`; `{fields}` for update; `{match}` for removals."""
    encoding: Encoding = "json"
    """How the body is written. `form` takes one record a request."""
    records_per_request: int | None = Field(default=None, gt=0, le=1_000_000)
    """The most records in one request of this verb; one, if the path or the query names a field."""
    bytes_per_request: int | None = Field(default=None, gt=0)
    """The most bytes in one body of this verb."""
    idempotency_header: str | None = None
    """The header that takes a key by which the tool knows a repeated request."""
    outcomes: Reading = Reading()
    """How the answer is read; without it, by its status."""
    job: Job | None = None
    """The answer names a job, which is polled to its end."""
    class_: HttpClass | None = Field(default=None, alias="class")
    """What may be done when its answer is lost; without it, as the connector says, or by what the verb means."""


class Verbs(Declaration):
    """What can be done with records."""

    create: Action | None = None
    """Make a new record."""
    update: Action | None = None
    """Change a record that exists."""
    upsert: Action | None = None
    """Change the record, or make it where there is none."""
    delete: Action | None = None
    """Delete the record."""
    archive: Action | None = None
    """Put the record away, so that it can be brought back."""
    add: Action | None = None
    """Add a member to an audience."""
    remove: Action | None = None
    """Remove a member from an audience."""
    append: Action | None = None
    """Add an entry that is never changed: an event, a line."""
    look_up: LookUp | None = None
    """Find records by their match fields."""
    read: Read | None = None
    """Read the records back."""

    @property
    def declared(self) -> tuple[Verb, ...]:
        """The verbs that stand here."""
        return tuple(verb for verb in VERBS if getattr(self, verb) is not None)

    @model_validator(mode="after")
    def _members_or_records(self) -> Verbs:
        members = [verb for verb in self.declared if verb in ("add", "remove")]
        records = [verb for verb in self.declared if verb not in members]
        if members and records:
            raise ValueError(
                f"{members[0]} makes this an audience, whose members are added and removed, and {records[0]} is for "
                f"records: declare two objects"
            )
        return self


class Object(Verbs):
    """Something that records can be written to. With a verb of its own it has none of the connector's `verbs`."""

    title: str = ""
    """For people."""
    match: Annotated[tuple[str, ...], ONE_OR_MORE] | None = None
    """The field by which a record can be found, or a list of them; without it, any."""
    fields: dict[str, FieldFacts] = Field(default_factory=dict)
    """Its fields; without them, and without discovery, every field is taken."""
    open: bool | None = None
    """Take fields that are not listed, too?"""
    constants: dict[str, Scalar] = Field(default_factory=dict)
    """Names for templates: `{path: contacts}` makes `{path}` stand for contacts."""


class HttpOptions(Declaration):
    """A destination of `type: http`, and the greater part of a connector's file."""

    base_url: BaseAddress
    """Where all paths begin: `https://api.example.com/v1`."""
    auth: Annotated[AuthDeclaration | None, OR_NONE] = None
    """How requests are signed; `none` for not at all."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of every request."""
    limits: Limits = Limits()
    """How much may be sent, and how fast; shared by all syncs that send to this account."""
    class_: HttpClass | dict[Verb, HttpClass] | None = Field(default=None, alias="class")
    """What may be done when an answer is lost (docs/concepts/destination-classes.md): one letter, or one for a verb.
    A `class` of an object's verb goes before it."""
    max_server_seconds: float = Field(default=60.0, gt=0)
    """How long after being sent a request whose answer was lost may still be applied."""
    index_lag_seconds: float = Field(default=0.0, ge=0)
    """How long a created record may stay invisible to look-ups."""
    idempotency_seconds: float = Field(default=24 * 3600.0, gt=0)
    """How long an idempotency key is honoured."""
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600)
    """How long to wait for an answer."""
    not_applied_statuses: tuple[int, ...] = ()
    """Statuses of 5xx that are documented to mean: surely not applied."""
    forbidden: Literal["account", "record"] = "account"
    """What a 403 speaks of: the account, so that the run pauses, or the records of its request, which are refused."""
    constants: dict[str, Scalar] = Field(default_factory=dict)
    """Names for the templates of all objects."""
    objects: dict[str, Object] = Field(default_factory=dict)
    """What can be written to, by name."""
    verbs: Verbs = Verbs()
    """The verbs of objects that declare none of their own; its `look_up` and `read` hold for all. `{object}` is the
    object's name."""
    check: Send | None = None
    """A request that proves the credential and changes nothing: `GET /me`."""
    discover: Discovery = Discovery()
    """How the account is asked for its objects and fields."""

    @model_validator(mode="after")
    def _has_objects(self) -> HttpOptions:
        if not self.objects and self.discover.objects is None:
            raise ValueError("objects: name at least one, or say how they are discovered")
        for name, declared in self.objects.items():
            if not declared.declared and not self.verbs.declared:
                raise ValueError(f"object {name} has no verb: give it upsert, create, update, delete, add or append")
        return self

    def action(self, object_name: str | None, verb: Verb) -> Action | None:
        """A verb of the object's own, or the connector's where it declares none; None: of those not declared."""
        declared = self.objects.get(object_name or "")
        found: Action | None = getattr(declared if declared is not None and declared.declared else self.verbs, verb)
        return found

    def shape(self, object_name: str) -> Object | ObjectsDiscovery | None:
        """What is declared of an object's fields; None of one that there cannot be."""
        return self.objects.get(object_name) or self.discover.objects

    def asks_fields(self, object_name: str) -> bool:
        """Is the account asked for the object's fields?"""
        shape = self.shape(object_name)
        own = isinstance(shape, ObjectsDiscovery) and shape.fields
        return self.discover.fields is not None and not own

    def closed(self, object_name: str) -> frozenset[str] | None:
        """The fields of an object that takes no others, where they are all declared."""
        shape = self.shape(object_name)
        if shape is None or not shape.fields or shape.open or self.asks_fields(object_name):
            return None
        return frozenset(shape.fields)

    def look_up(self, object_name: str | None) -> LookUp | None:
        """The object's own, or the connector's."""
        declared = self.objects.get(object_name or "")
        return (declared.look_up if declared is not None else None) or self.verbs.look_up

    def read(self, object_name: str) -> Read | None:
        """The object's own, or the connector's."""
        declared = self.objects.get(object_name)
        return (declared.read if declared is not None else None) or self.verbs.read


class Option(Declaration):
    """What a destination of this type says in its file."""

    description: str = ""
    """For people."""
    required: bool = True
    """Must it be given?"""
    secret: bool = False
    """Is it a secret? It is kept out of every output."""
    default: str | None = None
    """Its value where none is given."""


class CaseAnswer(Declaration):
    """An answer of the tool, as a case gives it."""

    status: int = 200
    """The status."""
    json_: Any = Field(default=None, alias="json")
    """The body as JSON."""
    text: str | None = None
    """The body as text, instead."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers."""


class CaseRequest(Shorthand):
    """A request that a case expects. A bare string is its method and path."""

    bare = "send"

    send: str
    """Method, path and query, as sent: `DELETE /contacts/ada%40example.com`."""
    json_: Any = Field(default=None, alias="json")
    """The body as JSON, compared by value."""
    text: str | None = None
    """The body as text, instead."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers that must be among those sent."""


class Case(Declaration):
    """Records in, requests out, answers in, outcomes out."""

    name: str
    """What the case shows, as a sentence."""
    create: str | None = None
    """The object that records are made in. A case has exactly one verb, with its object."""
    update: str | None = None
    """The object whose records are changed."""
    upsert: str | None = None
    """The object whose records are made or changed."""
    delete: str | None = None
    """The object whose records are deleted."""
    archive: str | None = None
    """The object whose records are archived."""
    add: str | None = None
    """The audience that members are added to."""
    remove: str | None = None
    """The audience that members are removed from."""
    append: str | None = None
    """The object that entries are added to."""
    records: tuple[dict[str, Any], ...]
    """The records, by field name."""
    match: Annotated[tuple[str, ...], ONE_OR_MORE] | None = None
    """The match field, or a list of them; by default the object's."""
    kind: Literal["added", "changed", "removed"] | None = None
    """What happened to the records; by default what suits the verb."""
    changed: tuple[str, ...] | None = None
    """The fields that changed; by default all."""
    before: tuple[dict[str, Any], ...] = ()
    """The values last confirmed of each record, where they differ from it: it is then one that changed."""
    nulls: Literal["clear", "skip"] = "clear"
    """What the sync says of NULL."""
    identifiers: tuple[str | None, ...] | None = None
    """The tool's own ids of the records, where known."""
    sends: Annotated[tuple[CaseRequest, ...], ONE_OR_MORE] = ()
    """The requests expected, in order: one or a list."""
    answer: CaseAnswer | None = None
    """The answer, where there is one request."""
    answers: tuple[CaseAnswer, ...] = ()
    """The answers, in order."""
    outcomes: tuple[str, ...]
    """The end of each record: `delivered`, `rejected: its words`, `unknown`."""
    effects: Annotated[tuple[Effect, ...], ONE_OR_MORE] | None = None
    """What became of the records at the tool: one of `created`, `updated`, `same`, `gone` and `untold`, or a list."""

    @model_validator(mode="after")
    def _one_verb(self) -> Case:
        if len([verb for verb in VERBS if getattr(self, verb) is not None]) != 1:
            raise ValueError("a case has exactly one verb, with the object it is done to: `upsert: contacts`")
        if self.answer is not None and self.answers:
            raise ValueError("a case has either answer or answers")
        if not self.records:
            raise ValueError("a case has at least one record")
        if len(self.outcomes) != len(self.records):
            raise ValueError("a case has one outcome for each record")
        if self.effects is not None and len(self.effects) not in (1, len(self.records)):
            raise ValueError("a case has one effect for all its records, or one for each")
        return self


class Connector(HttpOptions):
    """A connector's file, `connectors/NAME.yml`: a destination type of that name."""

    title: str
    """The tool's name, as people write it."""
    docs: str = ""
    """The page of the vendor that this is made from."""
    options: dict[Name, Option] = Field(default_factory=dict)
    """What a destination of this type must say; `{options.token}` stands for it in every template."""
    cases: tuple[Case, ...] = ()
    """Examples that are also tests: `levada test`."""

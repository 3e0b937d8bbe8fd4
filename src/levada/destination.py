"""The contract of a destination: the tool that receives records.

Two faces, by what is at the other end. A `Destination` speaks HTTP: its methods are generators that yield
requests and receive responses ("talks"), and never touch the network, a clock or a retry: delivery does
that for all. A `TableDestination` opens a `Writer`: databases and files, where rows and a mark of how far
they got can be written together.

What a connector never sees: 429, an expired credential (401), a connection that failed, an answer that
never came, a 5xx. Delivery waits, refreshes, or settles those by the destination's class.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import pyarrow as pa
from pydantic import BaseModel

from levada.addresses import OWN_MACHINE, AddressPolicy
from levada.batch import Batch
from levada.change import Kind, Verb
from levada.errors import DestinationError
from levada.limits import Limits
from levada.mapping import FieldType, ValueLimits
from levada.outcome import LOOK_UP_FAILED, UNREAD, Outcome, Outcomes, shortened
from levada.sync import Mode, Removal
from levada.template import Placeholder

DeliveryClass = Literal["T", "A", "B", "C", "D"]
"""What may be done after an answer was lost (docs/concepts/destination-classes.md).

T: rows and our mark move in one transaction. A: sending again is harmless. B: sending again under the same
idempotency key is. C: look first. D: nothing is known; the user chose.
"""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of an object. `native` is the tool's own name of the type."""

    name: str
    type: FieldType = "any"
    native: str = ""
    required: bool = False
    writable: bool = True
    unique: bool = False
    limits: ValueLimits = ValueLimits()
    description: str = ""


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """What can be written to: a table, `contacts`, an audience.

    `open`: takes fields that are not listed, of any type. `match`: the fields by which a record can be
    found; None means any unique set of fields.
    """

    name: str
    fields: tuple[FieldSpec, ...] = ()
    open: bool = False
    verbs: tuple[Verb, ...] = ()
    match: tuple[str, ...] | None = None
    title: str = ""

    def field(self, name: str) -> FieldSpec | None:
        return next((spec for spec in self.fields if spec.name == name), None)


@dataclass(frozen=True, slots=True)
class DestinationSpec:
    """What a connector declares about its tool: the checks, the reference page and the form are made of it."""

    type: str
    title: str
    docs: str
    limits: Limits = Limits()
    #: of the verbs of its objects
    classes: Mapping[Verb, DeliveryClass] = field(default_factory=dict)
    #: of the verbs of those objects that differ, by name: all that they have
    object_classes: Mapping[str, Mapping[Verb, DeliveryClass]] = field(default_factory=dict)
    #: how long after being sent a request whose answer was lost may still be applied
    max_server_seconds: float = 60.0
    #: how long a created record may stay invisible to look-ups
    index_lag_seconds: float = 0.0
    #: how long an idempotency key is honoured
    idempotency_seconds: float = 24 * 3600.0
    #: can a field be set only where it is empty?
    only_if_empty: bool = False
    #: statuses of 5xx that the vendor documents as "surely not applied"
    not_applied_statuses: frozenset[int] = frozenset()
    #: what a 403 speaks of: the account, so that the run pauses, or the records of its request, which are refused
    forbidden: Literal["account", "record"] = "account"
    #: seconds to wait for an answer
    timeout_seconds: float = 60.0
    #: can a field be left as it is where the model has NULL (nulls: skip)?
    skips_nulls: bool = True
    #: can a whole object be swapped in one step (mode replace)?
    replaces: bool = False

    @property
    def settling_seconds(self) -> float:
        """After so long a request whose answer was lost is either applied, and can be found, or never will be."""
        return self.max_server_seconds + self.index_lag_seconds

    def delivery_class(self, object_name: str, verb: Verb) -> DeliveryClass:
        return self.object_classes.get(object_name, self.classes).get(verb, "D")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `url` is absolute, or a path below the account's base URL.

    `safe`: asks and changes nothing, so that it may be repeated at will (look-ups, polls, discovery).
    `after_seconds`: wait so long first.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    safe: bool = False
    after_seconds: float = 0.0
    #: sent without the account's credential: token requests
    anonymous: bool = False
    #: called at every sending with the time in unix seconds; its headers are added (signatures with a time)
    sign: Callable[[int], Mapping[str, str]] | None = field(default=None, repr=False, compare=False)
    #: delivery's own: asked right before each sending; False ends the conversation
    allowed: Callable[[], bool] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is none: what that means is the connector's to say."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deep") from None

    @property
    def request_id(self) -> str:
        for name in ("x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid", "cf-ray"):
            if name in self.headers:
                return self.headers[name][:200]
        return ""


def fits_header(value: str) -> bool:
    """Can a header hold this? No control character but a tab: a line break would begin another header."""
    return not any((letter < " " and letter != "\t") or letter == "\x7f" for letter in value)


T = TypeVar("T")
Talk = Generator[Request, Response, T]


def resumed(talk: Talk[T], first: Request) -> Talk[T]:
    """A talk whose first request was already taken from it."""
    request = first
    while True:
        answer = yield request
        try:
            request = talk.send(answer)
        except StopIteration as stop:
            found: T = stop.value
            return found


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up says of each record of a batch, by index: the destination's own id; absent if not in it.

    `untold`: records of which nothing is known, with what that makes of them; they are neither there nor absent.
    """

    identifiers: Mapping[int, str] = field(default_factory=dict)
    untold: Mapping[int, Outcome] = field(default_factory=dict)


def not_looked_up(error: DestinationError) -> Outcome:
    """What a look-up that does not tell makes of a record: it is neither changed nor made."""
    reason = error.message if error.message.startswith("look-up: ") else f"look-up: {error.message}"
    return Outcome("not_applied", shortened(reason), UNREAD if error.code == UNREAD_ERROR else LOOK_UP_FAILED)


UNREAD_ERROR = "destination.unread"
"""The code of an error that an answer makes which no word of the connector's reads: asking again would not help."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What goes with every request of an account. Its repr shows nothing of it."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: to be kept, encrypted, for the next process (a rotated refresh token); never logged
    kept: Mapping[str, str] = field(default_factory=dict, repr=False)
    expires_in_seconds: float | None = None


class Auth(Protocol):
    """How an account signs its requests."""

    @property
    def refreshes(self) -> bool:
        """Can `sign_in` bring a fresh credential when one is refused?"""
        ...

    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        """A credential. `kept` is what an earlier one asked to keep. Requests are `anonymous`.

        Raises AuthError when the destination refuses; a static credential yields no request at all.
        """
        ...

    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for redaction."""
        ...


RecordTemplate = Any
"""A JSON-like tree whose strings may hold placeholders in braces; delivery renders it, vectorised.

A string that is one placeholder keeps the value's JSON type; in a longer string the value is put in as
text; `{{` and `}}` are literal braces. Placeholders: `{fields}` (the object of fields to be sent, dots made
nested), `{fields.NAME}` or `{NAME}` (one field), `{match}` and `{match.NAME}` (match fields), `{key}` and
`{key_field}` (the only match field and its name), `{before}`, `{before.NAME}`, `{destination_id}`, `{operation}`,
`{kind}`, `{verb}`, `{object}`, `{sync}`. `fields_all` in place of `fields` sends every field, not just those that
changed; `fields_but_match` and `fields_all_but_match` leave out the match fields. The exact rules, the parsed form
(`parse` takes either form) and a rendering in Python are in `levada.template`.
"""


@runtime_checkable
class Destination(Protocol):
    """Spoken to over HTTP."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> DestinationSpec: ...

    @property
    def base_url(self) -> str: ...

    @property
    def auth(self) -> Auth | None: ...

    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        """The object and its fields. Raises ConfigError (with the nearest name) if there is none."""
        ...

    def check(self) -> Talk[None]:
        """Prove the credential where the tool has a way; yield nothing where it has none."""
        ...

    def template(self, object_name: str, verb: Verb) -> RecordTemplate | None:
        """How one record is rendered for this verb; None if `deliver` reads the batch's columns itself."""
        ...

    def limits(self, object_name: str, verb: Verb) -> Limits:
        """The account's limits, with the batch sizes of this verb."""
        ...

    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        """Send one batch. 4xx answers (but 401, 408, 425 and 429) come back to be read; see the module."""
        ...

    def look_up(self, batch: Batch) -> Talk[Found]:
        """Which of the records exist (class C). Raise DestinationError when the answer tells of none of them."""
        ...


Keep = Callable[[int, "pa.Table | None"], None]
"""What stood in the mapped fields of records right before they were written: called with the first sequence of a part
of the plan, inside of its transaction, before the commit. Durable when it returns; the same part again replaces it.

The table has `sequence` (int64: the operation's place in the plan), `before.<field>` for each field of the order's
schema, in its type, and `unkept` (list of text): the fields whose old value has no place in that type. It has a row for
each record that held something else than the plan says of it (of an addition: for each record that was there). None:
there is none.
"""


@dataclass(frozen=True, slots=True)
class WriteOrder:
    """What a writer is opened for. `schema` has the mapped fields, in order, with the types to be written."""

    sync: str
    run_id: str
    plan_id: str
    object: str
    mode: Mode
    removal: Removal
    match: tuple[str, ...]
    schema: pa.Schema
    #: how the columns of a table to be created are named in the destination's own types, where declared
    natives: Mapping[str, str] = field(default_factory=dict)
    operations: int = 0
    #: what a NULL does to a record that is there: empty the field, or leave it as it is
    nulls: Literal["clear", "skip"] = "clear"
    #: fields that are written only where the record's own is NULL
    only_if_empty: frozenset[str] = frozenset()
    #: whose plans these are: a digest of the store and the object
    owner: str = ""
    #: takes what stood in records before a part of the plan was written over them (see `Keep`)
    keep: Keep | None = None

    @property
    def plan_mark(self) -> str:
        """The plan, in marks. A plan of equal content from another store, or for another object, is another one."""
        return f"{self.plan_id}.{self.owner}" if self.owner else self.plan_id

    @property
    def sync_mark(self) -> str:
        """The sync, in marks: one of the same name in another project is another one."""
        return f"{self.sync}.{self.owner}" if self.owner else self.sync


class Writer(Protocol):
    """Writes batches, one at a time, from one thread. Values of a batch are already of the order's schema."""

    def applied(self, number: int) -> bool | None:
        """Was batch `number` of this plan committed, every record delivered? None if this destination cannot tell
        (class A). Where it can, `write` of such a batch writes nothing, and answers as the first time."""
        ...

    def write(self, batch: Batch) -> Outcomes:
        """Apply one batch and, in the same transaction, the mark of its number.

        Tells the effect of each delivered record, as it was found in that transaction; the order's `keep` is given
        what stood there before.

        A batch refused as a whole comes back as `batch.refused(...)`, with nothing applied. Raises
        UnavailableError if it is surely not applied because the connection was lost before the commit was
        sent, and ConnectionError if it is unknown.
        """
        ...

    def finish(self) -> None:
        """All batches are in: make visible what waits to be (mode replace, files). Idempotent."""
        ...

    def close(self) -> None:
        """Release everything; what was not finished stays invisible or is taken up by the next writer. Idempotent."""
        ...


@runtime_checkable
class TableDestination(Protocol):
    """Databases and files."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> DestinationSpec: ...

    def describe(self, object_name: str, wanted: pa.Schema | None = None, match: Sequence[str] = ()) -> ObjectSpec:
        """The table and its columns; changes nothing.

        With `wanted` (a sync's fields) a missing table or column is a ConfigError that shows the statement
        to run, unless the destination may create it: then the answer is as if it were already created.
        """
        ...

    def check(self) -> None: ...

    def limits(self, object_name: str, verb: Verb) -> Limits: ...

    def open(self, order: WriteOrder) -> Writer: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a destination may know of the project it is opened in."""

    root: Path
    #: hosts that may be sent to though they are private or loopback addresses
    allowed_hosts: tuple[str, ...] = ()
    #: where connections may go that the destination makes itself
    policy: AddressPolicy = OWN_MACHINE


@dataclass(frozen=True, slots=True)
class Page:
    """Records read back from a destination: their fields by name (absent ones left out), and the tool's ids.

    `next` is what to read on with; None after the last page.
    """

    records: tuple[Mapping[str, Any], ...]
    identifiers: tuple[str | None, ...] = ()
    next: str | None = None


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What is known of a verb's requests before any is made.

    `held`: what the requests themselves stand for. `asked`: what the look-ups before them stand for. `reserved`: names
    that were written bare in braces and are no fields, but words of Levada's (or constants of the connector's file),
    with what they stand for.
    """

    method: str
    path: str
    held: tuple[Placeholder, ...]
    asked: tuple[Placeholder, ...] = ()
    reserved: Mapping[str, str] = field(default_factory=dict)
    #: can a record be sent only with the tool's own id?
    needs_identifier: bool = False
    #: does the answer tell the tool's own id of each record that was taken?
    tells_identifier: bool = False
    #: can the id of a record be looked up?
    looks_up: bool = False
    #: does an answer tell whether a record was made or was there before?
    tells_created: bool = False
    #: those of `held` that are sent also where the value is NULL and the sync says `nulls: skip`
    always: tuple[Placeholder, ...] = ()


@runtime_checkable
class Naming(Protocol):
    """A destination whose requests are known beforehand, so that a sync which they do not suit is refused. Optional."""

    def facts(self, object_name: str, verb: Verb) -> RequestFacts:
        """Raises ConfigError where the object has no such verb."""
        ...


@runtime_checkable
class Readable(Protocol):
    """A destination that can also be read back: for drift, and for forms. Optional."""

    def objects(self) -> Talk[tuple[str, ...]]:
        """The names of the objects of this account."""
        ...

    def read(self, object_name: str, fields: Sequence[str], after: str | None = None) -> Talk[Page]:
        """One page of an object's records; `after` is an earlier page's `next`.

        Raises ConfigError where the object cannot be read, DestinationError for an answer that does not tell.
        """
        ...


Options = type[BaseModel]


@dataclass(frozen=True, slots=True)
class DestinationType:
    """One kind of destination: its `type:`, the pydantic class of its options, and how it is opened."""

    type: str
    title: str
    docs: str
    options: Options
    open: DestinationOpener


class DestinationOpener(Protocol):
    def __call__(self, name: str, options: Any, surroundings: Surroundings) -> Destination | TableDestination: ...


def verbs_for(mode: Mode, removal: Removal, available: Sequence[Verb]) -> dict[Kind, Verb] | str:
    """Which verb each kind of change becomes on an object with these verbs; a sentence if the mode cannot be.

    Audience objects (verbs `add` and `remove`) take the modes insert, upsert and mirror. A removed row with the
    verb update or upsert means: send the match fields, and every other field empty.
    """
    has = set(available)
    if "add" in has:
        if mode in ("append", "replace", "update"):
            return f"an audience has no mode {mode}: members are added and removed (mode insert, upsert or mirror)"
        if removal in ("archive", "clear"):
            return f"an audience cannot do removed: {removal}; its members are removed (removed: delete) or ignored"
        chosen: dict[Kind, Verb] = {"added": "add", "changed": "add"}
        if removal != "ignore" or mode in ("upsert", "mirror"):
            if "remove" not in has:
                return "members cannot be removed from this object"
            chosen["removed"] = "remove"
        return chosen
    wanted: dict[Mode, dict[Kind, tuple[Verb, ...]]] = {
        "insert": {"added": ("create", "append")},
        "update": {"added": ("update",), "changed": ("update",)},
        "upsert": {"added": ("upsert", "create"), "changed": ("upsert", "update")},
        "mirror": {"added": ("upsert", "create"), "changed": ("upsert", "update")},
        "append": {"added": ("append", "create"), "changed": ("append", "create")},
        "replace": {"added": ("append", "upsert", "create")},
    }
    chosen = {}
    for kind, choices in wanted[mode].items():
        verb = next((choice for choice in choices if choice in has), None)
        if verb is None:
            return (
                f"mode {mode} needs the verb {' or '.join(choices)}; the object has {', '.join(sorted(has)) or 'none'}"
            )
        chosen[kind] = verb
    if removal != "ignore" and mode not in ("append", "replace"):
        removing: dict[Removal, tuple[Verb, ...]] = {
            "delete": ("delete",),
            "archive": ("archive",),
            "clear": ("update", "upsert"),
        }
        verb = next((choice for choice in removing[removal] if choice in has), None)
        if verb is None:
            needed = " or ".join(removing[removal])
            return f"removed: {removal} needs the verb {needed}; the object has {', '.join(sorted(has)) or 'none'}"
        chosen["removed"] = verb
    return chosen


class _AlsoDecorator(ModuleType):
    """`from levada import destination` means the decorator; once this module is loaded, Python gives the module."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from levada import __getattr__ as public

        return public("destination")(*arguments, **options)


sys.modules[__name__].__class__ = _AlsoDecorator

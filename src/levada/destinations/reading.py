"""The connector language's words for reading answers: how each record's outcome is told.

What the words do is in `answers`; where they may stand is in `language`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from levada.model import ONE_OR_MORE, Declaration, Shorthand

Scalar = str | int | float | bool | None
End = Literal["delivered", "rejected", "suppressed", "not_applied", "unknown"]
StatusEnd = End | Literal["refused", "stop"]
"""`refused`: the request as a whole, naming no record, so that it is halved. `stop`: pause the sync."""
NOT_OURS = frozenset({"401", "403", "408", "425", "429"})
"""Statuses that delivery answers by itself, like every 5xx."""


class Expectation(Shorthand):
    """What a place in an answer must be. A bare path means: it must be `true`."""

    bare = "path"
    implied: ClassVar[Mapping[str, Any]] = {"equals": True}

    path: str
    """The place: `data.items[0].ok`; empty for the whole answer."""
    equals: Scalar = None
    """It must be this value; if it is absent, nothing is known."""
    one_of: tuple[Scalar, ...] | None = None
    """It must be one of these values; if it is absent, nothing is known."""
    empty: Literal[True] | None = None
    """It must be an empty list, object or text, or null; if it is absent, nothing is known."""
    absent: Literal[True] | None = None
    """It must be absent, null or empty."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Expectation:
        if len({"equals", "one_of", "empty", "absent"} & self.model_fields_set) != 1:
            raise ValueError("an expectation has a path and exactly one of equals, one_of, empty and absent")
        return self


class Truth(Expectation):
    """What makes something true of an entry. A bare place means: it must be `true`; with `!` before it, `false`."""

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, value: object) -> object:
        if isinstance(value, str):
            return {"path": value.removeprefix("!"), "equals": not value.startswith("!")}
        return value


class Created(Expectation):
    """What says that a record was not there before its request. A bare path means: it must be `true`."""

    path: str = ""
    """The place, in the answer, that says it."""
    status: Annotated[tuple[int, ...], ONE_OR_MORE] = ()
    """Instead of a place: the statuses of an answer that says it; every other 2xx says that the record was there."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Created:
        given = self.model_fields_set
        if len({"equals", "one_of", "empty", "absent", "status"} & given) != 1 or {"path", "status"} <= given:
            raise ValueError("created has a status, or a path and exactly one of equals, one_of, empty and absent")
        return self


class Entries(Declaration):
    """A list in an answer whose entries speak of single records, found by `index` or by `match`."""

    list: str = ""
    """The place of the list in the answer; empty for the whole answer."""
    keyed: bool = False
    """The list is an object: each member becomes an entry `{name, value}`."""
    index: str | None = None
    """The place, in an entry, of the record's position in the request."""
    index_pattern: str | None = None
    """How the position stands in a longer text: `/data/{index}/attributes`."""
    first_index: Literal[0, 1] = 0
    """What the first record is called."""
    match: str | None = None
    """The place, in an entry, of a value (or a list of them) that names the record; empty for the entry itself."""
    to: str = "{key}"
    """What that value is compared with, as text: a template over the record."""
    ignore_case: bool = False
    """Compare without regard to upper and lower case."""
    message: str | None = None
    """The place, in an entry, of the tool's words; by default the usual places are tried."""
    code: str | None = None
    """The place, in an entry, of the tool's error code."""
    words: str = ""
    """What to say where an entry has no words of its own."""
    identifier: str | None = None
    """The place, in an entry, of the tool's own id of the record."""

    @model_validator(mode="after")
    def _agree(self) -> Entries:
        if self.index is not None and self.match is not None:
            raise ValueError("entries are found by index or by match, not both")
        if self.index_pattern is not None and (self.index is None or self.index_pattern.count("{index}") != 1):
            raise ValueError("index_pattern holds {index} once, and needs index")
        return self


class Refused(Entries):
    """Entries of records that were refused."""

    @model_validator(mode="after")
    def _found(self) -> Refused:
        if self.index is None and self.match is None:
            raise ValueError("refused needs index or match: how an entry names its record")
        return self


class Accepted(Entries):
    """Entries of records that were taken. Without `index` and `match` they are only counted."""

    count: str | None = None
    """Instead of a list: the place of the number of records taken."""
    created: Expectation | None = None
    """What an entry says of a record that was not there before."""


class Items(Entries):
    """One entry for each record, taken or not: in the order of the request, unless `index` or `match` say more."""

    ok: Expectation
    """What an entry of a record that was taken looks like."""
    created: Expectation | None = None
    """What an entry says of a record that was not there before."""


class Reading(Declaration):
    """How the outcome of each record is read from an answer."""

    statuses: dict[str, StatusEnd] = Field(default_factory=dict)
    """What a status means for all records of the request, whatever the body says: `{409: suppressed}`."""
    success: Annotated[tuple[Expectation, ...], ONE_OR_MORE] = ()
    """What a 2xx must say to be one: an expectation or a list of them, which must all hold."""
    refused: Annotated[tuple[Refused, ...], ONE_OR_MORE] = ()
    """Records that were refused: a list of the answer, or several. All others count as taken."""
    accepted: Accepted | None = None
    """Records that were taken. All others are unknown, unless they were refused."""
    items: Items | None = None
    """One entry for each record. What has none is unknown."""
    empty_is: Literal["unknown", "delivered"] = "unknown"
    """What a 2xx means that has none of the lists declared."""
    partial_4xx: bool = False
    """A 4xx that names refused records means that the others were taken; otherwise that nothing was."""
    message: str | None = None
    """The place of the tool's words in an answer that refuses; by default the usual places are tried."""
    code: str | None = None
    """The place of the tool's error code in an answer that refuses."""
    ends: dict[str, End] = Field(default_factory=dict)
    """What an error code means, where it is not a refusal: `{ALREADY_MEMBER: delivered}`."""
    identifier: str | None = None
    """The place of the tool's own id of the record, in the answer to a request of one record."""
    created: Created | None = None
    """What the answer to a request of one record says where the record was not there before: `{status: 201}`."""

    @field_validator("statuses", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return {str(key): end for key, end in value.items()} if isinstance(value, dict) else value

    @field_validator("statuses")
    @classmethod
    def _ours(cls, value: dict[str, StatusEnd]) -> dict[str, StatusEnd]:
        for status in value:
            if not (status.isdigit() and len(status) == 3) and status not in ("2xx", "3xx", "4xx"):
                raise ValueError(f"{status} is no status; write 409 or 4xx")
            if status in NOT_OURS or status.startswith("5"):
                raise ValueError(f"{status} is answered by delivery itself: it waits, signs in again, or settles")
        return value

    @property
    def lists(self) -> tuple[Entries, ...]:
        """The lists that are read, in their order."""
        return (*self.refused, *(each for each in (self.accepted, self.items) if each is not None))

    @property
    def reads_lists(self) -> bool:
        return bool(self.lists)

    @property
    def reads_bodies(self) -> bool:
        """Does the body of a 2xx decide anything?"""
        return bool(self.success or self.reads_lists)

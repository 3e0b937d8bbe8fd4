"""The words of questions, as classes of the connector language: look-ups, discovery, read-back.

Here is also what every request has, since questions are no more than that. How they are asked is in `asking`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from levada.destinations.reading import Truth
from levada.mapping import FieldType
from levada.model import ONE_OR_MORE, Declaration, Shorthand, Takes

Send = Annotated[
    str,
    Field(pattern=r"^(GET|POST|PUT|PATCH|DELETE) (/|https?://|\{)\S*$"),
    Takes("a request such as `POST /contacts`"),
]
"""A method and a path below the base URL: `POST /contacts/batch`."""


class RequestDeclaration(Declaration):
    """One request."""

    send: Send
    """Method and path; `{email}` and the like are put in, URL-encoded."""
    query: dict[str, str] = Field(default_factory=dict)
    """Query parameters."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers besides the connector's."""
    body: Any = None
    """The body as a tree; see *Templates*. A request that writes has one by itself."""


class Next(Declaration):
    """How the next page is asked for: exactly one of cursor, link, page and offset."""

    cursor: str | None = None
    """The place of a cursor in the answer; sent as the query parameter `query`."""
    link: str | None = None
    """The place of the next page's address in the answer."""
    page: int | None = None
    """The number of the first page; sent as the query parameter `query`."""
    offset: int | None = None
    """The first offset; sent as the query parameter `query`."""
    query: str | None = None
    """The query parameter."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Next:
        given = [name for name in ("cursor", "link", "page", "offset") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("next has exactly one of cursor, link, page and offset")
        if given[0] != "link" and self.query is None:
            raise ValueError(f"next by {given[0]} needs query: the parameter it is sent as")
        return self

    @property
    def by_number(self) -> bool:
        """Is the last page known by being empty?"""
        return self.page is not None or self.offset is not None


class LookUp(RequestDeclaration):
    """How records are found by their match fields: for creates that may not be repeated, and for ids."""

    record: Any = "{key}"
    """How one record is asked for, where the body holds `{records}`."""
    list: str = ""
    """The place of the records found; empty for the whole answer."""
    match: str | None = None
    """The place, in a record found, of the value that names it; needed where one request asks for several."""
    to: str = "{key}"
    """What that value is compared with, as text: a template over the record."""
    ignore_case: bool = False
    """Compare without regard to upper and lower case."""
    identifier: str
    """The place of the tool's own id."""
    absent_statuses: tuple[int, ...] = (404,)
    """Statuses that mean: there is none."""
    records_per_request: int = Field(default=1, gt=0, le=10_000)
    """The most records in one look-up."""
    next: Next | None = None
    """How the next page is asked for, until the records are found; without it, a page that is not the last is an
    error."""

    @model_validator(mode="after")
    def _several_by_match(self) -> LookUp:
        if self.records_per_request > 1 and self.match is None:
            raise ValueError("a look-up of several records needs match: which record an entry is")
        return self


class FieldFacts(Shorthand):
    """What is known of a field. A bare word is its type."""

    bare = "type"

    type: FieldType = "any"
    """What it takes."""
    native: str = ""
    """The tool's own name of the type."""
    required: bool = False
    """Must it be sent?"""
    writable: bool = True
    """Can it be written?"""
    unique: bool = False
    """Is it unique?"""
    nullable: bool = True
    """Can it be emptied with null?"""
    description: str = ""
    """For people."""
    text_characters: int | None = Field(default=None, gt=0)
    """The most characters."""
    text_bytes: int | None = Field(default=None, gt=0)
    """The most bytes in UTF-8."""
    integer_bits: int | None = Field(default=None, gt=0)
    """Integers from -2^(bits-1) to 2^(bits-1)-1."""
    decimal_digits: int | None = Field(default=None, gt=0)
    """The most digits."""
    decimal_scale: int | None = Field(default=None, ge=0)
    """The most digits after the point."""
    choices: tuple[str, ...] | None = None
    """The values that it takes."""


class ObjectsDiscovery(RequestDeclaration):
    """The objects of this account."""

    list: str = ""
    """The place of the list in the answer."""
    name: str = ""
    """The place, in an entry, of the object's name; empty for the entry itself."""
    title: str | None = None
    """The place, in an entry, of its title."""
    match: Annotated[tuple[str, ...], ONE_OR_MORE] | None = None
    """The field by which a record of theirs can be found, or a list of them; without it, any."""
    fields: dict[str, FieldFacts] = Field(default_factory=dict)
    """Their fields. Where they stand here, `discover.fields` is not asked of these objects."""
    open: bool | None = None
    """Do they take fields that are not listed, too?"""
    next: Next | None = None
    """How the next page is asked for; without it, a page that is not the last is an error."""


class FieldsDiscovery(RequestDeclaration):
    """The fields of an object."""

    list: str = ""
    """The place of the list in the answer."""
    name: str = "name"
    """The place, in an entry, of the field's name."""
    type: str | None = None
    """The place of its type."""
    types: dict[str, FieldType] = Field(default_factory=dict)
    """The tool's types, in our words; a type that is not listed is `any`."""
    required: Truth | None = None
    """The place of a truth, or what a place must be (`{path: kind, one_of: [a, b]}`): must it be sent?"""
    writable: Truth | None = None
    """The place of a truth, or what a place must be (`{path: kind, one_of: [a, b]}`): can it be written?"""
    unique: Truth | None = None
    """The place of a truth, or what a place must be (`{path: kind, one_of: [a, b]}`): is it unique?"""
    description: str | None = None
    """The place of its description."""
    choices: str | None = None
    """The place of the list of the values that it takes."""
    choice: str = ""
    """The place, in an entry of that list, of the value; empty for the entry itself."""
    next: Next | None = None
    """How the next page is asked for; without it, a page that is not the last is an error."""


class Discovery(Declaration):
    """How an account is asked what it has."""

    objects: ObjectsDiscovery | None = None
    """Its objects, besides those declared; the connector's `verbs` hold for them."""
    fields: FieldsDiscovery | None = None
    """The fields of an object, besides those declared."""


class Read(RequestDeclaration):
    """How an object's records are read back, page by page. `{field_names}` is the list, joined by commas."""

    list: str = ""
    """The place of the records in the answer."""
    fields: str = ""
    """The place, in a record, of the object that holds its fields."""
    identifier: str | None = None
    """The place, in a record, of the tool's own id."""
    next: Next | None = None
    """How the next page is asked for; without it there is one page."""

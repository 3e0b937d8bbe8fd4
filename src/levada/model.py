"""A model: a query over a source, with a key. What a user declares in `models/`.

Reading the files, header comments and positions is `levada.project`; running the query is a source's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

Personal = Literal["none", "email", "phone", "name", "address", "id", "sensitive"]

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_\-]*$"


@dataclass(frozen=True, slots=True)
class Takes:
    """In an annotation: what is taken, as words that follow `must be`, and what to tell who wrote something else."""

    words: str
    hint: str | None = None


class OneOrMore:
    """In the annotation of a tuple: one item may stand for a list of it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        several = handler(source)
        either = core_schema.union_schema([handler.generate_schema(get_args(source)[0]), several])
        return core_schema.no_info_before_validator_function(_in_tuple, several, json_schema_input_schema=either)


def _in_tuple(value: object) -> object:
    return (value,) if isinstance(value, str | int | dict) else value


class OrNone:
    """In an annotation: the word `none` may stand for nothing."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        either = core_schema.union_schema([inner, core_schema.literal_schema(["none"])])
        return core_schema.no_info_before_validator_function(_unless_none, inner, json_schema_input_schema=either)


def _unless_none(value: object) -> object:
    return None if value == "none" else value


ONE_OR_MORE = OneOrMore()
OR_NONE = OrNone()
Name = Annotated[
    str,
    Field(pattern=NAME_PATTERN, max_length=100),
    Takes("a name", "letters, digits, _ and -, beginning with a letter or _"),
]
Address = Annotated[
    str,
    Field(pattern=r"^https?://"),
    Takes("a URL that begins with http:// or https://", "for example https://example.com/hook"),
]


class Declaration(BaseModel):
    """The base of all that a project file declares: frozen, and no key that is not known.

    What a field means stands below it (see `levada.meaning`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Shorthand(Declaration):
    """A declaration for which the value of one key may stand alone, as text."""

    bare: ClassVar[str]
    """The key."""
    implied: ClassVar[Mapping[str, Any]] = {}
    """What the text says besides."""

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, value: object) -> object:
        return {cls.bare: value, **cls.implied} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = handler(core)
        key = dict(handler.resolve_ref_schema(whole)["properties"][cls.bare])
        choices = [choice for choice in key.pop("anyOf", [{}]) if choice != {"type": "null"}]
        kept = {name: item for name, item in key.items() if name not in ("title", "default")}
        return {"anyOf": [*({**kept, **choice} for choice in choices), whole]}


class ColumnFacts(Declaration):
    personal: Personal = "none"
    """What kind of personal data the column holds; `sensitive` may not leave unless a policy allows it."""
    description: str = ""
    """For people."""


_PARTS = re.compile(r'"(?:[^"]|"")*"|[^."]+')
"""The parts of a table's name; one in double quotes may hold dots."""
_EXACT = ("duckdb", "postgres", "sqlite", "mysql")
"""Dialects in which a name in quotes means no other than the same one without, but for its letters' case."""
_BACKTICKS = ("mysql", "bigquery", "databricks", "spark")


def _table_name(table: str, dialect: str) -> str:
    """A table as declared, each part in quotes, but where its dialect would take the quoted name for another one."""
    if "`" in table or "[" in table:
        return table  # in its dialect's own quotes
    sign = "`" if dialect in _BACKTICKS else '"'
    found: list[str] = []
    for part in _PARTS.findall(table):
        plain = not part.startswith('"')
        name = part if plain else part[1:-1].replace('""', '"')
        folded = plain and dialect not in _EXACT and re.fullmatch(r"[\w$]+", part)
        found.append(part if folded else sign + name.replace(sign, sign * 2) + sign)
    return ".".join(found)


class Model(Declaration):
    """One model. Exactly one of `query` (the text of the .sql file) and `table` is set."""

    source: Name
    """The source whose warehouse answers the query."""
    key: Annotated[tuple[str, ...], ONE_OR_MORE] = Field(json_schema_extra={"minItems": 1})
    """The columns that together identify a row: one name, or a list."""
    query: str | None = None
    """The SELECT statement. In a `.sql` file it is the file's text below the header comment."""
    table: str | None = None
    """A table or view of the source, instead of a query: `table` or `schema.table`."""
    description: str = ""
    """For people."""
    columns: dict[str, ColumnFacts] = Field(default_factory=dict)
    """Facts about columns, by column name."""
    tags: tuple[str, ...] = ()
    """Words to select by: `--select tag:marketing`."""

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        if not self.key:
            raise ValueError("key: name at least one column")
        if len(set(self.key)) != len(self.key):
            raise ValueError("key: a column is named twice")
        if (self.query is None) == (self.table is None):
            raise ValueError("a model has either a query or a table")
        return self

    def query_for(self, dialect: str) -> str:
        """The SELECT statement, without a semicolon at its end; `table:` written out for a source's dialect."""
        if self.query is not None:
            return self.query.rstrip().rstrip(";").rstrip()
        assert self.table is not None
        return f"SELECT * FROM {_table_name(self.table, dialect)}"

"""A model: a query over a source, with a key. What a user declares in `models/`.

Reading the files, header comments and positions is `levada.project`; running the query is a source's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Personal = Literal["none", "email", "phone", "name", "address", "id", "sensitive"]

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_\-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]


class Declaration(BaseModel):
    """The base of all that a project file declares: frozen, and no key that is not known.

    What a field means stands below it (see `levada.meaning`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ColumnFacts(Declaration):
    personal: Personal = "none"
    """What kind of personal data the column holds; `sensitive` may not leave unless a policy allows it."""
    description: str = ""
    """For people."""


class Model(Declaration):
    """One model. Exactly one of `query` (the text of the .sql file) and `table` is set."""

    source: Name
    """The source whose warehouse answers the query."""
    key: tuple[str, ...]
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

    @field_validator("key", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        if not self.key:
            raise ValueError("key: name at least one column")
        if len(set(self.key)) != len(self.key):
            raise ValueError("key: a column is named twice")
        if (self.query is None) == (self.table is None):
            raise ValueError("a model has either a query or a table")
        return self

"""How the columns of a model become the fields of a record: declared, and resolved against both ends.

The declared half (`FieldDeclaration`) is what stands in a sync's file. `Mapping` is the same after the
model's columns and the destination's fields are known: every field has an origin and a type. Turning a
Mapping into SQL is the planner's work; what a value may look like at a destination is `ValueLimits`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import model_validator

from levada.model import Shorthand, Takes

Scalar = str | int | float | bool | None


class FieldDeclaration(Shorthand):
    """Where a field's value comes from. A bare string in the file means `{column: that}`."""

    bare = "column"

    column: Annotated[str, Takes("a column name", "a constant is {value: …}")] | None = None
    """A column of the model."""
    sql: str | None = None
    """An expression over the model's columns, in DuckDB's dialect: scalar functions only."""
    value: Any = None
    """A constant: text, number, true or false, a list or a mapping."""
    template: str | None = None
    """A Liquid template over the model's columns."""
    apply: tuple[str, ...] = ()
    """Transforms, applied in order: normalize_email, sha256, phone_e164, lower, trim, iso_date, …"""
    only_if_empty: bool = False
    """Send the value only where the destination's field is empty, if the destination can."""

    @model_validator(mode="after")
    def _one_origin(self) -> FieldDeclaration:
        origins = [name for name in ("column", "sql", "value", "template") if name in self.model_fields_set]
        if len(origins) != 1:
            raise ValueError("a field has exactly one of column, sql, value and template")
        return self


FieldType = Literal[
    "any", "text", "integer", "decimal", "number", "boolean", "date", "timestamp", "timestamp_tz", "time",
    "json", "binary", "uuid", "list", "object",
]  # fmt: skip
"""What a destination's field takes. `any`: whatever the model has. `number` is binary floating point."""


@dataclass(frozen=True, slots=True)
class ValueLimits:
    """What a field of a destination can hold; None means: no limit that we know of.

    A value outside is *invalid*: named before anything is sent, never cut, rounded or replaced.
    """

    text_characters: int | None = None
    text_bytes: int | None = None
    #: integers from -(2**(bits-1)) to 2**(bits-1)-1
    integer_bits: int | None = None
    decimal_digits: int | None = None
    decimal_scale: int | None = None
    #: may decimals have any number of digits? They are then sent as digits, where no type of ours is wide enough
    decimal_unlimited: bool = False
    #: may the field hold NaN and the infinities?
    nonfinite: bool = False
    #: may the field hold dates before the year 1 and after 9999? Infinite ones are never sent
    any_date: bool = False
    #: may text hold the character U+0000?
    nul_character: bool = False
    #: does the field keep spaces at the end of text?
    trailing_spaces: bool = True
    choices: tuple[str, ...] | None = None
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """One resolved field. Exactly one of column, sql, constant (with `kind` "value") and template is meant.

    `field` is the destination's name; dots and `[n]` make nested objects and arrays (`address.city`).
    `type` is what the destination wants; `native` the destination's own name of the type, where it has one.
    """

    field: str
    kind: Literal["column", "sql", "value", "template"]
    origin: str
    constant: Any = None
    apply: tuple[str, ...] = ()
    only_if_empty: bool = False
    type: FieldType = "any"
    native: str = ""
    limits: ValueLimits = ValueLimits()


@dataclass(frozen=True, slots=True)
class Mapping:
    """A sync's mapping, resolved.

    `match`: the destination's fields that identify a record; each is one of `fields`.
    `nulls`: "clear" sends NULL as the destination's empty value, "skip" leaves the field out.
    """

    fields: tuple[FieldMapping, ...]
    match: tuple[str, ...]
    nulls: Literal["clear", "skip"] = "clear"

    def __getitem__(self, field: str) -> FieldMapping:
        for mapped in self.fields:
            if mapped.field == field:
                return mapped
        raise KeyError(field)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(mapped.field for mapped in self.fields)

    @property
    def version(self) -> str:
        """16 hex digits that change with anything that can change a mapped value."""
        return digest([[f.field, f.kind, f.origin, f.constant, f.apply, f.type, f.native] for f in self.fields])


def digest(value: Sequence[object] | dict[str, object]) -> str:
    """16 hex digits of the SHA-256 of a JSON-like value."""
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

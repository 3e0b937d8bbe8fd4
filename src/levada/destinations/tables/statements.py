"""The statements by which a staged batch changes a table. Pure text: names quoted, values never inside.

The stage has the columns `r` (the record's index), `f0` … (the mapped fields), `p0` … (the previous values of the
match fields) and, of fields that change, `b0` … (what they held by the plan). Its alias is `s`, the target's `t`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from levada.destinations.tables.engine import Grammar
from levada.destinations.tables.names import TableName, quoted

STAGE = "_levada_stage"

Found = Literal["new", "previous"]
"""By which values of the match fields a record is looked for."""
Befores = Sequence[str] | None
"""What the plan says that each field held, as SQL; None: that the record was not there."""


def quoted_table(grammar: Grammar, name: TableName) -> str:
    """A table's name as SQL."""
    parts = [name.schema, name.table] if name.schema else [name.table]
    return ".".join(quoted(part, grammar.mark, bytes_max=grammar.name_bytes_max) for part in parts)


@dataclass(frozen=True, slots=True)
class StagedField:
    """A mapped field: its column, quoted, and the staged value (and previous value, of match fields) as SQL."""

    column: str
    value: str
    match: bool
    previous: str = ""
    #: how the column's collation sees a text, where it may take two different ones for equal (TableColumn.seen)
    seen: str = ""
    #: the column, and any value of it, as what two of them are compared by; and the column as it is read back
    compared: str = "{}"
    stored: str = ""
    #: NULL leaves the column as it is
    skips_null: bool = False
    only_if_empty: bool = False


@dataclass(frozen=True, slots=True)
class Statements:
    grammar: Grammar
    target: str
    fields: tuple[StagedField, ...]

    @property
    def stage(self) -> str:
        return quoted(STAGE, self.grammar.mark)

    @property
    def matches(self) -> tuple[StagedField, ...]:
        return tuple(field for field in self.fields if field.match)

    @property
    def columns(self) -> str:
        return ", ".join(field.column for field in self.fields)

    @property
    def values(self) -> str:
        return ", ".join(field.value for field in self.fields)

    def found(self, by: Found) -> str:
        """t is the record that s means: equal to the column's index, and the same letter by letter."""
        return " AND ".join([self._equal(by), *self._same(by)])

    def _equal(self, by: Found) -> str:
        return " AND ".join(
            f"t.{field.column} = {field.value if by == 'new' else field.previous}" for field in self.matches
        )

    def _same(self, by: Found) -> list[str]:
        """What equality by collation leaves open."""
        return [
            self.grammar.exact.format(f"t.{field.column}", field.value if by == "new" else field.previous)
            for field in self.matches
            if field.seen
        ]

    # -- adding

    def insert(self) -> str:
        return f"INSERT INTO {self.target} ({self.columns}) SELECT {self.values} FROM {self.stage} s ORDER BY s.r"

    def insert_missing(self) -> str:
        """Add the records that are not there."""
        return (
            f"INSERT INTO {self.target} ({self.columns}) SELECT {self.values} FROM {self.stage} s"
            f" WHERE NOT EXISTS (SELECT 1 FROM {self.target} t WHERE {self.found('new')}) ORDER BY s.r"
        )

    # -- changing

    def update(self) -> str | None:
        """Overwrite the records that are there; None if there is no field to overwrite."""
        changes = [self._assignment(field, field.value, "t.") for field in self._changing]
        return self._changed(changes, self.found("new")) if changes else None

    def clear(self) -> str | None:
        """Empty every field but the match fields of the records that are there."""
        changes = [f"{self._set(field)} = NULL" for field in self._changing]
        return self._changed(changes, self.found("previous")) if changes else None

    def rekey(self) -> str:
        """Give the records that have the previous match values the new ones."""
        return self._changed([f"{self._set(field)} = {field.value}" for field in self.matches], self.found("previous"))

    # -- removing

    def delete(self) -> str:
        """Remove the records that have the previous match values."""
        match self.grammar.joins:
            case "join":
                return f"DELETE t FROM {self.target} t JOIN {self.stage} s ON {self.found('previous')}"
            case "from":
                return f"DELETE FROM {self.target} AS t USING {self.stage} s WHERE {self.found('previous')}"
            case "in":
                columns = ", ".join(field.column for field in self.matches)
                values = ", ".join(field.previous for field in self.matches)
                statement = f"DELETE FROM {self.target} WHERE ({columns}) IN (SELECT {values} FROM {self.stage} s)"
                if not self._same("previous"):
                    return statement
                plain = ", ".join(self.grammar.plain.format(field.column) for field in self.matches)
                return f"{statement} AND ({plain}) IN (SELECT {values} FROM {self.stage} s)"

    # -- asking

    def existing(self) -> str:
        """Indexes of the records that are there."""
        return f"SELECT s.r FROM {self.stage} s WHERE EXISTS (SELECT 1 FROM {self.target} t WHERE {self.found('new')})"

    def standing(self, by: Found, befores: Befores, *, clears: bool, keeps: bool, held: str) -> str:
        """The records that are there: r, whether one is `same`, as is wanted, and (with `keeps`) whether it holds
        something `other` than the plan says. `held` is what keeps them from being changed meanwhile."""
        wanted = [self._kept_empty(field) if clears else self._as_wanted(field) for field in self._changing]
        same = " AND ".join(wanted) or "1 = 1"
        return (
            f"SELECT s.r AS r, CASE WHEN {same} THEN 1 ELSE 0 END AS same,"
            f" CASE WHEN {self._other(befores) if keeps else '1 = 0'} THEN 1 ELSE 0 END AS other"
            f" FROM {self.stage} s JOIN {self.target} t ON {self.found(by)}{held}"
        )

    def stood(self, by: Found, befores: Befores) -> str:
        """The records that hold something else than the plan says: r, c0 …, what they hold, and e0 …, is that NULL."""
        stored = ", ".join(
            f"{field.stored} AS c{index}, CASE WHEN t.{field.column} IS NULL THEN 1 ELSE 0 END AS e{index}"
            for index, field in enumerate(self.fields)
        )
        return (
            f"SELECT s.r AS r, {stored} FROM {self.stage} s JOIN {self.target} t ON {self.found(by)}"
            f" WHERE {self._other(befores)}"
        )

    def equal(self) -> str:
        """Indexes of the records that are there with exactly these values."""
        same = " AND ".join(self._holds(field) for field in self.fields)
        return f"SELECT s.r FROM {self.stage} s WHERE EXISTS (SELECT 1 FROM {self.target} t WHERE {same})"

    def akin(self) -> str:
        """How many records are there, and how many of these hold at least one of their values."""
        alike = " OR ".join(f"({field.value} IS NOT NULL AND ({self._holds(field)}))" for field in self._changing)
        return (
            f"SELECT COUNT(*), SUM(q.akin) FROM (SELECT s.r AS r, MAX(CASE WHEN {alike or '1 = 1'} THEN 1 ELSE 0 END)"
            f" AS akin FROM {self.stage} s JOIN {self.target} t ON {self.found('new')} GROUP BY s.r) q"
        )

    def doubled(self) -> str:
        """Indexes of the records whose match values occur more than once among the staged ones."""
        keys = ", ".join((field.seen or "{}").format(field.value) for field in self.matches)
        return (
            f"SELECT q.r FROM (SELECT s.r AS r, COUNT(*) OVER (PARTITION BY {keys}) AS n FROM {self.stage} s) q"
            " WHERE q.n > 1"
        )

    def taken(self) -> str:
        """Indexes of the records whose match values belong, to the collation, to a record that has others."""
        different = " AND ".join(self._same("new"))
        own = " AND ".join(self._same("previous"))
        return (
            f"SELECT s.r FROM {self.stage} s WHERE EXISTS (SELECT 1 FROM {self.target} t WHERE {self._equal('new')}"
            f" AND NOT ({different}) AND NOT ({own}))"
        )

    def _holds(self, field: StagedField, value: str = "") -> str:
        """The column holds just this value; the one to be written if no other is said."""
        value, column = value or field.value, f"t.{field.column}"
        same = f"{field.compared.format(column)} {self.grammar.same} {field.compared.format(value)}"
        if field.seen:
            same += f" AND ({value} IS NULL OR {self.grammar.exact.format(column, value)})"
        return same

    def _as_wanted(self, field: StagedField) -> str:
        """To write the field would change nothing."""
        if field.only_if_empty:
            return f"(t.{field.column} IS NOT NULL OR {field.value} IS NULL)"
        if field.skips_null:
            return f"({field.value} IS NULL OR ({self._holds(field)}))"
        return self._holds(field)

    def _kept_empty(self, field: StagedField) -> str:
        return f"t.{field.column} IS NULL"

    def _other(self, befores: Befores) -> str:
        if befores is None:
            return "1 = 1"
        return " OR ".join(
            f"NOT ({self._holds(field, before)})" for field, before in zip(self.fields, befores, strict=True)
        )

    def _assignment(self, field: StagedField, value: str, old: str) -> str:
        present = f"{old}{field.column}"
        if field.only_if_empty:
            value = f"COALESCE({present}, {value})"
        elif field.skips_null:
            value = f"COALESCE({value}, {present})"
        return f"{self._set(field)} = {value}"

    def _set(self, field: StagedField) -> str:
        return f"t.{field.column}" if self.grammar.joins == "join" else field.column

    @property
    def _changing(self) -> tuple[StagedField, ...]:
        return tuple(field for field in self.fields if not field.match)

    def _changed(self, assignments: Sequence[str], condition: str) -> str:
        if self.grammar.joins == "join":
            return f"UPDATE {self.target} t JOIN {self.stage} s ON {condition} SET {', '.join(assignments)}"
        return f"UPDATE {self.target} AS t SET {', '.join(assignments)} FROM {self.stage} s WHERE {condition}"

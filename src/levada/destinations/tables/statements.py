"""The statements by which a staged batch changes a table. Pure text: names quoted, values never inside.

The stage has the columns `r` (the record's index), `f0` … (the mapped fields) and `p0` … (the previous values of
the match fields). Its alias is `s`, the target's `t`.
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

    def upsert(self) -> str:
        """Add or overwrite, by a unique index on the match columns."""
        keys = ", ".join(field.column for field in self.matches)
        changes = ", ".join(self._assignment(field, f"excluded.{field.column}", "t.") for field in self._changing)
        action = f"UPDATE SET {changes}" if changes else "NOTHING"
        # WHERE true: without it SQLite reads ON as the beginning of a join
        return (
            f"INSERT INTO {self.target} AS t ({self.columns}) SELECT {self.values} FROM {self.stage} s WHERE true"
            f" ORDER BY s.r ON CONFLICT ({keys}) DO {action}"
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

    def missing(self) -> str:
        """Indexes of the records that are not there."""
        return (
            f"SELECT s.r FROM {self.stage} s WHERE NOT EXISTS (SELECT 1 FROM {self.target} t WHERE {self.found('new')})"
        )

    def equal(self) -> str:
        """Indexes of the records that are there with exactly these values."""
        same = " AND ".join(self._holds(field) for field in self.fields)
        return f"SELECT s.r FROM {self.stage} s WHERE EXISTS (SELECT 1 FROM {self.target} t WHERE {same})"

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

    def _holds(self, field: StagedField) -> str:
        """The column holds just this value."""
        same = f"t.{field.column} {self.grammar.same} {field.value}"
        if field.seen:
            same += f" AND ({field.value} IS NULL OR {self.grammar.exact.format(f't.{field.column}', field.value)})"
        return same

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

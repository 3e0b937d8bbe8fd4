"""A database as a destination: what its tables take, what is missing, and how a writer comes to be.

The same for all databases; what differs is the `Engine`. Not here: writing (`writer`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from levada.change import Verb
from levada.destination import DeliveryClass, DestinationSpec, FieldSpec, ObjectSpec, WriteOrder
from levada.destinations.tables.engine import Engine, Refused, Session, TableColumn, TableFacts, Transient
from levada.destinations.tables.marks import MARKS_TABLE, STAGING, SWAPPED, Mark, Marks, create_marks
from levada.destinations.tables.names import TableName, derived, quoted, table_name
from levada.destinations.tables.statements import quoted_table
from levada.destinations.tables.swapping import in_transaction
from levada.destinations.tables.values import simple
from levada.destinations.tables.writer import TableWriter
from levada.errors import AccessError, ConfigError, DestinationError, UnavailableError
from levada.limits import Limits
from levada.nearest import nearest
from levada.proof import NO_OBJECT, Already, Proof
from levada.source import TYPE_KEY

VERBS: tuple[Verb, ...] = ("create", "update", "upsert", "delete", "append")
NATIVE = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]*(\(\d+(, ?\d+)?\))?( with(out)? time zone)?(\[\])*", re.IGNORECASE)
"""What a declared column type may look like before it is put into a statement."""


def classes(marked: bool) -> Mapping[Verb, DeliveryClass]:
    """The delivery class of each verb: T where rows and mark move together, else by what a repeat does."""
    if marked:
        return dict.fromkeys(VERBS, "T")
    return {"create": "A", "update": "A", "upsert": "A", "delete": "A", "append": "D"}


@dataclass(slots=True)
class SqlDestination:
    """Fulfils `levada.destination.TableDestination`."""

    name: str
    engine: Engine
    declared: DestinationSpec
    create_tables: bool = False
    schema: str = ""
    #: may the mark table be used? Becomes False when the database does not let us make it
    marks: bool = True

    @property
    def spec(self) -> DestinationSpec:
        return replace(self.declared, classes=classes(self.marks), only_if_empty=True, replaces=True)

    def limits(self, object_name: str, verb: Verb) -> Limits:
        return self.declared.limits

    def check(self) -> None:
        session = self.engine.look()
        try:
            session.fetch("SELECT 1")
        finally:
            session.close()

    def describe(self, object_name: str, wanted: pa.Schema | None = None, match: Sequence[str] = ()) -> ObjectSpec:
        target = self._target(object_name)
        session = self.engine.look()
        try:
            facts = self.engine.facts(session, target)
            if wanted is None and facts is None:
                raise self._missing_table(session, target, None)
            lacking = self._lacking(session, target, facts, wanted, match)
            if lacking and not self.create_tables:
                raise self._missing(session, target, facts, wanted, lacking)
            if self.marks and not self._can_mark(session, facts.name if facts else target):
                self.marks = False
        finally:
            session.close()
        if facts is None or (wanted is not None and lacking):
            assert wanted is not None
            facts = self._as_if(target, facts, wanted, match)
        return self._object(object_name, facts, wanted)

    def open(self, order: WriteOrder) -> TableWriter:
        """Raises ConfigError for what is missing and may not be created. See `Writer` for the rest."""
        target = self._target(order.object)
        session = self.engine.connect()
        try:
            return self._opened(session, target, order)
        except Refused as error:
            session.close()
            raise DestinationError(error.reason, code="destination.statement") from error
        except Transient as error:
            session.close()
            raise UnavailableError(str(error)) from error
        except BaseException:
            session.close()
            raise

    def place(self, object_name: str) -> str:
        """See `levada.proof.Placed`."""
        return f"{self.declared.type} {self.engine.place(self._target(object_name))}"

    def already(self, order: WriteOrder, rows: Iterable[pa.Table]) -> Already:
        """See `levada.proof.Foretelling`."""
        if order.mode in ("append", "replace") or not order.match:
            return Already()
        with self._looking() as session:
            facts = self.engine.facts(session, self._target(order.object))
            present = [one for one in order.schema if facts is not None and facts.column(one.name) is not None]
            if facts is None or any(facts.column(name) is None for name in order.match):
                return Already()
            writer = TableWriter(
                self.engine, session, replace(order, schema=pa.schema(present), keep=None), facts, None
            )
            there = differing = 0
            for table in rows:
                for start in range(0, table.num_rows, self.declared.limits.records_per_request):
                    found = writer.already(table.slice(start, self.declared.limits.records_per_request))
                    there, differing = there + found.there, differing + found.differing
        # a column that is still to be made holds nothing yet
        return Already(there, differing if len(present) == len(order.schema) else there)

    def proof(self, order: WriteOrder, sample: pa.Table) -> Proof:
        """See `levada.proof.Provable`."""
        with self._looking() as session:
            facts = self.engine.facts(session, self._target(order.object))
            if facts is None:
                return NO_OBJECT
            marks = self._plans(session, facts.name, order)
            empty = not session.fetch(f"SELECT 1 FROM {quoted_table(self.engine.grammar, facts.name)} LIMIT 1")
            found = Proof(
                True,
                empty,
                marks,
                self.engine.identity(session, facts.name),
                self.engine.identity(session, facts.name.beside(MARKS_TABLE)) if marks is not None else "",
            )
            present = [one for one in order.schema if facts.column(one.name) is not None]
            if not order.match or not sample.num_rows or any(facts.column(name) is None for name in order.match):
                return found
            schema = pa.schema(present)
            rows = sample.select(schema.names)
            if empty:
                return replace(found, asked=rows.num_rows)
            writer = TableWriter(self.engine, session, replace(order, schema=schema, keep=None), facts, None)
            there, akin = writer.akin(rows)
            values = [rows.column(name).is_valid() for name in schema.names if name not in order.match]
            comparable = sum(any(row) for row in zip(*(mask.to_pylist() for mask in values), strict=True))
            return replace(found, asked=rows.num_rows, there=there, comparable=comparable, akin=akin)

    def size(self, object_name: str) -> int:
        """See `levada.proof.Countable`."""
        with self._looking() as session:
            facts = self.engine.facts(session, self._target(object_name))
            if facts is None:
                return 0
            return int(session.fetch(f"SELECT COUNT(*) FROM {quoted_table(self.engine.grammar, facts.name)}")[0][0])

    @contextmanager
    def _looking(self) -> Iterator[Session]:
        """A session for questions."""
        session = self.engine.look()
        try:
            yield session
        except Refused as error:
            raise DestinationError(error.reason, code="destination.statement") from error
        except Transient as error:
            raise UnavailableError(str(error)) from error
        finally:
            session.close()

    def _plans(self, session: Session, target: TableName, order: WriteOrder) -> Mapping[str, frozenset[str]] | None:
        table = target.beside(MARKS_TABLE)
        if not self.marks:
            return None
        if self.engine.facts(session, table) is None:
            return {}
        try:
            return Marks(self.engine, table, order.sync_mark, order.plan_mark).plans(session)
        except AccessError:
            return None

    # -- what is there, and what is not

    def _target(self, object_name: str) -> TableName:
        target = table_name(object_name)
        grammar = self.engine.grammar
        quoted_table(grammar, target)
        if target.table.startswith("_levada_"):
            raise ConfigError(
                f"{object_name!r}: names that begin with _levada_ are Levada's own", code="destination.object"
            )
        return target if target.schema else TableName(self.schema, target.table)

    def _lacking(
        self,
        session: Session,
        target: TableName,
        facts: TableFacts | None,
        wanted: pa.Schema | None,
        match: Sequence[str],
    ) -> list[str]:
        """The statements that would make the table what the sync needs."""
        if wanted is None:
            return []
        if facts is None:
            return [self._create_statement(target, wanted, match, {})]
        return [
            self._add_statement(target, wanted.field(name), {}) for name in wanted.names if facts.column(name) is None
        ]

    def _missing(
        self,
        session: Session,
        target: TableName,
        facts: TableFacts | None,
        wanted: pa.Schema | None,
        lacking: Sequence[str],
    ) -> ConfigError:
        if facts is None:
            return self._missing_table(session, target, lacking)
        assert wanted is not None
        names = [name for name in wanted.names if facts.column(name) is None]
        known = [column.name for column in facts.columns]
        guess = nearest(names[0], known)
        what = f"no column {names[0]}" if len(names) == 1 else f"no columns {', '.join(names)}"
        return ConfigError(
            f"the table {target} has {what}" + (f"; did you mean {guess}?" if guess else ""),
            code="destination.missing_column",
            hint=f"run: {' '.join(f'{statement};' for statement in lacking)} — or set create_tables: true",
        )

    def _missing_table(self, session: Session, target: TableName, lacking: Sequence[str] | None) -> ConfigError:
        guess = nearest(target.table, self.engine.tables(session, target.schema))
        hint = (
            f"run: {' '.join(f'{statement};' for statement in lacking)} — or set create_tables: true"
            if lacking
            else None
        )
        return ConfigError(
            f"there is no table {target}" + (f"; did you mean {guess}?" if guess else ""),
            code="destination.missing_table",
            hint=hint or "see `levada connectors` for what the destination offers",
        )

    def _create_statement(
        self, target: TableName, wanted: pa.Schema, match: Sequence[str], natives: Mapping[str, str]
    ) -> str:
        columns = []
        for wanted_field in wanted:
            matches = len(match) if wanted_field.name in match else 0
            empty = " NOT NULL" if matches else ""
            columns.append(f"{self._quoted(wanted_field.name)} {self._native(wanted_field, matches, natives)}{empty}")
        if match:
            columns.append(f"PRIMARY KEY ({', '.join(self._quoted(name) for name in match)})")
        grammar = self.engine.grammar
        return f"CREATE TABLE {quoted_table(grammar, target)} ({', '.join(columns)}){grammar.create_suffix}"

    def _add_statement(self, target: TableName, wanted: pa.Field[pa.DataType], natives: Mapping[str, str]) -> str:
        native = self._native(wanted, 0, natives)
        return (
            f"ALTER TABLE {quoted_table(self.engine.grammar, target)} ADD COLUMN {self._quoted(wanted.name)} {native}"
        )

    def _native(self, wanted: pa.Field[pa.DataType], matches: int, natives: Mapping[str, str]) -> str:
        found = None if simple(wanted.type) is None else self.engine.native(wanted.type, matches)
        grammar = self.engine.grammar
        match (wanted.metadata or {}).get(TYPE_KEY):
            case b"numeric_text":
                found = grammar.unlimited or found
            case b"json" if not matches:  # JSON documents have no order, and no index for their equality
                found = grammar.json
            case b"uuid":
                found = grammar.uuid
        declared = natives.get(wanted.name) or found
        if declared is None:
            raise ConfigError(
                f"{wanted.name}: {self.engine.title} has no column type for {wanted.type}",
                code="destination.type",
                hint="change the type in the model or with {sql: …}, for instance to text",
            )
        if declared != found and not NATIVE.fullmatch(declared):
            raise ConfigError(f"{wanted.name}: {declared!r} is no column type", code="destination.type")
        return declared

    def _quoted(self, name: str) -> str:
        return quoted(name, self.engine.grammar.mark, bytes_max=self.engine.grammar.name_bytes_max)

    def _as_if(
        self, target: TableName, facts: TableFacts | None, wanted: pa.Schema, match: Sequence[str]
    ) -> TableFacts:
        """The table as it will be once it has been created or altered."""
        known = facts.columns if facts else ()
        added = tuple(
            TableColumn(
                f.name, self._native(f, len(match) if f.name in match and not facts else 0, {}), f.name not in match
            )
            for f in wanted
            if facts is None or facts.column(f.name) is None
        )
        uniques = facts.uniques if facts else ((frozenset(match),) if match else ())
        return TableFacts(target, (*known, *added), uniques)

    def _object(self, object_name: str, facts: TableFacts, wanted: pa.Schema | None) -> ObjectSpec:
        fields = []
        for column in facts.columns:
            kind = wanted.field(column.name).type if wanted is not None and column.name in wanted.names else None
            type_, limits = self.engine.field(column, kind)
            fields.append(
                FieldSpec(
                    column.name,
                    type_,
                    column.native,
                    required=not column.nullable and not column.default and column.writable,
                    writable=column.writable,
                    unique=frozenset((column.name,)) in facts.uniques,
                    limits=replace(limits, nullable=column.nullable, choices=column.choices),
                )
            )
        return ObjectSpec(object_name, tuple(fields), verbs=VERBS)

    # -- opening

    def _opened(self, session: Session, target: TableName, order: WriteOrder) -> TableWriter:
        match = () if order.mode == "append" else order.match
        notices: list[str] = []
        facts = self.engine.facts(session, target)
        statements = self._lacking(session, target, facts, order.schema, match)
        if statements:
            if not self.create_tables:
                raise self._missing(session, target, facts, order.schema, statements)
            if facts is None:
                statements = [self._create_statement(target, order.schema, match, order.natives)]
            else:
                absent = [f for f in order.schema if facts.column(f.name) is None]
                statements = [self._add_statement(target, f, order.natives) for f in absent]
            self._execute(session, statements)
            notices += [f"ran: {statement}" for statement in statements]
            facts = self.engine.facts(session, target)
        assert facts is not None
        target = facts.name
        marks = self._opened_marks(session, target, order, notices)
        if order.match and order.mode not in ("append", "replace") and not facts.unique_on(order.match):
            names = ", ".join(order.match)
            notices.append(
                f"{target} has no unique index on ({names}): records are found by comparing, which is slower, and"
                " rows that others add meanwhile may become duplicates"
            )
        staging = retired = None
        if order.mode == "replace":
            staging, retired = self._opened_staging(session, target, order, marks)
        return TableWriter(self.engine, session, order, facts, marks, tuple(notices), staging, retired)

    def _can_mark(self, session: Session, target: TableName) -> bool:
        marks = target.beside(MARKS_TABLE)
        return self.engine.facts(session, marks) is not None or self.engine.may_create(session, target.schema)

    def _opened_marks(self, session: Session, target: TableName, order: WriteOrder, notices: list[str]) -> Marks | None:
        if not self.marks:
            notices.append(self._weaker(target))
            return None
        table = target.beside(MARKS_TABLE)
        if self.engine.facts(session, table) is None:
            try:
                self._execute(session, [create_marks(self.engine, table)])
                notices.append(f"made the table {table}, by which a batch is never written twice")
            except AccessError:
                self.marks = False
                notices.append(self._weaker(target))
                return None
            except DestinationError:
                # another process may have made it at this very moment
                if self.engine.facts(session, table) is None:
                    raise
        marks = Marks(self.engine, table, order.sync_mark, order.plan_mark)
        try:
            marks.read(session)
        except AccessError:
            self.marks = False
            notices.append(self._weaker(target))
            return None
        return marks

    def _weaker(self, target: TableName) -> str:
        return (
            f"the table {target.beside(MARKS_TABLE)} is not used (marks: false, or no right to make it): a batch whose"
            " answer was lost is written again, which changes nothing except in mode append, where rows may double"
        )

    def _opened_staging(
        self, session: Session, target: TableName, order: WriteOrder, marks: Marks | None
    ) -> tuple[TableName, TableName]:
        if marks is None:
            raise ConfigError(
                f"{order.sync}: mode replace on {self.engine.title} needs the table {MARKS_TABLE}",
                code="destination.replace_marks",
                hint=f"allow the user to create tables beside {target}, and do not set marks: false",
            )
        staging = target.beside(derived("_levada_new", order.plan_mark, str(target)))
        retired = target.beside(derived("_levada_old", order.plan_mark, str(target)))
        for name in marks.abandoned(session):
            self._execute(session, [f"DROP TABLE IF EXISTS {quoted_table(self.engine.grammar, target.beside(name))}"])
            in_transaction(session, partial(marks.forget, session, name))
        present = self.engine.tables(session, target.schema)
        if marks.of(SWAPPED) or staging.table in present or retired.table in present:
            return staging, retired
        if marks.of(STAGING) and any(mark.batch >= 0 for mark in marks.found):
            raise DestinationError(
                f"the table {staging} that was being filled is gone",
                code="destination.staging_missing",
                hint="drop the plan (`levada run --discard-plan`) and run again",
            )
        if not marks.of(STAGING):
            mark = Mark(STAGING, -2, 0, staging.table)
            in_transaction(session, partial(marks.write, session, mark))
            marks.keep(mark)
        self.engine.like(session, target, staging)
        return staging, retired

    def _execute(self, session: Session, statements: Sequence[str]) -> None:
        """Run statements, committed together where the database can."""

        def run() -> None:
            for statement in statements:
                session.run(statement)

        in_transaction(session, run)


def swap_rows(engine: Engine, session: Session, target: TableName, staging: TableName) -> None:
    """Inside a transaction: the rows of `staging` instead of those of `target`, which keeps all that hangs on it."""
    facts = engine.facts(session, target)
    assert facts is not None
    grammar = engine.grammar
    columns = ", ".join(
        quoted(column.name, grammar.mark, bytes_max=grammar.name_bytes_max)
        for column in facts.columns
        if column.writable
    )
    session.run(f"DELETE FROM {quoted_table(grammar, target)}")
    rows = f"SELECT {columns} FROM {quoted_table(grammar, staging)}"
    session.run(f"INSERT INTO {quoted_table(grammar, target)} ({columns}) {rows}")

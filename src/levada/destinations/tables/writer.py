"""The writer of all databases: a batch becomes a few statements over a staged copy, and a mark, in one transaction.

What the statements are is `statements`' business, how they are said the session's. Not here: halving a refused
batch and waiting for a database that is away, which are delivery's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from levada.batch import Batch, python_values
from levada.destination import WriteOrder
from levada.destinations.tables.engine import Engine, Refused, Session, TableFacts, Transient
from levada.destinations.tables.marks import STAGING, SWAPPED, Mark, Marks, detail_of, scattered
from levada.destinations.tables.names import TableName, quoted
from levada.destinations.tables.statements import STAGE, StagedField, Statements, quoted_table
from levada.errors import DestinationError, UnavailableError
from levada.outcome import Outcome, Outcomes

TRIES_MAX = 4
"""A transaction that the database rolls back by itself is run again at most three times."""
MOVE_ROUNDS_MAX = 16
"""How long a chain of records may be that take over each other's match values in one batch."""
TAKEN_MAX = 100_000
"""How many records of one plan may take over a match value that another record still has."""


@dataclass(frozen=True, slots=True)
class Work:
    """A batch on its way into the table: the columns as the stage takes them, and who is left out and why."""

    batch: Batch
    rows: pa.Table
    exceptions: dict[int, Outcome]
    #: the match values that records of this batch took from others (see TableWriter._move)
    taken: list[str] = field(default_factory=list)

    def left_out(self, indexes: Sequence[int], outcome: Outcome) -> Work:
        """The same without these records."""
        if not indexes:
            return self
        exceptions = {**self.exceptions, **dict.fromkeys(indexes, outcome)}
        return replace(self, rows=_without(self.rows, indexes), exceptions=exceptions)


@dataclass(slots=True)
class TableWriter:
    """Fulfils `levada.destination.Writer`. `notices` are sentences for the user: what was created, what is weaker."""

    engine: Engine
    session: Session
    order: WriteOrder
    facts: TableFacts
    marks: Marks | None
    notices: tuple[str, ...] = ()
    #: in mode replace: the table that is being filled, and the name that the replaced one gets
    staging: TableName | None = None
    retired: TableName | None = None
    _statements: Statements = field(init=False)
    _natives: tuple[str, ...] = field(init=False)
    #: a unique index is on the match columns; and ON CONFLICT can use it
    _indexed: bool = field(init=False)
    _unique: bool = field(init=False)
    _direct: bool = field(init=False)
    _biggest: dict[int, int] = field(init=False, default_factory=dict)
    _taken: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        schema, match = self.order.schema, self.order.match
        columns = [self.facts.column(name) for name in schema.names]
        self._natives = tuple((column.base or column.native) if column else "" for column in columns)
        self._indexed = bool(match) and self.facts.unique_on(match)
        self._unique = self._indexed and self.engine.grammar.conflicts
        self._statements = Statements(
            self.engine.grammar,
            quoted_table(self.engine.grammar, self.target),
            tuple(self._staged_field(index) for index in range(len(schema))),
        )
        fits = all(self.engine.direct(f.type, n) for f, n in zip(schema, self._natives, strict=True))
        self._direct = fits and (self.staging is not None or self.order.mode == "append" or self._empty())
        if self.marks is not None:
            self._taken = {digest for mark in self.marks.found if mark.batch != STAGING for digest in mark.taken}

    @property
    def target(self) -> TableName:
        return self.staging or self.facts.name

    def _staged_field(self, index: int) -> StagedField:
        schema_field = self.order.schema.field(index)
        name, kind, native = schema_field.name, schema_field.type, self._natives[index]
        match = name in self.order.match
        previous = f"s.p{self.order.match.index(name)}" if match else ""
        grammar = self.engine.grammar
        return StagedField(
            quoted(name, grammar.mark, bytes_max=grammar.name_bytes_max),
            self.engine.value(f"s.f{index}", kind, native),
            match,
            self.engine.value(previous, kind, native) if match else "",
            seen=self._seen(name),
            skips_null=self.order.nulls == "skip",
            only_if_empty=name in self.order.only_if_empty,
        )

    def _seen(self, name: str) -> str:
        column = self.facts.column(name)
        return column.seen if column else ""

    @property
    def _shared(self) -> bool:
        """Does the unique index on the match fields take two different values for equal?"""
        plain = ("", self.engine.grammar.plain)
        return self._indexed and any(self._seen(name) not in plain for name in self.order.match)

    def _empty(self) -> bool:
        return not self.session.fetch(f"SELECT 1 FROM {self._statements.target} LIMIT 1")

    # -- the contract

    def applied(self, number: int) -> bool | None:
        return None if self.marks is None else self.marks.applied(number)

    def write(self, batch: Batch) -> Outcomes:
        if not len(batch):
            return batch.delivered()
        if len(batch) < self._biggest.setdefault(batch.number, len(batch)):
            return self._write_scattered(batch)
        marked = self.marks.within(batch) if self.marks else []
        return self._write_rest(batch, marked) if marked else self._write_all(batch, self._mark_of(batch))

    def finish(self) -> None:
        if self.staging is None or self.retired is None:
            return
        try:
            self._finish(self.staging, self.retired)
        except ConnectionError as error:
            # finishing again finds out how far it got
            raise UnavailableError(str(error), hint="it is tried again later") from error

    def _finish(self, staging: TableName, retired: TableName) -> None:
        assert self.marks is not None
        if not self.marks.of(SWAPPED):
            self._swap(staging, retired, self.marks)
        self._drop(retired)
        self._drop(staging)
        self._in_transaction(partial(self.marks.forget, self.session, staging.table))

    def close(self) -> None:
        self.session.close()

    # -- a batch

    def _write_rest(self, batch: Batch, marked: Sequence[Mark]) -> Outcomes:
        """A batch of which at least a part was committed before: write what was not, remember what was."""
        parts: list[tuple[int, Outcomes]] = []
        at, end = batch.sequence, batch.sequence + len(batch)
        for mark in [*marked, Mark(SWAPPED, end, 0)]:
            if mark.first > at:
                part = batch.slice(at - batch.sequence, mark.first - at)
                outcomes = self._write_all(part, self._mark_of(part))
                if not outcomes.attributed:
                    return batch.refused(outcomes.common.reason, code=outcomes.common.code)
                parts.append((mark.first - at, outcomes))
                at = mark.first
            stop = min(mark.end, end)
            if stop > at:
                remembered = mark.outcomes
                shifted = {
                    index + mark.first - at: outcome
                    for index, outcome in remembered.exceptions.items()
                    if at <= index + mark.first < stop
                }
                parts.append((stop - at, Outcomes(remembered.common, shifted)))
                at = stop
        return Outcomes.joined(parts)

    def _mark_of(self, batch: Batch) -> Mark:
        return Mark(batch.number, batch.sequence, len(batch))

    def _write_scattered(self, batch: Batch) -> Outcomes:
        """Some records of a batch that was seen whole before: they need not follow one another."""
        mark = scattered(batch)
        known = self.marks.find(mark) if self.marks else None
        return known.outcomes if known else self._write_all(batch, mark)

    def _write_all(self, batch: Batch, mark: Mark) -> Outcomes:
        if not self.session.alive:
            raise UnavailableError("the connection to the database was lost", hint="it is opened anew with the writer")
        steps = [True, False] if self._direct and batch.verb in ("create", "upsert", "append") else [False]
        refused: Refused | None = None
        for direct in steps:
            for attempt in range(TRIES_MAX):
                try:
                    return self._write_once(batch, mark, direct=direct, careful=attempt > 0)
                except Transient as error:
                    self.session.rollback()
                    if attempt == TRIES_MAX - 1:
                        raise UnavailableError(f"the database gave up on a batch {TRIES_MAX} times: {error}") from error
                except Refused as error:
                    self.session.rollback()
                    refused = error
                    if direct:
                        # somebody else's rows, or a value that only the slower way brings in or names
                        self._direct = self._direct and not error.duplicate
                        break
                    if not error.duplicate or attempt > 0:
                        break
                except BaseException:
                    self.session.rollback()
                    raise
        assert refused is not None
        return batch.refused(refused.reason, code=refused.code)

    def _write_once(self, batch: Batch, mark: Mark, *, direct: bool, careful: bool) -> Outcomes:
        """One transaction. `careful`: find out first which records stand in the way of others."""
        work = self._prepared(batch)
        self.session.begin()
        if not self._indexed and self.order.match and batch.verb in ("create", "upsert"):
            self.engine.lock(self.session, self.target)
        if work.rows.num_rows:
            work = self._apply(work, direct=direct, careful=careful)
        mark = replace(mark, detail=detail_of(work.exceptions, tuple(work.taken)))
        if self.marks is not None:
            self.marks.write(self.session, mark)
        self.session.commit()
        if self.marks is not None:
            self.marks.keep(mark)
        self._taken.update(work.taken)
        return batch.outcomes(work.exceptions)

    def _prepared(self, batch: Batch) -> Work:
        """The stage's columns. Records without a match value, or with one that another has too, are left out."""
        shaped = self.engine.shaped(self._in_order(batch.table), self._natives)
        rows = shaped.rename_columns([f"f{index}" for index in range(shaped.num_columns)])
        places = [self.order.schema.names.index(name) for name in self.order.match]
        previous = self._previous(batch, shaped, places)
        for position, column in enumerate(previous):
            rows = rows.append_column(f"p{position}", column)
        rows = rows.add_column(0, "r", pa.array(range(len(batch)), pa.int64()))
        work = Work(batch, rows, {})
        if not places or batch.verb == "append":
            return work
        names = ", ".join(self.order.match)
        looked_at = [f"p{i}" for i in range(len(places))] if batch.kind == "removed" else [f"f{i}" for i in places]
        empty = [index for name in looked_at for index in _indexes(work.rows, pc.is_null(work.rows.column(name)))]
        work = work.left_out(
            sorted(set(empty)), Outcome("rejected", f"the match field ({names}) is empty", "match_empty")
        )
        if batch.kind != "removed":
            work = work.left_out(_doubled(work.rows, looked_at), self._doubled_outcome)
        return work

    @property
    def _doubled_outcome(self) -> Outcome:
        names = ", ".join(self.order.match)
        return Outcome("rejected", f"several records of the model have the same match value ({names})", "match_doubled")

    @property
    def _taken_outcome(self) -> Outcome:
        names = ", ".join(self.order.match)
        reason = (
            f"the table has a record whose {names} is written differently and counts as the same to the column's "
            "collation (case, accents, trailing spaces): neither can be told from the other"
        )
        return Outcome("rejected", reason, "match_equal")

    def _in_order(self, table: pa.Table) -> pa.Table:
        return table.select(self.order.schema.names).cast(self.order.schema)

    def _previous(self, batch: Batch, shaped: pa.Table, places: Sequence[int]) -> list[pa.ChunkedArray[Any]]:
        """The match values by which each record is found at present: the previous ones where they differ."""
        now = [shaped.column(index) for index in places]
        if batch.previous is None:
            return now
        found = []
        for place, name, column in zip(places, self.order.match, now, strict=True):
            if name not in batch.previous.column_names:
                found.append(column)
                continue
            one = batch.previous.select([name]).cast(pa.schema([self.order.schema.field(place)]))
            old = self.engine.shaped(one, [self._natives[place]]).column(0)
            found.append(pc.coalesce(old, column))
        return found

    def _apply(self, work: Work, *, direct: bool, careful: bool) -> Work:
        batch, statements = work.batch, self._statements
        if batch.kind == "removed":
            self._stage(work.rows)
            statement = statements.delete() if batch.verb == "delete" else statements.clear()
            if statement:
                self.session.run(statement)
            return work
        if batch.verb == "append" or not self.order.match:
            return self._insert(work, direct=direct)
        if direct and batch.kind == "added" and self._indexed:
            return self._insert(work, direct=True)
        moved = self._moved(work)
        self._stage(work.rows)
        if careful or self._shared:
            work = work.left_out(
                [int(row[0]) for row in self.session.fetch(statements.doubled())], self._doubled_outcome
            )
            self._stage(work.rows)
        if self._shared and batch.verb in ("create", "upsert"):
            taken = [int(row[0]) for row in self.session.fetch(statements.taken())]
            if taken:
                work = work.left_out(taken, self._taken_outcome)
                moved = [index for index in moved if index not in set(taken)]
                self._stage(work.rows)
        match batch.verb:
            case "create":
                return self._create(work, careful=careful)
            case "update":
                return self._update(work, moved)
            case "upsert":
                return self._upsert(work, moved)
            case other:
                raise AssertionError(f"{other} is no verb of a table")

    def _stage(self, rows: pa.Table) -> None:
        kinds = [field.type for field in self.order.schema]
        types = [self.engine.staged(kind, native) for kind, native in zip(kinds, self._natives, strict=True)]
        previous = [types[self.order.schema.names.index(name)] for name in self.order.match]
        self.session.stage(STAGE, rows, [self.engine.staged(pa.int64(), ""), *types, *previous])

    def _insert(self, work: Work, *, direct: bool) -> Work:
        """Add every record; only the table's own constraints are asked."""
        if direct:
            mapped = work.rows.select([f"f{index}" for index in range(len(self.order.schema))])
            self.session.append(self.target, mapped.rename_columns(self.order.schema.names))
            return work
        self._stage(work.rows)
        self.session.run(self._statements.insert())
        return work

    def _create(self, work: Work, *, careful: bool) -> Work:
        """Add records that are not there; the others are rejected. Without marks, one that is there with the same
        values may be our own from an attempt whose answer was lost, and counts as delivered."""
        if self._indexed and self.marks is not None and not careful:
            self.session.run(self._statements.insert())
            return work
        there = {int(row[0]) for row in self.session.fetch(self._statements.existing())}
        ours = set() if self.marks or not there else {int(r[0]) for r in self.session.fetch(self._statements.equal())}
        self.session.run(self._statements.insert_missing())
        names = ", ".join(self.order.match)
        outcome = Outcome("rejected", f"there is a record with this match value ({names}) already", "exists")
        return replace(work, exceptions={**work.exceptions, **dict.fromkeys(sorted(there - ours), outcome)})

    def _update(self, work: Work, moved: Sequence[int]) -> Work:
        if moved:
            self._move(work, moved)
            self._stage(work.rows)
        missing = [int(row[0]) for row in self.session.fetch(self._statements.missing())]
        statement = self._statements.update()
        if statement:
            self.session.run(statement)
        outcome = Outcome("suppressed", f"no record with this {', '.join(self.order.match)}", "missing")
        return replace(work, exceptions={**work.exceptions, **dict.fromkeys(missing, outcome)})

    def _upsert(self, work: Work, moved: Sequence[int]) -> Work:
        if moved:
            stuck = self._move(work, moved)
            self._leave(work, stuck)
            self._stage(work.rows)
        if self._unique:
            self.session.run(self._statements.upsert())
            return work
        statement = self._statements.update()
        if statement:
            self.session.run(statement)
        self.session.run(self._statements.insert_missing())
        return work

    # -- records whose match value changed

    def _moved(self, work: Work) -> list[int]:
        """Indexes of the records whose match value is another than the one last confirmed.

        Not those whose old value was taken over by another record of this plan: what is found there now is
        that other record.
        """
        if work.batch.previous is None:
            return []
        pairs = [(f"f{self.order.schema.names.index(name)}", f"p{i}") for i, name in enumerate(self.order.match)]
        differs: Any = None
        for new, old in pairs:
            here = cast("Any", pc).fill_null(pc.not_equal(work.rows.column(new), work.rows.column(old)), False)
            differs = here if differs is None else cast("Any", pc).or_(differs, here)
        found = _indexes(work.rows, differs)
        if not self._taken or not found:
            return found
        digests = self._digests(work.rows, found, [old for _, old in pairs])
        return [index for index, digest in zip(found, digests, strict=True) if digest not in self._taken]

    def _move(self, work: Work, moved: Sequence[int]) -> list[int]:
        """Give records their new match values. Returns those whose new value another record has: they are
        written over that one, and the values are noted, because what follows may look for the other there."""
        left = list(moved)
        for _ in range(MOVE_ROUNDS_MAX):
            self._stage(_only(work.rows, left))
            occupied = {int(row[0]) for row in self.session.fetch(self._statements.existing())}
            free = [index for index in left if index not in occupied]
            if free:
                self._stage(_only(work.rows, free))
                self.session.run(self._statements.rekey())
            left = [index for index in left if index in occupied]
            if not free or not left:
                break
        work.taken.extend(self._digests(work.rows, left, self._new_names))
        if len(self._taken) + len(work.taken) > TAKEN_MAX:
            raise DestinationError(
                f"more than {TAKEN_MAX:,} records take over a match value that another record has",
                code="destination.match_taken",
                hint="match by a field that does not wander between records",
            )
        return left

    def _leave(self, work: Work, stuck: Sequence[int]) -> None:
        """Remove the old records of those that were written over another one, unless a record of this batch
        needs them."""
        if not stuck:
            return
        olds = [f"p{index}" for index in range(len(self.order.match))]
        wanted = set(self._digests(work.rows, None, self._new_names))
        gone = [
            index
            for index, digest in zip(stuck, self._digests(work.rows, stuck, olds), strict=True)
            if digest not in wanted
        ]
        if gone:
            self._stage(_only(work.rows, gone))
            self.session.run(self._statements.delete())

    @property
    def _new_names(self) -> list[str]:
        return [f"f{self.order.schema.names.index(name)}" for name in self.order.match]

    def _digests(self, rows: pa.Table, indexes: Sequence[int] | None, names: Sequence[str]) -> list[str]:
        """A short fingerprint of the match values in these columns, record by record."""
        chosen = rows if indexes is None else _only(rows, indexes)
        columns = [python_values(chosen.column(name)) for name in names]
        return [hashlib.sha256(repr(values).encode()).hexdigest()[:24] for values in zip(*columns, strict=True)]

    # -- mode replace

    def _swap(self, staging: TableName, retired: TableName, marks: Marks) -> None:
        """Put the filled table in place of the old one. A crash at any point leaves what the next call finishes."""
        present = set(self.engine.tables(self.session, staging.schema))
        swapped = Mark(SWAPPED, -1, 0)
        if staging.table not in present:
            if retired.table not in present:
                raise DestinationError(
                    f"the table {staging} that was being filled is gone",
                    code="destination.staging_missing",
                    hint="drop the plan (`levada run --discard-plan`) and run again",
                )
            self._in_transaction(lambda: marks.write(self.session, swapped))
        else:
            for attempt in range(TRIES_MAX):
                try:
                    self.session.begin()
                    if self.engine.swap(self.session, self.facts.name, staging, retired):
                        self.session.begin()
                    marks.write(self.session, swapped)
                    self.session.commit()
                    break
                except Transient as error:
                    self.session.rollback()
                    if attempt == TRIES_MAX - 1:
                        raise UnavailableError(f"the swap of {self.facts.name} was given up: {error}") from error
                except Refused as error:
                    self.session.rollback()
                    raise DestinationError(
                        f"{self.facts.name} cannot be swapped: {error.reason}",
                        code="destination.swap",
                        hint="the old rows are still in place; see what refers to the table",
                    ) from error
                except BaseException:
                    self.session.rollback()
                    raise
        marks.keep(swapped)

    def _drop(self, name: TableName) -> None:
        self._in_transaction(
            lambda: self.session.run(f"DROP TABLE IF EXISTS {quoted_table(self.engine.grammar, name)}")
        )

    def _in_transaction(self, action: Callable[[], None]) -> None:
        self.session.begin()
        try:
            action()
            self.session.commit()
        except Refused as error:
            self.session.rollback()
            raise DestinationError(error.reason, code="destination.statement") from error
        except Transient as error:
            self.session.rollback()
            raise UnavailableError(str(error)) from error
        except BaseException:
            self.session.rollback()
            raise


def _indexes(rows: pa.Table, mask: Any) -> list[int]:
    """The indexes (column r) of the rows for which a mask holds."""
    return [cast("int", index) for index in rows.column("r").filter(mask).to_pylist()]


def _only(rows: pa.Table, indexes: Sequence[int]) -> pa.Table:
    return rows.filter(pc.is_in(rows.column("r"), value_set=pa.array(list(indexes), pa.int64())))


def _without(rows: pa.Table, indexes: Sequence[int]) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows.column("r"), value_set=pa.array(list(indexes), pa.int64()))))


def _doubled(rows: pa.Table, names: Sequence[str]) -> list[int]:
    """Indexes of the rows whose values in these columns occur more than once."""
    groups = rows.select(list(names)).group_by(list(names)).aggregate([([], "count_all")])
    if groups.num_rows == rows.num_rows:
        return []
    several = groups.filter(cast("Any", pc).greater(groups.column("count_all"), 1)).select(list(names))
    found = rows.join(several, list(names), join_type="left semi").column("r")
    return [cast("int", index) for index in found.to_pylist()]

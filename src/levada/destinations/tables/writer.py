"""The writer of all databases: a batch becomes a few statements over a staged copy, and a mark, in one transaction.

What the statements are is `statements`' business, how they are said the session's. Not here: halving a refused
batch and waiting for a database that is away, which are delivery's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from levada.batch import Batch
from levada.destination import WriteOrder
from levada.destinations.tables.engine import Engine, Refused, Session, TableFacts, Transient
from levada.destinations.tables.marks import SCATTERED, STAGING, SWAPPED, Mark, Marks, detail_of, scattered
from levada.destinations.tables.names import TableName, quoted
from levada.destinations.tables.standing import ADDED, Change, Look, Standing
from levada.destinations.tables.statements import STAGE, Befores, StagedField, Statements, quoted_table
from levada.destinations.tables.swapping import finish_swap
from levada.destinations.tables.work import (
    Work,
    digests,
    doubled,
    doubled_outcome,
    indexes_of,
    listed,
    numbers,
    only,
    taken_outcome,
    without,
)  # fmt: skip
from levada.errors import DestinationError, UnavailableError
from levada.outcome import UNTOLD, Effect, Outcome, Outcomes
from levada.proof import Already

TRIES_MAX = 4
"""A transaction that the database rolls back by itself is run again at most three times."""
MOVE_ROUNDS_MAX = 16
"""How long a chain of records may be that take over each other's match values in one batch."""
TAKEN_MAX = 100_000
"""How many records of one plan may take over a match value that another record still has."""


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
    #: a unique index is on the match columns
    _indexed: bool = field(init=False)
    #: was the table empty when it was opened? Then records are added without asking for them, until one is there
    _fresh: bool = field(init=False)
    #: may rows be put straight into the table?
    _fits: bool = field(init=False)
    _look: Look = field(init=False)
    _biggest: dict[int, int] = field(init=False, default_factory=dict)
    _taken: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        schema, match = self.order.schema, self.order.match
        columns = [self.facts.column(name) for name in schema.names]
        self._natives = tuple((column.base or column.native) if column else "" for column in columns)
        self._indexed = bool(match) and self.facts.unique_on(match)
        self._statements = Statements(
            self.engine.grammar,
            quoted_table(self.engine.grammar, self.target),
            tuple(self._staged_field(index) for index in range(len(schema))),
        )
        self._fits = all(self.engine.direct(f.type, n) for f, n in zip(schema, self._natives, strict=True))
        self._fresh = self.staging is not None or self.order.mode == "append" or self._empty()
        held = "" if self.staging or not match else self.engine.held(self.session, self.target)
        keeps = self.order.keep is not None and self.staging is None
        self._look = Look(self.session, self._statements, schema, held, keeps)
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
            compared=self.engine.compared("{}", native),
            stored=self.engine.stored(f"t.{quoted(name, grammar.mark, bytes_max=grammar.name_bytes_max)}", native),
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

    def akin(self, rows: pa.Table) -> tuple[int, int]:
        """How many of these records are in the table, and how many hold at least one of their values there."""
        work = self._asked(rows)
        self.session.begin(reads=True)
        try:
            self._stage(work.rows)
            found = self.session.fetch(self._statements.akin())
        finally:
            self.session.rollback()
        return int(found[0][0] or 0), int(found[0][1] or 0)

    def _asked(self, rows: pa.Table) -> Work:
        order, keys = self.order, rows.select([])
        return self._prepared(
            Batch(order.sync, order.plan_id, 0, 0, "added", "upsert", order.object, order.match, rows, keys, "")
        )

    def already(self, rows: pa.Table) -> Already:
        """What records that are to be added are in the table (see `levada.proof.Foretelling`)."""
        if not rows.num_rows:
            return Already()
        try:
            work = self._asked(rows)
            self.session.begin(reads=True)
            try:
                self._stage(work.rows)
                standing = replace(self._look, held="").standing("new", None)
            finally:
                self.session.rollback()
        except Refused:
            if rows.num_rows == 1:
                return Already()  # what no column of the table can hold
            half = rows.num_rows // 2
            left, right = self.already(rows.slice(0, half)), self.already(rows.slice(half))
            return Already(left.there + right.there, left.differing + right.differing)
        return Already(len(standing.there), len(standing.there) - len(standing.same))

    def finish(self) -> None:
        if self.staging is not None and self.retired is not None:
            assert self.marks is not None
            finish_swap(self.engine, self.session, self.marks, self.facts.name, self.staging, self.retired)

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
                effects = remembered.effects.part(at - mark.first, stop - at)
                parts.append((stop - at, Outcomes(remembered.common, shifted, effects=effects)))
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
        steps = [True, False] if self._fresh and batch.verb in ("create", "upsert", "append") else [False]
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
                        self._fresh = self._fresh and not error.duplicate
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
        change = ADDED
        if work.rows.num_rows:
            work, change = self._apply(work, direct=direct, careful=careful)
        effects = UNTOLD if self.staging else change.effects(len(batch), sorted(work.exceptions))
        if self.order.keep is not None and self.staging is None and mark.batch != SCATTERED:
            but = numbers(sorted(work.exceptions))
            self.order.keep(batch.sequence, change.standing.kept(batch.sequence, but))
        mark = replace(mark, detail=detail_of(work.exceptions, tuple(work.taken), effects))
        if self.marks is not None:
            self.marks.write(self.session, mark)
        self.session.commit()
        if self.marks is not None:
            self.marks.keep(mark)
        self._taken.update(work.taken)
        return batch.outcomes(work.exceptions, effects=effects)

    def _prepared(self, batch: Batch) -> Work:
        """The stage's columns. Records without a match value, or with one that another has too, are left out."""
        shaped = self.engine.shaped(self._in_order(batch.table), self._natives)
        rows = shaped.rename_columns([f"f{index}" for index in range(shaped.num_columns)])
        places = [self.order.schema.names.index(name) for name in self.order.match]
        previous = self._previous(batch, shaped, places)
        for position, column in enumerate(previous):
            rows = rows.append_column(f"p{position}", column)
        rows = rows.add_column(0, "r", pa.array(range(len(batch)), pa.int64()))
        if not places or batch.verb == "append":
            return Work(batch, rows, {})
        rows, befores = self._believed(batch, rows)
        work = Work(batch, rows, {}, befores=befores)
        names = ", ".join(self.order.match)
        looked_at = [f"p{i}" for i in range(len(places))] if batch.kind == "removed" else [f"f{i}" for i in places]
        empty = [index for name in looked_at for index in indexes_of(work.rows, pc.is_null(work.rows.column(name)))]
        work = work.left_out(
            sorted(set(empty)), Outcome("rejected", f"the match field ({names}) is empty", "match_empty")
        )
        if batch.kind != "removed":
            work = work.left_out(doubled(work.rows, looked_at), doubled_outcome(self.order.match))
        return work

    def _believed(self, batch: Batch, rows: pa.Table) -> tuple[pa.Table, Befores]:
        """The rows, with what the plan says that the records hold where it is not what is written, and how each field
        of that is named."""
        if batch.kind == "added" or not self._look.keeps:
            return rows, None
        fields = self._statements.fields
        if batch.kind == "removed" and batch.verb == "delete":
            return rows, [one.previous or one.value for one in fields]
        if batch.before is None:
            return rows, None
        try:
            shaped = self.engine.shaped(self._in_order(batch.before), self._natives)
        except (Refused, pa.ArrowInvalid):
            return rows, None  # nothing that the table can hold: whatever it holds is kept
        named = []
        for index, one in enumerate(fields):
            if one.match or shaped.column(index).equals(rows.column(f"f{index}")):
                named.append(one.previous or one.value)
                continue
            rows = rows.append_column(f"b{index}", shaped.column(index))
            named.append(self.engine.value(f"s.b{index}", self.order.schema.field(index).type, self._natives[index]))
        return rows, named

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

    def _apply(self, work: Work, *, direct: bool, careful: bool) -> tuple[Work, Change]:
        batch = work.batch
        if batch.kind == "removed":
            return work, self._remove(work)
        if batch.verb == "append" or not self.order.match or (direct and batch.kind == "added" and self._indexed):
            self._insert(work, direct=direct)
            return work, ADDED
        moved = self._moved(work)
        self._stage(work.rows)
        if careful or self._shared:
            twice = [int(row[0]) for row in self.session.fetch(self._statements.doubled())]
            work = work.left_out(twice, doubled_outcome(self.order.match))
            self._stage(work.rows)
        if self._shared and batch.verb in ("create", "upsert"):
            taken = [int(row[0]) for row in self.session.fetch(self._statements.taken())]
            if taken:
                work = work.left_out(taken, taken_outcome(self.order.match))
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
        named = {"r": self.engine.staged(pa.int64(), "")}
        named |= {f"{letter}{index}": kind for index, kind in enumerate(types) for letter in "fb"}
        named |= {f"p{i}": types[self.order.schema.names.index(name)] for i, name in enumerate(self.order.match)}
        self.session.stage(STAGE, rows, [named[name] for name in rows.column_names])

    def _standing(self, work: Work, moved: Sequence[int]) -> Standing:
        """What is there of the staged records: by their new match values, and those that move by the previous ones."""
        found = self._look.standing("new", work.befores)
        if not moved:
            return found
        moving = numbers(moved)
        previous = self._look.standing("previous", work.befores).of(moving).all_others
        return found.with_previous(previous)

    def _remove(self, work: Work) -> Change:
        self._stage(work.rows)
        deletes = work.batch.verb == "delete"
        standing = self._look.standing("previous", work.befores, clears=not deletes)
        statement = self._statements.delete() if deletes else self._statements.clear()
        if statement:
            self.session.run(statement)
        return Change("same", "gone", standing.all_others) if deletes else Change("same", "updated", standing)

    def _insert(self, work: Work, *, direct: bool) -> None:
        """Add every record; only the table's own constraints are asked."""
        if direct and self._fits:
            mapped = work.rows.select([f"f{index}" for index in range(len(self.order.schema))])
            self.session.append(self.target, mapped.rename_columns(self.order.schema.names))
            return
        self._stage(work.rows)
        self.session.run(self._statements.insert())

    def _create(self, work: Work, *, careful: bool) -> tuple[Work, Change]:
        """Add records that are not there; the others are rejected. Without marks, one that is there with the same
        values may be our own from an attempt whose answer was lost, and counts as delivered."""
        if self._indexed and self.marks is not None and not careful:
            self.session.run(self._statements.insert())
            return work, ADDED
        there = {int(row[0]) for row in self.session.fetch(self._statements.existing())}
        ours = set() if self.marks or not there else {int(r[0]) for r in self.session.fetch(self._statements.equal())}
        self.session.run(self._statements.insert_missing())
        names = ", ".join(self.order.match)
        outcome = Outcome("rejected", f"there is a record with this match value ({names}) already", "exists")
        exceptions = {**work.exceptions, **dict.fromkeys(sorted(there - ours), outcome)}
        return replace(work, exceptions=exceptions), replace(ADDED, untold=sorted(ours))

    def _update(self, work: Work, moved: Sequence[int]) -> tuple[Work, Change]:
        standing = self._standing(work, moved)
        stuck: list[int] = []
        if moved:
            stuck = self._move(work, moved)
            self._stage(work.rows)
        missing = listed(without(work.rows, standing.there).column("r"))
        statement = self._statements.update()
        if statement:
            self.session.run(statement)
        outcome = Outcome("suppressed", f"no record with this {', '.join(self.order.match)}", "missing")
        exceptions = {**work.exceptions, **dict.fromkeys(missing, outcome)}
        return replace(work, exceptions=exceptions), self._changed("untold", work, standing, stuck)

    def _upsert(self, work: Work, moved: Sequence[int]) -> tuple[Work, Change]:
        """Overwrite the records that are there, add the others. One that somebody else adds meanwhile is a duplicate:
        the batch is written again, and finds it."""
        standing = self._standing(work, moved)
        stuck: list[int] = []
        if moved:
            stuck = self._move(work, moved)
            self._leave(work, stuck)
        there = standing.there
        if len(there):
            if moved:
                self._stage(work.rows)
            statement = self._statements.update()
            if statement:
                self.session.run(statement)
        if len(there) < work.rows.num_rows:
            if moved or len(there):
                self._stage(without(work.rows, there))
            self.session.run(self._statements.insert())
        return work, self._changed("created", work, standing, stuck)

    def _changed(self, absent: Effect, work: Work, standing: Standing, stuck: Sequence[int]) -> Change:
        """What a batch did, some of whose records were `stuck`: written over another one. What that one held is not
        known, unless it is a record of this batch, too."""
        if not stuck:
            return Change(absent, "updated", standing)
        olds = set(digests(work.rows, None, [f"p{index}" for index in range(len(self.order.match))]))
        news = digests(work.rows, stuck, self._new_names)
        foreign = [index for index, digest in zip(stuck, news, strict=True) if digest not in olds]
        return Change(absent, "updated", standing.without_old(foreign), foreign)

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
        found = indexes_of(work.rows, differs)
        if not self._taken or not found:
            return found
        olds = digests(work.rows, found, [old for _, old in pairs])
        return [index for index, digest in zip(found, olds, strict=True) if digest not in self._taken]

    def _move(self, work: Work, moved: Sequence[int]) -> list[int]:
        """Give records their new match values. Returns those whose new value another record has: they are
        written over that one, and the values are noted, because what follows may look for the other there."""
        left = list(moved)
        for _ in range(MOVE_ROUNDS_MAX):
            self._stage(only(work.rows, numbers(left)))
            occupied = {int(row[0]) for row in self.session.fetch(self._statements.existing())}
            free = [index for index in left if index not in occupied]
            if free:
                self._stage(only(work.rows, numbers(free)))
                self.session.run(self._statements.rekey())
            left = [index for index in left if index in occupied]
            if not free or not left:
                break
        work.taken.extend(digests(work.rows, left, self._new_names))
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
        wanted = set(digests(work.rows, None, self._new_names))
        gone = [
            index for index, digest in zip(stuck, digests(work.rows, stuck, olds), strict=True) if digest not in wanted
        ]
        if gone:
            self._stage(only(work.rows, numbers(gone)))
            self.session.run(self._statements.delete())

    @property
    def _new_names(self) -> list[str]:
        return [f"f{self.order.schema.names.index(name)}" for name in self.order.match]

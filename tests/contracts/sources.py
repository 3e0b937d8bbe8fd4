"""The contract of a source as checks, to be run over every source.

    from contracts.sources import CHECKS, SourceCase, name_of

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    def test_my_source(check, my_case: SourceCase) -> None:
        check(my_case)

`SourceCase` says what a check cannot know: how the warehouse writes a query that counts, one that breaks, one
that writes, and which values it has. What is not here: how fast a source is, and what its tables mean.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from levada.errors import AccessError, LevadaError, SourceError
from levada.source import BATCH_ROWS_MAX, TYPE_KEY, Source, without_unfit
from levada.sql.connection import connect

MANY = 2 * BATCH_ROWS_MAX + 1
"""Rows enough for three batches."""
INTERRUPT_SECONDS = 0.2
STOP_SECONDS = 10.0
"""How long a warehouse may take to notice that nobody reads any more."""

UNICODE = "ä ß ñ 漢字 🜁 e\u0301 \u200b\u202e \t \\ \"quoted\" %s {x} it''s \U0010fffd"
"""Text that is often broken on the way, written as SQL writes it, with doubled apostrophes."""


@dataclass(frozen=True, slots=True)
class Exact:
    """An expression of the warehouse's SQL, and what it must be in Arrow. `mark`: see `levada.source.TYPE_KEY`."""

    sql: str
    type: pa.DataType
    value: object
    mark: bytes | None = None


@dataclass(frozen=True, slots=True)
class SourceCase:
    """A source to be checked, with what only its author knows."""

    source: Source
    #: a query of so many rows with one column `n`, a 64-bit integer that counts from 1
    counting: Callable[[int], str]
    #: a query that fails after more rows than one batch holds
    breaking: str
    #: one expression for each type, with its extremes
    exact: tuple[Exact, ...]
    #: expressions whose values Arrow cannot hold: the column named `x` must be refused by name
    unfit: tuple[str, ...]
    #: all that `tables()` must say
    tables: tuple[str, ...]
    #: queries that would change something, act on the server, or reach outside of the source
    writes: tuple[str, ...]
    #: everything that a write could have changed, as a comparable value
    fingerprint: Callable[[], object]
    #: a query over a table of more rows than one batch, in whose column n all numbers from 1 are
    growing: str
    #: changes the table of `growing`, as another program would, and makes the change visible to new reads
    change: Callable[[], None]
    #: a query whose rows would go on for minutes
    endless: str
    #: reads of this source that the warehouse is still working on
    running: Callable[[], int] = field(default=lambda: 0)


Check = Callable[[SourceCase], None]


def table_of(source: Source, query: str) -> pa.Table:
    """The whole result."""
    with source.read(query) as batches:
        return pa.Table.from_batches([without_unfit(batch)[0] for batch in batches])


def _numbers(batch: pa.RecordBatch) -> list[int]:
    return [int(number) for number in batch.column("n").to_pylist() if number is not None]


def a_reachable_source_passes_its_check(case: SourceCase) -> None:
    case.source.check()


def tables_are_listed_as_a_query_writes_them(case: SourceCase) -> None:
    assert case.source.tables() == tuple(sorted(case.tables))
    for name in case.tables:
        assert case.source.columns(f"SELECT * FROM {name}"), name


def _together(case: SourceCase, form: str) -> str:
    """All exact expressions as columns c0, c1, … of one query."""
    return "SELECT " + ", ".join(f"{form.format(exact.sql)} AS c{index}" for index, exact in enumerate(case.exact))


def every_type_arrives_exactly(case: SourceCase) -> None:
    table = table_of(case.source, _together(case, "{}"))
    assert table.num_rows == 1
    for part, column, exact in zip(table.schema, table.columns, case.exact, strict=True):
        assert part.type == exact.type, exact.sql
        assert (part.metadata or {}).get(TYPE_KEY) == exact.mark, exact.sql
        expected = pa.array([exact.value], exact.type)
        # values are compared by Arrow, which tells every moment from every other; NaN it takes for unequal
        same = column.combine_chunks().equals(expected) or repr(column[0]) == repr(expected[0])
        assert same, (exact.sql, column)


def null_is_null_in_every_type(case: SourceCase) -> None:
    table = table_of(case.source, _together(case, "CASE WHEN 1 = 0 THEN {} END"))
    assert [column.to_pylist() for column in table.columns] == [[None]] * len(case.exact)


def values_that_cannot_be_kept_are_told_by_name(case: SourceCase) -> None:
    """Each makes its own row invalid, or is refused with the column's name; none becomes another value."""
    for sql in case.unfit:
        assert _why_unfit(case, f"SELECT {sql} AS x"), sql


def _why_unfit(case: SourceCase, query: str) -> str:
    """What is said of the value x of a query's only row; nothing if it came as a value."""
    try:
        with case.source.read(query) as batches:
            [batch] = batches
    except SourceError as error:
        return error.message if error.code == "source.value" and "'x'" in error.message else ""
    shown, reasons = without_unfit(batch)
    return reasons.get("x", "") if shown.to_pylist() == [{"x": None}] else ""


def unicode_survives(case: SourceCase) -> None:
    table = table_of(case.source, f"SELECT '{UNICODE}' AS x")
    assert table.column("x").to_pylist() == [UNICODE.replace("''", "'")]


def columns_are_those_of_the_read(case: SourceCase) -> None:
    query = _together(case, "{}")
    columns = case.source.columns(query)
    schema = table_of(case.source, query).schema
    assert [(column.name, column.type) for column in columns] == [(part.name, part.type) for part in schema]


def an_empty_result_has_typed_columns(case: SourceCase) -> None:
    with case.source.read(f"SELECT n FROM ({case.growing}) AS q WHERE n < 0") as batches:
        found = list(batches)
    assert [batch.num_rows for batch in found] == [0]
    assert found[0].schema.field("n").type == pa.int64()


def all_rows_arrive_in_bounded_batches_of_one_schema(case: SourceCase) -> None:
    with case.source.read(case.counting(MANY)) as batches:
        found = list(batches)
    assert all(0 < batch.num_rows <= BATCH_ROWS_MAX for batch in found)
    assert {batch.schema for batch in found} == {found[0].schema}
    numbers = [number for batch in found for number in _numbers(batch)]
    assert sorted(numbers) == list(range(1, MANY + 1))


def a_read_that_breaks_raises(case: SourceCase) -> None:
    with pytest.raises(SourceError) as caught:
        table_of(case.source, case.breaking)
    assert caught.value.code in ("source.read", "source.value"), caught.value
    assert "\n" not in caught.value.message


def a_wrong_query_is_an_error_of_one_line(case: SourceCase) -> None:
    for query in (
        "SELECT n FROM no_such_table_at_all",
        "SELECT no_such_column FROM (SELECT 1 AS a) AS q",
        "SELECT FROM WHERE",
        "",
        "-- nothing",
        "SELECT '\0'",
    ):
        for ask in (case.source.columns, lambda text: table_of(case.source, text)):
            with pytest.raises(SourceError) as caught:
                ask(query)
            assert caught.value.code in ("source.query", "source.not_read_only"), (query, caught.value)
            assert "\n" not in caught.value.message, caught.value.message


def two_columns_of_one_name_are_refused(case: SourceCase) -> None:
    with pytest.raises(SourceError) as caught:
        case.source.columns("SELECT 1 AS a, 2 AS a")
    assert caught.value.code == "source.duplicate_column"
    assert "'a'" in caught.value.message


def a_semicolon_and_a_comment_at_the_end_are_taken(case: SourceCase) -> None:
    for ending in (";", " ; ", " -- the end", "\n/* the end; */", ";;"):
        assert table_of(case.source, f"SELECT 1 AS a{ending}").num_rows == 1, ending


def nothing_can_be_written(case: SourceCase) -> None:
    before = case.fingerprint()
    for query in case.writes:
        with pytest.raises(LevadaError) as caught:
            table_of(case.source, query)
        assert caught.value.code.startswith(("source.", "access")), (query, caught.value)
        # describing may pass what fails only when it is run, but changes nothing either
        with contextlib.suppress(SourceError, AccessError):
            case.source.columns(query)
        assert case.fingerprint() == before, query


def a_read_is_of_one_moment_or_fails(case: SourceCase) -> None:
    rows: list[int] = []
    failed: SourceError | None = None
    try:
        with case.source.read(case.growing) as batches:
            rows += _numbers(next(batches))
            case.change()
            for batch in batches:
                rows += _numbers(batch)
    except SourceError as error:
        failed = error
    if failed is None:
        assert sorted(rows) == list(range(1, len(rows) + 1))
    else:
        assert failed.code in ("source.changed", "source.read", "source.locked"), failed


def leaving_early_stops_the_query(case: SourceCase) -> None:
    with case.source.read(case.endless) as batches:
        assert next(batches).num_rows > 0
    assert _comes_to_rest(case)
    assert table_of(case.source, case.counting(3)).num_rows == 3


def _comes_to_rest(case: SourceCase) -> bool:
    """Is nothing of ours running any more? A server takes a moment to notice that somebody left."""
    deadline = time.monotonic() + STOP_SECONDS
    while case.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    return case.running() == 0


def what_computes_ends_when_it_is_interrupted(case: SourceCase) -> None:
    """Also before its first row; the warehouse computes no longer either, and the source is as good as before."""
    ended = threading.Event()

    def interrupt() -> None:
        while not ended.wait(INTERRUPT_SECONDS):
            case.source.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(SourceError):
            table_of(case.source, f"SELECT count(*) AS n FROM ({case.endless}) AS q WHERE q.n % 7 = 1")
    finally:
        ended.set()
        thread.join()
    assert _comes_to_rest(case)
    assert table_of(case.source, case.counting(3)).num_rows == 3


def two_reads_go_on_at_once(case: SourceCase) -> None:
    with case.source.read(case.counting(MANY)) as first, case.source.read(case.counting(MANY)) as second:
        seen = [next(first).num_rows, next(second).num_rows]
        seen[0] += sum(batch.num_rows for batch in first)
        seen[1] += sum(batch.num_rows for batch in second)
    assert seen == [MANY, MANY]


def the_readers_own_error_stays_its_own(case: SourceCase) -> None:
    def fill_the_disk() -> None:
        with case.source.read(case.counting(3)) as batches:
            next(batches)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_the_disk()


def a_closed_source_has_left_nothing_open(case: SourceCase) -> None:
    table_of(case.source, case.counting(3))
    case.source.close()
    assert _comes_to_rest(case)


def what_is_read_in_place_is_what_is_read(case: SourceCase) -> None:
    """For in-place sources: DuckDB sees through the attachment what `read` brings."""
    attachment = case.source.attachment(case.growing)
    assert (attachment is not None) == case.source.abilities.in_place
    if attachment is None:
        return
    with connect() as connection:
        for statement in attachment.statements:
            connection.execute(statement)
        rows = connection.sql(f"SELECT count(*), min(n), max(n) FROM ({case.growing})").fetchall()
    numbers = [n for batch in table_of(case.source, case.growing).to_batches() for n in _numbers(batch)]
    assert rows == [(len(numbers), min(numbers), max(numbers))]
    assert any(path.exists() for path in attachment.paths)


CHECKS: tuple[Check, ...] = (
    a_reachable_source_passes_its_check,
    tables_are_listed_as_a_query_writes_them,
    every_type_arrives_exactly,
    null_is_null_in_every_type,
    values_that_cannot_be_kept_are_told_by_name,
    unicode_survives,
    columns_are_those_of_the_read,
    an_empty_result_has_typed_columns,
    all_rows_arrive_in_bounded_batches_of_one_schema,
    a_read_that_breaks_raises,
    a_wrong_query_is_an_error_of_one_line,
    two_columns_of_one_name_are_refused,
    a_semicolon_and_a_comment_at_the_end_are_taken,
    nothing_can_be_written,
    a_read_is_of_one_moment_or_fails,
    leaving_early_stops_the_query,
    what_computes_ends_when_it_is_interrupted,
    two_reads_go_on_at_once,
    the_readers_own_error_stays_its_own,
    a_closed_source_has_left_nothing_open,
    what_is_read_in_place_is_what_is_read,
)
"""Each is a function that takes a `SourceCase` and raises if the source breaks the promise that it names."""


def name_of(check: Check) -> str:
    """The promise, for pytest's `ids=`."""
    return check.__name__

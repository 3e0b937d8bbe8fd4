"""More of the contract of a database as destination: what it proves of a table before a run.

Checks as in `contracts.tables`.
"""

from __future__ import annotations

import pyarrow as pa

from contracts.tables import ALICE, BOB, SCHEMA, SYNC, TableBench, gathered, records, write
from levada.destination import WriteOrder
from levada.proof import Countable, Proof, Provable

CAROL = (3, "carol@example.com", 30)


def proof(bench: TableBench, sample: pa.Table | None = None, **options: object) -> Proof:
    destination = bench.open(**options)
    assert isinstance(destination, Provable)
    order = WriteOrder(SYNC, "", "", "people", "mirror", "delete", ("id",), SCHEMA)
    return destination.proof(order, SCHEMA.empty_table() if sample is None else sample)


def filled(bench: TableBench, plan: str = "1") -> None:
    writer = bench.writer(plan)
    write(writer, records(ALICE, BOB, CAROL), plan=plan)
    writer.close()


def a_table_that_is_not_there_is_not_made(bench: TableBench) -> None:
    """Who asks makes nothing."""
    assert not proof(bench, records(ALICE)).exists
    assert bench.tables() == []


def the_plans_of_marks_are_told_by_sync(bench: TableBench) -> None:
    """Which plan of each sync wrote last; without marks nothing is told of them."""
    bench.table()
    assert proof(bench).marks == {}
    assert proof(bench, marks=False).marks is None
    filled(bench, "1")
    filled(bench, "2")
    other = bench.writer("7", sync="other")
    write(other, records(ALICE), plan="7", sync="other")
    other.close()
    assert proof(bench).marks == {SYNC: frozenset({f"{SYNC}@2"}), "other": frozenset({"other@7"})}


def records_of_a_sample_are_found(bench: TableBench) -> None:
    """How many are there, and how many hold at least one of the values that are said of them."""
    bench.table()
    bench.execute("INSERT INTO people VALUES (1, 'theirs', 10), (2, 'theirs', 0), (3, NULL, NULL), (9, 'x', 9)")
    sample = records(ALICE, BOB, (3, None, None), (4, "gone", 4))
    found = proof(bench, sample)
    assert (found.exists, found.empty) == (True, False)
    assert (found.asked, found.there, found.comparable, found.akin) == (4, 3, 3, 1)


def an_empty_table_has_none_of_them(bench: TableBench) -> None:
    """Emptied, and still the same table."""
    filled(bench)
    before = proof(bench)
    bench.execute("DELETE FROM people")
    found = proof(bench, records(ALICE))
    assert (found.empty, found.asked, found.there) == (True, 1, 0)
    assert (found.identity, found.beside) == (before.identity, before.beside)


def a_table_that_is_changed_stays_the_same(bench: TableBench) -> None:
    """Another column, other rows, other tables beside it: its identity stays."""
    bench.table()
    filled(bench)
    before = proof(bench)
    bench.execute(f"ALTER TABLE people ADD COLUMN more {bench.text}")
    bench.execute("UPDATE people SET score = 0")
    bench.execute("CREATE TABLE neighbours (id integer)")
    after = proof(bench)
    assert (after.identity, after.beside) == (before.identity, before.beside)


def a_table_that_is_made_anew_is_another(bench: TableBench) -> None:
    """Dropped and made again with the very same rows: where the database tells it."""
    bench.table()
    filled(bench)
    before = proof(bench)
    bench.execute("DROP TABLE people")
    bench.table()
    after = proof(bench)
    assert (after.identity != before.identity) is bench.identifies
    assert after.beside == before.beside


def records_are_counted(bench: TableBench) -> None:
    """All of them, whoever wrote them; of a table that is not there none."""
    destination = bench.open()
    assert isinstance(destination, Countable)
    assert destination.size("people") == 0
    filled(bench)
    bench.execute("INSERT INTO people VALUES (9, 'theirs', 0)")
    assert destination.size("people") == 4


CHECKS = gathered(dict(globals()))

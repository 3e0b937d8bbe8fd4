"""Every two kinds of values in a column, from every format of files to every kind of destination: exact, or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

import claims
from levada import Project
from levada.errors import SourceError
from levada_process import write
from servers.postgres import PostgresServer, fresh_database
from values.kinds import Kind
from values.matrix import GUARD
from values.mixtures import FORMS, Columns, Form, Mixture, mixtures, same
from values.witnesses import WITNESSES, Addresses, Held, Witness, declared_http, tape

ROWS = 6
COLUMNS, COLUMNS_FULL = 16, 80
"""Columns of one table; a small run takes one table of each format, and sends it to PLACES_FEW of the destinations."""
PLACES_FEW = 2


def read_duckdb(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    """By Arrow, which has Python's values of every type."""
    with duckdb.connect(str(folder / "arrived.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.sql(f'SELECT * FROM "{table}"').to_arrow_table().to_pylist()
    return {row["id"]: row for row in rows}


NAMES = ("http", "jsonl", "csv", "parquet", "sqlite", "postgres")
PLACES = {name: WITNESSES[name] for name in NAMES} | {"duckdb": replace(WITNESSES["duckdb"], read=read_duckdb)}


@pytest.fixture(scope="module")
def addresses(postgres_server: PostgresServer) -> Iterator[Addresses]:
    """The servers of all tests of this module."""
    with fresh_database(postgres_server) as postgres, tape() as received:
        yield Addresses(postgres, "", received)


@dataclass
class Count:
    columns: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    exact: int = 0
    wrong: list[str] = field(default_factory=list)


class Trial:
    """One table: written, read, sent everywhere, and judged."""

    def __init__(self, folder: Path, form: Form, drawn: Sequence[Mixture], seed: int, count: Count) -> None:
        self.folder, self.form, self.drawn, self.count = folder, form, drawn, count
        random = Random(seed)
        self.columns: Columns = {"id": list(range(ROWS))}
        self.columns |= {each.name: each.values(random, form.draws, ROWS) for each in drawn}
        write(folder, {"levada.yml": "name: mixtures\n", "sources/data.yml": form.source})
        form.write(folder, drawn, self.columns)

    def accepted(self) -> list[Mixture]:
        """The columns that can be read. Each other one is refused by its name, with its file and what to do."""
        taken = []
        with Project.open(self.folder) as project:
            source = project.world.source("data")
            for each in self.drawn:
                try:
                    with source.read(f"SELECT {each.name} FROM t") as batches:
                        rows = sum(batch.num_rows for batch in batches)
                    assert rows == ROWS, (self.form.name, str(each), rows)
                    taken.append(each)
                except SourceError as error:
                    self._refused(each, error)
        self.count.columns += len(self.drawn)
        return taken

    def _refused(self, each: Mixture, error: SourceError) -> None:
        named = each.name in error.message and bool(error.hint)
        if self.form.name != "sqlite":
            named = named and "/data/t" in error.message
        if each.pure or not named:
            self.count.wrong.append(f"{self.form.name}: {each} is refused: {error}")
        self.count.refused[self.form.name] += 1

    def send(self, addresses: Addresses, taken: Sequence[Mixture], table: str, names: Sequence[str]) -> None:
        """To destinations, each of which holds every row afterwards."""
        chosen = {name: PLACES[name] for name in names}
        urls = {"postgres": addresses.postgres, "mysql": "", "tape": addresses.tape.url}
        columns = ["id", *(each.name for each in taken)]
        files = {"models/t.sql": f"/*\nsource: data\nkey: id\n*/\nselect {', '.join(columns)} from t\n"}
        for name, place in chosen.items():
            files[f"destinations/{name}.yml"] = (place.declaration or declared_http([table])).format(**urls)
            files[f"syncs/{name}.yml"] = f"model: t\nto: {name}.{table}\nmode: {place.mode}\n{GUARD}fields: all\n"
        write(self.folder, files)
        kinds = [Kind(name, "", None, lambda random: None, lambda one, other: False) for name in columns[1:]]
        with Project.open(self.folder) as project:
            for name, place in chosen.items():
                done = project.run(name)
                # SQLite hands out each value by itself: one that its column cannot hold makes its own row invalid
                invalid = {} if done.status == "succeeded" else _invalid(project, name)
                alone = (
                    done.status == "partial" and self.form.name == "sqlite" and set(invalid.values()) <= set(columns)
                )
                if done.status != "succeeded" and not (alone and done.counts.invalid == len(invalid)):
                    said = [f"{r.field}: {r.reason}" for r in project.records(name) if r.outcome != "delivered"]
                    self.count.wrong.append(f"{self.form.name} → {name}: {done.status} {done.error} {said[:3]}")
                    continue
                self._judge(place, taken, place.read(self.folder, addresses, table, kinds), set(invalid))

    def _judge(self, place: Witness, taken: Sequence[Mixture], held: Held, invalid: set[int]) -> None:
        assert set(held) == set(range(ROWS)) - invalid, (self.form.name, place.name, sorted(held))
        for each in taken:
            for row, wanted in enumerate(self.columns[each.name]):
                if row in invalid:
                    continue
                got: Any = held[row][each.name]
                try:
                    exact = same(wanted, got, self.form.draws)
                except (ValueError, TypeError, ArithmeticError):
                    exact = False
                if exact:
                    self.count.exact += 1
                else:
                    self.count.wrong.append(f"{self.form.name} → {place.name}: {each}: {wanted!r:.60} is {got!r:.60}")


def _invalid(project: Project, sync: str) -> dict[int, str]:
    """The rows that are invalid, and the column of each."""
    return {int(row.key): str(row.field) for row in project.records(sync, outcome="invalid")}


@pytest.mark.claim("H12")
@pytest.mark.timeout(1_800)
@pytest.mark.needs("postgres")
def test_two_kinds_in_a_column_arrive_exactly_or_are_refused_by_name(
    tmp_path: Path, addresses: Addresses, figure: claims.Figure
) -> None:
    """A column of one kind always arrives; of a mixture no value is changed, and it is refused by file and column."""
    count = Count()
    size = COLUMNS_FULL if claims.full() else COLUMNS
    for number, form in enumerate(FORMS):
        places = list(PLACES) if claims.full() else [*PLACES, *PLACES][number : number + PLACES_FEW]
        every = [each for each in mixtures() if form.holds(each)]
        drawn = every if claims.full() else Random(number).sample(every, min(size, len(every)))
        for start in range(0, len(drawn), size):
            trial = Trial(tmp_path / f"{number}-{start}", form, drawn[start : start + size], start, count)
            trial.send(addresses, trial.accepted(), f"t{number}_{start}", places)
    assert not count.wrong, f"{len(count.wrong)}:\n" + "\n".join(count.wrong[:60])
    assert count.exact > count.columns * ROWS
    figure(
        "H12",
        f"{count.columns:,} columns in which two kinds of values meet, {len(FORMS)} forms of files, {len(PLACES)} "
        f"destinations: {count.exact:,} values exact, {sum(count.refused.values()):,} columns refused by file "
        "and column, 0 values changed in silence",
    )

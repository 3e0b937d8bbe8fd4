"""What arrives is the model's value, or its record is refused by the column's name: all types, to all destinations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import claims
from levada import Project
from servers.mariadb import MariadbServer, fresh_mariadb
from servers.postgres import PostgresServer, fresh_database
from values import page
from values.matrix import Tally, judge, lay_out, refusals, table_of
from values.warehouses import WAREHOUSES
from values.witnesses import FUNCTION, MORE_WITNESSES, WITNESSES, Addresses, tape

ROWS = 44
ROWS_FULL = 1_300


@pytest.fixture(scope="module")
def addresses(postgres_server: PostgresServer, mariadb_server: MariadbServer) -> Iterator[Addresses]:
    """The servers of all tests of this module."""
    with (
        fresh_database(postgres_server) as postgres,
        fresh_mariadb(mariadb_server) as mysql,
        tape() as received,
    ):
        yield Addresses(postgres, mysql, received)


@pytest.mark.claim("H12")
@pytest.mark.timeout(1_800)
@pytest.mark.needs("postgres", "mariadb")
def test_every_value_arrives_exactly_or_is_refused_by_name(
    tmp_path: Path, addresses: Addresses, figure: claims.Figure
) -> None:
    """Six sources, twelve ways out, and every value judged by a reader that is not the engine's.

    In `make test` each source but DuckDB goes out by every third way, and each way takes from some; in CI by all.
    """
    total, shown = Tally(), Tally()
    count = ROWS_FULL if claims.full() else ROWS
    for number, warehouse in enumerate(WAREHOUSES.values()):
        folder = tmp_path / warehouse.name
        generated = warehouse.rows(count, seed=number)
        witnesses = WITNESSES | (MORE_WITNESSES if warehouse.name == "duckdb" else {})
        if not (claims.full() or claims.campaign() or warehouse.name == "duckdb"):
            witnesses = dict(list(witnesses.items())[number % 3 :: 3])
        lay_out(folder, warehouse, addresses, warehouse.kinds, witnesses)
        (folder / "functions.py").write_text(FUNCTION)
        warehouse.fill(folder, warehouse.kinds, generated)
        with Project.open(folder) as project:
            for name, witness in witnesses.items():
                done = project.run(f"to_{name}")
                assert done.status in ("succeeded", "partial"), (warehouse.name, name, done)
                held = witness.read(
                    folder, addresses, table_of(warehouse), [kind for kind in warehouse.kinds if witness.takes(kind)]
                )
                tally = judge(witness, warehouse.kinds, generated, held, refusals(project, f"to_{name}"))
                tally.wrong = [f"{warehouse.name} → {line}" for line in tally.wrong]
                total.add(tally)
                if warehouse.name == "duckdb" and name in WITNESSES:
                    shown.add(tally)
    assert not total.wrong, "\n".join(total.wrong[:40])
    figure("H12", total.sentence)
    wrong = page.disagreements(shown)
    assert not wrong, "\n".join(wrong)

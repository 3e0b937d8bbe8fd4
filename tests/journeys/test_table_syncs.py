"""Syncs into tables as a demanding user meets them: what a project does over several runs, seen from both ends."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from levada import Project
from levada_process import levada, small_project, write, write_customers

REPLACE = "model: customers\nto: crm.contacts\nmode: replace\nfields: all\n"


def _contacts(folder: Path) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "crm.db")
    try:
        return connection.execute("SELECT * FROM contacts ORDER BY id").fetchall()
    finally:
        connection.close()


def test_a_replace_by_a_model_that_shrank_waits_for_approval(tmp_path: Path) -> None:
    """The rows that a replaced table would no longer hold are removals to the guard, and stay until approved."""
    small_project(tmp_path, rows=40, changes={"sync": REPLACE})
    with Project.open(tmp_path) as project:
        assert project.run("customers_to_crm").status == "succeeded"
        write_customers(tmp_path, 20)
        stopped = project.run("customers_to_crm")
        assert stopped.status == "blocked"
        assert [reason.rule for reason in stopped.guard.reasons] == ["removed_max"]
        assert project.plan("customers_to_crm").guard.blocked
        assert len(_contacts(tmp_path)) == 40
        project.approve(stopped.plan_id)
        assert project.run("customers_to_crm").status == "succeeded"
        assert len(_contacts(tmp_path)) == 20
        # what was replaced is forgotten: it is not counted again
        assert project.run("customers_to_crm").counts.left == 0


def test_another_object_is_another_sync(tmp_path: Path) -> None:
    """What one table confirmed says nothing of another: a sync that is pointed elsewhere stops and says what to do."""
    small_project(tmp_path, rows=3)
    assert levada(tmp_path, "run").code == 0
    sync = tmp_path / "syncs/customers_to_crm.yml"
    sync.write_text(sync.read_text().replace("crm.contacts", "crm.people"))
    for command in ("plan", "run", "check", "resync"):
        stopped = levada(tmp_path, command, "customers_to_crm")
        assert stopped.code == 2
        words = stopped.out + stopped.talk
        assert "customers_to_crm was kept for crm.contacts, and goes to crm.people now" in words
        assert "`levada resync customers_to_crm --rebuild`" in words
    assert levada(tmp_path, "resync", "customers_to_crm", "--rebuild").code == 0
    connection = sqlite3.connect(tmp_path / "crm.db")
    assert connection.execute("SELECT count(*) FROM people").fetchone() == (3,)
    connection.close()
    assert levada(tmp_path, "run").code == 0
    sync.write_text(sync.read_text().replace("crm.people", "crm.contacts"))
    assert levada(tmp_path, "mark-synced", "customers_to_crm").code == 0
    assert levada(tmp_path, "run", "--json").document["counts"]["unchanged"] == 3


@pytest.mark.parametrize("mode", ["mirror", "append", "replace"])
@pytest.mark.parametrize("anew", ["state", "ledger"])
def test_the_marks_of_a_life_before_do_not_vouch_for_rows(tmp_path: Path, anew: str, mode: str) -> None:
    """Found in use: whoever emptied the table and began anew was told that all rows of the same plan are in."""
    declared = f"model: customers\nto: crm.contacts\nmode: {mode}\nfields: all\n"
    small_project(tmp_path, rows=3, changes={"sync": declared})
    assert levada(tmp_path, "run").code == 0
    connection = sqlite3.connect(tmp_path / "crm.db")
    connection.execute("DELETE FROM contacts")
    connection.commit()
    connection.close()
    if anew == "state":
        shutil.rmtree(tmp_path / ".levada")
    else:
        begun = levada(tmp_path, "resync", "customers_to_crm", "--rebuild", "--json")
        assert begun.code == (4 if mode == "append" else 0)
        if mode == "append":  # rows that may be there are not appended unasked
            assert levada(tmp_path, "approve", begun.document["plan_id"]).code == 0
    assert levada(tmp_path, "run").code == 0
    assert len(_contacts(tmp_path)) == 3


@pytest.mark.needs("postgres")
def test_numbers_of_any_size_arrive_exactly_in_numeric_columns(tmp_path: Path, postgres_url: str) -> None:
    """PostgreSQL's numeric without a size takes what it is sent: many digits, tiny ones, NaN; other text is invalid."""
    numbers = ["1.50", "NaN", "Infinity", "1" + "0" * 50, "-0." + "0" * 26 + "123"]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE model (id int, n numeric, f double precision, t text)")
        for number, written in enumerate(numbers):
            connection.execute("INSERT INTO model VALUES (%s, %s, 1e-20, '2.5')", (number, written))
        connection.execute("INSERT INTO model VALUES (99, 1, 1, 'none')")
        connection.execute("CREATE TABLE copy (id int PRIMARY KEY, n numeric, f numeric, t numeric)")
    destination = f"type: postgres\nurl: {postgres_url}\n"
    write(
        tmp_path,
        {
            "levada.yml": "name: numbers\n",
            "sources/warehouse.yml": destination,
            "destinations/app.yml": destination,
            "models/rows.yml": "source: warehouse\nkey: id\ntable: model\n",
            "syncs/copy.yml": "model: rows\nto: app.copy\nmode: mirror\n",
        },
    )
    with Project.open(tmp_path) as project:
        result = project.run("copy")
        assert (result.counts.added, result.counts.invalid) == (len(numbers), 1)
        assert project.run("copy").counts.unchanged == len(numbers)
    with psycopg.connect(postgres_url) as connection:
        found = connection.execute("SELECT n::text, f::text, t::text FROM copy ORDER BY id").fetchall()
    assert found == [(number, "0.00000000000000000001", "2.5") for number in numbers]


def test_a_key_may_have_any_columns_name(tmp_path: Path) -> None:
    """`check` counts keys by names of its own, which are none of the model's."""
    write(
        tmp_path,
        {
            "levada.yml": "name: names\n",
            "data/rows.csv": "n,m,k\n1,1,1\n1,1,2\n2,1,3\n",
            "sources/shop.yml": "type: files\npath: data\n",
            "models/rows.sql": "/*\nsource: shop\nkey: [n, m, k]\n*/\nselect n, m, k from rows\n",
            "models/twice.sql": "/*\nsource: shop\nkey: n\n*/\nselect n, m from rows where k <> 3\n",
        },
    )
    with Project.open(tmp_path) as project:
        found = {finding.subject: finding.message for finding in project.check().findings}
    assert found["model rows"] == "3 rows, key n, m, k is unique"
    assert "1 2 times" in found["model twice"]

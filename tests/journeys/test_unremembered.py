"""A state that was lost over a filled table: what nobody remembers is told, and nothing is called well meanwhile."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from levada import Project
from levada_process import small_project, write, write_customers

SYNC = "customers_to_crm"
DECLARED = "model: customers\nto: crm.contacts\nmode: {mode}\nfields: all\n"


def crm(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "crm.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def held(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(folder / "crm.db")) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM contacts ORDER BY id")]


def lost(folder: Path, mode: str = "mirror", rows: int = 8, left: int = 7) -> Path:
    """A project that has run, whose state is gone, and whose model has lost rows since."""
    small_project(folder, rows=rows, changes={"sync": DECLARED.format(mode=mode)})
    with Project.open(folder) as project:
        assert project.run(SYNC).status == "succeeded"
    shutil.rmtree(folder / ".levada")
    write_customers(folder, left)
    return folder


def standing(folder: Path) -> tuple[str, str, str]:
    """What `status` says: of all, and of the sync."""
    with Project.open(folder) as project:
        view = project.status()
        return view.sentence, view.syncs[0].state, view.syncs[0].sentence


def told(result: Any) -> list[str]:
    return [notice for notice in result.notices if "nobody remembers" in notice]


def test_rows_that_nobody_remembers_are_told(tmp_path: Path) -> None:
    """The run says how many there are and what to do; `plan` says it before, and `status` says it from then on."""
    lost(tmp_path)
    with Project.open(tmp_path) as project:
        assert any("nobody remembers" in notice for notice in project.plan(SYNC).notices)
        assert not (tmp_path / ".levada").exists()  # whoever looks changes nothing
        result = project.run(SYNC)
    assert result.status == "succeeded"
    (sentence,) = told(result)
    assert sentence.startswith("1 row of crm.contacts")
    assert f"levada mark-synced {SYNC}" in sentence
    with Project.open(tmp_path) as project:
        project.run(SYNC)  # nothing to send: it stands all the same
    everything, state, words = standing(tmp_path)
    assert (everything, state) == ("One sync needs you.", "unremembered")
    assert words.startswith("1 row of crm.contacts")
    assert held(tmp_path) == list(range(1, 9))


def test_it_is_over_when_the_rows_are_gone(tmp_path: Path) -> None:
    """A person deletes them; the next run that writes finds nothing left over."""
    lost(tmp_path)
    with Project.open(tmp_path) as project:
        project.run(SYNC)
    crm(tmp_path, "DELETE FROM contacts WHERE id = 8")
    write_customers(tmp_path, 7, changed=(1,))
    with Project.open(tmp_path) as project:
        assert told(project.run(SYNC)) == []
    assert standing(tmp_path)[:2] == ("All is well.", "well")


def test_a_person_may_take_the_table_as_it_is(tmp_path: Path) -> None:
    """`mark-synced` ends it, for rows of others too."""
    lost(tmp_path)
    with Project.open(tmp_path) as project:
        project.run(SYNC)
        project.mark_synced(SYNC)
    assert standing(tmp_path)[0] == "All is well."
    write_customers(tmp_path, 7, changed=(1,))
    with Project.open(tmp_path) as project:
        assert told(project.run(SYNC)) == []
    assert standing(tmp_path)[0] == "All is well."


def test_a_table_without_a_row_too_many_is_well(tmp_path: Path) -> None:
    """The state is lost, and the model still has all rows: they are known again after one run."""
    lost(tmp_path, left=8)
    with Project.open(tmp_path) as project:
        assert told(project.run(SYNC)) == []
    assert standing(tmp_path)[0] == "All is well."


def test_a_ledger_begun_anew_forgets_too(tmp_path: Path) -> None:
    """`resync --rebuild` forgets pending removals: the rows that stay are told."""
    small_project(tmp_path, rows=8)
    with Project.open(tmp_path) as project:
        project.run(SYNC)
        write_customers(tmp_path, 6)
        (sentence,) = told(project.resync(SYNC, rebuild=True))
    assert sentence.startswith("2 rows of crm.contacts")
    assert standing(tmp_path)[1] == "unremembered"


def test_a_ledger_that_removals_emptied_forgot_nothing(tmp_path: Path) -> None:
    """Everything was taken back, beside rows of others: nothing of this sync is there that nobody remembers."""
    small_project(tmp_path, rows=3)
    with Project.open(tmp_path) as project:
        first = project.run(SYNC)
        crm(tmp_path, "INSERT INTO contacts (id) VALUES (99)")
        project.undo(first.run_id)
        assert held(tmp_path) == [99]
        assert told(project.run(SYNC)) == []
    assert standing(tmp_path)[1] != "unremembered"


def test_a_first_run_over_other_peoples_rows_is_well(tmp_path: Path) -> None:
    """Without marks of this sync the rows are others': of another sync too."""
    small_project(tmp_path, rows=3, changes={"sync": DECLARED.format(mode="mirror")})
    write(
        tmp_path,
        {
            "models/more.sql": "/*\nsource: shop\nkey: id\n*/\nselect id + 1000 as id, email, score from customers\n",
            "syncs/more.yml": DECLARED.format(mode="mirror").replace("customers", "more"),
        },
    )
    with Project.open(tmp_path) as project:
        assert told(project.run("more")) == []
        assert told(project.run(SYNC)) == []
    assert standing(tmp_path)[0] == "All is well."


def test_nothing_is_appended_twice_unasked(tmp_path: Path) -> None:
    """Mode append: the rows of the life before may be there, so that sending all again waits for a person."""
    lost(tmp_path, mode="append", left=8)
    with Project.open(tmp_path) as project:
        result = project.run(SYNC)
        assert (result.status, [reason.rule for reason in result.guard.reasons]) == ("blocked", ["rebuilt"])
        assert len(told(result)) == 1
        assert len(held(tmp_path)) == 8
        project.mark_synced(SYNC)
        write_customers(tmp_path, 9)
        assert project.run(SYNC).tally.delivered_total == 1
    assert len(held(tmp_path)) == 9


@pytest.mark.parametrize("mode", ["upsert", "update", "insert"])
def test_other_modes_say_it_too(tmp_path: Path, mode: str) -> None:
    """Whatever the mode: all is not well while there are rows of this sync that its ledger does not know."""
    lost(tmp_path, mode="upsert")
    (tmp_path / "syncs" / f"{SYNC}.yml").write_text(DECLARED.format(mode=mode), encoding="utf-8")
    with Project.open(tmp_path) as project:
        assert told(project.run(SYNC)) or mode == "insert"
    assert standing(tmp_path)[0] != "All is well."


def test_a_swap_leaves_nothing_behind(tmp_path: Path) -> None:
    """Mode replace: what the table holds is the model, whatever was there."""
    lost(tmp_path, mode="replace")
    with Project.open(tmp_path) as project:
        assert told(project.run(SYNC)) == []
    assert standing(tmp_path)[0] == "All is well."
    assert held(tmp_path) == list(range(1, 8))

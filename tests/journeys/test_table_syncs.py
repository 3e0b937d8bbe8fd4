"""Syncs into tables as a demanding user meets them: what a project does over several runs, seen from both ends."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from levada import Project
from levada_process import small_project, write_customers

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

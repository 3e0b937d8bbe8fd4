"""`levada resync SYNC --rebuild`: a ledger that is begun anew makes no record twice unasked."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from levada import Project
from levada.destination import DestinationSpec
from levada.runner.rebuilt import repeats_creates
from levada.runner.resolve import resolve
from levada_process import levada, small_project, write, write_customers
from servers.records import records_server

SYNC = "customers_to_crm"
EVENTS = "model: customers\nto: crm.orders\nmode: upsert\nfields: all\n"
APPENDED = "model: customers\nto: crm.orders\nmode: append\nfields: all\n"


def webhook(url: str) -> str:
    return f"type: webhook\nurl: {url}/events\nsecret: a secret\nlimits: {{concurrent_requests: 1}}\n"


def test_a_tool_that_cannot_tell_a_repeat_gets_nothing_before_a_person_approved_it(tmp_path: Path) -> None:
    """Class D: the rebuild ends with 4, plans and later runs say so, too; after the approval all goes, once."""
    with records_server() as records:
        small_project(tmp_path, 4, {"destination": webhook(records.url), "sync": EVENTS})
        assert levada(tmp_path, "run").code == 0
        stopped = levada(tmp_path, "resync", SYNC, "--rebuild", "--json")
        assert stopped.code == 4
        [reason] = stopped.document["guard"]["reasons"]
        assert (reason["rule"], reason["observed"]) == ("rebuilt", 4)
        assert f"levada mark-synced {SYNC}" in reason["message"]
        assert levada(tmp_path, "plan", SYNC, "--json").document["guard"]["blocked"]
        assert levada(tmp_path, "run").code == 4
        assert len(records.events) == 4
        assert levada(tmp_path, "approve", stopped.document["plan_id"]).code == 0
        assert levada(tmp_path, "run").code == 0
        assert len(records.events) == 8
        write_customers(tmp_path, 5)
        assert levada(tmp_path, "run").code == 0
        assert len(records.events) == 9


def test_records_that_are_there_are_taken_as_synced_instead(tmp_path: Path) -> None:
    """After `mark-synced` the next run sends what is new, and asks nobody."""
    with records_server() as records:
        small_project(tmp_path, 4, {"destination": webhook(records.url), "sync": EVENTS})
        with Project.open(tmp_path) as project:
            project.run(SYNC)
            assert project.resync(SYNC, rebuild=True).status == "blocked"
            project.mark_synced(SYNC)
            write_customers(tmp_path, 5)
            assert project.run(SYNC).tally.delivered_total == 1
        assert [event["match"]["id"] for event in records.events] == [1, 2, 3, 4, 5]


def test_an_empty_model_in_between_releases_nothing(tmp_path: Path) -> None:
    """A run that had nothing to send has told nobody what is there."""
    with records_server() as records:
        small_project(tmp_path, 4, {"destination": webhook(records.url), "sync": EVENTS})
        with Project.open(tmp_path) as project:
            project.run(SYNC)
            write_customers(tmp_path, 0)
            assert project.resync(SYNC, rebuild=True).status == "succeeded"
            write_customers(tmp_path, 4)
            assert project.run(SYNC).status == "blocked"
        assert len(records.events) == 4


def test_what_was_kept_for_another_object_holds_nothing_up(tmp_path: Path) -> None:
    """A sync that goes elsewhere now is begun anew as its error says: that object has none of the records."""
    with records_server() as records:
        small_project(tmp_path, 4, {"destination": webhook(records.url), "sync": EVENTS})
        with Project.open(tmp_path) as project:
            project.run(SYNC)
        write(tmp_path, {f"syncs/{SYNC}.yml": EVENTS.replace("crm.orders", "crm.customers")})
        with Project.open(tmp_path) as project:
            assert project.resync(SYNC, rebuild=True).tally.delivered_total == 4


def test_a_table_that_is_appended_to_is_asked_about_and_one_that_is_upserted_is_not(tmp_path: Path) -> None:
    """Rows that are found by their key are written over at once; rows that are added would be there twice."""

    def rows() -> int:
        connection = sqlite3.connect(tmp_path / "crm.db")
        try:
            return int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])
        finally:
            connection.close()

    small_project(tmp_path, 4, {"sync": APPENDED})
    with Project.open(tmp_path) as project:
        project.run(SYNC)
        assert (project.resync(SYNC, rebuild=True).status, rows()) == ("blocked", 4)
    write(tmp_path, {f"syncs/{SYNC}.yml": EVENTS})
    with Project.open(tmp_path) as project:
        assert project.resync(SYNC, rebuild=True).status == "succeeded"
        assert rows() == 4


@pytest.mark.parametrize(
    ("letter", "mode", "repeats"),
    [
        ("A", "upsert", False),
        ("B", "upsert", True),
        ("B", "append", True),
        ("C", "upsert", False),
        ("C", "mirror", False),
        ("C", "append", True),
        ("D", "mirror", True),
        ("D", "append", True),
    ],
)
def test_who_is_asked_depends_on_the_class(letter: Any, mode: Any, repeats: bool, tmp_path: Path) -> None:
    """Class C looks up before it creates where the mode lets it; class B makes new keys with the new ledger."""
    small_project(tmp_path, 1)
    with Project.open(tmp_path) as project:
        found = resolve(project.world, SYNC)
        spec = DestinationSpec("crm", "CRM", "", classes={"create": letter})
        tried: Any = replace(
            found,
            sync=found.sync.model_copy(update={"mode": mode}),
            verbs={"added": "create"},
            destination=SimpleNamespace(spec=spec),
        )
        assert repeats_creates(tried) is repeats

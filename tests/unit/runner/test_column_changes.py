"""What happens when a model's columns are renamed, lost, added or of another type, and when it is marked as synced."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from levada import Project
from levada.errors import ConfigError
from levada.run import RunResult
from levada_process import small_project

SYNC = "customers_to_crm"
HEAD = "model: customers\nto: crm.contacts\nmode: mirror\nmatch: {id: id}\nfields: "
FIELDS = {
    "column": "{id: id, email: email, score: score}",
    "sql": "{id: id, email: {sql: upper(email)}, score: score}",
    "template": "{id: id, email: {template: 'Hi {{ email }}'}, score: score}",
    "transform": "{id: id, email: {column: email, apply: [trim, sha256]}, score: score}",
}
ALL = f"{HEAD}all\n"


def model(folder: Path, select: str) -> None:
    (folder / "models/customers.sql").write_text(f"/*\nsource: shop\nkey: id\n*/\nselect {select} from customers\n")


def run(folder: Path) -> RunResult:
    with Project.open(folder) as project:
        return project.run(SYNC)


def held(folder: Path, query: str = "select * from contacts order by id") -> list[Any]:
    return sqlite3.connect(folder / "crm.db").execute(query).fetchall()


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize(
    ("select", "named"),
    [("id, score", "email"), ("id, email as contact, score", "contact"), ("email, score", "id")],
    ids=["missing", "renamed", "key"],
)
def test_a_missing_column_is_a_mistake_before_anything_is_sent(
    tmp_path: Path, kind: str, select: str, named: str
) -> None:
    """Whatever the column feeds: nothing is sent, the ledger stays, and a column that came is suggested."""
    small_project(tmp_path, 8, {"sync": HEAD + FIELDS[kind] + "\n"})
    run(tmp_path)
    before, bytes_before = held(tmp_path), (tmp_path / "crm.db").read_bytes()
    model(tmp_path, select)
    with pytest.raises(ConfigError) as caught:
        run(tmp_path)
    assert caught.value.exit_code == 2
    assert named in f"{caught.value.message} {caught.value.hint}"
    assert (tmp_path / "crm.db").read_bytes() == bytes_before
    assert held(tmp_path) == before
    model(tmp_path, "id, email, score")
    assert run(tmp_path).counts.operations == 0


def test_a_column_that_came_in_the_run_in_which_another_left_is_taken_for_it(tmp_path: Path) -> None:
    """However different the names are."""
    small_project(tmp_path, 3, {"sync": HEAD + FIELDS["column"] + "\n"})
    run(tmp_path)
    model(tmp_path, "id, email as zz, score")
    with pytest.raises(ConfigError) as caught:
        run(tmp_path)
    assert "since the last run email left the model and zz came" in (caught.value.hint or "")


def test_a_new_column_that_no_field_takes_is_told_once(tmp_path: Path) -> None:
    """It is ignored, and no row is sent for it."""
    small_project(tmp_path, 3, {"sync": HEAD + FIELDS["column"] + "\n"})
    run(tmp_path)
    model(tmp_path, "id, email, score, score as extra")
    found = run(tmp_path)
    assert found.counts.operations == 0
    assert found.notices == ("the model has a new column, which no field takes: extra",)
    assert run(tmp_path).notices == ()


@pytest.mark.parametrize("mode", ["mirror", "upsert", "update", "replace"])
def test_with_all_fields_a_new_column_is_sent_and_is_no_surge_of_changes(tmp_path: Path, mode: str) -> None:
    """Every row changes by it, and no guard asks; rows that change otherwise still count, and the guard says why."""
    small_project(tmp_path, 40, {"sync": ALL})
    run(tmp_path)
    (tmp_path / "syncs" / f"{SYNC}.yml").write_text(ALL.replace("mirror", mode))
    model(tmp_path, "id, email, score, score as extra")
    found = run(tmp_path)
    assert (found.status, found.tally.delivered_total) == ("succeeded", 40)
    assert "the model has a new column, which is sent from now on: extra" in found.notices
    assert held(tmp_path, "select count(*) from contacts where extra = score") == [(40,)]
    again = run(tmp_path)
    assert (again.counts.operations, again.notices) == (0, ())
    if mode != "replace":
        model(tmp_path, "id, email, score + 1 as score, score as extra, 1 as more")
        stopped = run(tmp_path)
        assert stopped.status == "blocked"
        assert "since the last run the model's columns are others (new: more)" in stopped.guard.reasons[0].message


def test_with_all_fields_a_new_column_without_a_field_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    """It is left out; the others are sent, also those that came with it; once the field is there it is sent too."""
    small_project(tmp_path, 40, {"sync": ALL})
    run(tmp_path)
    (tmp_path / "destinations/crm.yml").write_text("type: sqlite\npath: crm.db\n")
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        connection.execute("alter table contacts add column known integer")
    model(tmp_path, "id, email, score, score as extra, score as known")
    found = run(tmp_path)
    assert (found.status, found.tally.delivered_total) == ("succeeded", 40)
    assert set(found.notices) == {
        "the model has a new column, which is sent from now on: known",
        "the model has a new column, which crm.contacts has no field for: extra",
    }
    again = run(tmp_path)
    assert (again.status, again.counts.operations, again.notices) == ("succeeded", 0, ())
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        connection.execute("alter table contacts add column extra integer")
    run(tmp_path)
    assert held(tmp_path, "select count(*) from contacts where extra = score") == [(40,)]


def test_with_all_fields_a_lost_column_is_told_and_nothing_is_blanked(tmp_path: Path) -> None:
    """In the plan and in the run; the records keep what they hold, also when other fields change."""
    small_project(tmp_path, 3, {"sync": ALL})
    run(tmp_path)
    before = held(tmp_path, "select id, email from contacts order by id")
    model(tmp_path, "id, score + 1 as score")
    with Project.open(tmp_path) as project:
        told = project.plan(SYNC).notices
    notice = "the model has lost the column email: records keep the last value that was sent"
    assert notice in told
    found = run(tmp_path)
    assert notice in found.notices
    assert found.counts.changed == 3
    assert held(tmp_path, "select id, email from contacts order by id") == before


def test_with_all_fields_a_replace_that_would_lose_a_column_waits_for_approval(tmp_path: Path) -> None:
    """Here leaving it out is blanking it: the plan is stopped, and passes once it is approved."""
    small_project(tmp_path, 3, {"sync": ALL.replace("mirror", "replace")})
    run(tmp_path)
    before = held(tmp_path)
    model(tmp_path, "id, score + 1 as score")
    found = run(tmp_path)
    assert (found.status, [reason.rule for reason in found.guard.reasons]) == ("blocked", ["columns_missing"])
    assert found.tally.requests == 0
    assert held(tmp_path) == before
    with Project.open(tmp_path) as project:
        project.approve(found.plan_id)
    assert run(tmp_path).status == "succeeded"


WIDER = [
    ("score", "cast(score as decimal(20, 2))"),
    ("cast(score as smallint)", "cast(score as hugeint)"),
    ("cast(score as decimal(10, 1))", "cast(score as decimal(12, 3))"),
    ("date '2026-03-29' + cast(id as int)", "cast(date '2026-03-29' + cast(id as int) as timestamp)"),
    ("score", "cast(score as varchar)"),
    ("cast(score as float)", "cast(score as double)"),
]


@pytest.mark.parametrize(("before", "after"), WIDER)
def test_a_wider_type_of_a_column_is_told_and_sends_nothing(tmp_path: Path, before: str, after: str) -> None:
    """Equal values are compared anew and not sent again; a value that differs is sent alone."""
    small_project(tmp_path, 12, {"sync": HEAD + FIELDS["column"] + "\n"})
    model(tmp_path, f"id, email, {before} as score")
    run(tmp_path)
    model(tmp_path, f"id, email, {after} as score")
    found = run(tmp_path)
    assert (found.status, found.counts.operations, found.tally.requests) == ("succeeded", 0, 0)
    assert ["values that are equal are not sent again" in notice for notice in found.notices] == [True]
    assert run(tmp_path).notices == ()
    model(tmp_path, f"id, case when id = 3 then 'new' else email end as email, {after} as score")
    assert run(tmp_path).counts.changed == 1


def test_a_type_whose_values_do_not_fit_stops_the_run_by_name(tmp_path: Path) -> None:
    """Instead of a run whose rows are all invalid: nothing is sent until the plan is approved or the model mended."""
    small_project(tmp_path, 12, {"sync": HEAD + FIELDS["column"] + "\n"})
    run(tmp_path)
    before = (tmp_path / "crm.db").read_bytes()
    model(tmp_path, "id, email, 'no number ' || score as score")
    found = run(tmp_path)
    assert (found.status, found.tally.requests) == ("blocked", 0)
    (reason,) = [reason for reason in found.guard.reasons if reason.rule == "type_changed"]
    assert "the column score was" in reason.message
    assert reason.observed == 12
    assert (tmp_path / "crm.db").read_bytes() == before
    model(tmp_path, "id, email, score")
    assert run(tmp_path).counts.operations == 0


def test_marking_a_mirror_as_synced_names_the_records_that_it_forgets(tmp_path: Path) -> None:
    """They stay at the destination, and no later run removes them: whoever marks has to know which they are."""
    small_project(tmp_path, 8)
    run(tmp_path)
    (tmp_path / "models/customers.sql").write_text(
        "/*\nsource: shop\nkey: id\n*/\nselect id, email, score from customers where id not in (2, 5)\n"
    )
    with Project.open(tmp_path) as project:
        found = project.mark_synced(SYNC)
    assert found.notices[1:] == ("2 records that have left the model stay at the destination and are forgotten: 2, 5",)
    later = run(tmp_path)
    assert (later.counts.operations, len(held(tmp_path))) == (0, 8)
    with Project.open(tmp_path) as project:
        assert len(project.mark_synced(SYNC).notices) == 1

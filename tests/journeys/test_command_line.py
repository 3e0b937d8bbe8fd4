"""The real process: a first day with it, its JSON documents, and its exit codes."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from levada import Project
from levada_process import Ended, levada, small_project, started, write_customers

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"added", "changed", "removed", "unchanged", "invalid"}


def contacts(folder: Path) -> dict[int, tuple[str, int]]:
    """What the destination holds."""
    with sqlite3.connect(folder / "crm.db") as database:
        return {row[0]: (row[1], row[2]) for row in database.execute("select id, email, score from contacts")}


def synced(folder: Path) -> None:
    """Run the sync in this process: for what comes before the point of a test."""
    with Project.open(folder) as project:
        assert project.run("customers_to_crm").status == "succeeded"


def test_the_getting_started_page_works_as_it_stands(tmp_path: Path) -> None:
    """Every command of the page, typed in its order into an empty folder, does what the page says."""
    page = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert commands[:2] == ["levada init acme", "cd acme"]
    folder = tmp_path
    for command in commands:
        word, *arguments = command.split()
        if word == "cd":
            folder = folder / arguments[0]
            continue
        ended = started(folder, *arguments)
        assert ended.code == 0, f"{command}: {ended}"
    assert "All is well." in started(folder, "status").out


def test_a_first_run_an_idle_run_and_a_run_with_changes(tmp_path: Path) -> None:
    """The destination follows the model; an unchanged model sends nothing; a plan shows before and after."""
    folder = small_project(tmp_path)
    first = levada(folder, "run", "--json").document
    assert (first["status"], first["delivered"]) == ("succeeded", {"added": 40, "changed": 0, "removed": 0})
    idle = levada(folder, "run", "--json").document
    assert (idle["status"], idle["requests"], idle["counts"]["unchanged"]) == ("succeeded", 0, 40)
    write_customers(folder, 39, changed=(7,), extra="99,NEW@Example.com,1\n")
    plan = levada(folder, "plan", "--json").document
    assert {kind: plan["counts"][kind] for kind in ("added", "changed", "removed")} == {
        "added": 1,
        "changed": 1,
        "removed": 1,
    }
    changed = next(one for one in plan["sample"] if one["kind"] == "changed")
    assert (changed["key"], changed["before"]["score"], changed["after"]["score"]) == (7, 70, 71)
    assert plan["fields_changed"] == {"score": 1}
    assert levada(folder, "run").code == 0
    assert contacts(folder)[7] == ("person7@example.com", 71)
    assert contacts(folder)[99] == ("new@example.com", 1)
    assert 40 not in contacts(folder)


def test_the_json_of_plan_run_records_and_status_has_the_fields_of_the_contract(tmp_path: Path) -> None:
    """Scripts rely on these names."""
    folder = small_project(tmp_path, rows=3)
    write_customers(folder, 3, extra=",nobody@example.com,1\n")
    plan = levada(folder, "plan", "--json").document
    assert {"sync", "plan_id", "counts", "guard", "fields_changed", "sample"} <= set(plan)
    assert set(plan["counts"]) >= COUNTS
    assert {"blocked", "reasons"} <= set(plan["guard"])
    assert {"kind", "key", "before", "after"} <= set(plan["sample"][0])
    ended = levada(folder, "run", "--json")
    run = ended.document
    wanted = {"sync", "run_id", "status", "counts", "delivered", "rejected", "invalid", "suppressed", "unknown"}
    assert wanted | {"requests", "started_at", "finished_at", "seconds"} <= set(run)
    assert (ended.code, run["status"], run["invalid"], run["delivered"]["added"]) == (3, "partial", 1, 3)
    records = levada(folder, "records", "customers_to_crm", "--json").lines
    assert [record["outcome"] for record in records] == ["delivered"] * 3 + ["invalid"]
    assert {record["run_id"] for record in records} == {run["run_id"]}
    assert records[0]["before"] is None
    assert records[0]["after"]["email"] == "person1@example.com"
    assert "NULL" in records[3]["reason"]
    one = levada(folder, "records", "customers_to_crm", "--key", "2", "--json").lines
    assert [record["key"] for record in one] == [2]
    invalid = levada(folder, "records", "customers_to_crm", "--outcome", "invalid", "--json").lines
    assert len(invalid) == 1
    status = levada(folder, "status", "--json").document
    assert status["sentence"] == "One sync needs you."
    assert status["syncs"][0]["state"] == "records"
    runs = levada(folder, "runs", "--json").document["runs"]
    assert [one["run_id"] for one in runs] == [run["run_id"]]


def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    """Planning, previewing and checking leave no file behind, in the project or at the destination."""
    folder = small_project(tmp_path)
    before = sorted(folder.rglob("*"))
    first = levada(folder, "plan", "--json").document["plan_id"]
    assert levada(folder, "preview", "customers_to_crm", "--json").document["rows"][0]["email"] == "person1@example.com"
    assert levada(folder, "check").code == 0
    assert levada(folder, "plan", "--json").document["plan_id"] == first
    assert sorted(folder.rglob("*")) == before


def test_a_mass_removal_waits_for_the_approval_of_that_very_plan(tmp_path: Path) -> None:
    """Exit code 4 and nothing sent; an approval covers the plan by its content, and no other."""
    folder = small_project(tmp_path)
    synced(folder)
    write_customers(folder, 20)
    blocked = levada(folder, "run", "--json")
    document = blocked.document
    assert (blocked.code, document["status"], document["requests"]) == (4, "blocked", 0)
    assert document["guard"]["reasons"][0]["rule"] == "removed_max"
    assert document["guard"]["reasons"][0]["keys"]
    assert len(contacts(folder)) == 40
    plan = levada(folder, "plan", "--json")
    assert (plan.code, plan.document["guard"]["blocked"]) == (0, True)
    assert levada(folder, "approve", document["plan_id"]).code == 0
    write_customers(folder, 19)
    assert levada(folder, "run").code == 4
    moved_on = levada(folder, "approve", document["plan_id"][:-1] + "x", "--json")
    assert (moved_on.code, moved_on.document["error"]["code"]) == (2, "usage.plan_moved_on")
    write_customers(folder, 20)
    assert levada(folder, "run").code == 0
    assert len(contacts(folder)) == 20


def test_an_undo_takes_back_a_run_and_holds_the_sync(tmp_path: Path) -> None:
    """What was added is removed, what was changed is put back, and the next run asks first."""
    folder = small_project(tmp_path)
    synced(folder)
    before = contacts(folder)
    write_customers(folder, 39, changed=(3,), extra="77,x@example.com,5\n")
    run_id = levada(folder, "run", "--json").document["run_id"]
    assert contacts(folder) != before
    assert levada(folder, "undo", run_id).code == 0
    assert contacts(folder) == before
    held = levada(folder, "run", "--json")
    assert (held.code, held.document["guard"]["reasons"][0]["rule"]) == (4, "undone")
    write_customers(folder, 40)
    assert levada(folder, "run").code == 0
    assert contacts(folder) == before


def test_mark_synced_sends_nothing_and_resync_sends_everything(tmp_path: Path) -> None:
    """The two ways to correct what Levada believes of a destination."""
    folder = small_project(tmp_path)
    marked = levada(folder, "mark-synced", "customers_to_crm", "--json").document
    assert (marked["status"], marked["requests"], marked["counts"]["unchanged"]) == ("succeeded", 0, 40)
    assert levada(folder, "run", "--json").document["counts"]["unchanged"] == 40
    again = levada(folder, "resync", "customers_to_crm", "--json").document
    assert (again["status"], sum(again["delivered"].values())) == ("succeeded", 40)
    assert len(contacts(folder)) == 40


def test_several_syncs_print_a_line_each_and_the_worst_code_decides(tmp_path: Path) -> None:
    """One sync that fails does not keep the others from running."""
    folder = small_project(tmp_path)
    other = "model: customers\nto: crm.{table}\nfields: {fields}\n"
    good = other.replace("{table}", "people").replace("{fields}", "{id: id, email: email}")
    bad = other.replace("{table}", "others").replace("{fields}", "{id: id, email: nowhere}")
    (folder / "syncs" / "a_bad.yml").write_text(bad, encoding="utf-8")
    (folder / "syncs" / "people.yml").write_text(good, encoding="utf-8")
    ended = levada(folder, "run", "--json")
    by_sync = {line["sync"]: line for line in ended.lines}
    assert ended.code == 2
    assert by_sync["a_bad"]["error"]["code"] == "config.unknown_column"
    assert by_sync["people"]["status"] == by_sync["customers_to_crm"]["status"] == "succeeded"
    only = levada(folder, "run", "--select", "customers_to_crm", "people", "--exclude", "people", "--json")
    assert (only.code, [line["sync"] for line in only.lines]) == (0, ["customers_to_crm"])


def test_a_secret_is_kept_and_used_and_never_shown(tmp_path: Path) -> None:
    """A value goes in by a pipe, is used as ${secret:NAME}, and comes out nowhere."""
    folder = small_project(
        tmp_path, changes={"destination": "type: sqlite\npath: ${secret:CRM_FILE}\ncreate_tables: true\n"}
    )
    missing = levada(folder, "run", "--json")
    assert (missing.code, missing.document["error"]["code"]) == (2, "config.missing_secret")
    assert levada(folder, "secrets", "set", "CRM_FILE", text="crm.db\n").code == 0
    assert levada(folder, "secrets", "list", "--json").document == {"secrets": ["CRM_FILE"]}
    assert levada(folder, "run").code == 0
    assert len(contacts(folder)) == 40
    assert levada(folder, "secrets", "remove", "CRM_FILE").code == 0
    assert levada(folder, "run").code == 2


BAD: dict[str, tuple[dict[str, str], str, str]] = {
    "an unknown key": (
        {"sync": "model: customers\nto: crm.contacts\nmod: mirror\n"},
        "config.unknown_key",
        "syncs/customers_to_crm.yml:3:1",
    ),
    "a missing environment variable": (
        {"destination": "type: sqlite\npath: ${NOT_SET_ANYWHERE}\n"},
        "config.missing_variable",
        "destinations/crm.yml:2:7",
    ),
    "a model without its key column": (
        {"model": "/*\nsource: shop\nkey: number\n*/\nselect id, email, score from customers\n"},
        "config.missing_key_column",
        "models/customers.sql:3:6",
    ),
    "a mapping of an unknown column": (
        {"sync": "model: customers\nto: crm.contacts\nfields:\n  id: id\n  email: e_mail\n"},
        "config.unknown_column",
        "syncs/customers_to_crm.yml:5:10",
    ),
    "an expression that reads files": (
        {"sync": "model: customers\nto: crm.contacts\nfields: {id: id, x: {sql: \"read_text('/etc/passwd')\"}}\n"},
        "config.expression",
        "",
    ),
    "a type that cannot fit": (
        {"sync": "model: customers\nto: crm.contacts\nfields: {id: id, x: {template: 7}}\n"},
        "config.wrong_type",
        "syncs/customers_to_crm.yml:3:",
    ),
    "a missing table": (
        {"destination": "type: sqlite\npath: crm.db\n"},
        "destination.missing_file",
        "",
    ),
    "a destination that is down": (
        {
            "destination": "type: http\nbase_url: http://127.0.0.1:9\n"
            "objects:\n  contacts: {match: id, upsert: {send: POST /c}}\n",
            "sync": "model: customers\nto: crm.contacts\nfields: {id: id, email: email}\n",
        },
        "destination.unavailable",
        "",
    ),
    "an unknown type": (
        {"destination": "type: sqlit\npath: crm.db\n"},
        "config.unknown_type",
        "destinations/crm.yml:1:7",
    ),
    "a folder that is not there": (
        {"source": "type: files\npath: nowhere\n"},
        "source.missing",
        "sources/shop.yml:2:7",
    ),
    "a database file that is not there": (
        {"source": "type: duckdb\npath: none.duckdb\n"},
        "source.missing",
        "sources/shop.yml:2:7",
    ),
    "a SQLite file that is not there": (
        {"source": "type: sqlite\n# of the shop\npath: none.db\n"},
        "source.missing",
        "sources/shop.yml:3:7",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_a_hint_and_its_code(tmp_path: Path, case: str) -> None:
    """A clear error with its place and a hint, exit code 2 (5: out of reach), nothing sent."""
    changes, code, where = BAD[case]
    folder = small_project(tmp_path, changes=changes)
    ended = levada(folder, "run", "customers_to_crm", "--json")
    error = ended.document["error"]
    assert error["code"] == code
    assert ended.code == (5 if code == "destination.unavailable" else 2)
    assert where in (error["where"] or "")
    _is_one_line_and_a_hint(ended)
    assert not (folder / "crm.db").exists()


def test_a_source_that_is_not_there_is_a_mistake_of_its_file_in_every_command(tmp_path: Path) -> None:
    """The same words, the place of `path:`, and exit code 2, also where there was one in earlier runs."""
    folder = small_project(tmp_path)
    assert levada(folder, "run").code == 0
    (folder / "sources/shop.yml").write_text("# moved\ntype: files\npath: stock\n")
    place = "sources/shop.yml:3:7: there is no file or folder "
    for command in (["check"], ["plan"], ["run"], ["preview", "customers_to_crm"], ["preview", "customers"]):
        ended = levada(folder, *command)
        assert (ended.code, place in ended.out + ended.talk) == (2, True), ended
    assert "    you: levada check customers_to_crm" in levada(folder, "status").out


def _is_one_line_and_a_hint(ended: Ended) -> None:
    talk = [line for line in ended.talk.splitlines() if not line.startswith("customers_to_crm: ")]
    assert talk[0].startswith("error: ")
    assert talk[1].startswith("hint: ")
    assert len(talk) == 2
    assert "Traceback" not in ended.talk


def test_records_that_are_not_in_a_run_are_named_where_they_are(tmp_path: Path) -> None:
    """A run without records, without such a record, or with another key: the run that has some is named."""
    folder = small_project(tmp_path, rows=3)
    write_customers(folder, 3, extra=",nobody@example.com,1\n")
    first = levada(folder, "run", "--json").document["run_id"]
    write_customers(folder, 3, changed=(2,))
    second = levada(folder, "run", "--json").document["run_id"]
    third = levada(folder, "run", "--json").document["run_id"]
    sync = "customers_to_crm"
    idle = levada(folder, "records", sync, "--run", third)
    assert (idle.code, f"levada records {sync} --run {second}" in idle.talk) == (2, True), idle
    assert "it had nothing to send" in idle.talk
    assert {one["run_id"] for one in levada(folder, "records", sync, "--json").lines} == {second}
    invalid = levada(folder, "records", sync, "--outcome", "invalid", "--json").lines
    assert [one["run_id"] for one in invalid] == [first]
    assert f"--run {first} --key 3" in levada(folder, "records", sync, "--key", "3").talk
    assert (
        f"--run {first} --outcome invalid"
        in levada(folder, "records", sync, "--run", second, "--outcome", "invalid", "--json").talk
    )
    assert "nor has any other" in levada(folder, "records", sync, "--key", "77").talk


def test_one_record_is_one_record(tmp_path: Path) -> None:
    """No count is followed by the wrong form of its word."""
    folder = small_project(tmp_path, rows=1)
    commands = (["check"], ["plan"], ["run"], ["status"], ["preview", "customers"], ["doctor"])
    said = [levada(folder, *command) for command in commands]
    (folder / "syncs/customers_to_crm.yml").write_text("model: customers\nto: crm.contacts\nmod: mirror\n")
    said.append(levada(folder, "doctor"))
    text = "\n".join(one.out + one.talk for one in said)
    words = "record|row|request|operation|field|sync|run|finding|key|source|model|destination|error"
    assert re.findall(rf"\b1 (?:\w+ )?(?:{words})s\b", text) == []
    assert "1 record" in text
    assert "1 source, 1 model, 1 destination, 1 sync\n" in text
    assert "1 error in its files" in text


def test_wrong_usage_ends_with_2_and_names_what_was_probably_meant(tmp_path: Path) -> None:
    """Unknown commands, options, syncs and runs."""
    folder = small_project(tmp_path)
    unknown = levada(folder, "rum", "--json")
    assert (unknown.code, unknown.document["error"]["code"]) == (2, "usage")
    assert "levada run?" in unknown.talk
    assert levada(folder, "run", "--bogus").code == 2
    alone = levada(folder)
    assert alone.code == 2
    assert alone.talk.startswith("Usage: levada")
    assert "customers_to_crm" in levada(folder, "run", "customer_to_crm").talk
    assert levada(folder, "undo", "run_nothing").code == 2
    assert levada(tmp_path.parent, "status", "--json").document["error"]["code"] == "config.no_project"


def test_a_state_that_was_tampered_with_is_named_with_the_way_to_rebuild(tmp_path: Path) -> None:
    """A flipped byte in a ledger's file sends nothing, ends with 2, and `--rebuild` mends it."""
    folder = small_project(tmp_path)
    synced(folder)
    [segment] = (folder / ".levada" / "ledgers" / "customers_to_crm").glob("*.parquet")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.chmod(0o600)
    segment.write_bytes(bytes(data))
    write_customers(folder, 40, changed=(1,))
    ended = levada(folder, "run", "--json")
    assert ended.code == 2
    assert ended.document["error"]["code"].startswith("store.")
    assert "--rebuild" in ended.document["error"]["hint"]
    assert contacts(folder)[1][1] == 10
    assert levada(folder, "doctor").code == 2
    assert levada(folder, "resync", "customers_to_crm", "--rebuild").code == 0
    assert contacts(folder)[1][1] == 11
    assert levada(folder, "doctor").code == 0


def test_a_state_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    """Exit code 2, and not a byte of the state is changed."""
    folder = small_project(tmp_path)
    synced(folder)
    with sqlite3.connect(folder / ".levada" / "state.sqlite") as database:
        database.execute("pragma user_version = 9999")
    database.close()
    ended = levada(folder, "run", "--json")
    assert (ended.code, ended.document["error"]["code"]) == (2, "store.newer")


def test_no_color_and_pipes_print_without_escapes(tmp_path: Path) -> None:
    """What is piped holds no control characters, and --json nothing but JSON."""
    folder = small_project(tmp_path, rows=3)
    ended = levada(folder, "plan")
    assert "\x1b" not in ended.out + ended.talk
    assert "+ 3 added" in ended.out
    for command in (["check"], ["connectors"], ["schema"], ["doctor"], ["secrets", "list"], ["test"], ["version"]):
        json.loads(levada(folder, *command, "--json").out)


def test_the_same_verbs_in_python(tmp_path: Path) -> None:
    """`from levada import Project` gives the same figures as values."""
    folder = small_project(tmp_path, rows=5)
    with Project.open(folder) as project:
        assert project.plan("customers_to_crm").plan.counts.added == 5
        result = project.run("customers_to_crm")
        assert (result.status, result.tally.delivered_total) == ("succeeded", 5)
        assert [record.outcome for record in project.records("customers_to_crm")] == ["delivered"] * 5
        assert project.status().sentence == "All is well."
        assert [record.run_id for record in project.runs()] == [result.run_id]

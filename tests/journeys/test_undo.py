"""Taking a run back: only what the run made is removed, what was there gets its values back, and the sync is held."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from levada import Project
from levada_process import TIMEOUT_SECONDS, Ended, environment, levada, small_project, write, write_customers

SYNC = "customers_to_crm"
KEEPING = "model: customers\nto: crm.contacts\nmode: mirror\nadopt: false\nguard: {removed_max: none}\n"
FREE = (
    "model: customers\nto: crm.contacts\nmode: mirror\nguard: {undo_max: none, removed_max: none, changed_max: none}\n"
)


def crm(folder: Path, *statements: str) -> dict[int, tuple[Any, ...]]:
    """Somebody else at the destination. Returns its records by id, with a field that no sync maps."""
    with closing(sqlite3.connect(folder / "crm.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
        return {row[0]: row[1:] for row in connection.execute("SELECT id, email, score, note FROM contacts")}


def taken_over(folder: Path, sync: str = FREE, rows: int = 10) -> Path:
    """A project whose table has two records of somebody else's already: one with other values, one with the same."""
    small_project(folder, rows=rows, changes={"sync": sync})
    crm(
        folder,
        "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, score INTEGER, note TEXT)",
        "INSERT INTO contacts VALUES (1, 'theirs@example.com', 7, 'call on Monday')",
        "INSERT INTO contacts VALUES (2, 'person2@example.com', 2, 'likes tea')",
    )
    with Project.open(folder) as project:
        want = {row["id"]: (row["email"], row["score"]) for row in _rows(project)}
    crm(folder, f"UPDATE contacts SET email = '{want[2][0]}', score = {want[2][1]} WHERE id = 2")
    return folder


def _rows(project: Project) -> list[dict[str, Any]]:
    found = project.preview("customers", 100)
    return [dict(row) for row in found.as_dict()["rows"]]


def run_id_of(ended: Ended) -> str:
    return str(ended.document["run_id"])


def test_a_first_run_over_a_filled_table_says_what_is_there(tmp_path: Path) -> None:
    """The plan before, and the result after: how many records are there already, and how many with other values."""
    folder = taken_over(tmp_path)
    plan = levada(folder, "plan", "--json").document
    assert plan["notices"][0] == "2 of these are at the destination already, 1 with other values"
    done = levada(folder, "run", "--json").document
    assert done["effects"] == {"created": 8, "updated": 1, "same": 1}
    assert done["taken_over"] == 2
    assert any(notice.startswith("2 records were there before and taken over") for notice in done["notices"])


def test_an_undo_gives_a_taken_over_record_back_and_removes_only_what_the_run_made(tmp_path: Path) -> None:
    """The values that stood there before, and a field that is not mapped, are as they were."""
    folder = taken_over(tmp_path)
    before = crm(folder)
    run = run_id_of(levada(folder, "run", "--json"))
    shown = levada(folder, "undo", run, "--plan", "--json").document
    assert shown["counts"] | {"unchanged": 0} == {
        "added": 0, "changed": 1, "removed": 8, "unchanged": 0, "invalid": 0, "left": 0
    }  # fmt: skip
    assert shown["undoes"] == run
    assert crm(folder) != before
    assert levada(folder, "undo", run).code == 0
    assert crm(folder) == before


def test_an_undo_stops_at_its_guard_until_its_plan_is_approved(tmp_path: Path) -> None:
    """Most of a table never goes without a question; the plan that was shown is the one that is sent."""
    folder = small_project(tmp_path, rows=10)
    run = run_id_of(levada(folder, "run", "--json"))
    shown = levada(folder, "undo", run, "--plan", "--json").document
    assert (shown["guard"]["blocked"], shown["guard"]["reasons"][0]["rule"]) == (True, "undo_max")
    stopped = levada(folder, "undo", run, "--json")
    assert (stopped.code, stopped.document["plan_id"]) == (4, shown["plan_id"])
    assert levada(folder, "approve", shown["plan_id"]).code == 0
    assert levada(folder, "undo", run).code == 0
    with closing(sqlite3.connect(folder / "crm.db")) as connection:
        assert connection.execute("SELECT count(*) FROM contacts").fetchone() == (0,)


def test_a_plan_of_an_undo_is_approved_before_any_undo_was_tried(tmp_path: Path) -> None:
    """What `--plan` shows can be approved as it stands."""
    folder = small_project(tmp_path, rows=10)
    run = run_id_of(levada(folder, "run", "--json"))
    shown = levada(folder, "undo", run, "--plan", "--json").document
    assert levada(folder, "approve", shown["plan_id"]).code == 0
    assert levada(folder, "undo", run).code == 0


def test_a_limit_of_its_own_lets_an_undo_pass(tmp_path: Path) -> None:
    """`undo_max` in the sync's guard; few records pass by default."""
    folder = small_project(tmp_path, rows=40)
    assert levada(folder, "run").code == 0
    write_customers(folder, 39, changed=(1, 2), extra="77,x@example.com,5\n")
    run = run_id_of(levada(folder, "run", "--json"))
    assert levada(folder, "undo", run).code == 0
    strict = (folder / "syncs/customers_to_crm.yml").read_text() + "guard: {undo_max: 0}\n"
    write(folder, {"syncs/customers_to_crm.yml": strict})
    assert levada(folder, "approve", levada(folder, "run", "--json").document["plan_id"]).code == 0
    again = run_id_of(levada(folder, "run", "--json"))
    assert levada(folder, "undo", again).code == 4


def test_undone_twice_is_undone_once_and_stays_held(tmp_path: Path) -> None:
    """The second undo sends nothing, and the next run still asks; an approval ends it."""
    folder = taken_over(tmp_path)
    before = crm(folder)
    run = run_id_of(levada(folder, "run", "--json"))
    assert levada(folder, "undo", run).code == 0
    twice = levada(folder, "undo", run, "--json")
    assert (twice.code, twice.document["requests"], twice.document["counts"]["left"]) == (0, 0, 9)
    held = levada(folder, "run", "--json")
    assert (held.code, held.document["guard"]["reasons"][0]["rule"]) == (4, "undone")
    assert crm(folder) == before
    assert levada(folder, "approve", held.document["plan_id"]).code == 0
    assert levada(folder, "run").code == 0
    assert len(crm(folder)) == 10
    assert levada(folder, "status", "--json").document["sentence"] == "All is well."


def test_what_a_later_run_made_again_is_that_runs(tmp_path: Path) -> None:
    """The same record with the same values, taken back and made anew, is not taken back by undoing the first run."""
    folder = small_project(tmp_path, rows=10, changes={"sync": FREE})
    first = run_id_of(levada(folder, "run", "--json"))
    assert levada(folder, "undo", first).code == 0
    held = levada(folder, "run", "--json").document["plan_id"]
    assert levada(folder, "approve", held).code == 0
    again = run_id_of(levada(folder, "run", "--json"))
    repeated = levada(folder, "undo", first, "--json").document
    assert (repeated["requests"], repeated["counts"]["left"]) == (0, 10)
    done = levada(folder, "undo", again, "--json").document
    assert done["delivered"]["removed"] == 10


def test_what_left_and_came_back_is_the_later_runs(tmp_path: Path) -> None:
    """A row that was gone for a while, with the values that it had: what made it again is not the first run."""
    folder = small_project(tmp_path, rows=10, changes={"sync": FREE})
    first = run_id_of(levada(folder, "run", "--json"))
    for rows in (9, 10):
        write_customers(folder, rows)
        assert levada(folder, "run").code == 0
    shown = levada(folder, "undo", first, "--plan", "--json").document
    assert (shown["counts"]["removed"], [row["key"] for row in shown["left_sample"]]) == (9, [10])


def test_runs_are_taken_back_one_after_the_other_newest_first(tmp_path: Path) -> None:
    """A later run that was taken back does not stand in the way of the one before it."""
    folder = small_project(tmp_path, rows=10, changes={"sync": FREE})
    assert levada(folder, "run").code == 0
    states = []
    runs = []
    for changed in ((1,), (1, 2), (1, 2, 3)):
        with closing(sqlite3.connect(folder / "crm.db")) as connection:
            states.append(connection.execute("SELECT * FROM contacts ORDER BY id").fetchall())
        write_customers(folder, 10 - len(changed), changed=changed)
        runs.append(run_id_of(levada(folder, "run", "--json")))
    for run, state in zip(reversed(runs), reversed(states), strict=True):
        assert levada(folder, "undo", run).code == 0
        with closing(sqlite3.connect(folder / "crm.db")) as connection:
            assert connection.execute("SELECT * FROM contacts ORDER BY id").fetchall() == state


def test_a_record_in_whose_place_another_was_put_is_left_alone(tmp_path: Path) -> None:
    """A match value that moves onto somebody else's record writes over it: what stood there is not known, and an undo
    does not rename it."""
    sync = f"{FREE}match: {{email: email}}\nfields: {{email: email, score: score}}\n".replace("mirror", "upsert")
    folder = small_project(tmp_path, rows=3, changes={"sync": sync})
    crm(folder, "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT UNIQUE, score INTEGER, note TEXT)")
    assert levada(folder, "run").code == 0
    crm(folder, "INSERT INTO contacts VALUES (99, 'new@example.com', 7, 'theirs')")
    write(folder, {"data/customers.csv": (folder / "data/customers.csv").read_text().replace("person1@", "new@")})
    run = run_id_of(levada(folder, "run", "--json"))
    after = crm(folder)
    assert after[99][0] == "new@example.com"
    done = levada(folder, "undo", run, "--json").document
    assert (done["requests"], done["counts"]["left"]) == (0, 1)
    assert crm(folder) == after


def test_two_undos_are_held_side_by_side(tmp_path: Path) -> None:
    """The later one does not let the earlier one's changes through."""
    folder = small_project(tmp_path, rows=20, changes={"sync": FREE})
    assert levada(folder, "run").code == 0
    write_customers(folder, 20, changed=(1,))
    first = run_id_of(levada(folder, "run", "--json"))
    write_customers(folder, 20, changed=(1, 2))
    second = run_id_of(levada(folder, "run", "--json"))
    for run in (second, first):
        assert levada(folder, "undo", run).code == 0
    held = levada(folder, "run", "--json").document["guard"]["reasons"]
    assert [(reason["rule"], reason["observed"]) for reason in held] == [("undone", 2)]
    write_customers(folder, 20, changed=(1,))  # the model no longer says what the second run sent
    held = levada(folder, "run", "--json").document["guard"]["reasons"]
    assert [(reason["rule"], reason["observed"]) for reason in held] == [("undone", 1)]


def test_the_hold_counts_what_was_taken_back_and_not_what_was_never_sent(tmp_path: Path) -> None:
    """A record that the undo left alone is not held."""
    folder = small_project(tmp_path, rows=20, changes={"sync": FREE})
    assert levada(folder, "run").code == 0
    write_customers(folder, 20, changed=(1, 2, 3))
    run = run_id_of(levada(folder, "run", "--json"))
    write_customers(folder, 20, changed=(1, 2))
    assert levada(folder, "run").code == 0
    assert levada(folder, "undo", run, "--json").document["counts"]["left"] == 1
    write_customers(folder, 20, changed=(1, 2, 3))
    (reason,) = levada(folder, "run", "--json").document["guard"]["reasons"]
    assert (reason["rule"], reason["observed"]) == ("undone", 2)


def test_status_says_what_an_undo_holds_back(tmp_path: Path) -> None:
    """An undo that succeeded is no reason to say that all is well."""
    folder = taken_over(tmp_path)
    run = run_id_of(levada(folder, "run", "--json"))
    undo = run_id_of(levada(folder, "undo", run, "--json"))
    (status,) = levada(folder, "status", "--json").document["syncs"]
    assert (status["state"], status["needs_you"]) == ("held", True)
    assert undo in status["sentence"]


def test_records_that_an_undo_leaves_alone_are_listed_by_name(tmp_path: Path) -> None:
    """Before, in its plan, and afterwards, with the reason."""
    folder = small_project(tmp_path, rows=20, changes={"sync": FREE})
    assert levada(folder, "run").code == 0
    write_customers(folder, 20, changed=(1, 2))
    run = run_id_of(levada(folder, "run", "--json"))
    write_customers(folder, 20, changed=(1,))
    assert levada(folder, "run").code == 0
    shown = levada(folder, "undo", run, "--plan", "--json").document
    assert [(row["key"], row["code"]) for row in shown["left_sample"]] == [(2, "touched")]
    undo = run_id_of(levada(folder, "undo", run, "--json"))
    listed = levada(folder, "records", SYNC, "--run", undo, "--outcome", "left", "--json").lines
    assert [(row["key"], row["code"]) for row in listed] == [(2, "touched")]


def test_without_adopt_a_record_that_was_there_before_is_never_removed(tmp_path: Path) -> None:
    """The model loses a row of each kind: only the record that this sync made goes."""
    folder = taken_over(tmp_path, KEEPING)
    assert levada(folder, "run").code == 0
    lines = (folder / "data/customers.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("1,", "2,", "3,"))]
    write(folder, {"data/customers.csv": "\n".join(kept) + "\n"})
    done = levada(folder, "run", "--json").document
    assert (done["delivered"]["removed"], done["counts"]["left"]) == (1, 2)
    assert set(crm(folder)) == {1, 2, *range(4, 11)}
    again = levada(folder, "run", "--json").document
    assert (again["requests"], again["counts"]["left"]) == (0, 2)


def test_with_adopt_a_record_that_was_taken_over_is_removed_and_an_undo_gives_it_back(tmp_path: Path) -> None:
    """As users of mirrors expect; the undo of the removal adds it again with what stood in the mapped fields."""
    folder = taken_over(tmp_path)
    assert levada(folder, "run").code == 0
    crm(folder, "UPDATE contacts SET score = 99 WHERE id = 1")
    lines = (folder / "data/customers.csv").read_text().splitlines()
    write(folder, {"data/customers.csv": "\n".join(line for line in lines if not line.startswith("1,")) + "\n"})
    run = run_id_of(levada(folder, "run", "--json"))
    assert 1 not in crm(folder)
    assert levada(folder, "undo", run).code == 0
    assert crm(folder)[1][1] == 99


def test_adopt_without_removals_is_refused(tmp_path: Path) -> None:
    """It would mean nothing."""
    folder = small_project(
        tmp_path, changes={"sync": "model: customers\nto: crm.contacts\nmode: upsert\nadopt: false\n"}
    )
    ended = levada(folder, "check", "--json")
    assert ended.code == 2
    assert "adopt: false" in ended.out


def test_an_undo_restores_nulls_and_what_is_written_only_where_empty(tmp_path: Path) -> None:
    """The sync's own ways with NULLs do not keep an undo from putting back what stood there."""
    sync = (
        "model: customers\nto: crm.contacts\nmode: upsert\nnulls: skip\nfields: {id: id, email: {column: email, "
        "only_if_empty: true}, score: score}\nguard: {undo_max: none}\n"
    )
    folder = small_project(tmp_path, rows=3, changes={"sync": sync})
    crm(
        folder,
        "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, score INTEGER, note TEXT)",
        "INSERT INTO contacts VALUES (1, NULL, NULL, 'n')",
        "INSERT INTO contacts VALUES (2, 'theirs', NULL, 'n')",
    )
    before = crm(folder)
    run = run_id_of(levada(folder, "run", "--json"))
    assert crm(folder)[2][0] == "theirs"
    undone = levada(folder, "undo", run, "--json").document
    assert undone["delivered"] == {"added": 0, "changed": 2, "removed": 1}
    restored = crm(folder)
    assert {key: restored[key] for key in before} == before


def test_a_record_of_somebody_else_in_the_place_of_one_that_the_run_made_stays(tmp_path: Path) -> None:
    """The run made it, a later run removed it, a person made it again, and the sync took it over: the same values."""
    folder = small_project(tmp_path, rows=3, changes={"sync": FREE})
    first = run_id_of(levada(folder, "run", "--json"))
    write_customers(folder, 2)
    assert levada(folder, "run").code == 0
    with closing(sqlite3.connect(folder / "crm.db", isolation_level=None)) as connection:
        connection.execute("INSERT INTO contacts VALUES (3, 'person3@example.com', 30)")
    write_customers(folder, 3)
    assert levada(folder, "run", "--json").document["taken_over"] == 1
    assert levada(folder, "undo", first, "--json").document["counts"]["left"] == 1
    with closing(sqlite3.connect(folder / "crm.db")) as connection:
        assert connection.execute("SELECT id FROM contacts").fetchall() == [(3,)]


@pytest.mark.parametrize("unique", [False, True])
def test_appended_records_are_removed_only_where_no_other_can_have_their_match_value(
    tmp_path: Path, unique: bool
) -> None:
    """Rows with the same match value, of other people or of an earlier run, would go with them."""
    sync = "model: customers\nto: crm.contacts\nmode: append\nguard: {undo_max: none}\n"
    folder = small_project(tmp_path, rows=3, changes={"sync": sync})
    theirs = (9 if unique else 1, "theirs", 7)
    with closing(sqlite3.connect(folder / "crm.db", isolation_level=None)) as connection:
        connection.execute(
            f"CREATE TABLE contacts (id INTEGER{' UNIQUE' if unique else ''}, email TEXT, score INTEGER)"
        )
        connection.execute("INSERT INTO contacts VALUES (?, ?, ?)", theirs)
        run = run_id_of(levada(folder, "run", "--json"))
        ended = levada(folder, "undo", run, "--json")
        assert ended.code == (0 if unique else 2)
        assert ("usage.not_reversible" in ended.out) is not unique
        left = connection.execute("SELECT * FROM contacts").fetchall()
    assert theirs in left
    assert len(left) == (1 if unique else 4)


def test_an_undo_is_guarded_though_its_sync_has_become_a_replacing_one(tmp_path: Path) -> None:
    """What a run that swaps the object leaves out of sight, an undo removes record by record."""
    folder = small_project(tmp_path, rows=10)
    run = run_id_of(levada(folder, "run", "--json"))
    write(folder, {"syncs/customers_to_crm.yml": "model: customers\nto: crm.contacts\nmode: replace\n"})
    stopped = levada(folder, "undo", run, "--json")
    assert (stopped.code, stopped.document["guard"]["reasons"][0]["rule"]) == (4, "undo_max")


def _with_times(folder: Path, time: int, score: int) -> None:
    rows = "".join(f"{n},p{n}@example.com,{score + n},{time}\n" for n in range(1, 4))
    write(folder, {"data/customers.csv": f"id,email,score,synced\n{rows}"})


def test_a_column_that_differs_at_each_run_does_not_lift_the_hold(tmp_path: Path) -> None:
    """A change is held that brings back one of the values taken away; one that brings back none passes."""
    model = "/*\nsource: shop\nkey: id\n*/\nselect id, email, score, synced from customers\n"
    folder = small_project(tmp_path, changes={"sync": FREE, "model": model})
    _with_times(folder, 1, 100)
    assert levada(folder, "run").code == 0
    _with_times(folder, 2, 200)
    run = run_id_of(levada(folder, "run", "--json"))
    assert levada(folder, "undo", run).code == 0
    _with_times(folder, 3, 200)
    (reason,) = levada(folder, "run", "--json").document["guard"]["reasons"]
    assert (reason["rule"], reason["observed"]) == ("undone", 3)
    _with_times(folder, 3, 100)
    assert levada(folder, "run").code == 0


def test_what_an_earlier_version_took_back_is_still_held(tmp_path: Path) -> None:
    """Its memory names the run that was undone, not the undo."""
    folder = small_project(tmp_path, rows=20, changes={"sync": FREE})
    assert levada(folder, "run").code == 0
    write_customers(folder, 19, changed=(1, 2), extra="77,x@example.com,5\n")
    run = run_id_of(levada(folder, "run", "--json"))
    assert levada(folder, "undo", run).code == 0
    with Project.open(folder) as project:
        store = project.world.store
        store.memory.remember(store.leases.acquire(SYNC), "undone", run)
    (reason,) = levada(folder, "run", "--json").document["guard"]["reasons"]
    assert (reason["rule"], reason["observed"]) == ("undone", 4)
    write_customers(folder, 20, extra="78,y@example.com,6\n")
    assert levada(folder, "run").code == 0


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 130, 3), (b"\x03", 130, 3), (b"y\n", 0, 0)])
def test_on_a_terminal_the_plan_is_shown_and_a_person_decides(
    tmp_path: Path, answer: bytes, code: int, left: int
) -> None:
    """No, and Ctrl-C, end it, and nothing was sent."""
    folder = small_project(tmp_path, rows=3)
    run = run_id_of(levada(folder, "run", "--json"))
    assert _answered(folder, answer, "undo", run) == code
    with closing(sqlite3.connect(folder / "crm.db")) as connection:
        assert connection.execute("SELECT count(*) FROM contacts").fetchone() == (left,)


ASKED_TWENTY_TIMES = """
from levada.cli.undo import _ask
heard = 0
while heard < 20:
    try:
        _ask("Take this back?")
    except KeyboardInterrupt:
        heard += 1
"""


def test_a_ctrl_c_in_the_moment_of_the_question_is_heard(tmp_path: Path) -> None:
    assert _answered(tmp_path, b"\x03", "-c", ASKED_TWENTY_TIMES, times=20, program=()) == 0


def _answered(
    folder: Path, answer: bytes, *arguments: str, times: int = 1, program: tuple[str, ...] = ("-m", "levada")
) -> int:
    """Run levada on a terminal, give the answer as soon as it asks, `times` times, and return its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, *program, *arguments], environment(TERM="xterm"))  # noqa: S606 - on a terminal of its own
    shown = b""
    given = 0
    try:
        until = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < until:
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            try:
                shown += os.read(terminal, 4096)
            except OSError:
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if given < min(times, shown.count(b"[y/N]")):
                os.write(terminal, answer)
                given += 1
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError(f"it did not end: {shown[-300:]!r}")
    finally:
        os.close(terminal)


class Contacts(BaseHTTPRequestHandler):
    """A tool that upserts one record a request, and tells 201 for a new one where `tells`."""

    records: dict[str, dict[str, Any]]
    tells = True
    refuses = False

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.path.rsplit("/", 1)[1]
        if self.refuses and key == "3":
            self._answer(401)
            return
        new = key not in self.records
        self.records[key] = {**self.records.get(key, {}), **body}
        self._answer(201 if new and self.tells else 200)

    def do_DELETE(self) -> None:
        self._answer(204 if self.records.pop(self.path.rsplit("/", 1)[1], None) else 404)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def tool() -> Iterator[tuple[type[Contacts], int]]:
    handler = type("Handler", (Contacts,), {"records": {"1": {"email": "theirs", "note": "call"}}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield handler, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def api_project(folder: Path, port: int, created: str, adopt: str = "") -> Path:
    api = (
        f"type: http\nbase_url: http://127.0.0.1:{port}\nlimits: {{records_per_request: 1}}\nclass: A\n"
        "objects:\n  contacts:\n    match: id\n    upsert: {send: 'PUT /contacts/{id}', record: "
        f"'{{fields}}'{created}}}\n    delete: {{send: 'DELETE /contacts/{{id}}'}}\n"
    )
    sync = f"model: customers\nto: api.contacts\nmode: mirror\nguard: {{undo_max: none}}\n{adopt}"
    small_project(folder, rows=4, changes={"sync": sync, "destination": "type: sqlite\npath: crm.db\n"})
    return write(folder, {"destinations/api.yml": api})


def test_a_tool_that_tells_what_it_created_loses_only_that(tmp_path: Path, tool: tuple[type[Contacts], int]) -> None:
    """A record that was there before is left alone, by name, since nobody knows what stood in it."""
    handler, port = tool
    folder = api_project(tmp_path, port, ", outcomes: {created: {status: [201]}}")
    done = levada(folder, "run", "--json")
    assert done.code == 0, done.talk
    assert done.document["effects"] == {"created": 3, "updated": 1}
    shown = levada(folder, "undo", done.document["run_id"], "--plan", "--json").document
    assert [(row["key"], row["code"]) for row in shown["left_sample"]] == [(1, "before_unknown")]
    assert levada(folder, "undo", done.document["run_id"]).code == 0
    assert set(handler.records) == {"1"}
    assert handler.records["1"]["note"] == "call"


def test_a_tool_that_tells_nothing_loses_nothing(tmp_path: Path, tool: tuple[type[Contacts], int]) -> None:
    """What cannot be shown to have been created is never removed; a change gets the confirmed values back."""
    handler, port = tool
    folder = api_project(tmp_path, port, "")
    run = run_id_of(levada(folder, "run", "--json"))
    ended = levada(folder, "undo", run, "--json")
    assert (ended.code, ended.document["requests"], ended.document["counts"]["left"]) == (0, 0, 4)
    assert set(handler.records) == {"1", "2", "3", "4"}
    before = {key: dict(record) for key, record in handler.records.items()}
    write_customers(folder, 4, changed=(2,))
    run = run_id_of(levada(folder, "run", "--json"))
    assert handler.records != before
    assert levada(folder, "undo", run).code == 0
    assert handler.records == before


def test_a_field_that_the_run_was_the_first_to_send_is_not_emptied(
    tmp_path: Path, tool: tuple[type[Contacts], int]
) -> None:
    """The ledger has no value of it from before, and no value is not a NULL that somebody confirmed."""
    handler, port = tool
    folder = api_project(tmp_path, port, "")
    sync = folder / "syncs/customers_to_crm.yml"
    declared = sync.read_text()
    sync.write_text(declared + "fields: {id: id, email: email}\n")
    handler.records["2"] = {"score": 99}
    assert levada(folder, "run").code == 0
    sync.write_text(declared.replace("guard: {", "guard: {changed_max: none, "))
    run = run_id_of(levada(folder, "run", "--json"))
    assert handler.records["2"]["score"] == 20
    shown = levada(folder, "undo", run, "--plan", "--json").document
    assert [row["code"] for row in shown["left_sample"]] == ["before_unknown"] * 4
    assert levada(folder, "undo", run, "--json").document["requests"] == 0
    assert handler.records["2"]["score"] == 20


def test_the_plan_of_an_undo_says_that_a_run_is_finished_first(
    tmp_path: Path, tool: tuple[type[Contacts], int]
) -> None:
    """What is shown beside an open run is not what would be sent; what was shown is not sent."""
    handler, port = tool
    folder = api_project(tmp_path, port, "")
    first = run_id_of(levada(folder, "run", "--json"))
    assert levada(folder, "undo", first, "--plan", "--json").document["notices"][0].startswith("4 records are left")
    handler.refuses = True
    write_customers(folder, 4, changed=(1, 2, 3))
    opened = levada(folder, "run", "--json")
    assert opened.code == 5
    shown = levada(folder, "undo", run_id_of(opened), "--plan", "--json").document
    assert shown["notices"][0].startswith(f"{run_id_of(opened)} is not finished")
    handler.refuses = False
    ended = levada(folder, "undo", run_id_of(opened), "--json").document
    assert (ended["delivered"]["changed"], handler.records["3"]["score"]) == (3, 30)


def test_adopt_false_needs_a_tool_that_tells(tmp_path: Path, tool: tuple[type[Contacts], int]) -> None:
    """Otherwise nothing would ever be removed, in silence."""
    _, port = tool
    silent = api_project(tmp_path / "silent", port, "", "adopt: false\n")
    ended = levada(silent, "check", "--json")
    assert ended.code == 2
    assert "adopt" in ended.out
    telling = api_project(tmp_path / "telling", port, ", outcomes: {created: {status: [201]}}", "adopt: false\n")
    assert levada(telling, "check").code == 0

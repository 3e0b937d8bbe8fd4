"""What does not mend itself stops a run at once, keeps its plan, and says who has to do what."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from levada import Project
from levada_process import levada, small_project, write
from servers.records import Records, records_server

SYNC = "customers_to_crm"
UPSERT = "model: customers\nto: crm.contacts\nmode: upsert\nfields: {id: id, score: score}\n"


def http(url: str, more: str = "") -> str:
    return (
        f"type: http\nbase_url: {url}\nmax_server_seconds: 0.1\n{more}"
        "limits: {records_per_request: 1, concurrent_requests: 1}\n"
        "objects:\n  contacts:\n    upsert: {send: POST /records, record: '{fields_all}'}\n"
    )


@pytest.fixture
def records() -> Iterator[Records]:
    with records_server() as found:
        yield found


@pytest.mark.parametrize("status", ["301", "307"])
def test_a_redirect_stops_the_run_at_once_and_the_mended_file_resumes_it(
    tmp_path: Path, records: Records, status: str
) -> None:
    """It is not followed, not repeated, and the records behind it are in doubt until the right address answers."""
    small_project(tmp_path, 5, {"destination": http(records.url), "sync": UPSERT})
    records.behave = lambda number, path: status if number >= 3 else "ok"
    first = Project.open(tmp_path).run(SYNC)
    assert (first.status, first.pause, records.requests) == ("paused", "setup", 3)
    assert f"redirects to nowhere (answer {status})" in first.message
    records.behave = lambda number, path: "ok"
    again = levada(tmp_path, "run", SYNC, "--json")
    assert (again.code, len(records.held)) == (0, 5)


def function(body: str) -> dict[str, str]:
    return {
        "connectors/crm.py": "from levada import destination\n\n\n"
        f"@destination(class_='A')\ndef crm(batch):\n    record = batch.records[0]\n{body}",
        "destinations/crm.yml": "type: python\nfunction: connectors/crm.py:crm\n"
        "limits: {concurrent_requests: 1, records_per_request: 1}\n",
    }


def test_a_function_that_fails_for_everything_stops_the_run_at_once(tmp_path: Path, records: Records) -> None:
    """Its own error is told, no second try is made, and the corrected function finishes the same plan."""
    small_project(tmp_path, 4, {"sync": UPSERT})
    post = f"    yield batch.post('{records.url}/records', json=[record])\n"
    write(tmp_path, function(post + "    return batch.no_such_word()\n"))
    ended = levada(tmp_path, "run", SYNC)
    assert (ended.code, records.requests) == (5, 1)
    assert "AttributeError in the function" in ended.talk
    assert f"levada run {SYNC}" in ended.talk
    write(tmp_path, function(post + "    return batch.delivered()\n"))
    assert levada(tmp_path, "run", SYNC).code == 0
    assert len(records.held) == 4


def test_a_function_that_fails_for_one_record_holds_up_no_other(tmp_path: Path, records: Records) -> None:
    """The record is left unsent and named; what the function can send is sent, without waits."""
    small_project(tmp_path, 4, {"sync": UPSERT})
    body = (
        "    if record['id'] == 3:\n        raise ValueError('three')\n"
        f"    yield batch.post('{records.url}/records', json=[record])\n    return batch.delivered()\n"
    )
    write(tmp_path, function(body))
    result = Project.open(tmp_path).run(SYNC)
    assert (result.status, result.tally.delivered_total, result.tally.unsent) == ("partial", 3, 1)
    assert (records.requests, set(records.held)) == (3, {1, 2, 4})


def test_a_refused_credential_says_which_commands_mend_it(tmp_path: Path, records: Records) -> None:
    """In the middle of a run the plan is kept; the hint names the commands."""
    small_project(tmp_path, 4, {"destination": http(records.url), "sync": UPSERT})
    records.behave = lambda number, path: "401" if number >= 3 else "ok"
    ended = levada(tmp_path, "run", SYNC)
    assert ended.code == 5
    for words in (f"levada check {SYNC}", "levada secrets set NAME", f"levada run {SYNC}"):
        assert words in ended.talk


@pytest.mark.parametrize("size", [1, 4])
def test_a_403_of_a_record_refuses_that_record_where_the_tool_is_declared_so(
    tmp_path: Path, records: Records, size: int
) -> None:
    """By default a 403 speaks of the credential and pauses; declared, it is the record's, and halving finds it."""
    records.refuses = lambda record: record["id"] == 3
    records.refusal = "403"
    careful = http(records.url).replace("records_per_request: 1", f"records_per_request: {size}")
    small_project(tmp_path, 8, {"destination": careful, "sync": UPSERT})
    first = Project.open(tmp_path).run(SYNC)
    assert (first.pause, first.tally.rejected) == ("auth", 0) if size == 1 else (None, 0)
    small_project(tmp_path, 8, {"destination": careful + "forbidden: record\n", "sync": UPSERT})
    result = Project.open(tmp_path).run(SYNC)
    assert (result.status, len(records.held)) == ("partial", 7)
    records.refuses = lambda record: True
    small_project(tmp_path, 60, {"destination": careful + "forbidden: record\n", "sync": UPSERT})
    before = records.requests
    assert Project.open(tmp_path).run(SYNC).pause == "auth"
    assert records.requests - before == 20


def test_a_full_database_is_a_pause_of_its_own(tmp_path: Path, postgres_url: str) -> None:
    """PostgreSQL's 53100: not tried again and again; once there is room, the same plan is finished."""
    small_project(
        tmp_path,
        6,
        {"destination": f"type: postgres\nurl: {postgres_url}\n", "sync": UPSERT},
    )
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE contacts (id bigint PRIMARY KEY, score bigint)")
        connection.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id > 2 THEN "
            "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; "
            "END IF; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
        ended = levada(tmp_path, "run", SYNC, "--json")
        assert (ended.code, ended.document["paused"], ended.document["requests"]) == (5, "full", 1)
        assert "No space left" in ended.document["message"]
        connection.execute("DROP TRIGGER full_disk ON contacts")
        assert levada(tmp_path, "run", SYNC).code == 0
        assert connection.execute("SELECT count(*) FROM contacts").fetchone() == (6,)


@pytest.mark.needs("tmpfs")
@pytest.mark.parametrize("kind", ["sqlite", "files"])
def test_a_full_disk_under_a_file_is_a_pause_of_its_own(tmp_path: Path, kind: str) -> None:
    """A real file system with no room left; the run goes on once there is some."""
    small_project(tmp_path, 4_000, {"sync": UPSERT})
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=True)
    try:
        ballast = disk / "ballast"
        write(
            tmp_path,
            {
                "destinations/crm.yml": "type: sqlite\npath: disk/crm.db\ncreate_tables: true\n"
                if kind == "sqlite"
                else "type: files\npath: disk\nformat: csv\n"
            },
        )
        if kind == "files":
            write(tmp_path, {f"syncs/{SYNC}.yml": UPSERT.replace("mode: upsert", "mode: append")})
        ballast.write_bytes(b"." * 220_000)
        ended = levada(tmp_path, "run", SYNC, "--json")
        assert (ended.code, ended.document["paused"]) == (5, "full"), ended.talk
        ballast.unlink()
        assert levada(tmp_path, "run", SYNC).code == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)

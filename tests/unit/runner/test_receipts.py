"""What a run makes of answers that say more, or less, than a receipt does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from levada.run import RunResult
from levada.runner.project import Project
from servers.answering import Answers, answering, http_project

ROWS = "id,name\n" + "".join(f"{n},N{n}\n" for n in range(6))
UPSERT = "limits: {records_per_request: 2}\nobjects: {things: {upsert: POST /things}}"


def run(folder: Path, answers: Answers, destination: str = UPSERT, sync: str = "") -> tuple[RunResult, list[str]]:
    with answering(answers) as tool:
        http_project(folder, destination, ROWS, sync, tool.url)
        with Project.open(folder) as project:
            return project.run("s"), tool.lines


def test_a_207_that_nobody_reads_pauses_the_run_and_delivers_nothing(tmp_path: Path) -> None:
    """The message says which words are missing; asking again would not help, so it is asked once."""
    mixed: Any = {"status": "MIXED", "errors": [{"id": 1}]}
    result, lines = run(tmp_path, lambda method, path, body: (207, mixed), UPSERT.replace("2}", "10}"))
    assert (result.status, result.pause, result.tally.delivered_total, len(lines)) == ("paused", "setup", 0, 1)
    assert "outcomes" in result.message


def test_a_207_that_nobody_reads_is_asked_for_once_by_each_run(tmp_path: Path) -> None:
    """Also of records that may be there already: an entry that is sent again may be there twice."""
    with answering(lambda method, path, body: (207, {})) as tool:
        things = "limits: {records_per_request: 10}\nobjects: {things: {append: POST /things}}"
        http_project(tmp_path, things, ROWS, "mode: append", tool.url)
        for asked in (1, 2):
            with Project.open(tmp_path) as project:
                result = project.run("s")
            assert (result.status, result.pause, len(tool.asked)) == ("paused", "setup", asked)


def test_a_207_among_receipts_leaves_its_own_records_unknown(tmp_path: Path) -> None:
    """The others arrived."""
    answers: Answers = lambda method, path, body: (207 if '"id":2' in body else 200, {})  # noqa: E731
    result, _ = run(tmp_path, answers)
    assert (result.status, result.tally.delivered_total, result.tally.unknown) == ("partial", 4, 2)
    with Project.open(tmp_path) as project:
        told = [record for record in project.records("s") if record.outcome == "unknown"]
    assert len(told) == 2
    assert all("207" in (record.reason or "") for record in told)


@pytest.mark.parametrize(("status", "body", "words"), [(202, {}, "202"), (200, {"success": False}, "success: false")])
def test_a_doubtful_receipt_is_told_once_in_a_run(tmp_path: Path, status: int, body: Any, words: str) -> None:
    """Once, however many requests say it; in the result and in its document."""
    result, lines = run(tmp_path, lambda method, path, text: (status, body))
    assert (result.status, result.tally.delivered_total, len(lines)) == ("succeeded", 6, 3)
    assert len([notice for notice in result.notices if words in notice]) == 1
    assert result.as_dict()["notices"] == list(result.notices)


def test_a_good_receipt_tells_nothing(tmp_path: Path) -> None:
    """Empty lists of errors are no errors."""
    result, _ = run(tmp_path, lambda method, path, body: (200, {"errors": [], "failed": 0, "error": None}))
    assert (result.status, result.notices) == ("succeeded", ())


def test_whoever_is_on_a_later_page_is_not_created_again(tmp_path: Path) -> None:
    """The look-up before a create reads on; where it cannot, nothing is created and the run says why."""

    def tool(method: str, path: str, body: str) -> tuple[int, Any]:
        if method != "GET":
            return 201, {"id": "new"}
        if "page=2" in path:
            return 200, {"results": [{"id": f"e{n}", "no": n} for n in range(6)], "total": 16}
        return 200, {"results": [{"id": f"x{n}", "no": 100 + n} for n in range(10)], "total": 16}

    things = """class: {create: C}
max_server_seconds: 0.1
objects:
  things:
    look_up: {send: GET /search, query: {q: "{id}"}, list: results, match: no, to: "{id}", identifier: id%s}
    create: {send: POST /things, outcomes: {identifier: id}}
    update: "PATCH /things/{destination_id}"
"""
    result, lines = run(tmp_path / "paged", tool, things % ", next: {page: 1, query: page}")
    assert result.status == "succeeded"
    assert {line for line in lines if not line.startswith("GET")} == {f"PATCH /things/e{n}" for n in range(6)}
    result, lines = run(tmp_path / "unpaged", tool, things % "")
    assert (result.status, result.tally.delivered_total) == ("failed", 0)
    assert result.error is not None
    assert "not the last" in result.error.message
    assert not [line for line in lines if not line.startswith("GET")]


def test_a_webhook_that_answers_207_has_not_taken_it(tmp_path: Path) -> None:
    """Its answers are not read; 202 is what a receiver says that works later."""
    for status, ending in ((207, "paused"), (202, "succeeded")):
        folder = tmp_path / str(status)
        with answering(lambda method, path, body, status=status: (status, {})) as tool:  # type: ignore[misc]
            http_project(folder, "", ROWS, "mode: append")
            (folder / "destinations" / "api.yml").write_text(
                f"type: webhook\nurl: {tool.url}/in\nsecret: abc\nbatch: 3\n"
            )
            with Project.open(folder) as project:
                result = project.run("s")
        assert (result.status, result.notices) == (ending, ())

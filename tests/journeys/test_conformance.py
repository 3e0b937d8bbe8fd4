"""An author's own test file of two lines, run by pytest in a folder that knows nothing of this repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

LINES = """\
from levada.testing.destinations import conformance
test_{name} = conformance("connectors/{file}")
"""
SHOP = """
title: Shop
docs: https://shop.example.com/developers
options: {token: {description: A token, secret: true}}
base_url: https://shop.example.com
auth: {bearer: "{options.token}"}
limits: {records_per_request: 100}
objects:
  members:
    match: number
    fields: {number: text, name: text, points: integer, since: date}
    upsert:
      send: POST /members/batch
      body: {members: "{records}"}
      outcomes: {items: {list: members, ok: saved, match: number, identifier: id}}
    delete: DELETE /members/{number}
cases:
  - name: one member is saved, one is not
    upsert: members
    records: [{number: A, name: Ada, points: 1}, {number: B, name: Bo, points: 2}]
    answer: {json: {members: [{number: A, saved: true, id: 7}, {number: B, saved: false, message: A ban}]}}
    outcomes: [delivered, "rejected: A ban"]
  - name: a member leaves
    delete: members
    records: [{number: A}]
    sends: DELETE /members/A
    answer: {status: 204}
    outcomes: [delivered]
  - name: a member with a balance stays
    delete: members
    records: [{number: A}]
    answer: {status: 422, json: {message: There is a balance}}
    outcomes: ["rejected: There is a balance"]
"""
LOYALTY = '''
from levada import destination


@destination(records_per_request=50, base_url="https://loyalty.example.com", auth={"bearer": "tok_0123456789"})
def loyalty(batch):
    """Loyalty club"""
    answer = yield batch.post("/members", json=batch.records)
    if not answer.ok:
        return batch.refused(answer.text) if 400 <= answer.status < 500 else batch.unknown(answer.text)
    try:
        saved = answer.json()["saved"] == len(batch)
    except (ValueError, KeyError, TypeError, RecursionError):
        saved = False
    return batch.delivered() if saved else batch.unknown("the answer does not say how many were saved")
'''
ACCEPTED = """\
import json
from levada.destination import Response
from levada.testing.destinations import conformance

def saved(request):
    return Response(200, {}, json.dumps({"saved": len(json.loads(request.body))}).encode())

test_loyalty = conformance("connectors/loyalty.py:loyalty", accepted=saved, reads_answers=True)
"""


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    """pytest as an author starts it: Levada and pytest are installed, and nothing of ours is on the path."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "LEVADA"))
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def project(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_two_lines_test_a_connectors_file_and_a_function(tmp_path: Path) -> None:
    """Every verb of the file and the function pass; what does not apply is counted and named at the end."""
    found = pytest_in(
        project(
            tmp_path,
            {
                "connectors/shop.yml": SHOP,
                "connectors/loyalty.py": LOYALTY,
                "tests/test_shop.py": LINES.format(name="shop", file="shop.yml"),
                "tests/test_loyalty.py": ACCEPTED,
            },
        )
    )
    assert found.returncode == 0, found.stdout + found.stderr
    counts = dict(re.findall(r"^(.+?): (\d+) checks apply, \d+ do not$", found.stdout, re.MULTILINE))
    assert set(counts) == {
        "shop (members, upsert)",
        "shop (members, delete)",
        "python:loyalty (records, upsert)",
        "python:loyalty (records, append)",
    }
    # a test for each check that applies, and one that says which do not for each of the two files
    assert f"{sum(map(int, counts.values())) + 2} passed" in found.stdout
    assert "does not apply: its credential is fixed: check_a_refused_sign_in_shows_no_secret" in found.stdout
    assert "skipped" not in found.stdout


def test_failures_say_how_to_mend_them(tmp_path: Path) -> None:
    """The check, its promise, what was expected and seen, and what to do; no lines of Levada's own.

    The file has no page of the vendor's and a case that does not hold; the function, written in haste, takes any 2xx
    for a delivery and refuses a batch record by record.
    """
    wrong = SHOP.replace("docs: https://shop.example.com/developers", "").replace("rejected: A ban", "delivered")
    haste = "    return batch.delivered() if answer.ok else batch.rejected(answer.text)\n"
    files = {
        "connectors/shop.yml": wrong,
        "connectors/loyalty.py": LOYALTY.partition("    if not")[0] + haste,
        "tests/test_shop.py": LINES.format(name="shop", file="shop.yml"),
        "tests/test_loyalty.py": LINES.format(name="loyalty", file="loyalty.py:loyalty"),
    }
    found = pytest_in(project(tmp_path, files))
    assert found.returncode == 1, found.stdout + found.stderr
    broken = re.findall(r"^(.+?) breaks (check_\w+)$", found.stdout, re.MULTILINE)
    assert ("shop (members, upsert)", "check_it_names_the_page_that_it_was_made_from") in broken
    assert ("shop (members, upsert)", "check_its_cases_hold") in broken
    assert ("python:loyalty (records, upsert)", "check_a_poison_record_is_found_by_halving") in broken
    for said in (
        "set docs: to the page that says how these requests are made",
        "one member is saved, one is not: record 1: expected 'delivered', got 'rejected: A ban'",
        "end with batch.refused(words), not batch.rejected: one poison record would take the others with it",
        "look at the body (answer.json()), or say any_body=True",
        "end with batch.unknown(…) for a 3xx",
    ):
        assert said in found.stdout
    for word in ("promise:", "expected:", "seen:", "to mend:"):
        assert found.stdout.count(f"  {word}") == len(broken)
    assert "def run(" not in found.stdout


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error says where was looked, and how a file is named."""
    found = pytest_in(project(tmp_path, {"tests/test_shop.py": LINES.format(name="shop", file="shopp.yml")}))
    assert found.returncode == 2
    assert "there is no connectors/shopp.yml beside test_shop.py or in the folders above it" in found.stdout

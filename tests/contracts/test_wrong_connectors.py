"""Every check of the conformance kit catches a connector that breaks it, by name and in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apples.answers import APPLES, Apple
from apples.good import Crm, bench_of
from claims import Figure
from levada.testing.destination_files import benches_of
from levada.testing.destinations import CHECKS, Check, ConnectorBench, checks_for, name_of, promise_of, run, why_not

DECLARED = """
title: Shop
docs: https://shop.example.com/developers
options: {token: {description: A token, secret: true}}
base_url: https://shop.example.com
auth: {bearer: "{options.token}"}
objects:
  members: {match: number, upsert: "PUT /members/{number}"}
cases:
  - name: a member is saved
    upsert: members
    records: [{number: A, name: Ada}]
    sends: {send: PUT /members/A, json: {number: A, name: Ada}}
    answer: {status: 204}
    outcomes: [delivered]
  - name: a member is refused
    upsert: members
    records: [{number: A, name: Ada}]
    answer: {status: 422, json: {message: No}}
    outcomes: ["rejected: No"]
"""
WRONG_FILES = {
    ("check_its_cases_hold", "PUT /members/A,", "PUT /members/B,"),
    ("check_its_cases_hold", "rejected: No", "delivered"),
    ("check_each_verb_has_its_cases", '/{number}"}', '/{number}", delete: "DELETE /members/{number}"}'),
    ("check_no_address_holds_a_secret", "PUT /members/{number}", "PUT /{options.token}/members/{number}"),
    ("check_it_names_the_page_that_it_was_made_from", "docs: https://shop.example.com/developers", "docs: ''"),
}
BY_NAME = {name_of(check): check for check in CHECKS}


def failure(check: Check, bench: ConnectorBench) -> str:
    """What an author reads; empty where the check holds."""
    try:
        run(check, bench)
    except pytest.fail.Exception as failed:
        return str(failed)
    return ""


def declared(folder: Path, text: str) -> list[ConnectorBench]:
    (folder / "shop.yml").write_text(text)
    return benches_of("shop.yml", folder / "test_shop.py", {})


def test_the_connector_that_they_differ_from_keeps_every_check() -> None:
    """So what is caught below is what was changed, and nothing else."""
    bench = bench_of(Crm())
    keyed = Crm()
    keyed.classes = {**Crm.classes, "create": "B"}
    assert {name_of(check): text for check in checks_for(bench) if (text := failure(check, bench))} == {}
    assert failure(BY_NAME["check_class_b_sends_its_key"], bench_of(keyed)) == ""


@pytest.mark.parametrize("apple", APPLES, ids=lambda apple: f"{apple}-{apple.check}")
def test_a_wrong_connector_is_caught_by_its_check(apple: Apple) -> None:
    """The check applies, fails, and says its promise, what was expected, what was seen and how to mend it."""
    check = BY_NAME[apple.check]
    assert why_not(check, apple.bench) == ""
    text = failure(check, apple.bench)
    assert text.startswith(f"{apple.bench} breaks {apple.check}\n  promise:  {promise_of(check)}\n  expected: ")
    assert "\n  seen:     " in text
    assert len(text.rpartition("\n  to mend:  ")[2]) > 5


@pytest.mark.parametrize(("check", "old", "new"), sorted(WRONG_FILES))
def test_a_wrong_file_is_caught_by_its_check(check: str, old: str, new: str, tmp_path: Path) -> None:
    """A connector's file that keeps every check is changed in one place."""
    for bench in declared(tmp_path, DECLARED):
        assert [text for each in checks_for(bench) if (text := failure(each, bench))] == []
    assert DECLARED.count(old) == 1
    wrong = declared(tmp_path, DECLARED.replace(old, new))
    assert any(failure(BY_NAME[check], bench).startswith(f"{bench} breaks {check}\n") for bench in wrong)


@pytest.mark.claim("KIT")
def test_every_check_has_a_connector_that_it_catches(figure: Figure) -> None:
    """No check that cannot fail."""
    caught = {apple.check for apple in APPLES} | {check for check, _, _ in WRONG_FILES}
    assert caught == set(BY_NAME)
    wrong = len(APPLES) + len(WRONG_FILES)
    figure("KIT", f"{len(BY_NAME)} checks: each catches a connector that breaks it, {wrong} wrong ones in all")


def test_an_error_of_the_connectors_own_is_told_with_its_line() -> None:
    """A connector that falls over says where, in the author's own file."""

    class Falls(Crm):
        def body(self, batch: object) -> bytes:
            raise KeyError("numbr")

    text = failure(BY_NAME["check_every_record_is_sent"], replace(bench_of(Falls())))
    assert "KeyError: 'numbr'" in text
    assert "test_wrong_connectors.py:" in text

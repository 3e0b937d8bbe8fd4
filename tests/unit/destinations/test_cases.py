"""Cases of connectors, the types that connectors become, and the registry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from levada.declaration.yaml import parse
from levada.destination import Destination, Surroundings
from levada.destinations import destination_type, destination_types
from levada.destinations.cases import CaseResult, run_cases, run_cases_of
from levada.destinations.connectors import connector_type
from levada.destinations.language import Connector
from levada.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "examples" / "connectors" / "acme_erp.yml"

CONNECTOR = """\
title: Acme
base_url: https://{options.host}/api
options:
  host: {default: acme.example.com}
  token: {secret: true}
  team: {required: false}
auth: {header: {X-Api-Key: "key {options.token}"}}
limits: {requests_per_second: 5, records_per_request: 2}
objects:
  contacts:
    match: email
    fields: {email: text, since: date, score: decimal, extra: json, at: timestamp_tz, raw: binary}
    upsert:
      send: POST /contacts
      headers: {X-Team: "{options.team}"}
cases:
  - name: the case
"""


def run(case: str) -> CaseResult:
    text = CONNECTOR + "\n".join("    " + line for line in case.splitlines()) + "\n"
    document = parse(text, "connectors/acme.yml")
    (result,) = run_cases("acme", Connector.model_validate(document.value), document.positions.at)
    return result


def test_the_example_connector_passes_its_cases() -> None:
    """Every case of examples/connectors/acme_erp.yml, as `levada test` runs them."""
    results = run_cases_of("acme_erp", EXAMPLE)
    assert len(results) >= 9
    assert [result.failure for result in results] == [""] * len(results)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("upsert: contacts\nrecords: [{emial: a}]", "acme.contacts has no field emial: did you mean email?"),
        ("upsert: contact\nrecords: [{email: a}]", "acme has no object contact: did you mean contacts?"),
    ],
)
def test_a_case_speaks_of_objects_and_fields_that_there_are(case: str, words: str) -> None:
    """What no sync could map is no example of anything."""
    assert words in run(f"{case}\nanswer: {{status: 200}}\noutcomes: [delivered]").failure


def test_a_case_knows_the_types_of_the_fields() -> None:
    """Dates, decimals, instants, binary and JSON are written as text in YAML and sent as what they are."""
    result = run(
        """\
upsert: contacts
records:
  - {email: a, since: "2026-01-31", score: "1.50", extra: {x: [1]}, at: "2026-01-01T02:00:00+02:00", raw: AP8=}
sends:
  send: POST /contacts
  headers: {x-team: team}
  json: [{email: a, since: "2026-01-31", score: 1.5, extra: {x: [1]}, at: "2026-01-01T00:00:00Z", raw: AP8=}]
answer: {status: 200}
outcomes: [delivered]"""
    )
    assert result.passed, result.failure
    assert result.as_dict() == {
        "connector": "acme",
        "case": "the case",
        "passed": True,
        "failure": None,
        "where": "connectors/acme.yml:17:5",
    }


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("sends: PUT /contacts\nanswer: {}\noutcomes: [delivered]", "expected PUT /contacts, got POST /contacts"),
        ("sends: POST /contacts?a=1\nanswer: {}\noutcomes: [delivered]", "expected POST /contacts?a=1"),
        ("sends: {send: POST /contacts, json: []}\nanswer: {}\noutcomes: [delivered]", "expected the body []"),
        ("sends: {send: POST /contacts, text: x}\nanswer: {}\noutcomes: [delivered]", "expected the body 'x'"),
        ("sends: {send: POST /contacts, headers: {A: b}}\nanswer: {}\noutcomes: [delivered]", "expected header A: b"),
        ("answer: {}\noutcomes: [rejected]", "expected 'rejected', got 'delivered'"),
        ("answer: {status: 400}\noutcomes: ['rejected: x']", "expected 'rejected: x', got 'rejected: answer 400'"),
        ("outcomes: [delivered]", "no answer to request 1"),
        ("answer: {}\nsends: [POST /contacts, POST /more]\noutcomes: [delivered]", "expected and not made"),
        ("answers: [{}, {}]\noutcomes: [delivered]", "answer 2 was never asked for"),
    ],
)
def test_a_failed_case_says_what_differs_and_where(case: str, words: str) -> None:
    """The request, the body, a header or an outcome: expected and got, with the place in the file."""
    sent = "upsert: contacts\nrecords: [{email: a}]\n" + case
    result = run(sent)
    assert not result.passed
    assert words in result.failure
    assert "connectors/acme.yml:17" in result.failure


def test_a_case_is_cut_into_requests_as_delivery_would() -> None:
    """Three records at two in a request are two requests."""
    result = run(
        """\
upsert: contacts
records: [{email: a}, {email: b}, {email: c}]
sends:
  - {send: POST /contacts, json: [{email: a}, {email: b}]}
  - {send: POST /contacts, json: [{email: c}]}
answers: [{status: 400, json: {message: no}}, {status: 204}]
outcomes: ["refused: no", "refused: no", delivered]"""
    )
    assert result.passed, result.failure


@pytest.mark.parametrize(
    "case",
    [
        {"records": [{"a": 1}], "outcomes": ["delivered"]},
        {"upsert": "c", "delete": "c", "records": [{"a": 1}], "outcomes": ["delivered"]},
        {"upsert": "c", "records": [], "outcomes": []},
        {"upsert": "c", "records": [{"a": 1}], "outcomes": []},
        {"upsert": "c", "records": [{"a": 1}], "outcomes": ["delivered"], "answer": {}, "answers": [{}]},
    ],
)
def test_a_case_that_shows_nothing_is_refused(case: dict[str, Any]) -> None:
    """One verb, at least one record, an outcome for each."""
    with pytest.raises(ValidationError):
        Connector.model_validate({**parse(CONNECTOR, "x").value, "cases": [{"name": "n", **case}]})


def test_a_connector_becomes_a_type_with_its_own_options() -> None:
    """Required ones are required, secrets are not shown and are named for redaction, limits can be lowered."""
    connector = Connector.model_validate({**parse(CONNECTOR, "x").value, "cases": []})
    kind = connector_type("acme", connector)
    with pytest.raises(ValidationError):
        kind.options.model_validate({})
    with pytest.raises(ValidationError):
        kind.options.model_validate({"token": "t", "tokne": "t"})
    options = kind.options.model_validate({"token": "s3cr3t{x}", "limits": {"requests_per_second": 1}})
    assert "s3cr3t" not in repr(options)
    found = kind.open("crm", options, Surroundings(Path()))
    assert isinstance(found, Destination)
    assert found.base_url == "https://acme.example.com/api"
    assert found.auth is not None
    assert set(found.auth.secrets()) == {"key s3cr3t{x}", "s3cr3t{x}"}
    assert "s3cr3t" not in repr(found)
    assert (found.spec.limits.requests_per_second, found.spec.limits.records_per_request) == (1, 2)
    assert found.spec.type == "acme"


def test_a_connector_with_a_mistake_is_refused_when_it_is_read() -> None:
    """An option that is not declared, a placeholder that is no option in the base URL."""
    value = {**parse(CONNECTOR, "x").value, "cases": []}
    for base_url in ("https://{options.hots}", "https://{email}"):
        with pytest.raises(ConfigError):
            connector_type("acme", Connector.model_validate({**value, "base_url": base_url}))


def test_every_type_is_found_by_its_name() -> None:
    """The registry's names are the types' own; an unknown one is None."""
    for name in destination_types():
        kind = destination_type(name)
        assert kind is not None
        assert kind.type == name
    assert destination_type("hubspott") is None


def test_listing_the_types_imports_no_driver() -> None:
    """`levada --help` stays fast: names are known without what is behind them."""
    code = (
        "import sys; from levada.destinations import destination_types; destination_types();"
        "print([m for m in ('pyarrow', 'duckdb', 'psycopg', 'pymysql', 'aiohttp') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() in ("[]", "['pyarrow']")

"""What a destination without declared outcomes makes of answers that no tool would give, and how large bodies get."""

from __future__ import annotations

import json
from typing import Any

import pytest

from levada.destination import Response
from levada.destinations.declared import DeclaredDestination, spec_of
from levada.destinations.example import example_batch
from levada.destinations.language import HttpOptions
from levada.outcome import Outcomes


def destination(upsert: Any, **limits: int) -> DeclaredDestination:
    options = HttpOptions.model_validate(
        {"base_url": "https://crm.example.com", "limits": limits, "objects": {"contacts": {"upsert": upsert}}}
    )
    return DeclaredDestination("crm", spec_of("http", "HTTP", "", options), options).checked()


def outcomes(upsert: Any, answer: Response) -> Outcomes:
    crm = destination(upsert)
    batch = example_batch(
        [{"id": 1}], template=crm.template("contacts", "upsert"), object_name="contacts", verb="upsert", match=["id"]
    )
    talk = crm.deliver(batch)
    next(talk)
    with pytest.raises(StopIteration) as ended:
        talk.send(answer)
    found: Outcomes = ended.value.value
    return found


@pytest.mark.parametrize(
    ("body", "kind", "end"),
    [
        (b"", "text/html", "delivered"),
        (b"OK", "text/html", "delivered"),
        (b"{}", "application/json", "delivered"),
        (b"\xef\xbb\xbf{}", "application/json", "delivered"),
        (b"<!DOCTYPE html><title>Sign in</title>", "text/html; charset=utf-8", "unknown"),
        (b"\n<HTML><body>", "application/json", "unknown"),
        (b'{"ok": ', "application/json", "unknown"),
    ],
)
def test_a_web_page_and_broken_json_vouch_for_nothing(body: bytes, kind: str, end: str) -> None:
    """A proxy's page behind a 200 is no receipt, and neither is an answer that was cut off."""
    found = outcomes("POST /contacts", Response(200, {"content-type": kind}, body))
    assert found.of(0).end == end


def test_the_words_of_an_unsuccessful_success_are_those_at_the_place_that_was_looked_at() -> None:
    """GraphQL says what is wrong where nothing should stand."""
    upsert = {"send": "POST /graphql", "outcomes": {"success": {"path": "data.save.userErrors", "empty": True}}}
    body = {"data": {"save": {"userErrors": [{"field": "email", "message": "is taken"}]}}}
    assert outcomes(upsert, Response(200, {}, json.dumps(body).encode())).of(0).reason == "is taken"


@pytest.mark.parametrize(
    "upsert", ["POST /contacts", {"send": "POST /contacts", "body": {"in": "{records}", "k": "{idempotency_key}"}}]
)
def test_a_body_keeps_to_its_bytes_with_all_that_stands_around_the_records(upsert: Any) -> None:
    """What is left for the records is the declared size less the envelope."""
    crm = destination(upsert, bytes_per_request=10_000, records_per_request=1_000)
    room = crm.limits("contacts", "upsert").bytes_per_request
    records = [{"id": 10_000 + number} for number in range(room // len('{"id":10000},'))]
    batch = example_batch(
        records, template=crm.template("contacts", "upsert"), object_name="contacts", verb="upsert", match=["id"]
    )
    body = next(crm.deliver(batch)).body
    assert body is not None
    assert 9_500 < len(body) <= 10_000

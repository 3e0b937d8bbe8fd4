"""A user's own destination: one decorated function."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from levada.batch import Batch
from levada.destination import Destination, Request, Response, Surroundings
from levada.destinations.example import example_batch
from levada.destinations.python import PythonBatch, PythonDestination, PythonOptions, destination, open_python
from levada.errors import ConfigError
from levada.outcome import FUNCTION_FAILED, Outcome, Outcomes

SOURCE = '''
from levada import destination

@destination(records_per_request=50, class_="A", requests_per_second=5)
def loyalty(batch):
    """Loyalty club"""
    answer = yield batch.post("/members", json=batch.records, headers={"X-Team": batch.options["team"]})
    return batch.delivered() if answer.ok else batch.rejected(answer.text)

def plain(batch):
    return None
'''


def batch(size: int = 2) -> Batch:
    records = [{"id": n, "total": Decimal("1.10"), "at": datetime(2026, 1, 1, tzinfo=UTC)} for n in range(size)]
    return example_batch(records, object_name="members", verb="upsert", match=("id",), template=None)


def ended(found: PythonDestination, *answers: Response) -> tuple[Outcomes, list[Request]]:
    talk = found.deliver(batch())
    requests: list[Request] = []
    told = iter(answers)
    try:
        requests.append(next(talk))
        while True:
            requests.append(talk.send(next(told)))
    except StopIteration as stop:
        return stop.value, requests


def test_a_generator_yields_requests_and_returns_outcomes(tmp_path: Path) -> None:
    """As the guide shows it, from a file of the project, with options and exact values."""
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "loyalty.py").write_text(SOURCE)
    options = PythonOptions.model_validate(
        {
            "function": "connectors/loyalty.py:loyalty",
            "base_url": "https://loyalty.example.com",
            "options": {"team": "ops-team"},
            "limits": {"requests_per_second": 2},
        }
    )
    found = open_python("club", options, Surroundings(tmp_path))
    assert isinstance(found, Destination)
    assert (found.name, found.spec.title) == ("club", "Loyalty club")
    assert found.spec.delivery_class("members", "upsert") == "A"
    assert (found.spec.limits.requests_per_second, found.spec.limits.records_per_request) == (2, 50)
    assert found.auth is not None
    assert found.auth.secrets() == ("ops-team",)
    outcomes, requests = ended(found, Response(200))
    assert outcomes.of(0).end == "delivered"
    assert requests[0].headers["X-Team"] == "ops-team"
    assert b'"total":1.10,"at":"2026-01-01T00:00:00Z"' in (requests[0].body or b"")
    assert ended(found, Response(422, {}, b"no"))[0].of(1).reason == "no"


def test_a_plain_function_that_returns_has_delivered() -> None:
    """Its own work, in its own way; outcomes if it has any to tell."""
    seen: list[int] = []

    @destination
    def appended(batch: PythonBatch) -> None:
        seen.append(len(batch))

    @destination(verbs=("delete",), name="gone")
    def refusing(batch: PythonBatch) -> Outcomes:
        return batch.rejected("never")

    assert ended(appended)[0].of(0).end == "delivered"
    assert seen == [2]
    assert ended(refusing)[0].of(0).reason == "never"
    assert (refusing.name, refusing.verbs) == ("gone", ("delete",))


def test_an_error_before_anything_was_sent_leaves_it_unsent_and_later_it_is_unknown() -> None:
    """What a function had already done when it broke, nobody knows. Trying again helps only where a network failed."""

    @destination
    def early(batch: PythonBatch) -> Iterator[Request]:
        yield batch.post(batch.options["no such option"])

    @destination
    def late(batch: PythonBatch) -> Any:
        yield batch.post("/x")
        raise ValueError("oh")

    @destination
    def plain(batch: PythonBatch) -> None:
        raise OSError("connection reset")

    @destination
    def broken(batch: PythonBatch) -> None:
        raise KeyError("no such field")

    assert ended(early)[0].of(0) == Outcome(
        "not_applied", "early: KeyError in the function: 'no such option'", FUNCTION_FAILED
    )
    assert ended(late, Response(200))[0].of(0) == Outcome(
        "unknown", "late: ValueError in the function: oh", FUNCTION_FAILED
    )
    assert ended(broken)[0].of(0) == Outcome(
        "unknown", "broken: KeyError in the function: 'no such field'", FUNCTION_FAILED
    )
    assert (ended(plain)[0].of(0).end, ended(plain)[0].of(0).code) == ("unknown", "")


def test_a_generator_without_outcomes_vouches_for_nothing() -> None:
    """Falling off the end is no receipt; yielding something else than a request neither."""

    @destination
    def forgetful(batch: PythonBatch) -> Any:
        yield batch.put("/x", json={"a": 1})

    @destination
    def strange(batch: PythonBatch) -> Any:
        yield batch.get("/ok")
        yield "https://x"

    assert ended(forgetful, Response(500))[0].of(0).end == "unknown"
    assert ended(strange, Response(200))[0].of(0).end == "unknown"


def test_the_words_for_requests() -> None:
    """A question is safe, everything else is not; a part of the batch has the same words."""
    found = PythonBatch.of(batch(), {"a": "b"})
    requests = [
        found.get("/x"),
        found.post("/x"),
        found.put("/x"),
        found.patch("/x"),
        found.delete("/x", query={"q": "1"}),
    ]
    assert [request.method for request in requests] == ["GET", "POST", "PUT", "PATCH", "DELETE"]
    assert [request.safe for request in requests] == [True, False, False, False, False]
    part = found.slice(1, 1)
    assert isinstance(part, PythonBatch)
    assert part.options == {"a": "b"}
    assert json.loads(part.post("/x", json=part.records).body or b"")[0]["id"] == 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("connectors/none.py:loyalty", "no file"),
        ("../outside.py:loyalty", "outside"),
        ("own.py:plain", "no destination named"),
        ("own.py:nothing", "no destination named"),
        ("broken.py:x", "cannot be imported"),
    ],
)
def test_a_function_that_is_not_there_is_a_configuration_error(tmp_path: Path, function: str, words: str) -> None:
    """Named with the file, before anything runs; nothing outside the project is imported."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "own.py").write_text(SOURCE)
    (project / "broken.py").write_text("1 / 0")
    (tmp_path / "outside.py").write_text(SOURCE)
    with pytest.raises(ConfigError, match=words):
        open_python("x", PythonOptions(function=function), Surroundings(project))

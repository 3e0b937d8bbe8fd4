"""What a delivered record's request changed at the tool, as far as the answer tells."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from levada.destination import Response
from levada.destinations.answers import Reader
from levada.destinations.cases import run_cases
from levada.destinations.example import example_batch
from levada.destinations.language import Connector
from levada.destinations.reading import Reading
from levada.outcome import Effect


def effects(
    declared: dict[str, Any],
    body: object,
    status: int = 200,
    *,
    size: int = 1,
    verb: Any = "upsert",
    addressed: bool = True,
) -> list[Effect]:
    records = [{"email": f"p{n}@example.com", "n": n} for n in range(size)]
    batch = example_batch(records, object_name="contacts", verb=verb, match=("email",), template=None)
    reader = Reader(Reading.model_validate(declared), verb, addressed=True)
    outcomes = reader.read(batch, Response(status, {}, json.dumps(body).encode()))
    return [outcomes.effects.of(index) for index in range(size)]


@pytest.mark.parametrize(
    ("verb", "effect"),
    [
        ("create", "created"),
        ("append", "created"),
        ("update", "updated"),
        ("delete", "gone"),
        ("archive", "gone"),
        ("remove", "gone"),
        ("upsert", "untold"),
        ("add", "untold"),
    ],
)
def test_without_the_word_the_verb_says_it_where_it_can(verb: str, effect: str) -> None:
    """An upsert and a member that is added may have been there: nobody knows."""
    assert effects({}, {}, verb=verb) == [effect]
    assert effects({}, {}, verb=verb, size=3) == [effect] * 3
    assert effects({"success": "ok"}, {"ok": True}, verb=verb) == [effect]
    assert effects({"statuses": {"200": "delivered"}}, {}, verb=verb) == [effect]
    assert effects({"refused": {"list": "errors", "index": "i"}}, {"errors": []}, verb=verb, size=2) == [effect] * 2
    assert effects({"items": {"ok": "ok"}}, [{"ok": True}], verb=verb) == [effect]


@pytest.mark.parametrize(("verb", "effect"), [("create", "untold"), ("delete", "same"), ("update", "untold")])
def test_a_refusal_that_is_declared_to_be_none_has_changed_nothing_of_ours(verb: str, effect: str) -> None:
    """409 to a create says that somebody's record is there; to a removal, that there was nothing to remove."""
    assert effects({"statuses": {"409": "delivered"}}, {}, 409, verb=verb) == [effect]
    assert effects({"ends": {"EXISTS": "delivered"}}, {"code": "EXISTS"}, 409, verb=verb) == [effect]
    listed = {"refused": {"list": "errors", "index": "i"}, "ends": {"EXISTS": "delivered"}}
    assert effects(listed, {"errors": [{"i": 0, "code": "EXISTS"}]}, verb=verb) == [effect]


def test_a_record_that_was_not_there_to_be_removed_was_so_already() -> None:
    """404 to a removal by address."""
    assert effects({}, {}, 404, verb="delete") == ["same"]
    assert effects({}, {}, 204, verb="delete") == ["gone"]


@pytest.mark.parametrize(
    ("created", "body", "status", "effect"),
    [
        ({"status": 201}, {}, 201, "created"),
        ({"status": [201, 202]}, {}, 202, "created"),
        ({"status": 201}, {}, 200, "updated"),
        ("new", {"new": True}, 200, "created"),
        ("new", {"new": False}, 200, "updated"),
        ("new", {}, 200, "untold"),
        ({"path": "result", "equals": "created"}, {"result": "created"}, 200, "created"),
        ({"path": "result", "equals": "created"}, {"result": "updated"}, 200, "updated"),
        ({"path": "r", "one_of": ["a", "b"]}, {"r": "b"}, 200, "created"),
        ({"path": "previous", "absent": True}, {"id": 5}, 200, "created"),
    ],
)
def test_an_answer_says_whether_the_record_was_there(created: object, body: object, status: int, effect: str) -> None:
    """By its status or by a place; what is absent tells nothing."""
    assert effects({"created": created}, body, status) == [effect]
    assert effects({"created": created}, body, status, verb="add") == [effect]
    assert effects({"created": created}, body, status, size=2) == ["untold"] * 2


def test_each_entry_says_it_of_its_own_record() -> None:
    """In the entries of records that were taken, found by place or by value, refused ones among them."""
    listed: dict[str, Any] = {
        "accepted": {"list": "results", "index": "i", "created": {"path": "action", "equals": "insert"}},
        "refused": {"list": "errors", "index": "i"},
    }
    told = {"results": [{"i": 0, "action": "insert"}, {"i": 2, "action": "update"}, {"i": 3}], "errors": [{"i": 1}]}
    assert effects(listed, told, size=4) == ["created", "untold", "updated", "untold"]
    items = {"items": {"ok": "ok", "match": "email", "created": "new"}}
    entries = [{"email": f"p{n}@example.com", "ok": True, "new": n == 1} for n in (1, 0)]
    assert effects(items, entries, size=2) == ["updated", "created"]


@pytest.mark.parametrize(
    "declared", [{}, {"status": 201, "path": "a"}, {"path": "a"}, {"path": "a", "equals": 1, "empty": True}]
)
def test_the_word_takes_a_status_or_one_expectation(declared: dict[str, Any]) -> None:
    """Not both, and not none."""
    with pytest.raises(ValidationError):
        Reading.model_validate({"created": declared})


def connector(effect: object) -> Connector:
    case = {
        "name": "two", "upsert": "people", "records": [{"id": "a"}, {"id": "b"}], "outcomes": ["delivered"] * 2,
        "answers": [{"status": 201}, {"status": 200}], "effects": effect,
    }  # fmt: skip
    upsert = {"send": "PUT /people/{id}", "outcomes": {"created": {"status": 201}}}
    found = {
        "title": "T",
        "base_url": "https://t.example.com",
        "objects": {"people": {"upsert": upsert}},
        "cases": [case],
    }
    return Connector.model_validate(found)


def test_a_case_says_which_effects_it_expects() -> None:
    """One for each record, or one for all."""
    assert run_cases("t", connector(["created", "updated"]))[0].passed
    failed = run_cases("t", connector("created"))[0].failure
    assert failed == "record 1: expected the effect created, got updated"
    with pytest.raises(ValidationError):
        connector(["created"] * 3)

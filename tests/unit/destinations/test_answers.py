"""Reading outcomes: a record is delivered only if the answer vouches for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from levada.batch import Batch
from levada.destination import Response
from levada.destinations.answers import Reader, holds
from levada.destinations.example import example_batch
from levada.destinations.reading import Expectation, Reading
from levada.errors import ConfigError, DestinationError
from levada.outcome import Outcomes
from levada.template import Names


def batch(size: int = 3, verb: Any = "upsert") -> Batch:
    records = [{"email": f"p{n}@example.com", "n": n} for n in range(size)]
    return example_batch(records, object_name="contacts", verb=verb, match=("email",), template=None)


def read(declared: dict[str, Any], body: object, status: int = 200, *, size: int = 3, **more: Any) -> Outcomes:
    verb = more.pop("verb", "upsert")
    reader = Reader(Reading.model_validate(declared), verb, addressed=more.pop("addressed", False), names=Names())
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return reader.read(batch(size, verb), Response(status, {"x-request-id": "r"}, raw))


def ends(outcomes: Outcomes, size: int = 3) -> list[str]:
    return [outcomes.of(index).end for index in range(size)]


# Defaults, by status.


@pytest.mark.parametrize(
    ("status", "verb", "addressed", "end"),
    [
        (200, "upsert", False, "delivered"),
        (204, "delete", True, "delivered"),
        (404, "delete", True, "delivered"),
        (410, "archive", True, "delivered"),
        (404, "remove", True, "delivered"),
        (404, "delete", False, "rejected"),
        (404, "update", True, "suppressed"),
        (404, "update", False, "rejected"),
        (404, "upsert", True, "rejected"),
        (409, "create", False, "rejected"),
        (422, "upsert", False, "rejected"),
        (413, "upsert", False, "rejected"),
        (302, "upsert", False, "unknown"),
        (100, "upsert", False, "unknown"),
    ],
)
def test_without_a_declaration_the_status_says_it(status: int, verb: str, addressed: bool, end: str) -> None:
    """2xx is delivered; what is gone is deleted; 404 counts so only where the address names the record."""
    outcomes = read({}, {"message": "words"}, status, size=1, verb=verb, addressed=addressed)
    assert ends(outcomes, 1) == [end]
    assert outcomes.request_id == "r"


def test_a_refused_batch_is_left_to_be_halved() -> None:
    """A 4xx to several records names none of them."""
    outcomes = read({}, {"error": {"message": "bad", "code": "E1"}}, 400)
    assert not outcomes.attributed
    assert outcomes.of(2).reason == "bad"
    assert outcomes.of(2).code == "E1"


@pytest.mark.parametrize(
    "body",
    [
        {"message": "Bad e-mail"},
        {"error": "Bad e-mail"},
        {"error": {"message": "Bad e-mail"}},
        {"errors": [{"detail": "Bad e-mail"}]},
        {"errors": [{"message": "Bad e-mail"}]},
        {"errors": ["Bad e-mail"]},
        {"error": "x", "error_description": "Bad e-mail"},
        {"type": "about:blank", "title": "Unprocessable", "detail": "Bad e-mail"},
        "Bad e-mail",
    ],
)
def test_the_usual_places_of_words_are_known(body: object) -> None:
    """A rejection carries the tool's own words without being told where they are."""
    assert read({}, body, 422, size=1).of(0).reason == "Bad e-mail"


def test_words_that_are_no_json_are_taken_only_if_they_are_short_and_plain() -> None:
    """A line of text is quoted; a page of HTML is not."""
    assert read({}, b"Bad e-mail", 422, size=1).of(0).reason == "Bad e-mail"
    assert read({}, b"<html>Bad</html>", 422, size=1).of(0).reason == "answer 422"
    assert read({}, b"x" * 10_000, 422, size=1).of(0).reason == "answer 422"


def test_a_declared_status_goes_first() -> None:
    """`statuses` decides whatever the body says; a class of statuses stands for each of its own."""
    declared = {"statuses": {409: "delivered", "4xx": "suppressed", 207: "not_applied"}}
    assert ends(read(declared, {}, 409)) == ["delivered"] * 3
    assert ends(read(declared, {}, 422)) == ["suppressed"] * 3
    assert ends(read(declared, {}, 207)) == ["not_applied"] * 3
    refused = read({"statuses": {409: "refused"}}, {"message": "m"}, 409)
    assert not refused.attributed
    with pytest.raises(DestinationError, match="closed"):
        read({"statuses": {400: "stop"}}, {"message": "closed"}, 400)


@pytest.mark.parametrize("status", ["401", "429", "503", "5xx", "403", "40", "abc"])
def test_statuses_that_delivery_answers_cannot_be_declared(status: str) -> None:
    """A connector never sees a throttled, refused or failed request, and must not seem to."""
    with pytest.raises(ValidationError):
        Reading.model_validate({"statuses": {status: "delivered"}})


# Lists inside answers.


def test_refused_records_are_found_by_index_and_the_others_are_delivered() -> None:
    """`refused` with an empty or short list: who is not in it was taken."""
    declared = {"refused": {"list": "errors", "index": "i", "message": "why", "code": "c"}}
    outcomes = read(declared, {"errors": [{"i": 1, "why": "no", "c": "X"}]}, 207)
    assert ends(outcomes) == ["delivered", "rejected", "delivered"]
    assert (outcomes.of(1).reason, outcomes.of(1).code) == ("no", "X")
    assert ends(read(declared, {"errors": []})) == ["delivered"] * 3


def test_refused_records_are_found_by_value() -> None:
    """`match` compares as text, takes lists of values, and letters of either case if told so."""
    declared: dict[str, Any] = {"refused": {"list": "errors", "match": "context.ids", "message": "m"}}
    body: dict[str, Any] = {"errors": [{"context": {"ids": ["p0@example.com", "p2@example.com"]}, "m": "no"}]}
    assert ends(read(declared, body)) == ["rejected", "delivered", "rejected"]
    body = {"errors": [{"context": {"ids": "P1@EXAMPLE.COM"}, "m": "no"}]}
    assert ends(read(declared, body)) == ["unknown"] * 3
    declared["refused"]["ignore_case"] = True
    assert ends(read(declared, body)) == ["delivered", "rejected", "delivered"]
    by_number = {"refused": {"list": "", "match": "", "to": "{n}", "words": "invalid"}}
    outcomes = read(by_number, [2])
    assert ends(outcomes) == ["delivered", "delivered", "rejected"]
    assert outcomes.of(2).reason == "invalid"


def test_positions_are_found_in_longer_texts_and_objects() -> None:
    """JSON pointers, positions from one, and objects keyed by position."""
    pointer = {"refused": {"list": "errors", "index": "source.pointer", "index_pattern": "/data/{index}/"}}
    assert ends(read(pointer, {"errors": [{"source": {"pointer": "/data/2/email"}, "detail": "no"}]})) == [
        "delivered",
        "delivered",
        "rejected",
    ]
    assert ends(read({"refused": {"list": "e", "index": "row", "first_index": 1}}, {"e": [{"row": "1"}]})) == [
        "rejected",
        "delivered",
        "delivered",
    ]
    keyed = {"refused": {"list": "e", "keyed": True, "index": "name", "message": "value"}}
    assert read(keyed, {"e": {"1": "no"}}).of(1).reason == "no"


@pytest.mark.parametrize("entry", [{"i": 3}, {"i": -1}, {"i": None}, {}, {"i": True}, {"i": "x"}, {"i": 1.5}, 7])
def test_an_entry_that_names_no_record_leaves_all_in_doubt(entry: object) -> None:
    """If somebody was refused and nobody knows who, nobody is delivered."""
    assert "delivered" not in ends(read({"refused": {"list": "errors", "index": "i"}}, {"errors": [entry]}))


def test_only_accepted_records_are_delivered() -> None:
    """`accepted` vouches by name; who is not named is unknown; ids are kept."""
    declared = {"accepted": {"list": "ok", "match": "email", "identifier": "id"}}
    outcomes = read(declared, {"ok": [{"email": "p2@example.com", "id": 7}, {"email": "who@example.com"}]})
    assert ends(outcomes) == ["unknown", "unknown", "delivered"]
    assert outcomes.identifiers == {2: "7"}


def test_accepted_records_may_only_be_counted() -> None:
    """As many as were sent, refused ones included: all others are delivered. One fewer: unknown."""
    declared = {"accepted": {"list": "ok"}, "refused": {"list": "bad", "index": "i"}}
    assert ends(read(declared, {"ok": [1, 2, 3]})) == ["delivered"] * 3
    assert ends(read(declared, {"ok": [1, 2], "bad": [{"i": 0}]})) == ["rejected", "delivered", "delivered"]
    assert ends(read(declared, {"ok": [1, 2], "bad": []})) == ["unknown"] * 3
    assert ends(read(declared, {"ok": [1, 2, 3, 4]})) == ["unknown"] * 3
    by_number = {"accepted": {"count": "received"}}
    assert ends(read(by_number, {"received": 3})) == ["delivered"] * 3
    assert ends(read(by_number, {"received": 2})) == ["unknown"] * 3
    assert ends(read(by_number, {"received": True}, size=1), 1) == ["unknown"]


def test_items_answer_in_order_and_must_be_as_many() -> None:
    """One entry a record; too few or too many, and nobody knows whose is whose."""
    declared = {"items": {"list": "results", "ok": {"path": "status", "equals": "ok"}, "identifier": "id"}}
    ok, bad = {"status": "ok", "id": "9"}, {"status": "error", "message": "no"}
    outcomes = read(declared, {"results": [ok, bad, ok]})
    assert ends(outcomes) == ["delivered", "rejected", "delivered"]
    assert outcomes.identifiers == {0: "9", 2: "9"}
    assert ends(read(declared, {"results": [ok, ok]})) == ["unknown"] * 3
    assert ends(read(declared, {"results": [ok] * 4})) == ["unknown"] * 3
    assert ends(read(declared, {"results": [ok, {}, ok]})) == ["delivered", "unknown", "delivered"]


def test_two_entries_that_contradict_leave_the_record_in_doubt() -> None:
    """Taken and refused at once is neither; said twice is said."""
    declared = {"accepted": {"list": "ok", "index": "i"}, "refused": {"list": "bad", "index": "i"}}
    assert ends(read(declared, {"ok": [{"i": 0}, {"i": 1}, {"i": 1}, {"i": 2}], "bad": [{"i": 0}]})) == [
        "unknown",
        "delivered",
        "delivered",
    ]


def test_a_value_of_two_records_names_neither() -> None:
    """Two records with the same value cannot be told apart."""
    records = [{"email": "same"}, {"email": "same"}, {"email": "other"}]
    twins = example_batch(records, object_name="c", verb="upsert", match=("email",), template=None)
    reader = Reader(Reading.model_validate({"accepted": {"list": "", "match": ""}}), "upsert", addressed=False)
    outcomes = reader.read(twins, Response(200, {}, b'["same","other"]'))
    assert [outcomes.of(n).end for n in range(3)] == ["unknown", "unknown", "delivered"]


def test_a_success_that_is_none_refuses_the_batch() -> None:
    """`success` looks into a 2xx: false refuses, absent is unknown."""
    declared = {"success": {"path": "ok", "equals": True}}
    assert ends(read(declared, {"ok": True})) == ["delivered"] * 3
    refused = read(declared, {"ok": False, "error": "channel_not_found"})
    assert ends(refused) == ["rejected"] * 3
    assert not refused.attributed
    assert refused.of(0).reason == "channel_not_found"
    bodies: list[object] = [{}, [], {"ok": None, "x": 1}]
    for body in bodies:
        assert "delivered" not in ends(read(declared, body))
    graph = {"success": [{"path": "errors", "absent": True}, {"path": "data.save.userErrors", "empty": True}]}
    assert ends(read(graph, {"data": {"save": {"userErrors": []}}}, size=1), 1) == ["delivered"]
    told = {"data": {"save": {"userErrors": [{"message": "taken"}]}}}
    assert ends(read(graph, told, size=1), 1) == ["rejected"]
    assert ends(read(graph, {"data": {"save": None}}, size=1), 1) == ["unknown"]
    assert ends(read(graph, {"errors": [{"message": "denied"}], "data": None}, size=1), 1) == ["rejected"]


def test_an_answer_without_any_list_is_unknown_unless_declared() -> None:
    """A 2xx with neither results nor errors says nothing."""
    declared = {"refused": {"list": "errors", "index": "i"}}
    assert ends(read(declared, {"fine": True})) == ["unknown"] * 3
    assert ends(read({**declared, "empty_is": "delivered"}, {"fine": True})) == ["delivered"] * 3
    assert ends(read({**declared, "empty_is": "delivered"}, b"")) == ["unknown"] * 3


def test_a_4xx_that_names_records_refuses_those_and_leaves_the_others_unapplied() -> None:
    """The others were not applied, unless the tool is declared to take part of a request."""
    declared = {"refused": {"list": "errors", "index": "i"}}
    body = {"errors": [{"i": 1, "message": "no"}]}
    assert ends(read(declared, body, 400)) == ["not_applied", "rejected", "not_applied"]
    assert ends(read({**declared, "partial_4xx": True}, body, 400)) == ["delivered", "rejected", "delivered"]
    nobody = read(declared, {"errors": [{"i": 9}]}, 400)
    assert ends(nobody) == ["rejected"] * 3
    assert not nobody.attributed


def test_a_code_can_mean_something_else_than_a_refusal() -> None:
    """`ends`: already a member is as good as added."""
    declared = {
        "refused": {"list": "errors", "index": "i", "code": "c"},
        "ends": {"ALREADY": "delivered", "GONE": "suppressed"},
    }
    body = {"errors": [{"i": 0, "c": "ALREADY"}, {"i": 1, "c": "GONE"}, {"i": 2, "c": "X"}]}
    assert ends(read(declared, body)) == ["delivered", "suppressed", "rejected"]
    assert ends(read({"ends": {"ALREADY": "delivered"}}, {"code": "ALREADY"}, 400, size=1), 1) == ["delivered"]


def test_the_identifier_of_a_single_record_is_kept() -> None:
    """The tool's own id, where the answer has one, as text."""
    assert read({"identifier": "data.id"}, {"data": {"id": 12345678901234567890}}, size=1).identifiers == {
        0: "12345678901234567890"
    }
    assert read({"identifier": "data.id"}, b"", size=1).identifiers == {}
    assert read({"identifier": "id"}, {"id": 1}).identifiers == {}


def test_a_mistaken_place_or_template_is_found_when_the_file_is_read() -> None:
    """Not at the first answer."""
    for declared in ({"message": "a..b"}, {"refused": {"list": "[x]", "index": "i"}}, {"identifier": "a b["}):
        with pytest.raises(ConfigError):
            read(declared, {})
    with pytest.raises(ConfigError, match="unknown placeholder"):
        Reader(
            Reading.model_validate({"refused": {"list": "e", "match": "m", "to": "{emial}"}}),
            "upsert",
            addressed=False,
            names=Names(frozenset({"email"})),
        )


def test_expectations_tell_apart_what_is_equal_only_in_python() -> None:
    """true is not 1, "1" is not 1, 1.0 is 1, null is there."""
    assert holds(Expectation(path="a", equals=1), {"a": True}) is False
    assert holds(Expectation(path="a", equals=1), {"a": "1"}) is False
    assert holds(Expectation(path="a", equals=1), {"a": 1}) is True
    assert holds(Expectation(path="a", one_of=("x", None)), {"a": None}) is True
    assert holds(Expectation(path="a", equals=1), {}) is None
    assert holds(Expectation(path="a", empty=True), {"a": 0}) is None


# Properties: whatever a tool answers.

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 6)
    | st.sampled_from(["p0@example.com", "p1@example.com", "x", "ok", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["i", "email", "ok", "bad", "id", "status"]), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(JSON, st.sampled_from([200, 201, 207, 400, 422]))
@example({"ok": [{"email": "p0@example.com"}], "bad": True}, 200)
def test_no_record_is_delivered_that_the_answer_does_not_vouch_for(body: Any, status: int) -> None:
    """Whatever stands in an answer: delivered means an entry that names the record and says so, and none against it."""
    declared = {
        "accepted": {"list": "ok", "match": "email"},
        "refused": {"list": "bad", "index": "i"},
        "partial_4xx": True,
    }
    outcomes = read(declared, body, status)
    lists = {name: value for name, value in body.items() if isinstance(value, list)} if isinstance(body, dict) else {}
    taken, refused = lists.get("ok", []), lists.get("bad", [])
    for index in range(3):
        if outcomes.of(index).end == "delivered":
            name = f"p{index}@example.com"
            named = [e.get("email") for e in taken if isinstance(e, dict)]
            assert any(value == name or (isinstance(value, list) and name in value) for value in named)
            against = [e.get("i") for e in refused if isinstance(e, dict)]
            assert not any(value == index and not isinstance(value, bool) for value in against)


@given(st.permutations(range(4)), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)), st.integers(0, 2))
def test_order_gaps_and_repeats_change_no_outcome(
    order: list[int], refused: set[int], missing: set[int], repeats: int
) -> None:
    """Entries in any order, some missing, some twice: each record has the end that its own entries say."""
    entries = [{"n": index, "ok": index not in refused} for index in order if index not in missing]
    entries += entries[:repeats]
    declared = {"items": {"list": "", "index": "n", "ok": "ok"}}
    outcomes = read(declared, entries, size=4)
    expected = ["unknown" if n in missing else "rejected" if n in refused else "delivered" for n in range(4)]
    assert ends(outcomes, 4) == expected


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading(body: bytes) -> None:
    """Any bytes at all are read to an outcome, and vouch for nothing."""
    outcomes = read({"accepted": {"list": "ok", "index": "i"}}, body)
    assert "delivered" not in ends(outcomes)


WHOLE: list[tuple[dict[str, Any], Any]] = [
    ({"accepted": {"list": "ok", "index": "i"}}, {"ok": [{"i": 0}, {"i": 1}, {"i": 2}]}),
    ({"accepted": {"list": "", "match": "email"}}, [{"email": f"p{n}@example.com"} for n in range(3)]),
    ({"accepted": {"list": "ok", "count": "n"}}, {"n": 3}),
    ({"refused": {"list": "errors", "index": "i"}}, {"errors": []}),
    ({"items": {"list": "", "ok": "ok"}}, [{"ok": True}] * 3),
    ({"items": {"list": "", "ok": "ok", "index": "n"}}, [{"ok": True, "n": n} for n in range(3)]),
    ({"success": {"path": "ok", "equals": True}, "empty_is": "delivered"}, {"ok": True}),
]
"""Ways to declare an answer, each with one that vouches for all three records."""


@pytest.mark.parametrize("status", [200, 201, 207])
@pytest.mark.parametrize(("declared", "answer"), WHOLE)
def test_a_whole_answer_vouches_and_no_part_of_it_does(declared: dict[str, Any], answer: Any, status: int) -> None:
    """GUARANTEES 6.9: cut off after any byte, empty, a web page, or with something after it: nothing is delivered."""
    body = json.dumps(answer).encode()
    assert ends(read(declared, body, status)) == ["delivered"] * 3
    pages = [b"<html><body>Sign in</body></html>", b"\xff\xfe\x00", b"null", b'""', body + b"}", body + body]
    for wrong in (*(body[:length] for length in range(len(body))), *pages):
        assert "delivered" not in ends(read(declared, wrong, status)), wrong


@given(st.integers(0, 8), st.data())
def test_answers_in_order_vouch_only_if_they_are_as_many_as_the_records(entries: int, data: st.DataObject) -> None:
    """GUARANTEES 6.10: one entry too few or too many, and nobody knows which record each of them means."""
    told = data.draw(st.lists(st.booleans(), min_size=entries, max_size=entries))
    found = ends(read({"items": {"list": "", "ok": "ok"}}, [{"ok": each} for each in told], size=4), 4)
    if entries == 4:
        assert found == ["delivered" if each else "rejected" for each in told]
    else:
        assert found == ["unknown"] * 4


@given(st.lists(st.tuples(st.integers(-1, 5), st.booleans()), max_size=10))
def test_entries_with_strays_and_contradictions_never_deliver_what_they_do_not_vouch_for(
    told: list[tuple[int, bool]],
) -> None:
    """GUARANTEES 6.10: twice, shuffled, of records that were not sent: delivered means all its entries say yes."""
    found = ends(read({"items": {"list": "", "ok": "ok", "index": "n"}}, [{"n": n, "ok": ok} for n, ok in told]))
    for index, end in enumerate(found):
        own = [ok for n, ok in told if n == index]
        if end == "delivered":
            assert own
            assert all(own)
        if not own:
            assert end == "unknown"


@pytest.mark.parametrize("word", ["accepted", "items"])
@pytest.mark.parametrize("place", [3, -1, None, "x"])
def test_places_that_the_request_did_not_have_vouch_for_nothing(word: str, place: object) -> None:
    """An entry beyond the end, or without a place: the answer is to another request, and its places mean nothing."""
    declared = {word: {"list": "taken", "index": "i", **({"ok": "ok"} if word == "items" else {})}}
    entries = [{"i": 0, "ok": True}, {"i": 1, "ok": True}, {"i": 2, "ok": True}]
    assert ends(read(declared, {"taken": entries})) == ["delivered"] * 3
    assert ends(read(declared, {"taken": [*entries, {"i": place, "ok": True}]})) == ["unknown"] * 3

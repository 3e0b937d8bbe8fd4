"""What answers say in the usual places: failures inside of a 2xx, and pages that are not the last."""

from __future__ import annotations

import json
from typing import Any

import pytest

from levada.destination import Request, Response
from levada.destinations.answers import Reader
from levada.destinations.example import example_batch
from levada.destinations.reading import Reading
from levada.destinations.signs import asked_at_most, failure, failure_in_text, more_pages
from levada.outcome import UNREAD, Outcomes

ITEMS = {"items": {"list": "", "ok": "ok"}}
FIELDS = ("id", "email", "amount", "address.city")


@pytest.mark.parametrize(
    "body",
    [
        {"error": "no such owner"},
        {"error": {"code": 5}},
        {"error": True},
        {"errors": [{"email": "b"}]},
        {"errors": {"email": ["is bad"]}},
        {"errors": True, "items": []},
        {"errors": 3},
        {"hasErrors": True},
        {"failed": 1},
        {"failed": [{"id": 1}]},
        {"failedCount": 2},
        {"num_invalid": 1, "num_received": 2},
        {"FailedRecordCount": 1},
        {"success": False},
        {"ok": False},
        {"ok": "false"},
        {"status": "error"},
        {"status": "ERROR", "message": "x"},
        {"status": "fail"},
        {"status": "MIXED"},
        {"result": "failure"},
        {"data": {"success": False}},
        {"response": {"errors": ["x"]}},
        [{"id": 1, "success": True}, {"success": False}],
        # other words for it, and other places
        {"success": 0},
        {"ok": "0"},
        {"acknowledged": False},
        {"errorCode": 17, "errorMessage": "x"},
        {"error_messages": ["x"]},
        {"errcode": 40001},
        {"faultstring": "x"},
        {"status": 400},
        {"statusCode": 500},
        {"status": "nok"},
        {"num_invalid_entries": 1},
        {"UnprocessedItems": {"t": [1]}},
        {"summary": {"failed": 1}},
        {"results": [{"ok": True}, {"ok": False}]},
        {"d": {"results": [{"status": "error"}]}},
        {"responses": [{"status": 404}]},
        {"data": {"save": {"userErrors": [{"message": "x"}]}}},
        # the record is named, not repeated
        {"id": 5, "status": "error"},
        [{"id": 5, "failed": True}],
        # the record is repeated, and something is wrong all the same
        {"email": "a", "id": 5, "errors": ["x"]},
        {"email": "a", "success": False},
    ],
)
def test_an_answer_that_says_that_something_went_wrong_is_seen(body: object) -> None:
    """In the usual places, at the top, one level below, or in a list of entries."""
    assert failure(body, FIELDS)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "error",
        {"ok": True, "errors": []},
        {"errors": None, "error": None},
        {"error": "", "errors": {}},
        {"error": False, "hasErrors": False},
        {"errors": {"email": [], "count": 0}},
        {"errors": [None, [], {}]},
        {"error": "none", "status": "ok"},
        {"failed": 0, "succeeded": 2, "rejected": [], "invalid": 0},
        {"success": True, "data": {"errors": []}},
        {"success": 2, "failed": "0"},
        {"status": "success"},
        {"status": 200},
        {"status": "pending", "state": "queued"},
        {"message": "errors are listed in the console"},
        {"error_rate": 0.5, "errors_url": "https://x"},
        {"errorCode": 0, "errorMessage": ""},
        {"errorCode": "000", "error_message": "Success"},
        {"errno": "SUCCESS", "ok": 1, "success": "1"},
        {"results": [{"status": "ok"}, {"status": 201}], "meta": {"failed": 0}},
        {"data": {"save": {"userErrors": [], "contact": {"email": "a", "status": "failed"}}}},
        {"data": [{"email": "a", "status": "failed"}]},
        {"code": 450},
        # the record repeated: its fields are its own
        {"id": 5, "email": "a", "status": "failed"},
        {"id": 5, "email": "a", "failed": 3},
        {"data": {"email": "a", "status": "error"}},
        [{"success": True}, {"success": True, "errors": []}],
    ],
)
def test_an_answer_that_says_nothing_of_the_kind_raises_no_alarm(body: object) -> None:
    """Empty lists, nulls, zeros, and fields of a record that is repeated."""
    assert failure(body, FIELDS) == ""


@pytest.mark.parametrize(
    "body",
    [
        "ERROR: no such list",
        "\n error 17",
        "Failed to save",
        '<?xml version="1.0"?>\n<error>no</error>',
        "<ErrorResponse><Code>5</Code></ErrorResponse>",
        '<s:Envelope xmlns:s="x"><s:Body><s:Fault>no</s:Fault></s:Body></s:Envelope>',
    ],
)
def test_text_and_xml_that_begin_with_an_error_are_seen(body: str) -> None:
    """What is no JSON speaks in its first word."""
    assert failure_in_text(body.encode())


@pytest.mark.parametrize(
    "body",
    [
        "",
        "OK",
        "ok: no errors",
        "errors: 0",
        "error=none",
        "<errorsFound>0</errorsFound>",
        "1 failed before",
        "\xff\xfe",
    ],
)
def test_text_that_only_has_such_a_word_raises_no_alarm(body: str) -> None:
    """A word further on, or one that is denied, is none."""
    assert failure_in_text(body.encode("latin-1")) == ""


def test_json_lines_are_a_list_of_entries() -> None:
    """An answer of JSON lines is read like an array, and vouches like one; lines that are cut off do not."""
    batch = example_batch([{"id": 1}, {"id": 2}], object_name="c", verb="upsert", match=("id",), template=None)
    kind = {"content-type": "application/x-ndjson; charset=utf-8"}
    plain, items = (Reader(Reading.model_validate(each), "upsert", addressed=False) for each in ({}, ITEMS))
    whole = Response(200, kind, b'{"ok": true}\n{"ok": false, "error": "bad"}\n')
    assert plain.read(batch, whole).common.end == "delivered"
    assert "[…].ok: false" in plain.read(batch, whole).notices[0]
    assert [items.read(batch, whole).of(index).end for index in range(2)] == ["delivered", "rejected"]
    assert plain.read(batch, Response(200, kind, b'{"ok": true}\n{"ok": fa')).common.end == "unknown"
    assert plain.read(batch, Response(200, {"content-type": "application/json"}, whole.body)).common.end == "unknown"


def test_a_field_of_the_records_own_is_no_sign() -> None:
    """Whoever sends a field `error` gets it back."""
    assert failure({"error": "E5"}, ("error",)) == ""
    assert failure({"errors": ["x"]}, ("errors[0]",)) == ""


def answered(body: object, status: int = 200, *, any_body: bool = False, size: int = 2, **declared: Any) -> Outcomes:
    records = [{"email": f"p{n}@example.com"} for n in range(size)]
    batch = example_batch(records, object_name="contacts", verb="upsert", match=("email",), template=None)
    reader = Reader(Reading.model_validate(declared), "upsert", addressed=False, any_body=any_body)
    return reader.read(batch, Response(status, {}, json.dumps(body).encode()))


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("any_body", [False, True])
@pytest.mark.parametrize("declared", [{}, {"identifier": "id"}, {"message": "m", "ends": {"X": "delivered"}}])
def test_a_207_that_nobody_reads_is_no_receipt(size: int, any_body: bool, declared: dict[str, Any]) -> None:
    """It says itself that its body must be read; the records are unknown, and the words that are missing are named."""
    outcomes = answered({"status": "MIXED"}, 207, size=size, any_body=any_body, **declared)
    assert [(outcomes.of(n).end, outcomes.of(n).code) for n in range(size)] == [("unknown", UNREAD)] * size
    assert "207" in outcomes.common.reason
    assert "outcomes" in outcomes.common.reason


@pytest.mark.parametrize(
    ("declared", "body"),
    [
        ({"statuses": {"207": "delivered"}}, {}),
        ({"statuses": {"2xx": "delivered"}}, {}),
        ({"success": {"path": "errors", "empty": True}}, {"errors": []}),
        ({"refused": {"list": "errors", "index": "i"}}, {"errors": []}),
    ],
)
def test_a_207_that_is_read_is_what_it_says(declared: dict[str, Any], body: object) -> None:
    """Words for it, or for the body, decide."""
    outcomes = answered(body, 207, **declared)
    assert (outcomes.common.end, outcomes.notices) == ("delivered", ())


def test_a_202_counts_as_delivered_and_is_told() -> None:
    """Accepted is not done; whoever knows better says so, and a webhook's receipt is what it is for."""
    outcomes = answered({}, 202)
    assert outcomes.common.end == "delivered"
    assert "202" in outcomes.notices[0]
    assert answered({}, 202, statuses={"202": "delivered"}).notices == ()
    assert answered({"ok": True}, 202, success="ok").notices == ()
    assert answered({}, 202, any_body=True).notices == ()


def test_a_receipt_that_says_error_is_told_without_the_vendors_words() -> None:
    """The place is named; what stands there may be a person's."""
    notice = answered({"errors": [{"email": "bob@example.com"}]}).notices
    assert "errors" in notice[0]
    assert "bob" not in notice[0]
    assert answered({"errors": []}).notices == ()
    assert "webhook" in answered({"errors": ["x"]}, any_body=True).notices[0]
    assert answered({"errors": ["x"], "ok": True}, success="ok").notices == ()


@pytest.mark.parametrize(
    "body",
    [
        {"next": "c"},
        {"next": {"link": "/p2"}},
        {"paging": {"next": {"after": "5"}}},
        {"links": {"next": "/p"}},
        {"_links": {"next": {"href": "/p"}}},
        {"@odata.nextLink": "https://x/p"},
        {"nextPageToken": "t"},
        {"nextRecordsUrl": "/q"},
        {"next_page": 2},
        {"response_metadata": {"next_cursor": "x"}},
        {"page_info": {"hasNextPage": True}},
        {"data": {"pageInfo": {"hasNextPage": True}}},
        {"has_more": True},
        {"info": {"more_records": True}},
        {"isLast": False},
        {"total": 21},
        {"meta": {"total_count": 21}},
        {"hits": {"total": {"value": 21}, "hits": []}},
        {"count": 21},
        {"totalPages": 3, "page": 1},
        {"meta": {"current_page": 1, "last_page": 2}},
    ],
)
def test_a_page_that_is_not_the_last_is_seen(body: dict[str, Any]) -> None:
    """By a next page, by a truth, or by a total."""
    assert more_pages(Response(200, {}, json.dumps({"results": [{}] * 10, **body}).encode()), 10)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"next": None, "paging": {}, "links": {"next": None, "prev": "/p"}},
        {"next": "", "next_page": 0, "has_more": False, "isLast": True},
        {"_links": {"next": {"href": None}, "self": {"href": "/p"}}},
        {"total": 10, "count": 10, "hits": {"total": {"value": 3}}},
        {"total_pages": 1, "page": 1},
        {"meta": {"current_page": 3, "last_page": 3}},
        {"response_metadata": {"next_cursor": ""}},
        {"results": [{"next": "step", "total": 500, "has_more": True}]},
    ],
)
def test_the_last_page_is_not_taken_for_another(body: dict[str, Any]) -> None:
    """Nulls, empty texts, totals that are reached, and what single records say."""
    assert not more_pages(Response(200, {}, json.dumps({"results": [{}] * 10, **body}).encode()), 10)


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({"link": '<https://x/p?page=2>; rel="next", <https://x/p?page=9>; rel="last"'}, True),
        ({"link": '<https://x/p?page=1>; rel="prev"'}, False),
        ({"x-next-page": "2"}, True),
        ({"x-next-page": ""}, False),
        ({"x-total-count": "21"}, True),
        ({"x-total-count": "10"}, False),
        ({"content-range": "0-9/21"}, True),
        ({"content-range": "items 0-9/10"}, False),
        ({"content-range": "0-9/*"}, False),
    ],
)
def test_headers_name_pages_too(headers: dict[str, str], more: bool) -> None:
    """RFC 8288, and what many tools say instead."""
    assert bool(more_pages(Response(200, headers, b"[]"), 10)) is more


def test_a_206_is_a_part() -> None:
    """Unless its range says that nothing is missing."""
    assert more_pages(Response(206, {}, b"[]"), 10)
    assert not more_pages(Response(206, {"content-range": "0-9/10"}, b"[]"), 10)
    assert more_pages(Response(200, {}, b'{"timed_out": true, "results": []}'), 0)


def test_how_many_are_asked_for_at_most_is_read_from_the_request() -> None:
    """In the query, in the address, or in the body."""
    assert asked_at_most(Request("GET", "/s", query={"limit": "10", "q": "5"})) == 10
    assert asked_at_most(Request("GET", "/s?per_page=20&q=3")) == 20
    assert asked_at_most(Request("POST", "/s", body=b'{"pageSize": 30, "filters": [5]}')) == 30
    assert asked_at_most(Request("GET", "/s", query={"q": "10"})) is None

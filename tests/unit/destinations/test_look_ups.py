"""A look-up reads to the last page, and what it does not tell is never "there is none"."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from levada.destination import UNREAD_ERROR, Found, Request
from levada.errors import DestinationError
from levada.outcome import LOOK_UP_FAILED, UNREAD
from unit.destinations.test_declared import answer, batch, held, http

ASKED = {"send": "GET /search", "query": {"q": "{email}"}, "list": "results", "match": "email", "to": "{email}"}
PAGED = {"page": 1, "query": "page"}


def looked_up(
    records: list[str], answers: list[Any], *, following: dict[str, Any] | None = None, **more: Any
) -> tuple[Found, list[Request]]:
    look_up = {**ASKED, "identifier": "id", **({"next": following} if following else {}), **more}
    destination = http({"contacts": {"create": "POST /c", "look_up": look_up}})
    asked = batch(destination, "create", [{"email": f"{name}@x.com"} for name in records])
    found: tuple[Found, list[Request]] = held(destination.look_up(asked), *answers)
    return found


def page(*names: str, **more: Any) -> Any:
    return answer({"results": [{"id": f"id-{name}", "email": f"{name}@x.com"} for name in names], **more})


@pytest.mark.parametrize(
    ("following", "first", "second"),
    [
        ({"cursor": "after", "query": "after"}, {"after": "c2"}, ("/search", {"q": "ann@x.com", "after": "c2"})),
        ({"link": "next"}, {"next": "/api/search?p=2"}, ("https://crm.example.com/api/search?p=2", {})),
        (PAGED, {}, ("/search", {"q": "ann@x.com", "page": "2"})),
        ({"offset": 0, "query": "skip"}, {}, ("/search", {"q": "ann@x.com", "skip": "2"})),
    ],
)
def test_a_record_on_a_later_page_is_found(following: Any, first: dict[str, str], second: Any) -> None:
    """However the next page is asked for; no page is asked for after she is found."""
    found, requests = looked_up(["ann"], [page("bob", "eve", **first), page("ann", **first)], following=following)
    assert found == Found({0: "id-ann"})
    assert (requests[1].url, requests[1].query) == second
    assert all(request.safe for request in requests)


def test_a_record_that_no_page_has_is_absent() -> None:
    """The last page is known by having no next one, or by being empty; 404 for a page beyond it is an end, too."""
    for last in (page(total=2), answer({}, 404), page(next="/always")):
        found, requests = looked_up(["ann"], [page("bob", "eve", total=2), last], following=PAGED)
        assert (found, len(requests)) == (Found(), 2)
    cursor = {"cursor": "after", "query": "after"}
    assert looked_up(["ann"], [page("bob", after="2"), page("eve", after=None)], following=cursor)[0] == Found()
    assert looked_up(["ann"], [page(after="2"), page("ann")], following=cursor)[0] == Found({0: "id-ann"})


@pytest.mark.parametrize(
    "more",
    [{"total": 21}, {"paging": {"next": {"link": "/p"}}}, {"has_more": True}, {"next_cursor": "x"}, {"total_pages": 3}],
)
def test_a_page_that_is_not_the_last_proves_no_absence(more: dict[str, Any]) -> None:
    """Without a word for the next one, whoever is not on it is untold; who is on it is found all the same."""
    with pytest.raises(DestinationError, match="not the last") as caught:
        looked_up(["ann"], [page("bob", **more)])
    assert caught.value.code == UNREAD_ERROR
    assert looked_up(["ann"], [page("bob", "ann", **more)])[0] == Found({0: "id-ann"})
    wrong = {"cursor": "no.such.place", "query": "after"}
    with pytest.raises(DestinationError, match="not the last"):
        looked_up(["ann"], [page("bob", **more)], following=wrong)


def test_a_page_as_long_as_was_asked_for_proves_no_absence() -> None:
    """There may be more; a shorter one is the last."""
    with pytest.raises(DestinationError, match="as long as was asked for"):
        looked_up(["ann"], [page("bob", "eve")], query={"q": "{email}", "limit": "2"})
    assert looked_up(["ann"], [page("bob")], query={"q": "{email}", "limit": "2"})[0] == Found()
    with pytest.raises(DestinationError, match="as long as was asked for"):
        looked_up(["ann"], [page("bob")], send="POST /search", query={}, body={"q": "{email}", "page_size": 1})


def test_an_empty_page_that_names_a_next_one_proves_nothing_either() -> None:
    """Some tools filter after they have cut the pages."""
    with pytest.raises(DestinationError, match="not the last"):
        looked_up(["ann"], [page(next_cursor="x")])


@pytest.mark.parametrize("more", [{"error": "the index is down"}, {"ok": False}, {"errors": ["timeout"]}])
def test_an_answer_that_says_that_it_failed_proves_no_absence(more: dict[str, Any]) -> None:
    """Though it is a 2xx with an empty list."""
    with pytest.raises(DestinationError, match="the answer says"):
        looked_up(["ann"], [page(**more)])
    assert looked_up(["ann"], [page(errors=[], ok=True)])[0] == Found()


def test_one_record_that_is_not_told_of_leaves_the_others_what_they_are() -> None:
    """Each question speaks for its own records."""
    answers = [page("ann"), page("x", total=99), page(), answer({"message": "no"}, 400), page("eve")]
    found, _ = looked_up(["ann", "bob", "cid", "dan", "eve"], answers)
    assert found.identifiers == {0: "id-ann", 4: "id-eve"}
    assert {index: (each.end, each.code) for index, each in found.untold.items()} == {
        1: ("not_applied", UNREAD),
        3: ("not_applied", LOOK_UP_FAILED),
    }


def test_a_look_up_of_several_reads_on_until_all_are_found() -> None:
    """And says of each who was found."""
    several = {"records_per_request": 3, "query": {}, "send": "POST /search", "body": {"emails": "{records}"}}
    answers = [page("ann"), page("x", "cid"), page()]
    found, requests = looked_up(["ann", "bob", "cid"], answers, following=PAGED, **several)
    assert found.identifiers == {0: "id-ann", 2: "id-cid"}
    assert not found.untold
    assert json.loads(requests[1].body or b"") == {"emails": ["ann@x.com", "bob@x.com", "cid@x.com"]}


@pytest.mark.parametrize("following", [{"cursor": "next", "query": "after"}, {"link": "next"}])
def test_a_404_to_a_page_that_was_named_proves_nothing(following: dict[str, object]) -> None:
    """A cursor may have expired; only the first answer, or one beyond the last number, says that there is none."""
    with pytest.raises(DestinationError, match="answer 404"):
        looked_up(["ann"], [page("bob", next="/api/b"), answer({"message": "no such page"}, 404)], following=following)
    assert looked_up(["ann"], [answer({}, 404)], following=following)[0] == Found()


def test_of_several_records_found_none_is_taken_by_its_place() -> None:
    """A search for ann may find annette first: without `match` nobody knows which is meant, with it the one is."""
    found = page("annette", "ann")
    with pytest.raises(DestinationError, match="several records were found") as caught:
        looked_up(["ann"], [found], match=None)
    assert caught.value.code == UNREAD_ERROR
    assert looked_up(["ann"], [found])[0] == Found({0: "id-ann"})
    assert looked_up(["ann"], [page("ann")], match=None)[0] == Found({0: "id-ann"})
    assert looked_up(["ann"], [page("ann", "ann")], match=None)[0] == Found({0: "id-ann"})


def test_pages_without_end_are_given_up() -> None:
    """A tool that goes round is no proof of anything, and asking again would not help."""
    endless = [page("bob", next="/a"), page("cid", next="/b")] * 50
    with pytest.raises(DestinationError, match="over 100 pages") as caught:
        looked_up(["ann"], endless, following=PAGED)
    assert caught.value.code == UNREAD_ERROR


@pytest.mark.parametrize(
    "following",
    [{"page": 1, "query": "p"}, {"offset": 0, "query": "from"}, {"cursor": "next", "query": "after"}, PAGED],
)
def test_a_page_that_is_the_one_before_is_asked_for_once(following: dict[str, object]) -> None:
    """A tool that does not know the word of `next` gives its first page for ever: a mistake to mend, told at once."""
    same = [page("bob", "cid", next="/a"), page("bob", "cid", next="/b")]
    with pytest.raises(DestinationError, match="the same as the one before") as caught:
        looked_up(["ann"], same, following=following)
    assert caught.value.code == UNREAD_ERROR
    listed = {"send": "GET /schemas", "list": "all", "name": "id", "next": following}
    destination = http({}, verbs={"upsert": "POST /{object}"}, discover={"objects": listed})
    with pytest.raises(DestinationError, match="the same as the one before"):
        held(destination.objects(), *(answer({"all": [{"id": "deals"}], "next": each}) for each in ("/a", "/b")))


def test_one_object_as_an_answer_is_no_page() -> None:
    """Its own fields may be called total or next."""
    told = answer({"id": "i", "email": "other@x.com", "total": 500, "next": "step"})
    assert looked_up(["ann"], [told], list="")[0] == Found()
    told = answer({"contact": {"id": "i", "email": "other@x.com", "count": 7}})
    assert looked_up(["ann"], [told], list="contact")[0] == Found()


# Discovery.


def test_objects_and_fields_are_discovered_to_the_last_page() -> None:
    """A page that is not the last, without a word for the next one, is an error: nothing is taken for missing."""
    following = {"cursor": "next", "query": "after"}
    listed = {"send": "GET /schemas", "list": "all", "name": "id", "next": following}
    fields = {"send": "GET /{object}/fields", "list": "all", "next": following}
    shared = {"upsert": "POST /{object}"}
    destination = http({}, verbs=shared, discover={"objects": listed, "fields": fields})
    first, last = answer({"all": [{"id": "deals"}], "next": "2"}), answer({"all": [{"id": "leads"}]})
    assert held(destination.objects(), first, last)[0] == ("deals", "leads")
    parts = answer({"all": [{"name": "a"}], "next": "2"}), answer({"all": [{"name": "b"}]})
    spec, requests = held(destination.describe("leads"), first, last, *parts)
    assert [field.name for field in spec.fields] == ["a", "b"]
    assert requests[3].query == {"after": "2"}
    once = http({}, verbs=shared, discover={"objects": {"send": "GET /schemas", "list": "all", "name": "id"}})
    with pytest.raises(DestinationError, match="not the last"):
        held(once.objects(), first)
    assert held(once.objects(), answer({"all": [{"id": "deals"}], "total": 500}))[0] == ("deals",)


# The tool's own ids, where a look-up brings them.


def orders(**verbs: Any) -> Any:
    look_up = {"send": "POST /s", "body": {"refs": "{records}"}, "list": "found", "match": "ref", "identifier": "id"}
    return http(
        {"contacts": {"create": "POST /o", "look_up": {**look_up, "records_per_request": 10}, **verbs}},
        limits={"records_per_request": 10},
    )


ARCHIVE = {
    "send": "POST /a",
    "record": {"id": "{destination_id}", "why": "no {destination_id}!"},
    "body": {"in": "{records}"},
}


@pytest.mark.parametrize("verb", ["archive", "delete"])
def test_a_batch_that_names_ids_in_its_body_is_looked_up_first(verb: str) -> None:
    """No removal counts as done because nobody asked; the ids found stand in the body, beside those known."""
    destination = orders(**{verb: ARCHIVE})
    part = batch(destination, verb, [{"ref": n} for n in "abc"], match=("ref",), identifiers=[None, "2", None])
    outcomes, requests = held(destination.deliver(part), answer({"found": [{"ref": "a", "id": 1}]}), answer())
    assert [request.url for request in requests] == ["/s", "/a"]
    assert json.loads(requests[0].body or b"") == {"refs": ["a", "c"]}
    assert json.loads(requests[1].body or b"") == {"in": [{"id": "1", "why": "no 1!"}, {"id": "2", "why": "no 2!"}]}
    assert [(outcomes.of(n).end, outcomes.effects.of(n)) for n in range(3)] == [
        ("delivered", "gone"),
        ("delivered", "gone"),
        ("delivered", "same"),
    ]


def test_ids_are_put_into_records_without_touching_their_values() -> None:
    """Digits stay as they are, nested and in arrays; a null of the record's own stays null."""
    update = {
        "send": "POST /u",
        "record": {"a": [{"id": "{destination_id}"}], "v": "{fields_all}"},
        "body": {"in": "{records}"},
    }
    destination = orders(update=update)
    record = {"ref": "a", "n": 123456789012345678901234567890, "p": Decimal("1.50"), "x": None, "t": "é\u2028"}
    part = batch(destination, "update", [record], match=("ref",))
    _, requests = held(destination.deliver(part), answer({"found": [{"ref": "a", "id": 1}]}), answer())
    values = '{"ref":"a","n":123456789012345678901234567890,"p":1.50,"x":null,"t":"é\u2028"}'
    assert (requests[1].body or b"").decode() == '{"in":[{"a":[{"id":"1"}],"v":' + values + "}]}"


def test_a_look_up_that_fails_leaves_a_change_unsent() -> None:
    """It is neither called delivered nor refused, and the records whose ids are known are sent."""
    destination = orders(delete="DELETE /o/{destination_id}")
    part = batch(destination, "delete", [{"ref": "a"}, {"ref": "b"}], match=("ref",), identifiers=["1", None])
    outcomes, requests = held(destination.deliver(part), answer({"message": "no"}, 400), answer())
    assert [outcomes.of(n).end for n in range(2)] == ["delivered", "not_applied"]
    assert outcomes.of(1).code == LOOK_UP_FAILED
    assert [request.url for request in requests] == ["/s", "/o/1"]

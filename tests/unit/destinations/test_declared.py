"""The declared connector language: requests, jobs, look-ups, discovery and read-back, held by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from levada.batch import Batch
from levada.destination import Page, Request, Response, Surroundings, Talk
from levada.destinations.declared import DeclaredDestination, classes_of, open_http
from levada.destinations.example import example_batch
from levada.destinations.language import HttpOptions
from levada.errors import ConfigError, DestinationError
from levada.outcome import Outcomes

PEOPLE: list[dict[str, Any]] = [
    {"email": "ada@example.com", "name": "Ada", "address.city": "London"},
    {"email": "b@example.com", "name": None},
]


def http(objects: dict[str, Any], **more: Any) -> DeclaredDestination:
    options = {"base_url": "https://crm.example.com/api", "objects": objects, **more}
    return open_http("crm", HttpOptions.model_validate(options), Surroundings(Path()))


def answer(value: object = None, status: int = 200) -> Response:
    return Response(status, {}, b"" if value is None else json.dumps(value).encode())


def batch(destination: DeclaredDestination, verb: Any, records: Sequence[dict[str, Any]], **more: Any) -> Batch:
    object_name = more.pop("object_name", "contacts")
    match = more.pop("match", ("email",))
    template = destination.template(object_name, verb)
    return example_batch(records, object_name=object_name, verb=verb, match=match, template=template, **more)


def held(talk: Talk[Any], *answers: Response) -> tuple[Any, list[Request]]:
    requests: list[Request] = []
    told = iter(answers)
    try:
        requests.append(next(talk))
        while True:
            requests.append(talk.send(next(told)))
    except StopIteration as stop:
        assert next(told, None) is None, "more answers than requests"
        return stop.value, requests


def request_of(destination: DeclaredDestination, verb: Any, records: Sequence[dict[str, Any]], **more: Any) -> Request:
    return next(destination.deliver(batch(destination, verb, records, **more)))


# Requests.


def test_one_line_for_an_object_sends_the_fields_as_json() -> None:
    """`upsert: POST /contacts` sends one object; an array where several fit into a request."""
    request = request_of(http({"contacts": {"upsert": "POST /contacts"}}), "upsert", PEOPLE[:1])
    assert (request.method, request.url, request.headers) == ("POST", "/contacts", {"Content-Type": "application/json"})
    assert json.loads(request.body or b"") == {"email": "ada@example.com", "name": "Ada", "address": {"city": "London"}}
    several = http({"contacts": {"upsert": "POST /contacts"}}, limits={"records_per_request": 10})
    assert len(json.loads(request_of(several, "upsert", PEOPLE).body or b"")) == 2
    assert len(json.loads(request_of(several, "upsert", PEOPLE[:1]).body or b"")) == 1


def test_an_update_sends_what_changed_and_an_upsert_everything() -> None:
    """A record that may be new needs all its fields; one that is there only those that differ."""
    declared = {"contacts": {"upsert": "POST /contacts", "update": "PATCH /contacts/{email}"}}
    upsert = request_of(http(declared), "upsert", PEOPLE[:1], changed=["name"])
    assert set(json.loads(upsert.body or b"")) == {"email", "name", "address"}
    update = request_of(http(declared), "update", PEOPLE[:1], changed=["name"])
    assert json.loads(update.body or b"") == {"email": "ada@example.com", "name": "Ada"}


def test_a_value_in_the_path_is_encoded_and_makes_one_request_for_each_record() -> None:
    """No value can leave its place in the address; a removal by address has no body."""
    destination = http({"contacts": {"delete": "DELETE /contacts/{email}"}}, limits={"records_per_request": 100})
    assert destination.limits("contacts", "delete").records_per_request == 1
    request = request_of(destination, "delete", [{"email": "a/../b?c=d#e é%"}])
    assert request.url == "/contacts/a%2F..%2Fb%3Fc%3Dd%23e%20%C3%A9%25"
    assert request.body is None


@pytest.mark.parametrize("value", [None, "", ".", ".."])
def test_a_record_without_a_value_for_the_path_is_rejected_before_anything_is_sent(value: object) -> None:
    """`DELETE /contacts/` would not be this record's deletion."""
    destination = http({"contacts": {"delete": "DELETE /contacts/{name}"}})
    outcomes, requests = held(destination.deliver(batch(destination, "delete", [{"email": "a", "name": value}])))
    assert not requests
    assert outcomes.of(0).end == "rejected"
    assert "{name}" in outcomes.of(0).reason


@pytest.mark.parametrize("value", ["a\nX-Admin: yes", "a\r\n\r\nGET / HTTP/1.1", "a\0", "\x7f"])
def test_a_record_whose_value_no_header_can_hold_is_rejected_by_itself(value: str) -> None:
    """It would begin a header, or a request, of its own; the others of the batch go out."""
    upsert = {"send": "POST /contacts", "headers": {"X-Name": "{name}"}}
    destination = http({"contacts": {"upsert": upsert}})
    outcomes, requests = held(destination.deliver(batch(destination, "upsert", [{"email": "a", "name": value}])))
    assert not requests
    assert outcomes.of(0).end == "rejected"
    assert "X-Name" in outcomes.of(0).reason
    assert request_of(destination, "upsert", [{"email": "a", "name": "a\tb é"}]).headers["X-Name"] == "a\tb é"


def test_query_and_headers_take_values_and_constants() -> None:
    """Constants of the object go before those of the connector; values are sent as they are, encoded later."""
    destination = http(
        {
            "contacts": {
                "constants": {"path": "people"},
                "upsert": {
                    "send": "PUT /{path}/{version}",
                    "query": {"by": "{key_field}", "q": "{email}"},
                    "headers": {"X-Record": "{operation}"},
                },
            }
        },
        constants={"path": "contacts", "version": 3},
        headers={"Accept": "application/json"},
    )
    request = request_of(destination, "upsert", PEOPLE[:1])
    assert request.url == "/people/3"
    assert request.query == {"by": "email", "q": "ada@example.com"}
    assert request.headers["X-Record"] == "0" * 32
    assert request.headers["Accept"] == "application/json"


def test_records_are_joined_into_the_body_where_it_says() -> None:
    """The body around the records is the connector's, deep or flat, with what holds for the whole batch."""
    upsert = {
        "send": "POST /batch",
        "record": {"id": "{key}", "properties": "{fields}"},
        "body": {
            "meta": {"verb": "{verb}", "kind": "{kind}", "key": "{idempotency_key}", "n": 1.5},
            "a": [{"inputs": "{records}"}],
        },
    }
    destination = http({"contacts": {"upsert": upsert}}, limits={"records_per_request": 10})
    body = json.loads(request_of(destination, "upsert", PEOPLE).body or b"")
    assert body["meta"] == {"verb": "upsert", "kind": "added", "key": "example", "n": 1.5}
    assert [each["id"] for each in body["a"][0]["inputs"]] == ["ada@example.com", "b@example.com"]


def test_a_body_that_names_fields_is_a_record_by_itself() -> None:
    """`body: {mail: "{email}"}` needs no record template; its request holds one record."""
    destination = http(
        {"contacts": {"upsert": {"send": "POST /x", "body": {"mail": "{email}"}}}}, limits={"records_per_request": 9}
    )
    assert destination.limits("contacts", "upsert").records_per_request == 1
    assert json.loads(request_of(destination, "upsert", PEOPLE[:1]).body or b"") == {"mail": "ada@example.com"}


def test_bodies_can_be_forms_lines_and_csv() -> None:
    """Numbers keep their digits, nested members their names; NULL is empty."""
    big = [{"email": 'a,"b"', "n": 2**70, "t": True, "address.city": None}]

    def body(encoding: str, **more: Any) -> tuple[bytes, str]:
        upsert = {"send": "POST /x", "encoding": encoding, **more}
        destination = http({"contacts": {"upsert": upsert}})
        request = request_of(destination, "upsert", big)
        return request.body or b"", request.headers["Content-Type"]

    assert body("form") == (
        b"email=a%2C%22b%22&n=1180591620717411303424&t=true&address%5Bcity%5D=",
        "application/x-www-form-urlencoded",
    )
    assert body("csv")[0] == b'email,n,t,address.city\n"a,""b""",1180591620717411303424,true,\n'
    lines, kind = body("json_lines")
    assert (json.loads(lines)["n"], lines[-1:], kind) == (2**70, b"\n", "application/x-ndjson")


def test_an_idempotency_key_stays_over_attempts() -> None:
    """A record that travels alone has its operation's id, a batch its own key."""
    create = {"send": "POST /x", "idempotency_header": "Idempotency-Key"}
    destination = http({"contacts": {"create": create}}, limits={"records_per_request": 2})
    assert request_of(destination, "create", PEOPLE).headers["Idempotency-Key"] == "example"
    assert request_of(destination, "create", PEOPLE[:1]).headers["Idempotency-Key"] == "0" * 32
    assert destination.spec.delivery_class("contacts", "create") == "B"


def test_a_record_is_found_by_its_last_confirmed_value() -> None:
    """A match field that changed: the address has the old value, the body the new."""
    destination = http({"contacts": {"update": "PATCH /contacts/{match.email}"}})
    request = request_of(destination, "update", [{"email": "new"}], before=[{"email": "old"}])
    assert request.url == "/contacts/old"
    assert json.loads(request.body or b"") == {"email": "new"}


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ({"send": "POST /x/{emial}"}, "did you mean {email}"),
        ({"send": "POST /x/{fields}"}, "cannot stand"),
        ({"send": "POST /x/{email}", "records_per_request": 5}, "holds one record"),
        ({"send": "POST /x", "body": {"a": "{records}", "b": "{email}"}}, "beside the records"),
        ({"send": "POST /x", "body": {"a": "x {records}"}}, "inside a longer text"),
        ({"send": "POST /x", "body": {"a": "{records}"}, "encoding": "csv"}, "the records alone"),
        ({"send": "POST /x", "body": {"a": "{email}"}, "record": "{fields}"}, "put {record}"),
        ({"send": "POST /x", "record": {"a": "{nothing}"}}, "unknown placeholder"),
    ],
)
def test_what_cannot_be_together_is_refused_when_the_file_is_read(action: dict[str, Any], words: str) -> None:
    """Every verb is made ready when the destination is opened; the error names the object and the verb."""
    with pytest.raises(ConfigError) as error:
        http({"contacts": {"fields": {"email": "text"}, "upsert": action}})
    assert words in str(error.value)
    assert "contacts.upsert" in str(error.value)


@pytest.mark.parametrize(
    "declared",
    [
        {"objects": {}},
        {"objects": {"c": {}}},
        {"objects": {"c": {"upsert": "FETCH /x"}}},
        {"objects": {"c": {"upsert": "POST x"}}},
        {"objects": {"c": {"upsert": "POST /x", "if": "y"}}},
        {"objects": {"c": {"upsert": "POST /x"}}, "auth": {"bearer": "x", "query": {"a": "b"}}},
        {"objects": {"c": {"upsert": {"send": "POST /x", "outcomes": {"refused": {"list": "e"}}}}}},
        {"objects": {"c": {"upsert": {"send": "POST /x", "outcomes": {"items": {"ok": {"path": "a"}}}}}}},
        {
            "objects": {
                "c": {"upsert": "POST /x", "look_up": {"send": "POST /s", "identifier": "id", "records_per_request": 5}}
            }
        },
    ],
)
def test_the_vocabulary_is_closed(declared: dict[str, Any]) -> None:
    """An unknown word, an unknown method, two auths, a list that names nobody: none is accepted."""
    with pytest.raises(ValidationError):
        HttpOptions.model_validate({"base_url": "https://x", **declared})


# Classes.


def test_the_class_follows_from_what_a_verb_means_unless_declared() -> None:
    """Verbs that name their record may be repeated; a create needs a key or a look-up, else nothing is known."""

    def classes(**contacts: Any) -> dict[Any, Any]:
        more = contacts.pop("more", {})
        options = HttpOptions.model_validate({"base_url": "https://x", "objects": {"c": contacts}, **more})
        return classes_of(options, "c")

    assert classes(upsert="POST /x", delete="DELETE /x/{id}") == {"upsert": "A", "delete": "A"}
    assert classes(create="POST /x") == {"create": "D"}
    assert classes(create="POST /x", look_up={"send": "GET /x", "identifier": "id"}) == {"create": "C"}
    assert classes(create="POST /x", append="POST /y", more={"class": {"create": "A"}}) == {
        "create": "A",
        "append": "D",
    }
    keyed = {"send": "POST /x", "idempotency_header": "Key", "class": "D"}
    assert classes(create=keyed, upsert="POST /x", more={"class": "A"}) == {"create": "D", "upsert": "A"}


def test_each_object_has_its_own_class_for_a_verb() -> None:
    """A keyed create beside one that is looked up beside a bare one: none weakens the others, nor those discovered."""
    search = {"send": "GET /search", "identifier": "id"}
    destination = http(
        {
            "keyed": {"create": {"send": "POST /k", "idempotency_header": "Idempotency-Key"}},
            "found": {"create": "POST /f", "look_up": search},
            "bare": {"create": "POST /b"},
            "shared": {"fields": {"id": "text"}},
            "shared_found": {"look_up": search},
        },
        verbs={"create": "POST /{object}"},
        discover={"objects": {"send": "GET /objects", "name": "name"}},
    )
    names = ("keyed", "found", "bare", "shared", "shared_found", "discovered")
    classes = {name: destination.spec.delivery_class(name, "create") for name in names}
    assert classes == {
        "keyed": "B",
        "found": "C",
        "bare": "D",
        "shared": "D",
        "shared_found": "C",
        "discovered": "D",
    }


# Look-ups.


ORDERS = {
    "orders": {
        "match": "ref",
        "create": {"send": "POST /orders", "records_per_request": 1},
        "update": "PATCH /orders/{destination_id}",
        "delete": "DELETE /orders/{destination_id}",
        "look_up": {
            "send": "POST /orders/search",
            "record": "{key}",
            "body": {"refs": "{records}"},
            "list": "found",
            "match": "ref",
            "identifier": "id",
            "records_per_request": 2,
        },
    }
}


def orders(destination: DeclaredDestination, verb: Any, *refs: str, **more: Any) -> Batch:
    return batch(destination, verb, [{"ref": ref} for ref in refs], object_name="orders", match=("ref",), **more)


@pytest.mark.parametrize("words", [{"to": "{before.ref}"}, {"record": "{before}"}, {"body": {"q": "{before.ref}"}}])
def test_a_look_up_asks_of_a_record_as_it_is_now(words: dict[str, Any]) -> None:
    """The values last confirmed are not known to it: a file that names them is refused."""
    look_up = {"send": "POST /search", "identifier": "id", **words}
    with pytest.raises(ConfigError, match="before"):
        http({"orders": {"create": "POST /orders", "look_up": look_up}}).checked()


def test_a_look_up_says_who_is_there() -> None:
    """In as many requests as it needs, all of them safe; who is not in the answers is absent."""
    destination = http(ORDERS)
    found, requests = held(
        destination.look_up(orders(destination, "create", "a", "b", "c")),
        answer({"found": [{"ref": "b", "id": 7}]}),
        answer({"found": []}),
    )
    assert found.identifiers == {1: "7"}
    assert [json.loads(request.body or b"") for request in requests] == [{"refs": ["a", "b"]}, {"refs": ["c"]}]
    assert all(request.safe for request in requests)


@pytest.mark.parametrize(
    "told",
    [
        answer({}, 400),
        answer({"nothing": []}),
        answer(),
        Response(200, {}, b"<html>"),
        answer({"found": [{"ref": "a"}]}),
    ],
)
def test_a_look_up_that_does_not_tell_is_an_error_and_never_absent(told: Response) -> None:
    """E6: a failed look-up is unknown."""
    destination = http(ORDERS)
    with pytest.raises(DestinationError):
        held(destination.look_up(orders(destination, "create", "a")), told)


def test_an_update_by_id_looks_the_id_up_where_it_is_not_known() -> None:
    """Known ids are used, unknown ones looked for, absent records suppressed."""
    destination = http(ORDERS)
    known = orders(destination, "update", "a", identifiers=["1"])
    assert held(destination.deliver(known), answer())[1][0].url == "/orders/1"
    outcomes, requests = held(
        destination.deliver(orders(destination, "update", "a")), answer({"found": [{"ref": "a", "id": 5}]}), answer()
    )
    assert [request.url for request in requests] == ["/orders/search", "/orders/5"]
    assert outcomes.of(0).end == "delivered"
    outcomes, requests = held(destination.deliver(orders(destination, "update", "a")), answer({"found": []}))
    assert outcomes.of(0).end == "suppressed"
    outcomes, requests = held(destination.deliver(orders(destination, "delete", "a")), answer({"found": []}))
    assert outcomes.of(0).end == "delivered"


def test_records_without_an_id_are_rejected_where_nothing_looks_it_up() -> None:
    """In a batch only they are; the others are sent."""
    archive = {"send": "POST /archive", "record": {"id": "{destination_id}"}, "body": {"inputs": "{records}"}}
    create = {"send": "POST /x", "records_per_request": 1, "outcomes": {"identifier": "id"}}
    destination = http({"contacts": {"create": create, "archive": archive}}, limits={"records_per_request": 10})
    records = [{"email": name} for name in "abcd"]
    part = batch(destination, "archive", records, identifiers=["1", None, "3", "4"])
    outcomes, requests = held(destination.deliver(part), answer(), answer())
    assert [outcomes.of(n).end for n in range(4)] == ["delivered", "rejected", "delivered", "delivered"]
    assert [json.loads(request.body or b"") for request in requests] == [
        {"inputs": [{"id": "1"}]},
        {"inputs": [{"id": "3"}, {"id": "4"}]},
    ]


# Jobs.

JOB = {
    "contacts": {
        "upsert": {
            "send": "POST /jobs",
            "records_per_request": 10,
            "outcomes": {"refused": {"list": "rejects", "index": "row"}},
            "job": {
                "id": "job.id",
                "status": "GET /jobs/{job}",
                "until": {"path": "state", "done": ["done"], "failed": ["failed"]},
                "every_seconds": 7,
                "polls_max": 3,
            },
        }
    }
}


def job(*answers: Response) -> tuple[Outcomes, list[Request]]:
    destination = http(JOB)
    found: tuple[Outcomes, list[Request]] = held(destination.deliver(batch(destination, "upsert", PEOPLE)), *answers)
    return found


def test_a_job_is_polled_until_it_has_ended_and_its_state_is_read() -> None:
    """Each poll waits first, is safe, and names the job, encoded."""
    running, done = answer({"state": "running"}), answer({"state": "done", "rejects": [{"row": 1, "message": "no"}]})
    outcomes, requests = job(answer({"job": {"id": "a/1"}}, 202), running, done)
    assert [outcomes.of(n).end for n in range(2)] == ["delivered", "rejected"]
    assert requests[1].url == "/jobs/a%2F1"
    assert (requests[1].safe, requests[1].after_seconds, requests[0].safe) == (True, 7, False)


def test_a_job_that_does_not_end_is_unknown() -> None:
    """So is one without a name, one that cannot be asked, and one whose answer cannot be read."""
    accepted, running = answer({"job": {"id": 1}}, 202), answer({"state": "running"})
    assert "still running" in job(accepted, running, running, running)[0].of(0).reason
    for told in (
        [answer({}, 202)],
        [accepted, answer({}, 404)],
        [accepted, Response(200, {}, b"<")],
        [accepted, answer({"state": "done"})],
    ):
        assert {job(*told)[0].of(n).end for n in range(2)} == {"unknown"}


def test_a_failed_job_refuses_the_batch_and_a_refused_one_is_read_by_its_status() -> None:
    """Neither names a record: delivery halves."""
    failed = job(answer({"job": {"id": 1}}, 202), answer({"state": "failed", "message": "bad file"}))[0]
    assert (failed.attributed, failed.of(0).reason) == (False, "bad file")
    assert job(answer({"message": "no"}, 400))[0].attributed is False


# What there is.


def test_fields_are_discovered_and_declared_ones_go_before() -> None:
    """Types in our words, truths read straight or turned round, choices as a list."""
    destination = http(
        {"contacts": {"upsert": "POST /x", "fields": {"email": {"type": "text", "required": True}}}},
        discover={
            "fields": {
                "send": "GET /{object}/fields",
                "list": "results",
                "type": "type",
                "types": {"string": "text", "number": "decimal"},
                "unique": "unique",
                "writable": "!meta.readOnly",
                "choices": "options",
                "choice": "value",
            }
        },
    )
    told = {
        "results": [
            {"name": "email", "type": "string", "unique": True},
            {"name": "score", "type": "number", "meta": {"readOnly": True}},
            {"name": "tier", "type": "enum", "options": [{"value": "gold"}, {"value": "tin"}]},
        ]
    }
    spec, requests = held(destination.describe("contacts"), answer(told))
    assert requests[0].url == "/contacts/fields"
    assert [(f.name, f.type, f.required, f.writable, f.limits.choices) for f in spec.fields] == [
        ("email", "text", True, True, None),
        ("score", "decimal", False, False, None),
        ("tier", "any", False, True, ("gold", "tin")),
    ]
    assert not spec.open
    with pytest.raises(DestinationError):
        held(destination.describe("contacts"), answer({"message": "no"}, 404))


def test_an_unknown_object_names_the_nearest() -> None:
    """Objects are those declared and those discovered, which have the connector's own verbs."""
    with pytest.raises(ConfigError, match="did you mean contacts"):
        held(http({"contacts": {"upsert": "POST /x"}}).describe("contact"))
    destination = http(
        {},
        verbs={"upsert": "POST /{object}"},
        discover={"objects": {"send": "GET /schemas", "list": "all", "name": "id"}},
    )
    told = answer({"all": [{"id": "deals"}]})
    assert held(destination.describe("deals"), told)[0].verbs == ("upsert",)
    assert held(destination.objects(), told)[0] == ("deals",)
    with pytest.raises(ConfigError):
        held(destination.describe("dials"), told)


@pytest.mark.parametrize(
    ("following", "first", "told", "after", "second"),
    [
        ({"cursor": "next", "query": "after"}, {}, {"next": "c1"}, "c1", {"after": "c1"}),
        ({"page": 1, "query": "page"}, {"page": "1"}, {}, "2", {"page": "2"}),
        ({"offset": 0, "query": "skip"}, {"skip": "0"}, {}, "1", {"skip": "1"}),
    ],
)
def test_records_are_read_back_page_by_page(
    following: dict[str, Any], first: dict[str, str], told: dict[str, Any], after: str, second: dict[str, str]
) -> None:
    """Each page says what to go on with; an empty one, or none to go on with, is the last."""
    read = {"send": "GET /contacts", "list": "all", "fields": "properties", "identifier": "id", "next": following}
    destination = http({"contacts": {"upsert": "POST /x", "read": read}})
    record = {"id": 5, "properties": {"email": "a", "address": {"city": None}}}
    page, requests = held(
        destination.read("contacts", ["email", "address.city", "x"]), answer({"all": [record], **told})
    )
    assert page == Page(({"email": "a", "address.city": None},), ("5",), after)
    assert requests[0].query == first
    last, requests = held(destination.read("contacts", ["email"], after), answer({"all": []}))
    assert (last.next, requests[0].query) == (None, second)


def test_a_link_to_the_next_page_never_leaves_the_host() -> None:
    """A tool, or who speaks in its name, cannot have the credential sent elsewhere."""
    read = {"send": "GET /contacts", "list": "all", "next": {"link": "next"}}
    destination = http({"contacts": {"upsert": "POST /x", "read": read}})
    page, _ = held(
        destination.read("contacts", ["a"]), answer({"all": [{}], "next": "https://evil.example.net/api/contacts?p=2"})
    )
    assert page.next == "https://crm.example.com/api/contacts?p=2"
    with pytest.raises(DestinationError, match="the page itself"):
        held(destination.read("contacts", ["a"], page.next), answer({"all": [{}], "next": page.next}))


@pytest.mark.parametrize("verb", ["delete", "archive", "remove"])
@pytest.mark.parametrize(
    ("declared", "names"),
    [
        ({"send": "DELETE /contacts", "body": "none"}, False),
        ({"send": "POST /gone", "body": {"why": "left"}}, False),
        ({"send": "POST /gone", "record": {"sync": "{sync}", "op": "{operation}"}}, False),
        ({"send": "POST /{object}/gone", "record": {"why": "left"}, "body": {"all": "{records}"}}, False),
        ({"send": "DELETE /contacts"}, True),
        ({"send": "DELETE /contacts", "query": {"id": "{key}"}, "body": "none"}, True),
        ({"send": "POST /gone", "record": "{match.email}", "body": {"emails": "{records}"}}, True),
        ({"send": "POST /gone", "record": {"old": "{before.email}"}}, True),
    ],
)
def test_a_removal_says_which_record_it_is_for(verb: str, declared: dict[str, Any], *, names: bool) -> None:
    """`DELETE /contacts` without a body would be for all of them, and is refused when the file is read."""
    verbs = {verb: declared, "add" if verb == "remove" else "upsert": "POST /contacts"}
    if names:
        assert http({"contacts": verbs})
        return
    with pytest.raises(ConfigError, match=f"contacts.{verb}: a request for {verb} does not say which record"):
        http({"contacts": verbs})


def test_a_check_proves_the_credential() -> None:
    """A declared request must be answered with 2xx; without one there is nothing to ask."""
    destination = http({"contacts": {"upsert": "POST /x"}}, check="GET /me")
    assert held(destination.check(), answer())[1][0].safe
    with pytest.raises(DestinationError, match="answered with 404"):
        held(destination.check(), answer({}, 404))
    assert held(http({"contacts": {"upsert": "POST /x"}}).check())[1] == []


def test_a_truth_about_a_field_may_be_one_of_several_values() -> None:
    """A place that says of which kind a field is, read by the words for answers; what is absent is not told."""
    destination = http(
        {"contacts": {"upsert": "POST /x"}},
        discover={
            "fields": {
                "send": "GET /fields",
                "writable": {"path": "category", "one_of": ["normal", "transactional"]},
                "required": {"path": "rules", "equals": "mandatory"},
                "unique": "unique",
            }
        },
    )
    told = [
        {"name": "email", "category": "normal", "rules": "mandatory", "unique": True},
        {"name": "clicks", "category": "calculated", "unique": "yes"},
        {"name": "plain"},
    ]
    spec, _ = held(destination.describe("contacts"), answer(told))
    assert [(each.name, each.writable, each.required, each.unique) for each in spec.fields] == [
        ("email", True, True, True),
        ("clicks", False, False, False),
        ("plain", True, False, False),
    ]


def test_discovered_objects_may_have_fields_of_their_own() -> None:
    """Lists take members by e-mail, whatever fields the contacts have; only these are asked for."""
    destination = http(
        {"contacts": {"match": "EMAIL", "upsert": "POST /contacts"}},
        verbs={"add": "POST /lists/{object}/add", "remove": "POST /lists/{object}/remove"},
        discover={
            "objects": {"send": "GET /lists", "name": "id", "match": "email", "fields": {"email": "text"}},
            "fields": {"send": "GET /attributes"},
        },
    ).checked()

    lists, attributes = answer([{"id": 53}]), answer([{"name": "EMAIL"}, {"name": "CITY"}])
    spec, requests = held(destination.describe("53"), lists)
    assert [request.url for request in requests] == ["/lists"]
    assert (spec.match, [each.name for each in spec.fields], spec.open) == (("email",), ["email"], False)
    assert spec.verbs == ("add", "remove")
    contacts, requests = held(destination.describe("contacts"), attributes)
    assert [request.url for request in requests] == ["/attributes"]
    assert [each.name for each in contacts.fields] == ["EMAIL", "CITY"]
    wrong = {"send": "POST /lists/add", "record": {"e": "{mail}"}}
    with pytest.raises(ConfigError, match="mail"):
        http(
            {"contacts": {"upsert": "POST /contacts"}},
            verbs={"add": wrong},
            discover={"objects": {"send": "GET /lists", "fields": {"email": "text"}}},
        ).checked()

"""What a sync can never send is refused at its place in the files; what it sends is shown beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada.errors import ConfigError, ConfigErrors
from levada.runner.check import check
from levada.runner.project import Project
from levada.runner.resolve import resolve
from levada.runner.sending import sendings
from servers.answering import answering, http_project

ROWS = "id,email,name,city\n1,a@x.com,Ann,Oslo\n2,b@x.com,Bob,Rome\n"
ASKED = 'look_up: {send: GET /t, query: {c: "{city}"}, identifier: id}'
FOUND = """look_up: {send: GET /t, query: {e: "{email}"}, identifier: id},
  create: {send: POST /t, record: {n: "{name}"}}, update: "PATCH /t/{destination_id}\""""
BY_EMAIL = "match: {email: email}\nfields: {name: name}"
UNREAD = "{send: POST /t, outcomes: {created: {status: 201}}}"
UNNAMED = "fields: {name: name, city: city}"
FIELDS = "match: {id: id}\nfields:\n  name: name\n  city: city"


def refused(folder: Path, destination: str, sync: str, rows: str = ROWS) -> ConfigError:
    """The error of the project; `check` finds the same, with the same place."""
    http_project(folder, destination, rows, sync)
    with Project.open(folder) as project, pytest.raises(ConfigError) as caught:
        resolve(project.world, "s")
    with Project.open(folder) as project:
        report = check(project.world, ["s"])
    assert report.exit_code == 2
    assert any(found.code == caught.value.code and found.where == str(caught.value.where) for found in report.findings)
    assert caught.value.hint
    return caught.value


def taken(folder: Path, destination: str, sync: str, rows: str = ROWS) -> list[str]:
    http_project(folder, destination, rows, sync)
    with Project.open(folder) as project:
        return [str(each) for each in sendings(resolve(project.world, "s"))]


@pytest.mark.parametrize(
    ("things", "mode"),
    [
        ('upsert: {send: "PUT /things/{id}", record: {name: "{name}"}}', "upsert"),
        ('upsert: {send: POST /things, record: {name: "{fields.name}", id: "{key}"}}', "mirror_archive"),
        ('upsert: {send: "PUT /things/{id}?name={name}", body: none}', "upsert"),
        ('upsert: {send: "POST /t", query: {name: "{name}"}, body: {on: true, i: "{id}"}}', "upsert"),
        ('upsert: {send: POST /t, encoding: csv, record: {i: "{id}", name: "{name}"}}', "upsert"),
        ('upsert: {send: POST /t, encoding: form, record: {i: "{id}", name: ["{name}"]}}', "upsert"),
        ('upsert: {send: POST /t, record: {i: "{id}", n: "{name}"}, body: {all: "{records}"}}', "upsert"),
        ('upsert: {send: POST /t, record: {i: "{id}", n: "{name}", old: "{before.city}"}}', "upsert"),
        ('create: {send: POST /t, record: {i: "{id}", n: "{name}"}}', "insert"),
        ('create: POST /t, update: {send: "PATCH /t/{id}", record: {n: "{name}"}}', "upsert"),
        ('update: {send: "PATCH /t/{id}", record: {n: "{name}"}}', "update"),
        ('append: {send: POST /t, record: {i: "{id}", n: "{name}"}}', "append"),
        ('add: {send: POST /t, record: {i: "{id}", n: "{name}"}}, remove: "DELETE /t/{id}"', "upsert"),
        (f'{ASKED}, upsert: {{send: POST /t, record: {{i: "{{id}}", n: "{{name}}"}}}}', "upsert"),
        ('upsert: POST /t, update: {send: "PATCH /t/{id}", record: {n: "{name}"}}', "upsert\nremoved: clear"),
    ],
)  # fmt: skip
def test_a_mapped_field_that_no_request_holds_is_refused_at_its_place(tmp_path: Path, things: str, mode: str) -> None:
    """Whatever verb, encoding or form of body: it would count as delivered and never arrive."""
    if mode == "mirror_archive":
        things, mode = things + ', archive: "POST /t/{id}/archive"', "mirror\nremoved: archive"
    error = refused(tmp_path, f"objects: {{things: {{{things}}}}}", f"{FIELDS}\nmode: {mode}")
    assert (error.code, error.where and (error.where.file, error.where.line)) == (
        "config.field_never_sent",
        ("syncs/s.yml", 6),
    )
    assert "city" in error.message
    assert "name" not in error.message.replace("{name}", "")


@pytest.mark.parametrize(
    ("things", "sync"),
    [
        ('upsert: "PUT /things/{id}"', FIELDS),
        ('upsert: {send: "POST /things", record: {id: "{key}", p: "{fields}"}}', FIELDS),
        ('upsert: {send: "PUT /t/{city}", record: {n: "{name}"}}', FIELDS),
        ('upsert: {send: "PUT /t/{id}", headers: {X-City: "{city}"}, record: {n: "Hi {name}"}}', FIELDS),
        ('upsert: {send: POST /t, body: {i: "{id}", l: [{n: "{name}"}, "in {fields.city}"]}}', FIELDS),
        ('create: {send: POST /t, record: {n: "{name}", c: "{city}"}}, update: "PATCH /t/{id}"', FIELDS),
        # the match field is asked for, and the tool's own id finds the record
        (FOUND, BY_EMAIL),
        # a field that only a create holds is right where nothing is ever changed
        ('create: POST /t, update: {send: "PATCH /t/{id}", record: {n: "{name}"}}', f"{FIELDS}\nmode: insert"),
        # the key stands in `match` by itself, and no request has to hold it
        ('create: {send: POST /t, record: {n: "{name}", c: "{city}"}}', f"{UNNAMED}\nmode: insert"),
        ('append: {send: POST /t, record: {n: "{name}", c: "{city}"}}', f"{UNNAMED}\nmode: append"),
        ('upsert: {send: POST /t, record: {i: "{id}", a: {c: "{a.city}"}}}', "match: {id: id}\nfields: {a.city: city}"),
        ('upsert: {send: "PUT /t/{match.email}"}', "match: {email: email}\nfields: {name: name}"),
    ],
)  # fmt: skip
def test_a_mapping_that_the_requests_hold_is_taken(tmp_path: Path, things: str, sync: str) -> None:
    """Held by the address, a header, the record, a group of fields; once is enough."""
    assert taken(tmp_path, f"objects: {{things: {{{things}}}}}", sync)


def test_a_match_field_whose_new_value_no_request_holds_is_refused(tmp_path: Path) -> None:
    """An e-mail that changes would be called delivered under the old one for ever; the model's key cannot change."""
    things = 'objects: {things: {upsert: {send: "PUT /t/{key}", record: {n: "{name}"}}}}'
    error = refused(tmp_path, things, "match: {email: email}\nfields: {name: name}")
    assert error.code == "config.field_never_sent"
    assert "email" in error.message
    assert taken(tmp_path, things, "match: {id: id}\nfields: {name: name}")


@pytest.mark.parametrize("verb", ["upsert", "update"])
def test_a_match_field_that_no_request_holds_is_refused_unless_it_is_the_key(tmp_path: Path, verb: str) -> None:
    """Who writes `match: {email: email}` says that the tool finds the record by it, and the tool never sees it."""
    things = f'objects: {{things: {{{verb}: {{send: POST /t, record: {{n: "{{name}}"}}}}}}}}'
    error = refused(tmp_path, things, f"match: {{email: email}}\nfields: {{name: name}}\nmode: {verb}")
    assert (error.code, error.where and error.where.line) == ("config.field_never_sent", 3)
    assert "email" in error.message
    assert error.hint
    assert error.hint.endswith("leave it out of `match`")
    assert taken(tmp_path, things, f"match: {{id: id}}\nfields: {{name: name}}\nmode: {verb}")


def test_all_fields_that_are_lost_are_named_at_once(tmp_path: Path) -> None:
    """Whoever mends the file wants to mend it once; `fields: all` maps what the record leaves out, too."""
    things = 'objects: {things: {upsert: {send: "PUT /t/{id}", record: {n: "{name}"}}}}'
    error = refused(tmp_path, things, "fields: all")
    assert "email, city" in error.message


@pytest.mark.parametrize("word", ["kind", "object", "verb", "sync", "operation", "destination_id", "before", "match",
                                  "fields", "fields_all", "key", "key_field"])  # fmt: skip
def test_a_field_named_like_a_word_of_ours_is_refused_where_the_word_is_written(tmp_path: Path, word: str) -> None:
    """The word would be sent in its place; the hint says how each of the two is written."""
    rows = f"id,{word}\n1,vip\n"
    sync = f"match: {{id: id}}\nfields: {{{word}: {word}}}"
    look_up = 'look_up: {send: GET /t, query: {q: "{id}"}, identifier: id}, ' if word == "destination_id" else ""
    record = f'{{w: "{{{word}}}", a: "{{fields_all}}"}}'
    things = f'objects: {{things: {{{look_up}upsert: {{send: "PUT /t/{{id}}", record: {record}}}}}}}'
    error = refused(tmp_path, things, sync, rows)
    assert error.code == "config.reserved_placeholder"
    assert error.where is not None
    assert (error.where.file, error.where.line) == ("syncs/s.yml", 4)
    assert f"{{fields.{word}}}" in (error.hint or "")
    meant = things.replace(f'"{{{word}}}"', f'"{{levada.{word}}}"')
    assert taken(tmp_path, meant, sync, rows) == taken(tmp_path, meant, sync, rows)
    assert taken(tmp_path, things.replace(f'"{{{word}}}"', f'"{{fields.{word}}}"'), sync, rows)


@pytest.mark.parametrize(
    "things",
    [
        'objects: {things: {upsert: "PUT /t/{kind}"}}',
        'objects: {things: {upsert: {send: POST /t, query: {k: "{kind}"}}}}',
        'objects: {things: {upsert: {send: POST /t, headers: {K: "is {kind}"}}}}',
        'headers: {K: "{kind}"}\nobjects: {things: {upsert: POST /t}}',
        'objects: {things: {upsert: POST /t, look_up: {send: "GET /t/{kind}", identifier: id}}}',
        'objects: {things: {upsert: POST /t, delete: "DELETE /t/{kind}"}}',
        'constants: {kind: a}\nobjects: {things: {upsert: "PUT /t/{kind}"}}',
        'objects: {things: {constants: {kind: a}, upsert: "PUT /t/{kind}"}}',
        'objects: {things: {upsert: {send: POST /t, outcomes: {refused: {list: a, match: b, to: "{kind}"}}}}}',
        'objects: {things: {fields: {kind: text, id: integer}, upsert: "PUT /t/{kind}"}}',
    ],
)
def test_such_a_word_is_found_wherever_it_stands(tmp_path: Path, things: str) -> None:
    """Path, query, headers, look-up, removal, answer, constants, and in the file's own list of fields."""
    error = refused(tmp_path, things, "mode: mirror\nremoved: delete" if "delete" in things else "", "id,kind\n1,a\n")
    assert error.code == "config.reserved_placeholder"


def test_a_word_that_no_request_writes_is_a_name_like_any_other(tmp_path: Path) -> None:
    """`kind` is a good name for a field: the default record holds it as such."""
    rows = "id,kind,object,records\n1,a,b,c\n"
    sent = "added → upsert PUT /t/{id}, class A; sends id, kind, object, records"
    assert sent in taken(tmp_path, 'objects: {things: {upsert: "PUT /t/{id}"}}', "", rows)


def test_an_object_with_verbs_of_its_own_is_sent_those(tmp_path: Path) -> None:
    """Shared verbs are for objects that declare none: they never make a list of members of a table of records."""
    shared = 'verbs: {add: "POST /lists/{object}/add", remove: "POST /lists/{object}/remove"}'
    own = taken(tmp_path, f'objects: {{things: {{match: id, upsert: "PUT /things/{{id}}"}}}}\n{shared}', FIELDS)
    assert own == [
        "added → upsert PUT /things/{id}, class A; sends id, name, city",
        "changed → upsert PUT /things/{id}, class A; sends id, name, city",
    ]
    listed = taken(tmp_path, f"objects: {{things: {{match: id}}}}\n{shared}", FIELDS)
    assert listed[0] == "added → add POST /lists/things/add, class A; sends id, name, city"


@pytest.mark.parametrize(
    ("things", "mode", "words"),
    [
        ("upsert: PUT /t, delete: DELETE /t/{destination_id}", "mirror", "no answer of upsert tells it"),
        ("update: PATCH /t/{destination_id}", "update", "no verb of the object makes records"),
        ("create: {send: POST /t, outcomes: {identifier: id}}, update: PATCH /t/{destination_id}", "upsert",
         "create sends several records in a request"),
        ("create: {send: POST /t, outcomes: {accepted: {list: a, identifier: id}}}, update: PATCH /t/{destination_id}",
         "upsert", "can never be known"),
        ("upsert: PUT /t/{destination_id}", "upsert", "a new record has no {destination_id}"),
        ("add: PUT /t/{destination_id}, remove: DELETE /t/{id}", "upsert", "a new record has none"),
        ('create: POST /t, archive: {send: POST /a, record: "{destination_id}"}', "insert", "archive needs"),
    ],
)  # fmt: skip
def test_an_id_that_can_never_be_known_is_refused_in_the_destinations_file(
    tmp_path: Path, things: str, mode: str, words: str
) -> None:
    """Before anything is created that could never be changed."""
    quoted = things.replace("PATCH /t/{destination_id}", '"PATCH /t/{destination_id}"')
    quoted = quoted.replace("PUT /t/{destination_id}", '"PUT /t/{destination_id}"')
    quoted = quoted.replace("DELETE /t/{destination_id}", '"DELETE /t/{destination_id}"')
    quoted = quoted.replace("DELETE /t/{id}", '"DELETE /t/{id}"')
    declared = f"limits: {{records_per_request: 10}}\nobjects:\n  things: {{{quoted}}}"
    error = refused(tmp_path, declared, f"mode: {mode}")
    assert error.code == "config.identifier_never_known"
    assert error.where is not None
    assert (error.where.file, error.where.line) == ("destinations/api.yml", 6)
    assert words in error.message or "has no {destination_id}" in error.message


ALONE = "create: {send: POST /t, records_per_request: 1, outcomes: {identifier: id}}"


@pytest.mark.parametrize(
    "making",
    [
        ALONE,
        "create: {send: POST /t, outcomes: {items: {list: r, ok: ok, identifier: id}}}",
        "create: {send: POST /t, outcomes: {accepted: {list: r, match: id, identifier: no}}}",
        "create: {send: POST /t, records_per_request: 1, outcomes: {success: ok, identifier: id}}",
        "create: {send: POST /t, idempotency_header: K, outcomes: {identifier: id}}",
        'create: POST /t, look_up: {send: GET /t, query: {i: "{id}"}, identifier: id}',
    ],
)
def test_an_id_that_an_answer_or_a_look_up_tells_is_known(tmp_path: Path, making: str) -> None:
    """Of one record or of each of several, whatever else the answer says."""
    things = f'things: {{{making}, update: "PATCH /t/{{destination_id}}"}}'
    assert taken(tmp_path, f"limits: {{records_per_request: 10}}\nobjects: {{{things}}}", "")


def test_an_id_that_this_mode_never_learns_is_refused_in_the_syncs_file(tmp_path: Path) -> None:
    """The object's `create` tells ids, but this sync upserts, and no upsert does."""
    things = f'things: {{{ALONE}, upsert: POST /u, delete: "DELETE /t/{{destination_id}}"}}'
    error = refused(tmp_path, f"objects: {{{things}}}", "mode: mirror")
    assert error.code == "config.identifier_never_known"
    assert error.where is not None
    assert (error.where.file, error.where.line) == ("syncs/s.yml", 3)
    assert taken(tmp_path, f"objects: {{{things}}}", "mode: insert\nremoved: delete")


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("class: C\nobjects: {things: {create: POST /t}}", "there is no look_up"),
        ("class: B\nobjects: {things: {create: POST /t}}", "no key is sent"),
        (f"limits: {{records_per_request: 9}}\nobjects: {{things: {{upsert: {UNREAD}}}}}", "created is read from"),
        ('objects: {things: {upsert: "PUT /t/{id}", add: POST /members}}', "declare two objects"),
    ],
)  # fmt: skip
def test_what_a_destination_can_never_do_is_refused_when_its_file_is_read(
    tmp_path: Path, destination: str, words: str
) -> None:
    """A class without what it needs, a word that is never read, members and records in one object."""
    http_project(tmp_path, destination, ROWS, "")
    with Project.open(tmp_path) as project:
        report = check(project.world, ["s"])
    found = [each for each in report.findings if each.state == "wrong"]
    assert words in found[0].message
    assert found[0].where.startswith("destinations/api.yml:")


def test_check_and_plan_say_what_each_kind_of_change_becomes(tmp_path: Path) -> None:
    """Verb, method, path and fields of a request; verb, table and fields of a table."""
    http_project(tmp_path, 'objects: {things: {upsert: "PUT /t/{id}", delete: "DELETE /t/{id}"}}', ROWS, "mode: mirror")
    with Project.open(tmp_path) as project:
        view = project.plan("s").as_dict()["sending"]
        checked = next(each for each in project.check(["s"]).as_dict()["checks"] if each["subject"] == "sync s")
    fields = ["id", "email", "name", "city"]
    put = {"verb": "upsert", "class": "A", "method": "PUT", "fields": fields}
    always = {"path": "/t/{id}", "table": None, "null_as_confirmed": False}
    assert view == [
        {"kind": "added", **put, **always},
        {"kind": "changed", **put, **always},
        {"kind": "removed", **put, **always, "verb": "delete", "method": "DELETE", "fields": ["id"]},
    ]
    assert checked["sending"] == view
    (tmp_path / "destinations" / "api.yml").write_text("type: sqlite\npath: t.db\ncreate_tables: true\n")
    with Project.open(tmp_path) as project:
        shown = str(project.plan("s").sending[0])
    assert shown == "added → upsert into table things, class T; sends id, email, name, city"
    (tmp_path / "destinations" / "api.yml").write_text(
        "type: webhook\nurl: https://hooks.example.com/T0/secret\nsecret: s\n"
    )
    (tmp_path / "syncs" / "s.yml").write_text("model: m\nto: api.things\n")
    with Project.open(tmp_path) as project:
        shown = str(project.plan("s").sending[0])
    assert shown == "added → upsert POST https://hooks.example.com/…, class D; sends id, email, name, city"


def test_a_field_that_would_be_lost_is_refused_before_the_first_request(tmp_path: Path) -> None:
    """A run says so, too: nothing is sent and nothing is remembered."""
    with answering(lambda method, path, body: (200, {})) as tool:
        things = 'objects: {things: {upsert: {send: "PUT /t/{id}", record: {n: "{name}"}}}}'
        http_project(tmp_path, things, ROWS, FIELDS, tool.url)
        with Project.open(tmp_path) as project, pytest.raises((ConfigError, ConfigErrors)):
            project.run("s")
    assert tool.asked == []


DISCOVERED = """discover:
  objects: {send: GET /schemas, list: all, name: id}
  fields: {send: "GET /{object}/fields", list: all}
verbs:
"""


def schemas(method: str, path: str, body: str) -> tuple[int, object]:
    names = [{"id": "things"}] if path == "/schemas" else [{"name": name} for name in ("id", "name", "city", "object")]
    return 200, {"all": names}


@pytest.mark.parametrize(
    ("verbs", "sync", "code"),
    [
        ('{upsert: {send: "POST /{object}", record: {i: "{id}", n: "{name}"}}}', FIELDS, "config.field_never_sent"),
        ('{upsert: "POST /{object}"}', f"{FIELDS}\n  object: city", "config.reserved_placeholder"),
        ('{upsert: "POST /{object}", delete: "DELETE /{destination_id}"}', FIELDS, "config.identifier_never_known"),
    ],
)
def test_discovered_objects_are_held_to_the_same(tmp_path: Path, verbs: str, sync: str, code: str) -> None:
    """Their verbs are the connector's, and are looked at as such when its file is read."""
    with answering(schemas) as tool:
        http_project(tmp_path, f"{DISCOVERED}  {verbs}", ROWS, sync, tool.url)
        with Project.open(tmp_path) as project, pytest.raises(ConfigError) as caught:
            resolve(project.world, "s")
        assert caught.value.code == code
        assert caught.value.where is not None
        assert caught.value.where.line > 1
        http_project(tmp_path, f'{DISCOVERED}  {{upsert: "POST /{{levada.object}}"}}', ROWS, FIELDS, tool.url)
        with Project.open(tmp_path) as project:
            shown = str(sendings(resolve(project.world, "s"))[0])
        assert shown == "added → upsert POST /things, class A; sends id, name, city"


@pytest.mark.parametrize(
    ("things", "said"),
    [
        ('upsert: {send: "PUT /t/{id}", record: {id: "{id}", name: "{name}", city: "{city}"}}', True),
        ('upsert: {send: "PUT /t/{id}"}', True),
        ('upsert: {send: "PUT /t/{id}", record: "{fields}"}', False),
        ('create: POST /t, update: {send: "PATCH /t/{id}"}', False),
    ],
)
def test_what_is_sent_in_place_of_a_null_that_is_skipped_is_said(tmp_path: Path, things: str, said: bool) -> None:
    """Where the requests for a change hold what did not change, the value that was last confirmed goes along."""
    with answering(lambda method, path, body: (200, {})) as tool:
        http_project(tmp_path, f"objects: {{things: {{{things}}}}}", ROWS, f"nulls: skip\n{FIELDS}", tool.url)
        with Project.open(tmp_path) as project:
            found = {each.kind: each for each in sendings(resolve(project.world, "s"))}
            project.run("s")
        (tmp_path / "data" / "m.csv").write_text(ROWS.replace("Ann,Oslo", "Anna,"))
        with Project.open(tmp_path) as project:
            project.run("s")
    assert (found["added"].null_as_confirmed, found["changed"].null_as_confirmed) == (False, said)
    assert str(found["changed"]).endswith(", and for a NULL the value that was last confirmed") is said
    assert ("Oslo" in tool.asked[-1][2]) is said


def test_fields_beside_those_of_match(tmp_path: Path) -> None:
    """`{fields_but_match}` holds every field but those that find the record, which need a place of their own."""
    record = 'upsert: {send: POST /t, record: {id: "{key}", rest: "{fields_but_match}"}}'
    assert taken(tmp_path / "a", f"objects: {{things: {{{record}}}}}", FIELDS)[0].endswith("sends id, name, city")
    alone = 'upsert: {send: POST /t, record: {rest: "{fields_but_match}"}}'
    error = refused(tmp_path / "b", f"objects: {{things: {{{alone}}}}}", BY_EMAIL)
    assert error.code == "config.field_never_sent"
    assert "email" in error.message
    moved = 'update: {send: POST /t, record: {at: "{key}", rest: "{fields_but_match}"}}'
    error = refused(tmp_path / "c", f"objects: {{things: {{{moved}}}}}", f"mode: update\n{BY_EMAIL}")
    assert "last confirmed" in error.message.replace("\n", " ")


@pytest.mark.parametrize(
    ("fields", "code"),
    [("{EMAIL: text, NAME: text}", "unknown_field"), ("{id: text, EMAIL: text}", "match_not_possible")],
)
def test_what_a_record_is_found_by_is_to_be_said(tmp_path: Path, fields: str, code: str) -> None:
    """Where the model's key is no field, or none that finds a record, the error says the words to write."""
    things = f"objects: {{things: {{match: EMAIL, fields: {fields}, upsert: POST /t}}}}"
    error = refused(tmp_path, things, "fields: {EMAIL: email}")
    assert error.code == f"config.{code}"
    assert "write match: {EMAIL: email}" in (error.hint or "")

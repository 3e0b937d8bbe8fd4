"""Two syncs that write to one object are named, whatever the object is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada import Project
from levada.runner.ownership import overlaps
from levada_process import levada, write

MODEL = "/*\nsource: shop\nkey: id\n*/\nselect id, email, score, name from customers\n"
HTTP = """type: http
base_url: {url}
auth: {{bearer: {token}}}
objects:
  contacts:
    match: id
    upsert: {{send: "POST /contacts", record: "{{fields}}"}}
    delete: {{send: "DELETE /contacts/{{match.id}}"}}
"""


def project(folder: Path, first: str, second: str, **destinations: str) -> Path:
    """Two syncs, `first` and `second`, over one model."""
    files = {f"destinations/{name}.yml": text for name, text in destinations.items()}
    return write(
        folder,
        {
            "levada.yml": "name: acme\n",
            "sources/shop.yml": "type: files\npath: data\n",
            "data/customers.csv": "id,email,score,name\n1,a@example.com,1,Ann\n",
            "models/customers.sql": MODEL,
            "syncs/first.yml": f"model: customers\n{first}\n",
            "syncs/second.yml": f"model: customers\n{second}\n",
            **files,
        },
    )


def said(folder: Path) -> list[str]:
    """What the first sync shares; the second says the same."""
    with Project.open(folder) as opened:
        found = [one.message for one in overlaps(opened.world, ["first"])["first"]]
        assert len(found) == len(overlaps(opened.world, ["second"])["second"])
    return found


CRM = "type: sqlite\npath: crm.db\ncreate_tables: true\n"


def test_fields_of_both_are_named(tmp_path: Path) -> None:
    """The fields that both write, but not those by which they find records."""
    fields = "to: crm.contacts\nmode: upsert\nfields: {id: id, email: email, %s: %s}"
    project(tmp_path, fields % ("score", "score"), fields % ("name", "name"), crm=CRM)
    assert said(tmp_path) == [
        "first and second both write email of crm.contacts: in a record of both, the values of the last run stay"
    ]


def test_fields_of_their_own_are_no_overlap(tmp_path: Path) -> None:
    """Two syncs that share an object and no field are left in peace."""
    fields = "to: crm.contacts\nmode: upsert\nfields: {id: id, %s: %s}"
    project(tmp_path, fields % ("score", "score"), fields % ("name", "name"), crm=CRM)
    assert said(tmp_path) == []


def test_all_fields_are_those_of_the_model(tmp_path: Path) -> None:
    """`fields: all`, and an object of which the other writes a part."""
    project(tmp_path, "to: crm.contacts", "to: crm.contacts\nfields: {id: id, name.first: name}", crm=CRM)
    assert "both write name of crm.contacts" in said(tmp_path)[0]


def test_two_mirrors_are_named(tmp_path: Path) -> None:
    """Each deletes what left its own model, though the other may still have it."""
    mirror = "to: crm.contacts\nmode: mirror\nfields: {id: id, %s: %s}"
    project(tmp_path, mirror % ("score", "score"), mirror % ("name", "name"), crm=CRM)
    assert said(tmp_path) == [
        "first and second both delete records of crm.contacts: a record of both goes when it leaves one of the models"
    ]


def test_a_replaced_object_leaves_nothing_of_another(tmp_path: Path) -> None:
    """Mode replace takes the other's records away, whatever its mode."""
    for mode in ("upsert", "append", "insert"):
        project(tmp_path, "to: crm.contacts\nmode: replace", f"to: crm.contacts\nmode: {mode}", crm=CRM)
        assert said(tmp_path) == ["first replaces the whole of crm.contacts, and with it what second writes there"]


def test_what_only_adds_overwrites_nothing(tmp_path: Path) -> None:
    """Modes append and insert write into no record that is there."""
    for mode in ("append", "insert"):
        project(tmp_path, "to: crm.contacts\nmode: mirror", f"to: crm.contacts\nmode: {mode}", crm=CRM)
        assert said(tmp_path) == []


SAME = {
    "another name": (CRM, CRM, "contacts", "contacts"),
    "another way": (CRM, CRM.replace("crm.db", "./data/../crm.db"), "contacts", "contacts"),
    "the schema by name": (CRM, CRM, "contacts", "main.CONTACTS"),
    "postgres by account": (
        "type: postgres\nurl: postgresql://a:x@localhost/shop\n",
        "type: postgres\nurl: postgresql://b:y@127.0.0.1:5432/shop\nschema: public\n",
        "contacts",
        "public.contacts",
    ),
    "mysql by account": (
        "type: mysql\nurl: mysql://a:x@db.example.com/shop\n",
        "type: mysql\nurl: mysql://b:y@DB.example.com:3306/other\n",
        "contacts",
        "other.contacts",
    ),
    "files": ("type: files\npath: out\nformat: csv\n", "type: files\npath: out/x\nformat: csv\n", "x/y", "y"),
    "http": (HTTP.format(url="https://crm.example.com", token="t"),) * 2 + ("contacts", "contacts"),
}
OTHER = {
    "another table": (CRM, CRM, "contacts", "people"),
    "another file": (CRM, CRM.replace("crm.db", "other.db"), "contacts", "contacts"),
    "another schema": (
        "type: postgres\nurl: postgresql://a:x@localhost/shop\n",
        "type: postgres\nurl: postgresql://a:x@localhost/shop\nschema: other\n",
        "contacts",
        "contacts",
    ),
    "another port": (
        "type: postgres\nurl: postgresql://a:x@localhost/shop\n",
        "type: postgres\nurl: postgresql://a:x@localhost:5433/shop\n",
        "contacts",
        "contacts",
    ),
    "another account of a tool": (
        HTTP.format(url="https://crm.example.com", token="t"),
        HTTP.format(url="https://crm.example.com", token="u"),
        "contacts",
        "contacts",
    ),
}


@pytest.mark.parametrize("what", [*SAME, *OTHER])
def test_places_are_compared_not_names(tmp_path: Path, what: str) -> None:
    """The same object by another name, account or spelling; and another one by the same name."""
    one, other, mine, theirs = {**SAME, **OTHER}[what]
    if what == "mysql by account":
        one = one.replace("/shop", "/other")
    mode = "replace" if "type: files" in one else "mirror"
    project(tmp_path, f"to: one.{mine}\nmode: {mode}", f"to: two.{theirs}\nmode: {mode}", one=one, two=other)
    assert bool(said(tmp_path)) is (what in SAME)


def test_a_link_leads_to_the_same_file(tmp_path: Path) -> None:
    """Also by a symbolic or hard link."""
    (tmp_path / "crm.db").touch()
    (tmp_path / "soft.db").symlink_to("crm.db")
    (tmp_path / "hard.db").hardlink_to(tmp_path / "crm.db")
    for link in ("soft.db", "hard.db"):
        project(tmp_path, "to: one.c", "to: two.c", one=CRM, two=CRM.replace("crm.db", link))
        assert said(tmp_path)


def test_check_and_plan_say_it(tmp_path: Path) -> None:
    """`check` names both and ends with 0: it may be meant so. `plan` has it among its notices."""
    project(tmp_path, "to: crm.contacts\nmode: mirror", "to: crm.contacts\nmode: mirror", crm=CRM)
    checked = levada(tmp_path, "check", "--json")
    found = [one for one in checked.document["checks"] if one["code"] == "config.shared_object"]
    assert [(one["subject"], one["state"], one["ok"]) for one in found] == [
        (f"sync {name}", "notice", True) for name in ("first", "first", "second", "second")
    ]
    assert found[0]["where"].startswith("syncs/first.yml:2:5")
    assert checked.code == 0
    assert "both delete records" in levada(tmp_path, "check").out
    planned = levada(tmp_path, "plan", "first", "--json").document
    assert any("first and second both write email, score, name" in notice for notice in planned["notices"])

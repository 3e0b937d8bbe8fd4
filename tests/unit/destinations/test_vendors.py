"""Connectors that ship as files: found by their names, read when asked for, and tested by their own cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada import destinations
from levada.destination import Destination, Surroundings
from levada.destinations import destination_type, destination_types, vendor_files
from levada.destinations.cases import run_cases_of
from levada.errors import ConfigError, ConfigErrors
from levada.runner.connectors import connectors, find_destination_type
from levada.runner.project import Project
from levada.runner.schema import schemas
from unit.project.folders import write

ACME = """\
title: Acme
docs: https://acme.example.com/docs
base_url: https://acme.example.com/api
options:
  token: {description: An API token, secret: true}
auth: {bearer: "{options.token}"}
objects:
  contacts: {match: email, upsert: "PUT /contacts/{email}"}
cases:
  - name: a contact is saved
    upsert: contacts
    records: [{email: a}]
    sends: {send: PUT /contacts/a, json: {email: a}}
    answer: {status: 204}
    outcomes: [delivered]
"""


@pytest.fixture
def vendors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped connectors that holds one, acme."""
    folder = write(tmp_path, {"vendors/acme.yml": ACME}) / "vendors"
    monkeypatch.setattr(destinations, "VENDORS", folder)
    return folder


def faults() -> list[str]:
    """What is wrong with the files that ship: bad ones, failed cases, files without cases or with a module's name."""
    found = [f"{name} is the name of a module" for name in vendor_files() if destination_types().count(name) > 1]
    for name, path in vendor_files().items():
        try:
            destination_type(name)
            results = run_cases_of(name, path)
        except (ConfigError, ConfigErrors) as error:
            found.append(str(error))
            continue
        found += [f"{name}: {result.case}: {result.failure}" for result in results if not result.passed]
        if not results:
            found.append(f"{name} has no cases")
    return found


def test_every_connector_that_ships_passes_its_cases() -> None:
    """As `levada test` runs those of a project's own."""
    assert faults() == []


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("other", ACME.replace("{status: 204}", "{status: 404}"), "other: a contact is saved: record 0: expected"),
        ("other", ACME.partition("cases:")[0], "other has no cases"),
        ("other", ACME.replace("title", "titel"), "vendors/other.yml:1:1: unknown key `titel`"),
        ("other", ACME.replace("/api", "/{options.tokne}"), "vendors/other.yml:"),
        ("http", ACME, "http is the name of a module"),
    ],
)
def test_a_fault_in_a_file_that_ships_is_found(vendors: Path, name: str, text: str, fault: str) -> None:
    """A failed case, no case, an unknown key, an option that is not declared, a name that is taken."""
    assert faults() == []
    (vendors / f"{name}.yml").write_text(text)
    (found,) = faults()
    assert fault in found


def test_a_shipped_connector_is_a_type_like_any_other(vendors: Path) -> None:
    """It is listed with its title, docs and options, is in the schema of destinations' files, and opens."""
    assert destination_types()[-1] == "acme"
    (listed,) = connectors(None, "acme")
    assert (listed.kind, listed.title, listed.docs, listed.own) == (
        "destination",
        "Acme",
        "https://acme.example.com/docs",
        False,
    )
    assert [(option.name, option.required) for option in listed.options] == [("limits", False), ("token", True)]
    assert listed in connectors(None)
    branches = schemas("destination")["destination"]["oneOf"]
    assert [branch["required"] for branch in branches if branch["title"] == "acme"] == [["type", "token"]]
    kind = destination_type("acme")
    assert kind is not None
    opened = kind.open("crm", kind.options.model_validate({"token": "t"}), Surroundings(Path()))
    assert isinstance(opened, Destination)


def test_no_file_is_read_before_its_type_is_asked_for(vendors: Path) -> None:
    """Names come from the files' names: a file that cannot be read is listed, and hurts who asks for it."""
    (vendors / "broken.yml").write_text("a: b: c\n")
    assert destination_types()[-2:] == ("acme", "broken")
    assert destination_type("acme") is not None
    with pytest.raises(ConfigError) as caught:
        destination_type("broken")
    assert str(caught.value.where) == "vendors/broken.yml:1:5"


def test_a_project_uses_a_shipped_connector_and_its_own_of_that_name_before_it(vendors: Path, tmp_path: Path) -> None:
    """In its files, and in the list of what there is, where the name stands once."""
    root = write(tmp_path / "project", {"levada.yml": "name: acme\n", "destinations/crm.yml": "type: acme\ntoken: t\n"})
    assert Project.open(root).world.files.errors == ()
    write(root, {"connectors/acme.yml": ACME.replace("title: Acme", "title: Our Acme").replace("token", "key")})
    assert [error.message for error in Project.open(root).world.files.errors] == [
        "the key `key` is missing",
        "unknown key `token`",
    ]
    kind = find_destination_type(root, "acme")
    assert kind is not None
    assert kind.title == "Our Acme"
    assert [(one.title, one.own) for one in connectors(root) if one.type == "acme"] == [("Our Acme", True)]


def test_the_hint_for_an_unknown_type_knows_shipped_and_own_connectors(vendors: Path, tmp_path: Path) -> None:
    """The nearest name may be that of a file."""
    root = write(
        tmp_path / "project",
        {
            "levada.yml": "name: acme\n",
            "connectors/warehouse_erp.yml": ACME,
            "destinations/crm.yml": "type: acmee\n",
            "destinations/erp.yml": "type: warehouse_epr\n",
        },
    )
    assert [error.hint for error in Project.open(root).world.files.errors] == [
        "did you mean acme?",
        "did you mean warehouse_erp?",
    ]

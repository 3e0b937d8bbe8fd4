"""The demo's folder is made whole, made anew, and never in place of somebody else's."""

from __future__ import annotations

import json
import stat
import urllib.request
from pathlib import Path

import pytest

from levada.demo import proof
from levada.demo.ground import Ground, existing, prepare
from levada.demo.story import Story
from levada.errors import ConfigError


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return prepare(tmp_path_factory.mktemp("demo") / "demo")[0]


def test_the_folder_holds_a_project_and_its_warehouse(ground: Ground) -> None:
    """Everything a reader needs is there, and git ignores everything else."""
    files = {str(path.relative_to(ground.folder)) for path in ground.folder.rglob("*") if path.is_file()}
    assert {
        "README.md",
        "levada.yml",
        ".gitignore",
        "models/customers.sql",
        "destinations/crm.yml",
        "syncs/customers_to_crm.yml",
        "warehouse/shop.duckdb",
    } <= files
    ignored = (ground.folder / ".gitignore").read_text().split()
    assert ignored == [".env", ".levada/", ".tools/", "warehouse/"]


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Nothing in it is touched."""
    (tmp_path / "thesis.txt").write_text("chapter one")
    with pytest.raises(ConfigError, match="not a demo's folder"):
        prepare(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "chapter one"


def test_a_folder_in_a_project_is_refused(ground: Ground) -> None:
    """In the demo's own folder too, where another demo would have tools of its own."""
    with pytest.raises(ConfigError) as caught:
        prepare(ground.folder / "demo")
    assert str(ground.folder) in caught.value.message
    assert not (ground.folder / "demo").exists()


def test_the_tools_secrets_are_in_a_file_for_the_owner_alone(ground: Ground) -> None:
    """And they are found there again by a later `levada demo --serve`."""
    with ground.tools_running():
        mode = stat.S_IMODE((ground.folder / ".env").stat().st_mode)
        found = existing(ground.folder)
    assert mode == 0o600
    assert found == ground


def test_there_is_no_demo_in_an_empty_folder(tmp_path: Path) -> None:
    """`existing` does not invent one."""
    assert existing(tmp_path) is None


def test_the_proof_notices_a_lost_a_foreign_and_a_changed_contact(ground: Ground) -> None:
    """The demo would not say that the CRM equals the warehouse if one contact were missing, new or different."""
    due = proof.contacts_due(ground.shop)
    some = dict(list(due.items())[:50])
    token = ground.secrets["CRM_TOKEN"]
    with ground.tools_running() as ports:
        contacts = [{**contact, "last_order_at": contact["last_order_at"].isoformat()} for contact in some.values()]
        post(ports["crm"], "/contacts/batch", contacts, token)
        assert proof.contacts_held(ports["crm"], token) == some
        post(ports["crm"], "/contacts/batch", [{"email": contacts[0]["email"], "orders": 9_999}], token)
        changed = proof.contacts_held(ports["crm"], token)
        post(ports["crm"], "/contacts/batch/delete", contacts[:1], token)
        lost = proof.contacts_held(ports["crm"], token)
        post(ports["crm"], "/contacts/batch", [contacts[0], {"email": "foreign@example.com"}], token)
        foreign = proof.contacts_held(ports["crm"], token)
    assert some not in (changed, lost, foreign)
    assert [len(held) - len(some) for held in (changed, lost, foreign)] == [0, -1, 1]


def test_a_claim_that_does_not_hold_fails_the_demo(tmp_path: Path) -> None:
    """Exit code 1, and the sentence is told again at the end."""
    said: list[str] = []
    story = Story(tmp_path, said.append)
    story.claim("water flows uphill", False)
    assert story.close(1.0) == 1
    assert said[-1] == "  ✗ water flows uphill"


def post(port: int, path: str, contacts: list[dict[str, object]], token: str) -> None:
    body = json.dumps({"contacts": contacts}, default=str).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- loopback
        assert answer.status == 200

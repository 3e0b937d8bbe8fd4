"""`--select` and `--exclude`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from levada.errors import ConfigError, ConfigErrors
from levada.project.files import ProjectFiles
from levada.project.selection import select
from unit.project.folders import GOOD, read, write

PROJECT = {
    **GOOD,
    "sources/lake.yml": "type: warehouse\nurl: x\n",
    "models/orders.yml": "source: lake\nkey: id\ntable: orders\ntags: [finance]\n",
    "models/unused.yml": "source: shop\nkey: id\ntable: unused\n",
    "destinations/ads.yml": "type: tool\ntags: [paid]\n",
    "syncs/customers_to_crm.yml": "model: customers\nto: crm.contacts\ntags: [marketing]\n",
    "syncs/customers_to_ads.yml": "model: customers\nto: ads.people\ntags: [marketing]\n",
    "syncs/orders_to_crm.yml": "model: orders\nto: crm.deals\nschedule: {after: [customers_to_crm, 'dbt:orders']}\n",
    "syncs/orders_to_ads.yml": "model: orders\nto: ads.events\nschedule: {after: [orders_to_crm]}\n",
}
ADS, CRM, ORDERS_ADS, ORDERS_CRM = "customers_to_ads", "customers_to_crm", "orders_to_ads", "orders_to_crm"


_ALL = "hint: no sync meets all parts of it"


@pytest.fixture
def files(tmp_path: Path) -> ProjectFiles:
    """Four syncs over two models and two destinations, three of them in a chain."""
    return read(write(tmp_path, PROJECT))


@pytest.mark.parametrize(
    ("chosen", "excluded", "expected"),
    [
        ([], [], [ADS, CRM, ORDERS_ADS, ORDERS_CRM]),
        ([CRM], [], [CRM]),
        ([ORDERS_CRM, CRM], [], [CRM, ORDERS_CRM]),
        (["customers_*"], [], [ADS, CRM]),
        (["*_to_ad?"], [], [ADS, ORDERS_ADS]),
        (["tag:marketing"], [], [ADS, CRM]),
        (["tag:finance"], [], [ORDERS_ADS, ORDERS_CRM]),
        (["tag:paid"], [], [ADS, ORDERS_ADS]),
        (["model:customers"], [], [ADS, CRM]),
        (["source:lake"], [], [ORDERS_ADS, ORDERS_CRM]),
        (["destination:crm"], [], [CRM, ORDERS_CRM]),
        (["+model:customers"], [], [ADS, CRM, ORDERS_ADS, ORDERS_CRM]),
        (["+model:orders"], [], [ORDERS_ADS, ORDERS_CRM]),
        ([f"+{ORDERS_CRM}"], [], [CRM, ORDERS_CRM]),
        ([f"{ORDERS_CRM}+"], [], [ORDERS_ADS, ORDERS_CRM]),
        ([f"+{ORDERS_CRM}+"], [], [CRM, ORDERS_ADS, ORDERS_CRM]),
        (["tag:marketing,destination:ads"], [], [ADS]),
        (["tag:paid tag:finance"], [], [ADS, ORDERS_ADS, ORDERS_CRM]),
        (["name:orders_*"], [ORDERS_ADS], [ORDERS_CRM]),
        ([], ["destination:ads", CRM], [ORDERS_CRM]),
        ([CRM], ["customers_*"], []),
    ],
)
def test_selectors_choose_these(
    files: ProjectFiles, chosen: list[str], excluded: list[str], expected: list[str]
) -> None:
    """Always in the order of the names."""
    assert list(select(files, chosen, excluded)) == expected


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("customers_to_cmr", "there is no sync customers_to_cmr\nhint: did you mean customers_to_crm?"),
        ("zzz*", f"no sync matches zzz*\nhint: there are: {ADS}, {CRM}, {ORDERS_ADS}, {ORDERS_CRM}"),
        ("tag:marketng", "there is no tag marketng\nhint: did you mean marketing?"),
        ("model:customer", "there is no model customer\nhint: did you mean customers?"),
        ("+source:lak", "there is no source lak\nhint: did you mean lake?"),
        ("destination:hubspot", "there is no destination hubspot\nhint: there are: ads, crm"),
        ("model:unused", "no sync uses the model `unused`\nhint: see syncs/"),
        ("tags:marketing", "`tags:marketing`: there is no way to select by `tags:`\nhint: did you mean tag?"),
        ("state:new", "there is no state `new`\nhint: write state:modified"),
        ("tag:finance,model:customers", f"`tag:finance,model:customers` selects no sync\n{_ALL}"),
    ],
)
def test_a_selector_that_matches_nothing_is_an_error(files: ProjectFiles, selector: str, message: str) -> None:
    """With the nearest name; in `--exclude` too, where a typing error would send too much."""
    for chosen, excluded in (([selector], ()), ((), [selector])):
        with pytest.raises(ConfigError) as caught:
            select(files, chosen, excluded)
        assert str(caught.value) == message
        assert caught.value.code == "config.selection"


def test_a_wrong_file_that_may_be_meant_is_an_error_and_no_gap(tmp_path: Path) -> None:
    """Whether it has the tag cannot be told; naming others, or excluding it, goes around it."""
    files = read(write(tmp_path, PROJECT, {f"syncs/{CRM}.yml": "model: customers\nto: crm.x\nmode: oops\n"}))
    for chosen in ([CRM], ["tag:marketing"], ["customers_*"], []):
        with pytest.raises(ConfigErrors, match="mode"):
            select(files, chosen)
    assert select(files, [ADS]) == (ADS,)
    assert select(files, ["tag:marketing"], [CRM]) == (ADS,)


def _git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def test_state_modified_is_what_differs_from_head(tmp_path: Path) -> None:
    """Changed, staged and new files; of a sync, its model, its source and its destination; in a subfolder too."""
    root = write(tmp_path / "repository" / "acme", PROJECT)
    _git(root.parent, "init", "-q")
    assert len(select(read(root), ["state:modified"])) == 4
    _git(root.parent, "add", ".")
    _git(root.parent, "commit", "-qm", "all")
    assert select(read(root), ["state:modified"]) == ()
    write(root, {"syncs/new one.yml": "", "destinations/crm.yml": "type: tool\ntoken: x\n"})
    (root / "syncs/new one.yml").unlink()
    assert select(read(root), ["state:modified"]) == (CRM, ORDERS_CRM)
    _git(root, "add", ".")
    assert select(read(root), ["state:modified,model:orders"]) == (ORDERS_CRM,)
    _git(root, "commit", "-qm", "more")
    write(root, {"models/customers.sql": GOOD["models/customers.sql"] + "where 1 = 1\n"})
    write(root, {"syncs/orders_new.yml": "model: orders\nto: ads.x\n"})
    assert select(read(root), ["state:modified"]) == (ADS, CRM, "orders_new")
    assert select(read(root), [], ["state:modified"]) == (ORDERS_ADS, ORDERS_CRM)


def test_state_modified_outside_a_repository_is_an_error(
    files: ProjectFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It says what to do, and does not take another repository for the project's."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ConfigError) as caught:
        select(files, ["state:modified"])
    assert caught.value.code == "config.git"
    assert "git repository" in (caught.value.hint or "")


def test_without_git_state_modified_is_an_error(files: ProjectFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear, and with a hint."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="state:modified needs git"):
        select(files, ["state:modified"])

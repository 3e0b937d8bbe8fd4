"""Levada's own state and keys are out of reach, by whatever name a file or folder goes."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from levada.errors import ConfigError
from levada.own_files import refuse_own_files
from levada.runner.project import Project
from levada.stores.sqlite import SqliteStore
from levada_process import small_project, write

WAYS = (
    ".levada/state.sqlite",
    ".levada",
    ".levada/new.db",
    ".levada/ledgers/s/x.parquet",
    "data/../.levada/x.db",
    "./.levada//state.sqlite",
    "link-to-folder/x.db",
    "link-to-file.db",
    "link-to-link.db",
    "hard-link.db",
    "../other/.levada/state.sqlite",
    "../other/.levada/new.db",
    "../other/hard-link.db",
    "../other/visible/ledgers",
    "../other/visible/new/deeper/x.db",
    "../home/.config/levada/keys/x",
    "../key-file",
    "dangling.db",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project and another one, each with a state, and names of all kinds that lead to them."""
    root, other = tmp_path / "acme", tmp_path / "other"
    (root / "data").mkdir(parents=True)
    for folder in (root / ".levada", other / ".levada", other / "visible"):
        SqliteStore.open(folder).close()
    (root / "link-to-folder").symlink_to(root / ".levada")
    (root / "link-to-file.db").symlink_to(Path(".levada/state.sqlite"))
    (root / "link-to-link.db").symlink_to(root / "link-to-file.db")
    (root / "dangling.db").symlink_to(root / ".levada" / "not-there.db")
    os.link(root / ".levada" / "state.sqlite", root / "hard-link.db")
    os.link(other / ".levada" / "state.sqlite", other / "hard-link.db")
    return root


@pytest.mark.parametrize("way", WAYS)
def test_a_state_is_refused_by_whatever_name(project: Path, way: str) -> None:
    """Relative, through links of both kinds, in a folder that is still to be made, and of another project."""
    surroundings = {"HOME": str(project.parent / "home"), "LEVADA_KEY_FILE": str(project.parent / "key-file")}
    with pytest.raises(ConfigError) as caught:
        refuse_own_files(project / way, project / ".levada", surroundings)
    assert caught.value.code == "config.own_files"


@pytest.mark.parametrize("way", ["data", "data/shop.db", ".", "levada.db", ".levada-2/x.db", "../other", "../new.db"])
def test_all_else_is_the_users(project: Path, way: str) -> None:
    """A folder around a hidden state is theirs, too, and so is any other database."""
    with sqlite3.connect(project / "levada.db") as connection:
        connection.execute("CREATE TABLE run (a)")
    refuse_own_files(project / way, project / ".levada", {})


def test_a_folder_around_a_state_that_is_not_hidden_is_refused(project: Path) -> None:
    """Files below it could be named in an object's name."""
    SqliteStore.open(project / "state").close()
    with pytest.raises(ConfigError):
        refuse_own_files(project, project / "state", {})
    refuse_own_files(project / "data", project / "state", {})


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "files"])
@pytest.mark.parametrize("role", ["sources", "destinations"])
def test_no_source_and_no_destination_opens_the_state(tmp_path: Path, kind: str, role: str) -> None:
    """Whatever their type; the error says where it stands, and the state is as before."""
    root = small_project(tmp_path)
    SqliteStore.open(root / ".levada").close()
    before = (root / ".levada" / "state.sqlite").read_bytes()
    path = ".levada" if kind == "files" else ".levada/state.sqlite"
    more = "format: csv\n" if kind == "files" and role == "destinations" else ""
    write(root, {f"{role}/mine.yml": f"type: {kind}\npath: {path}\n{more}"})
    with Project.open(root) as opened, pytest.raises(ConfigError) as caught:
        (opened.source if role == "sources" else opened.destination)("mine")
    assert (caught.value.code, str(caught.value.where)) == ("config.own_files", f"{role}/mine.yml:2:7")
    assert (root / ".levada" / "state.sqlite").read_bytes() == before

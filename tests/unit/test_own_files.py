"""Levada's own state and keys are out of reach, by whatever name a file or folder goes."""

from __future__ import annotations

import os
import shutil
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
        (opened.world.source if role == "sources" else opened.world.destination)("mine")
    assert (caught.value.code, str(caught.value.where)) == ("config.own_files", f"{role}/mine.yml:2:7")
    assert (root / ".levada" / "state.sqlite").read_bytes() == before


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows processes as files")
@pytest.mark.parametrize("path", ["data", "data/t.csv", "/proc/self/environ"])
def test_no_source_reads_the_environment_of_a_process(tmp_path: Path, path: str) -> None:
    """In UTF-16 its bytes of zero are letters, and the master key would be the name of a column."""
    root = small_project(tmp_path)
    (root / "data").mkdir(exist_ok=True)
    (root / "data" / "t.csv").symlink_to("/proc/self/environ")
    write(root, {"sources/mine.yml": f"type: files\npath: {path}\nencoding: utf-16le\n"})
    with Project.open(root) as opened, pytest.raises(ConfigError) as caught:
        opened.world.source("mine")
    assert caught.value.code == "config.own_files"


@pytest.mark.parametrize("link", ["symbolic", "hard", "folder", "deeper"])
@pytest.mark.parametrize("path", ["seen", "seen/t.parquet"])
def test_no_link_in_a_folder_of_data_leads_to_the_state(tmp_path: Path, link: str, path: str) -> None:
    """A ledger holds the people of every sync; a file of another name beside it is the user's own."""
    root = small_project(tmp_path)
    SqliteStore.open(root / ".levada").close()
    ledger = root / ".levada" / "ledgers" / "people" / "1.parquet"
    ledger.parent.mkdir(parents=True)
    ledger.write_text("people")
    seen = root / "seen" / "t.parquet"
    seen.parent.mkdir()
    match link:
        case "symbolic":
            seen.symlink_to(ledger)
        case "hard":
            os.link(ledger, seen)
        case "folder":
            seen.symlink_to(ledger.parent)
        case _:
            seen.mkdir()
            (seen / "x.parquet").symlink_to(ledger)
    write(root, {"sources/mine.yml": f"type: files\npath: {path}\n"})
    with Project.open(root) as opened, pytest.raises(ConfigError) as caught:
        opened.world.source("mine")
    assert (caught.value.code, str(caught.value.where)) == ("config.own_files", "sources/mine.yml:2:7")
    shutil.rmtree(seen) if link == "deeper" else seen.unlink()
    os.link(root / "levada.yml", root / "seen" / "u.csv")
    (root / "seen" / "round").symlink_to(root / "seen")
    (root / "seen" / "v.csv").symlink_to(root / "levada.yml")
    with Project.open(root) as opened:
        if path == "seen":
            opened.world.source("mine")


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "files"])
@pytest.mark.parametrize("role", ["sources", "destinations"])
@pytest.mark.parametrize("way", ["whole", "up", "link", "inside"])
def test_others_than_the_user_reach_files_of_the_project_only(tmp_path: Path, kind: str, role: str, way: str) -> None:
    """As on a server; whoever runs the command line may name any file."""
    root = small_project(tmp_path / "acme")
    (tmp_path / "outside").mkdir()
    (root / "kept").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    if way == "inside" and kind == "files":
        (root / "kept" / "t.csv").symlink_to(tmp_path / "outside" / "t.csv")
    path = {"whole": tmp_path / "outside", "up": "../outside", "link": "link", "inside": "kept"}[way]
    file = path if kind == "files" else f"{path}/t.db"
    more = "format: csv\n" if kind == "files" and role == "destinations" else ""
    write(root, {f"{role}/mine.yml": f"type: {kind}\npath: {file}\n{more}"})
    allowed = way == "inside" and kind != "files"
    for private in (False, True):
        with Project.open(root, private_addresses=private) as opened:
            ask = opened.world.source if role == "sources" else opened.world.destination
            if private or allowed:
                ask("mine")
                continue
            with pytest.raises(ConfigError) as caught:
                ask("mine")
        assert (caught.value.code, str(caught.value.where)) == ("config.path_refused", f"{role}/mine.yml:2:7")

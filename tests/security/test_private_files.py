"""What a run leaves on the disk is its owner's alone, and a crash leaves nothing of its memory."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from levada.errors import StoreError
from levada.stores.sqlite import SqliteStore
from levada_process import environment, levada, small_project, write_customers

OPEN = """
import os, runpy, sys
os.umask(0)
runpy.run_module("levada", run_name="__main__", alter_sys=True)
"""


def _run(folder: Path, *arguments: str, text: str | None = None, **variables: str) -> None:
    """`levada` under umask 000."""
    command = [sys.executable, "-c", OPEN, *arguments]
    subprocess.run(
        command,
        cwd=folder,
        env=environment(**variables),
        input=text,
        text=True,
        check=True,
        capture_output=True,
        timeout=60,
    )


def _open_to_others(folder: Path) -> Iterator[str]:
    """Whatever below the folder somebody else may read or write."""
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077:
            yield f"{path.relative_to(folder)} {mode:o}"


def test_state_plans_ledgers_and_keys_are_private(tmp_path: Path) -> None:
    """Under umask 000: after a secret, a first run, a change and a plan, each file and folder."""
    project, keys = tmp_path / "project", tmp_path / "config"
    small_project(project, 40)
    variables = {"XDG_CONFIG_HOME": str(keys), "TMPDIR": str(tmp_path)}
    _run(project, "secrets", "set", "TOKEN", text="canary-of-a-secret", **variables)
    _run(project, "run", **variables)
    write_customers(project, 42, changed=(3,))
    _run(project, "plan", **variables)
    _run(project, "run", **variables)
    state = list((project / ".levada").rglob("*.parquet"))
    assert len(state) > 3, "plans and ledgers"
    assert list(_open_to_others(project / ".levada")) == []
    assert list(_open_to_others(keys)) == []
    assert not list(tmp_path.glob("levada-*")), "nothing stays in the temporary folder"


def test_the_temporary_folder_is_private_while_it_is_used(tmp_path: Path) -> None:
    """The spool of a plan, in a process with umask 000."""
    small_project(tmp_path / "project", 3)
    code = (
        "import os, pathlib; os.umask(0); from levada import Project\n"
        "with Project.open('project') as project:\n"
        "    project.plan('customers_to_crm'); print(oct(os.stat(project.world.spool).st_mode & 0o777))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "0o700"


def test_a_crash_writes_no_core(tmp_path: Path) -> None:
    """Though the shell allows core files: the limit is zero before the first command is read."""
    code = (
        "import resource, sys, runpy\n"
        "_, most = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
        "sys.argv = ['levada', 'version']\n"
        "try: runpy.run_module('levada', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "0"


def test_a_secret_that_is_moved_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ciphertext under another name, whole or in parts, is refused, even with checksums set right."""
    from levada.stores.checksums import sealed

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "state"
    store = SqliteStore.open(folder)
    store.vault.set("CRM", "canary-of-the-crm")
    store.vault.set("ADS", "canary-of-the-ads")
    store.close()
    connection = sqlite3.connect(folder / "state.sqlite")
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(secret)")]
    crm = connection.execute("SELECT * FROM secret WHERE name = 'CRM'").fetchone()
    moved = sealed("secret", ("ADS", *crm[1:4]))
    assert len(moved) == len(columns)
    assignments = ", ".join(f"{column} = ?" for column in columns)
    connection.execute(f"UPDATE secret SET {assignments} WHERE name = 'ADS'", moved)
    connection.commit()
    connection.close()
    store = SqliteStore.open(folder)
    with pytest.raises(StoreError) as caught:
        store.vault.get("ADS")
    assert caught.value.code == "store.key"
    assert "canary" not in str(caught.value)
    assert store.vault.get("CRM") == "canary-of-the-crm"
    store.close()


def test_no_command_tells_a_secret(tmp_path: Path) -> None:
    """Names come out of the vault, values never do; a value is no argument."""
    small_project(tmp_path, 1)
    variables = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert levada(tmp_path, "secrets", "set", "TOKEN", text="canary-of-a-secret", **variables).code == 0
    listed = levada(tmp_path, "secrets", "list", "--json", **variables)
    assert listed.document == {"secrets": ["TOKEN"]}
    assert levada(tmp_path, "secrets", "set", "TOKEN", "canary", **variables).code == 2
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"canary-of-a-secret" not in path.read_bytes(), path
    assert os.access(tmp_path / ".levada/state.sqlite", os.R_OK)

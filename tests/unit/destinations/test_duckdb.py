"""A DuckDB file that cannot be opened: the hint names the cause."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from levada.destinations.duckdb import DuckdbEngine
from levada.errors import ConfigError, UnavailableError

HOLDER = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def test_a_file_that_another_process_has_open(tmp_path: Path) -> None:
    path = tmp_path / "there.duckdb"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UnavailableError) as caught:
            DuckdbEngine(path, create=True).connect()
        holder.communicate()
    assert "close the other process" in str(caught.value.hint)


def test_a_file_that_is_damaged_is_not_said_to_be_open_elsewhere(tmp_path: Path) -> None:
    """Whatever it is called."""
    path = tmp_path / "blocks.duckdb"
    with duckdb.connect(str(path)) as made:
        made.execute("CREATE TABLE t AS SELECT range AS x FROM range(1000)")
    path.write_bytes(path.read_bytes()[:6_000])
    with pytest.raises(UnavailableError) as caught:
        DuckdbEngine(path, create=True).connect()
    assert "undamaged" in str(caught.value.hint)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        DuckdbEngine(tmp_path / "nowhere" / "there.duckdb", create=True).connect()


def test_making_a_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    DuckdbEngine(tmp_path / "there.duckdb", create=True).connect().close()
    assert [path.name for path in tmp_path.iterdir()] == ["there.duckdb"]

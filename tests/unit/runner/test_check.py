"""`check`: what it says of a model's key."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from levada.runner.project import Project
from servers.answering import http_project


@pytest.mark.parametrize("source", ["files", "sqlite"])
def test_check_shows_what_tells_rows_with_one_key_apart(tmp_path: Path, source: str) -> None:
    """Each column that differs with some of its values; rows that do not differ are called equal."""
    rows = [(1, "A", None), (1, "A", "x"), (2, "C", "y"), (2, "C", "y"), (3, "a", "b"), (3, "c", "d"), (4, "e", "f")]
    http_project(tmp_path, "objects: {things: {upsert: POST /t}}", "", "")
    if source == "files":
        text = "".join(f"{key},{name},{town or ''}\n" for key, name, town in rows)
        (tmp_path / "data" / "m.csv").write_text(f"id,name,town\n{text}")
    if source == "sqlite":
        (tmp_path / "sources" / "files.yml").write_text("type: sqlite\npath: from.sqlite\n")
        connection = sqlite3.connect(tmp_path / "from.sqlite")
        connection.execute("CREATE TABLE m (id INTEGER, name TEXT, town TEXT)")
        connection.executemany("INSERT INTO m VALUES (?, ?, ?)", rows)
        connection.commit()
        connection.close()
    with Project.open(tmp_path) as opened:
        found = next(one.message for one in opened.check().findings if one.subject == "model m")
    assert "3 keys that occur more than once" in found
    assert "2 2 times: all equal" in found
    assert "1 2 times: town NULL | x" in found or "1 2 times: town x | NULL" in found
    assert "3 2 times: name a | c, town b | d" in found or "3 2 times: name c | a, town d | b" in found

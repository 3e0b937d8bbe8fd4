"""The preview of a model computes what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada import Project
from levada_process import small_project

LATE = "select range as id, if(range > 60000, error('computed in vain'), 'x') as note from range(100000)"


@pytest.mark.parametrize("query", [LATE, LATE + " -- with a comment", LATE + ";", LATE + "; -- and an end"])
def test_a_preview_does_not_compute_the_rows_that_it_does_not_show(tmp_path: Path, query: str) -> None:
    """However the query ends."""
    small_project(tmp_path, 3)
    (tmp_path / "models/late.sql").write_text(f"/*\nsource: shop\nkey: id\n*/\n{query}\n")
    with Project.open(tmp_path) as project:
        found = project.preview("late", rows=3)
    assert [dict(row) for row in found.rows] == [{"id": number, "note": "x"} for number in range(3)]

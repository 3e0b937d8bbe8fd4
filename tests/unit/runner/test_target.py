"""A ledger belongs to the object and the place that it was kept for."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada.errors import ConfigError
from levada.project.scaffold import EXAMPLE_SYNC, scaffold
from levada.runner.project import Project

CRM = "type: sqlite\npath: ${CRM_FILE:-crm.db}\ncreate_tables: true\n"


def started(folder: Path) -> None:
    scaffold(folder, "acme")
    (folder / "destinations/crm.yml").write_text(CRM, encoding="utf-8")
    with Project.open(folder) as project:
        assert project.run(EXAMPLE_SYNC).status == "succeeded"


def test_the_same_name_in_another_place_is_not_taken_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another environment's database behind the name, nothing is planned from the first one's ledger."""
    started(tmp_path)
    monkeypatch.setenv("CRM_FILE", "production.db")
    with Project.open(tmp_path) as project:
        with pytest.raises(ConfigError) as planned:
            project.plan(EXAMPLE_SYNC)
        result = project.run(EXAMPLE_SYNC)
    assert planned.value.code == "config.target_changed"
    assert result.error is not None
    assert (result.error.code, result.exit_code) == ("config.target_changed", 2)
    assert not (tmp_path / "production.db").exists()


def test_beginning_anew_accepts_the_other_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`resync --rebuild` sends everything to the new place, and from then on it is the sync's own."""
    started(tmp_path)
    monkeypatch.setenv("CRM_FILE", "production.db")
    with Project.open(tmp_path) as project:
        again = project.resync(EXAMPLE_SYNC, rebuild=True)
        assert (again.status, again.tally.delivered_total) == ("succeeded", 8)
        assert project.run(EXAMPLE_SYNC).tally.requests == 0


def test_the_same_place_is_no_change(tmp_path: Path) -> None:
    """The same file, written another way."""
    started(tmp_path)
    (tmp_path / "destinations/crm.yml").write_text(CRM.replace("crm.db", "./data/../crm.db"), encoding="utf-8")
    with Project.open(tmp_path) as project:
        assert project.run(EXAMPLE_SYNC).status == "succeeded"

"""What `levada init` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from levada.errors import ConfigError
from levada.project import files as project_files
from levada.project.listing import find_root
from levada.project.scaffold import EXAMPLE_SYNC, scaffold
from levada.runner.scaffold import begin


class AnyOptions(BaseModel, extra="allow"):
    """Takes every option: the real ones are tested where they are."""


def _read(root: Path) -> project_files.ProjectFiles:
    return project_files.load(
        root,
        source_options={"files": AnyOptions}.get,
        destination_options={"sqlite": AnyOptions}.get,
        known_sources=("files",),
        known_destinations=("sqlite",),
        process={},
    )


@pytest.mark.parametrize("name", ["acme", "Café \"del\" 'Mar': #1", "no", "007", "$name"])
def test_a_fresh_project_is_valid_and_has_its_name(tmp_path: Path, name: str) -> None:
    """Whatever the name, the files that are written can be read."""
    done = scaffold(tmp_path / "new", name)
    files = _read(tmp_path / "new")
    assert files.settings.name == name
    assert set(files.syncs) == {EXAMPLE_SYNC}
    assert files.notices == ()
    assert done.kept == ()
    assert set(done.written) == {
        path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*") if path.is_file()
    }


def test_the_example_agrees_with_its_data(tmp_path: Path) -> None:
    """Every column that the model and its key name is in the CSV file."""
    scaffold(tmp_path, "acme")
    header = (tmp_path / "data/customers.csv").read_text().splitlines()[0].split(",")
    model = _read(tmp_path).models["customers"].model
    assert set(model.key) | set(model.columns) <= set(header)
    assert all(column in header for column in ("email", "first_name", "last_name", "country", "lifetime_value"))


def test_state_and_secrets_are_ignored_by_git(tmp_path: Path) -> None:
    """From the first commit on."""
    scaffold(tmp_path, "acme")
    assert {".levada/", ".env", ".env.*"} <= set((tmp_path / ".gitignore").read_text().splitlines())


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """What is there stays, and is named; a project that is there is refused."""
    (tmp_path / "README.md").write_text("mine\n")
    done = scaffold(tmp_path, "acme")
    assert done.kept == ("README.md",)
    assert (tmp_path / "README.md").read_text() == "mine\n"
    with pytest.raises(ConfigError, match=r"a project in .* already"):
        scaffold(tmp_path, "other")
    assert _read(tmp_path).settings.name == "acme"


def test_no_project_is_begun_in_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a folder of it, however deep and whether it is there; the project is named. Beside it there is room."""
    begin(tmp_path / "acme")
    (tmp_path / "acme" / "models" / "old").mkdir()
    for here, folder in ((".", "new"), ("models/old", "."), ("models/old", "a/b"), ("models", "..")):
        monkeypatch.chdir(tmp_path / "acme" / here)
        with pytest.raises(ConfigError, match=r"project") as caught:
            begin(Path(folder))
        assert str(tmp_path / "acme") in caught.value.message
        assert "levada init OTHER/FOLDER" in str(caught.value.hint)
    assert not list((tmp_path / "acme").rglob("levada.yml"))[1:]
    monkeypatch.chdir(tmp_path / "acme" / "models")
    assert begin(Path("../../beside")).root == tmp_path / "beside"
    assert _read(tmp_path / "beside").settings.name == "beside"


def test_a_path_that_leads_out_of_a_project_does_not_find_it(tmp_path: Path) -> None:
    """`-p ../other` in a project is not that project."""
    begin(tmp_path / "acme")
    with pytest.raises(ConfigError) as caught:
        find_root(tmp_path / "acme" / ".." / "other")
    assert caught.value.code == "config.no_project"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With the system's reason, and a hint."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        scaffold(tmp_path / "file" / "acme", "acme")

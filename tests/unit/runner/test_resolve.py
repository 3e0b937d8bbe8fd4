"""Mistakes of a mapping are found before a row is read, at their place in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada.errors import ConfigError
from levada.project.scaffold import EXAMPLE_SYNC, scaffold
from levada.runner.project import Project
from levada.runner.resolve import resolve


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        ("email: {column: emial}", ":7:19", "the model has no column emial"),
        ("email: {sql: \"read_text('/etc/passwd')\"}", ":7:10", "the function read_text may not be used here"),
        ("email: {column: email, apply: [normalise_email]}", ":7:10", "there is no transform 'normalise_email'"),
        ("email: {template: 'Hi {{ nobody }}'}", ":7:10", "nobody"),
    ],
)
def test_an_error_of_a_field_names_its_place(tmp_path: Path, written: str, place: str, message: str) -> None:
    """file:line:column, what happened, and a hint."""
    scaffold(tmp_path, "acme")
    path = tmp_path / "syncs" / f"{EXAMPLE_SYNC}.yml"
    text = path.read_text(encoding="utf-8")
    right = "email: {column: email, apply: [normalize_email]}"
    assert right in text
    path.write_text(text.replace(right, written), encoding="utf-8")
    with Project.open(tmp_path) as project, pytest.raises(ConfigError) as caught:
        resolve(project, EXAMPLE_SYNC)
    assert str(caught.value.where).endswith(f"{EXAMPLE_SYNC}.yml{place}")
    assert message in caught.value.message
    assert caught.value.hint

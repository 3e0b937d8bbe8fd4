"""What a sync says and its destination cannot do is refused by name; what changes nothing is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada.errors import ConfigError
from levada.runner.project import Project
from levada.runner.resolve import resolve
from servers.answering import http_project

ROWS = "id,name,town\n1,A,\n2,A,x\n"
TABLE = "type: sqlite\npath: to.sqlite\ncreate_tables: true\n"
FILES = "type: files\npath: out\nformat: csv\n"


def project(folder: Path, sync: str, verbs: str = "upsert: POST /t", destination: str = "") -> Project:
    http_project(folder, f"objects: {{things: {{{verbs}}}}}", ROWS, sync)
    if destination:
        (folder / "destinations" / "api.yml").write_text(destination)
    return Project.open(folder)


@pytest.mark.parametrize(
    "verbs",
    [
        "upsert: {send: POST /t, query: {n: '{name}'}, record: '{fields}'}",
        "upsert: {send: POST /t, headers: {X-Name: '{name}'}, record: '{fields}'}",
        "upsert: {send: POST /t, encoding: csv}",
        "upsert: {send: POST /t, record: {id: '{id}', t: '{town}', names: ['{name}']}}",
        "upsert: {send: POST /t, record: {id: '{id}', t: '{town}', hello: 'Dear {name}'}}",
        "create: POST /t, update: {send: POST /t, record: {id: '{id}', t: '{town}', of: [{hello: 'Dear {name}'}]}}",
    ],
)
def test_a_field_that_cannot_be_left_out_is_refused_under_skip(tmp_path: Path, verbs: str) -> None:
    """The request would empty the field, as under clear; the refusal names it, and clear is taken."""
    with project(tmp_path, "nulls: skip", verbs) as opened, pytest.raises(ConfigError, match="hold name") as caught:
        resolve(opened.world, "s")
    assert caught.value.code == "config.nulls_not_possible"
    assert caught.value.where is not None
    assert caught.value.where.line == 3
    with project(tmp_path, "nulls: clear", verbs) as opened:
        resolve(opened.world, "s")


@pytest.mark.parametrize(
    ("verbs", "fields"),
    [
        ("upsert: {send: POST /t, record: {id: '{id}', in: [{n: '{name}', t: '{town}'}]}}", "all"),
        ("upsert: {send: POST /t, encoding: form, record: '{fields_all}'}", "all"),
        ("upsert: {send: 'PUT /t/{id}', record: {n: '{name}', t: '{town}', title: 'No. {id}'}}", "all"),
        ("upsert: {send: POST /t, record: {id: '{id}', by: 'by {who}'}}", "{id: id, who: {value: us}}"),
    ],
)
def test_what_can_be_left_out_or_is_never_null_is_taken_under_skip(tmp_path: Path, verbs: str, fields: str) -> None:
    """Members of objects, match fields, the model's key, constants."""
    with project(tmp_path, f"nulls: skip\nfields: {fields}", verbs) as opened:
        resolve(opened.world, "s")


@pytest.mark.parametrize(
    ("destination", "mode"), [(TABLE, "append"), (FILES, "append"), (FILES, "insert"), (FILES, "replace")]
)
def test_match_is_refused_where_nothing_is_found_by_it(tmp_path: Path, destination: str, mode: str) -> None:
    """Two rows with one match value are two rows there; without `match` both arrive."""
    with (
        project(tmp_path, f"mode: {mode}\nmatch: {{name: name}}", destination=destination) as opened,
        pytest.raises(ConfigError, match=f"mode {mode} adds every row .* match has no meaning") as caught,
    ):
        opened.run("s")
    assert caught.value.code == "config.match_not_possible"
    assert caught.value.where is not None
    assert caught.value.where.line == 4
    with project(tmp_path, f"mode: {mode}", destination=destination) as opened:
        assert opened.run("s").counts.added == 2


@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_match_has_its_meaning_in_other_modes_of_a_table(tmp_path: Path, mode: str) -> None:
    """Records are found by it; in mode replace a table that is made has it as its key."""
    with project(tmp_path, f"mode: {mode}\nmatch: {{town: town}}", destination=TABLE) as opened:
        resolve(opened.world, "s")


def test_requests_may_name_match_values_in_mode_append(tmp_path: Path) -> None:
    """An event says whose it is."""
    verbs = "append: {send: POST /t, record: {of: '{match}', fields: '{fields}'}}"
    with project(tmp_path, "mode: append\nmatch: {name: name}", verbs) as opened:
        resolve(opened.world, "s")


@pytest.mark.parametrize(
    ("verbs", "sync", "told"),
    [
        ("upsert: POST /t", "mode: upsert", True),
        ("create: POST /t, update: PATCH /t", "mode: update", True),
        ("append: POST /t", "mode: append", False),
        ("create: POST /t, update: PATCH /t", "mode: upsert", False),
    ],
)
def test_at_most_once_that_changes_nothing_is_told(tmp_path: Path, verbs: str, sync: str, told: bool) -> None:
    """It is for class D, as appends and plain creates are; another class settles a lost answer by itself."""
    with project(tmp_path, f"{sync}\ndelivery: at_most_once", verbs) as opened:
        found = [one for one in resolve(opened.world, "s").notices if "at_most_once changes nothing" in one]
    assert bool(found) == told
    assert not told or "class A" in found[0]


def test_a_table_with_marks_keeps_at_most_once_and_says_so(tmp_path: Path) -> None:
    """`plan` and `run` tell it."""
    with project(tmp_path, "mode: append\ndelivery: at_most_once", destination=TABLE) as opened:
        assert any("at_most_once changes nothing" in one and "class T" in one for one in opened.plan("s").notices)
        assert any("at_most_once changes nothing" in one for one in opened.run("s").notices)


@pytest.mark.parametrize(("mode", "refused"), [("append", True), ("upsert", False)])
def test_a_table_without_marks_cannot_keep_at_most_once_in_mode_append(
    tmp_path: Path, mode: str, refused: bool
) -> None:
    """Its rows may double when an answer is lost; an upsert leaves one record however often it is written."""
    sync = f"mode: {mode}\ndelivery: at_most_once"
    with project(tmp_path, sync, destination=TABLE + "marks: false\n") as opened:
        if not refused:
            assert opened.run("s").status == "succeeded"
            return
        with pytest.raises(ConfigError, match="at_most_once cannot be kept") as caught:
            opened.run("s")
    assert caught.value.code == "config.delivery_not_possible"
    assert caught.value.where is not None
    assert caught.value.where.line == 4

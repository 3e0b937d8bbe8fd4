"""One bad file each, and the exact error: file:line:column, message, hint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from levada.errors import ConfigErrors
from unit.project.folders import DESTINATIONS, GOOD, SOURCES, load, read, write

CASES = re.findall(
    r"^=== (\S.*)\n((?:(?!--- ).*\n)*)--- (.*)\n(?:hint: (.*)\n)?",
    (Path(__file__).parent / "bad_files.txt").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_the_table_is_read_whole() -> None:
    """A slip in its form must not drop a case."""
    text = (Path(__file__).parent / "bad_files.txt").read_text(encoding="utf-8")
    assert len(CASES) == len(re.findall(r"^===", text, re.MULTILINE)) > 60


@pytest.mark.parametrize(("file", "content", "message", "hint"), CASES)
def test_a_bad_file_gets_one_exact_error(tmp_path: Path, file: str, content: str, message: str, hint: str) -> None:
    """The place, what is wrong and what to do, word for word; and nothing else is complained of."""
    files = read(write(tmp_path, GOOD, {file: content}))
    separator = ":" if message[:1].isdigit() else ": "
    assert [str(error) for error in files.errors] == [
        f"{file}{separator}{message}" + (f"\nhint: {hint}" if hint else "")
    ]


def test_both_endings_of_one_name_are_an_error_that_names_both_files(tmp_path: Path) -> None:
    """Which of them would hold is not left to chance."""
    files = read(write(tmp_path, GOOD, {"destinations/crm.yaml": "type: tool\n", "levada.yaml": ""}))
    twice = "is declared twice: in"
    assert [f"{error.where}: {error.message}" for error in files.errors] == [
        f"levada.yaml: the project {twice} levada.yml and in levada.yaml",
        f"destinations/crm.yml: the destination `crm` {twice} destinations/crm.yaml and in destinations/crm.yml",
    ]


def test_a_file_that_is_not_utf_8_is_named_with_the_byte(tmp_path: Path) -> None:
    """An editor with an old encoding is a common slip."""
    files = read(write(tmp_path, GOOD, {"syncs/a.yml": b"model: customers\nto: crm.x\n# caf\xe9\n"}))
    assert [str(error) for error in files.errors] == [
        "syncs/a.yml:3:6: the byte 0xe9 is not UTF-8\nhint: save the file as UTF-8"
    ]


def test_everything_that_is_wrong_is_shown_at_once(tmp_path: Path) -> None:
    """Ten mistakes take one reading, in the order of the files and lines."""
    bad = {
        "levada.yml": "nam: acme\n",
        "sources/shop.yml": "type: warehouse\nport: ${P}\nx: 1\n",
        "syncs/b.yml": "model: nobody\nto: crm.x\nmode: foo\nfields: {a: {colum: b}, c: 5}\n",
        "syncs/a.yml": "a: b: c\n",
    }
    with pytest.raises(ConfigErrors) as caught:
        load(write(tmp_path, GOOD, bad))
    assert [(str(error.where), error.code) for error in caught.value.errors] == [
        ("levada.yml:1:1", "config.unknown_key"),
        ("sources/shop.yml:1:1", "config.missing_key"),
        ("sources/shop.yml:2:7", "config.missing_variable"),
        ("sources/shop.yml:3:1", "config.unknown_key"),
        ("syncs/a.yml:1:5", "config.yaml"),
        ("syncs/b.yml:1:8", "config.unknown_name"),
        ("syncs/b.yml:3:7", "config.wrong_value"),
        ("syncs/b.yml:4:14", "config.unknown_key"),
        ("syncs/b.yml:4:28", "config.wrong_type"),
    ]
    assert len({error.code for error in caught.value.errors}) > 4


def test_an_error_never_repeats_a_secret(tmp_path: Path) -> None:
    """Neither one that stands in the file nor one that a reference brought."""
    bad = {
        "destinations/crm.yml": "type: tool\ntoken: [hunter2-in-file]\nauth: {bearer: x, password: hunter2-too}\n",
        "sources/shop.yml": "type: warehouse\nurl: x\nport: ${PORT_PASSWORD}\n",
        "levada.yml": "timezone: ${ZONE_SECRET}\n",
    }
    process = {"PORT_PASSWORD": "hunter2-env", "ZONE_SECRET": "hunter2-zone"}
    files = read(write(tmp_path, GOOD, bad), process=process)
    assert len(files.errors) >= 4
    assert "hunter2" not in "".join(str(error) + str(error.as_dict()) for error in files.errors)
    assert "hunter2" not in repr(files)


def test_the_types_that_the_tests_use_are_those_of_the_table() -> None:
    """The hints above list all types there are."""
    assert (list(SOURCES), list(DESTINATIONS)) == (["warehouse"], ["tool"])

"""Nobody's words speak to the terminal, and none of them is kept: a tool's, a file's, a row's, a column's name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from levada_process import Ended, levada, write
from security.canaries import outputs
from servers.answering import answering

EVIL = "a\x1b]0;owned\x07b\r\x08c\x9b31md\x7fe\u202ef\u2066g\u200fh\x00i\x85j"
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
COMMANDS = (
    ("run", "-v"),
    ("run", "--json"),
    ("records", "people"),
    ("records", "people", "--json"),
    ("status",),
    ("preview", "people"),
    ("preview", "people", "--json"),
)
FILES = {
    "levada.yml": "name: letters\n",
    "sources/shop.yml": "type: files\npath: data\n",
    "models/rows.sql": "/*\nsource: shop\nkey: id\n*/\nselect * from rows\n",
    "syncs/people.yml": "model: rows\nto: crm.people\nfields: all\nguard: {rows_min: 0}\n",
}


def _typed(text: str) -> str:
    """What may stand in a file that is typed: no NUL, and no character that ends a line."""
    return text.replace("\r", "").replace("\x00", "").replace("\x85", "")


def _look(case: str, ended: Ended) -> list[str]:
    return [
        f"{case}: {name}: {found!r}"
        for name, text in (("stdout", ended.out), ("stderr", ended.talk))
        if (found := OBEYED.findall(text))
    ]


@pytest.mark.parametrize("status", [207, 401, 422])
def test_a_tools_words_neither_speak_to_the_terminal_nor_are_kept(tmp_path: Path, status: int) -> None:
    """Answers whose words hold what terminals obey: no output of any command has such a character, with `--json` or
    without, nor has what is stored of the tool's words."""
    folder = write(tmp_path, {**FILES, "data/rows.csv": f'id,name\n1,"{_typed(EVIL)}"\n2,plain\n'})

    def answers(method: str, path: str, body: str) -> tuple[int, Any]:
        return status, {"error": EVIL, "message": EVIL, "id": EVIL, EVIL: EVIL, "errors": [{"message": EVIL}]}

    with answering(answers) as tool:
        people = '{match: id, upsert: "PUT /people/{id}"}'
        write(
            folder,
            {"destinations/crm.yml": f"type: http\nbase_url: {tool.url}\nauth: none\nobjects: {{people: {people}}}\n"},
        )
        found: list[str] = []
        for command in COMMANDS:
            ended = levada(folder, *command)
            found += _look(" ".join(command), ended)
            assert "--json" not in command or all(json.loads(line) for line in ended.out.splitlines())
        assert tool.asked
    assert found == []
    words = [text for name, text in outputs(folder) if name.startswith(".levada/state.sqlite:")]
    assert words
    assert [text for text in words if b"\x1b" in text or b"\x07" in text] == []


def test_names_in_files_do_not_speak_to_the_terminal(tmp_path: Path) -> None:
    """A project's own words come back in errors, too: types, tables, keys, columns."""
    evil = json.dumps(_typed(EVIL))
    for name, changed in {
        "type": {"destinations/crm.yml": f"type: {evil}\n"},
        "key": {"destinations/crm.yml": f"type: sqlite\npath: x.db\n{evil}: 1\n"},
        "table": {
            "destinations/crm.yml": "type: sqlite\npath: x.db\n",
            "syncs/people.yml": f"model: rows\nto: {evil}\n",
        },
        "column": {
            "destinations/crm.yml": "type: sqlite\npath: x.db\ncreate_tables: true\n",
            "syncs/people.yml": f"model: rows\nto: crm.people\nfields: {{id: id, name: {evil}}}\n",
        },
    }.items():
        folder = write(tmp_path / name, {**FILES, **changed, "data/rows.csv": "id,name\n1,x\n"})
        for command in (("check",), ("plan", "--json"), ("run", _typed(EVIL)))[: 3 if name == "type" else 2]:
            assert _look(f"{name}: {command[0]}", levada(folder, *command)) == []

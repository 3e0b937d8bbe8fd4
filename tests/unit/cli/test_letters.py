"""What is written where a terminal does not have every letter, and how a person is told which command to type."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from levada.cli.invocation import command_of
from levada.cli.letters import knows_only_ascii
from levada.wording import called, called_in
from levada_process import environment, small_project, started

#: a name, an arrow, a character outside the basic plane, and one that is wider than it looks
ODD = "Müller→😀表"
COMMANDS = (
    ("--help",),
    ("run", "--help"),
    ("secrets", "--help"),
    ("check",),
    ("plan",),
    ("run",),
    ("records", "customers_to_crm"),
    ("preview", "customers_to_crm"),
    ("runs",),
    ("status",),
    ("doctor",),
    ("connectors", "http"),
    ("schema", "sync"),
    ("plan", "Müller"),
    ("plan", "--json"),
    ("plan", "Müller", "--json"),
    ("nosuch", "--json"),
    ("records", "customers_to_crm", "--json"),
)


def odd_project(folder: Path) -> Path:
    small_project(folder, rows=2)
    (folder / "data" / "customers.csv").write_text(f"id,email,score\n1,{ODD},1\n,no key,2\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "variables", [{"LANG": "C"}, {"LC_ALL": "POSIX"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_every_command_speaks_the_letters_that_there_are(tmp_path: Path, variables: dict[str, str]) -> None:
    """Nothing fails and nothing else than those letters is written; JSON documents still hold every character."""
    folder = odd_project(tmp_path)
    wanted = "latin-1" if "latin-1" in variables.values() else "ascii"
    kept = {name: value for name, value in environment().items() if name not in ("LANG", "LC_ALL", "LC_CTYPE")}
    for arguments in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "levada", *arguments],
            cwd=folder,
            env={**kept, **variables},
            capture_output=True,
            check=False,
        )
        out, talk = done.stdout.decode(wanted), done.stderr.decode(wanted)
        assert "Error" not in talk, (arguments, talk)
        assert done.returncode in (0, 2, 3), (arguments, talk)
        if "--json" in arguments:
            found = [json.loads(line) for line in out.splitlines()]
            assert found, arguments
            if arguments[0] == "records":
                assert found[0]["after"]["email"] == ODD.lower()
        if arguments == ("records", "customers_to_crm"):
            assert ("m\\xfcller" if wanted == "ascii" else "müller") in out
            assert "\\U0001f600" in out
            assert "?" not in out


def test_a_dumb_terminal_gets_ascii(tmp_path: Path) -> None:
    """A terminal that says it is dumb is written ASCII, whatever the locale; a pipe is no terminal."""
    folder = odd_project(tmp_path)
    assert started(folder, "run", TERM="dumb").code == 3
    main, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "levada", "records", "customers_to_crm"],
        cwd=folder,
        env=environment(TERM="dumb", LANG="C.UTF-8"),
        stdout=other,
        stderr=other,
    ) as process:
        os.close(other)
        written = b""
        while True:
            try:
                piece = os.read(main, 4096)
            except OSError:
                break
            if not piece:
                break
            written += piece
        assert process.wait() == 0
    os.close(main)
    assert "m\\xfcller" in written.decode("ascii")
    assert "müller" in started(folder, "records", "customers_to_crm", TERM="dumb", LANG="C.UTF-8").out


def test_the_environment_says_what_is_known() -> None:
    """The locale counts, the more special name first; what is asked of Python goes before it."""
    assert knows_only_ascii({"LANG": "C"}, False)
    assert knows_only_ascii({"LANG": "de_DE.UTF-8", "LC_ALL": "POSIX"}, False)
    assert not knows_only_ascii({"LANG": "C", "LC_ALL": "C.UTF-8"}, False)
    assert not knows_only_ascii({}, True)
    assert not knows_only_ascii({"LANG": "C", "PYTHONIOENCODING": "utf-8"}, True)
    assert knows_only_ascii({"TERM": "dumb", "LANG": "de_DE.UTF-8"}, True)
    assert not knows_only_ascii({"TERM": "dumb", "LANG": "de_DE.UTF-8"}, False)


def test_hints_name_the_command_as_it_was_called(tmp_path: Path) -> None:
    """`python -m levada`, the path of a script, or `levada` where the search path finds that very one."""
    assert command_of("/x/levada/__main__.py", [".venv/bin/python", "-P", "-m", "levada", "run"]) == (
        ".venv/bin/python -P -m levada"
    )
    script = tmp_path / "my tools" / "levada"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o700)
    assert command_of(str(script), [sys.executable, str(script), "run"]) == f"'{script}'"
    assert command_of("/usr/bin/pytest", ["pytest"]) == "levada"
    assert command_of("/x/pytest/__main__.py", ["python", "-m", "pytest"]) == "levada"
    before = os.environ["PATH"]
    try:
        os.environ["PATH"] = str(script.parent)
        assert command_of(str(script), [sys.executable, str(script)]) == "levada"
    finally:
        os.environ["PATH"] = before


def test_only_commands_are_exchanged() -> None:
    """A word of a row, an import and a package's name are no command; values of rows in documents are left."""
    text = "`levada run x` or levada --help; from levada import destination; pip install 'levada[postgres]'; ./levada y"
    assert called(text, "py -m levada") == (
        "`py -m levada run x` or py -m levada --help; from levada import destination; "
        "pip install 'levada[postgres]'; ./levada y"
    )
    document = {
        "next": "levada run x",
        "guard": {"reasons": [{"message": "levada plan", "keys": ["levada run"]}]},
        "notices": ["levada retry x"],
        "sample": [{"after": {"hint": "levada run"}}],
    }
    assert called_in(document, "L") == {
        "next": "L run x",
        "guard": {"reasons": [{"message": "L plan", "keys": ["levada run"]}]},
        "notices": ["L retry x"],
        "sample": [{"after": {"hint": "levada run"}}],
    }


def test_a_process_says_how_it_was_called(tmp_path: Path) -> None:
    """In hints, in status, and in JSON."""
    folder = small_project(tmp_path, rows=2)
    said = f"{sys.executable} -m levada"
    assert f"{said} run customers_to_crm   sends 2 records" in started(folder, "plan").talk
    assert started(folder, "plan", "--json").document["next"] == f"{said} run customers_to_crm"
    assert f"{said} plan customers_to_crm" in started(folder, "status").out
    assert f"did you mean {said} plan?" in started(folder, "plam").talk
    assert started(folder, "plam", "--json").document["error"]["hint"] == f"did you mean {said} plan?"


def test_a_home_that_is_missing_is_no_hindrance(tmp_path: Path) -> None:
    """Without HOME everything works; where HOME is no folder, only a first secret needs another place, and says so."""
    folder = small_project(tmp_path, rows=2)
    for home in ("", "/dev/null"):
        assert started(folder, "check", HOME=home).code == 0
        assert started(folder, "run", HOME=home).code == 0
        assert started(folder, "status", HOME=home).code == 0
    refused = started(folder, "secrets", "set", "TOKEN", text="a secret", HOME="/dev/null", XDG_CONFIG_HOME="")
    assert (refused.code, "LEVADA_KEY_FILE" in refused.talk, "Traceback" in refused.talk) == (2, True, False)
    key = str(tmp_path / "keys" / "master")
    kept = started(folder, "secrets", "set", "TOKEN", text="gêheim", HOME="/dev/null", LEVADA_KEY_FILE=key, LANG="C")
    assert kept.code == 0, kept

"""The reference pages say what the code does: each error code, each command, each exit code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

from levada.cli import endings
from levada.cli.app import COMMANDS, app
from levada.cli.reference import page
from levada.errors import LevadaError, StoppedError
from levada.run import EXIT_CODES, PauseReason, Status
from levada.runner.standing import STATES, State

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "levada"
REFERENCE = ROOT / "docs" / "reference"
_CODE = re.compile(r"(config|access|source|destination|usage|run)\.[a-z][a-z_]*")


def _raised_codes() -> set[str]:
    """Every code in the source: of the error classes, of `code=` arguments, and wherever one stands as a text."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        if "testing" in path.relative_to(SOURCE).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(value=str() as text) if _CODE.fullmatch(text):
                    found.add(text)
                case ast.Call(func=func, keywords=keywords) if ast.unparse(func).endswith("Error"):
                    for keyword in keywords:
                        if keyword.arg == "code":
                            found |= {c.value for c in ast.walk(keyword.value) if _is_text(c)}  # type: ignore[attr-defined]
                case ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str() as text)):
                    found.add(text)
                case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str() as text)):
                    found.add(text)
                case _:
                    pass
    return {code for code in found if code and not code.endswith(".")} - {"error"}


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _documented_codes() -> set[str]:
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    return set(re.findall(r"^### (\S+)$", text, flags=re.MULTILINE))


def test_every_error_code_has_a_section() -> None:
    """Whoever meets an error finds its code on the page."""
    assert _raised_codes() - _documented_codes() == set()


def test_the_page_of_errors_names_no_code_that_is_gone() -> None:
    """A section for a code that nothing raises would send readers astray."""
    made_of_parts = {"destination.outage", "destination.quota", "destination.rate", "usage", "bug"}
    assert _documented_codes() - _raised_codes() - made_of_parts == set()


def test_the_page_of_commands_is_what_make_docs_would_write() -> None:
    """docs/reference/cli.md is made from the commands; `make docs` brings it up to date."""
    assert (REFERENCE / "cli.md").read_text(encoding="utf-8") == page()


def test_the_summaries_of_the_command_table_belong_to_commands_that_load() -> None:
    """The table that `levada --help` prints without importing anything is true of what it names."""
    for name in COMMANDS:
        command = app.get_command(app.make_context("levada", ["version"]), name)
        assert command is not None
        assert command.name == name
        assert command.help


def test_the_page_of_exit_codes_is_what_make_docs_would_write() -> None:
    """docs/reference/exit-codes.md is made from what ends with each code."""
    assert (REFERENCE / "exit-codes.md").read_text(encoding="utf-8") == endings.page()


def test_every_status_pause_and_error_is_in_the_table_of_ends() -> None:
    """Nothing that a run or an error can end with is left out, and each has the exit code that it really has."""
    rows = list(endings.endings())
    assert {row.status for row in rows} == {*get_args(Status), "busy"}
    assert {row.reason for row in rows if row.status == "paused"} >= set(get_args(PauseReason))
    assert {row.code for row in rows} | set(endings.KILLED) == {0, 1, 2, 3, 4, 5, 130, 143}
    codes = {row.reason: row.code for row in rows} | {StoppedError.code: StoppedError.exit_code}
    for kind in _error_classes(LevadaError):
        if kind.code in codes:
            assert codes[kind.code] == kind.exit_code
        else:
            assert codes[f"{kind.code.partition('.')[0]}.*".replace("config.*", "config.*, usage.*, run.*")] is not None
    assert set(STATES) == set(get_args(State))


def _error_classes(kind: type[LevadaError]) -> list[type[LevadaError]]:
    ours = [one for one in kind.__subclasses__() if one.__module__ == "levada.errors"]
    return [*ours, *(each for one in ours for each in _error_classes(one))]


def test_every_exit_code_is_on_its_page() -> None:
    """The page lists each code that a run's status becomes."""
    text = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", text, flags=re.MULTILINE)}
    assert set(EXIT_CODES.values()) - listed == set()

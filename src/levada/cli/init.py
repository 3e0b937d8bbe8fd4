"""`levada init`."""

from __future__ import annotations

from pathlib import Path

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared


@declared("init")
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", help="The project's name (default: the folder's).")
def command(invocation: Invocation, folder: Path, name: str | None) -> int:
    """Begin a project in FOLDER: a small one that runs at once, to be changed step by step.

    Overwrites nothing.
    """
    from levada.runner.scaffold import begin

    terminal = invocation.terminal
    written = begin(folder, name)
    if terminal.json:
        terminal.document({"project": str(folder), "files": [str(path) for path in written]})
        return 0
    for path in written:
        terminal.line(f"wrote {path}")
    at = "" if str(folder) == "." else f" -p {folder}"
    terminal.hint(f"levada check{at}, then levada plan{at}, then levada run{at}")
    return 0

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

    Overwrites nothing, and begins none in another project's folder.
    """
    from levada.runner.scaffold import begin

    terminal = invocation.terminal
    made = begin(folder, name)
    if terminal.json:
        terminal.document({"project": str(made.root), "written": list(made.written), "kept": list(made.kept)})
        return 0
    for path in made.written:
        terminal.line(f"wrote {folder / path}")
    for path in made.kept:
        terminal.say(f"{folder / path} was there already and stays as it is")
    at = "" if str(folder) == "." else f" -p {folder}"
    terminal.hint(f"levada check{at}, then levada plan{at}, then levada run{at}")
    return 0

"""`levada preview`."""

from __future__ import annotations

import sys

import click

from levada.cli.interruption import stopping
from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.terminal import shown
from levada.wording import plural


@declared("preview")
@click.argument("name", metavar="SYNC|MODEL")
@click.option("--rows", type=click.IntRange(1, 1_000), default=10, show_default=True, help="How many rows.")
def command(invocation: Invocation, name: str, rows: int) -> int:
    """Show the first rows of a sync as they would arrive at its destination, or the rows of a model.

    Changes nothing and asks the destination only for its fields.
    """
    terminal = invocation.terminal
    with invocation.open() as project, stopping(project.stop, lambda: project.computing, sends=False):
        view = project.preview(name, rows)
    if terminal.json:
        terminal.document(view.as_dict())
        return 0
    from rich.text import Text

    terminal.line(Text(f"{view.title}: the first {plural(len(view.rows), 'row')}", "bold"))
    room = 40
    if sys.stdout.isatty():
        room = max(8, min(room, terminal.width // max(1, min(len(view.columns), 6)) - 2))
    terminal.table(view.columns, [[Text(shown(row[column], room)) for column in view.columns] for row in view.rows])
    for notice in view.notices:
        terminal.say(f"notice: {notice}", "dim")
    return 0

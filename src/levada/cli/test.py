"""`levada test`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.wording import plural


@declared("test")
@click.argument("names", nargs=-1, metavar="[CONNECTOR]...")
def command(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Run the cases of the project's own connectors: records in, request out, answer in, outcomes out.

    Sends nothing. Exit code 1 if a case fails.
    """
    terminal = invocation.terminal
    with invocation.open() as project:
        found = project.test(names)
    failed = [one for one in found if one.failure]
    if terminal.json:
        terminal.document({"ok": not failed, "cases": [one.as_dict() for one in found]})
        return 1 if failed else 0
    from rich.text import Text

    for one in found:
        mark = ("✗", "bold red") if one.failure else ("✓", "green")
        terminal.line(Text.assemble(mark, f" {one.connector}: {one.case}"))
        for line in one.failure.splitlines():
            terminal.line(f"    {line}")
    terminal.say(
        f"{plural(len(found), 'case')}, {len(failed)} failed" if found else "no connector of this project has cases"
    )
    return 1 if failed else 0

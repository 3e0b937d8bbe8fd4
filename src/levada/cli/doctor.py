"""`levada doctor`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared


@declared("doctor")
@click.option(
    "--accept-rollback", is_flag=True, help="Go on with a state that is older than it was, or damaged: trust no ledger."
)
def command(invocation: Invocation, accept_rollback: bool) -> int:
    """Examine this installation, and the project's state byte by byte. Exit code 2 if something is wrong."""
    from levada.runner.doctor import accept_rollback as accept
    from levada.runner.doctor import doctor
    from levada.runner.project import find_root

    terminal = invocation.terminal
    if accept_rollback:
        with invocation.open() as project:
            done = accept(project.world)
        if terminal.json:
            terminal.document({"done": list(done)})
        for sentence in done:
            terminal.line(terminal.said(sentence))
        terminal.hint("the next run of each sync compares with nothing and sends what its model says")
        return 0
    if find_root(invocation.project or ".") is None and invocation.project is None:
        found = doctor(None)
    else:
        with invocation.open() as project:
            found = doctor(project.world)
    code = 2 if any(one.state == "wrong" for one in found) else 0
    if terminal.json:
        terminal.document({"ok": code == 0, "findings": [one.as_dict() for one in found]})
        return code
    from rich.text import Text

    marks = {"ok": ("✓", "green"), "notice": ("·", "yellow"), "wrong": ("✗", "bold red")}
    width = max(len(one.subject) for one in found)
    for one in found:
        terminal.line(Text.assemble(marks[one.state], " ", one.subject.ljust(width), "  ", terminal.said(one.message)))
        if one.hint:
            terminal.line(Text(f"  {' ' * width}  hint: {terminal.said(one.hint)}", "dim"))
    return code

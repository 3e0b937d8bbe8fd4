"""`levada status`."""

from __future__ import annotations

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.selection import SelectingCommand, chosen, selecting
from levada.wording import plural


@declared("status", cls=SelectingCommand)
@selecting
def command(invocation: Invocation, names: tuple[str, ...], select: tuple[str, ...], exclude: tuple[str, ...]) -> int:
    """Say what needs you, then how each sync stands, who must act, and what to do about it.

    With --json one document, whatever the number of syncs. Exit code 0, whatever it says.
    """
    terminal = invocation.terminal
    with invocation.open() as project:
        view = project.status(chosen(project, names, select, exclude))
    if terminal.json:
        terminal.document(view.as_dict())
        return 0
    from rich.text import Text

    from levada.runner.status import who_words

    terminal.line(Text(terminal.said(view.sentence), "bold"))
    for one in view.syncs:
        style = "bold red" if one.needs_you else "green" if one.state == "well" else "yellow"
        terminal.line()
        terminal.line(
            Text.assemble(
                ("● ", style),
                (one.sync, "bold"),
                f"  {one.model} → {one.to}  ({one.mode}, {one.schedule})  {plural(one.records, 'record')}",
            )
        )
        for fact in one.standing:
            terminal.line(f"  {terminal.said(fact.sentence)}")
            if fact.state != "well":
                terminal.line(Text(f"    {terminal.said(who_words(fact, one.schedule))}", "cyan"))
    return 0

"""`levada status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.selection import SelectingCommand, selecting
from levada.runner.selecting import startable
from levada.wording import plural

if TYPE_CHECKING:
    from levada.cli.terminal import Terminal
    from levada.runner.status import StatusView


@declared("status", cls=SelectingCommand)
@selecting
def command(invocation: Invocation, names: tuple[str, ...], select: tuple[str, ...], exclude: tuple[str, ...]) -> int:
    """Say what needs you, then how each sync stands, who must act, and what to do about it.

    With --json one document, whatever the number of syncs. Exit code 0, whatever it says; 2 if a file of the project is
    wrong, which is said after how the syncs stand that do not need it.
    """
    from levada.cli.app import error_document

    terminal = invocation.terminal
    with invocation.open() as project:
        named, errors = startable(project.world.files, (*names, *select), exclude)
        whole = [name for name in named if not project.world.files.errors_for([name])]
        errors = tuple(dict.fromkeys((*errors, *project.world.files.errors_for(named))))
        view = project.status(whole)
    code = max((error.exit_code for error in errors), default=0)
    if terminal.json:
        wrong = [error_document(error, invocation.clean) for error in errors]
        terminal.document({**view.as_dict(), **({"errors": wrong} if wrong else {})})
    else:
        _show(terminal, view)
    for error in errors:
        place = f"{error.where}: " if error.where else ""
        terminal.error(invocation.clean(place + error.message), error.hint and invocation.clean(error.hint))
    return code


def _show(terminal: Terminal, view: StatusView) -> None:
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

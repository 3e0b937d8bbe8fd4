"""`levada check`."""

from __future__ import annotations

from levada.cli.interruption import stopping
from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.selection import SelectingCommand, chosen, selecting
from levada.cli.terminal import plural


@declared("check", cls=SelectingCommand)
@selecting
def command(invocation: Invocation, names: tuple[str, ...], select: tuple[str, ...], exclude: tuple[str, ...]) -> int:
    """Check everything that can be checked without sending.

    Files, sources, keys (NULL and duplicate ones are counted and shown), destinations and their credentials,
    mappings, and the first rows as they would arrive. One line each; of a sync also what each kind of change
    becomes: the verb, the request or the table, and the fields that it sends. Exit code 2 if something is wrong,
    3 if only some rows are.
    """
    terminal = invocation.terminal
    with invocation.open() as project, stopping(project.stop, lambda: project.computing, sends=False):
        report = project.check(chosen(project, names, select, exclude))
    if terminal.json:
        terminal.document(report.as_dict())
        return report.exit_code
    from rich.text import Text

    marks = {"ok": ("✓", "green"), "notice": ("!", "yellow"), "wrong": ("✗", "bold red"), "rows": ("!", "yellow")}
    width = max((len(finding.subject) for finding in report.findings), default=0)
    for finding in report.findings:
        mark, style = marks[finding.state]
        where = f"{finding.where}: " if finding.where else ""
        terminal.line(Text.assemble((mark, style), " ", finding.subject.ljust(width), "  ", where + finding.message))
        for sending in finding.sending:
            terminal.line(Text(f"  {' ' * width}  {sending}", "dim"))
        if finding.hint:
            terminal.line(Text(f"  {' ' * width}  hint: {finding.hint}", "dim"))
    wrong = sum(finding.state != "ok" for finding in report.findings)
    terminal.say("all is well" if not wrong else f"{plural(wrong, 'finding')} to look at")
    return report.exit_code

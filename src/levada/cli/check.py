"""`levada check`."""

from __future__ import annotations

from levada.cli.interruption import stopping
from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.selection import SelectingCommand, chosen, selecting
from levada.wording import plural


@declared("check", cls=SelectingCommand)
@selecting
def command(invocation: Invocation, names: tuple[str, ...], select: tuple[str, ...], exclude: tuple[str, ...]) -> int:
    """Check everything that can be checked without sending.

    Files, sources, keys (NULL and duplicate ones are counted and shown), destinations and their credentials,
    mappings, and the first rows as they would arrive. One line each; of a sync also what each kind of change
    becomes: the verb, the request or the table, and the fields that it sends. Exit code 2 if something is wrong,
    1 if Levada has a bug, 5 if something cannot be reached now, 3 if only some rows are wrong. With --json one
    document, whatever the number of syncs.
    """
    terminal = invocation.terminal
    with invocation.open() as project, stopping(project.stop, lambda: project.computing, sends=False):
        report = project.check(chosen(project, names, select, exclude))
    if terminal.json:
        terminal.document(report.as_dict())
        return report.exit_code
    from rich.text import Text

    marks = {
        "ok": ("✓", "green"),
        "notice": ("!", "yellow"),
        "wrong": ("✗", "bold red"),
        "bug": ("✗", "bold red"),
        "away": ("…", "yellow"),
        "rows": ("!", "yellow"),
    }
    width = max((len(finding.subject) for finding in report.findings), default=0)
    for finding in report.findings:
        mark, style = marks[finding.state]
        where = f"{finding.where}: " if finding.where else ""
        terminal.line(
            Text.assemble(
                (mark, style), " ", finding.subject.ljust(width), "  ", where + terminal.said(finding.message)
            )
        )
        for sending in finding.sending:
            terminal.line(Text(f"  {' ' * width}  {sending}", "dim"))
        if finding.hint:
            terminal.line(Text(f"  {' ' * width}  hint: {terminal.said(finding.hint)}", "dim"))
    wrong = sum(finding.state != "ok" for finding in report.findings)
    terminal.say("all is well" if not wrong else f"{plural(wrong, 'finding')} to look at")
    return report.exit_code

"""`levada plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from levada.cli.interruption import stopping
from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.progress import Progress
from levada.cli.selection import SelectingCommand, selecting, started
from levada.errors import StoppedError

if TYPE_CHECKING:
    from levada.cli.terminal import Terminal
    from levada.runner.plan import PlanView


@declared("plan", cls=SelectingCommand)
@selecting
@click.option("--sample", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Operations to show.")
def command(
    invocation: Invocation, names: tuple[str, ...], select: tuple[str, ...], exclude: tuple[str, ...], sample: int
) -> int:
    """Show what a run would send: counts, the guard's verdict, what each kind of change becomes, and some records
    before and after.

    Changes nothing anywhere. The plan's id is the same for the same model against the same state:
    `levada approve` takes it. With --json: one document for one sync, one line for each of several.
    """
    from levada.cli.outcome import failed_line, worst

    terminal = invocation.terminal
    with (
        Progress(terminal) as progress,
        invocation.open(progress) as project,
        stopping(project.stop, lambda: project.computing, sends=False) as signals,
    ):
        selected, codes = started(invocation, project, names, select, exclude)
        for name in selected:
            try:
                view = project.plan(name, sample_size=sample)
            except Exception as error:
                if signals.told or isinstance(error, StoppedError):
                    raise
                # a bug in one sync does not keep the others
                codes.append(failed_line(invocation, project, name, error, several=len(selected) > 1))
                continue
            codes.append(0)
            if terminal.json:
                terminal.document(view.as_dict())
            else:
                draw(terminal, view)
    return worst(codes)


def draw(terminal: Terminal, view: PlanView) -> None:
    """A plan for people: the guard's verdict first, then counts, then records."""
    from rich.text import Text

    from levada.cli.drawing import change_lines, counts_lines, guard_lines, keys_width, sign
    from levada.cli.terminal import key_text, shown
    from levada.wording import plural

    plan, counts = view.plan, view.plan.counts
    head = Text.assemble((view.sync, "bold"), f"  {view.model} → {view.to}  ({view.mode})")
    identifier = Text(plan.plan_id, "dim")
    gap = terminal.width - len(head) - len(identifier)
    if view.undoes:
        head = Text.assemble((view.sync, "bold"), f"  undo of {view.undoes} in {view.to}")
    terminal.line(head + Text(" " * gap) + identifier if gap > 1 else head + Text("\n  ") + identifier)
    for line in guard_lines(view.guard, view.approved):
        terminal.line(line)
    ignores = view.mode in ("upsert", "update", "insert") and not view.undoes
    means = ["left alone, with the reasons below"] if view.undoes else []
    for line in counts_lines(counts, plan.fields_changed, ignores, *means):
        terminal.line(line)
    for sending in view.sending:
        terminal.line(Text(f"  {sending}", "dim"))
    listed = [*((row, "invalid") for row in view.invalid), *((row, "left") for row in view.left)]
    width = keys_width([one.key for one in view.sample] + [row.key for row, _ in listed])
    if view.sample:
        shown_of = f"{len(view.sample):,} of {plural(counts.operations, 'operation')}"
        terminal.line(Text(f"\n  {shown_of}:" if len(view.sample) < counts.operations else "", "dim"))
    for one in view.sample:
        for line in change_lines(one.kind, one.key, one.before, one.after, terminal.width, width):
            terminal.line(line)
    for row, name in listed:
        field = f"{row.field}: " if row.field else ""
        terminal.line(
            Text.assemble("  ", sign(name), " ", (key_text(row.key).ljust(width), "bold"), "  ")
            + Text(shown(field + row.reason, max(20, terminal.width - width - 6)))
        )
    for notice in view.notices:
        terminal.say(f"  notice: {notice}", "dim")
    if view.blocked:
        terminal.hint(f"nothing would be sent before: {view.next_command}")
    elif view.outlook.sent + view.outlook.held:
        later = f", and {view.outlook.held:,} after a wait" if view.outlook.held else ""
        terminal.hint(f"{view.next_command}   sends {plural(view.outlook.sent, 'record')}{later}")
    else:
        terminal.say("  nothing to send" + (" now" if counts.operations else ""))

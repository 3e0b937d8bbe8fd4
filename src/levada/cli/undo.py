"""`levada undo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.running import run_one, waits

if TYPE_CHECKING:
    from levada.runner.plan import PlanView


@declared("undo")
@click.argument("run", metavar="RUN")
@waits
@click.option("--plan", "plan_only", is_flag=True, help="Show what would be sent, and send nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@click.option("--sample", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Records to show.")
def command(invocation: Invocation, run: str, plan_only: bool, yes: bool, sample: int, wait: bool) -> int:
    """Take back what a run delivered, by a plan like any other.

    What the run made is removed, if the destination told that it was made; what it changed or removed gets back the
    values that stood there. What is not known is left alone and listed, and so is what a later run touched. The
    guard judges the plan (`undo_max`), and `levada approve` lets it pass. On a terminal the plan is shown first, and
    you are asked. Afterwards the sync is held: while its model still says what was taken back, the next run asks for
    an approval.
    """
    if plan_only:
        return _show(invocation, run, sample)
    agreed = None
    if not (yes or invocation.json) and _person_is_there(invocation):
        agreed = _agreed(invocation, run, sample)
    return run_one(invocation, lambda project: project.undo(run, plan_id=agreed), undoes=run, wait=wait)


def _person_is_there(invocation: Invocation) -> bool:
    import sys

    return sys.stdin.isatty() and invocation.terminal.interactive


def _show(invocation: Invocation, run: str, sample: int) -> int:
    from levada.cli.plan import draw

    terminal = invocation.terminal
    view = _planned(invocation, run, sample)
    if terminal.json:
        terminal.document(view.as_dict())
    else:
        draw(terminal, view)
    return 0


def _agreed(invocation: Invocation, run: str, sample: int) -> str:
    """Show the plan and ask; the id of the plan that is to be sent, and no other. Nothing runs meanwhile, so that a
    person who stops is heard."""
    from levada.cli.plan import draw

    view = _planned(invocation, run, sample)
    draw(invocation.terminal, view)
    if view.plan.counts.operations and not view.blocked:
        _ask("Take this back?")
    return view.plan.plan_id


def _ask(question: str) -> None:
    """Go on after `y`. Waits in short turns: a read that has begun does not hear a Ctrl-C of the moment before.

    Raises:
        click.Abort: any other answer, and the end of the input.
    """
    import select
    import sys

    click.echo(f"{question} [y/N]: ", nl=False, err=True)
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        pass
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise click.Abort


def _planned(invocation: Invocation, run: str, sample: int) -> PlanView:
    with invocation.open() as project:
        return project.plan_undo(run, sample_size=sample)

"""`levada run`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.running import run_each, waits
from levada.cli.selection import SelectingCommand, selecting


@declared("run", cls=SelectingCommand)
@selecting
@waits
@click.option("--discard-plan", is_flag=True, help="Drop a plan that cannot be read or resumed, and plan anew.")
def command(
    invocation: Invocation,
    names: tuple[str, ...],
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    discard_plan: bool,
    wait: bool,
) -> int:
    """Run syncs: plan, ask the guard, send, and remember what was confirmed. All of them if none is named.

    A run that was interrupted is finished first. Records that were refused are tried again. Ctrl-C stops
    after what is under way; the next run resumes. A sync that fails does not keep the others from running.

    With --json: one document for one sync, one line for each of several.
    """
    return run_each(
        invocation,
        names,
        select,
        exclude,
        lambda project, name: project.run(name, discard_plan=discard_plan),
        wait=wait,
    )

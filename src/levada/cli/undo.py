"""`levada undo`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.running import run_one


@declared("undo")
@click.argument("run", metavar="RUN")
def command(invocation: Invocation, run: str) -> int:
    """Take back what a run delivered: what it added is removed, what it changed or removed is put back.

    Records that a later run touched again are left as they are, and counted. Afterwards the sync is held:
    while its model still says what was undone, the next run asks for an approval first.
    """
    return run_one(invocation, lambda project: project.undo(run))

"""`levada retry`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.running import run_one


@declared("retry")
@click.argument("sync")
def command(invocation: Invocation, sync: str) -> int:
    """Send again what was refused, invalid or left without an answer.

    Every run does this by itself: what the destination has not confirmed is planned again. `retry` is that
    run, at once; what has changed in the model since is sent too.
    """
    return run_one(invocation, lambda project: project.retry(sync))

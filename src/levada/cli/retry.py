"""`levada retry`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.running import run_one, waits


@declared("retry")
@click.argument("sync")
@waits
def command(invocation: Invocation, sync: str, wait: bool) -> int:
    """Send again what was refused, invalid or left without an answer.

    Every run does this by itself, but what was refused several times waits: it is sent again after 1, 2, 4, … and
    at last every 24 runs, at least once a day, or as soon as its values change. `retry` is a run in which nothing
    waits: for when the reason was mended at the destination. What has changed in the model since is sent too.
    """
    return run_one(invocation, lambda project: project.retry(sync), sync=sync, wait=wait)

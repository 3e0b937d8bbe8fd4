"""`levada mark-synced`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.running import run_one, waits


@declared("mark-synced")
@click.argument("sync")
@waits
def command(invocation: Invocation, sync: str, wait: bool) -> int:
    """Take the model as already at the destination; send nothing.

    For a destination that was filled by other means: the next run sends only what changes from now on.
    """
    return run_one(invocation, lambda project: project.mark_synced(sync), sync=sync, wait=wait)

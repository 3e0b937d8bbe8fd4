"""`levada resync`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.running import run_one, waits


@declared("resync")
@click.argument("sync")
@waits
@click.option(
    "--rebuild",
    is_flag=True,
    help="Begin a new ledger: for a state that is corrupted. Pending removals are lost. Where a record that is there "
    "could be made a second time (append, classes B and D), nothing is sent before `levada approve`.",
)
def command(invocation: Invocation, sync: str, rebuild: bool, wait: bool) -> int:
    """Compare again with everything at the destination unknown: every record is sent, pending removals too.

    For a destination that was edited or restored behind Levada's back. The guard on changes does not hold
    here; the guard on removals does.
    """
    return run_one(invocation, lambda project: project.resync(sync, rebuild=rebuild), sync=sync, wait=wait)

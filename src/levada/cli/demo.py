"""`levada demo`."""

from __future__ import annotations

from pathlib import Path

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared


@declared("demo")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("demo"))
@click.option("--serve", is_flag=True, help="Only keep the demo's tools up, until Ctrl-C.")
def command(invocation: Invocation, folder: Path, serve: bool) -> int:
    """Show the whole job on real data, on this machine alone: plan, run, refusals, changes, a guard, undo.

    Makes FOLDER (default: ./demo): a project, its warehouse, and what a CRM, an ad audience and a webhook inbox on
    loopback were sent. Nothing leaves the machine. Exit code 1 if something shown does not hold.
    """
    from levada.demo.story import run_demo, serve_demo

    return serve_demo(folder, out=_say) if serve else run_demo(folder, out=_say)


def _say(text: str) -> None:
    click.echo(text)

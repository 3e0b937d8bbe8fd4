"""`levada demo`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from levada.cli.invocation import Invocation, command_of
from levada.cli.invocation import command as declared
from levada.wording import called


@declared("demo")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("demo"))
@click.option("--serve", is_flag=True, help="Only keep the demo's tools up, until Ctrl-C.")
def command(invocation: Invocation, folder: Path, serve: bool) -> int:
    """Show the whole job on real data, on this machine alone: plan, run, refusals, changes, a guard, undo.

    Makes FOLDER (default: ./demo): a project, its warehouse, and what a CRM, an ad audience and a webhook inbox on
    loopback were sent. Nothing leaves the machine. Exit code 1 if something shown does not hold.
    """
    from levada.demo.story import run_demo, serve_demo

    command = _from_elsewhere()

    def say(text: str) -> None:
        print(called(text, command), flush=True)

    return serve_demo(folder, out=say) if serve else run_demo(folder, out=say)


def _from_elsewhere() -> str:
    """How this was called, as it may be typed after `cd`."""
    python = sys.orig_argv[0]
    typed = [str(Path(python).absolute()) if os.sep in python else python, *sys.orig_argv[1:]]
    return command_of(str(Path(sys.argv[0]).absolute()), typed)

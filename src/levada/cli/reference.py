"""The reference page of the command line, made of the commands themselves: docs/reference/cli.md.

`python -m levada.cli.reference docs/reference/cli.md` writes it; a test fails when it is stale.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from levada.cli.app import COMMANDS, app
from levada.cli.invocation import COMMON_NAMES, COMMON_OPTIONS

_HEAD = """\
# Commands

Results go to stdout, talk goes to stderr. Every command takes the common options below, before or after its
name. [Exit codes](exit-codes.md) and [error codes](errors.md) have pages of their own.

Not in this version: `move-ledger` (it comes with the second planner), `drift`, `erase`, `audiences`, `serve`, `worker`.

This page is made by `make docs` from the commands themselves.

"""


def page() -> str:
    """The page as Markdown."""
    context = click.Context(app, info_name="levada")
    parts = [_HEAD, "## Common options\n\n", _options(COMMON_OPTIONS(), click.Context(app))]
    for name in COMMANDS:
        found = app.get_command(context, name)
        assert found is not None
        parts.append(_section(found, click.Context(found, info_name=name, parent=context), 2))
        if isinstance(found, click.Group):
            inner = click.Context(found, info_name=name, parent=context)
            for sub_name, sub in found.commands.items():
                parts.append(_section(sub, click.Context(sub, info_name=sub_name, parent=inner), 3))
    return "".join(parts).rstrip() + "\n"


def _section(command: click.Command, context: click.Context, level: int) -> str:
    usage = command.get_usage(context).removeprefix("Usage: ").replace("\n", " ")
    usage = " ".join(usage.split())
    own = [one for one in command.params if isinstance(one, click.Option) and one.name not in COMMON_NAMES]
    text = f"\n{'#' * level} {context.command_path}\n\n```\n{usage}\n```\n\n{inspect.cleandoc(command.help or '')}\n"
    return text + ("\n" + _options(own, context) if own else "")


def _options(options: list[click.Parameter] | list[click.Option], context: click.Context) -> str:
    rows = []
    for option in options:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record is not None:
            names, text = record
            rows.append(f"| `{names}` | {text.replace('|', chr(92) + '|')} |\n")
    return "| option | meaning |\n|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")

"""The words by which commands choose syncs: names, `--select` and `--exclude`, as in dbt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from levada.cli.invocation import Command, Invocation

if TYPE_CHECKING:
    from levada.runner.project import Project

_LISTS = ("--select", "-s", "--exclude")


class SelectingCommand(Command):
    """Lets `--select a b c` take several words, up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args))


def spread(arguments: Sequence[str]) -> list[str]:
    """`--exclude a b --json` as `--exclude a --exclude b --json`."""
    found: list[str] = []
    current: str | None = None
    given = 0
    for argument in arguments:
        if argument in _LISTS:
            current, given = argument, 0
        elif argument.startswith("-") and len(argument) > 1:
            if current is not None and not given:
                found.append(current)
            current = None
            found.append(argument)
        elif current is not None:
            found.extend((current, argument))
            given += 1
        else:
            found.append(argument)
    if current is not None and not given:
        found.append(current)
    return found


def selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose syncs: NAMES, --select, --exclude."""
    function = click.option(
        "--exclude", "exclude", multiple=True, metavar="SELECTOR…", help="Leave these out, in the same words."
    )(function)
    function = click.option(
        "--select",
        "-s",
        "select",
        multiple=True,
        metavar="SELECTOR…",
        help="Names, tag:T, model:M, destination:D, source:S, +model:M; several words are joined by or.",
    )(function)
    return click.argument("names", nargs=-1, metavar="[SYNC]...")(function)


def started(
    invocation: Invocation, project: Project, names: Sequence[str], select: Sequence[str], exclude: Sequence[str]
) -> tuple[tuple[str, ...], list[int]]:
    """The syncs to start, in their order, and the exit codes of what is wrong in files of none of them, which is told.
    A sync whose own files are wrong is among them where another one is whole: it fails when it is started."""
    from levada.cli.app import report
    from levada.runner.selecting import startable

    found, errors = startable(project.world.files, (*names, *select), exclude)
    return found, [report(error, invocation) for error in errors]


def chosen(project: Project, names: Sequence[str], select: Sequence[str], exclude: Sequence[str]) -> tuple[str, ...]:
    """The syncs that are meant, in the order in which they run; all of them if nothing is said."""
    return project.select((*names, *select), exclude)

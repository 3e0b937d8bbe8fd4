"""What every command is told: which project, which environment, how to print. And how a command is declared.

The common options are taken before and after the command's name: `levada --json run` is `levada run --json`.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from levada import events
from levada.cli.letters import fitted
from levada.legible import legible
from levada.nearest import nearest
from levada.wording import COMMAND

if TYPE_CHECKING:
    from levada.cli.terminal import Terminal
    from levada.runner.project import Project


def COMMON_OPTIONS() -> list[click.Parameter]:  # noqa: N802 -- a table, made anew for every command
    """The options that every command takes."""
    return [
        click.Option(["-p", "--project"], metavar="DIR", help="The project's folder (default: found from here up)."),
        click.Option(["--env"], metavar="NAME", help="Read .env.NAME too."),
        click.Option(
            ["--json"],
            is_flag=True,
            help="Print one JSON document; `records`, and `run` and `plan` of several syncs, print one a line.",
        ),
        click.Option(["--no-color"], is_flag=True, help="Print without colours, as NO_COLOR does."),
        click.Option(["-v", "--verbose"], is_flag=True, help="Tell more on stderr."),
        click.Option(["--debug"], is_flag=True, help="Show tracebacks, as LEVADA_DEBUG does."),
    ]


COMMON_NAMES = ("project", "env", "json", "no_color", "verbose", "debug")


class Command(click.Command):
    """A command whose help is written in the letters of the terminal."""

    def get_help(self, ctx: click.Context) -> str:
        return fitted(super().get_help(ctx))


class Group(click.Group):
    """The same for a group of commands; one that there is not is told with the nearest name."""

    def get_help(self, ctx: click.Context) -> str:
        return fitted(super().get_help(ctx))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            meant = nearest(args[0], known)
            called = f"did you mean {ctx.command_path} {meant}?" if meant else None
            raise UnknownCommand(args[0], called or f"`{ctx.command_path} --help` lists the commands")
        return super().resolve_command(ctx, args)


class UnknownCommand(click.UsageError):
    def __init__(self, name: str, hint: str) -> None:
        super().__init__(f"there is no command {name}")
        self.hint = hint


def command_of(argument: str, original: Sequence[str]) -> str:
    """How a process was called that began with `argument` (sys.argv[0]) and `original` (sys.orig_argv).

    `levada` if that is what the search path finds; otherwise the path as it was typed, or `python -m levada`.
    """
    path = Path(argument)
    if path.name == "__main__.py":
        end = original.index("-m") + 2 if "-m" in original else 0
        return shlex.join(original[:end]) if original[end - 1 : end] == [COMMAND] else COMMAND
    if path.stem != COMMAND or not path.is_file():
        return COMMAND
    found = shutil.which(COMMAND)
    return COMMAND if found is not None and path.samefile(found) else shlex.quote(argument)


@dataclass(slots=True)
class Invocation:
    """The common options of one command line."""

    project: str | None = None
    env: str | None = None
    json: bool = False
    no_color: bool = False
    verbose: bool = False
    debug: bool = field(default_factory=lambda: os.environ.get("LEVADA_DEBUG", "") not in ("", "0"))
    _terminal: Terminal | None = None
    _opened: Project | None = None

    @staticmethod
    def from_options(options: Mapping[str, Any]) -> Invocation:
        invocation = Invocation()
        invocation.merge(options)
        return invocation

    def merge(self, options: Mapping[str, Any]) -> None:
        """Take over what was given; what was not given changes nothing."""
        for name in COMMON_NAMES:
            if options.get(name):
                setattr(self, name, options[name])
                self._terminal = None

    def absorb(self, arguments: Sequence[str]) -> None:
        """For errors that come before a command has read its own options."""
        self.json = self.json or "--json" in arguments
        self.debug = self.debug or "--debug" in arguments

    @property
    def terminal(self) -> Terminal:
        if self._terminal is None or self._terminal.json != self.json:
            from levada.cli.terminal import Terminal

            self._terminal = Terminal(
                json=self.json,
                colour=False if self.no_color else None,
                verbose=self.verbose,
                command=command_of(sys.argv[0], sys.orig_argv),
            )
        return self._terminal

    def open(self, listener: events.Listener = events.ignore) -> Project:
        """The project that the command is about. Raises ConfigError if there is none."""
        from levada.runner.project import Project

        self._opened = Project.open(self.project or ".", self.env, listener=listener)
        return self._opened

    def clean(self, text: str) -> str:
        """The text without any secret of the project that was opened, and without what a terminal obeys."""
        return self._opened.world.redaction.clean(text) if self._opened is not None else legible(text, "\n\t")


Function = Callable[..., int | None]


def command(
    name: str, *, cls: type[click.Command] | None = None, epilog: str | None = None
) -> Callable[[Function], click.Command]:
    """Declare a command: a function of an Invocation and its own options, which returns an exit code."""

    def declare(function: Function) -> click.Command:
        @functools.wraps(function)
        def called(**options: Any) -> int:
            context = click.get_current_context()
            invocation: Invocation = context.find_object(Invocation) or Invocation()
            invocation.merge({key: options.pop(key) for key in COMMON_NAMES if key in options})
            found = function(invocation, **options)
            return found or 0

        made = click.command(name, cls=cls or Command, epilog=epilog)(called)
        made.params.extend(COMMON_OPTIONS())
        return made

    return declare

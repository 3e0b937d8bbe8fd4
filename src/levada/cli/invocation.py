"""What every command is told: which project, which environment, how to print. And how a command is declared.

The common options are taken before and after the command's name: `levada --json run` is `levada run --json`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from levada import events
from levada.legible import legible

if TYPE_CHECKING:
    from levada.cli.terminal import Terminal
    from levada.runner.project import Project


def COMMON_OPTIONS() -> list[click.Parameter]:  # noqa: N802 -- a table, made anew for every command
    """The options that every command takes."""
    return [
        click.Option(["-p", "--project"], metavar="DIR", help="The project's folder (default: found from here up)."),
        click.Option(["--env"], metavar="NAME", help="Read .env.NAME too."),
        click.Option(["--json"], is_flag=True, help="Print one JSON document."),
        click.Option(["--no-color"], is_flag=True, help="Print without colours, as NO_COLOR does."),
        click.Option(["-v", "--verbose"], is_flag=True, help="Tell more on stderr."),
        click.Option(["--debug"], is_flag=True, help="Show tracebacks, as LEVADA_DEBUG does."),
    ]


COMMON_NAMES = ("project", "env", "json", "no_color", "verbose", "debug")


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

            self._terminal = Terminal(json=self.json, colour=False if self.no_color else None, verbose=self.verbose)
        return self._terminal

    def open(self, listener: events.Listener = events.ignore) -> Project:
        """The project that the command is about. Raises ConfigError if there is none."""
        from levada.runner.project import Project

        self._opened = Project.open(self.project or ".", self.env, listener=listener)
        return self._opened

    def clean(self, text: str) -> str:
        """The text without any secret of the project that was opened, and without what a terminal obeys."""
        return self._opened.redaction.clean(text) if self._opened is not None else legible(text, "\n\t")


Function = Callable[..., int | None]


def command(
    name: str, *, cls: type[click.Command] = click.Command, epilog: str | None = None
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

        made = click.command(name, cls=cls, epilog=epilog)(called)
        made.params.extend(COMMON_OPTIONS())
        return made

    return declare

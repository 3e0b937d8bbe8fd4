"""The table of commands, loaded lazily, and what every command shares: errors, exit codes, interruption.

Exit codes: see docs/reference/exit-codes.md. Click's own usage errors end with 2, as ConfigError does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click

from levada import __version__
from levada.cli.invocation import COMMON_OPTIONS, Group, Invocation
from levada.cli.letters import knows_unicode
from levada.errors import BusyError, ConfigErrors, FencedError, LevadaError, StoppedError
from levada.legible import legible_json
from levada.nearest import nearest
from levada.wording import called_in

#: command: (module in levada.cli, one line of help). The order is that of a user's first day.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Begin a project in a folder."),
    "demo": ("demo", "Show the whole job on real data, on this machine alone."),
    "check": ("check", "Check files, sources, destinations, mappings and keys; send nothing."),
    "preview": ("preview", "Show the first rows of a sync as they would arrive, or of a model."),
    "plan": ("plan", "Show what a run would send; send nothing."),
    "run": ("run", "Run syncs: plan, guard, send, remember what was confirmed."),
    "approve": ("approve", "Let a plan pass that a guard stopped."),
    "status": ("status", "Say what needs you, and how each sync stands."),
    "runs": ("runs", "List runs, newest first."),
    "records": ("records", "Show what happened to each record of a run."),
    "retry": ("retry", "Send again what was refused or left without an answer."),
    "resync": ("resync", "Compare again with everything at the destination unknown."),
    "mark-synced": ("mark_synced", "Take the model as already synced; send nothing."),
    "undo": ("undo", "Take back what a run delivered."),
    "connectors": ("connectors", "List the kinds of sources and destinations."),
    "test": ("test", "Run the cases of the project's own connectors."),
    "schema": ("schema", "Print the JSON Schemas of the project's files."),
    "secrets": ("secrets", "Keep credentials in the project's encrypted store."),
    "doctor": ("doctor", "Examine this installation and the project's state."),
    "version": ("version", "Print the version."),
}

WAITS = 5
"""The exit code of what goes on by itself."""


class Commands(Group):
    """A group whose commands are imported when they are called; their list needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = import_module(f"levada.cli.{COMMANDS[cmd_name][0]}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(
    cls=Commands,
    params=COMMON_OPTIONS(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
)
@click.version_option(__version__, message="levada %(version)s")
@click.pass_context
def app(context: click.Context, /, **options: Any) -> None:
    """Levada keeps the tools in which people work equal to the models in your data warehouse.

    Begin with `levada demo`, or with `levada init` for a project of your own.
    """
    context.obj = Invocation.from_options(options)


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Prints every error; lets none out."""
    invocation = Invocation()
    try:
        with app.make_context("levada", list(arguments)) as context:
            invocation = context.obj or invocation
            context.obj = invocation
            found = app.invoke(context)
            return found if isinstance(found, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return error.exit_code
    except click.UsageError as error:
        return _usage(error, _wants_json(invocation, arguments), invocation)
    except LevadaError as error:
        invocation.absorb(arguments)
        return report(error, invocation)
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("stopped\n")
        return 130
    except BrokenPipeError:
        # whoever reads our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 -- the last line of defence: a bug, told without a traceback
        invocation.absorb(arguments)
        return _bug(error, invocation)


def report(error: LevadaError, invocation: Invocation, *, sync: str = "", named: bool = False) -> int:
    """Print an error and return its exit code. No secret of the project is in it.

    `sync` stands in its document, along with how the sync stands; with `named` also before its words.
    """
    if invocation.debug:
        sys.stderr.write(invocation.clean(_traceback(error)))
    terminal = invocation.terminal
    if terminal.json:
        found: dict[str, object] = {"sync": sync} if sync else {}
        if sync or error.exit_code == WAITS or isinstance(error, StoppedError):
            found["status"] = standing(error)
        terminal.document({**found, "error": error_document(error, invocation.clean)})
    head = f"{sync}: " if named else ""
    for one in error.errors if isinstance(error, ConfigErrors) else [error]:
        message = invocation.clean(one.message)
        place = f"{one.where}: " if one.where else ""
        terminal.error(head + place + message, one.hint and invocation.clean(one.hint))
    return error.exit_code


def standing(error: LevadaError) -> str:
    """How a sync stands that this error kept from a run: `cancelled`, `busy`, `paused`, or `failed`."""
    if isinstance(error, StoppedError):
        return "cancelled"
    if isinstance(error, BusyError | FencedError):
        return "busy"
    return "paused" if error.exit_code == WAITS else "failed"


def error_document(error: LevadaError, clean: Callable[[str], str] = str) -> dict[str, object]:
    """The error as JSON; of several, the first, with all of them in `errors`."""
    document = _cleaned(error, clean)
    if isinstance(error, ConfigErrors):
        document["errors"] = [_cleaned(one, clean) for one in error.errors]
    return document


def _cleaned(error: LevadaError, clean: Callable[[str], str]) -> dict[str, object]:
    return {**error.as_dict(), "message": clean(error.message), "hint": error.hint and clean(error.hint)}


def _traceback(error: BaseException) -> str:
    """Where an error and those behind it were raised. Of errors that are not ours only the kind is told: the words
    of a library may repeat the value that it could not take."""
    import traceback

    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.insert(0, following)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    parts: list[str] = []
    for one in chain:
        words = f": {one}" if isinstance(one, LevadaError) else ""
        parts += ["Traceback (most recent call last):\n", *traceback.format_tb(one.__traceback__)]
        parts.append(f"{type(one).__module__}.{type(one).__qualname__}{words}\n\n")
    return "".join(parts)


def _wants_json(invocation: Invocation, arguments: Sequence[str]) -> bool:
    return invocation.json or "--json" in arguments


def _usage(error: click.UsageError, as_json: bool, invocation: Invocation) -> int:
    message, hint = error.format_message(), getattr(error, "hint", None)
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        message = f"there is no option {error.option_name}"
        meant = nearest(error.option_name, [name for one in error.ctx.command.params for name in one.opts])
        hint = f"did you mean {meant}?" if meant else None
    if hint is None:
        path = error.ctx.command_path if error.ctx else "levada"
        hint = f"`{path} --help` shows how it is used"
    if as_json:
        document = {"code": "usage", "message": message, "where": None, "hint": hint}
        said = called_in({"error": document}, invocation.terminal.command)
        text = legible_json(json.dumps(said, ensure_ascii=not knows_unicode()))
        sys.stdout.write(text + "\n")
    invocation.terminal.error(message[:1].lower() + message[1:].rstrip("."), hint)
    return 2


def _bug(error: Exception, invocation: Invocation) -> int:
    if invocation.debug:
        sys.stderr.write(invocation.clean(_traceback(error)))
    from levada.runner.attempt import ISSUES, words_of

    what = words_of(error, invocation.clean)
    hint = f"this is a bug in Levada, not in your project: sorry. `--debug` shows more; please tell {ISSUES}"
    if invocation.json:
        invocation.terminal.document({"error": {"code": "bug", "message": what, "where": None, "hint": hint}})
    invocation.terminal.error(what, hint)
    return 1

"""`levada secrets set|list|remove`."""

from __future__ import annotations

import sys

import click

from levada.cli.invocation import Group, Invocation
from levada.cli.invocation import command as declared
from levada.errors import ConfigError


@declared("set")
@click.argument("name")
def _set(invocation: Invocation, name: str) -> int:
    """Keep a secret under NAME. Its value is asked for, or read from a pipe; it is no argument, so that it does
    not show in the list of processes or in the shell's history."""
    if sys.stdin.isatty():
        value = click.prompt(f"value of {name}", hide_input=True, err=True, default="", show_default=False)
    else:
        value = _piped()
    with invocation.open() as project:
        project.set_secret(name, value)
    if invocation.json:
        invocation.terminal.document({"secret": name, "kept": True})
    else:
        invocation.terminal.line(f"kept {name}; write ${{secret:{name}}} where it is needed")
    return 0


def _piped() -> str:
    """What stands in the pipe, whatever encoding this terminal is said to have."""
    try:
        return sys.stdin.buffer.read().decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError("the secret is not UTF-8", code="usage.secret", hint="a secret is text in UTF-8") from None


@declared("list")
def _list(invocation: Invocation) -> int:
    """List the names of what is kept. Values are never shown."""
    with invocation.open() as project:
        names = list(project.secrets())
    if invocation.json:
        invocation.terminal.document({"secrets": names})
    else:
        for name in names:
            invocation.terminal.line(name)
        if not names:
            invocation.terminal.say("no secret is kept")
    return 0


@declared("remove")
@click.argument("name")
def _remove(invocation: Invocation, name: str) -> int:
    """Forget a secret."""
    with invocation.open() as project:
        project.remove_secret(name)
    if invocation.json:
        invocation.terminal.document({"secret": name, "kept": False})
    else:
        invocation.terminal.line(f"forgot {name}")
    return 0


command = Group(
    "secrets",
    commands={"set": _set, "list": _list, "remove": _remove},
    help="Keep credentials in the project's encrypted store, to be written as ${secret:NAME} in its files.",
)

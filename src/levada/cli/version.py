"""`levada version`."""

from __future__ import annotations

from levada import __version__
from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared


@declared("version")
def command(invocation: Invocation) -> None:
    """Print the version."""
    if invocation.json:
        invocation.terminal.document({"version": __version__})
    else:
        invocation.terminal.line(f"levada {__version__}")

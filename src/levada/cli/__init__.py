"""The command line: one file per command. Commands read options and print; what they do is `levada.runner`'s.

Results go to stdout, talk to stderr. `levada.cli.app` holds the table of commands and loads each when it is
called, because `levada --help` must answer within a quarter of a second.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `levada` with these arguments (the process's own by default) and exit with its code."""
    from levada.cli.app import execute

    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))

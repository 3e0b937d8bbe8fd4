"""The command line: one file per command. Commands read options and print; what they do is `levada.runner`'s.

Results go to stdout, talk to stderr. `levada.cli.app` holds the table of commands and loads each when it is
called, because `levada --help` must answer within a quarter of a second.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def _write_no_core() -> None:
    """The memory of a process that crashes holds credentials and rows: it is not written to the disk."""
    try:
        import resource
    except ImportError:  # where there is no such module, there are no core files either
        return
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `levada` with these arguments (the process's own by default) and exit with its code."""
    from levada.cli.app import execute
    from levada.cli.letters import fit_streams

    _write_no_core()
    fit_streams()
    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))

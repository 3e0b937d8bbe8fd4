"""The page of the conformance kit, made of the checks themselves: docs/reference/conformance-kit.md.

`python -m levada.testing.reference docs/reference/conformance-kit.md` writes it; a test fails when it is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from levada.testing.destination_bench import promise_of
from levada.testing.destinations import CHECKS, MODULES

_HEAD = """\
# The conformance kit

What every connector must keep, as checks for its author
([how to run them](../guides/your-own-destination.md#testing-a-connector)).
A check that says nothing of a connector (a tool that names no single record has nothing to name) does not run; pytest's
output names it at the end, with the reason. Each check is itself tested: over connectors that are wrong in one way,
which it must catch.

What delivery does for every connector, whatever it says, is not checked here: rates, quotas, outages, the cutting of
batches at their limits.

This page is made by `make docs` from the checks themselves.

"""


def page() -> str:
    """The page as Markdown."""
    parts = [_HEAD, f"## Connectors over HTTP\n\n{len(CHECKS)} checks.\n"]
    for module in MODULES:
        own = [check for check in CHECKS if check.__module__ == module.__name__]
        parts.append(f"\n### {_title(module)}\n\n{_rows(own)}")
    return "".join(parts)


def _title(module: ModuleType) -> str:
    """The first sentence of a module's docstring, as a heading."""
    return " ".join((module.__doc__ or "").partition("\n\n")[0].split()).rstrip(".")


def _rows(checks: Sequence[Callable[..., Any]]) -> str:
    rows = [f"| `{check.__name__}` | {promise_of(check).replace('|', chr(92) + '|')} |\n" for check in checks]
    return "| check | promise |\n|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")

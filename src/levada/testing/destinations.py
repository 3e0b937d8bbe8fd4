"""The conformance kit: what every HTTP connector must keep, as checks for its author. In a test file of your own:

    from levada.testing.destinations import conformance
    test_acme_erp = conformance("connectors/acme_erp.yml")

The path is looked for beside the test file and in the folders above it. A function in Python is named as in a
destination's file, `connectors/loyalty.py:loyalty`, or given itself; whose tool answers in its own way gets a bench:

    test_loyalty = conformance(ConnectorBench(loyalty, "members", "upsert", RECORDS, ("id",), accepted=answers))

No request leaves the machine: a check holds the connector's conversation by hand, or under the real delivery with a
wire in memory. Checks that say nothing of a connector are counted and named, with the reason, at the end of pytest's
output. What is not here: what delivery does for every connector whatever it says (rates, quotas, outages).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from levada.destination import Destination
from levada.testing import (
    destination_answers,
    destination_delivery,
    destination_facts,
    destination_requests,
)
from levada.testing.destination_bench import (
    Broken,
    Check,
    ConnectorBench,
    explained,
    held,
    name_of,
    promise_of,
    why_not,
)
from levada.testing.plugin import NOTED, noted_line

__all__ = [
    "CHECKS", "MODULES", "Broken", "Check", "ConnectorBench", "checks_for", "conformance", "held", "name_of",
    "promise_of", "run", "why_not",
]  # fmt: skip

MODULES: tuple[ModuleType, ...] = (
    destination_facts,
    destination_requests,
    destination_answers,
    destination_delivery,
)
"""Where the checks are, in their order."""

CHECKS: tuple[Check, ...] = tuple(
    value
    for module in MODULES
    for name, value in vars(module).items()
    if name.startswith("check_") and getattr(value, "__module__", "") == module.__name__
)
"""Every check."""


def checks_for(bench: ConnectorBench) -> tuple[Check, ...]:
    """The checks that say something of this tool: one that names no single record has nothing to name."""
    return tuple(check for check in CHECKS if not why_not(check, bench))


def run(check: Check, bench: ConnectorBench) -> None:
    """One check. Fails the test in words for an author: what was expected, what was seen, how to mend it."""
    try:
        check(bench)
    except pytest.skip.Exception:
        raise
    except Exception as error:
        failed = pytest.fail.Exception(explained(check, bench, error), pytrace=False)
        raise failed from error


def noted(benches: Mapping[str, ConnectorBench]) -> str:
    """What applies to each connector and what does not, as the plugin shows it at the end."""
    return noted_line(
        {
            name: (len(checks_for(bench)), {name_of(c): why for c in CHECKS if (why := why_not(c, bench))})
            for name, bench in benches.items()
        }
    )


def conformance(connector: str | ConnectorBench | Destination, **facts: Any) -> Callable[..., None]:
    """A test of pytest that runs every check over a connector; give it to a name that begins with `test_`.

    `facts` are those of ConnectorBench, where the connector is a file or a function: `object`, `verb`, `records`,
    `match`, `accepted` and others. Raises what opening the connector raises.
    """
    from levada.testing.destination_files import benches_of

    beside = Path(sys._getframe(1).f_globals.get("__file__", "."))
    found = benches_of(connector, beside, facts)
    pairs = [pytest.param(c, b, id=f"{b.object}-{b.verb}-{name_of(c)}") for b in found for c in checks_for(b)]
    counted = pytest.param(None, found, id="what-does-not-apply")

    def test(check: Check | None, bench: Any, record_property: Callable[[str, object], None]) -> None:
        if check is None:
            record_property(NOTED, noted({str(each): each for each in bench}))
        else:
            run(check, bench)

    made: Callable[..., None] = pytest.mark.parametrize(("check", "bench"), [*pairs, counted])(test)
    return made

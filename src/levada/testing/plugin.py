"""Loaded by pytest wherever Levada is installed: makes failed checks readable, and names those that did not apply.

Fixtures and suites are not loaded from here: a connector author imports what they use from `levada.testing`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from levada.wording import plural

pytest.register_assert_rewrite("levada.testing")

NOTED = "levada conformance"
"""The property of a test's report that says which checks did not apply."""


def noted_line(found: Mapping[str, tuple[int, Mapping[str, str]]]) -> str:
    """For each connector, how many checks apply, and which do not with the reason: the property's text."""
    return json.dumps([[name, count, list(others.items())] for name, (count, others) in found.items()])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """After a conformance test: how many checks apply to each connector, and which do not, with the reason."""
    found: dict[str, tuple[int, list[list[str]]]] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            if name == NOTED:
                found.update({bench: (count, others) for bench, count, others in json.loads(text)})
    if not found:
        return
    terminalreporter.section("levada conformance")
    for bench, (count, others) in found.items():
        terminalreporter.write_line(
            f"{bench}: {plural(count, 'check applies', 'checks apply')}, {plural(len(others), 'does not', 'do not')}"
        )
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for bench, (_, others) in found.items():
        reasons: dict[str, list[str]] = {}
        for check, why in others:
            reasons.setdefault(why, []).append(check)
        for why, checks in reasons.items():
            alike.setdefault((why, tuple(checks)), []).append(bench)
    for (why, names), benches in sorted(alike.items()):
        terminalreporter.write_line(f"does not apply: {why}: {', '.join(names)} ({len(benches)}: {', '.join(benches)})")

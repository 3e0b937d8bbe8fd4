"""Liquid's date filter says the same on every machine, and on every day."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from levada.planners.templates import rendered

ROW = json.dumps(
    {"n": 1709276543, "seen": "2024-03-01T07:02:23Z", "naive": "2024-03-01T07:02:23", "day": "2024-03-01",
     "clock": "10:20:30", "named": "2024-03-01 07:02:23 JST", "abroad": "2024-03-01T07:02:23+09:00"}
)  # fmt: skip
EXPECTED = {
    '{{ n | date: "%Y-%m-%d %H:%M" }}': "2024-03-01 07:02",
    '{{ 1709276543 | date: "%H:%M %Z" }}': "07:02 UTC",
    '{{ seen | date: "%H:%M %Z" }}': "07:02 UTC",
    '{{ seen | date: "%s, 100 %%s" }}': "1709276543, 100 %s",
    '{{ naive | date: "%s %H" }}': "1709276543 07",
    '{{ day | date: "%s" }}': "1709251200",
    '{{ clock | date: "%Y-%m-%d %H" }}': "1970-01-01 10",
    '{{ named | date: "%H:%M %z" }}': "07:02 ",
    '{{ abroad | date: "%H:%M %z" }}': "07:02 +0900",
    '{{ "no date" | date: "%H" }}': "no date",
}


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/St_Johns"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The zone of this machine."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", str(request.param))
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("template", EXPECTED)
def test_a_date_is_that_of_the_row(zone: None, template: str) -> None:
    """Seconds since 1970 are shown in UTC; nothing is taken from the machine's zone, its names of zones, or its day."""
    assert rendered(template, ROW, "field") == EXPECTED[template]

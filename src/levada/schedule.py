"""When a sync is due, as declared. The clockwork that acts on it is not here."""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, model_validator

from levada.model import Declaration

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"^\s*(\d+)\s*([smhd])\s*$")


def duration_seconds(text: str) -> int:
    """`30s`, `15m`, `6h`, `1d` in seconds. Raises ValueError for anything else, and for zero."""
    match = _DURATION.match(text)
    if not match or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a duration: write a number and s, m, h or d, such as 15m")
    return int(match[1]) * _UNITS[match[2]]


def _is_duration(text: str) -> str:
    duration_seconds(text)
    return text


def _is_cron(text: str) -> str:
    from cronsim import CronSim, CronSimError

    from levada.clock import SystemClock

    try:
        CronSim(text, SystemClock().now())
    except CronSimError as error:
        raise ValueError(f"{text!r} is not a cron expression: {error}") from error
    return text


def _is_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{text!r} is not a time zone: use a name such as Europe/Madrid") from error
    return text


Zone = Annotated[str, AfterValidator(_is_zone)]
"""A time zone by its name in the tz database."""


class Schedule(Declaration):
    """One of `every`, `cron` (with `timezone`) or `after`; a sync without a schedule runs when asked."""

    every: Annotated[str, AfterValidator(_is_duration)] | None = None
    """A duration: 15m, 6h, 1d."""
    cron: Annotated[str, AfterValidator(_is_cron)] | None = None
    """Five fields: minute, hour, day of month, month, day of week."""
    timezone: Zone | None = None
    """The zone in which `cron` is read; the project's zone if absent."""
    after: tuple[str, ...] | None = None
    """Syncs, or `dbt:model`, after whose success this one runs."""

    @model_validator(mode="after")
    def _one_way(self) -> Schedule:
        ways = [name for name in ("every", "cron", "after") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError("a schedule has exactly one of every, cron and after")
        if self.timezone is not None and self.cron is None:
            raise ValueError("timezone goes with cron")
        return self

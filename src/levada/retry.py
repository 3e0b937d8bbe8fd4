"""When to try again, and for how long to wait first. Pure; waiting is delivery's."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_SECONDS = 3600.0
"""A destination that asks for more than this pauses the run instead."""
_SECONDS = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|inf(inity)?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter, bounded in attempts: the waits between all of them are at most 15.5 seconds."""

    attempts_max: int = 6
    base_seconds: float = 0.5
    wait_max_seconds: float = 60.0

    def wait_seconds(self, attempt: int, chance: float) -> float:
        """How long to wait after the `attempt`-th try (from 1) failed; `chance` in [0, 1)."""
        ceiling = min(self.wait_max_seconds, self.base_seconds * 2.0 ** min(attempt - 1, 30))
        return ceiling * (0.5 + chance / 2)


def retry_after_seconds(header: str | None, *, date: str | None, now: datetime) -> float | None:
    """What a `Retry-After` header asks for, in seconds from now; None if it is absent or says nothing.

    Takes a number of seconds (also with a fraction) or an HTTP date. A date is measured against the
    answer's own `Date` header, so that a skewed clock on either side does no harm. Negative means now.
    Source: RFC 9110, section 10.2.3.
    """
    if header is None:
        return None
    text = header.strip()[:100]
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        moment = _http_date(text)
        if moment is None:
            return None
        seconds = (moment - (_http_date(date or "") or now)).total_seconds()
    if math.isnan(seconds):
        return None
    return max(0.0, seconds)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

"""How the demo's tools make life hard for a client, as real ones do: a rate limit, and answers that fail.

Deterministic on purpose: the n-th request fails, not a random one, so that every demo shows the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["none", "busy", "fails", "fails_afterwards"]
"""`busy`: 429 with Retry-After. `fails`: 500, nothing applied. `fails_afterwards`: 500, and yet applied."""

WINDOW_SECONDS = 1.0


@dataclass(slots=True)
class RateLimit:
    """At most `requests` in any second; `admit` says how long a refused caller should stay away."""

    requests: int
    _taken: deque[float] = field(default_factory=deque, init=False)

    def admit(self, now: float) -> float:
        """0 if the request may pass, otherwise the seconds after which it may. `now` is monotonic."""
        while self._taken and self._taken[0] <= now - WINDOW_SECONDS:
            self._taken.popleft()
        if len(self._taken) >= self.requests:
            return self._taken[0] + WINDOW_SECONDS - now
        self._taken.append(now)
        return 0.0


@dataclass(slots=True)
class Faults:
    """Every `busy_every`-th request is asked to come back, every `fails_every`-th breaks; 0 means never.

    Broken requests take turns: the first was applied all the same, the next was not.
    """

    busy_every: int = 29
    fails_every: int = 37
    requests: int = 0

    def next(self) -> Fault:
        self.requests += 1
        if self.fails_every and self.requests % self.fails_every == 0:
            return "fails" if (self.requests // self.fails_every) % 2 == 0 else "fails_afterwards"
        if self.busy_every and self.requests % self.busy_every == 0:
            return "busy"
        return "none"

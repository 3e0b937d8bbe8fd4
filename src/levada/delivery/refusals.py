"""What this process knows of sign-ins that were refused."""

from __future__ import annotations

import hashlib
import json

from levada.clock import Clock
from levada.destination import Request

REFUSED_SECONDS = 600.0
"""So long a refused sign-in counts as refused without being asked again."""


class Refusals:
    """The sign-ins that were refused, so that nobody in this process asks for the same one again and again.

    A refusal is known by the very request that was refused: another secret, or a token that was rotated since, is
    another question. It is asked anew after REFUSED_SECONDS, since whoever mends it may do so at the tool. Safe for
    threads.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, str]] = {}

    @staticmethod
    def question(request: Request) -> str:
        """What tells one sign-in from another; shows nothing of it."""
        asked = [request.method, request.url, sorted(request.headers.items()), sorted(request.query.items())]
        return hashlib.sha256(json.dumps(asked).encode() + (request.body or b"")).hexdigest()

    def of(self, question: str) -> str | None:
        """Why this sign-in was refused, if it was."""
        at, message = self._known.get(question, (0.0, ""))
        return message if message and self._clock.monotonic() - at < REFUSED_SECONDS else None

    def add(self, question: str, message: str) -> None:
        self._known[question] = (self._clock.monotonic(), message)

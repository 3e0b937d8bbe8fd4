"""Ctrl-C and SIGTERM during a run: the first stops cleanly, the second at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first signal. The second ends the process where it stands: the journal is durable."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os.write(sys.stderr.fileno(), b"\nstopped at once; the next run resumes\n")
            os._exit(128 + number)
        asked = True
        os.write(sys.stderr.fileno(), b"\nstopping after what is under way; once more stops at once\n")
        stop()

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""What a source computes at the moment, to be ended from another thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Running:
    """The interruptions of all connections that are open. `interrupt` is for any thread."""

    def __init__(self) -> None:
        self._interrupts: set[Callable[[], object]] = set()

    @contextmanager
    def on(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """`interrupt` ends what runs inside."""
        self._interrupts.add(interrupt)
        try:
            yield
        finally:
            self._interrupts.discard(interrupt)

    def interrupt(self) -> None:
        for each in tuple(self._interrupts):
            with suppress(Exception):
                each()

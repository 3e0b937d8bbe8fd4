"""How what computes is ended from outside: by whoever asks a process to stop, or because its time is over.

A database computes in one call that hears nothing until it returns. So whoever starts such a call puts it under a
`Watch`, whose thread interrupts the call. Not here: signals, which are the command line's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from levada.errors import LevadaError, StoppedError

AGAIN_SECONDS = 0.1
"""An interruption that came between two statements is forgotten by most engines, so it is repeated until the end."""
LAST_SECONDS = 5.0
"""How long the end of a watch waits for an interruption that is under way."""

Interrupt = Callable[[], object]
Overdue = Callable[[], LevadaError]


class Halt(threading.Event):
    """Set from any thread; `call` is then called once, also if it was set before."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Callable[[], object]] = []
        self._watches: set[Watch] = set()
        self._apart: set[Halt] = set()

    def set(self) -> None:
        super().set()
        while self._calls:
            self._calls.pop()()
        for watch in tuple(self._watches):
            watch.wake()
        for halt in tuple(self._apart):
            halt.set()

    @contextmanager
    def apart(self) -> Iterator[Halt]:
        """One of several things gets a halt of its own: set when this one is set, and not the other way round."""
        halt = Halt()
        self._apart.add(halt)
        if self.is_set():
            halt.set()
        try:
            yield halt
        finally:
            self._apart.discard(halt)

    def call(self, function: Callable[[], object]) -> None:
        self._calls.append(function)
        if self.is_set():
            self.set()

    @property
    def computing(self) -> bool:
        """Is anything under watch, here or apart?"""
        return bool(self._watches) or any(halt.computing for halt in tuple(self._apart))

    @contextmanager
    def watch(
        self, interrupt: Interrupt, seconds: float | None = None, overdue: Overdue | None = None
    ) -> Iterator[Watch]:
        """What runs inside is interrupted once the halt is set, or `seconds` are over.

        Raises StoppedError in place of whatever the interruption made of it, also if it came to its end; for a time
        that is over, what `overdue` gives. `interrupt` is called from another thread, and never after the end.
        """
        watch = Watch(self, interrupt, seconds, overdue)
        if self.is_set():
            raise StoppedError
        self._watches.add(watch)
        watch.start()
        if self.is_set():
            watch.wake()
        try:
            yield watch
        except (Exception, KeyboardInterrupt) as error:
            found = watch.cause(error)
            if found is error:
                raise
            raise found from error
        finally:
            self._watches.discard(watch)
            watch.end()
        if self.is_set():
            raise StoppedError


class Watch(threading.Thread):
    """One thing that computes, and the thread that interrupts it."""

    def __init__(self, halt: Halt, interrupt: Interrupt, seconds: float | None, overdue: Overdue | None) -> None:
        super().__init__(name="watch", daemon=True)
        self._halt = halt
        self._interrupt = interrupt
        self._seconds = seconds
        self._overdue = overdue
        self._late = False
        self._woken = threading.Event()
        self._ended = threading.Event()

    def run(self) -> None:
        self._late = not self._woken.wait(self._seconds)
        while not self._ended.is_set():
            with suppress(Exception):
                self._interrupt()
            self._ended.wait(AGAIN_SECONDS)

    def wake(self) -> None:
        self._woken.set()

    def end(self) -> None:
        self._ended.set()
        self._woken.set()
        self.join(LAST_SECONDS)

    def cause(self, error: BaseException) -> BaseException:
        """Why the computing ended so: StoppedError, the time that was over, or the error itself."""
        if isinstance(error, StoppedError):
            return error
        if self._halt.is_set():
            return StoppedError()
        if self._late and self._overdue is not None:
            return self._overdue()
        return error

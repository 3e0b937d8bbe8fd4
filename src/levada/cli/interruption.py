"""Ctrl-C and SIGTERM during a command: the first stops cleanly, the second at once.

Signals are heard by a thread: the main one may be inside of a database's computation, where Python's own handlers wait
until it returns.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from levada.errors import StoppedError

COMPUTING_SECONDS_MAX = 7.0
"""So long a computation may take to hear that it is stopped. Nothing was sent yet: then the process ends without it."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Hears the signals of this process, in a thread, from the pipe into which the interpreter writes them at once.

    `number`: the signal that was heard, or 0. `told`: the same for the main thread, which may learn of it earlier.
    """

    def __init__(self, stop: Callable[[], None], computing: Callable[[], bool], said: bytes) -> None:
        self._stop, self._computing, self._said = stop, computing, said
        self.number = self.told = 0
        self._out, self.pipe = os.pipe()
        os.set_blocking(self.pipe, False)
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._closed = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def _listen(self) -> None:
        while numbers := [number for number in os.read(self._out, 64) if number in _SIGNALS]:
            for number in numbers:
                self._heard(number)

    def _heard(self, number: int) -> None:
        if self.number:
            _say(b"\nstopped at once; the next run resumes\n")
            os._exit(128 + number)
        self.number = self.told = number
        _say(self._said)
        self._stop()
        threading.Thread(target=self._give_up, name="last resort", daemon=True).start()

    def _give_up(self) -> None:
        """End the process if what computes does not end by itself, as a single step of a database may not."""
        if not self._closed.wait(COMPUTING_SECONDS_MAX) and self._computing():
            _say(b"stopped before anything was sent; what computed did not end by itself\n")
            os._exit(128 + self.number)

    def close(self) -> None:
        self._closed.set()
        os.write(self.pipe, b"\0")
        self._thread.join()
        os.close(self.pipe)
        os.close(self._out)


def _say(text: bytes) -> None:
    with suppress(OSError):
        os.write(sys.stderr.fileno(), text)


@contextmanager
def stopping(
    stop: Callable[[], None], computing: Callable[[], bool] = lambda: False, *, sends: bool = True
) -> Iterator[Signals]:
    """Call `stop` at the first signal, from another thread. The second ends the process where it stands: the journal is
    durable. `computing`: is something computed of which nothing was sent?

    A command that `sends` goes on to the end that it finds; any other is left by StoppedError with the exit code of
    the signal, whatever it made of its being stopped.
    """
    words = b"\nstopping after what is under way; once more stops at once\n" if sends else b"\nstopping\n"
    heard = Signals(stop, computing, words)

    def handle(number: int, frame: FrameType | None) -> None:
        heard.told = number
        if not sends:
            raise KeyboardInterrupt

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in _SIGNALS}
    pipe = signal.set_wakeup_fd(heard.pipe, warn_on_full_buffer=False)
    heard.start()
    try:
        yield heard
        if heard.told and not sends:
            raise StoppedError
    except (Exception, KeyboardInterrupt) as error:
        # a library may have made another error of the KeyboardInterrupt that came while it called back
        if not isinstance(error, StoppedError | KeyboardInterrupt) and (sends or not heard.told):
            raise
        stopped = error if isinstance(error, StoppedError) else StoppedError()
        stopped.exit_code = 128 + (heard.told or signal.SIGINT)
        raise stopped from error
    finally:
        signal.set_wakeup_fd(pipe)
        heard.close()
        for number, handler in before.items():
            signal.signal(number, handler)

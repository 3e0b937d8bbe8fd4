"""Time that passes only when nothing else can happen: a clock, an event loop and a flag upon it.

The loop runs what `asyncio.to_thread` is given inline, after a moment drawn from the seed, so that a schedule is
the same at every replay. What is not here: the faults themselves.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from levada.halt import Halt

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EPOCH_SECONDS = 1_000.0
BEAT_SECONDS = 5.0
BEATS_MAX = 2_000
STEPS_MAX = 400_000
"""So many turns of one loop, and the schedule hangs."""


class Hanging(BaseException):
    """Nothing will ever happen again, or things happen for ever."""


class VirtualClock:
    """Fulfils `levada.clock.Clock`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.seconds = EPOCH_SECONDS
        self._ids = 0
        self.due: list[Callable[[], None]] = []
        self.beaten_at = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass. Whatever is due meanwhile (`every`) is called, at steps of BEAT_SECONDS."""
        until = self.seconds + max(0.0, seconds)
        while self.due and until - self.beaten_at >= BEAT_SECONDS:
            behind = (until - self.beaten_at) // BEAT_SECONDS > BEATS_MAX
            self.beaten_at = until if behind else self.beaten_at + BEAT_SECONDS
            self.seconds = max(self.seconds, self.beaten_at)
            for act in list(self.due):
                act()
        self.seconds = until

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds - EPOCH_SECONDS)

    def monotonic(self) -> float:
        return self.seconds

    def random(self) -> float:
        return self._chance.random()

    def new_id(self, prefix: str) -> str:
        self._ids += 1
        return f"{prefix}_{self._ids:018x}"


class VirtualFlag(Halt):
    """Delivery's flag, whose waiting costs virtual time only."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set() and timeout is not None:
            self._clock.advance(timeout)
        return self.is_set()


class _Selector(selectors.SelectSelector):
    """Waits by moving the clock."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns += 1
        if timeout is None:
            raise Hanging("nothing will ever happen")
        if self._turns > STEPS_MAX:
            raise Hanging("no end in sight")
        if timeout > 0:
            self._clock.advance(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock, chance: random.Random) -> None:
        self._virtual = clock
        self._chance = chance
        super().__init__(_Selector(clock))
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual.seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Run `func` inline, a moment later."""
        future = self.create_future()

        def act() -> None:
            if future.cancelled():
                return
            try:
                found = func(*args)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for it
                future.set_exception(_carried(error))
            else:
                future.set_result(found)

        self.call_later(self._chance.random() * 0.004, act)
        return future


def _carried(error: BaseException) -> BaseException:
    """A future cannot carry StopIteration."""
    return RuntimeError("StopIteration") if isinstance(error, StopIteration) else error


def run_virtually(clock: VirtualClock, chance: random.Random, main: Coroutine[Any, Any, Any]) -> Any:
    """As `asyncio.run`; may be called while another virtual loop of this thread runs."""
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    loop = VirtualLoop(clock, chance)
    try:
        return loop.run_until_complete(main)
    finally:
        _wind_up(loop)
        asyncio._set_running_loop(outer)


def _wind_up(loop: VirtualLoop) -> None:
    """End what a crash left running, without letting it act."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        for _ in range(50):
            loop.call_soon(loop.stop)
            try:
                loop.run_forever()
            except BaseException:  # noqa: BLE001, S112 - the process is dead; nobody is left to hear of it
                continue
            if all(task.done() for task in tasks):
                break
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()
        else:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()

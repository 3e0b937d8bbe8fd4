"""Durable marks before and after sending, grouped so that many batches cost one write.

Intents are written ahead for a window of batches; outcomes are written in groups, by one task, while
requests go on. A window's slot is free again only once its batch's outcome is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from levada.outcome import Outcomes
from levada.store import Intent, Journal

GROUP_MAX = 128
"""The most batches in one durable write."""


class JournalTask:
    """Writes one run's journal for the event loop. Use as an async context manager.

    If an outcome cannot be written, `failed` is called so that nothing more is sent, waiting producers get the
    error, and leaving the context raises it.
    """

    def __init__(
        self,
        journal: Journal,
        window: int,
        settled: Callable[[Outcomes, int], None],
        failed: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._settled = settled
        self._failed = failed
        self._failure: BaseException | None = None
        self._slots = asyncio.Semaphore(window)
        self._waiting: list[tuple[int, Outcomes, int]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> JournalTask:
        self._task = asyncio.create_task(self._flush_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        assert self._task is not None
        await self._task
        if self._failure is not None:
            raise self._failure

    async def room(self, wanted: int) -> int:
        """Wait for at least one free slot of the window; take up to `wanted`, and say how many."""
        await self._slots.acquire()
        if self._failure is not None:
            self._slots.release()
            raise self._failure
        taken = 1
        while taken < wanted and not self._slots.locked():
            await self._slots.acquire()
            taken += 1
        return taken

    async def intend(self, intents: Sequence[Intent]) -> None:
        """These batches may be sent once this has returned. Their slots were taken by `room`."""
        await asyncio.to_thread(self._journal.intend, intents)

    async def doubt(self, number: int, hold_seconds: float) -> None:
        """An attempt was lost. Durable when this returns."""
        await asyncio.to_thread(self._journal.doubt, [number], hold_seconds)

    def settle(self, number: int, outcomes: Outcomes, size: int) -> None:
        """Write the outcome of a batch of `size` records with the next group."""
        self._waiting.append((number, outcomes, size))
        self._wake.set()

    def leave(self) -> None:
        """A batch whose end stays open gives its slot back."""
        self._slots.release()

    async def _flush_all(self) -> None:
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
                if self._failure is None:
                    await self._write(group)
                for _ in group:
                    self._slots.release()

    async def _write(self, group: list[tuple[int, Outcomes, int]]) -> None:
        try:
            await asyncio.to_thread(self._journal.settle, [(number, outcomes) for number, outcomes, _ in group])
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._failure = error
            self._failed()
            return
        for _, outcomes, size in group:
            self._settled(outcomes, size)

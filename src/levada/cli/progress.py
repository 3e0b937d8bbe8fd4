"""Shows a run while it runs: a bar with rate and time left on a terminal, a line a second at most elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from levada import events
from levada.cli.terminal import Terminal, duration
from levada.clock import SystemClock
from levada.legible import legible
from levada.wording import plural

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 1.0
WAITS_TOLD_FROM_SECONDS = 2.0


class Progress:
    """A listener of events, and the context in which its bar is drawn."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._clock = SystemClock()
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._last_line_at = 0.0
        self._begun_at = 0.0
        self._begun_done = 0

    def __enter__(self) -> Progress:
        if self._terminal.interactive:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                console=self._terminal.err,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.RunStarted(resumed=True):
                self._line(f"{event.sync}: resuming run {event.run_id}")
            case events.RunStarted():
                self._begin(event.sync)
            case events.ModelRead():
                if self._terminal.verbose:
                    self._line(f"{event.sync}: read {plural(event.rows, 'row')} in {duration(event.seconds)}")
            case events.PlanMade():
                counts = event.counts
                figures = f"+{counts.added:,} ~{counts.changed:,} −{counts.removed:,} ={counts.unchanged:,}"
                if counts.invalid:
                    figures += f", {counts.invalid:,} invalid,"
                if self._bars is None or self._terminal.verbose:
                    self._line(f"{event.sync}: planned {figures} in {duration(event.seconds)}")
            case events.BatchSettled():
                self._settled(event)
            case events.DeliveryWaiting():
                self._waiting(event)
            case events.Notice():
                self._line(f"{event.sync}: notice: {event.message}")
                self._terminal.noticed.add((event.sync, event.message))
            case events.RunFinished():
                self._end()

    def _begin(self, sync: str) -> None:
        self._begun_at = 0.0
        if self._bars is not None:
            self._task = self._bars.add_task(f"{sync}: reading", total=None, note="")

    def _end(self) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.remove_task(self._task)
        self._task = None

    def _settled(self, event: events.BatchSettled) -> None:
        now = self._clock.monotonic()
        if not self._begun_at:
            self._begun_at, self._begun_done = now, event.done
        passed = now - self._begun_at
        rate = (event.done - self._begun_done) / passed if passed > 0.2 else 0.0
        notes = [f"{rate:,.0f}/s"] if rate else []
        if event.rejected:
            notes.append(f"{event.rejected:,} rejected")
        if rate and event.done < event.total:
            notes.append(f"{duration((event.total - event.done) / rate)} left")
        note = ", ".join(notes)
        if self._bars is not None:
            if self._task is None:
                self._task = self._bars.add_task(event.sync, total=event.total, note=note)
            self._bars.update(
                self._task,
                description=f"{event.sync}: sending",
                total=event.total,
                completed=event.done,
                note=note,
            )
            return
        if now - self._last_line_at >= SECONDS_BETWEEN_LINES:
            self._last_line_at = now
            share = 100 * event.done / event.total if event.total else 100.0
            self._line(f"{event.sync}: " + ", ".join([f"{event.done:,} of {event.total:,} ({share:.0f} %)", *notes]))

    def _waiting(self, event: events.DeliveryWaiting) -> None:
        if event.seconds < WAITS_TOLD_FROM_SECONDS:
            return
        self._begun_at = 0.0  # a rate, and a time left, of a run that stood still would mean nothing
        words = f": {event.message}" if event.message else ""
        text = f"{event.sync}: waiting {duration(event.seconds)} ({event.reason}){words}"
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, note=f"waiting {duration(event.seconds)}: {event.reason}")
        if self._bars is None or self._task is None or event.option:
            self._line(text)

    def _line(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(
                legible(self._terminal.said(text), "\n\t"), style="dim", markup=False, highlight=False
            )
        else:
            self._terminal.say(text)

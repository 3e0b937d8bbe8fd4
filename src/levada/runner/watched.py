"""A source under watch: whatever it computes ends when the run is stopped, or when its time is over.

Its errors about an option get the place of that option in the source's file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa

from levada.declaration.yaml import Positions
from levada.errors import SourceError
from levada.halt import Halt, Watch
from levada.runner.opening import located
from levada.source import Attachment, Cautious, Column, Source, SourceAbilities, overdue


@dataclass(frozen=True, slots=True)
class WatchedSource:
    """Fulfils `levada.source.Source` by another one. Adds StoppedError and SourceError `source.timeout`."""

    source: Source
    positions: Positions
    halt: Halt
    seconds: float

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def abilities(self) -> SourceAbilities:
        return self.source.abilities

    def check(self) -> None:
        with self._watch():
            self.source.check()

    def tables(self) -> tuple[str, ...]:
        with self._watch():
            return self.source.tables()

    def columns(self, query: str) -> tuple[Column, ...]:
        with self._watch():
            return self.source.columns(query)

    @contextmanager
    def read(self, query: str) -> Iterator[Iterator[pa.RecordBatch]]:
        with self.halt.watch(self.source.interrupt, self.seconds, self._overdue) as watch, ExitStack() as stack:
            with located(self.positions):  # and not what whoever reads the rows raises
                batches = stack.enter_context(self.source.read(query))
            yield _explained(batches, watch)

    def attachment(self, query: str | None = None) -> Attachment | None:
        with self._watch():
            found = self.source.attachment(query)
        return found and replace(found, timeout_seconds=self.seconds)

    def cautions(self) -> tuple[str, ...]:
        """See `levada.source.Cautious`."""
        if not isinstance(self.source, Cautious):
            return ()
        with self._watch():
            return self.source.cautions()

    def interrupt(self) -> None:
        self.source.interrupt()

    def close(self) -> None:
        self.source.close()

    @contextmanager
    def _watch(self) -> Iterator[None]:
        with self.halt.watch(self.source.interrupt, self.seconds, self._overdue), located(self.positions):
            yield

    def _overdue(self) -> SourceError:
        return overdue(self.seconds)


def _explained(batches: Iterator[pa.RecordBatch], watch: Watch) -> Iterator[pa.RecordBatch]:
    """The batches; whoever reads them may keep an error and end the read without it."""
    try:
        yield from batches
    except Exception as error:
        found = watch.cause(error)
        if found is error:
            raise
        raise found from error

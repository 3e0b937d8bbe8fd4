"""A plan's file is read in pieces: as wide rows make them, and what is left of one when a run is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from levada.delivery.plan_reader import Chunk, PlanReader


@contextmanager
def read_in_pieces(rows: int) -> Iterator[None]:
    """Chunks of at most so many rows, whoever reads a plan; 0: as large as they come."""
    real = PlanReader.chunks

    def chunks(self: PlanReader, *given: Any, **more: Any) -> Iterator[Chunk]:
        for chunk in real(self, *given, **more):
            for start in range(0, len(chunk), rows):
                yield Chunk(chunk.kind, chunk.first + start, chunk.columns.slice(start, rows))

    if not rows:
        yield
        return
    setattr(PlanReader, "chunks", chunks)  # noqa: B010 - a method of a class that is not ours to declare
    try:
        yield
    finally:
        setattr(PlanReader, "chunks", real)  # noqa: B010

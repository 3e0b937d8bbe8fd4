"""What a table destination may be asked of an object besides being written to. Changes nothing there.

The contracts are optional. What the answers mean for a run is the runner's to say (`levada.runner.proof`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa

from levada.destination import WriteOrder


@dataclass(frozen=True, slots=True)
class Already:
    """Of records that are to be added: how many are there, and how many of these hold other values."""

    there: int = 0
    differing: int = 0


@runtime_checkable
class Foretelling(Protocol):
    """A table destination that can be asked before anything is sent."""

    def already(self, order: WriteOrder, rows: Iterable[pa.Table]) -> Already:
        """What these records are at the object. `rows` have the order's schema and come in pieces: no more than one is
        held. Nothing is there where the object itself is not, or where records are not matched.

        Raises UnavailableError, AccessError and DestinationError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Proof:
    """What tells whether an object is still the one that a ledger speaks of.

    `marks`: by sync mark (`WriteOrder.sync_mark`), the plans whose marks lie beside the object; None where none are
    kept. `identity` and `beside`: what the database calls the table and the table of the marks, other ones when they
    are made anew; empty where it does not tell. Of the `asked` records of a sample, `there` were found, and `akin` of
    the `comparable` ones hold at least one of the values that are said of them.
    """

    exists: bool
    empty: bool = True
    marks: Mapping[str, frozenset[str]] | None = None
    identity: str = ""
    beside: str = ""
    asked: int = 0
    there: int = 0
    comparable: int = 0
    akin: int = 0


NO_OBJECT = Proof(False, marks=None)


@runtime_checkable
class Provable(Protocol):
    """A table destination that can prove what it is."""

    def proof(self, order: WriteOrder, sample: pa.Table) -> Proof:
        """The object as it is now. `sample` are records that a ledger holds, in the order's schema; a field that is not
        known is NULL. Raises UnavailableError, AccessError and DestinationError."""
        ...


@runtime_checkable
class Countable(Protocol):
    """A table destination that can count."""

    def size(self, object_name: str) -> int:
        """How many records the object has, whoever wrote them: counted, which takes its time in a large table."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A destination that knows where its objects are, whatever they are called."""

    def place(self, object_name: str) -> str:
        """The same text for every name, account and spelling that leads to the same object. Asks no one."""
        ...

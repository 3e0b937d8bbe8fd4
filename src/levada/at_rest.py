"""Where the values of people's records rest in a project's state: the one list.

The security page shows it, and a test holds it against all that a state has. Not here: what is in memory or in a
private temporary folder while a command runs, and what the destinations hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Place:
    """`pattern`: a file below the state's folder, `*` for any characters but `/`, or a table of the database as
    `state.sqlite:table`. `column`: of a table, the column that holds the values."""

    pattern: str
    holds: str
    until: str
    column: str = ""

    def covers(self, name: str) -> bool:
        """Is this file, or table, by its name below the state's folder, of this place?"""
        wanted, given = self.pattern.split("/"), name.split("/")
        return len(wanted) == len(given) and all(map(fnmatchcase, given, wanted))


_LEDGER = "a later commit of the sync replaces the file"
_KILLED = "a process that was killed left it, until a day has passed"
_PLAN = "`retention.plans_days` are over"
PLACES = (
    Place("ledgers/*/*.parquet", "keys, the values that the destination confirmed, and its own ids", _LEDGER),
    Place("plans/*/added.parquet", "keys and the values to send", _PLAN),
    Place("plans/*/changed.parquet", "keys, the values before and after", _PLAN),
    Place("plans/*/removed.parquet", "keys and the values last confirmed", _PLAN),
    Place("plans/*/invalid.parquet", "keys and the values of rows that cannot be sent, and why", _PLAN),
    Place("plans/*/left.parquet", "of an undo: keys and values that it leaves alone, and why", _PLAN),
    Place("plans/*/refused.parquet", "which records the destination refused, and its words", _PLAN),
    Place("plans/*/touched.parquet", "of an undo: the keys that later runs sent", _KILLED),
    Place("plans/*/work/*", "rows of the model under way", _KILLED),
    Place("plans/*/before-*.parquet", "what a table held in records before they were written over", _PLAN),
    Place("plans/*/plan.json", "keys that a guard names", _PLAN),
    Place("state.sqlite:run", "keys that a guard names, in a run's report", "the state is deleted", "result"),
    Place(
        "state.sqlite:journal",
        "a destination's own words about a refused or unanswered record, at most 500 characters, which may quote it",
        _PLAN,
        "exceptions",
    ),
    Place("state.sqlite:journal", "ids that the destination gave", _PLAN, "identifiers"),
    Place("state.sqlite:journal", "the same words, where they are about every record of a batch", _PLAN, "outcome"),
    Place("backups/*", "all of the above that stand in the database, as before a migration", "you delete it"),
)


def resting_places(name: str) -> tuple[Place, ...]:
    """The places that cover a file below the state's folder, or a table as `state.sqlite:table`."""
    return tuple(place for place in PLACES if place.covers(name))

"""Mode replace: a table that was filled takes the place of another, in one step and once.

How a database does the step is its engine's business. Not here: filling the table (`writer`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from levada.destinations.tables.engine import Engine, Refused, Session, Transient
from levada.destinations.tables.marks import SWAPPED, Mark, Marks
from levada.destinations.tables.names import TableName
from levada.destinations.tables.statements import quoted_table
from levada.errors import DestinationError, UnavailableError

TRIES_MAX = 4
"""A swap that the database rolls back by itself is tried again at most three times."""
LATER = "it is tried again later"


def in_transaction(session: Session, action: Callable[[], None]) -> None:
    """Do something and commit it. Raises UnavailableError where it may be tried again: it is harmless twice."""
    session.begin()
    try:
        action()
        session.commit()
    except Refused as error:
        session.rollback()
        raise DestinationError(error.reason, code="destination.statement") from error
    except Transient as error:
        session.rollback()
        raise UnavailableError(str(error)) from error
    except ConnectionError as error:
        raise UnavailableError(str(error), hint=LATER) from error
    except BaseException:
        session.rollback()
        raise


def finish_swap(
    engine: Engine, session: Session, marks: Marks, target: TableName, staging: TableName, retired: TableName
) -> None:
    """Put the filled table `staging` in the place of `target`, and drop what is left. Idempotent: a crash at any point
    leaves what the next call finishes."""
    if not marks.of(SWAPPED):
        try:
            _swap(engine, session, marks, target, staging, retired)
        except ConnectionError as error:
            # finishing again finds out how far it got
            raise UnavailableError(str(error), hint=LATER) from error
    for name in (retired, staging):
        drop = f"DROP TABLE IF EXISTS {quoted_table(engine.grammar, name)}"
        in_transaction(session, partial(session.run, drop))
    in_transaction(session, partial(marks.forget, session, staging.table))


def _swap(
    engine: Engine, session: Session, marks: Marks, target: TableName, staging: TableName, retired: TableName
) -> None:
    present = set(engine.tables(session, staging.schema))
    swapped = Mark(SWAPPED, -1, 0)
    if staging.table not in present:
        if retired.table not in present:
            raise DestinationError(
                f"the table {staging} that was being filled is gone",
                code="destination.staging_missing",
                hint="drop the plan (`levada run --discard-plan`) and run again",
            )
        in_transaction(session, partial(marks.write, session, swapped))
    else:
        for attempt in range(TRIES_MAX):
            try:
                session.begin()
                if engine.swap(session, target, staging, retired):
                    session.begin()
                marks.write(session, swapped)
                session.commit()
                break
            except Transient as error:
                session.rollback()
                if attempt == TRIES_MAX - 1:
                    raise UnavailableError(f"the swap of {target} was given up: {error}") from error
            except Refused as error:
                session.rollback()
                raise DestinationError(
                    f"{target} cannot be swapped: {error.reason}",
                    code="destination.swap",
                    hint="the old rows are still in place; see what refers to the table",
                ) from error
            except BaseException:
                session.rollback()
                raise
    marks.keep(swapped)

"""What is known of a start of a sync that had no end: that a file is wrong, a tool away, or that Levada has a bug.

Such a start has no run, or leaves one open. The store remembers its words until a run of the sync ends, so that
`status` tells of them. A bug never blocks a sync without saying how to go on: see `crash_of`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from levada.clock import isoformat
from levada.errors import LevadaError, StoppedError, StoreError
from levada.run import RunResult

if TYPE_CHECKING:
    from levada.runner.world import World

MEMORY = "attempt"
QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
"""What stands in quotes in the words of a bug may be a value of somebody's row."""
WORDS_MAX = 300
ISSUES = "the project's issue tracker"


def attempted(world: World, sync: str, act: Callable[[], RunResult]) -> RunResult:
    """Do it, and remember what kept it from an end. The state's own errors are not remembered: whoever asks for the
    status meets them, and another process that runs the sync says nothing of it."""
    try:
        result = act()
    except (StoreError, StoppedError):
        raise
    except LevadaError as error:
        _remember(world, sync, error)
        raise
    except (Exception, SystemExit) as error:
        _remember(world, sync, crash_of(world, sync, error))
        raise
    if world.store.memory.recall(sync, MEMORY) is not None:
        world.store.memory.note(sync, MEMORY, None)
    return result


def last_attempt(world: World, sync: str) -> dict[str, Any] | None:
    """`code`, `message`, `hint`, `exit_code` and `at` of a start that had no end; None if the last one had."""
    text = world.stored.memory.recall(sync, MEMORY) if world.stored is not None else None
    if text is None:
        return None
    found: dict[str, Any] = json.loads(text)
    return found


def crash_of(world: World, sync: str, error: BaseException) -> LevadaError:
    """An error of nobody's making as one of ours: what happened, how to go on with the sync, and what to send us."""
    crash = LevadaError(
        words_of(error, world.redaction.clean),
        code="bug",
        hint=f"this is a bug in Levada, not in your project: sorry. {_how_to_go_on(world, sync)}. Please send what "
        f"`levada run {sync} --debug` prints to {ISSUES}: it holds no value of a row",
    )
    crash.__cause__ = error
    return crash


def words_of(error: BaseException, clean: Callable[[str], str]) -> str:
    """The kind of an error and its words, on one line, without what may be a value of a row."""
    words = QUOTED.sub("'…'", clean(f"{type(error).__name__}: {error}"))
    return words.splitlines()[0][:WORDS_MAX]


def _how_to_go_on(world: World, sync: str) -> str:
    unfinished = None
    with suppress(LevadaError):
        unfinished = world.store.runs.open_run(sync)
    if unfinished is None:
        return (
            f"Nothing is left open; `levada preview {sync}` and `levada check {sync}` show how far it comes, and a row "
            "or a field that is left out of the model may avoid it"
        )
    return (
        f"{unfinished.run_id} is left open: `levada run {sync}` goes on with it; if that ends in the same way, "
        f"`levada run {sync} --discard-plan` drops its plan, takes what it may have sent for unknown, and plans anew"
    )


def _remember(world: World, sync: str, error: LevadaError) -> None:
    """If it cannot be written, `status` does not know of it."""
    clean = world.redaction.clean
    document = {
        "code": error.code,
        "message": clean(f"{error.where}: {error.message}" if error.where else error.message),
        "hint": error.hint and clean(error.hint),
        "exit_code": error.exit_code,
        "at": isoformat(world.clock.now()),
    }
    with suppress(LevadaError):
        if world.stored is not None:
            world.stored.memory.note(sync, MEMORY, json.dumps(document))

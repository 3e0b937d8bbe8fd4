"""The page of how commands end: exit codes, statuses, what is said, who acts: docs/reference/exit-codes.md.

`python -m levada.cli.endings docs/reference/exit-codes.md` writes it; a test fails when it is stale. The codes are read
from what ends with them: the table here holds words only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from levada import errors
from levada.cli.outcome import WORST_FIRST
from levada.run import EXIT_CODES, Status
from levada.runner.check import EXIT_CODES as CHECK_CODES
from levada.runner.standing import PAUSES, STATES, WHO, Who

KILLED = (130, 143)
_PAUSED = EXIT_CODES["paused"]
_LATER = "the next run goes on"
#: the classes of errors, what they say of, and who acts; the exit code is the class's own
_ERRORS: tuple[tuple[type[errors.LevadaError], str, str, Who], ...] = (
    (errors.ConfigError, "config.*, usage.*, run.*", "a file of the project, or the command, is wrong", "you"),
    (errors.ConfigError, "source.missing, source.url", "the source's file names what is not there", "you"),
    (errors.AccessError, "access.*", "a credential or a right is missing or refused", "you"),
    (errors.AuthError, "destination.auth", "the tool refuses the credential before anything was sent", "you"),
    (errors.DestinationError, "destination.*", "the tool lacks what the sync needs; nothing was sent", "destination"),
    (errors.StoreError, "store.*", "Levada's state cannot be read or written; `levada doctor` examines it", "you"),
    (errors.SourceError, "source.*", "the model could not be read in full; nothing was sent", "model"),
    (errors.LevadaError, "bug", "Levada has a bug; the message says how to go on and what to send us", "you"),
    (
        errors.UnreachableError,
        "source.unreachable",
        "the warehouse cannot be reached; the next run tries again",
        "nobody",
    ),
    (
        errors.UnavailableError,
        "destination.unavailable",
        "the tool cannot be reached; the next run tries again",
        "nobody",
    ),
    (errors.FullError, "destination.full", "the tool has no room left; nothing was sent", "destination"),
    (errors.ThrottledError, "destination.rate, destination.quota", "the tool asks for more time", "nobody"),
)
_BUSY = (errors.BusyError, errors.FencedError)
_RUNS: tuple[tuple[Status, str, str, Who], ...] = (
    ("succeeded", "", "everything was delivered, or there was nothing to do", "nobody"),
    ("cancelled", "", "stopped from Python before anything was sent", "nobody"),
    ("partial", "rejected, waiting", "the destination refuses records: `levada records SYNC`", "destination"),
    ("partial", "invalid", "rows cannot be sent: `levada records SYNC --outcome invalid`", "model"),
    ("partial", "unknown, unsent", "records have no known end; the next run asks or sends again", "nobody"),
    ("blocked", "", "a guard stopped it before the first request: `levada approve PLAN`", "you"),
)


@dataclass(frozen=True, slots=True)
class Ending:
    """One row of the table. `reason`: the pause's, the records' outcome or the error's code."""

    code: int
    status: str
    reason: str
    says: str
    who: Who


def endings() -> Iterator[Ending]:
    """Every way in which a sync, or a command about one, ends."""
    for status, reason, says, who in _RUNS:
        yield Ending(EXIT_CODES[status], status, reason, says, who)
    for code in reversed(KILLED):
        yield Ending(code, "cancelled", "stopped", "stopped by Ctrl-C or SIGTERM before anything was sent", "nobody")
    for pause, (who, says) in PAUSES.items():
        yield Ending(_PAUSED, "paused", pause, f"{says}; {_LATER}", who)
    for kind, reason, says, who in _ERRORS:
        yield Ending(kind.exit_code, "paused" if kind.exit_code == _PAUSED else "failed", reason, says, who)
    for busy in _BUSY:
        yield Ending(
            busy.exit_code, "busy", busy.code, "another process runs the sync; `--wait` waits for it", "nobody"
        )


_HEAD = """\
# How commands end

Exit codes, the `status` in the JSON of `run`, `resync`, `retry`, `undo`, `mark-synced` and of an error, what is said,
and who must act. Whatever the code: nothing is lost.

* **2** means: somebody must change a file or a credential. **1**: somebody should look. **5**: it has not come to its
  end, and the next run goes on; most reasons pass by themselves, so cron and orchestrators just run again.
* What cannot be reached is 5 whenever it happens: before the first request, in `check` and `plan` too, and amid a run.
* `{killed}`: stopped by Ctrl-C or SIGTERM before anything was sent, or ended at once by a second one; the next run
  goes on.

"""
_SEVERAL = """
## Several syncs in one command

Each sync runs, whatever becomes of the others, and has its own line of JSON with its own `status`; one whose own files
are wrong fails alone. The exit code is the first of these that any of them has: {order}.
So 5 stands before 3: as long as a sync has not come to its end, the command is to be run again; what was refused or
invalid is told again by then. `plan` ends with 0 also where the guard would stop the run: its JSON says so. `check`
ends with the first of {check}. `test` ends with 1 if a case fails.

With `--json`, `run` and `plan` print one document for one sync and a line for each of several; `records` prints a line
for each record; every other command prints one document.

## Stopping

The first Ctrl-C or SIGTERM stops cleanly, whatever goes on. While a source or a plan computes, the statement is
cancelled, at the warehouse too: nothing was sent, the run is `cancelled`, and the exit code is the signal's. A step of
an embedded database that hears nothing for 7 seconds is left behind by the end of the process. Once a plan is sent,
what is under way is finished, and the run pauses (5). The second signal ends the process where it stands.

## What `levada status` says

One sync can be in several of these at once; each is told in a line with who must act. `status` ends with 0.

| state | meaning |
|---|---|
"""
_FOOT = """
Who must act is one of: {who}.
Where it is nobody, it goes on with the next run, and the line says by which schedule. In JSON: `who`, `standing` (all
facts), `left` (records by outcome, of the last run that was committed), `held_by`, `open_run`, `plan_waiting`,
`synced_at`, `age_seconds`.

This page is made by `make docs` from the code.
"""


def page() -> str:
    """The page as Markdown."""
    rows = sorted(endings(), key=lambda one: (one.code, one.status))
    table = "| code | status | reason or error code | what it says | who acts |\n|---|---|---|---|---|\n" + "".join(
        f"| {one.code} | {one.status} | {one.reason} | {one.says} | {_who(one.who)} |\n" for one in rows
    )
    order = ", ".join(str(code) for code in WORST_FIRST)
    check = ", ".join(f"{code} ({state})" for state, code in CHECK_CODES.items())
    states = "".join(f"| {state} | {words} |\n" for state, words in STATES.items())
    who = ", ".join(f"`{word}` ({_who(word)})" for word in WHO)
    return (
        _HEAD.format(killed="`, `".join(str(code) for code in KILLED))
        + table
        + _SEVERAL.format(order=order, check=check)
        + states
        + _FOOT.format(who=who)
    )


def _who(who: Who) -> str:
    return WHO[who].partition(":")[0]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")

"""What a person would do after a run, on stderr. Needs no rich: `--json` and pipes get it too."""

from __future__ import annotations

from levada.cli.terminal import Terminal, key_text
from levada.run import RunResult


def run_hints(terminal: Terminal, result: RunResult) -> None:
    """What a person would do after this run, on stderr."""
    if result.message:
        terminal.say(f"  {result.message}")
    for notice in result.notices:
        if (result.sync, notice) not in terminal.noticed:
            terminal.say(f"  notice: {notice}", "dim")
    match result.status:
        case "blocked":
            for reason in result.guard.reasons:
                terminal.say(f"  {reason.message}")
                if reason.keys:
                    terminal.say(f"    such as {', '.join(key_text(key) for key in reason.keys)}", "dim")
            terminal.hint(
                f"nothing was sent. If you want it so: levada approve {result.plan_id}, then the same command again"
            )
        case "partial":
            terminal.hint(f"levada records {result.sync} --outcome {_left(result)}   shows which and why")
            if result.tally.waiting:
                terminal.hint(f"levada retry {result.sync}   sends what waits now, once its reason is mended")
        case "paused" if result.error is not None:  # nothing was sent, and nothing is left open
            first = f"{result.error.hint}. " if result.error.hint else ""
            terminal.error(
                result.error.message, f"{first}Nothing was sent: the next `levada run {result.sync}` tries again"
            )
        case "paused":
            match result.pause:
                case "auth":
                    terminal.hint(
                        f"levada check {result.sync}   tells whether the destination takes a credential: mend it"
                    )
                    terminal.hint("levada secrets set NAME   stores another, where its file says ${NAME}")
                case "setup":
                    terminal.hint(f"levada check {result.sync}   once the destination's file or function is mended")
                case "full":
                    terminal.hint("make room at the destination: nothing is lost, and nothing was half written")
                case _:
                    pass
            terminal.hint(f"levada run {result.sync}   resumes where it stopped")
        case "failed" if result.error is not None:
            where = f"{result.error.where}: " if result.error.where else ""
            terminal.error(where + result.error.message, result.error.hint)
        case _:
            pass


def _left(result: RunResult) -> str:
    """What most needs to be looked at."""
    found = (
        (result.tally.rejected, "rejected"),
        (result.counts.invalid, "invalid"),
        (result.tally.unknown, "unknown"),
        (result.tally.waiting, "waiting"),
    )
    return next((word for figure, word in found if figure), "unsent")

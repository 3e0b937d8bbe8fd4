"""What the commands that send have in common: selection, progress, interruption, results, exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from levada.cli.interruption import Signals, stopping
from levada.cli.invocation import Invocation
from levada.cli.outcome import failed_line, worst
from levada.cli.progress import Progress
from levada.cli.selection import chosen
from levada.errors import LevadaError, StoppedError

if TYPE_CHECKING:
    from levada.cli.terminal import Terminal
    from levada.run import RunResult
    from levada.runner.project import Project


def run_each(
    invocation: Invocation,
    names: Sequence[str],
    select: Sequence[str],
    exclude: Sequence[str],
    act: Callable[[Project, str], RunResult],
) -> int:
    """Do `act` with each chosen sync, one after the other. One that fails does not keep the others."""
    terminal = invocation.terminal
    codes: list[int] = []
    with (
        Progress(terminal) as progress,
        invocation.open(progress) as project,
        stopping(project.stop, lambda: project.computing) as signals,
    ):
        selected = chosen(project, names, select, exclude)
        width = max((len(name) for name in selected), default=0)
        for name in selected:
            if project.stopped:
                terminal.say(f"{name}: not begun, because this was stopped")
                codes.append(5)
                continue
            try:
                result = act(project, name)
            except LevadaError as error:
                if len(selected) == 1 or isinstance(error, StoppedError):
                    raise
                codes.append(failed_line(terminal, name, error))
                continue
            codes.append(_ended(result, show(terminal, result, width), signals))
    return worst(codes)


def run_one(invocation: Invocation, act: Callable[[Project], RunResult]) -> int:
    """The same for a command about one thing."""
    terminal = invocation.terminal
    with (
        Progress(terminal) as progress,
        invocation.open(progress) as project,
        stopping(project.stop, lambda: project.computing) as signals,
    ):
        result = act(project)
    return _ended(result, show(terminal, result, len(result.sync)), signals)


def _ended(result: RunResult, code: int, signals: Signals) -> int:
    """The exit code of a run: the signal's, if one ended it before anything was sent."""
    return 128 + signals.number if signals.number and result.status == "cancelled" else code


def show(terminal: Terminal, result: RunResult, width: int) -> int:
    """Print a run's result; returns its exit code."""
    from levada.cli.hints import run_hints

    if terminal.json:
        terminal.document(result.as_dict())
    else:
        from levada.cli.drawing import run_line

        for earlier in result.resumed:
            terminal.line(run_line(earlier, width))
        terminal.line(run_line(result, width))
    run_hints(terminal, result)
    return result.exit_code

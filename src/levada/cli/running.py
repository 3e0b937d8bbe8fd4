"""What the commands that send have in common: selection, progress, interruption, waiting, results, exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from levada.cli.interruption import Signals, stopping
from levada.cli.invocation import Invocation
from levada.cli.outcome import failed_line, worst
from levada.cli.progress import Progress
from levada.cli.selection import started
from levada.errors import BusyError, StoppedError

if TYPE_CHECKING:
    from levada.cli.terminal import Terminal
    from levada.run import RunResult
    from levada.runner.project import Project

WAIT_STEP_SECONDS = 1.0
WAIT_STEPS_MAX = 86_400
"""`--wait` waits for about a day, and then ends as without it."""


def waits(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--wait`."""
    text = "If another process runs the sync, wait for it to end, for up to a day (without it: exit code 5)."
    return click.option("--wait", is_flag=True, help=text)(function)


def run_each(
    invocation: Invocation,
    names: Sequence[str],
    select: Sequence[str],
    exclude: Sequence[str],
    act: Callable[[Project, str], RunResult],
    *,
    wait: bool = False,
) -> int:
    """Do `act` with each chosen sync, one after the other. One that fails, or meets a bug, does not keep the others."""
    terminal = invocation.terminal
    with (
        Progress(terminal) as progress,
        invocation.open(progress) as project,
        stopping(project.stop, lambda: project.computing) as signals,
    ):
        selected, codes = started(invocation, project, names, select, exclude)
        width = max((len(name) for name in selected), default=0)
        for name in selected:
            if project.stopped:
                codes.append(_not_begun(terminal, name))
                continue
            several = len(selected) > 1
            codes.append(_one(invocation, project, name, act, signals, wait=wait, width=width, several=several))
    return worst(codes)


def run_one(
    invocation: Invocation,
    act: Callable[[Project], RunResult],
    *,
    sync: str = "",
    undoes: str = "",
    wait: bool = False,
) -> int:
    """The same for a command about one sync: by its name, or by a run of it that is undone."""
    with (
        Progress(invocation.terminal) as progress,
        invocation.open(progress) as project,
        stopping(project.stop, lambda: project.computing) as signals,
    ):
        name = sync or project.world.store.runs.get(undoes).sync
        return _one(
            invocation, project, name, lambda found, _: act(found), signals, wait=wait, width=len(name), several=False
        )


def _one(
    invocation: Invocation,
    project: Project,
    name: str,
    act: Callable[[Project, str], RunResult],
    signals: Signals,
    *,
    wait: bool,
    width: int,
    several: bool,
) -> int:
    try:
        result = _patiently(invocation.terminal, project, lambda: act(project, name), wait)
    except (KeyboardInterrupt, StoppedError):
        raise
    except BaseException as error:  # noqa: BLE001 -- a bug, or sys.exit() in a user's function, ends one sync
        return failed_line(invocation, project, name, error, several=several)
    return _code(result, show(invocation.terminal, result, width), signals)


def _code(result: RunResult, code: int, signals: Signals) -> int:
    """The exit code of a run: the signal's, if one ended it before anything was sent."""
    return 128 + signals.number if signals.number and result.status == "cancelled" else code


def _patiently(terminal: Terminal, project: Project, act: Callable[[], RunResult], wait: bool) -> RunResult:
    """Do it; with `wait` again and again while another process runs the sync, until it ends or this is stopped."""
    for step in range(WAIT_STEPS_MAX if wait else 0):
        try:
            return act()
        except BusyError as error:
            if not step:
                terminal.say(f"waiting: {error.message}")
            if project.wait(WAIT_STEP_SECONDS):
                raise
    return act()


def _not_begun(terminal: Terminal, name: str) -> int:
    words = "not begun, because this was stopped"
    if terminal.json:
        terminal.document({"sync": name, "status": "paused", "paused": "operator", "message": words})
    terminal.say(f"{name}: {words}")
    return 5


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

"""`levada records`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.runner.records import OUTCOMES, RecordOutcome, elsewhere
from levada.wording import plural

SHOWN_DEFAULT = 50
NEWER_MAX = 200
"""Among so many of the latest runs it is told how many are newer than the one that is shown."""


@declared("records")
@click.argument("sync")
@click.option("--run", "run", metavar="ID", help="A run's id or its beginning (default: the latest with records).")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only records that ended so.")
@click.option("--key", metavar="K", help="Only this key; of several columns, joined by commas.")
@click.option("--limit", type=click.IntRange(1), help=f"At most so many (default: all as JSON, {SHOWN_DEFAULT} else).")
def command(
    invocation: Invocation,
    sync: str,
    run: str | None,
    outcome: RecordOutcome | None,
    key: str | None,
    limit: int | None,
) -> int:
    """Show what happened to each record of a run: before, after, and what the destination answered.

    With --json, one JSON line per record.
    """
    terminal = invocation.terminal
    with invocation.open() as project:
        if terminal.json:
            any_shown = False
            for record in project.records(sync, run=run, outcome=outcome, key=key, limit=limit):
                terminal.document(record.as_dict())
                any_shown = True
            if not any_shown:
                terminal.say(elsewhere(project.world, sync, run, outcome, key))
            return 0
        wanted = limit or SHOWN_DEFAULT
        found = list(project.records(sync, run=run, outcome=outcome, key=key, limit=wanted + 1))
        none_found = "" if found else elsewhere(project.world, sync, run, outcome, key)
        newer = [one.run_id for one in project.runs(sync, NEWER_MAX)] if found and run is None else []
    if not found:
        terminal.say(none_found)
        return 0
    from rich.text import Text

    from levada.cli.drawing import SIGNS, change_lines, keys_width, sign
    from levada.cli.terminal import key_text, shown

    terminal.line(Text.assemble((sync, "bold"), f"  run {found[0].run_id}"))
    if found[0].run_id in newer[1:]:
        what = f"{outcome} records" if outcome else "records"
        later = plural(newer.index(found[0].run_id), "later run has", "later runs have")
        terminal.say(f"  the latest run with {what}: {later} none")
    width = keys_width([record.key for record in found[:wanted]])
    for record in found[:wanted]:
        if record.kind is None:
            terminal.line(Text.assemble("  ", sign("invalid"), " ", (key_text(record.key).ljust(width), "bold")))
        else:
            for line in change_lines(record.kind, record.key, record.before, record.after, terminal.width, width):
                terminal.line(line)
        mark, style = SIGNS.get(record.outcome, ("✓", "green"))
        field = f"{record.field}: " if record.field and not record.reason.startswith(f"{record.field}: ") else ""
        why = shown(f"{field}{record.reason}", 400) if record.reason else ""
        request = f"  request {record.request_id}" if record.request_id else ""
        code = f" [{record.code}]" if record.code else ""
        terminal.line(Text.assemble(" " * 6, (f"{mark} {record.outcome}", style), f"  {why}{code}", (request, "dim")))
    if len(found) > wanted:
        terminal.hint("there are more: --limit N shows N, --json all")
    return 0

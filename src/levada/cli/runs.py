"""`levada runs`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared

WORDS_LEFT = ("rejected", "waiting", "invalid", "unknown", "unsent", "possibly_duplicated", "possibly_missing")


@declared("runs")
@click.argument("sync", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
def command(invocation: Invocation, sync: str | None, limit: int) -> int:
    """List runs, newest first: of one sync, or of all."""
    from levada.runner.status import run_document

    terminal = invocation.terminal
    with invocation.open() as project:
        documents = [run_document(record) for record in project.runs(sync, limit)]
    if terminal.json:
        terminal.document({"runs": documents})
        return 0
    if not documents:
        terminal.say("no run yet")
        return 0
    rows = []
    for one in documents:
        delivered = sum((one.get("delivered") or {}).values())
        left = [f"{one[word]:,} {word.replace('_', ' ')}" for word in WORDS_LEFT if one.get(word)]
        standing = f"paused ({one['paused']})" if one.get("paused") else one["status"] or "unfinished"
        purpose = "" if one["purpose"] == "sync" else f" ({one['purpose']})"
        started = one["started_at"][5:16].replace("T", " ")
        rows.append((one["run_id"], one["sync"] + purpose, started, standing, f"{delivered:,}", ", ".join(left)))
    terminal.table(
        ("run", "sync", "started (UTC)", "status", "delivered", "left"), rows, right=(4,), whole=(0, 3, 4), folded=(5,)
    )
    return 0

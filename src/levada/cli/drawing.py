"""How plans, records and runs are drawn for people: signs, before and after, figures to the right.

The signs alone suffice; colours repeat them: + added, ~ changed, − removed, ! invalid, × rejected, = unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from levada.change import Counts
from levada.cli.terminal import KEYS_WIDTH_MAX, duration, key_text, shown
from levada.guard import GuardDecision
from levada.run import RunResult
from levada.wording import plural

SIGNS = {
    "added": ("+", "green"),
    "changed": ("~", "yellow"),
    "removed": ("−", "red"),
    "invalid": ("!", "bright_black"),
    "rejected": ("×", "magenta"),
    "waiting": ("×", "dim"),
    "unchanged": ("=", "dim"),
    "suppressed": ("·", "dim"),
    "unknown": ("?", "cyan"),
    "unsent": ("…", "dim"),
    "left": ("=", "dim"),
}
FIELDS_SHOWN_MAX = 8
STATUS_STYLES = {
    "succeeded": "green",
    "partial": "magenta",
    "blocked": "red",
    "paused": "yellow",
    "failed": "bold red",
    "cancelled": "red",
}


def sign(name: str) -> Text:
    mark, style = SIGNS[name]
    return Text(mark, style=style)


def counts_lines(
    counts: Counts,
    fields_changed: Mapping[str, int],
    mode_ignores_removed: bool,
    left_means: str = "gone from the model; the destination keeps them",
) -> list[Text]:
    """One line per kind, figures aligned to the right; `added`, `changed` and `removed` always, the rest if any."""
    figures = counts.as_dict()
    width = max(len(f"{figure:,}") for figure in figures.values())
    lines = []
    for name in ("added", "changed", "removed", "invalid", "unchanged", "left"):
        figure = figures[name]
        if not figure and name in ("invalid", "left"):
            continue
        style = SIGNS[name][1] if figure else "dim"
        line = Text.assemble("  ", sign(name), " ", (f"{figure:>{width},}", style), f" {name}")
        if name == "changed" and fields_changed:
            most = sorted(fields_changed.items(), key=lambda pair: (-pair[1], pair[0]))
            listed = ", ".join(f"{shown(field, 30)} {number:,}" for field, number in most[:5])
            more = f", {plural(len(most) - 5, 'more field')}" if len(most) > 5 else ""
            line.append(f"    {listed}{more}", style="dim")
        if name == "left":
            line.append(f"    {left_means}", style="dim")
        if name == "removed" and not figure and mode_ignores_removed:
            line.append("    this sync removes nothing", style="dim")
        lines.append(line)
    return lines


def guard_lines(guard: GuardDecision, approved: bool) -> list[Text]:
    """The verdict first, then every reason with keys as examples."""
    if not guard.blocked:
        return [Text.assemble(("  guard: ", ""), ("would pass", "green"))]
    verdict = ("approved: passes", "green") if approved else ("would stop this run", "bold red")
    lines = [Text.assemble("  guard: ", verdict)]
    for reason in guard.reasons:
        lines.append(Text(f"    {reason.message}"))
        if reason.keys:
            lines.append(Text(f"      such as {', '.join(key_text(key) for key in reason.keys)}", style="dim"))
    return lines


def change_lines(
    kind: str,
    key: Any,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    width: int,
    key_width: int,
) -> list[Text]:
    """A record: one line for what comes or goes, a line per field for what changes, old value struck."""
    head = Text.assemble("  ", sign(kind), " ", (key_text(key).ljust(key_width), "bold"), "  ")
    if kind in ("added", "removed") or before is None or after is None:
        fields = after if after is not None else before or {}
        return [_flowing(head, fields, width, "strike" if kind == "removed" else "")]
    changed = [name for name, value in after.items() if before.get(name) != value]
    if not changed:
        head.append("every field again: what the destination holds is not known", style="dim")
        return [head]
    lines = []
    name_width = min(24, max(len(name) for name in changed[:FIELDS_SHOWN_MAX]))
    indent = len(head)
    room = max(10, (width - indent - name_width - 6) // 2)
    for number, name in enumerate(changed[:FIELDS_SHOWN_MAX]):
        line = head if number == 0 else Text(" " * indent)
        line.append(shown(name, name_width).ljust(name_width) + "  ")
        line.append(shown(before.get(name), room), style="strike dim")
        line.append(" → ")
        line.append(shown(after[name], room), style="bold")
        lines.append(line)
    if len(changed) > FIELDS_SHOWN_MAX:
        lines.append(Text(" " * indent + f"and {plural(len(changed) - FIELDS_SHOWN_MAX, 'more field')}", "dim"))
    return lines


def _flowing(head: Text, fields: Mapping[str, Any], width: int, style: str) -> Text:
    line = head
    for number, (name, value) in enumerate(fields.items()):
        part = f"{shown(name, 24)} "
        text = shown(value, 32)
        if number and len(line) + len(part) + len(text) + 4 > width:
            line.append("…", style="dim")
            break
        line.append(part, style="dim")
        line.append(text, style=style)
        line.append("  ")
    line.rstrip()
    return line


def keys_width(keys: Sequence[Any]) -> int:
    return min(KEYS_WIDTH_MAX, max((len(key_text(key)) for key in keys), default=1))


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def run_line(result: RunResult, name_width: int) -> Text:
    """A run in one line: status, what was delivered by kind, what was not, requests and time."""
    tally = result.tally
    parts = []
    by_kind = " ".join(
        f"{SIGNS[kind][0]}{tally.delivered.get(kind, 0):,}"
        for kind in ("added", "changed", "removed")
        if tally.delivered.get(kind, 0)
    )
    parts.append(f"{tally.delivered_total:,} delivered" + (f" ({by_kind})" if by_kind else ""))
    for figure, word in (
        (tally.rejected, "rejected"),
        (tally.waiting, f"waiting (refused before: levada retry {result.sync} sends {_them(tally.waiting)} now)"),
        (result.counts.invalid, "invalid"),
        (tally.suppressed, "suppressed"),
        (tally.unknown, "unknown"),
        (tally.unsent, "unsent"),
        (tally.possibly_duplicated, "possibly duplicated"),
        (tally.possibly_missing, "possibly missing"),
    ):
        if figure:
            parts.append(f"{figure:,} {word}")
    if tally.requests:
        parts.append(plural(tally.requests, "request"))
    parts.append(duration(result.seconds))
    status = f"paused ({result.pause})" if result.pause else result.status
    return Text.assemble(
        (result.sync.ljust(name_width), "bold"),
        "  ",
        (status, STATUS_STYLES[result.status]),
        "  ",
        ", ".join(parts),
    )

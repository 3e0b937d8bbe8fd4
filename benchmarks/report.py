"""The figures as tables: walls as medians, Levada's ratio to the floor of the same runs, and DESIGN's budgets."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

BUDGETS: dict[tuple[str, str], float] = {
    ("postgres-postgres", "first"): 1.3,
    ("postgres-postgres", "same"): 1.3,
    ("postgres-postgres", "changed"): 1.3,
    ("parquet-http", "first"): 2.0,
    ("parquet-http", "same"): 1.3,
    ("parquet-http", "changed"): 2.0,
}
"""At most so many times the floor, at 1 M rows and no worse at 10 M. Other pairs have no budget of their own."""
PEAK_MIB_MAX = 512
HELP_SECONDS_MAX = 0.25
SMALL_RUN_SECONDS_MAX = 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one contender. `figures`: a Measurement as a dict."""

    rows: int
    pair: str
    day: str
    contender: str
    repeat: int
    requests: int
    figures: dict[str, float]


def tables(results: list[Result], wrong: list[str]) -> str:
    """Everything, as Markdown."""
    parts = [_against_floor(results), _memory(results), _start_up(results)]
    if wrong:
        parts.append("## Wrong\n\n" + "\n".join(f"- {line}" for line in wrong))
    return "\n\n".join(part for part in parts if part) + "\n"


def _against_floor(results: list[Result]) -> str:
    cases = list(dict.fromkeys((r.rows, r.pair, r.day) for r in results if r.pair != "start-up" and r.rows > 100))
    if not cases:
        return ""
    lines = [
        "## Against the floor",
        "",
        "| rows | pair | day | floor s | levada s | ratio | budget | | floor cpu | levada cpu | ratio | sent | other |",
        "|---:|---|---|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for rows, pair, day in cases:
        walls, cpus, requests, foreign = {}, {}, "", 0.0
        for name in ("floor", "levada"):
            runs = [r for r in results if (r.rows, r.pair, r.day, r.contender) == (rows, pair, day, name)]
            if runs:
                walls[name] = statistics.median(r.figures["wall_seconds"] for r in runs)
                cpus[name] = statistics.median(r.figures["cpu_seconds"] for r in runs)
                foreign = max(foreign, statistics.median(r.figures["foreign_cpu_seconds"] for r in runs))
                requests = f"{runs[-1].requests:,}"
        ratio = walls["levada"] / walls["floor"] if len(walls) == 2 else None
        budget = BUDGETS.get((pair, day))
        verdict = "" if ratio is None or budget is None else "ok" if ratio <= budget else "**over**"
        cells = [
            f"{rows:,}", pair, day, _number(walls.get("floor")), _number(walls.get("levada")), _number(ratio),
            _number(budget, 1), verdict, _number(cpus.get("floor")), _number(cpus.get("levada")),
            _number(cpus["levada"] / cpus["floor"] if len(cpus) == 2 else None), requests, _number(foreign, 1),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _memory(results: list[Result]) -> str:
    sizes = sorted({r.rows for r in results if r.contender == "levada" and r.rows > 100})
    if not sizes:
        return ""
    head = (
        "| pair | day | " + " | ".join(f"{size:,} rows: MiB" for size in sizes) + " | largest / smallest | budget | |"
    )
    lines = ["## Peak memory of levada", "", head, "|---|---|" + "---:|" * (len(sizes) + 2) + "---|"]
    for pair, day in dict.fromkeys((r.pair, r.day) for r in results if r.contender == "levada" and r.rows > 100):
        peaks = []
        for size in sizes:
            found = [
                r.figures["peak_mib"]
                for r in results
                if (r.rows, r.pair, r.day, r.contender) == (size, pair, day, "levada")
            ]
            peaks.append(max(found) if found else None)
        known = [peak for peak in peaks if peak is not None]
        growth = f"{known[-1] / known[0]:.2f}" if len(known) > 1 else ""
        verdict = "ok" if max(known) <= PEAK_MIB_MAX else "**over**"
        cells = [pair, day, *(_number(peak, 0) for peak in peaks), growth, str(PEAK_MIB_MAX), verdict]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _start_up(results: list[Result]) -> str:
    limits = {
        (0, "help"): HELP_SECONDS_MAX,
        (100, "first"): SMALL_RUN_SECONDS_MAX,
        (100, "same"): SMALL_RUN_SECONDS_MAX,
    }
    names = {
        (0, "help"): "levada --help",
        (100, "first"): "levada run, 100 rows, first",
        (100, "same"): "the same again",
    }
    lines = []
    for (rows, day), limit in limits.items():
        walls = [r.figures["wall_seconds"] for r in results if (r.rows, r.day, r.contender) == (rows, day, "levada")]
        if walls:
            middle = statistics.median(walls)
            verdict = "ok" if middle <= limit else "**over**"
            lines.append(f"| {names[rows, day]} | {middle:.2f} | {min(walls):.2f} | {limit:.2f} | {verdict} |")
    if not lines:
        return ""
    return "\n".join(["## Start-up", "", "| | median s | least s | budget s | |", "|---|---:|---:|---:|---|", *lines])


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"

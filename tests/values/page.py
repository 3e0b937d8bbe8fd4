"""The table of docs/reference/values.md, held against what a run of the matrix saw."""

from __future__ import annotations

from pathlib import Path

from values.kinds import KINDS
from values.matrix import Tally
from values.witnesses import WITNESSES

PAGE = Path(__file__).parents[2] / "docs/reference/values.md"
WORDS = {
    "int": "number", "Decimal": "number", "float": "number", "str": "text", "bool": "true, false", "bytes": "bytes",
    "date": "date", "datetime": "time", "time": "time", "timedelta": "time", "list": "list", "dict": "object",
    "Document": "JSON", "UUID": "uuid",
}  # fmt: skip
TYPES = tuple((kind.name, kind.duckdb) for kind in KINDS if kind.duckdb and kind.name != "whole")
SHOWN = {"mood": "ENUM", "address": "STRUCT(…)"}


CAST = {("nanos", "duckdb"): "time", ("nanos", "parquet"): "time", ("instant", "duckdb"): "time"}
"""What the readers of this suite ask for in another form, since Python has none for it."""


def lines(tally: Tally) -> list[str]:
    """The table's lines: a row for each type, a column for each destination."""
    head = ["type", *WITNESSES]
    found = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, native in TYPES:
        found.append(f"| `{SHOWN.get(name, native)}` | {' | '.join(_cell(tally, name, w) for w in WITNESSES)} |")
    return found


def _cell(tally: Tally, kind: str, witness: str) -> str:
    if kind in WITNESSES[witness].refuses:
        return "no column"
    forms = sorted({WORDS[form] for found, where, form in tally.forms if (found, where) == (kind, witness)})
    codes = sorted({code for found, where, code in tally.codes if (found, where) == (kind, witness)})
    return "; ".join([CAST.get((kind, witness), " or ".join(forms)), *(f"`{code}`" for code in codes)])


def disagreements(tally: Tally) -> list[str]:
    """Where the page says something else than what was seen. A small run may see fewer refusals than there are."""
    written = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    seen = lines(tally)
    if len(written) != len(seen):
        return seen
    found = []
    for before, after in zip(written, seen, strict=True):
        for told, met in zip(before.split("|"), after.split("|"), strict=True):
            form, *codes = (part.strip() for part in told.split(";"))
            form_met, *codes_met = (part.strip() for part in met.split(";"))
            if form != form_met or not set(codes_met) <= set(codes):
                found.append(f"{after}: {told!r} is {met!r}")
    return found

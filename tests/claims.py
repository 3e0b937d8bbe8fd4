"""Which test proves which claim, and the figures that `make guarantees` prints.

A test that proves a claim is marked `@pytest.mark.claim("H12")` and says what it measured through the fixture
`figure`: one sentence, made of numbers that this very run counted. `LEVADA_FULL=1` asks for the sizes of the claim
itself; without it a test takes a size that fits `make test`. `LEVADA_CAMPAIGN=1`, as in CI, asks for what is between
them: what nobody wants to wait for at every change.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
Figure = Callable[[str, str], None]
"""figure("H12", "1,000,000 values, 0 changed in silence")"""

CLAIMS: dict[str, str] = {
    "H1": "Schedules of faults, classes T, A, B, C, D: none lost, doubled, stale or out of order; every cell reached",
    "H3": "kill -9 before and after every persisted step, and at pairs of steps, in every class",
    "H4": "Power loss: what was acknowledged survives",
    "H5": "The museum: published failures of other tools, rebuilt, are caught",
    "H6": "After a crash at most one batch per lane is sent again (class A: one window)",
    "DISK": "A disk that is full, or fails, at any step: the run says so, and the next start finishes",
    "DECAY": "Each file of the state, damaged in each way: it is named, and nothing is sent from it",
    "CLOCK": "Clocks that are set forward or back, between runs and within one, lose and double nothing",
    "H9": "Memory stays bounded while the model grows",
    "H10": "One poison row in 1,000: the others arrive, with few extra calls",
    "H11": "No request for an empty, failed or partial read; a mass delete stops at its threshold",
    "H12": "Generated values arrive exactly, or are rejected by name",
    "H13": "No secret and no person in any log, answer, error or store",
    "H15": "An unchanged model causes no write request",
    "S15": "Addresses that a connection may not reach are refused in every notation",
    "S17": "Answers that mean harm are bounded and believed in nothing",
    "S18": "A server whose certificate cannot be trusted is refused",
    "S19": "A user's SQL cannot write",
    "S21": "A user's expressions and templates cannot escape",
    "S13": "Nothing leaves the machine but to configured destinations",
    "NET": "A connection cut at any part of a request or an answer is never taken for a delivery",
    "KIT": "The conformance kit for authors of connectors",
}
"""The claims that a figure may belong to, as docs/guarantees.md lists them."""


def full() -> bool:
    """Are the sizes of the claims themselves asked for?"""
    return os.environ.get("LEVADA_FULL") == "1"


def campaign() -> bool:
    """Are the sizes asked for that CI has?"""
    return os.environ.get("LEVADA_CAMPAIGN") == "1"


def note(claim: str, sentence: str) -> None:
    """Add one figure to the file that LEVADA_FIGURES names, if it does."""
    if claim not in CLAIMS:
        raise KeyError(f"no claim is called {claim!r}; known: {', '.join(CLAIMS)}")
    named = os.environ.get("LEVADA_FIGURES")
    if named:
        # one short write with O_APPEND: several test processes may add to the same file
        with Path(named).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"claim": claim, "figure": sentence}, ensure_ascii=False) + "\n")


def table(file: Path) -> str:
    """The figures of a file as a Markdown table, in the order of CLAIMS; a claim without a figure says so."""
    found: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["figure"] not in found.setdefault(entry["claim"], []):
            found[entry["claim"]].append(entry["figure"])
    lines = ["| | claim | figures |", "|---|---|---|"]
    for claim, title in CLAIMS.items():
        shown = sorted(found.get(claim, ["**not measured in this run**"]), key=_by_figures)
        lines.append(f"| {claim} | {title} | {'<br>'.join(shown).replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def _by_figures(sentence: str) -> list[str | int]:
    """Sorts 9,000 before 10,000."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", sentence.replace(",", ""))]


def written(page: Path, figures: str) -> None:
    """Put the table between the page's two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """`python -m claims FIGURES [PAGE]`: print the table, and put it into the page; 1 if a claim has no figure."""
    figures = table(Path(sys.argv[1]))
    print(figures)
    if len(sys.argv) > 2:
        written(Path(sys.argv[2]), figures)
    return 1 if "not measured" in figures else 0


if __name__ == "__main__":
    sys.exit(main())

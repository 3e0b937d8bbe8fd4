"""Judges what happened from the model's history, the destination's accept log and the public reports, nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Line = tuple[int, str, int, dict[str, Any] | None, str]
"""An effect: number of the request, verb, key, values (None: deleted), the destination's id."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is looked at. `marks` are how long the log was when each process ended, from the first struck one on."""

    letter: str
    history: Sequence[dict[int, dict[str, Any]]]
    log: Sequence[Line]
    held: Sequence[dict[str, Any]]
    reports: Sequence[dict[str, Any]]
    marks: Sequence[int]
    quiet_writes: int

    @property
    def effects(self) -> list[Line]:
        """The log without creates that an idempotency key made harmless."""
        return [line for line in self.log if line[1] != "replay"]


def findings(evidence: Evidence) -> Iterator[str]:
    """Everything that is wrong, as sentences."""
    if evidence.quiet_writes:
        yield f"restless: {evidence.quiet_writes} writes in the run after the model was reached"
    yield from _events(evidence) if evidence.letter in ("T append", "D", "D once") else _records(evidence)
    yield from _order(evidence)
    yield from _reports(evidence)


def _records(evidence: Evidence) -> Iterator[str]:
    wanted = list(evidence.history[-1].values())
    held = sorted(evidence.held, key=lambda row: int(row["id"]))
    if held != wanted:
        yield f"lost or left: the destination holds {held}, the model says {wanted}"
    alive: dict[str, int] = {}
    for _, verb, key, values, rid in evidence.effects:
        if values is None:
            alive.pop(rid, None)
        elif rid not in alive:
            if key in alive.values():
                yield f"doubled: a second record of key {key} by {verb}"
            alive[rid] = key


def _events(evidence: Evidence) -> Iterator[str]:
    """Each value that the model came to is an event; what may be missing (class D at most once) is told as unknown."""
    asked: Counter[str] = Counter()
    before: dict[int, dict[str, Any]] = {}
    for rows in evidence.history:
        asked.update(json.dumps(row) for key, row in rows.items() if before.get(key) != row)
        before = rows
    accepted = Counter(json.dumps(values) for _, _, _, values, _ in evidence.log)
    unknown = sum(report.get("unknown", 0) for report in evidence.reports)
    missing = [
        row
        for key, row in evidence.history[-1].items()
        if json.dumps(row) not in accepted  # what the model was before, a dead process may have missed
    ]
    once = evidence.letter != "D"
    if len(missing) > (unknown if evidence.letter == "D once" else 0):
        yield f"lost: {missing} never came, {unknown} are reported as unknown"
    for event, count in accepted.items():
        if event not in asked:
            yield f"unasked: {event}"
        elif once and count > asked[event]:
            yield f"doubled: {event} came {count} times, {asked[event]} were asked for"


def _order(evidence: Evidence) -> Iterator[str]:
    """The values accepted for a key are those of the model, in its order, with repeats (G4)."""
    sequences: dict[int, list[Any]] = {}
    for _, _, key, values, _ in evidence.effects:
        sequences.setdefault(key, []).append(values)
    for key, sent in sequences.items():
        model: list[Any] = []
        for rows in evidence.history:
            value = rows.get(key)
            if not model or model[-1] != value:
                model.append(value)
        at = 0
        for value in sent:
            while at < len(model) and model[at] != value:
                at += 1
            if at == len(model):
                yield f"stale: key {key} was sent {sent}, the model had {model}"
                break


def _reports(evidence: Evidence) -> Iterator[str]:
    """Every report adds up (G1), and all of them together tell what the log shows."""
    told = 0
    for report in evidence.reports:
        counts = report.get("counts")
        if counts is None:
            if report["status"] != "failed":
                yield f"report: a run without figures that has not failed: {report}"
            continue
        planned = counts["added"] + counts["changed"] + counts["removed"]
        delivered = sum(report["delivered"].values())
        ends = delivered + report["rejected"] + report["suppressed"] + report["unknown"] + report["unsent"]
        if planned != ends:
            yield f"sums: {planned} planned, {ends} ended in {report}"
        told += delivered
    if evidence.letter == "T duckdb":
        return
    # where nothing is sent again, a value that comes twice in a row is what the model came back to
    once = evidence.letter in ("T append", "D once")
    distinct = sum(1 for _ in (evidence.effects if once else _effects(evidence.effects)))
    unknown = sum(report.get("unknown", 0) for report in evidence.reports)
    # what a run ended not knowing may have been accepted, and a newer model may have made it pointless to ask again
    if not told <= distinct <= told + unknown:
        yield f"report: {told} deliveries and {unknown} unknown told, {distinct} effects accepted"


def _effects(log: Sequence[Line]) -> Iterator[Line]:
    """The log without what was sent again: the same value of the same key, one after the other."""
    last: dict[int, Any] = {}
    for line in log:
        _, _, key, values, _ = line
        if key not in last or last[key] != values:
            yield line
        last[key] = values


def sent_again(evidence: Evidence) -> list[int]:
    """For each process after the first struck one: how many batches of earlier ones it repeated, in part or whole.

    A batch is known by the request that first carried it: what repeats it, if in several requests, is no batch more.
    Updates and deletes by the tool's own id are harmless to repeat also where creates are not (classes B and C): as
    for class A, as many of them as fill a window may be under way, and they are not counted here.
    """
    found: list[int] = []
    last: dict[int, tuple[Line, int, str]] = {}
    borders = [*evidence.marks, len(evidence.log)]
    start = 0
    for process, border in enumerate(borders):
        before = dict(last)
        repeated: set[int] = set()
        for line in evidence.log[start:border]:
            request, verb, key, values, _ = line
            earlier = before.pop(key, None)
            origin = request
            if process and earlier is not None and earlier[0][3] == values:
                origin, verb = earlier[1:]
                if not (evidence.letter in ("B", "C") and verb in ("update", "delete")):
                    repeated.add(origin)
            last[key] = (line, origin, verb)
        if process:
            found.append(len(repeated))
        start = border
    return found

"""Judges what undos did, from the same evidence as `oracle`: above all the destination's own log, line by line.

An undo removes only what its run made, puts back only what stood there before its run, and adds again only what its run
removed; what one undo took back no second one takes back, and no run sends it again unless it was approved.
Like `oracle` it imports nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Line = Mapping[str, Any]
MAPPED = {"id", "name", "score"}


def judge_undos(evidence: Any) -> list[str]:
    """Everything that is not as promised, as sentences; `evidence` is `oracle.Evidence`."""
    return list(_Trail(evidence).followed())


@dataclass(slots=True)
class _Trail:
    """The destination as its log tells it, step by step.

    `records`: by rid. `born`: the runs that made a record. `before`: by run and rid, what stood there before the run's
    first write. `gone`: by run and key, the record that it deleted, and its rid. `last`: by key, the line before. What
    an undo adds again is the record that was removed, under another rid.
    """

    evidence: Any
    records: dict[str, Line] = field(default_factory=dict)
    born: dict[str, set[str]] = field(default_factory=dict)
    before: dict[tuple[str, str], Line | None] = field(default_factory=dict)
    gone: dict[tuple[str, int], tuple[Line, str]] = field(default_factory=dict)
    last: dict[int, Line] = field(default_factory=dict)

    def followed(self) -> Iterator[str]:
        if not self.evidence.undone:
            return
        for line in self.evidence.accepted:
            run, rid, key = line["run"], line["rid"], line["key"]
            if run in self.evidence.undone:
                yield from self._undo(line, self.evidence.undone[run])
            elif run and run not in self.evidence.approved:
                yield from self._again(line)
            held = self.records.get(rid)
            self.before.setdefault((run, rid), held)
            if line["what"] == "delete":
                self.gone.setdefault((run, key), (self.records.pop(rid, {}), rid))
            else:
                if held is None and run in self.evidence.undone:
                    self._is_again(rid, self.gone.get((self.evidence.undone[run], key)))
                if held is None:
                    self.born.setdefault(rid, set()).add(run)
                self.records[rid] = {**(held or {}), **line["values"]}
            self.last[key] = line

    def _is_again(self, rid: str, gone: tuple[Line, str] | None) -> None:
        """A record is there again: what was known of it holds for its new rid."""
        if gone is None:
            return
        old = gone[1]
        self.born[rid] = set(self.born[old])
        self.before |= {(run, rid): stood for (run, each), stood in self.before.items() if each == old}

    def _undo(self, line: Line, undone: str) -> Iterator[str]:
        """One line of an undo."""
        run, rid, key = line["run"], line["rid"], line["key"]
        before = self.last.get(key, {}).get("run", "")
        if before != run and self.evidence.undone.get(before) == undone and before in self._succeeded():
            yield f"twice: {run} wrote key {key}, which {before} had taken back"
        if line["what"] == "delete":
            if undone not in self.born.get(rid, ()):
                yield f"undo: {run} deleted record {rid} of key {key}, which {undone} had not made"
            return
        stood = self.before.get((undone, rid)) if rid in self.records else None
        expected = stood or self.gone.get((undone, key), (None, ""))[0]
        if not set(line["values"]) <= MAPPED:
            yield f"undo: {run} wrote fields of key {key} that are not mapped: {line['values']}"
        elif expected is None:
            yield f"undo: {run} wrote key {key}, and {undone} had neither changed nor removed a record of it"
        elif any(expected.get(name) != value for name, value in line["values"].items()):
            yield f"undo: {run} made key {key} {line['values']}, and before {undone} it was {expected}"

    def _again(self, line: Line) -> Iterator[str]:
        """One line of a run that nobody approved: is it what an undo took back, and the model said all the while?"""
        key, taken = line["key"], self.last.get(line["key"])
        if taken is None or taken["run"] not in self._succeeded():
            return
        if any(taken["at"] <= at <= line["at"] for at in self.evidence.approved.values()):
            return
        if taken["what"] == "delete":
            sent: Line | None = self.gone[taken["run"], key][0]
        else:
            sent = self.before.get((taken["run"], taken["rid"]))
        rows = [entry["rows"].get(key) for entry in self.evidence.history if entry["at"] <= line["at"]]
        since = sum(entry["at"] <= taken["at"] for entry in self.evidence.history)
        if any(not _same(row, sent) for row in rows[max(0, since - 1) :]):
            return  # by then the model said something else, which ends the hold
        if (line["what"] == "delete") == (sent is None):
            yield f"sent again: {line['run']} brought back key {key}, which {taken['run']} had taken back"

    def _succeeded(self) -> set[str]:
        """Undos that are reported as done."""
        told: list[Line] = [each for report in self.evidence.reports for each in (report, *report.get("resumed", ()))]
        done = {each["run_id"] for each in told if each.get("status") == "succeeded"}
        return {run for run in self.evidence.undone if run in done}


def _same(row: Line | None, sent: Line | None) -> bool:
    if row is None or sent is None:
        return row is None and sent is None
    return all(sent.get(name) == value for name, value in row.items())

"""Judges a schedule by what happened, not by what was meant to happen.

It sees the history of the model, the destination's own log of what it accepted and of what it was asked, what the
destination holds at the end, and the public reports of the runs, all as plain data. It imports nothing but the
standard library: a test makes sure of that.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Line = Mapping[str, Any]
DONE = ("succeeded", "partial")
LEFT = ("rejected", "waiting", "suppressed", "unknown", "unsent")
"""The ends of operations that were not delivered."""
DOWN_REQUESTS_MAX = 60
"""The most requests of one run to a tool that is down: three lanes with all their patience."""
AMBIGUOUS = (
    "lost_before", "lost_after", "late", "half", "fewer", "error_500", "error_500_applied",
    "unheard_before", "unheard_after", "lie_html", "lie_empty", "lie_truncated", "lie_garbage", "lie_unapplied",
)  # fmt: skip
"""Faults after which nobody knows whether a record was taken."""
KEYS_KNOWN_SECONDS = 24 * 3600 - 100
"""So long a tool of class B surely knows a key, less the time that a request may be under way."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one schedule.

    `mode`: mirror, upsert (nothing is removed) or insert (nothing is changed, either).
    `history`: `{at, rows: {key: {field: value}}}`, the model as it should arrive, oldest first. `accepted`: one
    line for each effect, with `what`, `key`, `values`, `rid`, `by` (sync, person, or other: there before), `run` and
    `stage`. `requests`: one
    line for each request. `reports`: run reports, each with the `stage` it belongs to. `held`: the records at the
    end. `quiet`: the stage from which on nothing fails and the model stands still. `orphans`: keys that a restored
    store cannot know of. `named`: keys that the last run reports as unknown and left to people. `runs`: all results
    that the state remembers. `words`: everything else that was said. `files`: the files of the state folder in whose
    bytes a secret or a person was found, and which. `leftovers`: files of the living state that nothing refers to.
    `reused`: keys whose create was repeated under its idempotency key with another body. `undone`: by undo, the run
    that it takes back; `approved`: when runs with an approval began. A request has `weather`: what held at the
    destination then. What undos may do is judged in `oracle_undo`.
    """

    letter: str
    repeats: str
    mode: str
    history: Sequence[Line]
    accepted: Sequence[Line]
    requests: Sequence[Line]
    reports: Sequence[Line]
    held: Sequence[Line]
    quiet: int
    named: frozenset[int]
    runs: Sequence[Line]
    orphans: frozenset[int]
    restored: bool
    reused: frozenset[int]
    rate: float | None
    quota: int | None
    words: Sequence[str]
    files: Mapping[str, Sequence[str]]
    leftovers: Sequence[str]
    secrets: Sequence[str]
    people: Sequence[str]
    undone: Mapping[str, str]
    approved: Mapping[str, float]


def judge(evidence: Evidence) -> list[str]:
    """Everything that is not as promised, as sentences; empty if all is well."""
    return [
        *_stumbles(evidence),
        *_sums(evidence),
        *_order(evidence),
        *_deletes(evidence),
        *_limits(evidence),
        *_outages(evidence),
        *_leaks(evidence),
        *_leftovers(evidence),
        *_failed_reads(evidence),
        *(_events(evidence) if evidence.letter == "D" else _records(evidence)),
        *_too_soon(evidence),
        *_rest(evidence),
        *_reported(evidence),
        *_claimed(evidence),
    ]


def _touched(evidence: Evidence) -> set[int]:
    """Keys whose records people worked on."""
    return {line["key"] for line in evidence.accepted if line["by"] == "person"}


def _flat(reports: Sequence[Line]) -> Iterator[Line]:
    """Every run that was reported, those that were resumed first; each once, as it ended."""
    for report in reports:
        for earlier in report.get("resumed", ()):
            yield {**earlier, "stage": report["stage"]}
        if "status" in report:
            yield report


def _stumbles(evidence: Evidence) -> Iterator[str]:
    """Whatever goes wrong, a run ends with a report or with an error that says what to do."""
    for report in evidence.reports:
        if report.get("raised") == "stumbled":
            yield f"stumbled: {report['message']}"


def _sums(evidence: Evidence) -> Iterator[str]:
    """G1: what was planned has an end, each operation exactly one."""
    for report in _flat(evidence.reports):
        if report["status"] not in (*DONE, "paused"):
            continue
        planned = sum(report["counts"][kind] for kind in ("added", "changed", "removed"))
        ends = sum(report["delivered"].values())
        ends += sum(report[end] for end in LEFT)
        if planned != ends:
            yield f"sum: run {report['run_id']} planned {planned} and tells the end of {ends}"
        if report["status"] == "succeeded" and any(report[end] for end in LEFT if end != "suppressed"):
            yield f"status: run {report['run_id']} succeeded though not all was delivered"


def _order(evidence: Evidence) -> Iterator[str]:
    """G4: what was accepted for a key is a sub-sequence, with repeats, of the values that the model had."""
    versions = [(entry["at"], entry["rows"]) for entry in evidence.history]
    reached: dict[int, int] = {}
    for line in evidence.accepted:
        if line["by"] != "sync" or line["run"] in evidence.undone:
            continue
        key = line["key"]
        start = reached.get(key, 0)
        values = None if line["what"] == "delete" else line["values"]
        for index in range(start, len(versions)):
            at, rows = versions[index]
            if at > line["at"] + 1e-3:
                index = len(versions)
                break
            if _agrees(values, rows.get(key)):
                break
        else:
            index = len(versions)
        if index == len(versions):
            past = any(_agrees(values, rows.get(key)) for _, rows in versions[:start])
            word = "backwards" if past else "foreign"
            yield f"{word}: key {key}, {line['what']} at {line['at']} of {values}, which the model did not say then"
        else:
            reached[key] = index


def _agrees(values: Line | None, row: Line | None) -> bool:
    if values is None or row is None:
        return values is None and row is None
    return all(row.get(name) == value for name, value in values.items() if name in row) and bool(set(values) & set(row))


def _deletes(evidence: Evidence) -> Iterator[str]:
    """G6: nothing is deleted that the sync did not make, or that the model still has."""
    made: set[str] = set()
    for line in evidence.accepted:
        if line["by"] != "sync":
            continue
        if line["what"] != "delete":
            made.add(line["rid"])  # or took over
        elif line["run"] in evidence.undone:
            continue
        elif line["what"] == "delete" and evidence.mode != "mirror":
            yield f"unasked: key {line['key']} was deleted, and mode {evidence.mode} deletes nothing"
        elif line["what"] == "delete":
            if line["rid"] not in made:
                yield f"unasked: record {line['rid']} of key {line['key']} was deleted, which the sync had not made"
            absent = any(line["key"] not in entry["rows"] for entry in evidence.history if entry["at"] <= line["at"])
            if not absent:
                yield f"unasked: key {line['key']} was deleted at {line['at']} while the model had it"


def _limits(evidence: Evidence) -> Iterator[str]:
    """G8: no window of a second holds more requests than declared, no day more than the quota.

    What the lost part of a restored store had used of a day's quota is forgotten with it.
    """
    times = [line["at"] for line in evidence.requests]
    if evidence.rate is not None:
        allowed = int(evidence.rate) + 1
        for index in range(len(times) - allowed):
            if times[index + allowed] - times[index] < 1.0 - 1e-6:
                yield f"rate: {allowed + 1} requests in the second from {times[index]}, {evidence.rate:g} are declared"
                break
    if evidence.quota is not None and not evidence.restored:
        days = Counter(int((at - 1_000 + 43_200) // 86_400) for at in times)
        for day, count in days.items():
            if count > evidence.quota:
                yield f"quota: {count} requests on day {day}, {evidence.quota} are declared"


def _outages(evidence: Evidence) -> Iterator[str]:
    """G8: a run against a tool that is down gives up soon, on every one of the days that it lasts."""
    counts = Counter(line["stage"] for line in evidence.requests if line["weather"] == "down")
    for stage, count in counts.items():
        if count > DOWN_REQUESTS_MAX:
            yield f"outage: {count} requests to a tool that was down, in run {stage}"


def _leaks(evidence: Evidence) -> Iterator[str]:
    """G10: secrets are nowhere but in requests; people nowhere but in plans, ledgers and at the destination.

    A file of a plan or ledger that a crash left half made lies where the whole one would: in a copy of the state that
    was made before the next run, too.
    """
    for name, found in evidence.files.items():
        for canary in found:
            if canary in evidence.secrets or name.split("/")[1:2] not in (["plans"], ["ledgers"]):
                yield f"{'secret' if canary in evidence.secrets else 'personal'}: {canary!r} is in the file {name}"
    told = [json.dumps(report) for report in evidence.reports]
    for text in (*evidence.words, *told):
        for secret in evidence.secrets:
            if secret in text:
                yield f"secret: found in {text[:200]}"
        for person in evidence.people:
            if person in text:
                yield f"personal: found in {text[:200]}"


def _leftovers(evidence: Evidence) -> Iterator[str]:
    """What a crash left beside a ledger, or half written, is gone once a later run has ended well."""
    for name in evidence.leftovers:
        yield f"leftover: {name} is still there after {evidence.reports[-1]['at'] - 1_000:g} seconds and quiet runs"


def _failed_reads(evidence: Evidence) -> Iterator[str]:
    """G6: a run whose read failed or was empty has sent nothing of its own."""
    for report in evidence.reports:
        nothing = report.get("status") == "blocked" or report.get("error", {}).get("code", "").startswith("source")
        if nothing and report.get("requests", 0):
            yield f"absence: run {report['run_id']} sent {report['requests']} requests after {report['status']}"


def _records(evidence: Evidence) -> Iterator[str]:
    """G2, G3: one record for each key, and in the end what the model says."""
    touched = _touched(evidence)
    doubled: set[int] = set()
    alive: dict[str, int] = {}
    for line in evidence.accepted:
        if line["what"] == "delete":
            alive.pop(line["rid"], None)
        elif line["rid"] not in alive:
            alive[line["rid"]] = line["key"]
            if list(alive.values()).count(line["key"]) > 1 and line["by"] == "sync" and line["key"] not in doubled:
                doubled.add(line["key"])
                yield f"doubled: a second record of key {line['key']} at {line['at']}"
    wanted = evidence.history[-1]["rows"]
    held: dict[int, list[Line]] = {}
    for record in evidence.held:
        held.setdefault(record["id"], []).append(record)
    for key, row in wanted.items():
        if key in touched or key in doubled or key in _given_up(evidence):
            continue
        if key not in held:
            yield f"lost: key {key} is not at the destination"
        elif not any(_agrees(each, held[key][0]) for each in _versions(evidence, key, row)):
            yield f"stale: key {key} is {held[key][0]}, the model says {row}"
    written = {line["key"] for line in evidence.accepted if line["by"] == "sync"}
    for key in held.keys() & written if evidence.mode == "mirror" else ():
        if key not in wanted and key not in touched | evidence.orphans | _given_up(evidence):
            yield f"left behind: key {key} left the model and is still at the destination"
    for line in evidence.accepted:
        if line["by"] == "person" and line["what"] == "create" and line["key"] not in held:
            yield f"unasked: a person's record {line['key']} is gone"


def _versions(evidence: Evidence, key: int, row: Line) -> list[Line]:
    """What a record may hold in the end: the model's last word; in mode insert, any word of the model's."""
    if evidence.mode != "insert":
        return [row]
    return [entry["rows"][key] for entry in evidence.history if key in entry["rows"]]


def _given_up(evidence: Evidence) -> frozenset[int]:
    """Class B: keys whose create was lost, and whose idempotency key the tool may have forgotten; each is reported."""
    return evidence.named if evidence.letter == "B" else frozenset()


def _too_soon(evidence: Evidence) -> Iterator[str]:
    """Class B: while the tool knows its keys, and the state is whole, no record is left to people, and a create that
    is repeated says what it said before; unless the mapping has other fields by now."""
    lasted = evidence.reports[-1]["at"] - evidence.history[0]["at"] if evidence.reports else 0.0
    given_up = _given_up(evidence) - evidence.reused
    if given_up and not evidence.restored and lasted < KEYS_KNOWN_SECONDS:
        yield f"given up: keys {sorted(given_up)} are left to people, though their keys are still known"
    shapes = {tuple(row) for entry in evidence.history for row in entry["rows"].values()}
    if evidence.reused and len(shapes) < 2:
        yield f"altered: keys {sorted(evidence.reused)} were asked for again with another body than before"


def _cut_off(report: Mapping[str, Any]) -> bool:
    """May an answer have come that nobody could note down?"""
    return "crashed" in report or "took over" in report["label"] or report.get("raised") == "store.disk_full"


def _events(evidence: Evidence) -> Iterator[str]:
    """Class D: every value that the model came to at a run was sent; what may be doubled or missing is reported."""
    counts = Counter(_events_of(evidence))
    for key, row in evidence.history[-1]["rows"].items():
        if any(k == key and _agrees(json.loads(values), row) for k, values in counts):
            continue
        if evidence.repeats == "at_least_once":
            yield f"lost: the last value of key {key} was never accepted"
        elif key not in evidence.named:
            yield f"lost: the last value of key {key} was never accepted, and the last run does not name it"
    if evidence.restored:
        return
    if evidence.repeats == "at_most_once":
        yield from _twice(evidence)
        return
    surplus = len(_surplus(evidence))
    told = sum(run["possibly_duplicated"] for run in evidence.runs if run.get("status") in DONE)
    if surplus > told:
        yield f"doubled: {surplus} events were accepted again, {told} are reported as possibly so"
    unclear = any(any(each in AMBIGUOUS for each in line["fault"].split("+")) for line in evidence.requests)
    if told and not unclear and not any(_cut_off(report) for report in evidence.reports):
        yield f"figures: {told} events are said to be perhaps there twice, and no answer was ever lost"


def _events_of(evidence: Evidence) -> Iterator[tuple[int, str]]:
    for line in evidence.accepted:
        if line["by"] == "sync":
            yield line["key"], json.dumps(line["values"], sort_keys=True)


def _surplus(evidence: Evidence) -> dict[tuple[int, str], tuple[int, int]]:
    """Events accepted more often than the model came to them: how often, and how often it did."""
    arrivals: Counter[tuple[int, str]] = Counter()
    previous: Line = {}
    for entry in evidence.history:
        for key, row in entry["rows"].items():
            if previous.get(key) != row:
                arrivals[key, json.dumps(row, sort_keys=True)] += 1
        previous = entry["rows"]
    accepted = Counter(_events_of(evidence))
    found = {event: (count, max(1, arrivals[event])) for event, count in accepted.items()}
    return {event: (count, arrived) for event, (count, arrived) in found.items() if count > arrived}


def _twice(evidence: Evidence) -> Iterator[str]:
    """A value accepted more often than the model came to it."""
    for (key, values), (count, _) in _surplus(evidence).items():
        yield f"doubled: key {key} was accepted {count} times as {values}, at most once was asked"


def _rest(evidence: Evidence) -> Iterator[str]:
    """G3: once all is quiet, the third run at the latest has nothing to write, and says so."""
    quiet = [report for report in evidence.reports if report["stage"] >= evidence.quiet]
    for report in quiet:
        if "raised" in report and report["raised"] != "store.rolled_back":
            yield f"stuck: a run in quiet times ended with {report['raised']}: {report['message']}"
    last = max((report["stage"] for report in quiet), default=0)
    writes = [line for line in evidence.requests if line["stage"] == last and line["writes"]]
    refused = _missed(evidence)
    asked_again = bool(_given_up(evidence)) and (evidence.restored or bool(evidence.reused))
    if writes and not (asked_again or len(writes) <= refused):
        yield f"restless: {len(writes)} writes in the run after two quiet ones, beginning with {dict(writes[0])}"
    for report in quiet:
        quarantined = evidence.repeats == "at_most_once" and evidence.letter == "D" and report.get("unknown")
        if evidence.letter == "B":
            left = sum(report.get(end, 0) for end in LEFT)
            quarantined = left == len(evidence.named) > 0
        excused = quarantined or refused
        if report["stage"] == last and report.get("status") != "succeeded" and not excused:
            yield f"stuck: the last quiet run ended as {report.get('status')}: {report.get('message', '')}"


def _missed(evidence: Evidence) -> int:
    """How many records the last run names as refused or not there, where people deleted some that the sync knows.

    What it wants to change of them is refused as not there: the run says so, and tries again ever more rarely.
    """
    last = evidence.reports[-1]
    deleted = {line["key"] for line in evidence.accepted if line["by"] == "person" and line["what"] == "delete"}
    refused = sum(int(last.get(end, 0)) for end in ("rejected", "waiting", "suppressed"))
    if evidence.letter == "B" and deleted:
        return len(evidence.requests)  # a create that is repeated under its key is not seen through
    if evidence.letter == "T" and evidence.mode == "insert" and evidence.restored:
        return refused  # a table inserts no record that is there, though an older state does not know of it
    return refused if refused <= len(deleted) else 0


def _reported(evidence: Evidence) -> Iterator[str]:
    """Report = log, record by record: a run that was not disturbed delivered what the destination accepted in it."""
    for report in evidence.reports:
        if report.get("status") not in DONE or report.get("resumed"):
            continue
        earlier = [line for line in evidence.requests if line["stage"] < report["stage"]]
        if any(line.get("fault") == "late" for line in earlier):
            continue
        stage = [r for r in evidence.reports if r["stage"] == report["stage"]]
        if len(stage) != 1 or any(line.get("fault") for line in evidence.requests if line["stage"] == report["stage"]):
            continue
        taken = Counter(e["what"] == "delete" for e in evidence.accepted if _in_run(e, report))
        removed = report["delivered"]["removed"]
        written = sum(report["delivered"].values()) - removed
        if (written, removed) != (taken[False], taken[True]) and not _repeats(evidence, report):
            yield (
                f"report: run {report['run_id']} tells {written} records written and {removed} removed, "
                f"the destination accepted {taken[False]} and {taken[True]}"
            )


def _in_run(line: Line, report: Line) -> bool:
    return bool(line["stage"] == report["stage"] and line["by"] == "sync")


def _claimed(evidence: Evidence) -> Iterator[str]:
    """Report = log, under any faults: no more is told as written than was ever accepted.

    Removals are left out: one of a record that turns out not to be there is done without a trace in the log.
    """
    told = {
        report["run_id"]: report["delivered"]["added"] + report["delivered"]["changed"]
        for report in _flat(evidence.reports)
        if report["status"] in DONE
    }
    taken = sum(1 for line in evidence.accepted if line["by"] == "sync" and line["what"] != "delete")
    if sum(told.values()) > taken and not (_touched(evidence) or evidence.restored):
        yield f"claimed: {sum(told.values())} records are told as written in all, the destination accepted {taken}"


def _repeats(evidence: Evidence, report: Line) -> bool:
    """May this run tell of what an earlier one did? A lost answer or an open run before it, a restored store."""
    lost = any(line["fault"] for line in evidence.requests if line["stage"] < report["stage"])
    unfinished = any(r.get("status") not in DONE for r in evidence.reports if r["stage"] < report["stage"])
    return lost or unfinished or evidence.restored or bool(_touched(evidence))

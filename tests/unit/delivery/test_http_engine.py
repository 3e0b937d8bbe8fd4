"""Delivery over HTTP: batches, lanes, lost answers, refusals, credentials, pauses and resumption."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from levada.delivery.account import Patience
from levada.delivery.wire import Lost, NotSent, Outgoing
from levada.destination import Response
from levada.errors import StoreError
from levada.retry import RetryPolicy
from unit.delivery.scene import Answer, Scene, Token, ok


def always(answer: Answer) -> Any:
    return lambda outgoing, records: answer


def test_every_record_is_sent_once_in_full_batches(tmp_path: Path) -> None:
    """95 records in batches of 10 are ten requests, and each record is in exactly one."""
    seen: list[str] = []

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        seen.extend(record["email"] for record in records)
        return ok()

    scene = Scene(tmp_path, script, added=95)
    report = scene.deliver()
    assert sorted(f"user{i}@example.com" for i in range(1000, 1095)) == sorted(seen)
    assert report.tally.delivered == {"added": 95}
    assert report.tally.requests == 10
    assert report.settled is not None
    assert report.settled.exceptions is None


@pytest.mark.parametrize("row_group", [1, 7, 30, 99, 101, 350])
@pytest.mark.parametrize("bytes_per_request", [1_000_000, 400])
def test_a_file_that_is_read_in_pieces_smaller_than_a_batch_is_sent_in_full_batches(
    tmp_path: Path, row_group: int, bytes_per_request: int
) -> None:
    """A plan of wide rows has small row groups, and each is read on its own; so is what is left of one at a resume."""
    arrived: list[str] = []
    sizes: list[int] = []

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        if len(sizes) == 2 and scene.halt is not None:
            scene.halt.set()
        arrived.extend(record["email"] for record in records)
        sizes.append(len(records))
        return ok()

    scene = Scene(tmp_path, script, added=1_003, batch=100, lanes=1, row_group=row_group)
    limits = scene.destination.spec.limits.model_copy(update={"bytes_per_request": bytes_per_request})
    scene.destination.spec = replace(scene.destination.spec, limits=limits)
    assert scene.deliver().pause == "operator"
    scene.halt = None
    assert scene.deliver().tally.delivered_total == 1_003
    assert sorted(arrived) == [f"user{i}@example.com" for i in range(1_000, 2_003)]
    if bytes_per_request > 1_000:
        assert sizes == [*[100] * 10, 3]


def test_removals_are_done_before_anything_is_added(tmp_path: Path) -> None:
    """A record that leaves makes room for one that comes with the same identity."""
    scene = Scene(tmp_path, always(ok()), added=30, removed=30, lanes=4)
    scene.deliver()
    assert scene.paths() == ["delete"] * 3 + ["upsert"] * 3


def test_a_refused_record_is_rejected_and_the_others_are_delivered(tmp_path: Path) -> None:
    """The destination's words are kept with the very record."""
    scene = Scene(tmp_path, always(ok(refused={"3": "Invalid email"})), added=10)
    report = scene.deliver()
    assert (report.tally.delivered_total, report.tally.rejected) == (9, 1)
    entry = next(iter(scene.store.journals.entries("run_1")))
    assert entry.outcomes is not None
    assert entry.outcomes.of(3).reason == "Invalid email"


@pytest.mark.parametrize("poisoned", [{0}, {511}, {3, 700}])
def test_a_poisoned_batch_is_halved_until_the_culprit_stands_alone(tmp_path: Path, poisoned: set[int]) -> None:
    """999 of 1,000 are delivered with at most 2·log2(n) + 1 further requests per poisoned record."""
    bad = {f"user{1000 + i}@example.com" for i in poisoned}

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        return Response(422) if any(record["email"] in bad for record in records) else ok()

    scene = Scene(tmp_path, script, added=1000, batch=1000)
    report = scene.deliver()
    assert (1000 - len(bad), len(bad)) == (report.tally.delivered_total, report.tally.rejected)
    assert report.tally.requests <= 1 + 21 * len(bad)


def test_a_lost_answer_is_sent_again_under_the_same_key(tmp_path: Path) -> None:
    """Class A: after a lost answer the same operations go again, and the run ends well."""
    lost = [Lost("cut"), Lost("cut")]
    scene = Scene(tmp_path, lambda o, r: lost.pop() if lost else ok(), added=10, lanes=1, server_seconds=60)
    report = scene.deliver()
    keys = {outgoing.headers["Idempotency-Key"] for outgoing in scene.wire.sent}
    assert (report.tally.delivered_total, report.tally.requests, len(keys)) == (10, 3, 1)
    assert next(iter(scene.store.journals.entries("run_1"))).doubtful
    assert scene.store.journals.hold("s") is not None


def test_a_rejection_after_a_lost_answer_leaves_the_ledger_unknown(tmp_path: Path) -> None:
    """E7: the earlier attempt may have been applied; only an acknowledgement says otherwise."""
    answers: list[Answer] = [ok(refused={"0": "no"}), Lost("cut")]
    scene = Scene(tmp_path, lambda o, r: answers.pop(), added=2, lanes=1)
    report = scene.deliver()
    assert report.tally.rejected == 1
    assert report.settled is not None
    assert report.settled.exceptions is not None
    assert report.settled.exceptions["settlement"].to_pylist() == ["unknown"]


def test_a_2xx_that_cannot_be_read_is_unknown_never_delivered(tmp_path: Path) -> None:
    """Garbage behind a 200 is asked again until patience is over, and then stays unknown."""
    scene = Scene(tmp_path, always(Response(200, {}, b"<html>")), added=3)
    report = scene.deliver()
    assert (report.tally.delivered_total, report.tally.unknown) == (0, 3)


def test_at_most_once_is_not_sent_again(tmp_path: Path) -> None:
    """Class D with at_most_once: a lost answer is reported, not repeated."""
    scene = Scene(tmp_path, always(Lost("cut")), added=1, delivery_class="D", repeats="at_most_once")
    report = scene.deliver()
    assert (report.tally.unknown, report.tally.requests) == (1, 1)


def test_class_c_looks_before_it_creates_again(tmp_path: Path) -> None:
    """A create whose answer was lost, but that was applied, becomes an update: never a second record."""
    held: dict[str, str] = {}

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        if outgoing.url.endswith("/search"):
            found = {i: held[r["email"]] for i, r in enumerate(records) if r["email"] in held}
            return ok(**{str(i): name for i, name in found.items()})
        if outgoing.url.endswith("/update"):
            return ok()
        held.update({record["email"]: "id" for record in records})
        return Lost("cut")

    scene = Scene(tmp_path, script, added=4, delivery_class="C", verbs={"added": "create"}, lanes=1)
    scene.plan_folder.joinpath("x").touch()
    report = scene.deliver()
    assert report.tally.delivered_total == 4
    assert scene.paths() == ["search", "create", "search", "update"]


def test_an_expired_credential_is_refreshed_once_for_all_lanes(tmp_path: Path) -> None:
    """Many requests that find the token expired bring one new sign-in, and nothing is lost."""
    token = Token()

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        return Response(401) if outgoing.headers["Authorization"].endswith("token-1") else ok()

    scene = Scene(tmp_path, script, added=80, lanes=8, auth=token)
    report = scene.deliver()
    assert (report.tally.delivered_total, token.sign_ins) == (80, 2)
    assert scene.store.vault.get("oauth:crm") == '{"refresh": "2"}'


def test_a_refused_credential_pauses_without_a_trace(tmp_path: Path) -> None:
    """Nothing was applied, so the run may be dropped."""
    scene = Scene(tmp_path, always(Response(403, {}, b"forbidden")), added=30)
    report = scene.deliver()
    assert (report.pause, report.untouched, report.tally.unsent) == ("auth", True, 30)


def test_a_destination_that_is_down_is_given_up_soon_and_nothing_is_in_doubt(tmp_path: Path) -> None:
    """Refused connections are surely not applied."""
    scene = Scene(tmp_path, always(NotSent("connection refused")), added=30)
    report = scene.deliver()
    assert (report.pause, report.untouched) == ("outage", True)
    assert not any(entry.doubtful for entry in scene.store.journals.entries("run_1"))


def test_429_slows_down_and_loses_nothing(tmp_path: Path) -> None:
    """Retry-After in seconds is kept; every record arrives once."""
    throttled = [Response(429, {"retry-after": "0.05"})] * 3
    scene = Scene(tmp_path, lambda o, r: throttled.pop() if throttled else ok(), added=50)
    report = scene.deliver()
    assert (report.tally.delivered_total, report.tally.requests) == (50, 8)


def test_a_429_that_asks_for_too_long_pauses(tmp_path: Path) -> None:
    """Beyond the cap the run pauses instead of waiting."""
    scene = Scene(tmp_path, always(Response(429, {"retry-after": "1000000000"})), added=5)
    assert scene.deliver().pause == "rate"


def test_an_outage_in_the_middle_pauses_and_the_rest_is_sent_on_resumption(tmp_path: Path) -> None:
    """What was delivered is not sent again, apart from the batches in doubt."""
    up = True
    count = 0
    arrived: list[str] = []

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        nonlocal count
        count += 1
        if up and count > 3 and first:
            return NotSent("connection refused")
        arrived.extend(record["email"] for record in records)
        return ok()

    first = True
    scene = Scene(tmp_path, script, added=100, lanes=1)
    report = scene.deliver()
    assert (report.pause, report.tally.delivered_total) == ("outage", 30)
    first = False
    again = scene.deliver()
    assert again.pause is None
    assert (again.tally.delivered_total, len(set(arrived))) == (100, 100)
    assert len(arrived) == 100


def test_after_a_crash_only_the_open_window_is_sent_again(tmp_path: Path) -> None:
    """Batches without an outcome count as unknown (c6) and go again; settled ones do not."""

    class Crash(BaseException):
        pass

    count = 0

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        nonlocal count
        count += 1
        if count == 6:
            raise Crash
        return ok()

    scene = Scene(tmp_path, script, added=20, batch=1, lanes=1, delivery_class="B")
    with pytest.raises(Crash):
        scene.deliver()
    before = len(scene.wire.sent)
    report = scene.deliver()
    assert report.tally.delivered_total == 20
    assert len(scene.wire.sent) - before == 20 - 5


def test_stopping_finishes_what_is_under_way_and_nothing_else(tmp_path: Path) -> None:
    """After `halt`, requests under way are answered for, the rest is unsent, and the run pauses."""
    scene: Scene

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        assert scene.halt is not None
        if len(scene.wire.sent) == 4:
            scene.halt.set()
        return ok()

    scene = Scene(tmp_path, script, added=500, lanes=2)
    report = scene.deliver()
    assert report.pause == "operator"
    assert 40 <= report.tally.delivered_total <= 60
    assert report.tally.operations == 500


def test_a_5xx_after_sending_is_in_doubt(tmp_path: Path) -> None:
    """A 500 may hide an applied write: it is sent again and marked, never counted as refused."""
    answers = [Response(500, {}, b"oops")]
    scene = Scene(tmp_path, lambda o, r: answers.pop() if answers else ok(), added=5)
    report = scene.deliver()
    assert report.tally.delivered_total == 5
    assert next(iter(scene.store.journals.entries("run_1"))).doubtful


def test_patience_ends(tmp_path: Path) -> None:
    """A destination that answers 500 for ever leaves the records unknown, or pauses; it never hangs."""
    patience = Patience(RetryPolicy(attempts_max=3, base_seconds=0.001), contact_seconds=0.05, outage_seconds=30)
    scene = Scene(tmp_path, always(Response(500)), added=5, patience=patience)
    thread = threading.Thread(target=scene.deliver, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_a_journal_that_cannot_be_written_ends_the_run_and_hangs_nothing(tmp_path: Path) -> None:
    """A full disk in mid-run: the error is raised, nothing more is sent, and the next start goes on."""
    scene = Scene(tmp_path, always(ok()), added=3000, lanes=2)
    scene.wire.answer_seconds = 0.005
    journal = scene.store.journals.open(scene.lease, "run_1")
    written = 0

    def full(outcomes: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise StoreError("the disk is full", code="store.disk_full")
        journal.settle(outcomes)

    class Full:
        intend, doubt, entries, settle = journal.intend, journal.doubt, journal.entries, staticmethod(full)

    original = scene.store.journals.open
    scene.store.journals.open = lambda lease, run_id: Full()  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(StoreError):
        scene.deliver()
    sent = len(scene.wire.sent)
    assert sent < 30
    scene.store.journals.open = original  # type: ignore[method-assign]
    report = scene.deliver()
    assert (report.pause, report.tally.delivered_total) == (None, 3000)

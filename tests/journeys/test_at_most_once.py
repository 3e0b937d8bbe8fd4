"""`delivery: at_most_once` at a destination that cannot tell a repeat, over several runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada import Project
from levada_process import levada, small_project, write_customers
from servers.records import records_server

SYNC = "model: customers\nto: crm.orders\nmode: upsert\ndelivery: at_most_once\nguard: {changed_max: none}\n"


def webhook(url: str) -> str:
    limits = "max_server_seconds: 0.1\nlimits: {concurrent_requests: 1}\n"
    return f"type: webhook\nurl: {url}/events\nsecret: a secret\n{limits}"


def test_an_event_that_may_have_arrived_is_sent_by_no_later_run(tmp_path: Path) -> None:
    """Once is once: the runs after a lost answer report the record as unknown, and send only what is new."""
    with records_server() as records:
        small_project(tmp_path, 4, {"destination": webhook(records.url), "sync": SYNC})
        records.behave = lambda number, path: "lose" if number == 2 else "ok"
        first = Project.open(tmp_path).run("customers_to_crm")
        write_customers(tmp_path, 5)
        second = Project.open(tmp_path).run("customers_to_crm")
        third = Project.open(tmp_path).run("customers_to_crm")
        assert [(each.tally.unknown, each.tally.requests) for each in (first, second, third)] == [
            (1, 4),
            (1, 1),
            (1, 0),
        ]
        assert sorted(event["match"]["id"] for event in records.events) == [1, 2, 3, 4, 5]


def test_a_change_after_a_lost_change_is_an_event_of_its_own(tmp_path: Path) -> None:
    """What may have arrived is not repeated; another value is another event."""
    with records_server() as records:
        small_project(tmp_path, 3, {"destination": webhook(records.url), "sync": SYNC})
        Project.open(tmp_path).run("customers_to_crm")
        write_customers(tmp_path, 3, changed=(2,))
        records.behave = lambda number, path: "lose" if number == 4 else "ok"
        assert Project.open(tmp_path).run("customers_to_crm").tally.unknown == 1
        assert Project.open(tmp_path).run("customers_to_crm").tally.requests == 0
        write_customers(tmp_path, 3)
        assert Project.open(tmp_path).run("customers_to_crm").status == "succeeded"
        assert [event["data"]["score"] for event in records.events if event["match"]["id"] == 2] == [20, 21, 20]


@pytest.mark.parametrize(
    ("delivery", "said"), [("at_most_once", "1 possibly missing"), ("at_least_once", "1 possibly duplicated")]
)
def test_what_may_be_missing_or_there_twice_is_counted_by_the_run_and_listed_later(
    delivery: str, said: str, tmp_path: Path
) -> None:
    """Class D says how many records it cannot vouch for: when it ends, in `levada runs` and in `levada records`."""
    with records_server() as records:
        sync = SYNC.replace("at_most_once", delivery)
        small_project(tmp_path, 4, {"destination": webhook(records.url), "sync": sync})
        records.behave = lambda number, path: "lose" if number == 2 else "ok"
        assert said in levada(tmp_path, "run").out
        assert said in levada(tmp_path, "runs").out
        code = "at_most_once" if delivery == "at_most_once" else "possibly_duplicated"
        assert code in levada(tmp_path, "records", "customers_to_crm", "--json").out
        assert len(records.events) == (4 if delivery == "at_most_once" else 5)

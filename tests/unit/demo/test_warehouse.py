"""The demo's warehouse keeps the real lines, junk included, and its days pass as told."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada.demo.warehouse import (
    break_warehouse,
    build_warehouse,
    change_warehouse,
    mend_warehouse,
    query,
)

CUSTOMERS = "select customer_id, country, columns(* exclude (recency_days)) from customers"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse" / "shop.duckdb"
    build_warehouse(path)
    return path


def test_every_line_of_the_data_set_is_in_the_warehouse(shop: Path) -> None:
    """The figures are those that the data set's own page gives."""
    expected = [(541_909, 25_900, 4_372, 135_080, 9_288)]
    found = query(
        shop,
        """select count(*), count(distinct invoice_no), count(distinct customer_id),
                  count(*) filter (customer_id is null), count(*) filter (invoice_no like 'C%')
           from order_lines""",
    )
    assert found == expected


def test_the_junk_of_a_real_warehouse_is_kept(shop: Path) -> None:
    """Customers in two countries, who returned more than they bought, with addresses that are none."""
    expected = [(4_380, 4_372, 41, 12)]
    found = query(
        shop,
        """select count(*), count(distinct customer_id), count(*) filter (lifetime_value < 0),
                  count(*) filter (not regexp_full_match(trim(email), '[^@ ]+@[^@ ]+'))
           from customers""",
    )
    assert found == expected


def test_an_address_belongs_to_one_customer_and_to_example_com(shop: Path) -> None:
    """No two customers share an address, and no address can reach a real person."""
    shared = query(
        shop,
        "select lower(trim(email)) from customers group by all having count(distinct customer_id) > 1",
    )
    elsewhere = query(
        shop,
        "select email from customers where email like '%@_%' and lower(trim(email)) not like '%@example.com'",
    )
    assert (shared, elsewhere) == ([], [])


def test_two_builds_are_equal(shop: Path, tmp_path: Path) -> None:
    """Nothing in the warehouse comes from chance or from the clock."""
    again = tmp_path / "again.duckdb"
    build_warehouse(again)
    change_warehouse(shop)
    change_warehouse(again)
    assert query(shop, "select * from customers") == query(again, "select * from customers")


def test_a_day_changes_some_adds_a_few_and_merges_a_few(shop: Path) -> None:
    """About two in a hundred customers differ after a day, not all of them."""
    before = {row[:2]: row for row in query(shop, CUSTOMERS)}
    change_warehouse(shop, 1)
    after = {row[:2]: row for row in query(shop, CUSTOMERS)}
    added, removed = after.keys() - before.keys(), before.keys() - after.keys()
    changed = [key for key in after.keys() & before.keys() if after[key] != before[key]]
    assert (len(added), len(removed)) == (5, 6)
    assert 30 <= len(changed) <= 80


def test_a_broken_import_is_mended_without_a_trace(shop: Path) -> None:
    """The country that was lost comes back exactly as it was."""
    before = query(shop, "select * from customers")
    lost = break_warehouse(shop)
    assert lost > 3_900
    assert len(query(shop, "select * from customers")) == len(before) - lost
    mend_warehouse(shop)
    assert query(shop, "select * from customers") == before

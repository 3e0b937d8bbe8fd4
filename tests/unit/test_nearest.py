"""The name that was probably meant."""

from __future__ import annotations

from levada.nearest import nearest, nearest_hint


def test_the_nearest_name_is_the_one_that_was_meant() -> None:
    """Letter case does not matter; a name that is far off suggests nothing."""
    assert nearest("custmers", ["Customers", "orders"]) == "Customers"
    assert nearest("zzz", ["customers"]) is None


def test_a_hint_says_what_was_meant_or_what_there_is() -> None:
    """Long lists are cut."""
    assert nearest_hint("custmers", ["Customers", "orders"]) == "did you mean Customers?"
    assert nearest_hint("zzz", ["customers", "orders"]) == "there are: customers, orders"
    assert nearest_hint("zzz", []) == "there are none"
    assert nearest_hint("zzz", [f"table_{number}" for number in range(21)]).endswith("table_19, …")

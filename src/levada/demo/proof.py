"""What the demo checks of its own claims: the tools' side against the warehouse's, without asking Levada.

The rules by which the CRM refuses are written here a second time, in SQL, so that the demo would notice if a
record were lost, doubled or sent with another value.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from levada.demo.warehouse import query

Contacts = Mapping[str, Mapping[str, Any]]
PAGES_MAX = 1_000

_CONTACTS = """
select
    lower(trim(email)) as email,
    customer_id as customer_number,
    first_name,
    last_name,
    '+44' || replace(phone, ' ', '')[2:] as phone,
    country,
    lifetime_value,
    orders,
    last_order_at,
    case when recency_days > 180 then 'lapsed' when recency_days > 60 then 'cooling' else 'active' end as segment,
    favourite_products
from customers
where regexp_full_match(lower(trim(email)), '[a-z0-9.''+_-]+@[a-z0-9.-]+') and lifetime_value >= 0
qualify count(*) over (partition by customer_id) = 1
"""
_MEMBERS = """
select lower(trim(any_value(email)))
from customers
group by customer_id
having sum(lifetime_value) >= 250 and min(recency_days) > 180
"""
_ORDERS = """
select invoice_no from orders, as_of
where total >= 250 and not is_return and ordered_at > moment - interval 1 day
"""


def contacts_due(shop: Path) -> dict[str, dict[str, Any]]:
    """What the CRM has to hold, by e-mail, says the warehouse."""
    names = (
        "email", "customer_number", "first_name", "last_name", "phone", "country", "lifetime_value", "orders",
        "last_order_at", "segment", "favourite_products",
    )  # fmt: skip
    rows = [dict(zip(names, row, strict=True)) for row in query(shop, _CONTACTS)]
    return {row["email"]: comparable(row) for row in rows}


def members_due(shop: Path) -> set[str]:
    """Which hashes the ad audience has to hold."""
    return {hashlib.sha256(row[0].encode()).hexdigest() for row in query(shop, _MEMBERS)}


def orders_due(shop: Path) -> set[str]:
    """Which large orders the last day has."""
    return {row[0] for row in query(shop, _ORDERS)}


def contacts_held(port: int, token: str) -> dict[str, dict[str, Any]]:
    """What the CRM holds, by e-mail, says the CRM."""
    held: dict[str, dict[str, Any]] = {}
    after = ""
    for _ in range(PAGES_MAX):
        page = ask(port, f"/contacts?limit=1000&after={after}", token)
        for contact in page["contacts"]:
            held[contact["email"]] = comparable({name: value for name, value in contact.items() if name != "id"})
        after = page["after"]
        if not after:
            return held
    raise AssertionError("the CRM has no last page")


def members_held(port: int, token: str) -> set[str]:
    return set(ask(port, "/audiences/lapsed_buyers/users", token)["users"])


def messages_held(port: int) -> list[Any]:
    """The bodies of the messages in the inbox, in order."""
    return [message["body"] for message in ask(port, "/messages")["messages"]]


def stats(port: int, token: str = "") -> dict[str, int]:
    found: dict[str, int] = ask(port, "/stats", token)
    return found


def ask(port: int, path: str, token: str = "") -> Any:
    """One GET of a tool of the demo, as JSON."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- loopback
        return json.loads(answer.read(), parse_float=Decimal)


def comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record in one spelling, wherever it comes from: numbers by value, instants as values."""
    found = dict(record)
    if found.get("lifetime_value") is not None:
        found["lifetime_value"] = Decimal(str(found["lifetime_value"])).normalize()
    if isinstance(found.get("last_order_at"), str):
        found["last_order_at"] = datetime.fromisoformat(found["last_order_at"]).replace(tzinfo=None)
    return found

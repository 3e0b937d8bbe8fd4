"""The demo's CRM: contacts found by e-mail, in batches of at most 100, ten requests a second.

    POST /contacts/batch          {"contacts": [{"email": …, …}]}    create or change; the answer says which
    POST /contacts/batch/delete   {"contacts": [{"email": …}]}       delete; one that is not there is no error
    GET  /contacts?email=…        one contact, or 404
    GET  /contacts?after=&limit=  a page, by e-mail: {"contacts": […], "after": … or null}
    GET  /fields                  what a contact may have
    GET  /stats                   what was received so far (not counted, not limited)

Every record is judged by itself: 200 if all were taken, 207 with `errors` if some were not. A field that is
not sent stays as it is; null empties it.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from aiohttp import web

from levada.clock import Clock
from levada.demo.cabinet import Cabinet
from levada.demo.faults import Faults, RateLimit

BATCH_MAX = 100
PAGE_MAX = 1_000
REQUESTS_PER_SECOND = 10
FIELDS = {
    "email": "text",
    "customer_number": "integer",
    "first_name": "text",
    "last_name": "text",
    "phone": "text",
    "country": "text",
    "lifetime_value": "decimal",
    "orders": "integer",
    "last_order_at": "timestamp",
    "segment": "text",
    "favourite_products": "list",
}
SEGMENTS = ("active", "cooling", "lapsed")
_EMAIL = re.compile(r"[a-z0-9._%+'-]+@[a-z0-9-]+(\.[a-z0-9-]+)+")
_TABLES = """
create table if not exists contact (id integer primary key autoincrement, email text unique, fields text not null);
"""


class Crm:
    """One account of the CRM."""

    def __init__(self, cabinet_path: Path, token: str, clock: Clock, faults: Faults | None = None) -> None:
        self.cabinet = Cabinet(cabinet_path, _TABLES)
        self.clock = clock
        self.limit = RateLimit(REQUESTS_PER_SECOND)
        self.faults = faults or Faults()
        self._bearer = f"Bearer {token}"

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._gate])
        application.router.add_post("/contacts/batch", self.upsert)
        application.router.add_post("/contacts/batch/delete", self.delete)
        application.router.add_get("/contacts", self.contacts)
        application.router.add_get("/fields", self.fields)
        application.router.add_get("/stats", self.stats)
        return application

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """The token, the rate limit, and what goes wrong now and then."""
        if request.headers.get("Authorization") != self._bearer:
            return _error(401, "unauthorized", "the bearer token is missing or wrong")
        if request.method != "POST":
            return await handler(request)  # type: ignore[no-any-return]
        self.cabinet.count("requests")
        seconds = self.limit.admit(self.clock.monotonic())
        if seconds > 0:
            self.cabinet.count("throttled")
            return _error(429, "too_many_requests", "10 requests a second", {"Retry-After": str(math.ceil(seconds))})
        fault = self.faults.next()
        if fault == "busy":
            self.cabinet.count("throttled")
            return _error(429, "busy", "another integration uses this account too", {"Retry-After": "1"})
        if fault == "fails":
            self.cabinet.count("failed")
            return _error(500, "internal", "something went wrong on our side")
        answer: web.StreamResponse = await handler(request)
        if fault == "fails_afterwards":
            self.cabinet.count("failed")
            return _error(500, "internal", "something went wrong on our side")
        return answer

    async def upsert(self, request: web.Request) -> web.Response:
        records = await _records(request)
        if isinstance(records, str):
            return _error(400, "bad_request", records)
        results, errors = [], []
        with self.cabinet.transaction():
            for index, record in enumerate(records):
                problem = judge(record)
                if problem:
                    code, message = problem
                    email = record.get("email") if isinstance(record, dict) else None
                    errors.append({"index": index, "email": email, "code": code, "message": message})
                else:
                    own_id, created = self._keep(record)
                    results.append({"index": index, "email": record["email"], "id": own_id, "created": created})
            self.cabinet.count("records_received", len(records))
            self.cabinet.count("records_refused", len(errors))
        return web.json_response({"results": results, "errors": errors}, status=207 if errors else 200)

    def _keep(self, record: dict[str, Any]) -> tuple[str, bool]:
        """The contact's id, and whether it was not there before."""
        email = record["email"]
        connection = self.cabinet.connection
        found = connection.execute("select id, fields from contact where email = ?", (email,)).fetchone()
        if found:
            fields = {**json.loads(found[1]), **record}
            connection.execute("update contact set fields = ? where email = ?", (json.dumps(fields), email))
            return f"con_{found[0]}", False
        inserted = connection.execute("insert into contact (email, fields) values (?, ?)", (email, json.dumps(record)))
        return f"con_{inserted.lastrowid}", True

    async def delete(self, request: web.Request) -> web.Response:
        records = await _records(request)
        if isinstance(records, str):
            return _error(400, "bad_request", records)
        with self.cabinet.transaction():
            emails = [(record.get("email"),) for record in records if isinstance(record, dict)]
            gone = self.cabinet.connection.executemany("delete from contact where email = ?", emails).rowcount
            self.cabinet.count("records_received", len(records))
        return web.json_response({"deleted": gone})

    async def contacts(self, request: web.Request) -> web.Response:
        connection = self.cabinet.connection
        if "email" in request.query:
            row = connection.execute("select * from contact where email = ?", (request.query["email"],)).fetchone()
            return web.json_response(_contact(row)) if row else _error(404, "not_found", "no such contact")
        try:
            limit = min(PAGE_MAX, max(1, int(request.query.get("limit", "100"))))
        except ValueError:
            return _error(400, "bad_request", "limit: a number")
        after = request.query.get("after", "")
        rows = connection.execute(
            "select * from contact where email > ? order by email limit ?", (after, limit)
        ).fetchall()
        following = rows[-1][1] if len(rows) == limit else None
        return web.json_response({"contacts": [_contact(row) for row in rows], "after": following})

    async def fields(self, _request: web.Request) -> web.Response:
        described = [{"name": name, "type": kind, "unique": name == "email"} for name, kind in FIELDS.items()]
        return web.json_response({"fields": described})

    async def stats(self, _request: web.Request) -> web.Response:
        (contacts,) = self.cabinet.connection.execute("select count(*) from contact").fetchone()
        return web.json_response({**self.cabinet.counters(), "contacts": contacts})


def judge(record: Any) -> tuple[str, str] | None:
    """Why the CRM does not take a record, as (code, message); None if it does."""
    if not isinstance(record, dict):
        return "not_an_object", "a contact is an object"
    email = record.get("email")
    if not isinstance(email, str) or not _EMAIL.fullmatch(email):
        return "invalid_email", f"{email!r} is not an e-mail address in lower case"
    for name in record:
        if name not in FIELDS:
            return "unknown_field", f"a contact has no field {name!r}"
    if record.get("lifetime_value") is not None:
        try:
            value = Decimal(str(record["lifetime_value"]))
        except InvalidOperation:
            return "invalid_value", "lifetime_value is not a number"
        if not value.is_finite() or value < 0:
            return "negative_value", f"lifetime_value must not be negative: {value}"
    if record.get("segment") not in (None, *SEGMENTS):
        return "invalid_value", f"segment must be one of {', '.join(SEGMENTS)}"
    phone = record.get("phone")
    if phone is not None and not re.fullmatch(r"\+[1-9][0-9]{6,14}", str(phone)):
        return "invalid_phone", f"{phone!r} is not an E.164 phone number"
    return None


async def _records(request: web.Request) -> list[Any] | str:
    """The contacts of a body, or what is wrong with it as a whole."""
    try:
        body = await request.json(loads=lambda text: json.loads(text, parse_float=Decimal))
        records = body["contacts"]
    except (ValueError, KeyError, TypeError):
        return 'the body must be {"contacts": [...]}'
    if not isinstance(records, list) or not records:
        return "contacts: a list of 1 to 100"
    if len(records) > BATCH_MAX:
        return f"{len(records)} contacts in one request; at most {BATCH_MAX} are taken"
    return [_exact(record) for record in records]


def _exact(value: Any) -> Any:
    """Decimals as text, so that no digit is lost on the way into the cabinet."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {name: _exact(inner) for name, inner in value.items()}
    return [_exact(inner) for inner in value] if isinstance(value, list) else value


def _contact(row: tuple[int, str, str]) -> dict[str, Any]:
    return {"id": f"con_{row[0]}", **json.loads(row[2])}


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status, headers=headers)

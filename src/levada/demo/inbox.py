"""The demo's webhook inbox: takes signed messages (Standard Webhooks) and keeps each of them once.

    POST /messages   headers webhook-id, webhook-timestamp, webhook-signature
    GET  /messages   {"messages": [{"id", "body"}]}
    GET  /stats

A message whose signature is wrong, or whose time is more than five minutes off, gets 401. One whose id is
known gets 200 and is counted as a duplicate.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from pathlib import Path

from aiohttp import web

from levada.clock import Clock
from levada.demo.cabinet import Cabinet

TOLERANCE_SECONDS = 300
_TABLES = "create table if not exists message (id text primary key, body text not null);"


class Inbox:
    """One inbox. `secret`: `whsec_` and base64."""

    def __init__(self, cabinet_path: Path, secret: str, clock: Clock) -> None:
        self.cabinet = Cabinet(cabinet_path, _TABLES)
        self.clock = clock
        self._key = base64.b64decode(secret.removeprefix("whsec_"))

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/messages", self.receive)
        application.router.add_get("/messages", self.messages)
        application.router.add_get("/stats", self.stats)
        return application

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        name = request.headers.get("webhook-id", "")
        problem = self._distrust(name, request, body)
        self.cabinet.count("requests")
        if problem:
            self.cabinet.count("refused")
            return web.json_response({"message": problem}, status=401)
        kept = self.cabinet.connection.execute(
            "insert or ignore into message values (?, ?)", (name, body.decode("utf-8", errors="replace"))
        ).rowcount
        if not kept:
            self.cabinet.count("duplicates")
        return web.json_response({"duplicate": not kept})

    def _distrust(self, name: str, request: web.Request, body: bytes) -> str:
        """Why a message is not believed; empty if it is."""
        moment = request.headers.get("webhook-timestamp", "")
        if not name or not moment.isdigit():
            return "webhook-id and webhook-timestamp are required"
        if abs(self.clock.now().timestamp() - int(moment)) > TOLERANCE_SECONDS:
            return "the timestamp is more than five minutes off"
        signed = f"{name}.{moment}.".encode() + body
        expected = hmac.digest(self._key, signed, hashlib.sha256)
        for signature in request.headers.get("webhook-signature", "").split():
            version, _, encoded = signature.partition(",")
            try:
                if version == "v1" and hmac.compare_digest(base64.b64decode(encoded), expected):
                    return ""
            except binascii.Error:
                continue
        return "no signature fits"

    async def messages(self, _request: web.Request) -> web.Response:
        rows = self.cabinet.connection.execute("select id, body from message order by rowid")
        return web.json_response({"messages": [{"id": row[0], "body": json.loads(row[1])} for row in rows]})

    async def stats(self, _request: web.Request) -> web.Response:
        (messages,) = self.cabinet.connection.execute("select count(*) from message").fetchone()
        return web.json_response({**self.cabinet.counters(), "messages": messages})

"""The demo's ad audience: people who shall see a campaign, known by the SHA-256 of their e-mail and nothing else.

    POST   /audiences/{id}/users   {"users": ["<64 hex digits>", …]}   add members
    DELETE /audiences/{id}/users   the same body                       remove members
    GET    /audiences/{id}         {"id", "members"}
    GET    /audiences/{id}/users   {"users": [...]}: for the demo's own checks; no real one tells
    GET    /stats

Always answers 200 for a well-formed body, as such tools do: `num_received`, `num_invalid`, and in `invalid`
the index and reason of every entry that was not taken. `taken` says of each of the others whether it changed
anything; many real tools do not, and then nobody can tell a new member from one who was there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aiohttp import web

from levada.demo.cabinet import Cabinet

BATCH_MAX = 500
_HASH = re.compile(r"[0-9a-f]{64}")
_TABLES = "create table if not exists member (audience text, hash text, primary key (audience, hash)) without rowid;"


class Ads:
    """One ad account."""

    def __init__(self, cabinet_path: Path, token: str) -> None:
        self.cabinet = Cabinet(cabinet_path, _TABLES)
        self._bearer = f"Bearer {token}"

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._gate])
        application.router.add_post("/audiences/{id}/users", self.add)
        application.router.add_delete("/audiences/{id}/users", self.remove)
        application.router.add_get("/audiences/{id}", self.audience)
        application.router.add_get("/audiences/{id}/users", self.users)
        application.router.add_get("/stats", self.stats)
        return application

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Authorization") != self._bearer:
            return web.json_response({"message": "the bearer token is missing or wrong"}, status=401)
        return await handler(request)  # type: ignore[no-any-return]

    async def add(self, request: web.Request) -> web.Response:
        return await self._change(request, "insert or ignore into member values (?, ?)")

    async def remove(self, request: web.Request) -> web.Response:
        return await self._change(request, "delete from member where audience = ? and hash = ?")

    async def _change(self, request: web.Request, statement: str) -> web.Response:
        try:
            users = (await request.json())["users"]
        except (ValueError, KeyError, TypeError):
            return web.json_response({"message": 'the body must be {"users": [...]}'}, status=400)
        if not isinstance(users, list) or not 0 < len(users) <= BATCH_MAX:
            return web.json_response({"message": f"users: a list of 1 to {BATCH_MAX}"}, status=400)
        taken, invalid = [], []
        for index, user in enumerate(users):
            if isinstance(user, str) and _HASH.fullmatch(user):
                taken.append((index, user))
            else:
                reason = "only SHA-256 hashes in lower-case hex are taken; this looks like clear text"
                invalid.append({"index": index, "reason": reason})
        told = []
        with self.cabinet.transaction() as connection:
            for index, user in taken:
                changed = connection.execute(statement, (request.match_info["id"], user)).rowcount
                told.append({"index": index, "changed": changed == 1})
            self.cabinet.count("requests")
            self.cabinet.count("records_received", len(users))
            self.cabinet.count("records_refused", len(invalid))
        counts = {"num_received": len(users), "num_invalid": len(invalid)}
        return web.json_response({**counts, "taken": told, "invalid": invalid})

    async def audience(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        (members,) = self.cabinet.connection.execute(
            "select count(*) from member where audience = ?", (name,)
        ).fetchone()
        return web.json_response({"id": name, "members": members})

    async def users(self, request: web.Request) -> web.Response:
        rows = self.cabinet.connection.execute(
            "select hash from member where audience = ? order by hash", (request.match_info["id"],)
        )
        return web.json_response({"users": [row[0] for row in rows]})

    async def stats(self, _request: web.Request) -> web.Response:
        (members,) = self.cabinet.connection.execute("select count(*) from member").fetchone()
        return web.json_response({**self.cabinet.counters(), "members": members})

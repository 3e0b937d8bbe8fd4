"""The destination of a simulation: what it holds, what it accepted and when, and how it misbehaves on demand.

It keeps its own log, which is all that the oracle believes, and knows nothing of Levada. What is not here:
when to misbehave (`schedule`).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 10.0
SERVER_SECONDS = 60.0
LAG_SECONDS = 5.0
IDEMPOTENCY_SECONDS = 24 * 3600.0
FOREIGN_KEY = 900
SECRET = "canary-token-7f3a"
NO_FATE: frozenset[str] = frozenset()
LIES: Mapping[str, bytes] = {
    "lie_html": b"<html><body>It works!</body></html>",
    "lie_empty": b"",
    "lie_garbage": b"\x00\xff\xfe garbage",
    "lie_unapplied": b'{"status": "accepted"}',
}


class NoAnswer(Exception):
    """The sender's patience ended first."""


class NoConnection(Exception):
    """Not a byte got through."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, in plain data."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    document: Any

    @property
    def writes(self) -> bool:
        return self.path != "/search"

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of a writing request: dicts with `kind`, and `fields` or `id`."""
        if not isinstance(self.document, dict):
            return []
        listed: list[dict[str, Any]] = self.document.get("records", [self.document])
        return listed


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Server:
    def __init__(self, clock: Callable[[], float], chance: random.Random) -> None:
        self.clock = clock
        self.chance = chance
        self.records: dict[str, dict[str, Any]] = {}
        self.born: dict[str, float] = {}
        self.owners: dict[str, int] = {}
        self.accepted: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.weather = ""
        self.poison: int | None = None
        self.fates: Mapping[int, frozenset[str]] = {}
        #: the run whose request comes in, and the one whose request takes effect: for the log
        self.run = self.acting = ""
        self.valid_token = 1
        self.stage = 0
        self._numbers = itertools.count(1)
        self._pending: list[tuple[float, int, Callable[[], None]]] = []
        self._replays: dict[str, tuple[Any, str, float]] = {}
        self.reused: set[int] = set()

    def keys(self, asked: Asked) -> list[int]:
        """Whose records a writing request is about."""
        verb, _, rid = asked.path.strip("/").partition("/")
        return [self.owners.get(rid, 0)] if verb == "records" else [_key(record) for record in asked.records]

    def fate(self, keys: Sequence[int]) -> str:
        """What befalls some of the records of a request, for the log."""
        fates = frozenset().union(*(self.fates.get(key, NO_FATE) for key in keys))
        return "+".join(sorted(fates - {"together", "away"}))

    def catch_up(self, until: float | None = None) -> None:
        """Let what was under way take effect, in its order."""
        moment = self.clock() if until is None else until
        while self._pending and self._pending[0][0] <= moment:
            at, _, act = heapq.heappop(self._pending)
            self.moment = at
            act()

    moment = 0.0

    def note(self, what: str, key: int, values: Mapping[str, Any] | None, rid: str, *, by: str = "sync") -> None:
        """One line of the accept log."""
        at = self.moment if by == "sync" else self.clock()
        plain = dict(values) if values is not None else None
        line = {"at": round(at, 4), "what": what, "key": key, "values": plain, "rid": rid, "by": by}
        self.accepted.append({**line, "stage": self.stage, "run": self.acting if by == "sync" else ""})

    def hold(self, key: int, values: Mapping[str, Any]) -> None:
        """A record of somebody else's, that was there before."""
        rid = f"r{next(self._numbers)}"
        self.records[rid] = dict(values)
        self.owners[rid] = key
        self.note("create", key, values, rid, by="other")

    def human(self, deed: str, key: int) -> None:
        """Somebody works in the tool: `edit` or `delete` a record of ours, `add` one of their own."""
        self.catch_up()
        if deed == "add":
            rid = f"r{next(self._numbers)}"
            self.records[rid] = {"id": FOREIGN_KEY + key, "name": "by hand"}
            self.note("create", FOREIGN_KEY + key, {"name": "by hand"}, rid, by="person")
            return
        for rid, record in list(self.records.items()):
            if record["id"] == key:
                if deed == "edit":
                    record["name"] = "edited"
                    self.note("update", key, {"name": "edited"}, rid, by="person")
                else:
                    del self.records[rid]
                    self.note("delete", key, None, rid, by="person")

    # -- one request

    async def exchange(self, asked: Asked, fault: str) -> Answer:
        """Raises NoAnswer or NoConnection. What was begun takes effect even if the sender dies meanwhile."""
        self.catch_up()
        now = self.clock()
        keys = self.keys(asked) if asked.writes and self.fates else []
        fates = [self.fates.get(key, NO_FATE) for key in keys]
        if len(fates) == 1 and "away" in fates[0]:
            self.weather = "down"
        fault = fault or ("together" if len(fates) > 1 and any("together" in each for each in fates) else "")
        befallen = fault or self.fate(keys)
        heard = {"at": round(now, 4), "method": asked.method, "path": asked.path, "writes": asked.writes}
        self.requests.append({**heard, "stage": self.stage, "fault": befallen, "weather": self.weather})
        takes = self.chance.uniform(0.02, 0.3)
        if fault == "no_connection" or self.weather == "down":
            await asyncio.sleep(takes)
            raise NoConnection
        early = self._early(asked, fault)
        if early is not None:
            await asyncio.sleep(takes)
            return early
        if fault == "lost_before":
            await asyncio.sleep(TIMEOUT_SECONDS)
            raise NoAnswer
        answers: list[Answer] = []
        run = self.run
        late = fault == "late" and asked.writes
        moment = now + (self.chance.uniform(TIMEOUT_SECONDS + 1, SERVER_SECONDS - 0.5) if late else takes / 2)

        def act() -> None:
            self.acting = run
            answers.append(self._act(asked, fault))

        heapq.heappush(self._pending, (moment, next(self._numbers), act))
        if fault in ("late", "lost_after") or (fault == "half" and asked.writes):
            await asyncio.sleep(TIMEOUT_SECONDS)
            raise NoAnswer
        await asyncio.sleep(takes)
        self.catch_up()
        return self._told(asked, answers[0], fault)

    def _early(self, asked: Asked, fault: str) -> Answer | None:
        """Answers before anything is looked at."""
        if fault == "expired":
            self.valid_token += 1
        if self.weather == "revoked" or asked.headers.get("Authorization") != f"Bearer {SECRET}-{self.valid_token}":
            return Answer(401, json.dumps({"message": f"bad token {asked.headers.get('Authorization')}"}).encode())
        if fault == "throttle":
            wait = self.chance.choice(("1", "7", "0", "-3", None))
            return Answer(429, b"{}", {} if wait is None else {"retry-after": wait})
        if fault == "error_500":
            return Answer(503, b"try later")
        if fault in ("refuse_batch", "together") and asked.writes:
            return Answer(422, b'{"message": "one of them is not to our liking"}')
        return None

    def _told(self, asked: Asked, answer: Answer, fault: str) -> Answer:
        """What the sender hears of it."""
        if fault == "error_500_applied":
            return Answer(502, b"bad gateway")
        if answer.status >= 300:
            return answer
        if fault in LIES:
            return Answer(200, LIES[fault])
        if fault == "lie_truncated":
            return Answer(200, answer.body[: len(answer.body) // 2])
        document = json.loads(answer.body)
        if fault == "shuffled":
            self.chance.shuffle(document.get("results" if asked.writes else "found", []))
        if fault == "fewer" and asked.writes:
            document = (
                {"results": document["results"][: len(document["results"]) // 2]} if "results" in document else {}
            )
        return Answer(answer.status, json.dumps(document).encode(), answer.headers)

    def _act(self, asked: Asked, fault: str) -> Answer:
        """Take effect."""
        if asked.path == "/search":
            return self._search(asked)
        if self.weather == "poison" and asked.writes and self.poison in self.keys(asked):
            return Answer(422, b'{"message": "something in there"}')
        verb, _, rid = asked.path.strip("/").partition("/")
        if verb == "records":
            return self._alone(asked, lambda: self._single(asked, rid, fault))
        if verb == "create" and "Idempotency-Key" in asked.headers:
            return self._alone(asked, lambda: self._idempotent(asked, fault))
        listed = asked.records
        if fault == "half":
            listed = listed[: len(listed) // 2]
        if fault == "lie_unapplied":
            listed = []
        refused = self.chance.randrange(len(asked.records)) if fault == "refuse_record" else None
        results = []
        for index, record in enumerate(listed):
            key = _key(record)
            fate = self.fates.get(key, NO_FATE)
            if index == refused or "refused" in fate:
                results.append({"id": key, "ok": False, "message": "not this one"})
            elif "suppressed" in fate:
                results.append({"id": key, "ok": False, "message": "not wanted", "code": "unwanted"})
            elif "unheard_before" not in fate:
                told = self._applied(verb, record)
                results += [] if "unheard_after" in fate else [{"id": key, **told}]
        return Answer(200, json.dumps({"results": results}).encode())

    def _alone(self, asked: Asked, act: Callable[[], Answer]) -> Answer:
        """One record, a request of its own."""
        (key,) = self.keys(asked)
        fate = self.fates.get(key, NO_FATE)
        if "refused" in fate:
            return Answer(422, b'{"message": "not this one"}')
        if "suppressed" in fate:
            return Answer(422, b'{"message": "not wanted", "code": "unwanted"}')
        unheard = Answer(200, LIES["lie_unapplied"])
        if "unheard_before" in fate:
            return unheard
        answer = act()
        return unheard if "unheard_after" in fate else answer

    def _applied(self, verb: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record of several takes effect: what the answer says of it."""
        rid = record.get("rid")
        if rid is None:
            made = all(held["id"] != _key(record) for held in self.records.values())
            return {"ok": True, "rid": self.apply(verb, record), "made": made}
        if verb == "delete" and rid in self.records:
            del self.records[rid]
            self.note("delete", _key(record), None, rid)
        elif verb == "update" and rid in self.records:
            self.records[rid] = {**self.records[rid], **record["fields"]}
            self.note("update", _key(record), record["fields"], rid)
        elif verb == "update":
            return {"ok": False, "message": "no such record", "code": "record_gone"}
        return {"ok": True, "rid": rid}

    def apply(self, verb: str, record: Mapping[str, Any]) -> str:
        key = _key(record)
        rids = [rid for rid, held in self.records.items() if held["id"] == key]
        if verb == "delete":
            for rid in rids:
                del self.records[rid]
                self.note("delete", key, None, rid)
            return ""
        fields = record["fields"]
        if verb == "upsert" and rids:
            self.records[rids[0]] = {**self.records[rids[0]], **fields}
            self.note("upsert", key, fields, rids[0])
            return rids[0]
        rid = f"r{next(self._numbers)}"
        self.records[rid] = dict(fields)
        self.born[rid] = self.moment
        self.owners[rid] = key
        self.note(verb, key, fields, rid)
        return rid

    def _idempotent(self, asked: Asked, fault: str) -> Answer:
        """A create under a key: a repeat within its time is answered with what the first one made."""
        name = asked.headers["Idempotency-Key"]
        known = self._replays.get(name)
        if known is not None and self.moment - known[2] < IDEMPOTENCY_SECONDS:
            if known[0] != asked.document:
                self.reused.add(_key(asked.document))
                return Answer(409, b'{"message": "this key was used for another body", "code": "key_reused"}')
            return Answer(200, json.dumps({"done": True, "rid": known[1]}).encode())
        if fault == "refuse_record":
            return Answer(422, b'{"message": "not this one"}')
        if fault == "lie_unapplied":
            return Answer(200, LIES["lie_unapplied"])
        if fault == "half":
            return Answer(200, b"{}")
        rid = self.apply("create", asked.document)
        self._replays[name] = (asked.document, rid, self.moment)
        return Answer(200, json.dumps({"done": True, "rid": rid}).encode())

    def _single(self, asked: Asked, rid: str, fault: str) -> Answer:
        """PATCH or DELETE of one record by the tool's own id."""
        if fault == "refuse_record":
            return Answer(422, b'{"message": "not this one"}')
        if rid not in self.records:
            return Answer(404, b'{"message": "no such record"}')
        if fault in ("lie_unapplied", "half"):
            return Answer(200, LIES["lie_unapplied"])
        key = self.records[rid]["id"]
        if asked.method == "DELETE":
            del self.records[rid]
            self.note("delete", key, None, rid)
        else:
            self.records[rid] = {**self.records[rid], **asked.document["fields"]}
            self.note("update", key, asked.document["fields"], rid)
        return Answer(200, json.dumps({"done": True, "rid": rid}).encode())

    def _search(self, asked: Asked) -> Answer:
        wanted = {int(each) for each in asked.document["ids"]}
        found = [
            {"id": held["id"], "rid": rid}
            for rid, held in self.records.items()
            if held["id"] in wanted and self.born.get(rid, -1e9) + LAG_SECONDS <= self.clock()
        ]
        return Answer(200, json.dumps({"found": found}).encode())


def _key(record: Mapping[str, Any]) -> int:
    found: int = record["id"] if "id" in record else record.get("fields", {}).get("id", 0)
    return found

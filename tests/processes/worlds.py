"""One small world per destination class: a project, its model, and a destination that keeps an accept log."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import duckdb
import psycopg
import pymysql

from levada_process import write
from processes.destination import Accepted, Destination, Held

Letter = Literal["T", "T append", "T duckdb", "T postgres", "T mariadb", "A", "B", "C", "D", "D once"]
Row = dict[str, Any]
Rows = dict[int, Row]

LANES = 2
BATCH = 2
#: what a dead sender had sent takes effect at once (Destination.wait_until_idle); the hold is kept all the same
HOLD_SECONDS = 0.05

_ITEMS = "{items: {list: results, match: id, ok: ok, identifier: rid}}"
_DONE = "{success: [{path: done, equals: true}], identifier: rid}"
_BATCH = f'body: {{records: "{{records}}"}}, record: {{fields: "{{fields_all}}"}}, outcomes: {_ITEMS}'
_BY_RID = f"""
    update: {{send: "PATCH /records/{{destination_id}}", record: {{fields: "{{fields_all}}"}}, outcomes: {_DONE}}}
    delete: {{send: "DELETE /records/{{destination_id}}", outcomes: {_DONE}}}
"""
_VERBS: Mapping[str, str] = {
    "A": f"""
    upsert: {{send: POST /upsert, {_BATCH}}}
    delete: {{send: POST /delete, body: {{records: "{{records}}"}}, record: {{id: "{{key}}"}}, outcomes: {_ITEMS}}}
""",
    "B": f"""
    create:
      send: POST /create
      record: {{fields: "{{fields_all}}"}}
      idempotency_header: Idempotency-Key
      records_per_request: 1
      outcomes: {_DONE}
{_BY_RID}""",
    "C": f"""
    create: {{send: POST /create, {_BATCH}}}
    look_up:
      send: POST /search
      body: {{ids: "{{records}}"}}
      list: found
      match: id
      identifier: rid
      records_per_request: 4
{_BY_RID}""",
    "D": f"""
    append: {{send: POST /append, {_BATCH}}}
""",
}
_HTTP = """type: http
base_url: {url}
limits: {{records_per_request: {batch}, concurrent_requests: {lanes}}}
max_server_seconds: {hold}
timeout_seconds: {timeout}
{idempotency}objects:
  people:{verbs}"""
_SYNC = """model: people
to: there.people
mode: {mode}
fields: {{id: id, name: name, score: score}}
guard: {{removed_max: none, changed_max: none, nulls_max: none}}
{more}"""
TRIGGERS = """
create table people (id integer primary key, name text, score integer);
create table accepted (number integer primary key, verb text, id integer, name text, score integer);
create trigger made after insert on people
  begin insert into accepted (verb, id, name, score) values ('create', new.id, new.name, new.score); end;
create trigger changed after update on people
  begin insert into accepted (verb, id, name, score) values ('update', new.id, new.name, new.score); end;
create trigger gone after delete on people
  begin insert into accepted (verb, id) values ('delete', old.id); end;
"""
PG_LOG = """
drop schema if exists public cascade; create schema public;
create table people (id integer primary key, name text, score integer);
create table accepted (number serial primary key, verb text, id integer, name text, score integer);
create function note() returns trigger language plpgsql as $$ begin
  if tg_op = 'DELETE' then insert into accepted (verb, id) values ('delete', old.id);
  else insert into accepted (verb, id, name, score)
    values (case tg_op when 'INSERT' then 'create' else 'update' end, new.id, new.name, new.score); end if;
  return null; end $$;
create trigger note after insert or update or delete on people for each row execute function note();
"""
MY_LOG = """
create table people (id integer primary key, name text, score integer) engine=innodb;
create table accepted (number integer auto_increment primary key, verb text, id integer, name text, score integer)
  engine=innodb;
create trigger made after insert on people for each row
  insert into accepted (verb, id, name, score) values ('create', new.id, new.name, new.score);
create trigger changed after update on people for each row
  insert into accepted (verb, id, name, score) values ('update', new.id, new.name, new.score);
create trigger gone after delete on people for each row
  insert into accepted (verb, id) values ('delete', old.id);
"""
FIRST: Rows = {n: {"id": n, "name": f"p{n}", "score": n * 10} for n in range(1, 9)}


def edited(rows: Rows, edits: Mapping[int, Row | None]) -> Rows:
    """Rows with some set and (None) some gone."""
    found = {**rows, **{key: row for key, row in edits.items() if row is not None}}
    return {key: row for key, row in sorted(found.items()) if edits.get(key, row) is not None}


SECOND = edited(FIRST, {
    1: {"id": 1, "name": "p1", "score": 11},
    2: {"id": 2, "name": "p2", "score": 21},
    3: {"id": 3, "name": "p3", "score": 31},
    4: None,
    5: None,
    21: {"id": 21, "name": "p21", "score": 210},
    22: {"id": 22, "name": "p22", "score": 220},
    23: {"id": 23, "name": "p23", "score": 230},
})  # fmt: skip
"""Three changed, two gone, three new."""
THIRD = edited(SECOND, {
    1: FIRST[1],
    2: {"id": 2, "name": "p2", "score": 22},
    4: {"id": 4, "name": "p4", "score": 44},
    21: None,
    22: {"id": 22, "name": "p22", "score": 222},
})  # fmt: skip
"""What the model may come to while a run is dead: back again, on and on, back from the dead, gone before it came."""


@dataclass
class World:
    """A project in a folder that always has the same name, and a destination."""

    letter: Letter
    folder: Path
    server: Destination
    postgres: str = ""
    mariadb: str = ""
    #: where the project is told to find the destination, if that is not where it is: a proxy
    through: str = ""
    timeout_seconds: float = 60.0
    hold_seconds: float = HOLD_SECONDS
    lanes: int = LANES
    batch: int = BATCH
    first: Rows = field(default_factory=lambda: FIRST)
    history: list[Rows] = field(default_factory=list)

    @property
    def http(self) -> bool:
        return not self.letter.startswith("T")

    @property
    def appends(self) -> bool:
        """Is each value an event of its own?"""
        return self.letter in ("T append", "D", "D once")

    def prepare(self) -> None:
        """The empty project: no state, nothing at the destination, the first model."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.history = []
        if self.http:
            self.server.put_back(Held())
        verbs = _VERBS.get(self.letter[0], "")
        kind = {"T duckdb": "duckdb", "T postgres": "postgres", "T mariadb": "mysql"}.get(self.letter, "sqlite")
        if self.http:
            idempotency = "idempotency_seconds: 86400\n" if self.letter == "B" else ""
            there = _HTTP.format(
                url=self.through or self.server.url,
                batch=self.batch,
                lanes=self.lanes,
                hold=self.hold_seconds,
                timeout=self.timeout_seconds,
                idempotency=idempotency,
                verbs=verbs,
            )
        elif kind in ("postgres", "mysql"):
            there = f"type: {kind}\nurl: {self.through or self.postgres or self.mariadb}\n"
        else:
            there = f"type: {kind}\npath: there.{kind}\ncreate_tables: true\n"
        mode = "append" if self.appends else "mirror"
        more = "changed: send\n" if self.appends else "match: {id: id}\n"
        more += f"delivery: {'at_most_once' if self.letter == 'D once' else 'at_least_once'}\n" if self.http else ""
        write(
            self.folder,
            {
                "levada.yml": "name: crashes\n",
                "sources/shop.yml": "type: files\npath: data\n",
                "models/people.sql": "/*\nsource: shop\nkey: id\n*/\nselect id, name, score from people\n",
                "destinations/there.yml": there,
                "syncs/people.yml": _SYNC.format(mode=mode, more=more),
            },
        )
        (self.folder / "tmp").mkdir()
        if kind == "postgres":
            with psycopg.connect(self.postgres, autocommit=True) as connection:
                connection.execute(PG_LOG)
        elif kind == "mysql":
            for table in ("people", "accepted", "_levada_marks"):
                self._said_by_mariadb(f"drop table if exists {table}")
            for statement in MY_LOG.strip().rstrip(";").split(";"):
                self._said_by_mariadb(statement)
        elif kind == "sqlite":
            with closing(sqlite3.connect(self.folder / "there.sqlite")) as connection:
                connection.executescript(TRIGGERS.replace("primary key, name", ", name", 1 if self.appends else 0))
        self.model(self.first)

    def model(self, rows: Rows) -> None:
        """The model is this from now on."""
        self.history.append(rows)
        lines = [f"{row['id']},{row['name']},{row['score']}" for row in rows.values()]
        write(self.folder, {"data/people.csv": "id,name,score\n" + "\n".join(lines) + "\n"})

    # -- what the destination says

    def log(self) -> list[Accepted]:
        """What was accepted, in its order. Empty for a destination that keeps no log."""
        if self.http:
            return self.server.copy().log
        rows = self._rows("select number, verb, id, name, score from accepted order by number")
        return [
            Accepted(n, verb, key, None if verb == "delete" else {"id": key, "name": name, "score": score}, str(key))
            for n, verb, key, name, score in rows
        ]

    def held(self) -> list[Row]:
        """The records that the destination has now."""
        if self.http:
            return sorted(self.server.copy().records.values(), key=lambda row: int(row["id"]))
        rows = self._rows("select id, name, score from people order by id")
        return [{"id": key, "name": name, "score": score} for key, name, score in rows]

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers. DuckDB keeps no log: it has no triggers."""
        if self.letter in ("T", "T append"):
            with closing(sqlite3.connect(self.folder / "there.sqlite")) as connection:
                return connection.execute(query).fetchall()
        if self.letter == "T postgres":
            with psycopg.connect(self.postgres) as postgres:
                return postgres.execute(query).fetchall()
        if self.letter == "T mariadb":
            return self._said_by_mariadb(query)
        if " accepted " in query:
            return []
        with duckdb.connect(str(self.folder / "there.duckdb"), read_only=True) as duck:
            return duck.execute(query).fetchall()

    def _said_by_mariadb(self, statement: str) -> list[tuple[Any, ...]]:
        parts = urlsplit(self.mariadb)
        connection = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 0,
            user=parts.username,
            password=parts.password or "",
            database=parts.path[1:],
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def writes(self) -> int:
        """How many writing requests the server has had; for a database, how many changes."""
        return sum(asked.writes for asked in self.server.copy().asked) if self.http else len(self.log())

    def reports(self) -> list[dict[str, Any]]:
        """What Levada says of its finished runs, oldest first."""
        from levada import Project

        with Project.open(self.folder) as project:
            records = [record for record in project.runs("people") if record.result is not None]
        return [json.loads(json.dumps(dict(record.result or {}))) for record in reversed(records)]

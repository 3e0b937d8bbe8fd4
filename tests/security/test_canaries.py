"""No secret and no person in any log, answer, error or store: all that the real process leaves behind is searched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import claims
from levada_process import Ended, levada, started, write
from security.canaries import ENCODINGS, found, outputs, processes
from servers.echoing import echoing_server
from servers.postgres import PostgresServer, free_port

TOKEN = "Zk9+/tok~en?'q\"Lw%Canary=7"
PASSWORD = "Px3/w&ord+'Cañary 7%\"é"
KEPT = 'Vk5 canary\\kept/in=the+vault"9'
SECRETS = (TOKEN, PASSWORD, KEPT)
PERSONS = ("zqperson77@canary.example", "Zqfamilyname-Ünal", "Zq street 7, 1º")
HOLD_PERSONS = (".levada/plans/", ".levada/ledgers/", ".levada/state.sqlite:journal", "data/", "crm.db")
"""Where docs/concepts/security.md says that values of rows are kept: and nowhere else."""
RAW_STATE = (".levada/state.sqlite", ".levada/state.sqlite-wal")
"""Their pages hold the journal; they are judged table by table."""
AUTHS = {
    "bearer": f"{{bearer: {json.dumps('${TOKEN}')}}}",
    "basic": '{basic: {username: levada, password: "${PASSWORD}"}}',
    "header": '{header: {X-Api-Key: "${secret:KEPT}"}}',
    "query": '{query: {api_key: "${TOKEN}"}}',
}
ROWS = "id,email,family,street\n" + "".join(f'{n},{n}{PERSONS[0]},{PERSONS[1]},"{PERSONS[2]}"\n' for n in range(1, 6))


def project(folder: Path, changes: Mapping[str, str]) -> Path:
    """Five canary persons and a destination; `.env` holds the secrets that are not in the vault."""
    files = {
        "levada.yml": "name: canaries\n",
        ".env": "".join(f"{name}={_quoted(value)}\n" for name, value in (("TOKEN", TOKEN), ("PASSWORD", PASSWORD))),
        "data/people.csv": ROWS,
        "sources/shop.yml": "type: files\npath: data\n",
        "models/people.sql": "/*\nsource: shop\nkey: id\n*/\nselect * from people\n",
        "syncs/people_to_crm.yml": "model: people\nto: crm.people\nmode: mirror\nfields: all\n",
        **changes,
    }
    return write(folder, files)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def http(url: str, auth: str, **more: str) -> dict[str, str]:
    """A destination over HTTP as the file that declares it."""
    options = {"type": "http", "base_url": url, "class": "A", "max_server_seconds": "0.1", "auth": AUTHS[auth], **more}
    text = "".join(f"{name}: {value}\n" for name, value in options.items())
    return {
        "destinations/crm.yml": text + "objects: {people: {match: id, upsert: POST /people, delete: DELETE /people}}\n"
    }


@dataclass(slots=True)
class Search:
    """All that was looked through, and what was found."""

    searched: int = 0
    hits: list[str] = field(default_factory=list)

    def look(self, case: str, name: str, data: bytes, *, persons: bool = True) -> None:
        self.searched += 1
        values = SECRETS + (PERSONS if persons else ())
        self.hits += [f"{case}: {name}: {hit}" for hit in found(data, values)]

    def ended(self, case: str, what: str, ended: Ended, *, persons: bool = True) -> None:
        self.look(case, f"stdout of {what}", ended.out.encode(), persons=persons)
        self.look(case, f"stderr of {what}", ended.talk.encode())

    def left_behind(self, case: str, folder: Path) -> None:
        for name, data in outputs(folder):
            if name in (".env", "levada.yml") or name.startswith(("sources/", "destinations/")):
                continue
            held = name.startswith(HOLD_PERSONS) or name in RAW_STATE
            self.look(case, name, data, persons=not held)

    def commands(self, case: str, folder: Path) -> None:
        """Every way to ask; those that show rows on purpose may show persons on stdout."""
        self.ended(case, "run -v --debug", started(folder, "run", "-v", "--debug"))
        self.ended(case, "run --json --debug", levada(folder, "run", "--json", "--debug"))
        self.left_behind(case, folder)
        self.ended(case, "records", levada(folder, "records", "people_to_crm", "--json", "--debug"), persons=False)
        if claims.full():
            for command in (
                ("check", "-v", "--debug"),
                ("check", "--json"),
                ("plan", "--debug"),
                ("preview", "people"),
            ):
                self.ended(case, " ".join(command), levada(folder, *command), persons=False)
            for asked in ("status", "status --json", "runs", "runs --json", "doctor --json", "secrets list"):
                self.ended(case, asked, levada(folder, *asked.split()))
            self.ended(case, "retry", levada(folder, "retry", "people_to_crm", "--debug"))


STATUSES = (
    "400 json",
    "401 json",
    "403 plain",
    "409 list",
    "422 list",
    "429 json",
    "500 html",
    "503 plain",
    "302 json",
    "200 json",
    "0 json",
)


def _over_http(folder: Path, status: str, auth: str, search: Search, padding: int) -> None:
    code, shape = status.split()
    with echoing_server() as echo:
        echo.status, echo.shape, echo.padding = int(code), shape, padding
        echo.patience = 4 if claims.full() else 1
        looked: list[tuple[str, bytes]] = []
        echo.seen = lambda: looked.extend(processes()) if not looked else None
        project(folder, http(echo.url, auth))
        assert levada(folder, "secrets", "set", "KEPT", text=KEPT).code == 0
        search.commands(f"{status}, {auth}", folder)
        assert echo.requests, "the server was never asked"
        assert looked, "no process was looked at"
        for name, data in looked:
            search.look(f"{status}, {auth}", name, data)


def _databases(postgres: PostgresServer) -> dict[str, dict[str, str]]:
    """Failures of databases, with the password in the connection string."""
    wrong = f"postgresql://levada:${{PASSWORD_URL}}@127.0.0.1:{postgres.port}/postgres"
    nobody = f"postgresql://levada:${{PASSWORD_URL}}@127.0.0.1:{free_port()}/x"
    sqlite = {"destinations/crm.yml": "type: sqlite\npath: crm.db\ncreate_tables: true\n"}
    model = {
        "models/people.sql": "/*\nsource: shop\nkey: id\n*/\nselect id, cast(email as integer) as email from people\n"
    }
    return {
        "a source that refuses the password": {**sqlite, "sources/shop.yml": f"type: postgres\nurl: {wrong}\n"},
        "a source that is away": {**sqlite, "sources/shop.yml": f"type: postgres\nurl: {nobody}\n"},
        "a source with a wrong port": {**sqlite, "sources/shop.yml": f"type: postgres\nurl: {nobody}:y\n"},
        "a destination that refuses the password": {"destinations/crm.yml": f"type: postgres\nurl: {wrong}\n"},
        "a destination that is away": {"destinations/crm.yml": f"type: postgres\nurl: {nobody}\n"},
        "a MySQL that is away": {
            "destinations/crm.yml": f"type: mysql\nurl: {nobody.replace('postgresql', 'mysql')}\n"
        },
        "a URL that is none": {"destinations/crm.yml": f"type: postgres\nurl: {nobody}?host=/tmp&x=1\n"},
        "a read that breaks off at a person": {**sqlite, **model},
        "a template that fails": {
            **sqlite,
            "syncs/people_to_crm.yml": "model: people\nto: crm.people\nfields:\n  id: id\n"
            "  email: {template: \"{{ email | date: '%Y' }}{{ family.x.y }}\"}\n",
        },
        "a cast that fails": {
            **sqlite,
            "syncs/people_to_crm.yml": "model: people\nto: crm.people\nfields:\n  id: id\n"
            "  email: {sql: 'cast(email as integer)'}\n  street: {sql: 'street::date'}\n",
        },
        "a secret where it does not belong": {
            "destinations/crm.yml": "type: sqlite\npath: crm.db\ncreate_tables: ${TOKEN}\npassword: ${PASSWORD}\n"
        },
        "a type that is none": {"destinations/crm.yml": 'type: "${TOKEN}"\nbearer: x\n'},
        "a sync that works": sqlite,
    }


def _table(folder: Path, case: str, files: dict[str, str], search: Search) -> None:
    from urllib.parse import quote

    project(folder, files)
    with (folder / ".env").open("a") as file:
        file.write(f"PASSWORD_URL={quote(PASSWORD, safe='')}\n")
    search.commands(case, folder)


@pytest.mark.claim("H13")
def test_no_secret_and_no_person_leaves(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, figure: claims.Figure
) -> None:
    """Servers that echo credentials and rows, databases that refuse, reads that break: nothing of it is repeated."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    search = Search()
    auths = list(AUTHS)
    chosen = [(status, auth) for status in STATUSES for auth in auths]
    if not claims.full():
        chosen = [(status, auths[n % len(auths)]) for n, status in enumerate(STATUSES)][::2]
    jobs: list[Any] = []
    with ThreadPoolExecutor(6) as pool:
        for number, (status, auth) in enumerate(chosen):
            padding = (0, 150, 480)[number % 3]
            jobs.append(pool.submit(_over_http, tmp_path / f"h{number}", status, auth, search, padding))
        for number, (case, files) in enumerate(_databases(postgres_server).items()):
            jobs.append(pool.submit(_table, tmp_path / f"d{number}", case, files, search))
    for job in jobs:
        job.result()
    assert search.hits == [], f"{len(search.hits)} hits"
    canaries = len(SECRETS) + len(PERSONS)
    figure(
        "H13",
        f"{search.searched:,} outputs of {len(jobs)} failing syncs searched for {canaries} canaries in "
        f"{len(ENCODINGS)} encodings, 0 found",
    )

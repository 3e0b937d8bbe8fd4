"""A real MariaDB for the tests: one server per test process, a fresh database per test.

The machine's own binaries (Debian: mariadb-server-core) on a data folder of their own. Nothing of a test's data
is made durable.
"""

from __future__ import annotations

import contextlib
import ctypes
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
PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin", "/usr/bin")


def _binary(*names: str) -> str | None:
    path = os.pathsep.join((os.environ.get("PATH", ""), *PLACES))
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def missing() -> str | None:
    """Why there is no MariaDB on this machine, or None."""
    if _binary("mariadbd") is None or _binary("mariadb-install-db") is None:
        return "mariadbd is not installed (Debian: apt-get install mariadb-server-core mariadb-client-core)"
    return None


def _end_with_parent() -> None:
    """In the server, before it starts: ask Linux to stop it at once when the test process dies."""
    if sys.platform.startswith("linux"):
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(slots=True)
class MariadbServer:
    """A running server. `url(database)` is how anyone reaches it: TCP on loopback, with a password."""

    folder: Path = field(init=False)
    port: int = field(init=False, default=0)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __enter__(self) -> MariadbServer:
        self.folder = Path(tempfile.mkdtemp(prefix="lvmy-"))
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

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        return f"mysql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str) -> None:
        """Run statements as the administrator, each committed by itself."""
        import pymysql

        connection = pymysql.connect(
            unix_socket=str(self.folder / "s"), user="root", password="", autocommit=True, charset="utf8mb4"
        )
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def stop(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait(10)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        account = self._account()
        data = self.folder / "data"
        data.mkdir()
        if account:
            for path in (self.folder, data):
                shutil.chown(path, account["user"])
        install: list[str | Path] = [str(_binary("mariadb-install-db")), "--no-defaults", f"--datadir={data}"]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        subprocess.run(install, check=True, capture_output=True, cwd=self.folder, **account)
        # a port can be taken by another process between finding and using it
        for attempt in range(5):
            self.port = free_port()
            if self._launch(data, account):
                break
            assert attempt < 4, (self.folder / "log").read_text(errors="replace")
        self.execute(
            f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1'",
        )

    def _launch(self, data: Path, account: dict[str, Any]) -> bool:
        command: list[str | Path] = [str(_binary("mariadbd")), "--no-defaults", f"--datadir={data}"]
        command += [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder / 's'}"]
        command += ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--skip-log-bin"]
        command += ["--default-time-zone=-05:00", "--skip-name-resolve", f"--pid-file={self.folder / 'pid'}"]
        with (self.folder / "log").open("wb") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                preexec_fn=_end_with_parent, start_new_session=True, **account,
            )  # fmt: skip
        self._process = process
        import pymysql

        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            try:
                self.execute("SELECT 1")
            except pymysql.Error:
                time.sleep(0.05)
            else:
                return True
        raise AssertionError(f"MariaDB did not start:\n{(self.folder / 'log').read_text(errors='replace')}")

    @staticmethod
    def _account() -> dict[str, Any]:
        """MariaDB does not want to run as root: then it runs as an account that every machine has."""
        if os.geteuid() != 0:
            return {}
        import grp
        import pwd

        entry = pwd.getpwnam(UNPRIVILEGED)
        return {"user": UNPRIVILEGED, "group": grp.getgrgid(entry.pw_gid).gr_name, "extra_groups": []}


@contextlib.contextmanager
def fresh_mariadb(server: MariadbServer) -> Iterator[str]:
    """The URL of a database that exists as long as the block."""
    name = f"t_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    try:
        yield server.url(name)
    finally:
        server.execute(f"DROP DATABASE `{name}`")

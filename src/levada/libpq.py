"""What holds for every connection to PostgreSQL, whichever way the rows go.

The driver is told everything by name, and nothing of whoever runs the process is borrowed: no `PG…` variable, no
`~/.pgpass`, no service file, no certificate below `~/.postgresql`, no Kerberos ticket. The addresses of the host are
looked up once, checked, and given along, so that the driver looks up none.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from levada.database import DatabaseAddress, Parameters

CONNECTION_DEFAULTS = {
    "application_name": "levada",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "4",
    "tcp_user_timeout": "70000",
}
"""Settings of libpq that hold unless the URL says otherwise: a server that is gone is noticed within about a minute."""
PARAMETERS = Parameters(
    schemes=("postgresql", "postgres"),
    port=5432,
    known=frozenset(
        {
            "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name", "channel_binding",
            "target_session_attrs", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
            "tcp_user_timeout",
        }
    ),
    files=frozenset({"sslrootcert", "sslcert", "sslkey"}),
    words=frozenset({"system"}),
)  # fmt: skip
NOWHERE = "/dev/null/none"
"""A file that cannot be there, in place of those that libpq would look for in the user's home."""
_ALONE = {
    "passfile": NOWHERE,
    "sslcert": NOWHERE,
    "sslkey": NOWHERE,
    "sslrootcert": NOWHERE,
    "sslcrl": NOWHERE,
    "sslcertmode": "disable",
    "gssencmode": "disable",
    "require_auth": "!gss,!sspi",
    "options": "",
}
_NOT_AGREED = re.compile(r"certificate|not support ssl|\bssl error", re.IGNORECASE)
_lock = threading.Lock()
_kept: dict[str, str] = {}
_inside = 0


def conninfo(address: DatabaseAddress, addresses: Sequence[str]) -> str:
    """What libpq is told: every part by its name, in quotes. `addresses`: where the host was found, and may be asked.

    TLS is what `sslmode` says; without it the server's certificate is verified, but on loopback.
    """
    told = {**_ALONE, **CONNECTION_DEFAULTS, **{name: value for name, value in address.settings.items() if value}}
    if "sslmode" not in told:
        told["sslmode"] = "prefer" if address.is_loopback else "verify-full"
    if told["sslmode"] == "verify-full" and told["sslrootcert"] == NOWHERE:
        told["sslrootcert"] = "system"
    if told["sslcert"] != NOWHERE:
        told["sslcertmode"] = "allow"
    told |= {
        "host": ",".join([address.host] * len(addresses)),
        "hostaddr": ",".join(addresses),
        "port": str(address.port),
        "user": address.user,
        "password": address.password or "",
        "dbname": address.database,
    }
    return " ".join(f"{name}='{_escaped(value)}'" for name, value in told.items())


def not_agreed(message: str) -> bool:
    """Does a driver's message say that the two ends found no TLS that both take? The server is up then.

    "SSL SYSCALL error" is none of these: the network broke off.
    """
    return _NOT_AGREED.search(message) is not None


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


@contextmanager
def without_environment() -> Iterator[None]:
    """No `PG…` variable of the process is seen inside: libpq reads some that no parameter overrules (PGSERVICE, PGTZ).

    Several threads may be inside at once; the last one out puts the variables back.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _kept.update({name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")})
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                os.environ.update(_kept)
                _kept.clear()

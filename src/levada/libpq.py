"""What holds for every connection to PostgreSQL, whichever way the rows go."""

from __future__ import annotations

CONNECTION_DEFAULTS = {
    "application_name": "levada",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "4",
    "tcp_user_timeout": "70000",
}
"""Settings of libpq that hold unless the URL says otherwise: a server that is gone is noticed within about a minute."""

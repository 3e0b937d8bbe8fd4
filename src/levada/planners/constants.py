"""Constants of a sync's file as SQL, exactly."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from levada.errors import ConfigError
from levada.planners import sql
from levada.template import json_text


def constant(value: Any, subject: str) -> str:
    """A constant as SQL. Raises ConfigError for what no column can hold."""
    match value:
        case None:
            return "CAST(NULL AS VARCHAR)"
        case bool():
            return "true" if value else "false"
        case int():
            wide = "BIGINT" if -(2**63) <= value < 2**63 else "HUGEINT"
            if not -(2**127) < value < 2**127:
                raise ConfigError(
                    f"{subject}: the number has too many digits", code="config.value", hint="write it as text"
                )
            return f"CAST({sql.text(str(value))} AS {wide})"
        case float():
            return f"CAST({sql.text(repr(value))} AS DOUBLE)"
        case Decimal():
            return f"CAST({sql.text(str(value))} AS DECIMAL(38,{max(0, -int(value.as_tuple().exponent))}))"
        case str():
            return sql.text(value)
        case dt.datetime():
            kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMP WITH TIME ZONE"
            return f"CAST({sql.text(value.isoformat())} AS {kind})"
        case dt.date():
            return f"CAST({sql.text(value.isoformat())} AS DATE)"
        case list() | dict() | tuple():
            try:
                shown = json_text(value)
            except (ValueError, TypeError) as error:
                raise ConfigError(f"{subject}: {error}", code="config.value", hint="JSON has no such value") from None
            return f"CAST({sql.text(shown)} AS JSON)"
        case _:
            raise ConfigError(f"{subject}: {type(value).__name__} cannot be a constant", code="config.value")

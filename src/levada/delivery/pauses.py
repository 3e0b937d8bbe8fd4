"""A pause before anything was sent, as the error that it then is."""

from __future__ import annotations

from levada.delivery.account import Paused
from levada.errors import AuthError, DestinationError, FullError, UnavailableError


def as_destination_error(paused: Paused) -> DestinationError:
    """What a pause means before anything was sent."""
    match paused.reason:
        case "auth":
            return AuthError(paused.message, hint="check the credential in the destination's file")
        case "setup":
            return DestinationError(
                paused.message, code="destination.setup", hint="mend the destination's file or function, and run again"
            )
        case "full":
            return FullError(paused.message, hint="make room at the destination, and run again: nothing is lost")
        case "outage":
            hint = "see that the tool is up and has room, and that its file in destinations/ leads to it"
            return UnavailableError(paused.message, hint=hint)
        case _:
            error = DestinationError(paused.message, code=f"destination.{paused.reason}")
            error.exit_code = UnavailableError.exit_code  # time, or a person's stop: nothing has to be mended
            return error

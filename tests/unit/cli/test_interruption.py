"""A command that only looks, told to stop: it ends by its signal, whatever is made of that on the way."""

from __future__ import annotations

import signal

import pytest

from levada.cli.interruption import stopping
from levada.errors import StoppedError

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def nothing() -> None:
    """Stops nothing."""


def looked(number: int, made_of_it: Exception | None) -> int:
    """The exit code of a command that only looks, gets a signal, and goes on to an end of its own."""

    def command() -> None:
        with stopping(nothing, sends=False):
            try:
                signal.raise_signal(number)
            except KeyboardInterrupt:
                if made_of_it is not None:
                    raise made_of_it from None

    with pytest.raises(StoppedError) as caught:
        command()
    return caught.value.exit_code


@SIGNALS
def test_an_error_that_a_library_makes_of_the_interruption_is_the_stop(number: signal.Signals) -> None:
    """It calls back into Python, meets the KeyboardInterrupt there, and raises an error of its own."""
    assert looked(number, RuntimeError("Query interrupted")) == 128 + number


@SIGNALS
def test_an_end_in_spite_of_the_interruption_is_the_stop(number: signal.Signals) -> None:
    """Nothing that was found meanwhile is told."""
    assert looked(number, None) == 128 + number


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    """A bug is told as one."""
    with pytest.raises(RuntimeError), stopping(nothing, sends=False):
        raise RuntimeError

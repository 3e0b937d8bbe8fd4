"""What the tests with real processes share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components import require
from processes.command import Commands, commands
from processes.destination import Destination, destination


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Processes of the command line, counted step by step."""
    require("steps")
    with commands(tmp_path_factory.mktemp("forge")) as found:
        yield found


@pytest.fixture
def server() -> Iterator[Destination]:
    """The HTTP destination."""
    with destination() as found:
        yield found

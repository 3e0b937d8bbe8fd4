"""The shared fixtures of the tests are tested too: others trust them blindly."""

from __future__ import annotations

import psycopg
import pytest

from components import require


def _tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row is not None
    count: int = row[0]
    return count


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_database(postgres_url: str, turn: int) -> None:
    """What one test creates, the next does not see."""
    assert _tables(postgres_url) == 0
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE left_behind (turn int)")
    assert _tables(postgres_url) == 1


def test_a_wrong_password_is_refused(postgres_url: str) -> None:
    """The server checks passwords, so that tests of refused credentials mean something."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_url.replace("s3cret-Pass", "wrong"))


def test_an_unknown_component_is_a_failure_and_not_a_skip() -> None:
    """A typing error in a marker cannot skip a test in silence."""
    with pytest.raises(pytest.fail.Exception, match="no component is called"):
        require("postgress")


def test_a_missing_component_fails_where_all_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI cannot pass by skipping."""
    monkeypatch.setitem(__import__("components").COMPONENTS, "moon", lambda: "too far away")
    monkeypatch.setenv("LEVADA_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="too far away"):
        require("moon")
    monkeypatch.delenv("LEVADA_REQUIRE_ALL")
    with pytest.raises(pytest.skip.Exception, match="too far away"):
        require("moon")

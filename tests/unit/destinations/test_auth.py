"""How accounts sign in."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from levada.destination import Auth, Credential, Request, Response
from levada.destinations.auth import auth_from
from levada.destinations.signing import AuthDeclaration
from levada.errors import AuthError


def auth(**declared: Any) -> Auth:
    found = auth_from(AuthDeclaration.model_validate(declared))
    assert found is not None
    return found


def signed_in(found: Auth, kept: dict[str, str] | None = None, **told: Any) -> tuple[Credential, Request | None]:
    talk = found.sign_in(kept or {})
    try:
        request = next(talk)
        talk.send(Response(told.pop("status", 200), {}, json.dumps(told).encode()))
    except StopIteration as stop:
        return stop.value, locals().get("request")
    raise AssertionError("a second request")


def test_fixed_credentials_ask_for_nothing() -> None:
    """Bearer, header, basic and query are what they say, and each names its secrets."""
    assert signed_in(auth(bearer="t"))[0].headers == {"Authorization": "Bearer t"}
    assert signed_in(auth(header={"X-Api-Key": "k"}))[0].headers == {"X-Api-Key": "k"}
    assert signed_in(auth(query={"api_key": "k"}))[0].query == {"api_key": "k"}
    basic = auth(basic={"username": "u", "password": "p"})
    assert signed_in(basic)[0].headers == {"Authorization": "Basic dTpw"}
    assert basic.secrets() == ("p", "dTpw")
    assert not basic.refreshes
    assert auth_from(None) is None


OAUTH = {"token_url": "https://x.example.com/token", "client_id": "id", "client_secret": "geheim"}


def test_client_credentials_ask_with_a_form() -> None:
    """The request is anonymous, the token's life is kept, nothing of it is shown."""
    found = auth(oauth2={**OAUTH, "scope": "a b", "parameters": {"audience": "api"}})
    credential, request = signed_in(found, access_token="tok", expires_in=3600, token_type="Bearer")
    assert request is not None
    assert request.anonymous
    assert parse_qs((request.body or b"").decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["id"],
        "client_secret": ["geheim"],
        "scope": ["a b"],
        "audience": ["api"],
    }
    assert credential.headers == {"Authorization": "Bearer tok"}
    assert credential.expires_in_seconds == 3600
    assert "tok" not in repr(credential)
    assert "geheim" not in repr(found)
    _, request = signed_in(auth(oauth2={**OAUTH, "client": "basic"}), access_token="tok")
    assert request is not None
    assert request.headers["Authorization"].startswith("Basic ")
    assert b"geheim" not in (request.body or b"")


def test_a_rotated_refresh_token_is_kept_and_used_until_the_file_has_another() -> None:
    """The declared token is the first; the rotated one follows; a newly declared one begins again."""
    first = auth(oauth2={**OAUTH, "refresh_token": "r1"})
    credential, request = signed_in(first, access_token="a", refresh_token="r2")
    assert request is not None
    assert b"refresh_token=r1" in (request.body or b"")
    kept = dict(credential.kept)
    _, request = signed_in(first, kept, access_token="a")
    assert request is not None
    assert b"refresh_token=r2" in (request.body or b"")
    again = auth(oauth2={**OAUTH, "refresh_token": "r9"})
    _, request = signed_in(again, kept, access_token="a")
    assert request is not None
    assert b"refresh_token=r9" in (request.body or b"")


@pytest.mark.parametrize(
    "told",
    [
        {"status": 400, "error": "invalid_grant", "error_description": "geheim is wrong"},
        {"status": 200},
        {"status": 200, "access_token": ""},
        {"status": 200, "access_token": "t", "token_type": "mac"},
        {"status": 401, "error": "geheim 1"},
    ],
)
def test_a_refused_sign_in_is_an_auth_error_without_secrets(told: dict[str, Any]) -> None:
    """Only the standard word of the error is repeated: descriptions may hold what was sent."""
    with pytest.raises(AuthError) as error:
        signed_in(auth(oauth2=OAUTH), **told)
    assert "geheim" not in str(error.value)

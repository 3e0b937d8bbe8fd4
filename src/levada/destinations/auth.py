"""How an account signs its requests: fixed credentials, and OAuth 2.

Keeping what is to be kept (a rotated refresh token), knowing when a token ends and sending are delivery's.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from levada.destination import Auth, Credential, Request, Response, Talk
from levada.destinations.json_places import MISSING, document, look, text_at
from levada.destinations.signing import AuthDeclaration, OAuth2
from levada.errors import AuthError


@dataclass(frozen=True, slots=True)
class StaticAuth:
    """The same credential for every request."""

    credential: Credential
    values: tuple[str, ...] = field(repr=False)
    refreshes: bool = False

    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        yield from ()
        return self.credential

    def secrets(self) -> tuple[str, ...]:
        return self.values


@dataclass(frozen=True, slots=True)
class OAuth2Auth:
    """An access token for a limited time, from client credentials or a refresh token. Source: RFC 6749."""

    options: OAuth2 = field(repr=False)
    also: tuple[str, ...] = field(default=(), repr=False)
    refreshes: bool = True

    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        """Ask for a token. A rotated refresh token goes into `kept`, and is used before the declared one.

        Raises AuthError when no token is given; it never holds a secret.
        """
        answer = yield self._request(kept)
        token = document(answer)
        access = text_at(token, "access_token")
        if not answer.ok or not access:
            raise AuthError(
                f"no access token from {self.options.token_url.partition('?')[0]}: {self._refusal(answer)}",
                hint="check client_id, client_secret and, if one is used, the refresh token",
            )
        if text_at(token, "token_type").lower() not in ("", "bearer"):
            raise AuthError(f"a token of type {text_at(token, 'token_type')[:40]!r} cannot be used")
        rotated = text_at(token, "refresh_token")
        lifetime = look(token, "expires_in")
        seconds = None if lifetime is MISSING or isinstance(lifetime, bool) else _seconds(lifetime)
        return Credential(
            headers={"Authorization": f"Bearer {access}"},
            kept=self._keep(rotated) if rotated and self._grant == "refresh_token" else {},
            expires_in_seconds=seconds,
        )

    def secrets(self) -> tuple[str, ...]:
        return tuple(text for text in (self.options.client_secret, self.options.refresh_token, *self.also) if text)

    @property
    def _grant(self) -> str:
        return self.options.grant or ("refresh_token" if self.options.refresh_token else "client_credentials")

    def _request(self, kept: Mapping[str, str]) -> Request:
        form = {"grant_type": self._grant, **self.options.parameters}
        if self._grant == "refresh_token":
            form["refresh_token"] = self._refresh_token(kept)
        if self.options.scope:
            form["scope"] = self.options.scope
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self.options.client == "basic":
            headers["Authorization"] = basic(
                quote(self.options.client_id, safe=""), quote(self.options.client_secret, safe="")
            )
        else:
            form["client_id"] = self.options.client_id
            if self.options.client_secret:
                form["client_secret"] = self.options.client_secret
        return Request(
            "POST", self.options.token_url, headers=headers, body=urlencode(form).encode(), safe=True, anonymous=True
        )

    def _keep(self, rotated: str) -> dict[str, str]:
        return {"refresh_token": rotated, "declared": self._fingerprint()}

    def _refresh_token(self, kept: Mapping[str, str]) -> str:
        """The rotated one, unless the declared one was replaced since."""
        if kept.get("declared") == self._fingerprint() and kept.get("refresh_token"):
            return kept["refresh_token"]
        return self.options.refresh_token or ""

    def _fingerprint(self) -> str:
        return hashlib.sha256((self.options.refresh_token or "").encode()).hexdigest()[:16]

    @staticmethod
    def _refusal(answer: Response) -> str:
        """The standard error word only: descriptions may repeat what was sent."""
        found = text_at(document(answer), "error")
        known = found if found.replace("_", "").isalpha() and len(found) <= 40 else ""
        return f"answer {answer.status}" + (f", {known}" if known else "")


def _seconds(lifetime: object) -> float | None:
    try:
        return max(0.0, float(str(lifetime)))
    except ValueError:
        return None


def basic(username: str, password: str) -> str:
    """The value of a basic Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def auth_from(declared: AuthDeclaration | None, also: tuple[str, ...] = ()) -> Auth | None:
    """The auth that a file declares. `also`: further secrets of the account, for redaction."""
    match declared:
        case None:
            return StaticAuth(Credential(), also) if also else None
        case AuthDeclaration(bearer=str() as token):
            return StaticAuth(Credential(headers={"Authorization": f"Bearer {token}"}), (token, *also))
        case AuthDeclaration(header=dict() as headers):
            return StaticAuth(Credential(headers=headers), (*headers.values(), *also))
        case AuthDeclaration(query=dict() as query):
            return StaticAuth(Credential(query=query), (*query.values(), *also))
        case AuthDeclaration(basic=given) if given is not None:
            text = basic(given.username, given.password)
            values = (given.password, text.removeprefix("Basic "), *also)
            return StaticAuth(Credential(headers={"Authorization": text}), tuple(filter(None, values)))
        case AuthDeclaration(oauth2=OAuth2() as oauth):
            return OAuth2Auth(oauth, also=also)
    raise AssertionError("auth has exactly one of its forms")

"""The connector language's words for how an account signs its requests.

What the words do is in `auth`; where they may stand is in `language`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from levada.model import Declaration, Takes

BaseAddress = Annotated[
    str,
    Field(pattern=r"^(https?://|\{options\.)\S+$"),
    Takes("a URL that begins with http:// or https://", "for example https://api.example.com/v1"),
]
"""In a connector it may also begin with one of its options."""


class Basic(Declaration):
    username: str = ""
    """The user's name."""
    password: str = Field(default="", repr=False)
    """The password."""


class OAuth2(Declaration):
    token_url: BaseAddress
    """Where tokens are asked for."""
    client_id: str
    """The client's id."""
    client_secret: str = Field(default="", repr=False)
    """The client's secret."""
    scope: str = ""
    """The scopes asked for, separated by spaces."""
    refresh_token: str | None = Field(default=None, repr=False)
    """The first refresh token; a rotated one is kept, encrypted, and used from then on."""
    grant: Literal["client_credentials", "refresh_token"] | None = None
    """How a token is obtained; by default `refresh_token` where there is one, else `client_credentials`."""
    client: Literal["body", "basic"] = "body"
    """Whether the client's id and secret go into the form or into a basic authorization header."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """Further form fields of a token request: `audience`, `resource`."""

    @model_validator(mode="after")
    def _has_token(self) -> OAuth2:
        if self.grant == "refresh_token" and not self.refresh_token:
            raise ValueError("grant refresh_token needs a refresh_token")
        return self


class AuthDeclaration(Declaration):
    """How requests are signed: exactly one of these, or `auth: none`."""

    bearer: str | None = Field(default=None, repr=False)
    """A token, sent as `Authorization: Bearer …`."""
    header: dict[str, str] | None = Field(default=None, repr=False)
    """Headers with their values: `{X-Api-Key: …}`."""
    basic: Basic | None = None
    """A user name and a password."""
    query: dict[str, str] | None = Field(default=None, repr=False)
    """Query parameters; only where the tool knows nothing better, because URLs get logged."""
    oauth2: OAuth2 | None = None
    """OAuth 2: client credentials, or a refresh token."""

    @model_validator(mode="after")
    def _exactly_one(self) -> AuthDeclaration:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("auth has exactly one of bearer, header, basic, query and oauth2, or is none")
        return self

"""`.env` files and the references `${NAME}`, `${NAME:-default}`, `${secret:NAME}` in values of project files.

The process's own environment wins over `.env.NAME`, and that over `.env`. A reference becomes text; the class
that validates the value makes a number or a truth value of it. Which of the values are secrets is decided
here too, so that whoever writes logs can leave them out. Keys are never interpolated, nor is a model's query.

Two walls: Levada's own variables (`LEVADA_…`, the master key among them) cannot be named, and no secret gets into a
file that describes no account, since what such files say lies in plans and ledgers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from levada.declaration.yaml import Document, KeyPath
from levada.errors import ConfigError, Where
from levada.redaction import LONG_MIN, SHORT_MIN

SecretLookup = Callable[[str], str | None]
"""The value of a secret by its name, or None if there is none of that name."""

ENV_CHARACTERS_MAX = 1_000_000
"""The longest `.env` file, in characters."""

OWN_PREFIX = "LEVADA_"
"""Variables of this beginning are Levada's own: no file is meant to name one."""
LITERAL_SECRET_MIN = 16
"""From this length on, a secret that stands in the clear in another file is no word that is there by chance."""

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*\Z")
_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<body>[^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?\Z", re.DOTALL)
_SECRET = re.compile(r"secret:(?P<name>[A-Za-z_][A-Za-z0-9_.\-]*)\Z")
_SECRET_NAME = re.compile(r"pass(word|wd|phrase|code)|token|secret|credential|signature", re.IGNORECASE)
_SECRET_KEY = re.compile(_SECRET_NAME.pattern + r"|key|auth|bearer|private|headers", re.IGNORECASE)
_NO_SECRET_KEY = re.compile(r"(_url|_path|_file|_id|_name|_field|_column)\Z", re.IGNORECASE)
_PIECES = re.compile(r"(?:[/@#?:&=+;,\\\[\]\s]|%[0-9A-Fa-f]{2}|%)+")
_QUERY_PASSWORD = re.compile(r"(?:[?&]|\b)(?:password|passwd|pwd|token|secret|api_?key)=(?P<password>[^&\s]+)", re.I)


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that a project sees, and how its secrets are asked for."""

    variables: Mapping[str, str] = field(repr=False)
    secrets: SecretLookup | None = field(default=None, repr=False)
    name: str | None = None


def read_environment(
    root: Path, name: str | None, process: Mapping[str, str], secrets: SecretLookup | None = None
) -> Environment:
    """The variables of `process`, over those of `.env.NAME`, over those of `.env`.

    Raises ConfigError for a line that is no NAME=value, and for a `name` that has no file.
    """
    variables = _read_env_file(root / ".env")
    if name is not None:
        if not _ENVIRONMENT_NAME.match(name):
            raise ConfigError(
                f"{name!r} is not the name of an environment",
                code="config.environment",
                hint="use letters, digits, _ and -, as in prod",
            )
        path = root / f".env.{name}"
        if not path.is_file():
            raise ConfigError(
                f"there is no file .env.{name} in {root}",
                code="config.environment",
                hint=f"create .env.{name} (it may be empty), or leave out --env {name}",
            )
        variables |= _read_env_file(path)
    return Environment({**variables, **process}, secrets, name)


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from io import StringIO

    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ConfigError(f"cannot be read: {reason}", code="config.unreadable", where=Where(path.name)) from None
    if len(text) > ENV_CHARACTERS_MAX:
        raise ConfigError(
            f"the file has more than {ENV_CHARACTERS_MAX:,} characters",
            code="config.environment",
            where=Where(path.name),
        )
    variables: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            # what stands there may be half of a secret: it is not repeated
            raise ConfigError(
                "this line is not NAME=value",
                code="config.environment",
                where=Where(path.name, binding.original.line, 1),
                hint="quote a value that holds spaces or #; begin a comment with #",
            )
        if binding.key is not None and binding.value is not None:
            variables[binding.key] = binding.value
    return variables


@dataclass(slots=True)
class Interpolation:
    """Replaces the references of one file after another, and gathers the secrets that went through it."""

    environment: Environment
    secrets: set[str] = field(default_factory=set, repr=False)
    #: parts of passwords, for redaction alone
    pieces: set[str] = field(default_factory=set, repr=False)
    #: texts of files that describe no account: where they stand, and what references put into them
    _texts: list[tuple[Where, str, tuple[str, ...]]] = field(default_factory=list, repr=False)
    _asked: dict[str, str | None] = field(default_factory=dict, repr=False)

    def apply(self, document: Document, *, credentials: bool) -> tuple[Any, dict[KeyPath, ConfigError]]:
        """The document's value with every reference replaced, and an error for each that could not be.

        `credentials`: the file describes an account (sources, destinations), so that a value under a key such
        as `token` is a secret, also one that stands there in the clear. Elsewhere `key` is just a key.
        """
        errors: dict[KeyPath, ConfigError] = {}

        def walk(value: Any, path: KeyPath) -> Any:
            match value:
                case str():
                    return self._text(value, path, document, credentials, errors)
                case dict():
                    return {key: walk(item, (*path, key)) for key, item in value.items()}
                case list():
                    return [walk(item, (*path, index)) for index, item in enumerate(value)]
            return value

        return walk(document.value, ()), errors

    def _text(
        self, text: str, path: KeyPath, document: Document, credentials: bool, errors: dict[KeyPath, ConfigError]
    ) -> str:
        keys = [part for part in path if isinstance(part, str)]
        secret = credentials and looks_secret(keys)
        put_in: list[str] = []
        if "${" in text:

            def put(match: re.Match[str]) -> str:
                if match[0] == "$${":
                    return "${"
                try:
                    put_in.append(self._resolve(match, secret, credentials, document.positions.at(*path)))
                except ConfigError as error:
                    errors.setdefault(path, error)
                    return match[0]
                return put_in[-1]

            text = _REFERENCE.sub(put, text)
        if not credentials:
            self._texts.append((document.positions.at(*path), text, tuple(put_in)))
        elif path not in errors:
            passwords = _passwords_within(text)
            self.secrets.update(passwords)
            self.pieces.update(piece for password in passwords for piece in pieces_of(password))
            if secret and _SECRET_NAME.search(keys[-1]):
                self.secrets.add(text)
        return text

    def misplaced(self) -> Iterator[ConfigError]:
        """An error for each secret of the accounts that stands in a file of another kind, by whatever way."""
        long = [each for each in self.secrets if len(each) >= LONG_MIN]
        for where, text, put_in in self._texts:
            # a variable that holds a whole address holds its password
            by_reference = any(
                len(each) >= SHORT_MIN and (each in self.secrets or any(one in each for one in long)) for each in put_in
            )
            if by_reference or any(len(each) >= LITERAL_SECRET_MIN and each in text for each in self.secrets):
                yield _misplaced("this is a secret of a source or a destination", where)

    def _resolve(self, match: re.Match[str], secret: bool, credentials: bool, where: Where) -> str:
        body = match["body"]
        if body is not None and (found := _SECRET.match(body)):
            if not credentials:
                raise _misplaced(f"the secret {found['name']} has no place here", where)
            return self._secret(found["name"], where)
        if body is None or not (found := _VARIABLE.match(body)):
            raise ConfigError(
                f"`{match[0]}` is not a reference",
                code="config.bad_reference",
                where=where,
                hint="write ${NAME}, ${NAME:-default} or ${secret:NAME}; $${ stands for the characters ${",
            )
        name, default = found["name"], found["default"]
        if name.upper().startswith(OWN_PREFIX):
            raise ConfigError(
                f"the variable {name} is Levada's own and cannot be named in a file",
                code="config.own_variable",
                where=where,
                hint="give a variable of the project another name, without LEVADA_",
            )
        if not credentials and _SECRET_NAME.search(name) and not _NO_SECRET_KEY.search(name):
            raise _misplaced(f"the variable {name} has the name of a secret, which has no place here", where)
        value = self.environment.variables.get(name)
        if not value and default is not None:
            return default
        if value is None:
            raise ConfigError(
                f"the environment variable {name} is not set",
                code="config.missing_variable",
                where=where,
                hint="set it in the environment or in .env",
            )
        if value and (secret or _SECRET_NAME.search(name)):
            self.secrets.add(value)
        return value

    def _secret(self, name: str, where: Where) -> str:
        if name not in self._asked:
            self._asked[name] = self.environment.secrets(name) if self.environment.secrets else None
        value = self._asked[name]
        if value is None:
            raise ConfigError(
                f"there is no secret {name}",
                code="config.missing_secret",
                where=where,
                hint=f"store it with `levada secrets set {name}`",
            )
        if value:
            self.secrets.add(value)
        return value


def _misplaced(message: str, where: Where) -> ConfigError:
    return ConfigError(
        message,
        code="config.secret_in_value",
        where=where,
        hint="what models and syncs say lies in plans and ledgers: credentials belong into sources and destinations, "
        "such as `auth:` or a constant header; rename a variable that holds no secret",
    )


def looks_secret(keys: list[str]) -> bool:
    """Do these keys, from the outermost, lead to a credential? `["auth", "bearer"]` do; `["token_url"]` does not."""
    if not keys or _NO_SECRET_KEY.search(keys[-1]):
        return False
    return any(_SECRET_KEY.search(key) for key in keys)


def _passwords_within(text: str) -> set[str]:
    """The passwords in a URL or a connection string, as written and decoded, also one that breaks the URL apart."""
    if "@" not in text and "=" not in text:
        return set()
    found = {match["password"] for match in _QUERY_PASSWORD.finditer(text)}
    scheme, separator, rest = text.partition("://")
    if separator:
        # a path of the web may hold an `@`; of a database's address nothing after the password does
        rest = re.split(r"[/?#]", rest)[0] if scheme.lower() in ("http", "https") else rest
        found.add(rest.rpartition("@")[0].partition(":")[2])
    return {password for raw in found if raw for password in (raw, unquote(raw))}


def pieces_of(password: str) -> set[str]:
    """What a reader of URLs may take for a host, a port or a setting, where a password holds odd characters."""
    return {piece for piece in _PIECES.split(password) if len(piece) >= SHORT_MIN}

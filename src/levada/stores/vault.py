"""Secrets, encrypted at rest: each under a data key of its own, and that one under the master key.

Both layers are AES-256-GCM and bind the store's id and the secret's name, so a ciphertext that is moved to
another name or store does not open. The master key lives outside the state folder: in LEVADA_MASTER_KEY
(base64 of 32 bytes), in the file LEVADA_KEY_FILE, or in `levada/keys/<store id>` below the user's
configuration folder, where it is made when the first secret is stored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from levada.durable import private_folder, write_durably
from levada.errors import StoreError
from levada.stores.checksums import Row, sealed, verified
from levada.stores.database import Database, translated
from levada.stores.highwater import Meta

KEY_BYTES = 32
_NONCE_BYTES = 12
_NEXT = ".next"

KEY_PLACES = "set LEVADA_KEY_FILE to a file that may be written, LEVADA_MASTER_KEY to the key itself, or HOME"


class SqliteVault:
    """Fulfils `levada.store.Vault`."""

    def __init__(self, database: Database, meta: Meta, environment: Mapping[str, str]) -> None:
        self._database = database
        self._meta = meta
        self._environment = environment

    def set(self, name: str, value: str) -> None:
        with self._database.write():
            rows = self._all()
            key = self._master(rows)
            data_key = secrets.token_bytes(KEY_BYTES)
            bound = self._bound(name)
            values = (name, key_id(key), _lock(key, data_key, bound), _lock(data_key, value.encode(), bound))
            self._database.change("facts.secret_write", sealed("secret", values))

    def get(self, name: str) -> str | None:
        with self._database.read():
            row = self._database.row("facts.secret_read", name)
            rows = [row] if row else self._all()
            for found in rows:
                _checked(found)
            if row is None:
                return None
            bound = self._bound(name)
            data_key = self._unlock(self._master([row]), row[2], bound, name)
            return self._unlock(data_key, row[3], bound, name).decode()

    def names(self) -> Sequence[str]:
        with self._database.read():
            return [row[0] for row in self._all()]

    def delete(self, name: str) -> bool:
        with self._database.write():
            return self._database.change("facts.secret_delete", (name,)) == 1

    def rotate(self, new_key: str | None = None) -> str:
        """See `Vault.rotate`.

        With a key file the new key lies beside it before the store's rows change and takes its name after, so
        a crash at any moment leaves a key that opens them (`_master` looks at both).
        """
        key = secrets.token_bytes(KEY_BYTES) if new_key is None else _decoded(new_key, "the new key")
        path = self._key_file()
        if path is None and new_key is None:
            raise StoreError(
                "the master key stands in LEVADA_MASTER_KEY, where it cannot be changed from here",
                code="store.key",
                hint="give the new key, and set LEVADA_MASTER_KEY to it afterwards",
            )
        with self._database.write():
            rows = self._all()
            old = self._master(rows)
            if path is not None:
                with translated(path):
                    write_durably(path.with_name(path.name + _NEXT), base64.b64encode(key) + b"\n")
            for row in rows:
                name = row[0]
                bound = self._bound(name)
                data_key = self._unlock(old, row[2], bound, name)
                values = (name, key_id(key), _lock(key, data_key, bound), row[3])
                self._database.change("facts.secret_write", sealed("secret", values))
        if path is not None:
            with translated(path):
                path.with_name(path.name + _NEXT).replace(path)
        return key_id(key)

    def _all(self) -> list[Row]:
        rows = self._database.rows("facts.secret_all")
        for row in rows:
            _checked(row)
        return rows

    def _bound(self, name: str) -> bytes:
        return f"levada secret 1\0{self._meta.get('store_id')}\0{name}".encode()

    def _master(self, rows: Sequence[Row]) -> bytes:
        """The key under which the rows are wrapped. Made only if there are no rows and no key yet."""
        wanted = rows[0][1] if rows else None
        path = self._key_file()
        if path is None:
            key = _decoded(self._environment["LEVADA_MASTER_KEY"], "LEVADA_MASTER_KEY")
            if wanted not in (None, key_id(key)):
                raise _wrong("LEVADA_MASTER_KEY")
            return key
        with translated(path):
            following = path.with_name(path.name + _NEXT)
            candidates = [(file, _read_key(file)) for file in (path, following) if file.exists()]
            for file, key in candidates:
                if key_id(key) == wanted:
                    if file == following:
                        following.replace(path)
                    return key
            if wanted is not None:
                raise _wrong(str(path)) if candidates else _absent(path)
            if candidates:
                return candidates[0][1]
            _made(path.parent)
            key = secrets.token_bytes(KEY_BYTES)
            write_durably(path, base64.b64encode(key) + b"\n")
            return key

    def _key_file(self) -> Path | None:
        """The file that holds the master key; None if the environment holds it."""
        if self._environment.get("LEVADA_MASTER_KEY"):
            return None
        if named := self._environment.get("LEVADA_KEY_FILE"):
            return Path(named)
        configured = self._environment.get("XDG_CONFIG_HOME")
        home = Path(configured) if configured else Path(self._environment.get("HOME") or _home()) / ".config"
        return home / "levada" / "keys" / self._meta.get("store_id")

    def _unlock(self, key: bytes, sealed_bytes: bytes, bound: bytes, name: str) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(key).decrypt(sealed_bytes[:_NONCE_BYTES], sealed_bytes[_NONCE_BYTES:], bound)
        except InvalidTag as error:
            raise StoreError(
                f"the secret {name!r} does not open: it was encrypted for another name or store, or was altered",
                code="store.key",
                hint="store the secret again",
            ) from error


def _made(folder: Path) -> None:
    try:
        private_folder(folder)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise StoreError(
            f"the folder {folder} for the master key cannot be made: {why}", code="store.key", hint=KEY_PLACES
        ) from error


def _home() -> str:
    """The home of the account that this process runs as, where HOME does not say."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):
        raise StoreError(
            "there is no home folder in which the master key could lie", code="store.key", hint=KEY_PLACES
        ) from None


def key_id(key: bytes) -> str:
    """Tells keys apart without telling the key."""
    return hashlib.sha256(b"levada master key\0" + key).hexdigest()[:16]


def _lock(key: bytes, plain: bytes, bound: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def _checked(row: Row) -> Row:
    return verified("secret", row, what=f"the secret {row[0]!r}")


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"{where} is not a master key",
            code="store.key",
            hint=f"a master key is the base64 of {KEY_BYTES} random bytes: `openssl rand -base64 {KEY_BYTES}`",
        )
    return key


def _read_key(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise StoreError(f"the key file {path} can be read by others", code="store.key", hint=f"`chmod 600 {path}`")
    return _decoded(path.read_text(encoding="ascii", errors="replace"), str(path))


def _wrong(where: str) -> StoreError:
    return StoreError(
        f"{where} holds another key than the one that the secrets were encrypted with",
        code="store.key",
        hint="bring back the old key; or delete the secrets and store them again",
    )


def _absent(path: Path) -> StoreError:
    return StoreError(
        f"the master key {path} is missing",
        code="store.key",
        hint="bring it back, or set LEVADA_MASTER_KEY or LEVADA_KEY_FILE; or delete the secrets and store them again",
    )

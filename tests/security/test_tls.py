"""A server whose certificate proves nothing hears neither a record nor a credential.

Real TLS on loopback. HTTP destinations, PostgreSQL as source and as destination: the same certificates.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

import claims
from levada.addresses import AddressPolicy
from levada.database import read_url
from levada.delivery.wire import HttpWire, Outgoing, Untrusted
from levada.destination import Surroundings
from levada.destinations import destination_type
from levada.destinations.postgres import PostgresEngine
from levada.errors import AccessError, ConfigError, LevadaError
from levada.libpq import NOWHERE, PARAMETERS, conninfo
from levada.sources import source_type
from levada.sources.postgres import PostgresSource
from levada_process import levada, small_project
from servers.certificates import Shop
from servers.postgres import PostgresServer
from servers.tls import Said, context, postgres_behind_tls, tls_server

SECRET = "s3cret-Token"
OLD = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop.open(tmp_path_factory.mktemp("certificates"))


def ways(shop: Shop) -> dict[str, ssl.SSLContext]:
    """Every way to be a server that is not trusted."""
    found = {name: context(shop.files(name, *chain)) for name, chain in shop.wrong().items()}
    found |= {version.name: context(shop.files("right", *shop.right()), version) for version in OLD}
    return found


def send(said: Said, ca_file: Path | None) -> int:
    async def once() -> int:
        authorities = {} if ca_file is None else {"127.0.0.1": ca_file}
        wire = HttpWire(AddressPolicy(private=True), authorities)
        headers = {"Authorization": f"Bearer {SECRET}"}
        try:
            url = f"https://127.0.0.1:{said.port}/people"
            return (await wire.send(Outgoing("POST", url, headers, body=b'{"id": 1}', timeout_seconds=10))).status
        finally:
            await wire.close()

    return asyncio.run(once())


@pytest.mark.claim("S18")
def test_an_http_server_that_is_not_trusted_hears_nothing(shop: Shop, figure: claims.Figure) -> None:
    """Surely not applied, with the reason in words; the same server with a good certificate is spoken to."""
    reasons: dict[str, str] = {}
    for name, terms in ways(shop).items():
        with tls_server(terms) as said, pytest.raises(Untrusted) as caught:
            send(said, shop.ca_file)
        assert (said.connections, bytes(said.heard)) == (1, b""), name
        reasons[name] = str(caught.value)
    words = {
        "self-signed": "self-signed certificate", "wrong host": "not valid for '127.0.0.1'", "expired": "has expired",
        "not yet valid": "not yet valid", "unknown authority": "self-signed certificate in certificate chain",
        "chain incomplete": "unable to get local issuer", "same name, other key": "certificate", "TLSv1": "PROTOCOL",
    }  # fmt: skip
    for name, word in words.items():
        assert word in reasons[name], (name, reasons[name])
    with tls_server(context(shop.files("right", *shop.right()))) as said:
        assert send(said, shop.ca_file) == 200
        assert SECRET.encode() in said.heard
    # without a file of authorities the system's hold, and they do not know this one
    with tls_server(context(shop.files("right", *shop.right()))) as said, pytest.raises(Untrusted):
        send(said, None)
    assert not said.heard
    figure("S18", f"HTTP: {len(reasons) + 1} servers that are not trusted, 0 bytes said to them")


def test_a_server_without_tls_on_the_port_is_not_spoken_to_in_clear() -> None:
    """https at a port that speaks http: nothing but the greeting of TLS was said."""
    with tls_server(None) as said, pytest.raises(Untrusted):
        send(said, None)
    assert said.heard
    assert SECRET.encode() not in said.heard


def test_a_run_stops_at_once_at_a_server_that_is_not_trusted_and_goes_on_with_its_ca_file(
    shop: Shop, tmp_path: Path
) -> None:
    """Exit code, words and the way out; after `network: ca_files:` is written the same run arrives whole."""
    with tls_server(context(shop.files("right", *shop.right()))) as said:
        destination = (
            f"type: http\nbase_url: https://127.0.0.1:{said.port}\nclass: A\nauth: {{bearer: {SECRET}}}\n"
            'objects:\n  contacts:\n    match: id\n    upsert: {send: POST /contacts, body: "{record}"}\n'
        )
        sync = "model: customers\nto: crm.contacts\nfields: {id: id, email: email}\n"
        folder = small_project(tmp_path, 1, {"destination": destination, "sync": sync})
        ended = levada(folder, "run", "--json")
        assert (ended.code, ended.document["status"]) == (2, "failed"), ended.out
        assert "certificate is not trusted" in ended.talk + ended.out
        assert "ca_files" in ended.talk + ended.out
        assert (said.connections, bytes(said.heard)) == (1, b"")
        (folder / "levada.yml").write_text(f"name: acme\nnetwork: {{ca_files: {{127.0.0.1: {shop.ca_file}}}}}\n")
        ended = levada(folder, "run", "--json")
        assert (ended.code, ended.document["status"]) == (0, "succeeded"), ended.talk
        assert SECRET.encode() in said.heard


@pytest.mark.parametrize("content", [None, b"not a certificate"], ids=["missing", "no PEM"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Never the system's authorities instead, in silence."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        send(Said(port=9), file)
    assert caught.value.code == "config.ca_file"
    assert str(file) in caught.value.message


@pytest.mark.claim("S18")
@pytest.mark.needs("postgres")
def test_a_postgres_that_is_not_trusted_hears_nothing(
    shop: Shop, postgres_server: PostgresServer, figure: claims.Figure
) -> None:
    """verify-full, as source and as destination: refused before the first word of the log-in; a good one is used."""
    password = postgres_server.url().partition("//")[2].partition("@")[0]
    trusted = f"?sslmode=verify-full&sslrootcert={shop.ca_file}"

    def connect(port: int, query: str, role: str) -> None:
        url = f"postgresql://{password}@127.0.0.1:{port}/postgres{query}"
        address = read_url(url, PARAMETERS, "source.url")
        if role == "source":
            PostgresSource("shop", address).check()
            return
        PostgresEngine(address).connect().close()

    refused = 0
    right = shop.files("right", *shop.right())
    for name, terms in {**ways(shop), "system's authorities": context(right)}.items():
        with postgres_behind_tls(terms, postgres_server.port) as said:
            query = "?sslmode=verify-full" if name == "system's authorities" else trusted
            for role, expected in (("source", ConfigError), ("destination", AccessError)):
                with pytest.raises(LevadaError) as caught:
                    connect(said.port, query, role)
                assert isinstance(caught.value, expected), (name, role, caught.value)
                refused += 1
        assert (said.connections, bytes(said.heard)) == (2, b""), name
    with postgres_behind_tls(context(right), postgres_server.port) as said:
        for role in ("source", "destination"):
            connect(said.port, trusted, role)
        assert b"SELECT" in said.heard
    # a server that refuses TLS is not spoken to in clear
    for role in ("source", "destination"):
        with pytest.raises(LevadaError):
            connect(postgres_server.port, trusted, role)
    figure("S18", f"PostgreSQL: {refused + 2} log-ins at servers that are not trusted, 0 bytes said to them")


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://u:p@db.example.com/d", "verify-full"),
        ("postgresql://u:p@10.0.0.7/d", "verify-full"),
        ("postgresql://u:p@127.0.0.1.example.com/d", "verify-full"),
        ("postgresql://u:p@db.example.com/d?sslmode=require", "require"),
        ("postgresql://u:p@localhost/d", "prefer"),
        ("postgresql://u:p@127.0.0.1:5433/d", "prefer"),
        ("postgresql://u:p@[::1]/d", "prefer"),
    ],
)
def test_certificates_of_databases_are_verified_unless_the_url_says_otherwise(url: str, mode: str) -> None:
    """A source and a destination have the same default; on loopback none is asked for. No file of the user's home is
    looked for."""
    declared = destination_type("postgres")
    assert declared is not None
    made = declared.open("crm", declared.options.model_validate({"url": url}), Surroundings(Path()))
    kind = source_type("postgres")
    assert kind is not None
    source = kind.open("shop", kind.options.model_validate({"url": url}), Path())
    for address in (source.address, made.engine.address):  # type: ignore[attr-defined,union-attr]
        found = conninfo_to_dict(conninfo(address, ["192.0.2.7"]))
        assert found["sslmode"] == mode
        assert found["sslrootcert"] == ("system" if mode == "verify-full" else NOWHERE)

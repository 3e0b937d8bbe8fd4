"""Addresses of databases: taken apart in one way, or refused without a word of what may be secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from levada.addresses import OWN_MACHINE, AddressPolicy, look_up
from levada.database import DatabaseAddress, DatabaseOptions, Parameters, database_address
from levada.destinations.mysql import PARAMETERS as MYSQL
from levada.errors import ConfigError
from levada.libpq import NOWHERE, PARAMETERS, conninfo


def postgres(text: str) -> DatabaseAddress:
    return address({"url": text}, PARAMETERS)


def address(options: dict[str, Any], kind: Parameters, policy: AddressPolicy = OWN_MACHINE) -> DatabaseAddress:
    given = DatabaseOptions.model_validate(options)
    return database_address(given, kind, code="destination.url", root=Path("/project"), policy=policy)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///shop",
        "postgresql://user@/shop",
        "postgresql://%2Fvar%2Frun/shop",
        "postgresql://u@a,b/shop",
        "postgresql://u@h/",
        "postgresql://u@h",
        "postgresql://u@h/shop?host=/tmp",
        "postgresql://u@h/shop?service=x",
        "postgresql://u@h/shop?passfile=/etc/passwd",
        "postgresql://u@h/shop?options=-c%20x",
        "postgresql://u@h:port/shop",
        "mysql://u@h/shop",
        "file:///etc/passwd",
        "host=/tmp dbname=shop",
        "",
    ],
)
def test_a_url_that_leads_elsewhere_is_refused(url: str) -> None:
    """No sockets, no files of passwords, no several hosts, no settings that nobody looked at."""
    with pytest.raises(ConfigError):
        postgres(url)


def test_the_words_of_a_refusal_hold_no_password() -> None:
    """An error about a URL repeats none of it that is secret."""
    for url in ("postgresql://u:hunter22@/x", "postgresql://u:hunter22@h:99999/x", "nope://u:hunter22@h/x"):
        with pytest.raises(ConfigError) as caught:
            postgres(url)
        assert "hunter22" not in str(caught.value)
    assert "hunter22" not in repr(postgres("postgresql://u:hunter22@h/x"))


LETTERS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=20)


@given(LETTERS, LETTERS, LETTERS.filter(lambda name: "/" not in name))
def test_an_address_means_what_was_written(user: str, password: str, database: str) -> None:
    """Whatever a user, a password and a database are called: the same as options, as a URL, and to the driver."""
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@db.example.com/{quote(database, safe='')}"
    options = {"host": "db.example.com", "user": user, "password": password, "database": database}
    found = postgres(url)
    assert found == address(options, PARAMETERS)
    assert (found.user, found.password, found.database) == (user, password, database)
    told = conninfo_to_dict(conninfo(found, ["192.0.2.7"]))
    assert (told["user"], told["password"], told["dbname"]) == (user, password, database)
    assert (told["host"], told["hostaddr"], told["port"]) == ("db.example.com", "192.0.2.7", "5432")


PIECES = ("Zebra", "Quagga", "Okapi")


@pytest.mark.parametrize("odd", ["/", "@", "#", "?", "%", " ", "\t", "\n", "%2", "@/", "/@", "?@", "://", "\x7f"])
@pytest.mark.parametrize("kind", [PARAMETERS, MYSQL])
def test_an_odd_password_in_a_url_is_not_guessed_at(odd: str, kind: Parameters) -> None:
    """An error that says what to write, and no piece of it, whatever a reader of URLs would take it for."""
    url = f"{kind.schemes[0]}://user:{odd.join(PIECES)}@127.0.0.1:9/shop"
    with pytest.raises(ConfigError) as caught:
        address({"url": url}, kind)
    assert (caught.value.code, caught.value.path) == ("destination.url", ("url",))
    assert "%XX" in str(caught.value.hint)
    assert "`password:`" in str(caught.value.hint)
    assert not [piece for piece in PIECES if piece in f"{caught.value} {caught.value.__cause__!r}"]


@pytest.mark.parametrize("odd", [":", "&", "=", "+", "!", "$", "'", "(", ";", "é", "~", "a:b:c"])
def test_a_password_that_can_be_read_in_one_way_only_is_taken_as_it_is(odd: str) -> None:
    """What no reader of URLs breaks at."""
    assert postgres(f"postgresql://u:a{odd}b@h/shop").password == f"a{odd}b"


@pytest.mark.parametrize("port", ["1/2", "80/x", "5432/x@y"])
def test_a_password_that_looks_like_a_port_is_no_port(port: str) -> None:
    """`u:5432/x@h`: the user is no host that anybody looks up."""
    with pytest.raises(ConfigError, match="cannot be read for certain"):
        postgres(f"postgresql://u:{port}@h/shop")


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "type"),
        ({"url": "postgresql://u@h/d", "password": "x"}, "password"),
        ({"url": "postgresql://u@h/d", "host": "h"}, "host"),
        ({"url": "postgresql://u@h/d", "parameters": {"sslmode": "require"}}, "parameters"),
        ({"user": "u", "database": "d"}, "user"),
        ({"host": "h", "database": "d"}, "host"),
        ({"host": "h", "user": "u"}, "host"),
        ({"host": "/run/postgresql", "user": "u", "database": "d"}, "host"),
        ({"host": "@abstract", "user": "u", "database": "d"}, "host"),
        ({"host": "a,b", "user": "u", "database": "d"}, "host"),
        ({"host": "", "port": 5432}, "port"),
        ({"host": "h", "user": "u", "database": "host=x dbname=y/z"}, "host"),
        ({"host": "h", "user": "u", "database": "d", "parameters": {"passfile": "/x"}}, "parameters"),
        ({"host": "h", "user": "u", "database": "d", "parameters": {"options": "-c x"}}, "parameters"),
        ({"host": "h", "user": "u", "database": "d", "parameters": {"service": "x"}}, "parameters"),
        ({"host": "h", "user": "u", "database": "d", "parameters": {"host": "/tmp"}}, "parameters"),
    ],
)
def test_options_that_are_no_address_say_which(options: dict[str, Any], path: str) -> None:
    """Both forms at once, none, half of one, and what reaches into the machine."""
    with pytest.raises(ConfigError) as caught:
        address(options, PARAMETERS)
    assert (caught.value.code, caught.value.path) == ("destination.url", (path,))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.7", "169.254.169.254", "[::1]", "2130706433"])
def test_hosts_are_admitted_as_requests_are(host: str) -> None:
    """Private addresses only for whoever works on the machine, or by name; a metadata service for nobody."""
    other = AddressPolicy(private=False)
    for kind in (PARAMETERS, MYSQL):
        with pytest.raises(ConfigError) as caught:
            address({"url": f"{kind.schemes[0]}://u@{host}/shop"}, kind, other)
        assert caught.value.code == "config.address_refused"
    allowed = AddressPolicy(private=False, allowed_hosts=(host.strip("[]"),))
    if host != "2130706433":
        address({"url": f"postgresql://u@{host}/shop"}, PARAMETERS, allowed)


def test_a_name_is_looked_up_once_and_every_address_checked() -> None:
    """What a name leads to is known when it is asked for; the connection goes to the addresses that were checked."""
    with pytest.raises(ConfigError) as caught:
        look_up("localhost", 5432, AddressPolicy(private=False))
    assert caught.value.code == "config.address_refused"
    assert set(look_up("localhost", 5432, OWN_MACHINE)) <= {"127.0.0.1", "::1"}
    assert look_up("127.0.0.1", 1, AddressPolicy(private=False, allowed_hosts=("127.0.0.1",))) == ["127.0.0.1"]
    with pytest.raises(OSError, match=r"."):
        look_up("no-such-host.invalid", 1, OWN_MACHINE)


@pytest.mark.parametrize(
    "file", ["/etc/ssl/private/key.pem", "../key.pem", "~/.postgresql/postgresql.key", "/project/../x"]
)
def test_only_who_works_on_the_machine_names_files_of_it(file: str) -> None:
    """Others name files of the project: the server's keys and files are not theirs to use or to ask for."""
    options = {"host": "h", "user": "u", "database": "d", "parameters": {"sslkey": file}}
    assert address(options, PARAMETERS).settings["sslkey"].startswith("/")
    with pytest.raises(ConfigError, match="outside of the project"):
        address(options, PARAMETERS, AddressPolicy(private=False))
    inside = {**options, "parameters": {"sslkey": "certs/key.pem", "sslrootcert": "system"}}
    assert address(inside, PARAMETERS, AddressPolicy(private=False)).settings == {
        "sslkey": "/project/certs/key.pem",
        "sslrootcert": "system",
    }


def test_tls_is_verified_beyond_this_machine() -> None:
    """Without a word in the URL the server's certificate and name are checked; loopback needs no TLS."""

    def told(url: str) -> dict[str, Any]:
        return dict(conninfo_to_dict(conninfo(postgres(url), ["192.0.2.7"])))

    beyond = told("postgresql://u:p@db.example.com/shop")
    assert (beyond["sslmode"], beyond["sslrootcert"]) == ("verify-full", "system")
    assert told("postgresql://u:p@127.0.0.1/shop")["sslmode"] == "prefer"
    chosen = told("postgresql://u:p@db.example.com/shop?sslmode=require")
    assert (chosen["sslmode"], chosen["sslrootcert"]) == ("require", NOWHERE)


def test_a_mysql_url_takes_its_own_settings() -> None:
    """ssl_mode and the files it needs, and nothing that reads files of this machine into a table."""
    assert address({"url": "mysql://u@h/x?ssl_mode=required"}, MYSQL).port == 3306
    for parameter in ("local_infile=1", "unix_socket=/x", "read_default_file=/x", "init_command=x", "sslmode=require"):
        with pytest.raises(ConfigError):
            address({"url": f"mysql://u@h/x?{parameter}"}, MYSQL)

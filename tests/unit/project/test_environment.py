"""Variables, `.env` files, references, and what counts as a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from levada.declaration.yaml import parse
from levada.errors import ConfigError
from levada.project.environment import Environment, Interpolation, looks_secret, read_environment


def _apply(
    text: str, variables: dict[str, str], *, secrets: dict[str, str] | None = None, credentials: bool = True
) -> tuple[Any, list[str], set[str]]:
    interpolation = Interpolation(Environment(variables, (secrets or {}).get))
    value, errors = interpolation.apply(parse(text, "f.yml"), credentials=credentials)
    return value, [str(error) for error in errors.values()], interpolation.secrets


def test_the_process_goes_before_the_named_file_and_that_before_env(tmp_path: Path) -> None:
    """The nearer to the run, the stronger."""
    (tmp_path / ".env").write_text("A=env\nB=env\nC=env\n")
    (tmp_path / ".env.prod").write_text("B=prod\nC=prod\n")
    found = read_environment(tmp_path, "prod", {"C": "process"}).variables
    assert found == {"A": "env", "B": "prod", "C": "process"}
    assert read_environment(tmp_path, None, {}).variables == {"A": "env", "B": "env", "C": "env"}


def test_an_env_file_is_read_as_shells_and_compose_do_without_expanding(tmp_path: Path) -> None:
    """Quotes, comments and `export` are understood; a dollar sign in a password stays."""
    (tmp_path / ".env").write_text("# c\nexport A='x # y'\nB=\"two\\nlines\"\nC=pa$$word${X} # note\nD=\n")
    found = read_environment(tmp_path, None, {}).variables
    assert found == {"A": "x # y", "B": "two\nlines", "C": "pa$$word${X}", "D": ""}


def test_a_line_that_is_no_assignment_is_an_error_that_does_not_repeat_it(tmp_path: Path) -> None:
    """Half a secret does not reach the terminal."""
    (tmp_path / ".env").write_text("A=1\nhunter2 is it\n")
    with pytest.raises(ConfigError) as caught:
        read_environment(tmp_path, None, {})
    assert str(caught.value.where) == ".env:2:1"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["staging", "../x", "", "a/b"])
def test_an_environment_without_a_file_is_an_error(tmp_path: Path, name: str) -> None:
    """A typing error in `--env` does not run against the wrong accounts."""
    with pytest.raises(ConfigError) as caught:
        read_environment(tmp_path, name, {})
    assert caught.value.code == "config.environment"


def test_references_are_replaced_in_values_and_not_in_keys() -> None:
    """Anywhere in a text, several in one, and deep in lists and mappings."""
    text = 'url: "h-${A}.${B:-b}/x"\nlist: ["${A}", {deep: "${EMPTY:-d}"}]\n"${A}": $${A} costs $5\nn: 5\n'
    value, errors, _ = _apply(text, {"A": "1", "EMPTY": ""})
    assert errors == []
    assert value == {"url": "h-1.b/x", "list": ["1", {"deep": "d"}], "${A}": "${A} costs $5", "n": 5}


def test_a_value_is_not_read_again_for_references() -> None:
    """What a variable holds is data."""
    assert _apply("a: ${A}", {"A": "${B}", "B": "x"})[0] == {"a": "${B}"}


_FORMS = "hint: write ${NAME}, ${NAME:-default} or ${secret:NAME}; $${ stands for the characters ${"
_MISSING = "the environment variable NOPE is not set\nhint: set it in the environment or in .env"
_UNKNOWN = "there is no secret NOPE\nhint: store it with `levada secrets set NOPE`"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n  b: x${NOPE}", f"f.yml:2:6: {_MISSING}"),
        ("a: ${secret:NOPE}", f"f.yml:1:4: {_UNKNOWN}"),
        ("a: ${A-B}", f"f.yml:1:4: `${{A-B}}` is not a reference\n{_FORMS}"),
        ("a: ${", f"f.yml:1:4: `${{` is not a reference\n{_FORMS}"),
    ],
)
def test_a_reference_that_leads_nowhere_is_an_error_at_its_value(text: str, message: str) -> None:
    """It names the variable and says what to do."""
    assert _apply(text, {})[1] == [message]


def test_secrets_are_asked_for_once_and_only_when_referred_to() -> None:
    """The store is not opened for a project that needs none."""
    asked: list[str] = []

    def ask(name: str) -> str:
        asked.append(name)
        return "s3cret"

    interpolation = Interpolation(Environment({}, ask))
    interpolation.apply(parse("a: 1", "f.yml"), credentials=True)
    assert asked == []
    value, _ = interpolation.apply(parse('a: "${secret:T}"\nb: "x${secret:T}"', "f.yml"), credentials=True)
    assert (value, asked) == ({"a": "s3cret", "b": "xs3cret"}, ["T"])
    assert interpolation.secrets == {"s3cret"}


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("password: ${V}", {"value-v"}),
        ("api_key: ${V}", {"value-v"}),
        ("auth: {header: {name: X-Api, value: '${V}'}}", {"value-v"}),
        ("headers: {X-Anything: 'Bearer ${V}'}", {"value-v"}),
        ("region: ${V}", set()),
        ("region: ${MY_TOKEN}", {"value-t"}),
        ("url: ${URL}", {"p%40ss", "p@ss"}),
        ("url: postgres://u:${V}@h/db", {"value-v"}),
        ("url: https://h/hook?token=abc-def&x=1", {"abc-def"}),
        ("dsn: host=h password=abc-def dbname=x", {"abc-def"}),
        ("token: plain-in-file", {"plain-in-file"}),
        ("token_url: ${V}", set()),
        ("description: ${V}", set()),
    ],
)
def test_secrets_are_recognised_by_key_by_name_and_in_urls(text: str, secrets: set[str]) -> None:
    """Redaction can only leave out what it knows."""
    variables = {"V": "value-v", "MY_TOKEN": "value-t", "URL": "postgres://u:p%40ss@h/db"}
    assert _apply(text, variables)[2] == secrets


def test_the_key_of_a_model_is_no_secret() -> None:
    """`key: ${KEY}` of a model would otherwise black out a column's name everywhere."""
    assert _apply("key: ${KEY_COLUMN}", {"KEY_COLUMN": "customer_id"}, credentials=False)[2] == set()


def test_an_environment_shows_nothing_of_its_values() -> None:
    """It may end up in a log by accident."""
    assert "s3cret" not in repr(Environment({"A": "s3cret"}))
    assert looks_secret(["auth", "bearer"])
    assert not looks_secret(["auth", "token_url"])


@pytest.mark.parametrize("credentials", [True, False])
@pytest.mark.parametrize(
    "reference", ["LEVADA_MASTER_KEY", "LEVADA_KEY_FILE:-x", "levada_master_key", "LEVADA_ANYTHING", "LEVADA_"]
)
def test_levadas_own_variables_cannot_be_named(reference: str, credentials: bool) -> None:
    """Whoever writes a file would otherwise send the master key to a server of their own."""
    name = reference.partition(":")[0]
    value, errors, _ = _apply(f"a: x${{{reference}}}", {name: "the-key"}, credentials=credentials)
    assert "the-key" not in str(value)
    assert [error.partition("\n")[0] for error in errors] == [
        f"f.yml:1:4: the variable {name} is Levada's own and cannot be named in a file"
    ]


@pytest.mark.parametrize(
    "reference",
    ["${secret:OTHER}", "a ${secret:OTHER} b", "${CRM_TOKEN}", "${DB_PASSWORD:-x}", "${AWS_SECRET_ACCESS_KEY}"],
)
def test_a_secret_has_no_place_where_no_account_is_described(reference: str) -> None:
    """What syncs and models say lies in plans and ledgers, which are not encrypted."""
    variables = {"CRM_TOKEN": "v-1234", "DB_PASSWORD": "v-1234", "AWS_SECRET_ACCESS_KEY": "v-1234"}
    value, errors, _ = _apply(f"x: {{value: '{reference}'}}", variables, secrets={"OTHER": "v-1234"}, credentials=False)
    assert "v-1234" not in str(value)
    assert len(errors) == 1
    assert "no place here" in errors[0]
    fine, errors, _ = _apply(f"x: {{value: '{reference}'}}", variables, secrets={"OTHER": "v-1234"})
    assert (errors, "v-1234" in str(fine)) == ([], True)


@pytest.mark.parametrize(
    ("sync", "misplaced"),
    [
        ("a: ${V}", True),
        ("a: 'x ${V} y'", True),
        ("a: [{value: x-a-long-credential-1}]", True),
        ("a: ${OTHER}", False),
        ("a: 'the token'", False),
        ("a: ${SHORT}", False),
        ("a: ${ADDRESS}", True),
        ("a: [{sql: \"'x ${ADDRESS}'\"}]", True),
        ("a: ${HOST}", False),
    ],
)
def test_a_secret_of_an_account_stands_in_no_other_file(sync: str, misplaced: bool) -> None:
    """Whatever its variable is called, and also where it was copied."""
    variables = {"V": "x-a-long-credential-1", "OTHER": "x", "SHORT": "to"}
    variables |= {"ADDRESS": "postgresql://ada:s3cret-Pass@db.acme.dev/shop", "HOST": "db.acme.dev"}
    interpolation = Interpolation(Environment(variables, None))
    interpolation.apply(parse(sync, "sync.yml"), credentials=False)
    interpolation.apply(parse("password: ${V}\ntoken: ${SHORT}\nurl: ${ADDRESS}", "source.yml"), credentials=True)
    assert [error.code for error in interpolation.misplaced()] == ["config.secret_in_value"] * misplaced


def test_the_pieces_of_a_password_in_a_url_are_known() -> None:
    """However a reader of URLs breaks it, redaction finds what it says."""
    interpolation = Interpolation(Environment({"V": "Kx7/Zebra@Quagga#Okapi?Tapir:Numbat%Dingo&a"}, None))
    interpolation.apply(parse("url: postgres://u:${V}@h/db", "f.yml"), credentials=True)
    assert interpolation.pieces == {"Zebra", "Quagga", "Okapi", "Tapir", "Numbat", "Dingo"}
    assert "Kx7/Zebra@Quagga#Okapi?Tapir:Numbat%Dingo&a" in interpolation.secrets

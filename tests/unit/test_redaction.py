"""Secrets are masked in every form in which they are quoted, and nothing else is."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from levada.redaction import DEPTH_MAX, MASK, Redactor, without_echo

FORMS: dict[str, Callable[[str], str]] = {
    "raw": lambda secret: secret,
    "quote": lambda secret: quote(secret, safe=""),
    "quote with slashes": quote,
    "quote in lower case": lambda secret: _lower_escapes(quote(secret, safe="")),
    "quote_plus": quote_plus,
    "form": lambda secret: urlencode({"password": secret, "n": 1}),
    "json": lambda secret: json.dumps({"k": secret}),
    "json as utf-8": lambda secret: json.dumps({"k": secret}, ensure_ascii=False),
    "json in json": lambda secret: json.dumps({"k": json.dumps([secret])}),
    "json with escaped slashes": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "repr": lambda secret: repr({"k": secret}),
    "html": html.escape,
    "hex": lambda secret: secret.encode().hex(),
    "upper hex": lambda secret: secret.encode().hex().upper(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "url-safe base64": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "basic auth": lambda secret: "Basic " + base64.b64encode(f"user:{secret}".encode()).decode(),
    "basic auth, other user": lambda secret: "Basic " + base64.b64encode(f"user1:{secret}".encode()).decode(),
    "basic auth, third user": lambda secret: "Basic " + base64.b64encode(f"user12:{secret}".encode()).decode(),
    "url-safe pair": lambda secret: base64.urlsafe_b64encode(f"key:{secret}:rest".encode()).decode(),
}


def _lower_escapes(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


SECRETS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x2FFF, exclude_categories=["Cs", "Zs", "Cc"]),
    min_size=8,
    max_size=60,
)
#: surroundings that cannot run together with what is masked: separators that no form uses inside
AROUND = st.text(st.sampled_from("\n\t ,;|<>()[]{}xyz."), max_size=20)


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(secret=SECRETS, before=AROUND, after=AROUND)
def test_a_long_secret_is_masked_in_every_form_and_surrounding(form: str, secret: str, before: str, after: str) -> None:
    """No form of the secret is left, whatever stands around it, and the mask says so."""
    written = FORMS[form](secret)
    cleaned = Redactor([secret]).clean(f"{before} {written} {after}")
    assert MASK in cleaned
    assert secret not in cleaned.replace(MASK, "\0")
    bare = (
        base64.b64encode(secret.encode()).decode()[4:-4],
        base64.urlsafe_b64encode(secret.encode()).decode()[4:-4],
        quote(secret, safe=""),
    )
    for rest in bare:
        assert len(rest) < 8 or rest not in cleaned


@given(st.text(max_size=300))
def test_text_without_a_secret_is_left_as_it_is(text: str) -> None:
    """Masking hides nothing else."""
    assume("//" not in text and "authorization" not in text.lower())
    assert Redactor(["S3cr3t-Tøken-42", "p4ss"]).clean(text) == text


def test_a_plain_sentence_is_not_touched() -> None:
    """The rules for headers and URLs do not catch prose."""
    text = "the authorization of user:name at https://example.com/a@b took 3 s; see //comment: x"
    assert Redactor(["tok_0123456789"]).clean(text) == text


def test_a_short_secret_is_masked_as_a_whole_word_only() -> None:
    """From 4 to 7 characters; inside a longer word it is left, or prose would become unreadable."""
    redactor = Redactor(["pass"])
    assert redactor.clean("pass, 'pass' and k=pass&u=%3Apass") == "***, '***' and k=***&u=%3A***"
    assert redactor.clean("passenger bypass pass_word") == "passenger bypass pass_word"


def test_a_secret_of_three_characters_is_ignored() -> None:
    """It would mask half of every text."""
    assert Redactor(["abc"]).clean("abc") == "abc"


def test_credentials_in_headers_and_urls_are_masked_though_unknown() -> None:
    """A token that nobody declared as a secret, in the places where tokens stand."""
    cleaned = Redactor().clean(
        "Authorization: Bearer abc.def-123, then {'Authorization': 'Basic dXNlcjpwYXNz'} and postgresql://me:s3c@h/db"
    )
    assert cleaned == ("Authorization: Bearer ***, then {'Authorization': 'Basic ***'} and postgresql://me:***@h/db")


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    """A private key is often quoted one line at a time."""
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END KEY-----\n"
    cleaned = Redactor([key]).clean("line 2: MIIEvQIBADANBgkqhkiG9w0BAQEFAASC!\n" + key)
    assert "MIIEvQ" not in cleaned
    assert "BKcwgg" not in cleaned


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    """One secret may be the beginning of another."""
    assert Redactor(["secret-token", "secret-token-long"]).clean("secret-token-long!") == "***!"


def test_values_are_cleaned_at_every_depth() -> None:
    """Keys, numbers and bytes too; what is nested too deep is masked whole."""
    redactor = Redactor(["s3cr3t-token", "1234567890"])
    value = {"a": ["x s3cr3t-token", {"s3cr3t-token": (b"s3cr3t-token", 1234567890, 5, None, True, 1.5)}]}
    assert redactor.clean_value(value) == {"a": ["x ***", {"***": (b"***", "***", 5, None, True, 1.5)}]}
    deep: object = "s3cr3t-token"
    for _ in range(DEPTH_MAX * 2):
        deep = [deep]
    assert "s3cr3t" not in repr(redactor.clean_value(deep))


def test_a_secret_learned_later_is_masked_from_then_on() -> None:
    """A token refreshed in the middle of a run."""
    redactor = Redactor(["first-token"])
    assert redactor.clean("second-token") == "second-token"
    redactor.add("second-token")
    assert redactor.clean("first-token second-token") == "*** ***"


def test_a_redactor_does_not_show_its_secrets() -> None:
    """It may end up in a traceback."""
    assert "token" not in repr(Redactor(["token-12345"]))


def test_many_secrets_and_a_long_text_are_quick() -> None:
    """The pattern decides by one character at a time: 2 MB with 60 secrets at once, and the right ones masked."""
    secrets = [f"tok_{number:04d}_{'abcdefgh'[number % 8] * 12}" for number in range(60)]
    filler = "lorem ipsum tok_ dolor " * 100_000
    cleaned = Redactor(secrets).clean(filler + secrets[17] + filler)
    assert cleaned == filler + MASK + filler


@pytest.mark.parametrize("form", ["raw", "quote", "json in json", "repr", "hex"])
def test_a_secret_that_was_cut_is_masked_at_the_end(form: str) -> None:
    """Whoever shortens words before they are cleaned leaves a beginning; six characters and more of it are masked."""
    secret = 'S3cr3t/+Tok"en-0123456789'
    written = FORMS[form](secret)
    start = next(at for at in range(len(written)) if FORMS["raw"](written[at]) not in "{\"[\\k': ")
    for size in range(start + 6, len(written) - 4):
        for end in ("", "…"):
            cleaned = Redactor([secret]).clean(f"refused: {written[:size]}{end}")
            assert "S3cr3t" not in cleaned
            assert written[start : start + 6] not in cleaned


def test_words_repeat_nothing_that_the_request_carried() -> None:
    """Values of rows become an ellipsis, whole or word by word; names of fields and other words stay."""
    body = '{"inputs": [{"email": "Ann.Lee@x.org", "name": "Li Wu", "note": "of course"}]}'
    said = '{"message": "the email ann.lee@x.org of Li Wu is not valid", "path": "/c/Ann.Lee%40x.org"}'
    assert without_echo(said, body, "/c") == '{"message": "the email … of … is not valid", "path": "/c/…"}'
    assert without_echo("unknown scope", "", "/c") == "unknown scope"

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

from levada.legible import legible
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
    "hex with colons": lambda secret: secret.encode().hex(":"),
    "upper hex with dashes": lambda secret: secret.encode().hex("-").upper(),
    "base32": lambda secret: base64.b32encode(secret.encode()).decode(),
    "base32 in lower case": lambda secret: base64.b32encode(secret.encode()).decode().lower(),
    "base32 of a pair": lambda secret: base64.b32encode(f"user:{secret}:rest".encode()).decode(),
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
        base64.b32encode(secret.encode()).decode()[8:-8],
        secret.encode().hex(":"),
    )
    for rest in bare:
        assert len(rest) < 8 or rest not in cleaned


@given(st.text(max_size=300))
def test_text_without_a_secret_is_left_as_it_is(text: str) -> None:
    """Masking hides nothing else, and what a terminal obeys is shown."""
    assume("//" not in text and "authorization" not in text.lower())
    assert Redactor(["S3cr3t-Tøken-42", "p4ss"]).clean(text) == legible(text, "\n\t")


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


@pytest.mark.parametrize("rest", ["****", "********cdef", "…", "•••• and so on"])
@pytest.mark.parametrize("write", [str, str.upper, lambda text: quote(text, safe=""), lambda text: f"'{text}"])
def test_the_beginning_of_a_secret_before_asterisks_is_masked(write: Callable[[str], str], rest: str) -> None:
    """As tools show a key that they refuse, amid their words; what is shorter tells nothing."""
    redactor = Redactor(["sk/live-0123456789abcdef"])
    written = write("sk/live-0123")
    cleaned = redactor.clean(f"wrong key {written}{rest}: see the manual")
    assert "live" not in cleaned.lower()
    assert "0123" not in cleaned
    assert cleaned.startswith("wrong key ")
    assert cleaned.endswith(f"{MASK}{rest}: see the manual")
    assert redactor.clean(f"wrong key sk/l{rest}!") == f"wrong key sk/l{rest}!"


@pytest.mark.parametrize(
    "text",
    [
        "the live ones****", "sk/livery is closed…", "Bearer *** is refused", "2 **** hotels", "C:\\101\\163",
        "12:34:56:78:9a:bc", "MFRGGZDFMZTWQ2LK", "a\\U0001F511b", "correct… horse… battery****", "…", "****",
    ],
)  # fmt: skip
def test_nothing_else_before_asterisks_or_in_such_writings_is_masked(text: str) -> None:
    """Neither words that begin as a secret does and go on otherwise, nor digits that could be a writing."""
    assert Redactor(["sk/live-0123456789abcdef", "bearer-of-good-news"]).clean(text) == text


def test_words_repeat_nothing_that_the_request_carried() -> None:
    """Values of rows become an ellipsis, whole or word by word; names of fields and other words stay."""
    body = '{"inputs": [{"email": "Ann.Lee@x.org", "name": "Li Wu", "note": "of course"}]}'
    said = '{"message": "the email ann.lee@x.org of Li Wu is not valid", "path": "/c/Ann.Lee%40x.org"}'
    assert without_echo(said, body, "/c") == '{"message": "the email … of … is not valid", "path": "/c/…"}'
    assert without_echo("unknown scope", "", "/c") == "unknown scope"


def _every_character(write: Callable[[int], str]) -> Callable[[str], str]:
    return lambda secret: "".join(write(ord(letter)) for letter in secret)


def _every_byte(write: Callable[[int], str]) -> Callable[[str], str]:
    return lambda secret: "".join(write(byte) for byte in secret.encode())


REWRITTEN: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "lower case": str.lower,
    "swapped case": str.swapcase,
    "every character in percent": _every_byte(lambda byte: f"%{byte:02x}"),
    "percent twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "decimal entities": _every_character(lambda code: f"&#{code};"),
    "hex entities": _every_character(lambda code: f"&#x{code:X};"),
    "named entities": lambda secret: secret.replace("&", "&amp;").replace("<", "&lt;").replace("/", "&sol;"),
    "unicode escapes": _every_character(lambda code: f"\\u{code:04x}"),
    "unicode escapes in JSON in JSON": _every_character(lambda code: f"\\\\u{code:04X}"),
    "braced escapes": _every_character(lambda code: f"\\u{{{code:x}}}"),
    "long unicode escapes": _every_character(lambda code: f"\\U{code:08X}"),
    "octal bytes": _every_byte(lambda byte: f"\\{byte:03o}"),
    "octal bytes in JSON": _every_byte(lambda byte: f"\\\\{byte:03o}"),
    "hex with spaces": lambda secret: secret.encode().hex(" "),
    "base32 over lines": lambda secret: "\n".join(
        base64.b32encode(secret.encode()).decode()[at : at + 8] for at in range(0, len(secret) * 2, 8)
    ),
    "bytes of C": _every_byte(lambda byte: f"\\x{byte:02x}"),
    "entities in percent": lambda secret: quote(_every_character(lambda code: f"&#{code};")(secret), safe=""),
    "a space after each": lambda secret: " ".join(secret),
    "broken over lines": lambda secret: "\r\n".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
    "a zero width space": lambda secret: secret[:5] + "\u200b" + secret[5:],
    "an escape of the terminal": lambda secret: secret[:5] + "\x1b" + secret[5:],
    "base64 over lines": lambda secret: "\n".join(
        base64.b64encode(secret.encode()).decode()[at : at + 8] for at in range(0, len(secret) * 2, 8)
    ),
    "base64 in percent": lambda secret: quote(base64.b64encode(secret.encode()).decode(), safe=""),
    "upper case, in percent, cut": lambda secret: quote(secret.upper(), safe="")[:-3],
}


@pytest.mark.parametrize("writing", REWRITTEN)
@pytest.mark.parametrize("secret", ["Zk9+/tok~en?'q\"Lw%Canary=7", "correcthorsebattery", "p@ss/w#rd?x%y:z&<q>"])
def test_a_secret_in_another_writing_is_masked_whole(writing: str, secret: str) -> None:
    """What tools make of a text that they repeat; nothing around it is lost."""
    written = REWRITTEN[writing](secret)
    cleaned = Redactor([secret]).clean(
        f"answer: [{written}] and so on" if "cut" not in writing else f"answer: [{written}"
    )
    rest = cleaned.replace(MASK, "")
    assert rest.removesuffix("] and so on").replace("%3D", "").strip("=\n%") in ("answer: [", "answer: [ ")
    assert MASK in cleaned


@pytest.mark.parametrize(
    "text", ["the user is not found", "10 % of 20%", "a & b &amp; c &#x41;", "C:\\x\\u0041", "no\nlines\tlost"]
)
def test_what_holds_no_secret_stays_letter_by_letter(text: str) -> None:
    """Layers are taken off to look beneath them, not in what is shown."""
    assert Redactor(["correcthorsebattery"]).clean(text) == text


@given(text=st.text(max_size=200))
@settings(deadline=None)
def test_cleaned_words_obey_nobody(text: str) -> None:
    """No character that a terminal obeys is left, with secrets or without."""
    for redactor in (Redactor(), Redactor(["correcthorsebattery"])):
        cleaned = redactor.clean(text)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", cleaned)

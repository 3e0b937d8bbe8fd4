"""The demo's tools behave as real ones: they judge each record, throttle, break, and remember."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from levada.demo.crm import judge
from levada.demo.faults import Faults, RateLimit
from levada.demo.services import services_running

KEY = b"0123456789abcdef01234567"
SECRETS = {
    "CRM_TOKEN": "crm-token",
    "ADS_TOKEN": "ads-token",
    "INBOX_SECRET": "whsec_" + base64.b64encode(KEY).decode(),
}


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[dict[str, int]]:
    with services_running(tmp_path / "state", tmp_path / "ports.json", SECRETS) as found:
        yield found


def call(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- loopback
            return answer.status, json.loads(answer.read()), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), dict(error.headers)


def crm(ports: dict[str, int], method: str, path: str, body: Any = None) -> tuple[int, Any, dict[str, str]]:
    return call(ports["crm"], method, path, body, Authorization="Bearer crm-token")


def test_the_crm_takes_what_is_right_and_names_what_is_not(ports: dict[str, int]) -> None:
    """One bad record does not spoil its batch: 207, with the index, the address and the reason."""
    status, answer, _ = crm(
        ports,
        "POST",
        "/contacts/batch",
        {"contacts": [{"email": "ada@example.com", "lifetime_value": 12.50}, {"email": "nonsense"}]},
    )
    assert status == 207
    assert [(result["index"], result["email"]) for result in answer["results"]] == [(0, "ada@example.com")]
    assert [(error["index"], error["code"]) for error in answer["errors"]] == [(1, "invalid_email")]


def test_the_crm_changes_only_the_fields_that_are_sent(ports: dict[str, int]) -> None:
    """A second upsert of the same address keeps the contact's id and its other fields."""
    crm(
        ports, "POST", "/contacts/batch", {"contacts": [{"email": "ada@example.com", "first_name": "Ada", "orders": 1}]}
    )
    first = crm(ports, "GET", "/contacts?email=ada@example.com")[1]
    crm(ports, "POST", "/contacts/batch", {"contacts": [{"email": "ada@example.com", "orders": 2}]})
    assert crm(ports, "GET", "/contacts?email=ada@example.com")[1] == {**first, "orders": 2}


def test_the_crm_deletes_and_does_not_mind_what_is_gone(ports: dict[str, int]) -> None:
    """Deleting twice is no error, so that it can be repeated after a lost answer."""
    crm(ports, "POST", "/contacts/batch", {"contacts": [{"email": "ada@example.com"}]})
    gone = {"contacts": [{"email": "ada@example.com"}]}
    assert crm(ports, "POST", "/contacts/batch/delete", gone)[:2] == (200, {"deleted": 1})
    assert crm(ports, "POST", "/contacts/batch/delete", gone)[:2] == (200, {"deleted": 0})
    assert crm(ports, "GET", "/contacts?email=ada@example.com")[0] == 404


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"email": "ADA@example.com"}, "invalid_email"),
        ({"email": " ada@example.com"}, "invalid_email"),
        ({"email": "ada@example.com", "lifetime_value": "-0.01"}, "negative_value"),
        ({"email": "ada@example.com", "lifetime_value": "NaN"}, "negative_value"),
        ({"email": "ada@example.com", "lifetime_value": "many"}, "invalid_value"),
        ({"email": "ada@example.com", "segment": "golden"}, "invalid_value"),
        ({"email": "ada@example.com", "phone": "07700 900123"}, "invalid_phone"),
        ({"email": "ada@example.com", "shoe_size": 42}, "unknown_field"),
        ("ada@example.com", "not_an_object"),
    ],
)
def test_the_crm_refuses_a_record_for_a_reason(record: Any, code: str) -> None:
    """Every rule of the CRM has a code of its own."""
    problem = judge(record)
    assert problem is not None
    assert problem[0] == code


def test_the_crm_wants_its_token_and_small_batches(ports: dict[str, int]) -> None:
    """401 without the token; 400 for more than a hundred records, none of which is taken."""
    assert call(ports["crm"], "GET", "/contacts")[0] == 401
    many = {"contacts": [{"email": f"a{number}@example.com"} for number in range(101)]}
    assert crm(ports, "POST", "/contacts/batch", many)[0] == 400
    assert crm(ports, "GET", "/stats")[1]["contacts"] == 0


def test_the_crm_throttles_more_than_ten_requests_a_second(ports: dict[str, int]) -> None:
    """The eleventh request of a second gets 429 and is told when to come back."""
    answers = [crm(ports, "POST", "/contacts/batch", {"contacts": [{"email": "a@example.com"}]}) for _ in range(12)]
    throttled = [headers for status, _, headers in answers if status == 429]
    assert throttled
    assert throttled[0]["Retry-After"] == "1"


def test_the_rate_limit_holds_in_every_window() -> None:
    """No second holds more than ten admissions, wherever it begins."""
    limit = RateLimit(10)
    admitted = [moment / 128 for moment in range(640) if limit.admit(moment / 128) == 0]
    assert admitted
    assert all(sum(1 for other in admitted if start <= other < start + 1) <= 10 for start in admitted)


def test_faults_come_in_turn() -> None:
    """The 37th request breaks after it was applied, the 74th before, the 29th is asked to come back."""
    faults = Faults()
    found = {number: fault for number in range(1, 75) if (fault := faults.next()) != "none"}
    assert found == {29: "busy", 37: "fails_afterwards", 58: "busy", 74: "fails"}


def test_the_ad_audience_takes_hashes_only(ports: dict[str, int]) -> None:
    """Clear text is refused by index; hashes are added once and removed again."""
    digest = hashlib.sha256(b"ada@example.com").hexdigest()

    def ads(method: str, path: str, body: Any = None) -> Any:
        return call(ports["ads"], method, path, body, Authorization="Bearer ads-token")[1]

    answer = ads("POST", "/audiences/lapsed/users", {"users": [digest, "ada@example.com", digest]})
    assert (answer["num_received"], answer["num_invalid"]) == (3, 1)
    assert [entry["index"] for entry in answer["invalid"]] == [1]
    assert ads("GET", "/audiences/lapsed")["members"] == 1
    ads("DELETE", "/audiences/lapsed/users", {"users": [digest]})
    assert ads("GET", "/audiences/lapsed")["members"] == 0


def signed(name: str, body: bytes, moment: int, key: bytes = KEY) -> dict[str, str]:
    signature = base64.b64encode(hmac.digest(key, f"{name}.{moment}.".encode() + body, "sha256")).decode()
    return {"webhook_id": name, "webhook_timestamp": str(moment), "webhook_signature": f"v1,{signature}"}


def test_the_inbox_believes_signatures_and_keeps_a_message_once(ports: dict[str, int]) -> None:
    """A repeated id is a duplicate; a body that was edited, another key and an old time are refused."""
    now, body = int(time.time()), b'{"order": 1}'
    port = ports["inbox"]
    assert call(port, "POST", "/messages", body, **signed("msg_1", body, now))[:2] == (200, {"duplicate": False})
    assert call(port, "POST", "/messages", body, **signed("msg_1", body, now))[:2] == (200, {"duplicate": True})
    assert call(port, "POST", "/messages", b'{"order": 2}', **signed("msg_2", body, now))[0] == 401
    assert call(port, "POST", "/messages", body, **signed("msg_3", body, now, key=b"another key"))[0] == 401
    assert call(port, "POST", "/messages", body, **signed("msg_4", body, now - 600))[0] == 401
    assert call(port, "GET", "/messages")[1] == {"messages": [{"id": "msg_1", "body": {"order": 1}}]}


def test_the_tools_remember_and_keep_their_ports(tmp_path: Path) -> None:
    """Stopped and started again, they hold what they held, at the same place."""
    state, file = tmp_path / "state", tmp_path / "ports.json"
    with services_running(state, file, SECRETS) as ports:
        crm(ports, "POST", "/contacts/batch", {"contacts": [{"email": "ada@example.com"}]})
    with services_running(state, file, SECRETS) as again:
        assert again == ports
        assert crm(again, "GET", "/stats")[1]["contacts"] == 1


def test_the_tools_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Even when the parent is killed and can tell nobody."""
    program = (
        "import sys; from pathlib import Path; from levada.demo.services import services_running\n"
        f"with services_running(Path({str(tmp_path / 's')!r}), Path({str(tmp_path / 'p.json')!r}), {SECRETS!r}):\n"
        "    print('up', flush=True); sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    port = json.loads((tmp_path / "p.json").read_text())["crm"]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    for _ in range(100):
        try:
            crm({"crm": port}, "GET", "/stats")
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the tools still answer")

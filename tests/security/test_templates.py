"""Templates and the readers of files and answers: no way out, and an end to everything that is given to them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

import claims
from levada.declaration import yaml
from levada.destinations.json_places import read_json
from levada.errors import ConfigError
from levada.planners import template_process
from levada.planners.template_process import TemplateProcess
from levada.planners.templates import rendered, variables
from levada.template import Names, json_text, parse

BIG = "{% assign a = name %}"
LIQUID = {
    "class": "{{ name.__class__ }}",
    "bases": "{{ name.__class__.__mro__ }}",
    "subclasses": "{{ name['__class__']['__base__']['__subclasses__'] }}",
    "globals": "{{ name.upper.__globals__ }}",
    "init": "{{ name['__init__'] }}",
    "format": "{{ name.format_map }}",
    "row's class": "{% for r in row %}{{ r.__class__ }}{% endfor %}",
    "environment": "{{ env.HOME }}",
    "self": "{{ self }}",
    "settings": "{{ config.secret }}",
    "unknown column": "{{ naem }}",
    "include": "{% include '/etc/passwd' %}",
    "render": "{% render '/etc/passwd' %}",
    "extends": "{% extends 'x' %}",
    "block": "{% block a %}{% endblock %}",
    "import": "{% import 'os' as os %}",
    "macro": "{% macro a %}{% endmacro %}",
    "call": "{% call a %}",
    "with": "{% with a: 1 %}{% endwith %}",
    "unknown filter": "{{ name | system: 'ls' }}",
    "attribute filter": "{{ name | attr: '__class__' }}",
    "now": "{{ 'now' | date: '%s' }}",
    "today": "{{ ' TODAY ' | date: '%s' }}",
    "loops in loops": "{% for i in (1..100000) %}{% for j in (1..100000) %}x{% endfor %}{% endfor %}",
    "silent loops": "{% for i in (1..9000) %}{% for j in (1..9000) %}{% increment a %}{% endfor %}{% endfor %}",
    "endless range": "{% for i in (1..1000000000000) %}{% break %}{% endfor %}",
    "range by a column": "{% for i in (1..n) %}x{% endfor %}",
    "range turned round": "{% for i in (1..1000000000) reversed %}{% break %}{% endfor %}",
    "range joined": "{{ (1..1000000000) | join: ',' | size }}",
    "range sorted": "{{ (1..300000000) | sort | last }}",
    "range summed": "{{ (1..1000000000000) | sum }}",
    "range in a condition": "{% if (1..1000000000000) contains 5 %}x{% endif %}",
    "range assigned": "{% assign a = (1..1000000000) %}{{ a | reverse | first }}",
    "table": "{% tablerow i in (1..100000000) %}x{% endtablerow %}",
    "table by a column": "{% tablerow i in (1..n) cols: n %}x{% endtablerow %}",
    "doubled": BIG + "{% for i in (1..60) %}{% assign a = a | append: a %}{% endfor %}{{ a | size }}",
    "doubled in line": BIG + "{% assign a = a | append: a %}" * 40 + "{{ a | size }}",
    "captured": BIG + "{% for i in (1..60) %}{% capture a %}{{ a }}{{ a }}{% endcapture %}{% endfor %}{{ a | size }}",
    "replaced": "{{ 'a'" + " | replace: 'a', 'aaaaaaaaaa'" * 12 + " | size }}",
    "replaced nothing": "{{ 'a'" + " | replace: '', 'aaaaaaaaaa'" * 12 + " | size }}",
    "joined": "{{ '" + "a" * 3_000 + "' | split: '' | join: '" + "b" * 3_000 + "' | size }}",
    "lists of lists": "{% assign a = 'x' | split: ',' %}" + "{% assign a = a | concat: a %}" * 40 + "{{ a | size }}",
    "power": "{% assign a = 9999999999 %}" + "{% assign a = a | times: a %}" * 40 + "{{ a }}",
    "escaped": "{{ '&'" + " | url_encode" * 5 + " | replace: '%', '" + "%" * 2_000 + "' | url_encode | size }}"
    + "{{ '" + "%" * 400_000 + "' | url_encode }}",
    "nested blocks": "{% if true %}" * 5_000 + "x" + "{% endif %}" * 5_000,
    "brackets": "{% if " + "(" * 2_000 + "true" + ")" * 2_000 + " %}x{% endif %}",
    "open": "{{ name",
    "open tag": "{% if name %}",
    "cycle": "{% for i in (1..20000) %}{% cycle 'a', 'b' %}{% endfor %}",
}  # fmt: skip
TRIAL = r"""
import json, re, resource, sys
from pathlib import Path
from levada.errors import ConfigError
from levada.planners.templates import rendered, variables

resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for name, source in json.load(sys.stdin).items():
    try:
        variables(source, ["name", "n"], subject="fields.x")
        rendered(source, json.dumps({"name": "Ann", "n": 10**9}), "fields.x")
    except ConfigError as error:
        assert error.code == "config.template" and error.message.startswith("fields.x: "), name
    except ValueError as error:
        assert str(error).startswith("the template ") and "Ann" not in str(error), name
    else:
        sys.exit(f"{name}: passed")
# not ru_maxrss, which begins with what the parent held
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.claim("S21")
def test_no_template_escapes(figure: claims.Figure) -> None:
    """Refused by name, or ended as an invalid row, in a process that may take 1 GB and seconds of its processor."""
    ended = subprocess.run(
        [sys.executable, "-c", TRIAL],
        input=json.dumps(LIQUID),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "src"},
        preexec_fn=_limit_seconds,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-500:]
    assert int(ended.stdout) < 300, "megabytes"
    figure("S21", f"{len(LIQUID)} Liquid templates that escape, loop or grow: {len(LIQUID)} refused or ended")


def _limit_seconds() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for i in (1..3) %}{{ i }}{% endfor %}", "123"),
        ("{% for i in (1..n) reversed %}{{ i }}{% endfor %}", "54321"),
        ("{{ name | replace: 'A', 'E' | upcase }}", "ENN"),
        ("{{ (1..4) | join: '-' }}", "1-2-3-4"),
        ("{{ name | split: '' | join: '.' }}", "A.n.n"),
    ],
)
def test_what_people_write_still_works(source: str, text: str) -> None:
    """The limits are far from everyday use."""
    row = {"name": "Ann", "n": 5}
    assert variables(source, ["name", "n"], subject="x") is not None
    assert rendered(source, json.dumps(row), "x") == text


GROWN = "{% assign b = name %}{% for i in (1..15) %}{% assign b = b | append: b %}{% endfor %}"
SLOW = {
    "many filters": GROWN
    + "{% for i in (1..9000) %}{% assign c = b | split: '' | sort_natural | uniq | join: ',' %}{% endfor %}",
    "one filter": "{% assign j = (1..9999) | join: ',' %}{% assign t = j %}{% for i in (1..8) %}"
    "{% assign p = ',' | append: i | append: '_' %}{% assign k = j | replace: ',', p %}"
    "{% assign t = t | append: p | append: k %}{% endfor %}{{ t | split: ',' | uniq | size }}",
    "conditions": GROWN + "{% for i in (1..9999) %}{% if b contains 'AnnB' %}{% endif %}"
    "{% assign c = b | upcase | downcase | escape | strip_html | url_encode | url_decode %}{% endfor %}",
}
"""Templates that keep to every other limit and compute for a minute or an hour."""


@pytest.mark.claim("S21")
def test_no_template_computes_for_long(figure: claims.Figure) -> None:
    """The kernel ends it, its row is invalid with the reason, and the rows after it are rendered."""
    rows = [json.dumps({"name": name, "slow": name == "Ann"}) for name in ("Ada", "Ann", "Bo")]
    with TemplateProcess() as process:
        for name, source in SLOW.items():
            guarded = "{% if slow %}" + source + "{% endif %}Hi {{ name }}"
            found = process.render(guarded, rows, "fields.x")
            assert found == [("Hi Ada", None), (None, "the template takes longer than 2 s"), ("Hi Bo", None)], name
    figure("S21", f"{len(SLOW)} Liquid templates that compute without end: {len(SLOW)} ended after 2 s a row")


def test_a_template_that_is_always_slow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some rows it is the template that is wrong: the model may have a million rows."""
    monkeypatch.setattr(template_process, "OVERDUE_MAX", 1)
    with TemplateProcess() as process, pytest.raises(ConfigError) as caught:
        process.render(SLOW["one filter"], [json.dumps({"name": "Ann"})] * 3, "fields.x")
    assert caught.value.code == "config.template"
    assert caught.value.message.startswith("fields.x: the template takes longer than 2 s for a row")


def test_a_template_cannot_take_the_memory_of_the_machine() -> None:
    """A list of many references to a long text is short, until each becomes a text of its own."""
    heavy = GROWN + "{% assign l = b | append: b | append: b | split: ',' %}" + "{% assign l = l | concat: l %}" * 16
    with TemplateProcess() as process:
        [found] = process.render(heavy + "{{ l | sort_natural | size }}", [json.dumps({"name": "Ann"})], "fields.x")
        assert found in ((None, "the template needs too much memory"), (None, "the template takes longer than 2 s"))
        assert process.render("{{ name }}", [json.dumps({"name": "Ann"})], "fields.x") == [("Ann", None)]


def test_a_value_is_never_a_template() -> None:
    """Braces in a row stay as they are, in Liquid and in the connector's language."""
    hostile = "{{ name }}{% for i in (1..9) %}x{% endfor %}{fields}"
    assert rendered("{{ name | strip }}", json.dumps({"name": hostile}), "x") == hostile


CONNECTOR = [
    "{name.__class__}", "{name!r}", "{name:>1000000}", "{0}", "{}", "{ }", "{fields.__class__}", "{match.__init__}",
    "{self}", "{env.HOME}", "{secret:TOKEN}", "{name[0]}", "{fields[name]}", "{{name}", "{name}}", "{before.x}",
    {"{name}": 1}, {"a": {"b": ["{nmae}"]}}, object(), float("nan"), {1: 2}, b"x",
]  # fmt: skip


@pytest.mark.parametrize("template", CONNECTOR, ids=[str(n) for n in range(len(CONNECTOR))])
def test_no_connector_template_names_what_is_not_there(template: object) -> None:
    """Placeholders are names out of a list: no attribute, index, format, conversion or reference."""
    with pytest.raises(ConfigError):
        parse(template, Names(fields=frozenset({"name"})))


def _yaml() -> Iterator[tuple[str, str]]:
    laughs = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    laughs += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 11)]
    yield "billion laughs", "\n".join(laughs)
    yield "many aliases", "a: &a 1\nb: [" + ", ".join(["*a"] * 101) + "]"
    yield "itself", "a: &a [*a]"
    yield "itself in a mapping", "a: &a {b: *a}"
    yield "unknown alias", "a: *b"
    for tag in (
        "!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!python/module:os", "!!binary aGk=",
        "!!python/object/new:type [a]", "!!set {a}", "!!timestamp 2026-01-01", "!!str 1", "!env HOME", "!include x",
        "!<tag:yaml.org,2002:python/object:x.Y> {}",
    ):  # fmt: skip
        yield tag, f"a: {tag}"
    yield "tagged key", "? !!python/name:os.system\n: 1"
    yield "merge", "a: &a {b: 1}\nc:\n  <<: *a"
    yield "duplicate", "a: 1\nb: 2\na: 3"
    yield "duplicate deep", "x: {a: 1, 'a': 2}"
    yield "deep lists", "a: " + "[" * 100_000
    yield "deep closed lists", "a: " + "[" * 1_000 + "]" * 1_000
    yield "deep mappings", "a: " + "{a: " * 100_000
    yield "deep blocks", "\n".join(" " * n + "a:" for n in range(100))
    yield "deep keys", "? " * 10_000 + "a"
    yield "a list as key", "? [a, b]\n: 1"
    yield "many nodes", "a: [" + "1," * 100_001 + "]"
    yield "long", "a: " + "x" * 1_000_001
    yield "two documents", "a: 1\n---\nb: 2"
    yield "huge number", "a: " + "9" * 100_000
    yield "NUL", "a: 'x\0'"
    yield "control character", "a: \x1b[31m"
    yield "directive", "%TAG ! tag:x\n---\na: !b 1"


YAML = list(_yaml())


@pytest.mark.parametrize("text", [text for _, text in YAML], ids=[name.replace("/", ".") for name, _ in YAML])
def test_no_yaml_file_is_a_bomb_or_a_program(text: str) -> None:
    """Tags, bombs, depth, size, duplicates: each is refused by name before its value exists."""
    with pytest.raises(ConfigError) as caught:
        yaml.parse(text, "sync.yml")
    assert caught.value.code in ("config.yaml", "config.yaml_limit", "config.duplicate_key")
    assert str(caught.value.where).startswith("sync.yml")


@pytest.mark.parametrize("text", ["[" * 10**6, '{"a":' * 10**6, "[" * 10**6 + "]" * 10**6, "NaN", "-Infinity", ""])
def test_no_answer_is_nested_without_end(text: str) -> None:
    """JSON of a destination that is too deep, or none, is no answer, and not the end of the process."""
    with pytest.raises(ValueError, match=r".+"):
        read_json(text)


def test_no_value_is_nested_without_end() -> None:
    """Of a row, on its way out."""
    deep: object = 1
    for _ in range(500):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper"):
        json_text(deep)

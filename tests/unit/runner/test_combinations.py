"""Mode × nulls × removed × only_if_empty × kind of destination: what cannot be is refused by name, as the docs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from combinations import DECLARED, KINDS, TABLES, abilities, combinations, impossible, meaningless, project_of, type_of
from levada.errors import ConfigError
from levada.runner.project import Project
from levada.runner.resolve import resolve
from servers.answering import http_project
from servers.mariadb import MariadbServer, fresh_mariadb

SAID = {"mode": "mode", "nulls": "nulls: skip", "removed": "removed", "only_if_empty": "only where it is empty"}
NEEDS = {"postgres": pytest.mark.needs("postgres"), "mysql": pytest.mark.needs("mariadb")}


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    if kind == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    if kind == "mysql":
        server: MariadbServer = request.getfixturevalue("mariadb_server")
        block = fresh_mariadb(server)
        url = block.__enter__()
        request.addfinalizer(lambda: block.__exit__(None, None, None))
        return url
    return "http://127.0.0.1:9"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=NEEDS.get(kind, ())) for kind in KINDS])
def test_what_a_destination_cannot_do_is_refused_by_name(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """What the page says that the kind's declared verbs allow resolves; anything else is refused, by name."""
    tried = combinations()
    project_of(tmp_path, kind, url_of(kind, request), tried)
    if kind in TABLES:
        text = tmp_path / "destinations" / "api.yml"
        text.write_text(text.read_text() + "create_tables: true\n")
    can = abilities()[type_of(kind)]
    resolved = 0
    with Project.open(tmp_path) as project:
        spec = project.world.destination("api").spec
        assert (spec.replaces, spec.skips_nulls, spec.only_if_empty) == (
            can.replaces, can.skips_nulls, can.only_if_empty
        )  # fmt: skip
        verbs = can.verbs or frozenset(DECLARED[kind])
        for number, each in enumerate(tried):
            wrong, refused = impossible(can, verbs, each), refusal(project, f"s{number}")
            assert bool(wrong) == bool(refused), (each, wrong, refused)
            if refused is None:
                resolved += 1
                continue
            named = refused.code.removeprefix("config.").removesuffix("_not_possible")
            assert named in wrong or (named == "mode" and "removed" in wrong), (each, refused.code)
            assert any(SAID[word] in refused.message for word in wrong), (each, refused.message)
            assert refused.where, each
            assert refused.where.line, each
        possible = next(n for n, each in enumerate(tried) if not impossible(can, verbs, each))
        assert set(resolve(project.world, f"s{possible}").object_spec.verbs) == verbs
    assert 0 < resolved < len(tried)


def refusal(project: Project, sync: str) -> ConfigError | None:
    """What the project says of a sync."""
    try:
        resolve(project.world, sync)
    except ConfigError as error:
        return error
    return None


@pytest.mark.parametrize(("mode", "removed"), [("append", "delete"), ("replace", "ignore"), ("mirror", "clear")])
def test_what_a_mode_gives_no_meaning_to_is_refused_when_files_are_read(
    tmp_path: Path, mode: str, removed: str
) -> None:
    """Whatever the destination."""
    assert meaningless(mode, removed)
    http_project(tmp_path, "objects: {things: {upsert: POST /t}}", "id\n1\n", f"mode: {mode}\nremoved: {removed}")
    with Project.open(tmp_path) as project, pytest.raises(ConfigError, match="removed:"):
        resolve(project.world, "s")

"""The house rules that a reader relies on: who may import whom, names, where time and chance come from."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import levada
from levada import errors
from levada.errors import LevadaError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "levada"

LAYERS = {
    0: ("declaration", "sql"),
    1: ("project", "sources", "planners", "destinations", "delivery", "stores", "audiences"),
    2: ("runner",),
    3: ("scheduler",),
    4: ("server", "demo", "testing"),
    5: ("cli",),
}
LAYER_OF = {package: layer for layer, packages in LAYERS.items() for package in packages}
BANNED_NAMES = {"base", "common", "core", "helpers", "manager", "misc", "service", "util", "utils"}
BANNED_TIME = {"time", "random", "uuid"}
ROOT_MAY_IMPORT = {"pydantic", "pydantic_core", "pyarrow", "cronsim", "levada"}
ENTRANCES = {SOURCE / "__init__.py", SOURCE / "__main__.py"}
"""The package's own face and `python -m levada` lead into the house; they are no part of the domain."""

MODULES = sorted(path for path in SOURCE.rglob("*.py"))


def _package(path: Path) -> str | None:
    """The folder of levada that a module lives in; None for a module at the root."""
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else None


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module's full name, those inside functions and TYPE_CHECKING included, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield alias.name, node.lineno
            case ast.ImportFrom(level=0):
                assert node.module is not None
                yield node.module, node.lineno
                if node.module == "levada":
                    for alias in node.names:
                        yield f"levada.{alias.name}", node.lineno
            case ast.ImportFrom():
                raise AssertionError(f"{path}:{node.lineno}: relative import")
            case _:
                pass


def _checked_only(path: Path) -> set[int]:
    """The lines below `if TYPE_CHECKING:`."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_package_has_its_place_in_a_layer() -> None:
    """A new folder must be given a layer before it can import anything."""
    packages = {path.parent.relative_to(SOURCE).parts[0] for path in MODULES if path.parent != SOURCE}
    assert packages - set(LAYER_OF) == set()


def test_packages_import_only_what_lies_below_them() -> None:
    """Layer 1 imports the root and itself only; each higher layer also those below it, but never testing."""
    wrong = []
    for path in MODULES:
        package = _package(path)
        if package is None:
            continue
        for name, line in _imports(path):
            parts = name.split(".")
            if parts[0] != "levada" or len(parts) < 2 or parts[1] not in LAYER_OF or parts[1] == package:
                continue
            below = LAYER_OF[parts[1]] < LAYER_OF[package]
            if not below or parts[1] == "testing":
                wrong.append(f"{_shown(path)}:{line} imports {name}")
    assert wrong == []


def test_use_cases_form_no_circle() -> None:
    """In `runner` every module can be read after those that it imports, for types alone included."""
    imports = {
        path.stem: {
            name.split(".")[2]
            for name, _ in _imports(path)
            if name.startswith("levada.runner.") and name.count(".") == 2
        }
        for path in MODULES
        if _package(path) == "runner"
    }
    assert len(imports) > 40
    list(TopologicalSorter(imports).static_order())  # raises CycleError, which names the modules


def test_use_cases_know_the_world_and_not_the_face() -> None:
    """Only the package's entrance and what stands above `runner` import `Project`."""
    faced = [
        f"{_shown(path)}:{line}"
        for path in MODULES
        for name, line in _imports(path)
        if name == "levada.runner.project" and _package(path) == "runner"
    ]
    assert faced == []


def test_the_root_imports_only_the_standard_library_pydantic_and_pyarrow() -> None:
    """The domain knows no world: no package of levada, and no library but the few that are its language."""
    wrong = []
    for path in MODULES:
        if _package(path) is not None or path in ENTRANCES:
            continue
        unseen = _checked_only(path)
        for name, line in _imports(path):
            top, _, rest = name.partition(".")
            known = top in ROOT_MAY_IMPORT or top in sys.stdlib_module_names
            enters = top == "levada" and rest.split(".")[0] in LAYER_OF
            if line not in unseen and (not known or enters):
                wrong.append(f"{_shown(path)}:{line} imports {name}")
    assert wrong == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    """`util` and its like are where everything ends up that has no place."""
    names = [part for path in MODULES for part in path.relative_to(SOURCE).with_suffix("").parts]
    assert BANNED_NAMES & set(names) == set()


def test_time_and_chance_come_from_the_clock_alone() -> None:
    """Only clock.py imports time, random or uuid, or asks datetime for the present. (The suites in testing/ draw
    their examples from seeded generators of their own.)"""
    wrong = []
    asks = re.compile(r"\b(datetime|date)\.(now|utcnow|today)\(")
    for path in MODULES:
        if path == SOURCE / "clock.py" or _package(path) == "testing":
            continue
        text = path.read_text(encoding="utf-8")
        imported = _imported_names(path)
        wrong += [f"{_shown(path)}:{line} imports {name}" for name, line in imported if name in BANNED_TIME]
        wrong += [
            f"{_shown(path)}:{number} asks for the time"
            for number, line in enumerate(text.splitlines(), 1)
            if asks.search(line.partition("#")[0])
        ]
    assert wrong == []


def _imported_names(path: Path) -> list[tuple[str, int]]:
    """Imports that bring a module as such; `from uuid import UUID` brings a type and is no source of chance."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module in BANNED_TIME:
            found += [(node.module, node.lineno) for alias in node.names if alias.name not in ("UUID", "struct_time")]
    return found


DUCKDB = SOURCE / "sql" / "connection.py"


def test_duckdb_is_opened_in_one_place() -> None:
    """Only sql/connection.py opens DuckDB: elsewhere a connection would have the zone of the machine. Of the module
    duckdb others use its errors and types, and `tokenize`, which opens nothing."""
    wrong = []
    for path in MODULES:
        if path == DUCKDB:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id="duckdb"), attr=name):
                    used = [name]
                case ast.ImportFrom(module=str(module)) if module.partition(".")[0] == "duckdb":
                    used = [alias.name for alias in node.names]
                case _:
                    continue
            wrong += [
                f"{_shown(path)}:{node.lineno} uses duckdb.{name}"
                for name in used
                if not name[0].isupper() and name not in ("tokenize", "__version__")
            ]
    assert wrong == []


def test_no_time_is_local() -> None:
    """Nothing asks for the zone of the machine: no moment is made or shown without one."""
    local = re.compile(
        r"\b(localtime|mktime|ctime|tzset)\(|\.astimezone\(\)|fromtimestamp\([^,()]*(\([^()]*\))?[^,()]*\)"
    )
    wrong = [
        f"{_shown(path)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if local.search(line.partition("#")[0])
    ]
    assert wrong == []


def test_every_module_says_what_it_is_for() -> None:
    """A module begins with a docstring; only empty ones need none."""
    silent = [
        _shown(path)
        for path in MODULES
        if path.read_text(encoding="utf-8").strip()
        and ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]
    assert silent == []


def _tree(cls: type[LevadaError], depth: int = 0) -> Iterator[tuple[int, str]]:
    for sub in cls.__subclasses__():
        if sub.__module__ == "levada.errors" and sub is not errors.ConfigErrors:
            yield depth, sub.__name__
            yield from _tree(sub, depth + 1)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """The drawing at the top of errors.py shows every class at its place (ConfigErrors, a bundle, aside)."""
    drawn = [
        (len(match[1]) // 4, match[2])
        for line in (errors.__doc__ or "").splitlines()
        if (match := re.match(r"    ((?:│   |    )*)[├└]── (\w+)", line))
    ]
    assert drawn == list(_tree(LevadaError))


@pytest.mark.parametrize("name", levada.__all__)
def test_the_public_names_load(name: str) -> None:
    """Each name of `levada.__all__` is there."""
    assert getattr(levada, name) is not None


def test_the_public_names_are_sorted_and_complete() -> None:
    """`__all__` is sorted, and holds exactly what the package's face offers."""
    assert levada.__all__ == sorted(levada.__all__)
    assert set(levada.__all__) == {*levada._HOMES, "__version__"}


def test_every_declared_all_is_true() -> None:
    """Wherever a module declares `__all__`, it has what that names. (Ruff keeps the lists sorted.)"""
    wrong = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                name = ".".join(["levada", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")
                module = import_module(name)
                wrong += [f"{name}.{each}" for each in ast.literal_eval(node.value) if not hasattr(module, each)]
    assert wrong == []


def test_the_entry_point_and_the_version_agree() -> None:
    """`levada.__version__` is what the package was built as."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{levada.__version__}"' in text

"""Finding a kind of source by its word."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from levada.meaning import meaning_of
from levada.sources import source_type, source_types


def test_every_kind_is_found_by_its_word() -> None:
    """What `source_types` lists, `source_type` opens, and nothing else."""
    assert source_types() == ("duckdb", "files", "postgres", "sqlite")
    for name in source_types():
        found = source_type(name)
        assert found is not None
        assert found.type == name
        assert found.title
        assert found.docs
        assert all(meaning_of(found.options, field) for field in found.options.model_fields), name
    assert source_type("oracle") is None
    assert source_type("in_place") is None


def test_finding_a_kind_loads_no_driver() -> None:
    """Reading a project's files must stay quick: drivers load at the first read."""
    program = (
        "import sys; from levada.sources import source_type, source_types;"
        "[source_type(name) for name in source_types()];"
        "heavy = ('duckdb', 'sqlglot', 'psycopg', 'adbc_driver_postgresql', 'pyarrow.compute');"
        "print([module for module in heavy if module in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_unknown_options_are_errors() -> None:
    """A misspelt option is not ignored."""
    for name in source_types():
        found = source_type(name)
        assert found is not None
        with pytest.raises(ValidationError):
            found.options.model_validate({"path": "x", "url": "postgresql://x", "pth": "y"})

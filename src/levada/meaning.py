"""What the keys of a declaration mean: the words that stand below each field in its class, read when they are asked.

Most processes never ask, and reading the files of all classes takes longer than a small run.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def meaning_of(cls: type[BaseModel], field: str) -> str:
    """The words below a field, in the class or the nearest one above it; empty if there are none."""
    return next((words[field] for each in cls.__mro__ if field in (words := _words(each))), "")


@cache
def _words(cls: type) -> dict[str, str]:
    if cls is BaseModel or not issubclass(cls, BaseModel):
        return {}
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):  # a class without a file
        return {}
    found: dict[str, str] = {}
    for definition in ast.parse(source).body:
        assert isinstance(definition, ast.ClassDef)
        for field, below in pairwise(definition.body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str() as words)),
                ):
                    found[name] = inspect.cleandoc(words)
    return found

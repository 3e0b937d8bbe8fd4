"""Begins a project in a folder."""

from __future__ import annotations

from pathlib import Path

from levada.project.listing import whole
from levada.project.scaffold import Scaffolded, scaffold


def begin(folder: Path, name: str | None = None) -> Scaffolded:
    """Write a small project that runs at once. Overwrites nothing; raises ConfigError for a project in or above it."""
    root = whole(folder)
    return scaffold(root, name or root.name or "project")

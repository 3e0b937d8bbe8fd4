"""The words below the fields of a declaration."""

from __future__ import annotations

from levada.meaning import meaning_of
from levada.model import Declaration


class Base(Declaration):
    above: int = 0
    """Words of the class above,
    on two lines."""
    silent: int = 0


class Derived(Base):
    own: int = 0
    """Its own words."""
    silent: int = 1

    def rule(self) -> None:
        """No words of a field."""


def test_the_words_below_a_field_are_its_meaning() -> None:
    """Those of the class, or of the one that it extends; a field without any has none."""
    assert meaning_of(Derived, "own") == "Its own words."
    assert meaning_of(Derived, "above") == "Words of the class above,\non two lines."
    assert meaning_of(Derived, "silent") == ""
    assert meaning_of(Derived, "rule") == ""


def test_a_class_without_a_file_has_no_words() -> None:
    """There is nothing to read them from."""
    assert meaning_of(type("Made", (Derived,), {"__module__": __name__}), "silent") == ""

"""What was probably meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable

_LISTED_MAX = 20


def nearest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known name that is most like the word, whatever the case; None where none is alike enough (0 to 1)."""
    from difflib import get_close_matches

    by_lower: dict[str, str] = {}
    for name in known:
        by_lower.setdefault(name.lower(), name)
    found = get_close_matches(word.lower(), list(by_lower), n=1, cutoff=likeness)
    return by_lower[found[0]] if found else None


def nearest_hint(word: str, known: Iterable[str], listed_as: str = "there are") -> str:
    """The hint of an error about a name, the same everywhere: what was probably meant, or else what there is."""
    names = list(known)
    if meant := nearest(word, names):
        return f"did you mean {meant}?"
    listed = ", ".join(names[:_LISTED_MAX]) + (", …" if len(names) > _LISTED_MAX else "")
    return f"{listed_as}: {listed}" if names else "there are none"

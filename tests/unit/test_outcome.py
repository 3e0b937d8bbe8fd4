"""Effects: what was changed at the destination, record by record, in little room."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levada.outcome import DELIVERED, LETTERS, Effect, Effects, Outcomes

effects = st.lists(st.sampled_from(get_args(Effect)), min_size=1, max_size=40)


def test_every_effect_has_a_letter_of_its_own() -> None:
    """Otherwise two effects would be written alike."""
    assert set(LETTERS) == set(get_args(Effect))
    assert len(set(LETTERS.values())) == len(LETTERS)


@given(effects)
def test_effects_come_back_from_their_text(given_effects: list[Effect]) -> None:
    """The text of a journal says for each record what was told."""
    found = Effects.from_text(Effects.each(given_effects).as_text())
    assert [found.of(index) for index in range(len(given_effects))] == given_effects


@given(st.lists(effects, min_size=1, max_size=5))
def test_parts_joined_are_the_parts_one_after_the_other(parts: list[list[Effect]]) -> None:
    """And a part cut out again is what it was."""
    whole = Effects.joined([(len(part), Effects.each(part)) for part in parts])
    flat = [effect for part in parts for effect in part]
    assert [whole.of(index) for index in range(len(flat))] == flat
    first = len(parts[0])
    assert whole.part(0, first) == Effects.each(parts[0])


@pytest.mark.parametrize("text", ["", "3", "x", "3x", "c3", "c-"])
def test_a_text_that_is_none_is_refused(text: str) -> None:
    """Never read as something else."""
    with pytest.raises(ValueError, match="no effects"):
        Effects.from_text(text)


def test_outcomes_joined_keep_their_effects() -> None:
    """A batch that was sent in halves tells of each record."""
    left, right = Outcomes(DELIVERED, effects=Effects.all("created")), Outcomes(DELIVERED, effects=Effects.all("same"))
    assert Outcomes.joined([(2, left), (1, right)]).effects == Effects.each(["created", "created", "same"])

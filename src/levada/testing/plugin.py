"""Loaded by pytest wherever Levada is installed. It only makes failed checks of the contract suites readable.

Fixtures and suites are not loaded from here: a connector author imports what they use from `levada.testing`.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("levada.testing")

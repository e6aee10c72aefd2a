"""Runs without pictures; tests of pictures ask for none of this."""

import pytest

from tests.experiments import quick

__all__ = ["quick"]


@pytest.fixture(autouse=True)
def _quick(quick: None) -> None:
    """Every test here is quick."""

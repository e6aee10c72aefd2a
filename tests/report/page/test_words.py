"""Every meaning that a method can have is said in words."""

from typing import get_args

import pytest

from esegeta.explain.meaning import MeaningKind
from esegeta.report.page import words_of


@pytest.mark.parametrize("kind", get_args(MeaningKind))
def test_every_meaning_has_words(kind: str) -> None:
    above, _ = words_of(kind, "liver", "the sidecar's own")
    assert above != "the sidecar's own"
    assert "{" not in above


def test_an_unknown_meaning_says_what_its_sidecar_says() -> None:
    assert words_of("new", "liver", "positive: up") == ("positive: up", "positive: up")

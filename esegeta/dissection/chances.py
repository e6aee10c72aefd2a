"""The kinds of chance that a config can name."""

from __future__ import annotations

from esegeta.dissection.chance import Chance, CircularShift, Permutation
from esegeta.dissection.exchange import Exchange
from esegeta.dissection.surrogates import Surrogates

CHANCES: dict[str, type[Chance]] = {
    kind.name: kind for kind in (Surrogates, Exchange, CircularShift, Permutation)
}
"""By the names that they have in a config."""

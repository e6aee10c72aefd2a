"""Whether what went in at the logits came out in the map, where it stayed, and what helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Conservation:
    """An account of relevance, or of probability.

    Args:
        what: word for what is accounted for.
        entered: amount that entered at the logits.
        left: amount that arrived in the map.
        reference: number above zero that the gap is a fraction of.
        kept: amount that stayed on the way, by words that say with what.
        gone: magnitude of what was lost, where losses of two signs may cancel in the sums.
        map_words: words for the map.
    """

    what: str
    entered: float
    left: float
    reference: float
    kept: Mapping[str, float]
    gone: float = 0.0
    map_words: str = "the map"

    @property
    def gap(self) -> float:
        """What was lost or created, as a fraction of the reference."""
        return max(abs(self.entered - self.left), self.gone) / self.reference

    def warnings(self, tolerance: float, remedies: Mapping[str, str]) -> tuple[str, ...]:
        """Return a warning where more than a tolerance was lost or created.

        Args:
            tolerance: tolerance of the gap.
            remedies: what helps, by the words for what kept it.
        """
        if self.gap <= tolerance:
            return ()
        least = tolerance / 10 * self.reference
        names = [name for name, amount in self.kept.items() if abs(amount) > least]
        names.sort(key=lambda name: -abs(self.kept[name]))
        where = "; ".join(f"{name} {self.kept[name]:.4g}" for name in names)
        helps = dict.fromkeys(remedies[name] for name in names if name in remedies)
        parts = (
            f"conservation: {self.entered:.4g} of {self.what} went in, {self.map_words} adds up "
            f"to {self.left:.4g} ({self.gap:.1%} apart, tolerance {tolerance:.1%})",
            *([where] if where else []),
            *helps,
        )
        return (": ".join(parts[:2]) + "".join(f"; {text}" for text in parts[2:]),)

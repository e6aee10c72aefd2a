"""Relevance mass and rank: how much of the map lies in the structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from esegeta.axes import Mask
from esegeta.explain import Attribution
from esegeta.score.localisation.localisation import Localisation
from esegeta.score.score import Judgement, Quality, ScoreContext


@dataclass(frozen=True)
class RelevanceMass(Localisation):
    """The share of the map's relevance that lies inside a structure.

        relevance_mass = sum_{v in M} r_v / sum_v r_v,   r = max(a, 0)

    a is summed over channels, and a feature's worth is shared evenly among its voxels. 0 to 1,
    higher is better; a map that says nothing has the structure's share of the voxels.

    Args:
        against: M, `prediction`, `label` (ground truth) or `target` (the target's own mask).
        use: `positive` values, or `magnitude`, r = |a|.

    Source: Arras et al., CLEVR-XAI, 2022, relevance mass accuracy.
    """

    name: ClassVar[str] = "relevance_mass"
    qualities: ClassVar[tuple[Quality, ...]] = (Quality("relevance_mass", "higher", high=1.0),)

    def place(self, attribution: Attribution, structure: Mask, context: ScoreContext) -> Judgement:
        """Return the share."""
        relevance = self.relevance(attribution.density())
        mass = float(relevance[structure].sum() / relevance.sum())
        return Judgement({self.name: min(1.0, mass)})


@dataclass(frozen=True)
class RelevanceRank(Localisation):
    """The share of the K voxels of highest relevance that lie inside a structure of K voxels.

        relevance_rank = |top_K(r) and M| / K,   r = max(a, 0)

    a is summed over channels. 0 to 1, higher is better; a map that says nothing has the structure's
    share of the voxels. Where voxels tie for the last places, the value is the mean over all ways
    to choose among them.

    Args:
        against: M, `prediction`, `label` (ground truth) or `target` (the target's own mask).
        use: `positive` values, or `magnitude`, r = |a|.

    Source: Arras et al., CLEVR-XAI, 2022, relevance rank accuracy; ties are ours.
    """

    name: ClassVar[str] = "relevance_rank"
    qualities: ClassVar[tuple[Quality, ...]] = (Quality("relevance_rank", "higher", high=1.0),)

    def place(self, attribution: Attribution, structure: Mask, context: ScoreContext) -> Judgement:
        """Return the share."""
        relevance = self.relevance(attribution.data)
        size = int(structure.sum())
        last = relevance.flatten().kthvalue(relevance.numel() - size + 1).values
        surely, perhaps = relevance > last, relevance == last
        places_left = size - int(surely.sum())
        expected = places_left * int((perhaps & structure).sum()) / int(perhaps.sum())
        return Judgement({self.name: (int((surely & structure).sum()) + expected) / size})

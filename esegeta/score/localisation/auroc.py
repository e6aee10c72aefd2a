"""AUROC: does the map rank the structure's voxels above all others?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from esegeta.axes import Mask
from esegeta.explain import Attribution
from esegeta.score.localisation.localisation import Localisation
from esegeta.score.ranks import average_ranks
from esegeta.score.score import Judgement, Quality, ScoreContext


@dataclass(frozen=True)
class Auroc(Localisation):
    """The chance that a voxel inside a structure has a higher relevance than one outside.

        auroc = (sum of the ranks of r in M - K (K + 1) / 2) / (K (N - K)),   r = max(a, 0)

    a is summed over channels, K of N voxels are in M. 0 to 1, higher is better, 1/2 says nothing;
    a tie counts half (Mann-Whitney).

    Args:
        against: M, `prediction`, `label` (ground truth) or `target` (the target's own mask).
        use: `positive` values, negative ones tied at zero, or `magnitude`, r = |a|.

    Source: Mann and Whitney, On a Test of Whether one of Two Random Variables is Stochastically
    Larger than the Other, 1947; of saliency maps, Judd et al., 2012, without sampling thresholds.
    """

    name: ClassVar[str] = "auroc"
    qualities: ClassVar[tuple[Quality, ...]] = (Quality("auroc", "higher", high=1.0),)

    def place(self, attribution: Attribution, structure: Mask, context: ScoreContext) -> Judgement:
        """Return the area."""
        ranks = average_ranks(self.relevance(attribution.data).flatten())
        inside = int(structure.sum())
        outside = structure.numel() - inside
        surplus = float(ranks[structure.flatten()].sum()) - inside * (inside + 1) / 2
        return Judgement({self.name: surplus / (inside * outside)})

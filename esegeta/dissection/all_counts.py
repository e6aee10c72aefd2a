"""Counts of all cases together, and third pass: the IoU at thresholds of other cases.

For thresholds the cases of each concept fall into two folds, and each fold is judged at those of
the other. Cases that hold the concept take turns, and so do those that do not, so that rare
concepts do not all end up in one fold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.dissection.chance import Chance, q_values
from esegeta.dissection.counts import CaseCounts
from esegeta.dissection.curves import auroc, best_thresholds, count_at
from esegeta.dissection.parts import UnitParts
from esegeta.dissection.tally import ConceptParts, OverlapTally
from esegeta.dissection.thresholds import Thresholds
from esegeta.predict import UnitMaps

VOXELS_AT_A_TIME = 1 << 21
FOLDS = 2


@dataclass(frozen=True, eq=False)
class Counts:
    """The counts of all cases together.

    Args:
        tally: counts of voxels, at the threshold over the data set.
        positions: number of positions of each unit's layer.
        above: positions above the threshold.
        ties: positions at the threshold.
        inside: positions of each concept by bin, in each fold of its cases.
        everything: all positions by bin, in each fold of each concept's cases.
        fold: the fold of each concept that a case is in.
        holders: number of cases that hold each concept.
        p: p-value of each unit and concept against chance.
        least_p: p-value that each pair would have if one lay in the other.
    """

    tally: OverlapTally
    positions: Int[Tensor, " U"]
    above: Int[Tensor, " U"]
    ties: Int[Tensor, " U"]
    inside: Int[Tensor, "F U B K"]
    everything: Int[Tensor, "F U B K"]
    fold: Int[Tensor, "N K"]
    holders: Int[Tensor, " K"]
    p: Float[Tensor, "U K"]
    least_p: Float[Tensor, "U K"]

    @classmethod
    def of(cls, cases: Iterable[CaseCounts], chance: Chance) -> Counts:
        """Add up cases as they come; what is held does not grow with their number."""
        total: OverlapTally | None = None
        sums: dict[str, Tensor] = {}
        turns, folds = FoldDealer(), []
        for case in cases:
            total = case.tally if total is None else total + case.tally
            for name in ("positions", "above", "ties", "chance"):
                value = getattr(case, name)
                sums[name] = sums[name] + value if name in sums else value
            folds.append(turns.next(case.concepts > 0))
            shape = (FOLDS, *case.inside.shape)
            for name, value in (
                ("inside", case.inside),
                ("everything", case.everything[..., None]),
            ):
                found = sums.setdefault(name, torch.zeros(shape, dtype=torch.int64))
                for fold in range(FOLDS):
                    found[fold] += value * (folds[-1] == fold)
        assert total is not None
        drawn = sums.pop("chance")
        p, least = chance.p_values(total, drawn), chance.p_values(total.most, drawn)
        dealt = {"fold": torch.stack(folds), "holders": turns.holders}
        return cls(tally=total, p=p, least_p=least, **dealt, **sums)

    @property
    def q(self) -> Float[Tensor, "U K"]:
        """Benjamini-Hochberg over all units and concepts."""
        return q_values(self.p)

    @property
    def least_q(self) -> Float[Tensor, "U K"]:
        """The smallest q that each pair could have, if every pair overlapped as much as it can."""
        return q_values(self.least_p)

    @property
    def auroc(self) -> Float[Tensor, "U K"]:
        """AUROC of the activation as a score of each concept."""
        # Each concept's folds are all cases.
        return auroc(self.inside.sum(dim=0), self.everything[..., 0].sum(dim=0))

    def held_out_thresholds(self, unit_thresholds: Thresholds) -> Float[Tensor, "F U K"]:
        """Return, for each fold, the best thresholds of the other fold.

        NaN for both where one of them does not hold the concept: nothing is chosen, or judged.
        """
        found = [
            best_thresholds(
                self.inside[1 - fold], self.everything[1 - fold], unit_thresholds.bin_edges.values
            )
            for fold in range(FOLDS)
        ]
        thresholds = torch.stack(found)
        lost = thresholds.isnan().any(dim=0)
        return torch.where(lost, torch.full_like(thresholds, torch.nan), thresholds)


class FoldDealer:
    """Deals cases out to the folds of each concept, as they come."""

    def __init__(self) -> None:
        self._dealt: dict[bool, Tensor] = {}

    @property
    def holders(self) -> Int[Tensor, " K"]:
        """Cases so far that hold each concept."""
        return self._dealt[True]

    def next(self, holds: Bool[Tensor, " K"]) -> Int[Tensor, " K"]:
        """Return the fold of the next case, for each concept that it holds or does not hold."""
        fold = torch.zeros(len(holds), dtype=torch.int64)
        for kind in (True, False):
            dealt = self._dealt.setdefault(kind, torch.zeros(len(holds), dtype=torch.int64))
            own = holds == kind
            fold = torch.where(own, dealt % FOLDS, fold)
            self._dealt[kind] = dealt + own
        return fold


def thresholds_of_case(
    thresholds: Float[Tensor, "F U K"], fold: Int[Tensor, " K"]
) -> Float[Tensor, "U K"]:
    """Return the thresholds at which a case is judged, by its fold of each concept."""
    place = fold.expand(1, *thresholds.shape[1:])
    return thresholds.gather(0, place)[0]


def count_held_out(
    parts: UnitParts,
    thresholds: Float[Tensor, "U K"],
    partition: ConceptParts,
    maps: Iterable[UnitMaps],
) -> tuple[Int[Tensor, "U K"], Int[Tensor, "U K"]]:
    """Count one case at a threshold for each unit and concept.

    Args:
        parts: the parts that the units of all layers are cut into.
        thresholds: thresholds chosen on other cases; NaN where there is none.
        partition: the partition of the case by concepts.
        maps: the maps of all units, by part.

    Returns:
        Voxels of mask and concept, and of mask or concept; none where there is no threshold.
    """
    both, union = [], []
    judged = ~thresholds.isnan()
    thresholds = thresholds.nan_to_num(nan=torch.inf)
    for item in maps:
        first = parts.starts[item.units]
        step = max(VOXELS_AT_A_TIME // partition.parts.numel(), 1)
        for start in range(0, len(item.units), step):
            some = item.data[start : start + step]
            rows = slice(first + start, first + start + len(some))
            values = item.grid.to_voxels(some).flatten(1)
            counts = count_at(values, thresholds[rows].to(values.device), partition)
            both.append(counts[0].cpu())
            union.append(counts[1].cpu())
    return torch.cat(both) * judged, torch.cat(union) * judged

"""Counts of all cases together, and third pass: the IoU at thresholds of other cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.dissect import (
    Partition,
    Tally,
    auroc,
    best_thresholds,
    count_at,
    p_values,
    q_values,
)
from esegeta.dissection.counts import CaseCounts
from esegeta.dissection.dissection import Dissection
from esegeta.dissection.levels import Levels
from esegeta.predict import UnitMaps

VOXELS_AT_A_TIME = 1 << 21
FOLDS = 2
"""Every other case is in the same fold; each is judged at thresholds of the other fold."""


@dataclass(frozen=True, eq=False)
class Totals:
    """Counts of all cases.

    Args:
        tally: of voxels, at the threshold over the data set.
        positions: of each unit's layer.
        above: positions above the threshold.
        ties: positions at the threshold.
        inside: positions of each concept by bin, of each fold of cases.
        everything: all positions by bin, of each fold.
        p: of each unit and concept against chance.
    """

    tally: Tally
    positions: Int[Tensor, " U"]
    above: Int[Tensor, " U"]
    ties: Int[Tensor, " U"]
    inside: Int[Tensor, "F U B K"]
    everything: Int[Tensor, "F U B"]
    p: Float[Tensor, "U K"]

    @classmethod
    def of(cls, cases: Iterable[CaseCounts]) -> Totals:
        """Add up cases as they come; what is held does not grow with their number."""
        total: Tally | None = None
        sums: dict[str, Tensor] = {}
        folds: dict[tuple[str, int], Tensor] = {}
        for number, case in enumerate(cases):
            total = case.tally if total is None else total + case.tally
            for name in ("positions", "above", "ties", "chance"):
                value = getattr(case, name)
                sums[name] = sums[name] + value if name in sums else value
            for name in ("inside", "everything"):
                value, place = getattr(case, name), (name, number % FOLDS)
                folds[place] = folds[place] + value if place in folds else value
        assert total is not None
        stacked = {
            name: torch.stack(
                [folds.get((name, f), torch.zeros_like(folds[name, 0])) for f in range(FOLDS)]
            )
            for name in ("inside", "everything")
        }
        p = p_values(total.both, sums.pop("chance"))
        return cls(tally=total, p=p, **sums, **stacked)

    @property
    def q(self) -> Float[Tensor, "U K"]:
        """Benjamini-Hochberg over all units and concepts."""
        return q_values(self.p)

    @property
    def auroc(self) -> Float[Tensor, "U K"]:
        """Of the activation as a score of each concept."""
        return auroc(self.inside.sum(dim=0), self.everything.sum(dim=0))

    def held_out_thresholds(self, levels: Levels) -> Float[Tensor, "F U K"]:
        """Return, for each fold, the best thresholds of the other fold."""
        found = [
            best_thresholds(self.inside[1 - fold], self.everything[1 - fold], levels.edges)
            for fold in range(FOLDS)
        ]
        return torch.stack(found)


def count_held_out(
    dissection: Dissection,
    thresholds: Float[Tensor, "U K"],
    partition: Partition,
    maps: Iterable[UnitMaps],
) -> tuple[Int[Tensor, "U K"], Int[Tensor, "U K"]]:
    """Count one case at a threshold for each unit and concept.

    Args:
        dissection: whose units and concepts.
        thresholds: chosen on other cases.
        partition: of the case, by concepts.
        maps: of all units, by part.

    Returns:
        Voxels of mask and concept, and of mask or concept.
    """
    both, union = [], []
    for item in maps:
        first = dissection.starts[item.units]
        step = max(VOXELS_AT_A_TIME // partition.num_voxels, 1)
        for start in range(0, len(item.units), step):
            some = item.data[start : start + step]
            rows = slice(first + start, first + start + len(some))
            values = item.grid.to_voxels(some).flatten(1)
            counts = count_at(values, thresholds[rows].to(values.device), partition)
            both.append(counts[0].cpu())
            union.append(counts[1].cpu())
    return torch.cat(both), torch.cat(union)

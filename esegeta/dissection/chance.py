"""Is an overlap more than chance? Concepts are moved or shuffled, and the overlap counted again.

Every way keeps the sizes of masks and concepts, so that the IoU grows with the overlap alone and
overlaps may stand for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.dissection.above import Above, above_by_units
from esegeta.dissection.body import CaseSpace
from esegeta.dissection.tally import ConceptParts, OverlapTally
from esegeta.errors import ConfigError

PLACES_AT_A_TIME = 1 << 22

Overlaps = Int[Tensor, "D U K"]
"""Voxels of unit and concept together, for each draw of chance."""


@dataclass(frozen=True)
class Chance(ABC):
    """What overlaps would be by chance.

    Args:
        samples: draws D; p is at least 1 / (D + 1).
        seed: random seed for the draws.
    """

    samples: int = 1000
    seed: int = 0
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"chance: samples: {self.samples} must be at least 1")

    def num_draws(self, num_cases: int) -> int:
        """Return D, for this number of cases."""
        return self.samples

    def p_values(self, observed: OverlapTally, drawn: Overlaps) -> Float[Tensor, "U K"]:
        """Return the p-value of each unit and concept, given the draws of all cases."""
        return p_values(observed, drawn)

    def least_p(self, num_cases: int) -> float:
        """Return the smallest p-value that there can be."""
        return 1 / (self.num_draws(num_cases) + 1)

    @abstractmethod
    def of_case(self, partition: ConceptParts, space: CaseSpace) -> CaseChance:
        """Begin a case.

        Args:
            partition: the partition of its volume by concepts.
            space: the case.
        """


class CaseChance(ABC):
    """Chance in one case: layers are added one by one, and drawn for together."""

    @abstractmethod
    def add(self, above: Above, num_units: int, stride: tuple[float, ...]) -> None:
        """Take in the units of a layer.

        Args:
            above: voxels of their masks that count.
            num_units: number of units.
            stride: voxels between positions of the layer, along each axis.
        """

    @abstractmethod
    def overlaps(self) -> Overlaps:
        """Return the overlaps of all units, in the order in which they were added, by draw."""


@dataclass(frozen=True)
class MovedConcepts(Chance):
    """Chance that moves concepts: the units of each layer are drawn for as they come."""

    def of_case(self, partition: ConceptParts, space: CaseSpace) -> CaseChance:
        """Begin a case."""
        return MovedDraws(self, partition, space)

    @abstractmethod
    def draw(
        self, above: Above, num_units: int, partition: ConceptParts, space: CaseSpace
    ) -> Overlaps:
        """Return the overlaps of some units, by draw."""


@dataclass(frozen=True, eq=False)
class MovedDraws(CaseChance):
    """Overlaps with moved concepts in one case, layer by layer.

    Args:
        chance: how concepts are moved.
        partition: the partition of the case by concepts.
        space: the case.
        drawn: overlaps of the layers so far.
    """

    chance: MovedConcepts
    partition: ConceptParts
    space: CaseSpace
    drawn: list[Tensor] = field(default_factory=list)

    def add(self, above: Above, num_units: int, stride: tuple[float, ...]) -> None:
        """Take in the units of a layer, whatever its stride."""
        self.drawn.append(self.chance.draw(above, num_units, self.partition, self.space))

    def overlaps(self) -> Overlaps:
        """Return the overlaps of all units."""
        return torch.cat(self.drawn, dim=1)


@dataclass(frozen=True)
class CircularShift(MovedConcepts):
    """Concepts shifted by a random number of voxels, round and round; shapes are kept.

    The shift runs through the flattened volume, so that rows that leave at the end of a line come
    in on the next one. Zero is one of the shifts, which makes p valid where units are the same
    everywhere. In a body they are not: whatever lies in it overlaps more with whatever else does
    than with a shifted copy.
    """

    name: ClassVar[str] = "shift"

    def draw(
        self, above: Above, num_units: int, partition: ConceptParts, space: CaseSpace
    ) -> Overlaps:
        """Look up the concepts of each mask's voxels at shifted places."""
        device, num_parts = above.voxels.device, partition.num_parts
        generator = torch.Generator().manual_seed(draw_seed(self.seed, space.number))
        shifts = torch.randint(partition.parts.numel(), (self.samples, 1), generator=generator)
        shifts = shifts.to(device)
        # Twice the volume: a shifted voxel is found without a remainder.
        twice = torch.cat([partition.parts, partition.parts])
        num_concepts = partition.members.shape[1]
        result = torch.zeros((self.samples, num_units, num_concepts), dtype=torch.int64)
        for unit, voxels in enumerate(above_by_units(above, num_units)):
            if not len(voxels):
                continue
            step = max(PLACES_AT_A_TIME // len(voxels), 1)
            for first in range(0, self.samples, step):
                some = shifts[first : first + step]
                rows = torch.arange(len(some), device=device)[:, None] * num_parts
                places = (twice[voxels + some] + rows).flatten()
                counts = torch.bincount(places, minlength=len(some) * num_parts)
                both = partition.of_concepts(counts.reshape(len(some), num_parts))
                result[first : first + len(some), unit] = both.cpu()
        return result


@dataclass(frozen=True)
class Permutation(MovedConcepts):
    """The voxels of each concept shuffled within each case: overlaps are hypergeometric.

    Quick, and too easy to beat: lumps of voxels count as if each were drawn by itself.
    """

    name: ClassVar[str] = "permutation"

    def draw(
        self, above: Above, num_units: int, partition: ConceptParts, space: CaseSpace
    ) -> Overlaps:
        """Draw the overlaps of masks and concepts of these sizes."""
        generator = np.random.default_rng(draw_seed(self.seed, space.number))
        units = above.counts(num_units).cpu().numpy()[None, :, None]
        concepts = partition.sizes.cpu().numpy()[None, None, :]
        shape = (self.samples, num_units, concepts.shape[2])
        drawn = generator.hypergeometric(concepts, partition.num_voxels - concepts, units, shape)
        return torch.from_numpy(drawn.astype(np.int64))


def draw_seed(seed: int, case: int) -> int:
    """Return the seed of one case's draws."""
    return seed * 1_000_003 + case


def p_values(observed: OverlapTally, drawn: Overlaps) -> Float[Tensor, "U K"]:
    """Return (1 + draws with at least the observed overlap) / (1 + draws), float64.

    NaN where no draw could differ, since the unit's mask or the concept is empty.

    Source: Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010), equation 2.
    """
    reached = (drawn >= observed.both[None]).sum(dim=0)
    p = (1.0 + reached.double()) / (1.0 + len(drawn))
    possible = (observed.units > 0)[:, None] & (observed.concepts > 0)[None]
    return torch.where(possible, p, torch.full_like(p, torch.nan))


def q_values(p: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return Benjamini-Hochberg adjusted p-values over all known ones; NaN stays NaN.

        q_(i) = min over j >= i of p_(j) m / j

    There are few, one for each unit and concept, so they are adjusted on the CPU.

    Source: Benjamini and Hochberg, J. R. Statist. Soc. B 57 (1995).
    """
    from scipy import stats  # takes half as long to import as torch; most commands do without

    known = ~p.isnan()
    result = p.clone()
    adjusted = stats.false_discovery_control(p[known].cpu().numpy(), method="bh")
    result[known] = torch.from_numpy(adjusted).to(p)
    return result

"""Where voxels lie: in which organ, and how deep below the surface of the body."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import LabelMap, Mask
from esegeta.targets import distance_to


@dataclass(frozen=True, eq=False)
class MatchingCriteria:
    """What counter-examples are matched for.

    Args:
        organ: the organ of each voxel, `*S`; zero everywhere where no organs are known.
        depth_mm: distance in mm to the surface of the body, `*S`.
        body: voxels of the body, `*S`.
        step_mm: how far apart in mm two depths are that count as different.
    """

    organ: Int[Tensor, "*S"]
    depth_mm: Float[Tensor, "*S"]
    body: Mask
    step_mm: float

    @classmethod
    def of(
        cls,
        body: Mask,
        spacing_mm: tuple[float, ...],
        *,
        organs: LabelMap | None = None,
        step_mm: float,
    ) -> MatchingCriteria:
        """Return the places of a volume's voxels.

        Where the body fills the image, the surface is that of the image.

        Args:
            body: its voxels.
            spacing_mm: spacing of the voxels, in mm.
            organs: a label map, where there is one.
            step_mm: how far apart in mm two depths are that count as different.
        """
        if bool(body.all()):
            padded = F.pad(body, (1, 1) * body.ndim)
            inner = tuple(slice(1, -1) for _ in range(body.ndim))
            distance = distance_to(~padded, spacing_mm)[inner]
        else:
            distance = distance_to(~body, spacing_mm)
        nowhere = torch.zeros_like(distance, dtype=torch.int64)
        organ = nowhere if organs is None else organs.to(nowhere)
        return cls(organ, distance, body, step_mm)

    @property
    def depth(self) -> Int[Tensor, "*S"]:
        """The depth in whole steps."""
        return (self.depth_mm / self.step_mm).floor().long()

    def alike(self, voxel: int, level: int) -> Mask:
        """Return the voxels of the body that are as one voxel: level 0 by organ and depth.

        Args:
            voxel: index into the flattened volume.
            level: 1 by depth only, 2 all of the body.
        """
        found = self.body
        if level < 2:
            apart_mm = (self.depth_mm - self.depth_mm.flatten()[voxel]).abs()
            found = found & (apart_mm <= self.step_mm)
        if level < 1:
            found = found & (self.organ == self.organ.flatten()[voxel])
        return found


LEVELS = ("organ and depth", "depth", "the body")
"""What counter-examples are matched for, by level: the first that has enough places."""

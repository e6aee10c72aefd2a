"""Where voxels lie: in which organ, and how deep below the surface of the body."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import LabelMap, Mask
from esegeta.targets import distance_to


@dataclass(frozen=True, eq=False)
class Places:
    """What counter-examples are matched for.

    Args:
        organ: the organ of each voxel, `*S`; zero everywhere where no organs are known.
        depth: distance to the surface of the body in steps, `*S`.
        body: voxels of the body, `*S`.
    """

    organ: Int[Tensor, "*S"]
    depth: Int[Tensor, "*S"]
    body: Mask

    @classmethod
    def of(
        cls,
        body: Mask,
        spacing_mm: tuple[float, ...],
        *,
        organs: LabelMap | None = None,
        step_mm: float,
    ) -> Places:
        """Return the places of a volume's voxels.

        Where the body fills the image, the surface is that of the image.

        Args:
            body: its voxels.
            spacing_mm: of the voxels.
            organs: a label map, where there is one.
            step_mm: how far apart two depths are that count as different.
        """
        if bool(body.all()):
            padded = F.pad(body, (1, 1) * body.ndim)
            inner = tuple(slice(1, -1) for _ in range(body.ndim))
            distance = distance_to(~padded, spacing_mm)[inner]
        else:
            distance = distance_to(~body, spacing_mm)
        depth = (distance / step_mm).floor().long()
        organ = torch.zeros_like(depth) if organs is None else organs.to(depth)
        return cls(organ, depth, body)

    def alike(self, voxel: int, level: int) -> Mask:
        """Return the voxels of the body that are as one voxel: level 0 by organ and depth.

        Args:
            voxel: index into the flattened volume.
            level: 1 by depth only, 2 all of the body.
        """
        found = self.body
        if level < 2:
            found = found & (self.depth == self.depth.flatten()[voxel])
        if level < 1:
            found = found & (self.organ == self.organ.flatten()[voxel])
        return found


LEVELS = ("organ and depth", "depth", "the body")
"""What counter-examples are matched for, by level: the first that has enough places."""

"""What stands in for a unit where trails ask for chance: fields as smooth as it is in a window.

Units are named by random fields that are as smooth as they are and keep to the body
(`surrogates.py`); what they tell of later units is held against the same. A field is seen at the
positions that the unit is seen at, and the unit's own activations there are handed out by its
ranks, so that a draw has the same values as the unit, window by window, in other places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.axes import Shape, along_axes
from esegeta.dissection.above import Above
from esegeta.dissection.fields import Fields
from esegeta.dissection.places import Covered, Places
from esegeta.dissection.surrogates import grades_of, smoothness_vox, stride_ratios, width_vox

WIDEST_SHARE = 0.5
"""Share of the window's longest side; coarse layers are that smooth in a small window."""

POINTS_PER_WIDTH = 8
"""A field wider than so many positions is made of points that lie apart by this part of it."""

StandInKey = tuple[int, Shape]


@dataclass(frozen=True, eq=False)
class StandIns:
    """Random fields in the place of units in one window, for all units alike.

    Args:
        place: the window and its voxels.
        count: number of draws D.
        known: ranks of a layer's positions in each draw, by smoothness and the layer's shape.
    """

    place: Places
    count: int
    known: dict[StandInKey, Int[Tensor, "D Q"]] = field(default_factory=dict)

    def codes(
        self, own: Int[Tensor, "*layer"], activation: Float[Tensor, "*layer"], covered: Covered
    ) -> Int[Tensor, "D P"]:
        """Return the codes that a unit could as well have had at the voxels, for each draw.

        Voxels in one position have one code, in the draws as in the unit: a coarse map that moves
        in blocks tells more of a smooth one by chance than a fine one does.

        Args:
            own: codes of its activation, ascending with it.
            activation: its activation over the window.
            covered: the part of a window that the layer covers.
        """
        patch = tuple(own.shape)
        where, voxel = torch.unique(self.place.positions(covered, patch), return_inverse=True)
        grade, widths = self._smoothness(activation, covered)
        key = (grade, patch)
        if key not in self.known:
            seed = self.place.seed * 1009 + grade
            self.known[key] = self._ranked(where, patch, widths, seed)
        return own.flatten()[where].sort().values[self.known[key]][:, voxel]

    def _smoothness(
        self, activation: Float[Tensor, "*layer"], covered: Covered
    ) -> tuple[int, tuple[float, ...]]:
        """Return the grade of smoothness of what lies above the median in the body.

        And the widths along the axes that it stands for, in positions of the layer.
        """
        body, patch = self.place.body, tuple(activation.shape)
        stride = tuple(side / n for side, n in zip(covered.extent, patch, strict=True))
        seen = activation.flatten()[self.place.all_positions(covered, patch)]
        values = seen[body]
        # Of a rectified unit, half of it or more at zero: what is above.
        mask = (seen > values.median()) & body
        if not bool(mask.any()):  # it is at its largest in half of the body
            mask = (seen < values.max()) & body
        voxels = mask.flatten().nonzero()[:, 0]
        ratios, grade = stride_ratios(stride), 0
        if len(voxels):
            above = Above(torch.zeros_like(voxels), voxels)
            width = smoothness_vox(
                above, 1, self.place.shape, body.flatten(), ratios, widest_share=WIDEST_SHARE
            )
            grade = int(grades_of(width))
        axes = zip(ratios, stride, strict=True)
        return grade, tuple(width_vox(grade) * ratio / step for ratio, step in axes)

    def _ranked(
        self, where: Int[Tensor, " Q"], patch: Shape, widths: tuple[float, ...], seed: int
    ) -> Int[Tensor, "D Q"]:
        """Return the ranks of some positions of a layer in each draw."""
        steps = tuple(max(int(width / POINTS_PER_WIDTH), 1) for width in widths)
        points = torch.stack(along_axes(where, patch), dim=1) // torch.tensor(steps)
        shape = tuple(math.ceil(n / step) for n, step in zip(patch, steps, strict=True))
        fine = tuple(width / step for width, step in zip(widths, steps, strict=True))
        fields = Fields(fine, torch.zeros(shape, dtype=torch.int64), seed)
        return fields.values(self.count, points).argsort(dim=1, stable=True).argsort(dim=1)

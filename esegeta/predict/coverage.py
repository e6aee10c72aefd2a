"""Which voxels of a window a network's output covers: all, or its middle; at which resolution.

A network whose output has the window's shape needs no second look. Any other is run on a
second, smaller or larger window: from how much its output changes follows how many voxels one
position of it stands for, and so of each layer.

    voxels covered = positions * (voxels added to the window / positions added to the output)

A network of valid convolutions has one position per voxel and covers the middle of its window; one
that returns half the resolution has a position for two voxels, and covers all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import Shape, shape_text
from esegeta.errors import ModelError

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
LARGEST_STRIDE = 64


@dataclass(frozen=True)
class Coverage:
    """What a network's output covers of a window.

    Args:
        positions: positions of the output, along each axis that the network sees.
        voxels: voxels that these positions cover; beyond the window where a network pads more than
            it takes.
        layers: voxels of the window that layers cover, by name; layers not listed cover all of
            them.
    """

    positions: Shape
    voxels: Shape
    layers: Mapping[str, Shape] = field(default_factory=dict, compare=False, repr=False)

    def within(self, size: Shape) -> Shape:
        """Return how many voxels of a window of this size are covered."""
        return tuple(min(c, w) for c, w in zip(self.voxels, size, strict=True))

    def on_voxels(self, output: Tensor, size: Shape) -> Tensor:
        """Resample an output `N L *P` linearly to the voxels of a window that it covers.

        Voxels' and positions' borders meet at the ends (align_corners False); one that reaches
        beyond the window is cut to it.

        Raises:
            ModelError: the output has another shape than that which was seen before.
        """
        if tuple(output.shape[2:]) != self.positions:
            raise ModelError(
                f"the network turned a window of {shape_text(size)} into "
                f"{shape_text(tuple(output.shape[2:]))}, and another one into "
                f"{shape_text(self.positions)}",
                hint="its output must have the same shape for all windows",
            )
        if self.positions != self.voxels:
            mode = LINEAR[len(self.voxels)]
            output = F.interpolate(output, size=self.voxels, mode=mode, align_corners=False)
        for axis, (covered, length) in enumerate(zip(self.voxels, size, strict=True), start=2):
            if covered > length:
                output = output.narrow(axis, (covered - length) // 2, length)
        return output


def stride_between(sizes: Sequence[int], positions: Sequence[int]) -> Fraction | None:
    """Return how many voxels a position stands for along an axis, seen at two sizes of the window.

    None where no whole number of voxels to a position, or of positions to a voxel, is found.
    """
    added, gained = sizes[1] - sizes[0], positions[1] - positions[0]
    if added * gained <= 0:
        return None
    stride = Fraction(added, gained)
    is_plain = 1 in (stride.numerator, stride.denominator)
    return stride if is_plain and 1 / LARGEST_STRIDE <= stride <= LARGEST_STRIDE else None


def covered_voxels(
    size: Shape, positions: Shape, other_size: Shape, other_positions: Shape
) -> Shape | None:
    """Return how many voxels of a window its output covers, seen at two sizes of the window.

    None where an axis leaves it open.
    """
    found = []
    for w, p, v, q in zip(size, positions, other_size, other_positions, strict=True):
        stride = stride_between((w, v), (p, q))
        if stride is None or (p * stride).denominator != 1:
            return None
        found.append(int(p * stride))
    return tuple(found)


def layer_extents(
    size: Shape, other_size: Shape, shapes: Mapping[str, Shape], others: Mapping[str, Shape]
) -> dict[str, Shape]:
    """Return how many voxels of a window layers cover that do not cover all of it.

    Args:
        size: size of a window.
        other_size: size of a second window.
        shapes: positions of each layer for the first, by name.
        others: the same for the second.
    """
    extents = {}
    for name, positions in shapes.items():
        if name not in others or len(positions) != len(size):
            continue
        covered = covered_voxels(size, positions, other_size, others[name])
        # What reaches beyond the window, as padding does, is taken for even over the window.
        if (
            covered is not None
            and covered != size
            and all(c <= w for c, w in zip(covered, size, strict=True))
        ):
            extents[name] = covered
    return extents

"""Random boxes that are replaced: the square perturbation, in two axes or three."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.axes import Image
from esegeta.explain import Objective
from esegeta.explain.perturbation.occlusion import Patch, falls_of_target
from esegeta.predict import Box
from esegeta.volume import Grid


def random_boxes(grid: Grid, side_mm: float, count: int, *, seed: int) -> list[Box]:
    """Return boxes of one side that lie inside a volume, each place as likely as any other."""
    generator = torch.Generator().manual_seed(seed)
    sides = [
        min(length, max(1, round(side_mm / spacing)))
        for length, spacing in zip(grid.shape, grid.spacing_mm, strict=True)
    ]
    boxes = []
    for _ in range(count):
        starts = [
            int(torch.randint(length - side + 1, (1,), generator=generator))
            for length, side in zip(grid.shape, sides, strict=True)
        ]
        boxes.append(
            tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        )
    return boxes


def box_falls(objective: Objective, boxes: Sequence[Box], baseline: Image) -> Float64[Tensor, " M"]:
    """Return how far the target falls when each box is replaced, all channels; on the CPU."""
    channels = slice(0, objective.volume.num_channels)
    patches = [Patch(index, box, channels) for index, box in enumerate(boxes)]
    return falls_of_target(objective, patches, baseline).cpu()

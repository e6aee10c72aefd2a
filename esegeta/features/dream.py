"""DeepDream: a scan is changed, coarse to fine, until a layer sees more of what it sees in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from esegeta.axes import Batch, Image, Shape
from esegeta.features.ascend import Bounds, bounded
from esegeta.features.fourier import octaves
from esegeta.features.objective import PictureObjective
from esegeta.features.parametrisation import resized
from esegeta.features.subject import Subject
from esegeta.features.transforms import Draws
from esegeta.model import held_still


@dataclass(frozen=True)
class Dream:
    """How a scan is dreamt on.

    Args:
        tile: what goes through the network at a time.
        octaves: sizes of the scan, coarse to fine.
        ratio: of one size to the next.
        steps: of each octave.
        rate: length of a step, in standard deviations of the data.
        batch_size: tiles at a time.
    """

    tile: Shape
    octaves: int = 3
    ratio: float = 1.4
    steps: int = 10
    rate: float = 0.1
    batch_size: int = 1

    def passes(self, shape: Shape) -> int:
        """Return how many tiles go through the network."""
        sizes = octaves(shape, self.tile, self.octaves, self.ratio)
        return sum(self.steps * len(tiles_of(self._room(size), self.tile)) for size in sizes)

    def __call__(
        self,
        subject: Subject,
        objective: PictureObjective,
        image: Image,
        *,
        seed: int = 0,
        std: float = 1.0,
        bounds: Bounds | None = None,
        on_tiles: Callable[[int], object] = lambda count: None,
    ) -> Image:
        """Return the scan with more of the objective in it.

            x <- x + rate std g / mean |g|,    g = d a / d x over all tiles, at a random shift

        What an octave added is enlarged to the next; the scan itself is taken from the original at
        each size, so that its own detail comes back.

        Args:
            subject: the network.
            objective: of a tile.
            image: `C *S`.
            seed: of the shifts.
            std: of the data's values.
            bounds: values that it can have.
            on_tiles: told how many went through the network.
        """
        draws, shape = Draws.of(seed), tuple(image.shape[1:])
        added: Tensor | None = None
        with held_still(subject.network):
            for size in octaves(shape, self.tile, self.octaves, self.ratio):
                base = resized(image[None], size)
                x = base if added is None else base + resized(added, size)
                for _ in range(self.steps):
                    slope = self._slope(subject, objective, x, draws, on_tiles)
                    step = slope / slope.abs().mean().clamp(min=1e-12)
                    x = bounded(x + self.rate * std * step, bounds)
                added = x - base
        assert added is not None
        return (image[None] + added)[0]

    def _slope(
        self,
        subject: Subject,
        objective: PictureObjective,
        x: Batch,
        draws: Draws,
        on_tiles: Callable[[int], object],
    ) -> Batch:
        axes = tuple(range(2, x.ndim))
        shape = tuple(x.shape[2:])
        shifts = [draws.integers(0, n - 1, 1)[0] for n in shape]
        rolled = torch.roll(x, shifts, dims=axes)
        room = self._room(shape)
        pads = [side for n, m in zip(shape[::-1], room[::-1], strict=True) for side in (0, m - n)]
        padded = F.pad(rolled, pads, mode="replicate") if any(pads) else rolled
        slope = torch.zeros_like(padded)
        boxes = tiles_of(room, self.tile)
        for start in range(0, len(boxes), self.batch_size):
            part = boxes[start : start + self.batch_size]
            tiles = torch.cat([_within(padded, box) for box in part]).detach().requires_grad_(True)
            with torch.enable_grad():
                value = objective(subject.see(tiles, objective.layers)).sum()
                (found,) = torch.autograd.grad(value, tiles)
            for box, own in zip(part, torch.split(found, 1), strict=True):
                _within(slope, box).add_(own)
            on_tiles(len(part))
        inside = _within(slope, tuple(slice(n) for n in shape))
        return torch.roll(inside, [-s for s in shifts], dims=axes)

    def _room(self, shape: Shape) -> Shape:
        return tuple(max(n, m) for n, m in zip(shape, self.tile, strict=True))


def tiles_of(shape: Shape, tile: Shape) -> list[tuple[slice, ...]]:
    """Return the tiles that cover a shape; the last along an axis ends where the shape does."""
    sides = []
    for length, side in zip(shape, tile, strict=True):
        starts = [*range(0, length - side, side), length - side]
        sides.append([slice(start, start + side) for start in starts])
    return list(itertools.product(*sides))


def _within(x: Tensor, box: tuple[slice, ...]) -> Tensor:
    return x[(slice(None), slice(None), *box)]

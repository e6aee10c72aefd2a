"""How well a map predicts the target of images with boxes taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError, MapError
from esegeta.explain import (
    Attribution,
    Baseline,
    Features,
    Objective,
    generator_for,
    parse_baseline,
    parse_features,
    standard_deviation,
)
from esegeta.explain.perturbation.occlusion import Patch, falls_of_target
from esegeta.predict import Box
from esegeta.score.removal.removal_order import removals_of
from esegeta.score.score import Judgement, Metric, Score, ScoreContext
from esegeta.score.sums import random_coalitions
from esegeta.volume import Grid


def random_boxes(grid: Grid, side_mm: float, count: int, *, seed: int) -> list[Box]:
    """Return boxes of one side that lie inside a volume, every place equally likely."""
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


ROUNDING = 1e-6
"""Misses smaller than this part of the changes are those of float32 maps, and count as none."""


def _above_rounding(squares: Float64[Tensor, " M"], changes: Float64[Tensor, " M"]) -> float:
    """Return the mean of squared misses; 0 where rounding explains them, by which maps differ."""
    missed = float(squares.mean())
    return missed if missed > ROUNDING**2 * float(changes.square().mean()) else 0.0


Pairs = tuple[Float64[Tensor, " M"], Float64[Tensor, " M"]]
"""What the map predicts for each perturbation, and how far the target fell."""


@dataclass(frozen=True)
class Infidelity(Score):
    """How far the change that the map predicts is from the target's change under perturbations I.

        infidelity          = mean (<I, a> - D)^2,    D = R(x) - R(x - I)
        infidelity_beta     = mean (beta <I, a> - D)^2,   beta = mean(<I, a> D) / mean(<I, a>^2)
        infidelity_relative = 1 - cos^2(<I, a>, D)

    `infidelity_relative`: 0 is perfect, 1 a cosine of 0 or below. For boxes and parts <I, a> sums
    the map over replaced voxels, slopes times the change; `gaussian` takes values as slopes.

    Args:
        samples: perturbations, at least 2.
        noise: standard deviation of a gaussian I, in standard deviations of the image.
        seed: random seed for the perturbations.
        perturbation: a random `square` (a box in 3D), random `supervoxels`, or `gaussian`.
        side_mm: side of the square, in mm.
        features: parts to use instead of supervoxels; a random tenth of them is replaced.
        baseline: what replaces boxes and parts: zero, mean, minimum, blur, or an image file.

    Source: Yeh et al., On the (In)fidelity and Sensitivity of Explanations, 2019, definition 2.1
    and section 2.3; beta as in captum's `normalize`, below 0 too. Sums are in float64.
    """

    samples: int = 16
    noise: float = 0.1
    seed: int = 0
    perturbation: Literal["gaussian", "square", "supervoxels"] = "square"
    side_mm: float = 20.0
    features: Features | str = "supervoxels"
    baseline: Baseline | str = "zero"

    name: ClassVar[str] = "infidelity"
    family: ClassVar[str] = "faithfulness"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("infidelity", "lower", scale_free=False),
        Metric("infidelity_beta", "lower"),
        Metric("infidelity_relative", "lower", high=1.0),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", parse_features(self.features))
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))
        if self.samples < 2 or self.noise <= 0 or self.side_mm <= 0:
            raise ConfigError(
                "infidelity: samples must be at least 2, noise and side_mm above zero"
            )

    @classmethod
    def headline(cls) -> Metric:
        """Return the relative figure: the others depend on the map's scale, or the target's."""
        return next(metric for metric in cls.metrics if metric.name == "infidelity_relative")

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the three figures."""
        pairs = {"gaussian": self._noise, "square": self._boxes, "supervoxels": self._parts}
        foreseen, changes = pairs[self.perturbation](attribution, context)
        if not bool((foreseen.isfinite() & changes.isfinite()).all()):
            raise MapError("infidelity: the target of a perturbed image is NaN or Inf")
        energy, force = foreseen.square().sum(), changes.square().sum()
        if float(energy) == 0:
            return self.undefined("the map is zero wherever the image was perturbed")
        product = (foreseen * changes).sum()
        beta = product / energy
        relative = 1 - product.clamp(min=0).square() / (energy * force)
        values = {
            "infidelity": float((foreseen - changes).square().mean()),
            "infidelity_beta": _above_rounding((beta * foreseen - changes).square(), changes),
            "infidelity_relative": float(relative.clamp(0, 1)),
        }
        reason = "the target never changed: there was nothing to predict"
        return Judgement(values, {} if force > 0 else {"infidelity_relative": reason})

    def _noise(self, attribution: Attribution, context: ScoreContext) -> Pairs:
        map_ = attribution.per_channel().double()
        shifts = self._shifts(attribution.volume.data)
        foreseen = [float((shift.double() * map_).sum()) for shift in shifts]
        falls = context.cache.once(
            ("noise", self.noise, self.samples, self.seed),
            lambda: self._noise_falls(context.objective(attribution)),
        )
        return torch.tensor(foreseen, dtype=torch.float64), falls

    def _noise_falls(self, objective: Objective) -> Tensor:
        x, unperturbed = objective.volume.data, objective.value()
        falls = [unperturbed - objective.at(x - shift).value() for shift in self._shifts(x)]
        return torch.tensor(falls, dtype=torch.float64)

    def _shifts(self, x: Image) -> Iterator[Image]:
        """Yield the perturbations, the same each time."""
        generator = generator_for(x, self.seed)
        spread = self.noise * standard_deviation(x)
        for _ in range(self.samples):
            yield spread * torch.randn(x.shape, generator=generator, device=x.device)

    def _boxes(self, attribution: Attribution, context: ScoreContext) -> Pairs:
        volume = attribution.volume
        baseline = parse_baseline(self.baseline).of(volume)
        boxes = random_boxes(volume.grid, self.side_mm, self.samples, seed=self.seed)
        shares = attribution.density().double()
        if attribution.meaning.is_slope:
            shares = shares * (volume.data - baseline)
        foreseen = torch.stack([shares[(slice(None), *box)].sum() for box in boxes])
        falls = context.cache.once(
            ("boxes", self.side_mm, self.samples, self.seed, self.baseline),
            lambda: box_falls(context.objective(attribution), boxes, baseline),
        )
        return foreseen.cpu(), falls

    def _parts(self, attribution: Attribution, context: ScoreContext) -> Pairs:
        parts, how = parse_features(self.features), parse_baseline(self.baseline)
        removed = removals_of(attribution, context, features=parts, replacement=how)
        partition = removed.partition
        sizes = (max(1, round(len(partition) / 10)),)
        coalitions = random_coalitions(len(partition), sizes, self.samples, seed=self.seed)
        falls = removed.start - removed.values(coalitions)
        return removed.foreseen(coalitions, attribution), falls

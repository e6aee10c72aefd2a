"""Infidelity: does the map predict how the target changes under perturbation?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError, MapError
from esegeta.explain import Attribution, Objective, generator_for, standard_deviation
from esegeta.score.score import Judgement, Quality, Score, ScoreContext


@dataclass(frozen=True)
class Infidelity(Score):
    """How far `<I, a>` is from the change of the target under random perturbations I.

        infidelity          = mean (<I, a> - D)^2,    D = R(x) - R(x - I)
        infidelity_beta     = mean (beta <I, a> - D)^2,   beta = mean(<I, a> D) / mean(<I, a>^2)
        infidelity_relative = 1 - cos^2(<I, a>, D)

    The relative one is free of the map's scale: 0 for a perfect map, 1 for a useless one. I is
    Gaussian; maps without channels count evenly for each channel.

    Args:
        samples: perturbations, at least 2.
        noise: standard deviation of I, in standard deviations of the image.
        seed: of the perturbations.

    Raises:
        MapError: the map is zero everywhere, which would look good by predicting nothing, or
            the target is not finite.

    Source: Yeh et al., On the (In)fidelity and Sensitivity of Explanations, 2019, definition
    2.1; beta as in captum's `normalize`. Sums are in float64.
    """

    samples: int = 16
    noise: float = 0.1
    seed: int = 0

    name: ClassVar[str] = "infidelity"
    family: ClassVar[str] = "faithfulness"
    qualities: ClassVar[tuple[Quality, ...]] = (
        Quality("infidelity", "lower"),
        Quality("infidelity_beta", "lower"),
        Quality("infidelity_relative", "lower", high=1.0),
    )

    def __post_init__(self) -> None:
        if self.samples < 2 or self.noise <= 0:
            raise ConfigError("infidelity: samples must be at least 2 and noise above zero")

    @classmethod
    def headline(cls) -> Quality:
        """Return the relative one: the others follow the map's scale, or the target's."""
        return next(quality for quality in cls.qualities if quality.name.endswith("_relative"))

    def judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the three figures."""
        if not bool(attribution.data.any()):
            raise MapError("infidelity: the map is zero everywhere")
        foreseen, changes = self._pairs(attribution, context)
        if not bool((foreseen.isfinite() & changes.isfinite()).all()):
            raise MapError("infidelity: the target of a perturbed image is NaN or Inf")
        energy, force = foreseen.square().sum(), changes.square().sum()
        product = (foreseen * changes).sum()
        beta = product / energy
        relative = 1 - product.square() / (energy * force)
        values = {
            "infidelity": float((foreseen - changes).square().mean()),
            "infidelity_beta": float((beta * foreseen - changes).square().mean()),
            "infidelity_relative": float(relative.clamp(0, 1)),
        }
        reason = "the target never changed: nothing was there to be foreseen"
        return Judgement(values, {} if force > 0 else {"infidelity_relative": reason})

    def _pairs(self, attribution: Attribution, context: ScoreContext) -> tuple[Tensor, Tensor]:
        """Return what the map foresees for each perturbation, and how the target changes."""
        x = attribution.volume.data
        map_ = attribution.per_channel().double()
        foreseen = [float((shift.double() * map_).sum()) for shift in self._shifts(x)]
        # They are the target's alone, the same for all maps.
        key = (self.name, self.samples, self.noise, self.seed)
        changes = context.workings.once(key, lambda: self._changes(context.objective(attribution)))
        return torch.tensor(foreseen, dtype=torch.float64), changes

    def _changes(self, objective: Objective) -> Tensor:
        x, unperturbed = objective.volume.data, objective.value()
        changes = [unperturbed - objective.at(x - shift).value() for shift in self._shifts(x)]
        return torch.tensor(changes, dtype=torch.float64)

    def _shifts(self, x: Image) -> Iterator[Image]:
        """Yield the perturbations, the same each time."""
        generator = generator_for(x, self.seed)
        spread = self.noise * standard_deviation(x)
        for _ in range(self.samples):
            yield spread * torch.randn(x.shape, generator=generator, device=x.device)

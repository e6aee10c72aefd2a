"""Training with one image left out: the same patches in the same order, but for those of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from esegeta.predict import WindowPlan
from esegeta.retraining.samples import Patches, PatchSampler, Sample, Spot

SPARE = 1
"""Added to the seed of the patches that take the place of the left-out image's."""


class SamplerWithout(PatchSampler):
    """Draws as a sampler of all images does; patches of one image are replaced by spare ones.

    A training with the image and one without it then differ by nothing else.

    Args:
        samples: all images.
        plan: of a patch.
        seed: of all draws.
        left_out: place of the image among the samples; None for none.
    """

    def __init__(
        self, samples: Sequence[Sample], plan: WindowPlan, seed: int, left_out: int | None
    ) -> None:
        super().__init__(samples, plan, seed)
        self._left_out = left_out
        self._spare = PatchSampler(samples, plan, seed + SPARE)

    def draw(self) -> Spot:
        """Return where the next patch lies."""
        spot = super().draw()
        while spot.sample == self._left_out:
            spot = self._spare.draw()
        return spot


def patches_without(
    samples: Sequence[Sample],
    images: Sequence[Tensor],
    plan: WindowPlan,
    seed: int,
    left_out: int | None,
) -> Patches:
    """Return the patches of all images but one.

    Args:
        samples: all images, at least two.
        images: of each sample, `C *S`.
        plan: of a patch.
        seed: of where they lie.
        left_out: place of the image that no patch is of; None for none.
    """
    return Patches(
        samples, images, plan, seed, sampler=SamplerWithout(samples, plan, seed, left_out)
    )

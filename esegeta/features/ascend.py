"""Activation maximisation: a picture is changed step by step until it has much of an objective.

    max_z  a(T(x)) / s - sum_i lambda_i R_i(x),    x = P(z)

P is the parametrisation, T a random transformation, s the objective's spread over real patches,
and R_i what the picture pays for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from esegeta.axes import Batch, Scalars
from esegeta.errors import ModelError
from esegeta.features.objective import Objective
from esegeta.features.parametrisation import Parametrisation
from esegeta.features.penalties import Penalty
from esegeta.features.subject import Subject
from esegeta.features.transforms import Blur, Draws, Transforms
from esegeta.model import held_still

Bounds = tuple[Tensor, Tensor]
"""Smallest and largest value of each channel."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a picture is made.

    Args:
        steps: of Adam.
        rate: length of a step, in standard deviations of the data.
        spacing_mm: spacing of the picture's voxels, in mm.
        penalties: lambda and R of each.
        code_weight: lambda of |z|^2 / K, where the free numbers are a code.
        transforms: drawn anew each step.
        blur: of the picture itself.
        bounds: values that a picture can have; None for any.
        side: how far the first neighbourhood of an expert is shifted.
    """

    steps: int
    rate: float
    spacing_mm: tuple[float, ...]
    penalties: tuple[tuple[float, Penalty], ...] = ()
    code_weight: float = 0.0
    transforms: Transforms = field(default=Transforms())
    blur: Blur | None = None
    bounds: Bounds | None = None
    side: int = 1


@dataclass(frozen=True, eq=False)
class Ascent:
    """A picture that was made.

    Args:
        picture: `B C *S`.
        values: the objective before each step, mean over the batch, of the transformed picture.
    """

    picture: Batch
    values: list[float]


def ascend(
    subject: Subject,
    objective: Objective,
    parametrisation: Parametrisation,
    start: Batch,
    recipe: Recipe,
    *,
    seed: int = 0,
    spread: float = 1.0,
    wobble: float = 0.0,
    on_step: Callable[[], object] = lambda: None,
) -> Ascent:
    """Make a picture that has much of an objective.

    Args:
        subject: the network.
        objective: a.
        parametrisation: P.
        start: the first picture, `B C *S`.
        recipe: how.
        seed: of transformations and noise.
        spread: s.
        wobble: standard deviation of noise that the first free numbers are given.
        on_step: told of each step.

    Raises:
        ModelError: the picture became NaN or Inf, or no slope reaches it.
        LayerError: the network has no such layer.
    """
    draws, values = Draws.of(seed), []
    free = [part.detach() for part in parametrisation.encode(start)]
    if wobble:
        free = [part + wobble * draws.normal_like(part) for part in free]
    free = [part.requires_grad_(True) for part in free]
    optimizer = torch.optim.Adam(free, lr=recipe.rate)
    with held_still(subject.network), torch.enable_grad():
        for step in range(recipe.steps):
            x = parametrisation.decode(free)
            value = objective(
                subject.see(recipe.transforms(x, draws, recipe.spacing_mm), objective.layers)
            )
            values.append(value.detach().mean())
            gain = (value / spread).sum() - _paid(x, free, parametrisation, recipe, draws).sum()
            if not gain.requires_grad:
                raise ModelError(
                    f"no slope of {objective.describe()} reaches the picture",
                    hint="name a unit that depends on the input",
                )
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(-gain, inputs=free)
            optimizer.step()
            _project(free, parametrisation, recipe, step)
            on_step()
    with torch.no_grad():
        picture = bounded(parametrisation.decode(free), recipe.bounds)
    if not bool(picture.isfinite().all()):
        raise ModelError(
            f"the picture of {objective.describe()} became NaN or Inf",
            hint="lower features.rate, or use precision: fp32",
        )
    history: list[float] = torch.stack(values).tolist() if values else []
    return Ascent(picture.detach(), history)


def _paid(
    x: Batch,
    free: Sequence[Tensor],
    parametrisation: Parametrisation,
    recipe: Recipe,
    draws: Draws,
) -> Scalars:
    paid = x.new_zeros(len(x))
    shift = draws.integers(0, recipe.side - 1, x.ndim - 2) if recipe.side > 1 else []
    for weight, penalty in recipe.penalties:
        paid = paid + weight * penalty(x, shift=shift)
    effort = parametrisation.effort(free) if recipe.code_weight else None
    return paid if effort is None else paid + recipe.code_weight * effort


@torch.no_grad()
def _project(
    free: Sequence[Tensor], parametrisation: Parametrisation, recipe: Recipe, step: int
) -> None:
    """Smooth the picture where it is due, and bring it back within its bounds."""
    smooths = recipe.blur is not None and (step + 1) % recipe.blur.every == 0
    is_code = parametrisation.effort(free) is not None
    if not smooths and (recipe.bounds is None or is_code):
        return
    x = parametrisation.decode(free)
    if smooths and recipe.blur is not None:
        x = recipe.blur(x, recipe.spacing_mm)
    for part, new in zip(free, parametrisation.encode(bounded(x, recipe.bounds)), strict=True):
        part.copy_(new)


def bounded(x: Batch, bounds: Bounds | None) -> Batch:
    """Return a batch whose channels are clipped to their bounds."""
    if bounds is None:
        return x
    low, high = (edge.to(x).reshape(1, -1, *[1] * (x.ndim - 2)) for edge in bounds)
    return torch.minimum(torch.maximum(x, low), high)

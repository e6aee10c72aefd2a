"""Activation maximisation: a picture is changed step by step until it has much of an objective.

    max_z  a(T(x)) / s - sum_i lambda_i R_i(x),    x = P(z)

P is the parametrisation, T a random transformation, s the objective's spread over real patches,
and R_i what the picture pays for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from esegeta.axes import Batch, Scalars
from esegeta.errors import ModelError
from esegeta.features.objective import PictureObjective
from esegeta.features.parametrisation import Parametrisation
from esegeta.features.penalties import Penalty
from esegeta.features.subject import Subject
from esegeta.features.transforms import Blur, Draws, Transforms, best_shift, shifted
from esegeta.model import held_still

Bounds = tuple[Tensor, Tensor]
"""Smallest and largest value of each channel."""

TRIES = 6
"""How often the noise on a start is doubled where an objective has no slope there."""

SETTLING = 4
"""One part in so many of the steps, the last ones, is made at one shift instead of a drawn one."""


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
    objective: PictureObjective,
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

    A layer with strides sees a jittered picture at any of its phases, which it then suits: the last
    quarter of the steps is made at the one shift that has most, by which the picture is moved.

    Args:
        subject: the network.
        objective: a.
        parametrisation: P.
        start: the first picture, `B C *S`.
        recipe: how.
        seed: of transformations and noise.
        spread: s.
        wobble: standard deviation of noise that the first free numbers are given; more where the
            objective has no slope there.
        on_step: told of each step.

    Raises:
        ModelError: the picture became NaN or Inf, or no slope reached it in any step.
        LayerError: the network has no such layer.
    """
    draws, values = Draws.of(seed), []
    with held_still(subject.network):
        free = _first_numbers(subject, objective, parametrisation, start, draws, wobble)
    optimizer = torch.optim.Adam(free, lr=recipe.rate)
    steepest = start.new_zeros(())
    shift: list[int] | None = None
    with held_still(subject.network), torch.enable_grad():
        for step in range(recipe.steps):
            x = _held(parametrisation.decode(free), free, parametrisation, recipe)
            if step == recipe.steps - recipe.steps // SETTLING:
                of_code = parametrisation.effort(free) is not None
                shift = _settled(x.detach(), subject, objective, recipe, of_code=of_code)
            shown = recipe.transforms(x, draws, recipe.spacing_mm, shift=shift)
            shown = shown.view_as(shown)  # by which the objective alone has a slope
            value = objective(subject.see(shown, objective.layers))
            values.append(value.detach().mean())
            if value.requires_grad:
                shown.register_hook(partial(_note_steepest, steepest))  # type: ignore[no-untyped-call]
            gain = (value / spread).sum() - _paid(x, free, parametrisation, recipe, draws).sum()
            optimizer.zero_grad(set_to_none=True)
            if gain.requires_grad:
                torch.autograd.backward(-gain, inputs=free)
            optimizer.step()
            _project(free, parametrisation, recipe, step)
            on_step()
    if recipe.steps and not bool(steepest):
        raise ModelError(
            f"no slope of {objective.describe()} reaches the picture in any of {recipe.steps} "
            "steps: its activation is zero there, or does not depend on the input",
            hint="start from noise, from a case or from a class mean, or name another unit",
        )
    with torch.no_grad():
        picture = bounded(parametrisation.decode(free), recipe.bounds)
        picture = picture if shift is None else shifted(picture, shift)
    if not bool(picture.isfinite().all()):
        raise ModelError(
            f"the picture of {objective.describe()} became NaN or Inf",
            hint="lower features.rate, or use precision: fp32",
        )
    history: list[float] = torch.stack(values).tolist() if values else []
    return Ascent(picture.detach(), history)


def _settled(
    x: Batch,
    subject: Subject,
    objective: PictureObjective,
    recipe: Recipe,
    *,
    of_code: bool,
) -> list[int] | None:
    """Return the shift that the last steps are made at; None where pictures are not jittered.

    A shifted picture has no code of its own: a code settles where it is.
    """
    reach = recipe.transforms.jitter_voxels
    if not reach:
        return None
    if of_code:
        return [0] * (x.ndim - 2)
    with torch.no_grad():
        return best_shift(x, reach, lambda y: objective(subject.see(y, objective.layers)).sum())


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


def _first_numbers(
    subject: Subject,
    objective: PictureObjective,
    parametrisation: Parametrisation,
    start: Batch,
    draws: Draws,
    wobble: float,
) -> list[Tensor]:
    """Return the free numbers of a start with noise, more of it where a unit is silent on less.

    Behind a ReLU there is no slope to follow from where it is zero.
    """
    clean = [part.detach() for part in parametrisation.encode(start)]
    free = clean
    if wobble:
        free = [part + wobble * draws.normal_like(part) for part in clean]
        for more in range(1, TRIES + 1):
            silent = _is_silent(subject, objective, parametrisation, free)
            if not bool(silent.any()):
                break
            size = wobble * 2**more
            noisy = [part + size * draws.normal_like(part) for part in clean]
            free = [
                torch.where(silent.reshape(-1, *[1] * (part.ndim - 1)), new, part)
                for new, part in zip(noisy, free, strict=True)
            ]
    return [part.requires_grad_(True) for part in free]


def _is_silent(
    subject: Subject,
    objective: PictureObjective,
    parametrisation: Parametrisation,
    free: Sequence[Tensor],
) -> Tensor:
    """Return of which pictures of the batch an objective has no slope."""
    with torch.enable_grad():
        x = parametrisation.decode(free).detach().requires_grad_(True)
        value = objective(subject.see(x, objective.layers))
        if not value.requires_grad:
            return torch.ones(len(x), dtype=torch.bool, device=x.device)
        (slope,) = torch.autograd.grad(value.sum(), x, allow_unused=True, materialize_grads=True)
    return (slope == 0).flatten(1).all(1)


def _note_steepest(steepest: Tensor, slope: Tensor) -> None:
    """Keep the largest magnitude of a slope, on its device: no step waits for it."""
    torch.maximum(steepest, slope.abs().amax().nan_to_num(1.0), out=steepest)


def _held(
    x: Batch, free: Sequence[Tensor], parametrisation: Parametrisation, recipe: Recipe
) -> Batch:
    """Return the picture of a code within the bounds that the finished one is brought back to.

    A clipped picture has no code of its own. What leaves the bounds has no slope, so that a code is
    not rewarded for it.
    """
    return x if parametrisation.effort(free) is None else bounded(x, recipe.bounds)


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

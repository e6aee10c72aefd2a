"""Free numbers and back; and the best picture of a linear unit in every kind of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from esegeta.features import (
    Code,
    Fourier,
    MultiScale,
    Normed,
    Parametrisation,
    PcaGenerator,
    Recipe,
    Subject,
    UnitObjective,
    Unmixed,
    Voxels,
    ascend,
    mixing_of,
)
from tests.features.networks import Linear

SHAPES = {2: (7, 6), 3: (6, 5, 4)}
SPACING = {2: (1.0, 2.5), 3: (1.0, 2.5, 1.5)}
KINDS = ("voxels", "fourier", "multiscale", "unmixed", "code")


def make(kind: str, ndim: int, w: torch.Tensor) -> Parametrisation:
    if kind == "code":
        patches = torch.randn(12, *w.shape) * 0.3 + torch.randn(12, *[1] * w.ndim) * w
        # One of the components is w itself: else no code could have it.
        patches = torch.cat([patches, -patches + 2 * patches.mean(0)])
        generator = PcaGenerator.fit(patches, 23)
        axes = torch.cat([(w / w.norm())[None], generator.axes])
        flat = torch.linalg.qr(axes.flatten(1).T)[0].T
        return Code(PcaGenerator(0 * w, flat.reshape(-1, *w.shape), torch.ones(len(flat))))
    values = torch.tensor([[1.0, 0.0], [2.0, 3.0]]) @ torch.randn(2, 400) + 1.0
    fourier = Fourier(SHAPES[ndim], SPACING[ndim])
    kinds = {
        "voxels": Voxels(),
        "fourier": fourier,
        "multiscale": MultiScale(3),
        "unmixed": Unmixed(fourier, *mixing_of(values)),
    }
    return kinds[kind]


def by_turns(kinds: Sequence[str]) -> list[tuple[str, int]]:
    """Return each kind with a number of axes, of which what is free knows little."""
    return [(kind, 2 + place % 2) for place, kind in enumerate(kinds)]


@pytest.mark.parametrize(("kind", "ndim"), by_turns(KINDS))
def test_the_optimum_of_a_linear_unit_is_found(kind: str, ndim: int) -> None:
    """Under |x| = 1 the largest <w, x> has w / |w|."""
    w = torch.randn(2, *SHAPES[ndim])
    recipe = Recipe(120, 0.1, SPACING[ndim])
    start = torch.randn(1, *w.shape)
    made = ascend(
        Subject(Linear(w)),
        UnitObjective("unit", 0),
        Normed(make(kind, ndim, w), 1.0),
        start,
        recipe,
    )
    assert float(made.picture.norm()) == pytest.approx(1, abs=1e-4)
    assert float((made.picture[0] * w).sum() / w.norm()) > 0.999


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_encoding_and_decoding_returns_the_picture(kind: str, ndim: int) -> None:
    x = torch.randn(3, 2, *SHAPES[ndim])
    there = make(kind, ndim, x[0])
    assert torch.allclose(there.decode(there.encode(x)), x, atol=1e-5)


FAR_AWAY = 4.0
"""Mean of the data, in its standard deviations."""


def data_far_away(ndim: int) -> tuple[torch.Tensor, PcaGenerator, Unmixed]:
    """Return a unit, a generator that has it as its least component, and unlike channels."""
    w = torch.randn(2, *SHAPES[ndim])
    others = torch.randn(w.numel(), 11)
    axes = torch.linalg.qr(torch.cat([w.flatten()[:, None], others], dim=1))[0].T
    mean = torch.full(w.shape, FAR_AWAY)
    generator = PcaGenerator(mean, axes.reshape(-1, *w.shape), torch.logspace(-2, 0, 12))
    channels = torch.randn(2, 4000) * torch.tensor([[1.0], [300.0]]) + FAR_AWAY
    return w, generator, Unmixed(Voxels(), *mixing_of(channels))


def test_a_linear_unit_is_found_for_data_far_from_zero(ndim: int) -> None:
    """A code alone came to a cosine of 0.1, and channels 300 times as wide as others to 0.99."""
    w, generator, unmixed = data_far_away(ndim)
    start = torch.full((1, *w.shape), FAR_AWAY)
    subject, unit = Subject(Linear(w)), UnitObjective("unit", 0)
    for kind, steps in ((generator.directions(), 100), (unmixed.of_directions(), 200)):
        recipe = Recipe(steps, 10 / steps, SPACING[ndim])
        made = ascend(subject, unit, Normed(kind, 1.0), start, recipe).picture
        assert float((made[0] * w).sum() / w.norm()) > 0.999


def test_directions_are_the_span_of_mean_and_components(ndim: int) -> None:
    _, generator, _ = data_far_away(ndim)
    found = generator.directions()
    flat = found.axes.flatten(1)
    assert torch.allclose(flat @ flat.T, torch.eye(13), atol=1e-5)
    x = 3 * generator.decode(torch.randn(2, 12))
    assert torch.allclose(found.decode(found.encode(x)), x, atol=1e-4)
    without = PcaGenerator(2 * generator.axes[0], generator.axes, generator.scales)
    assert len(without.directions().axes) == 12


def test_fourier_scales_fall_with_the_frequency_in_mm(ndim: int) -> None:
    """As many cycles over 2.5 times the length are a lower frequency, and move farther."""
    scale = Fourier(SHAPES[ndim], SPACING[ndim]).scale.double()
    shape, mm = SHAPES[ndim], SPACING[ndim]
    first = scale[(1, *[0] * (ndim - 1))]
    second = scale[(0, 1, *[0] * (ndim - 2))]
    ratio = (shape[1] * mm[1]) / (shape[0] * mm[0])
    assert float(second / first) == pytest.approx(ratio, rel=1e-5)
    noise = torch.randn(4000, 1, *shape)
    made = Fourier(shape, mm).decode(
        [torch.view_as_real(torch.fft.rfftn(noise, dim=tuple(range(2, 2 + ndim)), norm="ortho"))]
    )
    assert float(made.var()) == pytest.approx(1, rel=0.1)


def test_channels_are_decorrelated_by_their_covariance() -> None:
    values = torch.tensor([[1.0, 0.0], [2.0, 3.0]]) @ torch.randn(2, 500) + 1.0
    mean, mixing = mixing_of(values)
    covariance = np.cov(values.numpy())
    assert np.allclose((mixing @ mixing).numpy(), covariance, atol=1e-4)
    inner = Unmixed(Voxels(), mean, mixing).encode(values[None, :, :, None])[0]
    assert np.allclose(np.cov(inner[0, :, :, 0].numpy()), np.eye(2), atol=1e-4)


def test_a_constant_channel_has_an_inverse() -> None:
    mean, mixing = mixing_of(torch.ones(1, 10))
    x = torch.full((1, 1, 2, 2), 3.0)
    there = Unmixed(Voxels(), mean, mixing)
    assert torch.allclose(there.decode(there.encode(x)), x)


def test_a_coarse_change_takes_one_step_of_few_parameters() -> None:
    free = [part * 0 for part in MultiScale(3).encode(torch.zeros(1, 1, 8, 8))]
    assert [tuple(part.shape[2:]) for part in free] == [(8, 8), (4, 4), (2, 2)]
    free[2] += 1
    assert torch.allclose(MultiScale(3).decode(free), torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize(("kind", "ndim"), by_turns(KINDS[:3]))
def test_a_linear_unit_is_found_from_a_distant_start(kind: str, ndim: int) -> None:
    """Scans are far from zero: a mean patch is long, and the direction of w is none of it."""
    w = torch.randn(2, *SHAPES[ndim])
    start = torch.full((1, *w.shape), 5.0) + 0.05 * torch.randn(1, *w.shape)
    there = Normed(make(kind, ndim, w), 3.0)
    made = ascend(
        Subject(Linear(w)), UnitObjective("unit", 0), there, start, Recipe(120, 0.1, SPACING[ndim])
    )
    assert float((made.picture[0] * w).sum() / w.norm()) > 0.999 * 3
    assert torch.allclose(there.decode(there.encode(start)), 3 * start / start.norm(), atol=1e-5)

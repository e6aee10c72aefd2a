"""Pictures whose answer is known: a blob, slices of a flat network, and another program's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import ModelError
from esegeta.features import (
    Blur,
    Code,
    Fourier,
    Normed,
    Parametrisation,
    PcaGenerator,
    PictureObjective,
    PowerNorm,
    Recipe,
    Subject,
    TotalVariation,
    Transforms,
    UnitObjective,
    Voxels,
    ascend,
    high_frequency_share,
)
from tests.features.networks import BlobDetector, Linear, blob

BOUNDS = (torch.tensor([-1.0]), torch.tensor([1.0]))


def made_of(
    network: nn.Module,
    parametrisation: Parametrisation,
    recipe: Recipe,
    *,
    at: str = "mean",
    side: int = 24,
    seed: int = 0,
) -> tuple[Tensor, float]:
    unit: PictureObjective = UnitObjective("act", 0, at)  # type: ignore[arg-type]
    ndim = len(recipe.spacing_mm)
    start = torch.zeros(1, 1, *(side,) * ndim)
    subject = Subject(network)
    picture = ascend(subject, unit, parametrisation, start, recipe, seed=seed, wobble=0.05).picture
    value = subject.values(picture, unit, batch_size=1, device=torch.device("cpu"))
    return picture, float(value[0])


@pytest.mark.parametrize("kind", ["voxels", "fourier"])
def test_the_picture_of_a_blob_detector_is_its_blob(kind: str, ndim: int) -> None:
    side, spacing = {2: 24, 3: 11}[ndim], (1.0, 1.0, 2.5)[:ndim]
    inner = Voxels() if kind == "voxels" else Fourier((side,) * ndim, spacing)
    recipe = Recipe(50, 0.1, spacing)
    picture, _ = made_of(BlobDetector(ndim), Normed(inner, 1.0), recipe, at="centre", side=side)
    expected = torch.zeros((side,) * ndim)
    expected[(slice(side // 2 - 3, side // 2 + 4),) * ndim] = blob(ndim)
    assert float(torch.cosine_similarity(picture.flatten(), expected.flatten(), dim=0)) > 0.99


SIDES = {2: 24, 3: 16}


def plain_and_jittered(ndim: int, kind: str, seed: int, jitter: int) -> tuple[float, ...]:
    """Return activations and high-frequency shares of jitter and of waves, over those without.

    The detector is on every second voxel and has grain: single voxels would do it well.
    """
    network = BlobDetector(ndim, grain=0.5, stride=2, kind=kind, seed=seed)
    spacing, side = (1.0,) * ndim, SIDES[ndim]
    jittered = Recipe(60, 0.1, spacing, transforms=Transforms(jitter_voxels=jitter))
    waves = Fourier((side,) * ndim, spacing)
    found = []
    for inner, recipe in (
        (Voxels(), Recipe(60, 0.1, spacing)),
        (Voxels(), jittered),
        (waves, Recipe(60, 0.05, spacing)),
    ):
        picture, value = made_of(network, Normed(inner, 5.0), recipe, side=side, seed=seed)
        found.append((value, float(high_frequency_share(picture, spacing)[0])))
    (value, share), *others = found
    return tuple(part for one, fine in others for part in (one / value, fine / share))


def test_fourier_and_jitter_reduce_grain_and_keep_the_activation() -> None:
    kept, fine, kept_by_waves, fine_of_waves = plain_and_jittered(2, "blob", 0, 1)
    assert kept > 0.8
    assert kept_by_waves > 0.8
    assert fine < 0.6
    assert fine_of_waves < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blob", "edge", "ring"])
def test_jitter_keeps_the_activation_of_every_detector(kind: str, ndim: int) -> None:
    """A layer with strides has 2^n phases, and a jittered picture may suit any but its own.

    The flat ring's best picture is a chessboard, of which jitter leaves more.
    """
    for seed in (0, 1):
        for jitter in (1, 2):
            kept, fine, kept_by_waves, _ = plain_and_jittered(ndim, kind, seed, jitter)
            assert kept > 0.8
            assert fine < (1.0 if ndim == 2 and kind == "ring" else 0.8)
            assert kept_by_waves > 0.8


def test_a_3d_picture_equals_the_2d_one_if_the_third_axis_is_ignored() -> None:
    flat, deep = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh()), nn.Sequential()
    conv = nn.Conv3d(1, 3, (3, 3, 1), padding=(1, 1, 0))
    conv.load_state_dict({"weight": flat[0].weight[..., None], "bias": flat[0].bias})
    deep = nn.Sequential(conv, nn.Tanh())
    start = torch.randn(1, 1, 8, 7)
    recipe = Recipe(20, 0.05, (1.0, 1.0))
    unit = UnitObjective("1", 2)
    one = ascend(Subject(flat), unit, Voxels(), start, recipe).picture
    thick = start[..., None].expand(-1, -1, -1, -1, 4).clone()
    recipe = Recipe(20, 0.05, (1.0, 1.0, 1.0))
    other = ascend(Subject(deep), unit, Voxels(), thick, recipe).picture
    assert torch.allclose(other, one[..., None].expand_as(other), atol=1e-3)


def lucent_like(
    network: nn.Module, side: int, steps: int, rate: float
) -> tuple[Tensor, Tensor, float]:
    """Return a picture as lucent makes it, written anew, its start, and a scale of its spectrum."""
    fy = torch.fft.fftfreq(side)[:, None]
    fx = torch.fft.fftfreq(side)[: side // 2 + 1].abs()
    freqs = torch.sqrt(fx**2 + fy**2)
    scale = 1 / freqs.clamp(min=1 / side)
    spectrum = torch.randn(1, 1, side, side // 2 + 1, 2).mul_(0.1).requires_grad_(True)
    optimizer = torch.optim.Adam([spectrum], lr=rate)

    def picture() -> Tensor:
        waves = torch.complex(spectrum[..., 0], spectrum[..., 1]) * scale
        return torch.fft.irfft2(waves, s=(side, side), norm="ortho")

    start = picture().detach()
    for _ in range(steps):
        loss = -network(picture())[:, 1].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return picture().detach(), start, float(scale[1, 1])


def test_a_picture_equals_that_of_lucent() -> None:
    side, rate = 12, 0.02
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Tanh())
    expected, start, scale = lucent_like(network, side, 25, rate)
    ours = Fourier((side, side), (1.0, 1.0))
    recipe = Recipe(25, rate * scale / float(ours.scale[1, 1]), (1.0, 1.0))
    found = ascend(Subject(network), UnitObjective("3", 1), ours, start, recipe).picture
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-3


def test_a_penalised_linear_unit_has_its_closed_form() -> None:
    """max <w, x> - lambda mean x^2 / scale at x = w n scale / (2 lambda)."""
    w = torch.randn(1, 4, 3)
    norm = PowerNorm(torch.zeros(1, 4, 3), 2.0, scale=0.5)
    recipe = Recipe(200, 0.05, (1.0, 1.0), penalties=((3.0, norm),))
    start = torch.zeros(1, 1, 4, 3)
    made = ascend(Subject(Linear(w)), UnitObjective("unit", 0), Voxels(), start, recipe)
    assert torch.allclose(made.picture[0], w * 12 * 0.5 / (2 * 3.0), atol=2e-2)
    assert len(made.values) == 200
    assert made.values[-1] > made.values[0]


def test_penalties_equal_their_definitions() -> None:
    x = torch.randn(2, 1, 5, 4)
    rough = x.diff(dim=2).abs().mean((1, 2, 3)) / 2 + x.diff(dim=3).abs().mean((1, 2, 3)) / 0.5
    assert torch.allclose(TotalVariation((2.0, 0.5))(x), rough)
    centre = torch.randn(1, 5, 4)
    six = ((x - centre) ** 6).mean((1, 2, 3)) / 3
    assert torch.allclose(PowerNorm(centre, 6.0, 3.0)(x), six, rtol=1e-4)


def test_bounds_and_blur_reach_the_picture() -> None:
    w = torch.randn(1, 6, 6)
    bounds = (torch.tensor([-0.2]), torch.tensor([0.3]))
    start, unit = torch.zeros(1, 1, 6, 6), UnitObjective("unit", 0)
    for inner in (Voxels(), Fourier((6, 6), (1.0, 1.0))):
        recipe = Recipe(30, 0.1, (1.0, 1.0), bounds=bounds)
        picture = ascend(Subject(Linear(w)), unit, inner, start, recipe).picture
        assert float(picture.min()) == pytest.approx(-0.2)
        assert float(picture.max()) == pytest.approx(0.3)
    smooth = Recipe(30, 0.1, (1.0, 1.0), bounds=bounds, blur=Blur(1.0, every=1))
    other = ascend(Subject(Linear(w)), unit, Voxels(), start, smooth).picture
    share = [float(high_frequency_share(one, (1.0, 1.0))[0]) for one in (other, picture)]
    assert share[0] < share[1] / 2


def test_seeds_differ_and_are_reproducible() -> None:
    subject, unit = Subject(BlobDetector(2)), UnitObjective("act", 0)
    recipe, start = Recipe(3, 0.1, (1.0, 1.0)), torch.zeros(1, 1, 8, 8)
    one, same, other = (
        ascend(subject, unit, Voxels(), start, recipe, seed=seed, wobble=0.1).picture
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("wobble", [0.0, 0.1])
def test_an_objective_without_gradient_is_refused(wobble: float) -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(torch.zeros_like(x)) + x

    unit, start = UnitObjective("act", 0), torch.zeros(1, 1, 4, 4)
    with pytest.raises(ModelError, match="no slope of unit 0 of act"):
        ascend(Subject(Deaf()), unit, Voxels(), start, Recipe(1, 0.1, (1.0, 1.0)), wobble=wobble)


@pytest.mark.parametrize("penalties", [(), ((1.0, TotalVariation((1.0, 1.0))),)])
def test_a_unit_that_is_silent_on_the_start_makes_no_picture(penalties: tuple) -> None:
    """A picture that nothing moved, or penalties alone, would look like a result."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    nn.init.constant_(network[0].weight, 1.0)
    nn.init.constant_(network[0].bias, -5.0)
    recipe = Recipe(3, 0.1, (1.0, 1.0), penalties=penalties)
    unit, start = UnitObjective("1", 0), torch.randn(1, 1, 4, 4)
    for wobble in (0.0, 0.01):  # doubled six times, such noise does not reach 5
        with pytest.raises(ModelError, match="in any of 3 steps: its activation is zero there"):
            ascend(Subject(network), unit, Voxels(), start, recipe, wobble=wobble)
    assert ascend(Subject(network), unit, Voxels(), start + 5, recipe).values[-1] > 0


def test_noise_wakes_a_unit_that_is_silent_on_the_start() -> None:
    """At 0 and 0.2 about it a ReLU of x - 1 is silent: noise is doubled until it is not."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    nn.init.constant_(network[0].weight, 1.0)
    nn.init.constant_(network[0].bias, -1.0)
    recipe, unit = Recipe(1, 0.1, (1.0, 1.0)), UnitObjective("1", 0)
    start = torch.zeros(3, 1, 3, 3)
    start[1] = 2.0
    made = ascend(Subject(network), unit, Voxels(), start, recipe, wobble=0.05).picture
    assert (made.flatten(1).max(1).values > 1).all()
    assert torch.allclose(made[1], torch.tensor(2.1), atol=0.3)  # was awake, and is left as it was


def test_a_code_gains_nothing_from_clipped_values() -> None:
    axis = torch.linspace(0.5, 1.0, 16).reshape(1, 1, 4, 4)
    code = Code(PcaGenerator(torch.zeros(1, 4, 4), axis, torch.ones(1)))
    subject, unit = Subject(Linear(torch.ones(1, 4, 4))), UnitObjective("unit", 0)
    bounds = (torch.tensor([-1.0]), torch.tensor([1.0]))
    recipe = Recipe(120, 0.1, (1.0, 1.0), code_weight=0.5, bounds=bounds)
    made = ascend(subject, unit, code, torch.zeros(1, 1, 4, 4), recipe)
    value = subject.values(made.picture, unit, batch_size=1, device=torch.device("cpu"))
    assert made.values[-1] == pytest.approx(float(value), rel=1e-2)
    # sum min(1, z a) - z^2 / 2 is largest where z equals the sum of a that is below 1 / z.
    z = torch.linspace(0, 12, 120_001)
    worth = (z[:, None] * axis.flatten()).clamp(max=1).sum(1) - z.square() / 2
    best = float((float(z[worth.argmax()]) * axis).clamp(max=1).sum())
    assert float(value) == pytest.approx(best, rel=1e-2)


def test_a_picture_that_is_not_finite_is_refused() -> None:
    w = torch.full((1, 3, 3), float("nan"))
    start = torch.zeros(1, 1, 3, 3)
    with pytest.raises(ModelError, match="NaN or Inf"):
        ascend(
            Subject(Linear(w)),
            UnitObjective("unit", 0),
            Voxels(),
            start,
            Recipe(1, 0.1, (1.0, 1.0)),
        )


def test_a_jittered_code_is_not_shifted() -> None:
    """A shifted picture has no code: the unit looks one voxel beside, and the picture stays."""
    axis = torch.zeros(1, 1, 6, 6)
    axis[0, 0, 2, 2:4] = 1.0
    code = Code(PcaGenerator(torch.zeros(1, 6, 6), axis, torch.ones(1)))
    looks = torch.roll(axis[0], 1, dims=1)
    recipe = Recipe(8, 0.1, (1.0, 1.0), transforms=Transforms(jitter_voxels=1))
    subject, unit, start = Subject(Linear(looks)), UnitObjective("unit", 0), 0 * axis
    made = ascend(subject, unit, code, start, recipe, wobble=0.1, seed=2).picture
    assert float(made.abs().max()) > 0.1
    assert torch.equal(made == 0, axis == 0)
    moved = ascend(subject, unit, Voxels(), start, recipe).picture
    assert not torch.equal(moved == 0, axis == 0)  # voxels are free to go there

"""Optimised masks find what matters, by hand and by an independent descent with autograd."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import MapError
from esegeta.explain import MeaningfulPerturbation
from esegeta.predict import LinearForm, Predictor
from esegeta.targets import Everywhere, FrozenTarget, VoxelTarget
from esegeta.volume import Volume, volume_from_tensor
from tests.builders import predictor, volume
from tests.networks import Counting, Smooth
from tests.oracles import frozen, monai_prediction, relative_gap, with_coefficients

pytestmark = pytest.mark.usefixtures("whole_windows")

BOX = {2: (slice(4, 8), slice(8, 12)), 3: (slice(4, 8), slice(8, 12), slice(0, 4))}
SHAPE = {2: (28, 24), 3: (28, 24, 8)}


class Copy(nn.Module):
    """Logits are the image, and minus the image: the target's coefficients are its weights."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([-x, x], dim=1)


def box_case(ndim: int) -> tuple[Predictor, Volume, FrozenTarget, Tensor]:
    """A target that is linear in a box of an image of ones."""
    image = volume_from_tensor(torch.ones(1, *SHAPE[ndim]))
    model = predictor(Copy(), (8,) * ndim)
    inside = torch.zeros(SHAPE[ndim])
    inside[BOX[ndim]] = 1.0
    target = with_coefficients(
        frozen(model, image), torch.stack([torch.zeros_like(inside), inside])
    )
    return model, image, target, inside.bool()


@pytest.mark.parametrize("mode", ["deletion", "preservation"])
def test_the_mask_finds_the_only_box_that_matters(ndim: int, mode: str) -> None:
    model, image, target, inside = box_case(ndim)
    method = MeaningfulPerturbation(mode=mode, steps=30, cell=4, tv=0.0, l1=0.5, baseline="zero")
    found = method.explain(model, image, target)
    # Cells reach half a cell beyond their border; at its very centre the box is whole.
    middle = tuple(slice(side.start + 1, side.stop - 1) for side in BOX[ndim])
    assert found.data[0][middle].min() > 0.9
    # The neighbouring cells help at the box's border; those beyond them do not.
    near = torch.zeros_like(inside)
    near[tuple(slice(max(0, side.start - 8), side.stop + 8) for side in BOX[ndim])] = True
    assert not near.all()
    assert found.data[0][~near].max() == 0
    more = found.facts.more
    assert more["value_image"] == pytest.approx(float(inside.sum()))
    assert more["value_baseline"] == 0
    kept = found.data[0] if mode == "preservation" else 1 - found.data[0]
    assert more["value_masked"] == pytest.approx(float(kept[inside].sum()), rel=1e-5)
    assert more["mask_area"] == pytest.approx(float(found.data.mean()), rel=1e-5)
    assert found.unit == "mask"
    assert not found.warnings


@pytest.mark.parametrize("mode", ["deletion", "preservation"])
def test_an_independent_descent_with_autograd(ndim: int, mode: str) -> None:
    """One graph through MONAI's windows and torch's interpolation, moved by torch's Adam."""
    model = predictor(Smooth(ndim), (8,) * ndim)
    image = volume((10, 9, 6)[:ndim])
    target = frozen(model, image)
    method = MeaningfulPerturbation(mode=mode, steps=6, cell=3, l1=0.3, tv=0.4, baseline="mean")
    found = method.explain(model, image, target)

    baseline = image.data.mean().expand_as(image.data)
    cells = tuple(-(-n // 3) for n in image.grid.shape)
    mask = torch.full((1, 1, *cells), 0.5, requires_grad=True)
    adam = torch.optim.Adam([mask], lr=method.rate, betas=(0.9, 0.99), eps=1e-12)
    linear = "bilinear" if ndim == 2 else "trilinear"

    def spread() -> Tensor:
        return torch.nn.functional.interpolate(mask, size=image.grid.shape, mode=linear)[0]

    def value(data: Tensor) -> Tensor:
        return target.value(monai_prediction(model, data[None]))[0]

    ends = [value(data).detach() for data in (image.data, baseline)]
    for _ in range(method.steps):
        adam.zero_grad()
        m = spread()
        score = (value(m * image.data + (1 - m) * baseline) - ends[1]) / (ends[0] - ends[1]).abs()
        spent = (1 - mask).mean() if mode == "deletion" else mask.mean()
        jumps = sum(mask.diff(dim=axis).abs().pow(3).sum() for axis in range(2, ndim + 2))
        sign = 1 if mode == "deletion" else -1
        (sign * score + 0.3 * spent + 0.4 * jumps / mask.numel()).backward()
        adam.step()
        with torch.no_grad():
            mask.clamp_(0, 1)
    kept = spread().detach()
    expected = 1 - kept if mode == "deletion" else kept
    assert expected.std() > 0.01
    assert relative_gap(found.data, expected) < 1e-4


def test_a_positive_factor_of_the_target_changes_nothing(ndim: int) -> None:
    model = predictor(Smooth(ndim), (8,) * ndim)
    image = volume((10, 9, 6)[:ndim])
    target = frozen(model, image)
    assert isinstance(target.coefficients, LinearForm)
    method = MeaningfulPerturbation(steps=6, cell=2, baseline="zero")
    expected = method.explain(model, image, target)
    larger = method.explain(
        model, image, with_coefficients(target, 37.0 * target.coefficients.dense())
    )
    assert relative_gap(larger.data, expected.data) < 1e-5
    assert larger.facts.more["loss_last"] == pytest.approx(expected.facts.more["loss_last"], 1e-4)


def test_nonlinear_targets_are_lowered_and_raised(ndim: int) -> None:
    model = predictor(Smooth(ndim), (8,) * ndim)
    image = volume((10, 9, 6)[:ndim])
    target = frozen(model, image, VoxelTarget("one", "probability", Everywhere(), "mean"))
    ends = []
    for mode in ("deletion", "preservation"):
        method = MeaningfulPerturbation(mode=mode, steps=15, cell=2, l1=0.01, baseline="mean")
        more = method.explain(model, image, target).facts.more
        assert more["loss_last"] < more["loss_first"]
        ends.append(more["value_masked"])
    assert ends[0] < ends[1]


def test_only_windows_that_touch_the_target_are_run() -> None:
    image = volume((32, 8))
    network = Counting(Smooth(2))
    model = replace(predictor(network, (8, 8)), network=network)
    plain = frozen(model, image)
    weights = torch.zeros(2, 32, 8)
    weights[1, 2, 4] = 1.0
    found = MeaningfulPerturbation(steps=5, cell=2, baseline="zero", l1=0.01).explain(
        model, image, with_coefficients(plain, weights)
    )
    assert found.facts.active_windows == 1
    assert found.facts.windows_run == 5 + 3


def test_a_baseline_that_is_the_image_is_refused() -> None:
    image = volume_from_tensor(torch.full((1, 9, 9), 2.0))
    model = predictor(Smooth(2), (8, 8))
    with pytest.raises(MapError, match="no mask can change it"):
        MeaningfulPerturbation(baseline="mean").explain(model, image, frozen(model, image))


def test_a_mask_without_effect_is_warned_of() -> None:
    model, image, target, _ = box_case(2)
    found = MeaningfulPerturbation(steps=1, rate=1e-3, cell=4, l1=0.0, baseline="zero").explain(
        model, image, target
    )
    assert "no better than keeping the whole image, or none" in found.warnings[0]
    assert not found.facts.more["converged"]


def test_a_target_higher_on_the_baseline_is_warned_of() -> None:
    model, image, target, _ = box_case(2)
    assert target.coefficients is not None
    method = MeaningfulPerturbation(mode="preservation", cell=4, l1=0.1, steps=3, baseline="zero")
    found = method.explain(model, image, with_coefficients(target, -target.coefficients))
    assert any("higher on the baseline" in warning for warning in found.warnings)

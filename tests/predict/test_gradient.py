"""The gradient of the whole prediction is exact, and only the windows it needs are run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from esegeta.errors import ModelError
from esegeta.model import Labels
from esegeta.predict import Predictor, WindowPlan, active_windows
from tests.builders import SHAPES, labels, pointwise, predictor, unet
from tests.networks import Counting, Smooth
from tests.oracles import gradient_of, monai_prediction, relative_gap

pytestmark = pytest.mark.usefixtures("whole_windows")

TOLERANCE = 1e-5

CASES = {
    "2d": ((13, 11), (8, 6)),
    "2d, smaller on one axis": ((5, 13), (8, 8)),
    "3d": ((9, 11, 7), (8, 4, 6)),
    "3d, smaller on all axes": ((5, 3, 7), (8, 8, 8)),
}


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.7])
@pytest.mark.parametrize("case", CASES)
def test_equals_autograd_through_monai(case: str, overlap: float, blend: str) -> None:
    shape, window = CASES[case]
    network = Smooth(len(shape), in_channels=2)
    model = predictor(network, window, overlap=overlap, blend=blend)
    x = torch.randn(2, 2, *shape)
    slope = torch.randn(2, 2, *shape)
    found = gradient_of(lambda x: (model(x) * slope).sum(), x)
    expected = gradient_of(lambda x: (monai_prediction(model, x) * slope).sum(), x)
    assert relative_gap(found, expected) < TOLERANCE


@pytest.mark.parametrize("kind", ["relu_batch", "prelu_batch", "relu_instance"])
def test_equals_autograd_through_monai_on_u_nets(ndim: int, kind: str) -> None:
    model = predictor(unet(ndim, kind), (8,) * ndim)
    x = torch.randn(1, 1, *SHAPES[ndim])
    found = gradient_of(lambda x: model(x).softmax(1)[:, 1].log().sum(), x)
    expected = gradient_of(lambda x: monai_prediction(model, x).softmax(1)[:, 1].log().sum(), x)
    assert relative_gap(found, expected) < TOLERANCE


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_2d_network_over_slices_equals_autograd_through_monai(axis: int) -> None:
    plan = WindowPlan((8, 6), overlap=(0.5, 0.25), slice_axis=axis)
    model = Predictor(Smooth(2), plan, labels(), batch_size=3)
    x = torch.randn(1, 1, 5, 9, 8)
    found = gradient_of(lambda x: model(x).square().sum(), x)
    expected = gradient_of(lambda x: monai_prediction(model, x).square().sum(), x)
    assert relative_gap(found, expected) < TOLERANCE


@pytest.mark.parametrize("shape", [(5, 6), (3, 6), (3, 5, 4)])
@pytest.mark.slow
def test_gradcheck_in_float64(shape: tuple[int, ...]) -> None:
    model = predictor(Smooth(len(shape)).double(), (4,) * len(shape))
    x = torch.randn(2, 1, *shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (x,), atol=1e-7, rtol=1e-5, fast_mode=len(shape) == 3)


@pytest.mark.parametrize("num_cotangents", [1, 2])
def test_pull_back_gives_the_value_too_and_contributions_add_up_to_it(
    ndim: int, num_cotangents: int
) -> None:
    model = predictor(Smooth(ndim, in_channels=2), (8,) * ndim)
    x = torch.randn(2, 2, *SHAPES[ndim])
    cotangent = torch.randn(num_cotangents, 2, *SHAPES[ndim])
    y = model.logits(x).double()
    expected = (y * cotangent).flatten(1).sum(dim=1)
    pulled = model.pull_back(x, cotangent)
    torch.testing.assert_close(pulled.value, expected, rtol=1e-5, atol=1e-5)
    active = active_windows(model.windows(x), cotangent)
    parts = model.contributions(x, cotangent, active)
    assert parts.shape == (2, len(active))
    torch.testing.assert_close(parts.sum(dim=1), expected, rtol=1e-5, atol=1e-5)


def test_each_contribution_belongs_to_its_window(ndim: int) -> None:
    """<w_t g_t / sum w, net(x_t)>, written out window by window and in reversed order."""
    model = predictor(Smooth(ndim), (8,) * ndim, batch_size=3)
    x = torch.randn(1, 1, *SHAPES[ndim])
    cotangent = torch.randn(1, 2, *SHAPES[ndim])
    windows = model.windows(x)
    weights = windows.importance(x.device, x.dtype)
    coverage = torch.zeros(windows.padded_shape)
    for box in windows.boxes:
        coverage[box] += weights
    order = list(reversed(range(len(windows))))
    expected = []
    for index in order:
        box = (slice(None), slice(None), *windows.boxes[index])
        share = windows.pad(cotangent)[box] * weights / coverage[windows.boxes[index]]
        with torch.no_grad():
            expected.append((model.network(windows.pad(x)[box]) * share).sum().double())
    found = model.contributions(x, cotangent, order)[0]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 17), (20, 5, 18)])
def test_idle_windows_are_not_run(shape: tuple[int, ...]) -> None:
    network = Counting(Smooth(len(shape)))
    model = predictor(network, (8,) * len(shape))
    x = torch.randn(1, 1, *shape)
    cotangent = torch.zeros(1, 2, *shape)
    cotangent[(0, 1, *(n - 1 for n in shape))] = 3.0
    pulled = model.pull_back(x, cotangent)
    windows = model.windows(x)
    ends = sum(
        all(part.stop >= n for part, n in zip(box, shape, strict=True)) for box in windows.boxes
    )
    assert network.windows == pulled.num_active == ends == 1 < pulled.num_windows
    expected = gradient_of(lambda x: (monai_prediction(model, x) * cotangent).sum(), x)
    assert relative_gap(pulled.gradient, expected) < TOLERANCE
    outside = pulled.gradient.clone()
    outside[(..., *(slice(n - 8 if n > 8 else 0, n) for n in shape))] = 0
    assert not outside.any()


def test_a_cotangent_of_zero_runs_nothing(ndim: int) -> None:
    network = Counting(Smooth(ndim))
    model = predictor(network, (8,) * ndim)
    x = torch.randn(1, 1, *SHAPES[ndim])
    pulled = model.pull_back(x, torch.zeros(1, 2, *SHAPES[ndim]))
    assert network.windows == 0
    assert not pulled.gradient.any()
    assert float(pulled.value) == 0


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_does_not_matter(ndim: int, batch_size: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    x = torch.randn(2, 1, *SHAPES[ndim])
    slope = torch.randn(2, 2, *SHAPES[ndim])
    found = replace(model, batch_size=batch_size).pull_back(x, slope).gradient
    assert relative_gap(found, model.pull_back(x, slope).gradient) < TOLERANCE


def test_images_of_a_batch_do_not_mix(ndim: int) -> None:
    model = predictor(Smooth(ndim), (8,) * ndim, batch_size=3)
    x = torch.randn(3, 1, *SHAPES[ndim])
    slope = torch.randn(3, 2, *SHAPES[ndim])
    together = model.pull_back(x, slope)
    for image in range(3):
        alone = model.pull_back(x[image : image + 1], slope[image : image + 1])
        assert relative_gap(together.gradient[image], alone.gradient[0]) < TOLERANCE
        torch.testing.assert_close(together.value[image], alone.value[0], rtol=1e-6, atol=1e-6)


def test_the_gradient_of_a_pointwise_network_is_that_without_windows(ndim: int) -> None:
    network = pointwise(ndim, in_channels=2)
    model = predictor(network, (4,) * ndim, overlap=0.6)
    x = torch.randn(2, 2, *SHAPES[ndim])
    slope = torch.randn(2, 2, *SHAPES[ndim])
    expected = gradient_of(lambda x: (network(x) * slope).sum(), x)
    assert relative_gap(model.pull_back(x, slope).gradient, expected) < TOLERANCE


@pytest.mark.parametrize("shape", [(20, 14), (14, 8, 20)])
def test_voxels_far_from_window_borders_have_the_gradient_without_windows(
    shape: tuple[int, ...],
) -> None:
    network = Smooth(len(shape))
    model = predictor(network, (8,) * len(shape), overlap=0.25)
    x = torch.randn(1, 1, *shape)
    inner = torch.ones(shape, dtype=torch.bool)
    for box in model.windows(x).boxes:
        for axis, (side, length) in enumerate(zip(box, shape, strict=True)):
            near = [*range(side.start, side.start + Smooth.REACH)] if side.start > 0 else []
            near += [*range(side.stop - Smooth.REACH, side.stop)] if side.stop < length else []
            for index in near:
                inner.select(axis, index)[tuple(p for a, p in enumerate(box) if a != axis)] = False
    assert 0 < inner.sum() < inner.numel()
    found = gradient_of(lambda x: model(x)[:, 1][:, inner].sum(), x)
    expected = gradient_of(lambda x: network(x)[:, 1][:, inner].sum(), x)
    assert relative_gap(found, expected) < TOLERANCE
    everywhere = gradient_of(lambda x: model(x)[:, 1].sum(), x)
    assert relative_gap(everywhere, gradient_of(lambda x: network(x)[:, 1].sum(), x)) > 1e-3


def test_a_network_without_a_gradient_is_refused() -> None:
    class Rounded(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, -x], dim=1).detach()

    predictor = Predictor(Rounded(), WindowPlan((4, 4)), Labels({1: "a"}, "softmax", 2))
    x = torch.rand(1, 1, 6, 6)
    with pytest.raises(
        ModelError, match=r"no gradient with respect to its input.*occlusion needs no gradient"
    ):
        predictor.pull_back(x, torch.ones(1, 2, 6, 6))

"""The prediction is MONAI's, for any shape, overlap, blend, batch size and kind of output."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from esegeta.errors import ModelError
from esegeta.predict import Predictor, WindowPlan
from esegeta.predict.prediction import Prediction
from tests.builders import SHAPES, labels, linear, pointwise, predictor, unet, volume
from tests.networks import Counting, Smooth, Wrapped
from tests.oracles import monai_prediction, relative_gap

TOLERANCE = 1e-5

CASES = {
    "2d, not a multiple of the interval": ((21, 17), (8, 6)),
    "2d, smaller on one axis": ((5, 17), (8, 8)),
    "2d, the window itself": ((8, 8), (8, 8)),
    "3d, odd": ((9, 13, 11), (8, 4, 6)),
    "3d, smaller on two axes": ((5, 9, 3), (8, 8, 8)),
    "3d, smaller on all axes": ((5, 3, 7), (8, 8, 8)),
}


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("case", CASES)
def test_equals_monai(case: str, overlap: float, blend: str) -> None:
    shape, window = CASES[case]
    network = Smooth(len(shape), in_channels=2, out_channels=3)
    model = predictor(network, window, overlap=overlap, blend=blend, num_outputs=3)
    x = torch.randn(2, 2, *shape)
    with torch.no_grad():
        assert relative_gap(model(x), monai_prediction(model, x)) < TOLERANCE


def test_overlap_may_differ_by_axis(ndim: int) -> None:
    overlap = (0.0, 0.75, 0.5)[:ndim]
    plan = WindowPlan((8,) * ndim, overlap=overlap)
    model = Predictor(Smooth(ndim), plan, labels())
    x = torch.randn(1, 1, *(19, 14, 13)[:ndim])
    with torch.no_grad():
        expected = monai_prediction(model, x)
        assert relative_gap(model(x), expected) < TOLERANCE
        flat = replace(model, plan=replace(plan, overlap=0.5))
        assert relative_gap(flat(x), expected) > 1e-3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_2d_network_goes_through_slices_as_monais_slice_inferer(axis: int) -> None:
    plan = WindowPlan((8, 6), overlap=(0.5, 0.25), slice_axis=axis)
    model = Predictor(Smooth(2, in_channels=2), plan, labels(), batch_size=3)
    x = torch.randn(2, 2, 7, 9, 11)
    with torch.no_grad():
        assert relative_gap(model(x), monai_prediction(model, x)) < TOLERANCE


def test_a_pointwise_network_is_the_same_windowed_or_whole(ndim: int) -> None:
    network = pointwise(ndim, in_channels=2)
    x = torch.randn(2, 2, *SHAPES[ndim])
    model = predictor(network, (4, 6, 2)[:ndim], overlap=0.6)
    with torch.no_grad():
        assert relative_gap(model(x), network(x)) < TOLERANCE


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_batch_size_does_not_matter(ndim: int, batch_size: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    x = torch.randn(3, 1, *SHAPES[ndim])
    other = replace(model, batch_size=batch_size)
    assert relative_gap(other.logits(x), model.logits(x)) < TOLERANCE


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_the_first_of_several_outputs_is_used(ndim: int, kind: type) -> None:
    network = unet(ndim)
    model = predictor(network, (8,) * ndim)
    x = torch.randn(1, 1, *SHAPES[ndim])
    assert torch.equal(predictor(Wrapped(network, kind), (8,) * ndim)(x), model(x))


@pytest.mark.parametrize("form", ["contiguous", "channels_last"])
def test_windows_are_laid_out_as_asked(ndim: int, form: str) -> None:
    network, strides = unet(ndim, in_channels=2), set[int]()
    network.register_forward_pre_hook(lambda _, given: strides.add(given[0].stride(1)))
    model = predictor(network, (8,) * ndim)
    x = torch.randn(1, 2, *SHAPES[ndim])
    found = replace(model, memory_format=form)(x)
    assert strides == ({1} if form == "channels_last" else {8**ndim})
    torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-5)


def test_one_sigmoid_channel(ndim: int) -> None:
    network = unet(ndim, out_channels=1)
    model = predictor(network, (8,) * ndim, num_outputs=1, activation="sigmoid")
    x = torch.randn(2, 1, *SHAPES[ndim])
    with torch.no_grad():
        logits = model(x)
        assert logits.shape == (2, 1, *SHAPES[ndim])
        assert relative_gap(logits, monai_prediction(model, x)) < TOLERANCE
    expected = 1 / (1 + (-logits).exp())
    torch.testing.assert_close(model.labels.probability(logits), expected)


@pytest.mark.parametrize("shape", [(21, 17), (5, 17), (9, 13, 11), (5, 3, 12)])
def test_predicting_over_a_mask_runs_only_what_it_needs(shape: tuple[int, ...]) -> None:
    network = Counting(Smooth(len(shape)))
    model = predictor(network, (8,) * len(shape))
    x = torch.randn(1, 1, *shape)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(slice(n - 2, n) for n in shape)] = True
    full = model.logits(x)
    all_windows, network.windows = network.windows, 0
    part = model.logits(x, over=mask)
    torch.testing.assert_close(part[..., mask], full[..., mask])
    assert network.windows == len(model.windows(x).touching(mask)) < all_windows


def test_a_prediction_not_held_is_computed_again_but_decided_once() -> None:
    x = volume((17, 9)).batch
    model = predictor(unet(2), (8, 8))
    prediction = Prediction(replace(model, held_mb=0), x, "a")
    parts = torch.zeros(1, 2, 17, 9)
    for _ in range(2):
        parts.fill_(torch.nan)
        prediction.each_part(lambda logits, box: parts[(..., *box)].copy_(logits))
        torch.testing.assert_close(parts, model.logits(x))
        once = prediction.decided
    assert prediction.decided is once
    assert torch.equal(once.label_map(), model.logits(x)[0].argmax(dim=0))


def test_a_call_without_a_need_for_gradients_keeps_no_graph(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    x = torch.randn(1, 1, *SHAPES[ndim])
    assert not model(x).requires_grad
    assert not model.logits(x.requires_grad_(True)).requires_grad
    assert model(x).requires_grad


def test_a_prediction_in_inference_mode_keeps_later_gradients_possible(ndim: int) -> None:
    model = predictor(linear(ndim), (8,) * ndim)
    image = volume((17, 9, 10)[:ndim])
    with torch.inference_mode():
        model.logits(image.batch)
    x = image.batch.requires_grad_(True)
    (slope,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    expected = model.network.weight[1, 0].flatten()[0].expand_as(slope)
    torch.testing.assert_close(slope, expected)


@pytest.mark.parametrize("wrong", ["shape", "nothing"])
def test_a_network_that_returns_no_segmentation_is_refused(wrong: str) -> None:
    class Wrong(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            return x[:, :, 1:] if wrong == "shape" else None

    with pytest.raises(ModelError, match=r"keep the shape|list or tuple"):
        predictor(Wrong(), (4, 4))(torch.randn(1, 1, 8, 8))

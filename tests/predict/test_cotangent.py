"""Linear forms: the numbers they stand for, and the same results as the dense cotangent's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from esegeta.explain import IntegratedGradients, Occlusion, Saliency
from esegeta.predict import LinearForm, Term, active_windows, add_forms
from esegeta.predict.cotangent import power_of_two_above
from esegeta.targets import BoxRegion, Scene, VoxelTarget
from tests.builders import SHAPES, predictor, unet, volume
from tests.networks import Smooth


def form_of(shape: tuple[int, ...], num_outputs: int = 3) -> tuple[LinearForm, torch.Tensor]:
    """Return a form with two terms on one channel, and its numbers written out."""
    mask = torch.rand(shape) > 0.7
    weights, ones = torch.randn(shape), torch.rand(shape) > 0.5
    terms = (Term(2, mask, -1.5), Term(0, weights, 0.25), Term(2, ones, 4.0))
    dense = torch.zeros(num_outputs, *shape)
    dense[2] = -1.5 * mask + 4.0 * ones
    dense[0] = 0.25 * weights
    return LinearForm(terms, num_outputs, shape), dense


def test_a_linear_form_equals_its_dense_tensor(ndim: int) -> None:
    shape = SHAPES[ndim]
    form, dense = form_of(shape)
    assert torch.equal(form.dense(), dense)
    box = tuple(slice(1, n - 2) for n in shape)
    assert torch.equal(form.crop(box), dense[(slice(None), *box)])
    assert torch.equal(form.plane(2), dense[2])
    assert form.peak() == float(dense.abs().max())
    assert torch.equal(form.support(), (dense != 0).any(dim=0))
    assert torch.equal(LinearForm.of_dense(dense).dense(), dense)
    assert torch.equal(form.scaled(-2.0).dense(), -2.0 * dense)
    torch.testing.assert_close(add_forms([form, form.scaled(0.5)]).dense(), 1.5 * dense)


def test_cancelling_terms_are_dropped() -> None:
    mask = torch.ones(4, 4, dtype=torch.bool)
    form = LinearForm((Term(1, mask), Term(1, mask, -1.0)), 2, (4, 4))
    assert not form.support().any()
    assert form.peak() == 0
    assert power_of_two_above(form) == 1


def test_padding_is_that_of_the_dense_cotangent(ndim: int) -> None:
    model = predictor(unet(ndim), (16,) * ndim)
    form, dense = form_of(SHAPES[ndim])
    windows = model.windows(torch.zeros(1, 1, *SHAPES[ndim]))
    assert torch.equal(form.padded(windows).dense(), windows.pad(dense))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("window", [4, 16], ids=["windows", "padded"])
def test_results_are_bit_for_bit_those_of_the_dense_cotangent(
    ndim: int, window: int, precision: str
) -> None:
    network = Smooth(ndim, out_channels=3)
    model = predictor(network, (window,) * ndim, num_outputs=3, batch_size=3)
    x = torch.randn(2, 1, *SHAPES[ndim])
    form, dense = form_of(SHAPES[ndim])
    windows = model.windows(x)
    assert active_windows(windows, form) == active_windows(windows, dense[None])
    half = replace(model, precision=precision)
    assert half.shares(windows, form).scale == half.shares(windows, dense[None]).scale
    found, expected = model.pull_back(x, form), model.pull_back(x, dense[None])
    assert torch.equal(found.gradient, expected.gradient)
    assert torch.equal(found.value, expected.value)
    active = active_windows(windows, form)
    ours, theirs = (model.contributions(x, item, active) for item in (form, dense[None]))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "explainer", [Saliency(), IntegratedGradients(steps=2), Occlusion(box=5)], ids=lambda m: m.name
)
def test_methods_accept_linear_forms_and_dense_cotangents(explainer: object) -> None:
    model, image = predictor(unet(2), (8, 8)), volume((13, 11))
    one = VoxelTarget("one", over=BoxRegion((1, 1), (6, 5)))
    target = (
        one - 0.3 * VoxelTarget("one", over=BoxRegion((4, 4), (12, 9)), reduce="mean")
    ).freeze(Scene(model, image))
    assert isinstance(target.coefficients, LinearForm)
    dense = replace(target, coefficients=target.coefficients.dense())
    found, expected = (explainer.explain(model, image, item).data for item in (target, dense))
    assert torch.equal(found, expected)


def test_a_target_over_a_box_holds_no_number_for_each_label() -> None:
    model = predictor(unet(3, out_channels=4), num_outputs=4)
    target = VoxelTarget("two", over=BoxRegion((0, 0, 0), (3, 3, 3))).freeze(
        Scene(model, volume((9, 11, 7)))
    )
    (term,) = target.coefficients.terms
    assert term.weights is target.mask
    assert term.weights.dtype == torch.bool

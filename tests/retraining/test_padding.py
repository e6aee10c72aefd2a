"""Padding of preprocessing is no part of the images that networks are trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from monai.losses import DiceCELoss
from torch import Tensor

from esegeta.predict import WindowPlan
from esegeta.retraining.recipe import TrainingRecipe
from esegeta.retraining.samples import (
    Patches,
    PatchSampler,
    Removal,
    Sample,
    rank_voxels,
    whole_box,
)
from tests.builders import labels_of

SHAPE = (14, 11)
BOX = (slice(3, 12), slice(0, 7))


def padded_sample(place: int = 0) -> Sample:
    """An image of ones in padding of nines, whose padding bears a label on purpose."""
    data = torch.full((1, *SHAPE), 9.0)
    inside = torch.zeros(SHAPE, dtype=torch.bool)
    inside[BOX] = True
    data[0][inside] = 1.0
    truth = torch.where(inside, 0, 1)
    truth[4:6, 2:4] = 1
    return Sample(place, 0, whole_box(SHAPE), data, data * 0, truth, labels_of(1), inside)


def test_patches_are_centred_in_the_image_and_know_it() -> None:
    one = padded_sample()
    (pool,) = one.pools.values()
    assert len(pool) == 4
    sampler = PatchSampler([one], WindowPlan((1, 1)), seed=0)
    found = {tuple(side.start for side in sampler.draw().box) for _ in range(600)}
    assert found == {(row, column) for row in range(3, 12) for column in range(7)}
    images, _, inside = Patches([one], [one.data], WindowPlan((6, 4)), seed=1).draw(30)
    assert inside is not None
    assert torch.equal(inside, images[:, 0] == 1) and not inside.all()
    # Beside an image without padding, and over slices.
    plain = replace(padded_sample(1), inside=None)
    *_, inside = Patches([one, plain], [one.data] * 2, WindowPlan((14, 11)), seed=1).draw(9)
    assert inside is not None
    assert set(inside.flatten(1).sum(dim=1).tolist()) == {9 * 7, 14 * 11}


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_only_the_image_is_ranked_and_removed(fraction: float) -> None:
    one = padded_sample()
    order = rank_voxels(one.data[0], 0, one.inside)  # padding matters most, were it asked
    assert sorted(order.tolist()) == one.inside.flatten().nonzero()[:, 0].tolist()  # type: ignore
    top = Removal("roar", "m", fraction).mask(order, SHAPE)
    rest = Removal("kar", "m", fraction).mask(order, SHAPE)
    assert int(top.sum()) == int(fraction * 63 + 0.5)
    assert torch.equal(top ^ rest, one.inside)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_padding_moves_no_network(activation: str) -> None:
    labels = replace(labels_of(1), activation=activation)
    softmax = activation == "softmax"
    loss = DiceCELoss(to_onehot_y=softmax, softmax=softmax, sigmoid=not softmax)
    recipe = TrainingRecipe("DiceCELoss", {}, "SGD", {}, "constant", 1, 1, SHAPE, labels)
    one = padded_sample()
    logits = torch.randn(1, 2, *SHAPE, requires_grad=True)
    inside = one.inside[None]  # type: ignore[index]

    def measure(truth: Tensor) -> Tensor:
        return recipe.measure(loss, logits, truth[None], inside=inside)

    value = measure(one.truth)
    (slope,) = torch.autograd.grad(value, logits)
    assert not slope[:, :, ~inside[0]].any() and slope[:, :, inside[0]].any()
    assert torch.equal(value, measure(one.truth.masked_fill(~inside[0], 0)))
    assert value != recipe.measure(loss, logits, one.truth[None])

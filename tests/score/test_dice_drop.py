"""Dice drop: the segmentations of a slow rewrite, with the prediction and with the label."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.explain import Saliency
from esegeta.score import DiceDrop
from esegeta.score.removal.replacement import impute
from esegeta.targets import Component, Scene, UnitTarget, VoxelTarget
from tests.builders import SHAPES, labels, predictor, unet, volume
from tests.oracles import monai_prediction
from tests.score.brute_force import BLOCKS, context, images_without, part_order, trapezoid


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def centred(ndim: int, activation: str) -> object:
    """Return a U-Net over windows that predicts its label at about half of the voxels."""
    network = unet(ndim)
    model = predictor(network, (8,) * ndim, activation=activation)
    logits = model.logits(volume(SHAPES[ndim]).batch)
    last = [module for module in network.modules() if getattr(module, "bias", None) is not None][-1]
    channel = labels(2, activation).channel("one")
    lead = logits[:, channel] - (logits[:, 0] if activation == "softmax" else 0)
    last.bias.data[channel] -= lead.median()
    return model


@pytest.mark.parametrize("over", ["predicted", "component"])
def test_equals_a_slow_rewrite(ndim: int, activation: str, over: str) -> None:
    model = centred(ndim, activation)
    image = volume(SHAPES[ndim])
    truth = torch.zeros(SHAPES[ndim], dtype=torch.long)
    truth[:5] = 1
    region = {"over": Component()} if over == "component" else {}
    target = VoxelTarget("one", **region).freeze(Scene(model, image, truth))
    attribution = Saliency().explain(model, image, target)
    parts = BLOCKS.of(image).labels
    order = part_order(attribution.data.abs().double().numpy(), parts.numpy())
    images, shares = images_without(image.data, torch.zeros_like(image.data), parts, order, 3)
    channel = model.labels.channel("one")
    found = []
    for given in images:
        with torch.no_grad():
            logits = monai_prediction(model, given[None])
        here = logits.argmax(1) == channel if activation == "softmax" else logits[:, channel] > 0
        found.append(here[0].numpy())
    own = target.mask.numpy()
    others = found[0] & ~own
    judged = DiceDrop(BLOCKS, "zero", 3).judge(attribution, context(model))
    expected = 1 - trapezoid(shares, [dice(mask & ~others, own) for mask in found])
    assert judged.values["dice_drop"] == pytest.approx(expected, abs=1e-9)
    against = [dice(mask, truth.numpy() == 1) for mask in found]
    expected = against[0] - trapezoid(shares, against)
    assert judged.values["dice_drop_label"] == pytest.approx(expected, abs=1e-9)
    assert judged.curves[0].y[0] == 1
    assert judged.curves[1].y == pytest.approx(against)


def test_parts_may_be_filled_in_from_their_neighbours() -> None:
    model, image = centred(2, "softmax"), volume(SHAPES[2])
    target = VoxelTarget("one").freeze(Scene(model, image))
    attribution = Saliency().explain(model, image, target)
    parts = BLOCKS.of(image).labels
    order = part_order(attribution.data.abs().double().numpy(), parts.numpy())
    found, shares = [], []
    for step in range(3):
        gone = torch.isin(parts, torch.tensor(order[: step * len(order) // 2]).to(parts))
        filled = impute(image.data, gone, image.grid.spacing_mm, noise=0.01)
        with torch.no_grad():
            found.append((monai_prediction(model, filled[None]).argmax(dim=1) == 1)[0].numpy())
        shares.append(float(gone.double().mean()))
    own = target.mask.numpy()
    others = found[0] & ~own
    judged = DiceDrop(BLOCKS, "noisy_linear", 2).judge(attribution, context(model))
    expected = 1 - trapezoid(shares, [dice(mask & ~others, own) for mask in found])
    assert judged.values["dice_drop"] == pytest.approx(expected, abs=1e-9)


def test_without_a_label_or_with_an_empty_one_the_value_says_why() -> None:
    model = centred(2, "softmax")
    image = volume(SHAPES[2])
    for truth, reason in (
        (None, "the case has no label"),
        (torch.zeros(SHAPES[2], dtype=torch.long), "holds no voxel of one"),
    ):
        target = VoxelTarget("one").freeze(Scene(model, image, truth))
        attribution = Saliency().explain(model, image, target)
        judged = DiceDrop(BLOCKS, steps=2).judge(attribution, context(model))
        assert judged.values["dice_drop"] > 0
        assert judged.values["dice_drop_label"] != judged.values["dice_drop_label"]
        assert reason in judged.reasons["dice_drop_label"]


def test_targets_that_are_not_segmentations_are_undefined() -> None:
    model = centred(2, "softmax")
    image = volume(SHAPES[2])
    unit = UnitTarget("model.0", 1).freeze(Scene(model, image))
    judged = DiceDrop(BLOCKS).judge(Saliency().explain(model, image, unit), context(model))
    assert "a unit inside the network" in judged.reasons["dice_drop"]
    both = (VoxelTarget("one") + VoxelTarget("one")).freeze(Scene(model, image))
    judged = DiceDrop(BLOCKS).judge(Saliency().explain(model, image, both), context(model))
    assert "not about one label" in judged.reasons["dice_drop"]

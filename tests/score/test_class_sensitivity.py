"""Class sensitivity: closed forms on linear networks, which labels are asked about, and NaN."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import stats

from esegeta.errors import ConfigError, MapError
from esegeta.explain import EdgeMap, Explainer, InputXGradient, LayerActivation, Saliency
from esegeta.model import Labels
from esegeta.predict import Predictor
from esegeta.score import ClassSensitivity, Judgement, ScoreContext
from esegeta.targets import (
    Component,
    FrozenTarget,
    Predicted,
    Roi,
    Scene,
    UnitTarget,
    VolumeTarget,
    VoxelTarget,
)
from esegeta.volume import Volume
from tests.builders import SHAPES, linear, predictor, unet, volume
from tests.oracles import everywhere, frozen


def judged(
    model: Predictor, image: Volume, target: FrozenTarget, explainer: Explainer, **options: Any
) -> Judgement:
    attribution = explainer.explain(model, image, target)
    return ClassSensitivity(**options).judge(attribution, ScoreContext(model, explainer))


def weighted(ndim: int, *weights: list[float], activation: str = "softmax") -> Predictor:
    """Return a predictor whose logit k of a voxel is `weights[k] . x`."""
    network = linear(ndim, len(weights[0]), len(weights))
    network.weight.data = torch.tensor(weights)[(..., *[None] * ndim)]
    return predictor(network, (4,) * ndim, num_outputs=len(weights), activation=activation)


def test_labels_that_read_the_same_input_differ_by_sign_alone(ndim: int) -> None:
    """w_k x against w_j x: +1 where the weights agree, -1 where they do not."""
    model = weighted(ndim, [9.0], [2.0], [0.5], [-1.0])
    image = volume(SHAPES[ndim])
    found = judged(model, image, frozen(model, image, everywhere("one")), InputXGradient())
    assert found.values == pytest.approx(
        {
            "class_sensitivity": 0,
            "class_sensitivity_max": 1,
            "class_sensitivity_cosine": 0,
            "class_sensitivity_cosine_max": 1,
        },
        abs=1e-6,
    )
    assert [curve.name for curve in found.curves] == ["labels_spearman", "labels_cosine"]
    assert found.curves[0].ticks == ("two", "three")
    assert found.curves[0].y == pytest.approx((1, -1), abs=1e-6)


def test_the_cosine_is_that_of_the_weights_where_maps_are_the_weights(ndim: int) -> None:
    model = weighted(ndim, [0.0, 0.0], [3.0, 1.0], [1.0, -2.0])
    image = volume(SHAPES[ndim], 2)
    found = judged(model, image, frozen(model, image, everywhere("one")), Saliency())
    expected = (3 - 2) / math.sqrt(10 * 5)
    assert found.values["class_sensitivity_cosine"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("of", ["logit", "log_probability"])
@pytest.mark.parametrize("over", [Predicted(), Component()], ids=lambda item: item.name)
def test_equals_a_slow_loop_over_the_mask_of_this_label(
    ndim: int, activation: str, of: str, over: object
) -> None:
    model = predictor(unet(ndim, out_channels=3), (8,) * ndim, num_outputs=3, activation=activation)
    image = volume(SHAPES[ndim])
    target = VoxelTarget("two", of, over).freeze(Scene(model, image))
    own = Saliency().explain(model, image, target).data
    found = judged(model, image, target, Saliency())
    ranked, cosines = [], []
    for label in [name for name in model.labels.names.values() if name != "two"]:

        def value(logits: torch.Tensor, label: str = label) -> torch.Tensor:
            channel = model.labels.channel(label)
            if of == "log_probability" and activation == "softmax":
                logits = logits.log_softmax(dim=1)
            elif of == "log_probability":
                logits = logits.sigmoid().log()
            return (logits[:, channel] * target.mask).flatten(1).double().sum(dim=1)

        other = replace(target, function=value, coefficients=None)
        map_ = Saliency().explain(model, image, other).data
        where = ((own != 0) | (map_ != 0)).numpy()
        ranked.append(stats.spearmanr(own.numpy()[where], map_.numpy()[where]).statistic)
        cosines.append(float(torch.cosine_similarity(own.flatten(), map_.flatten(), dim=0)))
    assert 0 < int(target.mask.sum()) < target.mask.numel()
    assert found.values == pytest.approx(
        {
            "class_sensitivity": sum(ranked) / len(ranked),
            "class_sensitivity_max": max(ranked),
            "class_sensitivity_cosine": sum(cosines) / len(cosines),
            "class_sensitivity_cosine_max": max(cosines),
        },
        abs=1e-5,
    )


@pytest.mark.parametrize("explainer", [EdgeMap(), LayerActivation()], ids=lambda item: item.name)
def test_a_map_that_ignores_the_target_is_the_same_for_all(ndim: int, explainer: Explainer) -> None:
    model = predictor(unet(ndim, out_channels=3), (8,) * ndim, num_outputs=3)
    image = volume(SHAPES[ndim])
    found = judged(model, image, frozen(model, image), explainer)
    assert all(value == pytest.approx(1) for value in found.values.values())


@pytest.mark.parametrize("max_labels", [1, 2, 3, 9])
def test_the_labels_compared_are_the_strongest_rivals_over_the_mask(
    ndim: int, max_labels: int
) -> None:
    """A bright voxel alone is in the mask; elsewhere the order of logits is another."""
    model = weighted(ndim, [0.0], [1.0], [3.0], [5.0], [4.0])
    data = -10 * torch.ones(1, *SHAPES[ndim])
    data[(0, *(2,) * ndim)] = 1.0
    image = volume(SHAPES[ndim]).with_data(data)
    target = frozen(model, image, VoxelTarget("one", over=Roi(data[0] > 0)))
    found = judged(model, image, target, InputXGradient(), max_labels=max_labels)
    # In the order of strength, or, where all are asked about, of the labels.
    expected = ("three", "four", "two")[:max_labels] if max_labels < 3 else ("two", "three", "four")
    assert found.curves[0].ticks == expected


def test_the_background_is_a_label_only_if_it_is_named(ndim: int) -> None:
    model = predictor(unet(ndim, out_channels=3), (8,) * ndim, num_outputs=3)
    image = volume(SHAPES[ndim])
    found = judged(model, image, frozen(model, image), Saliency())
    assert found.curves[0].ticks == ("two",)
    named = replace(model, labels=Labels({0: "nothing", 1: "one", 2: "two"}, "softmax", 3))
    found = judged(named, image, frozen(named, image), Saliency())
    assert found.curves[0].ticks == ("nothing", "two")


def test_a_single_label_has_no_value(ndim: int, activation: str) -> None:
    outputs = 2 if activation == "softmax" else 1
    network = unet(ndim, out_channels=outputs)
    model = predictor(network, (8,) * ndim, num_outputs=outputs, activation=activation)
    image = volume(SHAPES[ndim])
    found = judged(model, image, frozen(model, image), Saliency())
    assert all(math.isnan(value) for value in found.values.values())
    assert set(found.reasons.values()) == {"there is no other label"}


def test_targets_that_are_not_of_one_label_are_undefined(ndim: int) -> None:
    model = predictor(unet(ndim, out_channels=3), (8,) * ndim, num_outputs=3)
    image = volume(SHAPES[ndim])
    scene = Scene(model, image)
    mixed = everywhere("one") - 0.5 * everywhere("two")
    for target in (mixed, UnitTarget("model.1.submodule", 4), VolumeTarget("one")):
        found = judged(model, image, target.freeze(scene), Saliency())
        assert all(math.isnan(value) for value in found.values.values())
        assert set(found.reasons.values()) == {"the target is not about one label"}


def test_a_label_without_a_map_is_left_out_and_named(ndim: int) -> None:
    """The logit of label two does not depend on the image."""
    model = weighted(ndim, [1.0], [2.0], [0.0], [-3.0])
    image = volume(SHAPES[ndim])
    found = judged(model, image, frozen(model, image, everywhere("one")), InputXGradient())
    assert found.values["class_sensitivity"] == pytest.approx(-1, abs=1e-6)
    assert found.values["class_sensitivity_max"] == pytest.approx(-1, abs=1e-6)
    for reason in found.reasons.values():
        assert reason.startswith("1 of 2 are left out: two: input_x_gradient: the map is zero")
    alone = weighted(ndim, [1.0], [2.0], [0.0])
    found = judged(alone, image, frozen(alone, image, everywhere("one")), InputXGradient())
    assert all(math.isnan(value) for value in found.values.values())
    assert set(found.reasons) == set(found.values)


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_labels: 0 must be at least 1"):
        ClassSensitivity(max_labels=0)
    model, image = predictor(unet(2), (8, 8)), volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    with pytest.raises(MapError, match="class_sensitivity: the map is zero everywhere"):
        ClassSensitivity().judge(
            replace(attribution, data=0 * attribution.data), ScoreContext(model, Saliency())
        )

"""Consistency under flips where there is nothing to compare, and axes that are refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from esegeta.errors import ConfigError, MapError
from esegeta.explain import Explainer, InputXGradient, Objective, RawMap, Saliency, Traits
from esegeta.explain.cost import Cost
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.score import ConsistencyUnderFlips
from tests.builders import SHAPES, pointwise, predictor, volume
from tests.oracles import everywhere, frozen
from tests.score.flips import COSINE, SPEARMAN, judged


def test_axes_of_one_voxel_are_left_out() -> None:
    model = predictor(pointwise(3), (4, 4, 4))
    image = volume((6, 1, 5))
    attribution = InputXGradient().explain(model, image, everywhere())
    found = judged(attribution, model, InputXGradient())
    assert found.curves[0].ticks == ("axis 0", "axis 2")
    single = volume((1, 1, 1))
    attribution = InputXGradient().explain(model, single, everywhere())
    found = judged(attribution, model, InputXGradient())
    assert set(found.reasons.values()) == {"no axis of the image is longer than one voxel"}


def test_a_map_that_is_the_same_everywhere_has_no_ranks() -> None:
    model = predictor(torch.nn.Conv2d(1, 2, 1), (8, 8))
    image = volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    constant = replace(attribution, data=torch.ones_like(attribution.data))
    found = judged(constant, model, Saliency())
    assert abs(found.values[COSINE]) > 0.9
    assert math.isnan(found.values[SPEARMAN])
    assert list(found.reasons) == [SPEARMAN]
    assert "no ranks" in found.reasons[SPEARMAN]


@dataclass(frozen=True)
class Same(Explainer):
    """A map that holds one number, or NaN, everywhere."""

    value: str = "0"
    name: ClassVar[str] = "same"
    traits: ClassVar[Traits] = Traits("null")
    meaning: ClassVar[Meaning] = CONTRIBUTION

    @property
    def cost(self) -> Cost:
        return Cost.of()

    def attribute(self, objective: Objective) -> RawMap:
        return RawMap(torch.full_like(objective.volume.data, float(self.value)))


def test_a_flipped_map_of_zeros_or_nan_has_no_value() -> None:
    model = predictor(pointwise(2), (8, 8))
    image = volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    found = judged(attribution, model, Same("0"))
    assert all(math.isnan(value) for value in found.values.values())
    assert "no direction" in found.reasons[COSINE]
    with pytest.raises(MapError, match="flipped along axis 0 is NaN or Inf"):
        judged(attribution, model, Same("nan"))
    empty = replace(attribution, data=0 * attribution.data)
    with pytest.raises(MapError, match="consistency_under_flips: the map is zero everywhere"):
        judged(empty, model, Saliency())


@pytest.mark.parametrize("axes", [(), (0, 0), (3,), (-1,)])
def test_bad_axes_are_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="consistency_under_flips: axes"):
        ConsistencyUnderFlips(axes)


def test_an_axis_that_the_image_has_not_is_refused() -> None:
    model = predictor(pointwise(2), (8, 8))
    image = volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    with pytest.raises(ConfigError, match=r"axes: \[0, 2\] for a 2D image; its axes are 0 to 1"):
        judged(attribution, model, Saliency(), (0, 2))

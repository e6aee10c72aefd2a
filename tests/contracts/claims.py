"""What methods claim of their values, each against a case where it can be seen to hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import MapError
from esegeta.explain import (
    Attribution,
    Explainer,
    FeatureAblation,
    Features,
    GuidedBackprop,
    LayerGradientXActivation,
    MeaningfulPerturbation,
    NeuronConductance,
)
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import convolution, predictor, volume
from tests.contracts.rows import make_case
from tests.networks import Smooth
from tests.oracles import everywhere, frozen, relative_gap, with_coefficients

SHAPE = (12, 10)
UNITS = 3
CLOSE = 1e-4


class Setting:
    """A network whose activations all let pass: its target is linear and zero for an empty image.

    No weight and no voxel is negative, there is no bias: what the target owes to a voxel is known,
    whatever rule a method has for activations. Every voxel of every window is a position of the
    first layer.

    Args:
        signed: whether the target weighs the logits of some voxels below zero.
    """

    def __init__(self, *, signed: bool = False) -> None:
        torch.manual_seed(5)
        conv = convolution(2)
        network = nn.Sequential(
            conv(1, UNITS, 3, padding=1, bias=False), nn.ReLU(), conv(UNITS, 2, 1, bias=False)
        ).eval()
        for weight in network.parameters():
            weight.data = weight.data.abs() + 0.05
        self.network = network
        self.model: Predictor = predictor(network, (8, 8))
        noise = volume(SHAPE)
        self.image: Volume = noise.with_data(noise.data.abs() + 0.5)
        weights = torch.rand((2, *SHAPE), generator=torch.Generator().manual_seed(3)) + 0.1
        if signed:
            weights[:, :, :4] *= -1
        self.weights = weights
        self.target = self.target_on(self.image)
        self.opposite = opposite_of(self.target)

    def target_on(self, image: Volume) -> FrozenTarget:
        return with_coefficients(frozen(self.model, image), self.weights)

    def value(self, data: Tensor) -> float:
        return float(self.target.value(self.model.logits(data[None])))

    def explain(self, explainer: Explainer) -> Attribution:
        return explainer.explain(self.model, self.image, self.target)

    def explain_opposite(self, explainer: Explainer) -> Attribution:
        return explainer.explain(self.model, self.image, self.opposite)

    @property
    def total(self) -> float:
        """What the whole image adds to the target."""
        return self.value(self.image.data) - self.value(torch.zeros_like(self.image.data))


def opposite_of(target: FrozenTarget) -> FrozenTarget:
    assert target.coefficients is not None
    return with_coefficients(target, -target.coefficients)


def at_first_layer(explainer: Explainer) -> Explainer:
    return replace(explainer, layer="1") if explainer.traits.needs_layer else explainer


def is_a_slope(explainer: Explainer) -> None:
    """Times a change of the input it foresees the change of the target."""
    setting = Setting()
    map_ = setting.explain(explainer)
    change = 0.3 * torch.rand(map_.data.shape, generator=torch.Generator().manual_seed(1)) - 0.1
    moved = setting.value(setting.image.data + change) - setting.value(setting.image.data)
    assert float((map_.data * change).sum()) == pytest.approx(moved, rel=CLOSE)
    assert map_.meaning.is_slope
    assert map_.unit == f"{map_.target.unit} / input unit"


def is_the_slope(explainer: Explainer) -> None:
    """As `is_a_slope`; and at any image, of both signs, for a change that is small enough."""
    is_a_slope(explainer)
    model, image = predictor(Smooth(2), (8, 8)), volume(SHAPE)
    weights = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(4))
    target = with_coefficients(frozen(model, image), weights)
    map_ = explainer.explain(model, image, target).data
    change = 3e-2 * torch.randn(map_.shape, generator=torch.Generator().manual_seed(1))
    ends = [
        float(target.value(model.logits((image.data + sign * change)[None]))) for sign in (1, -1)
    ]
    assert float((map_ * change).sum()) == pytest.approx((ends[0] - ends[1]) / 2, rel=2e-2)
    assert map_.min() < 0 < map_.max()


def adds_up(explainer: Explainer, tolerance: float = 1e-3) -> None:
    """Shares add up to what the image adds to the target; those above zero hold it up."""
    setting = Setting(signed=True)
    map_ = setting.explain(at_first_layer(explainer))
    shares = map_.density()
    assert float(shares.double().sum()) == pytest.approx(setting.total, rel=tolerance)
    assert shares.min() < 0 < shares.max()
    raising = torch.where(shares > 0, 0.0, setting.image.data)
    lowering = torch.where(shares < 0, 0.0, setting.image.data)
    assert setting.value(raising) < setting.value(setting.image.data) < setting.value(lowering)
    assert map_.unit == map_.target.unit


def adds_up_but_for_padding(explainer: Explainer) -> None:
    """What learned patterns hand to the zeros around a window is lost."""
    adds_up(explainer, tolerance=0.15)


def adds_up_over_units(explainer: Explainer) -> None:
    """The maps of all units of a layer add up; each is what goes through one of them."""
    assert isinstance(explainer, NeuronConductance)
    setting = Setting(signed=True)
    maps = [setting.explain(replace(explainer, layer="0", channel=unit)) for unit in range(UNITS)]
    total = sum(float(map_.data.double().sum()) for map_ in maps)
    assert total == pytest.approx(setting.total, rel=1e-3)


def is_a_fall(explainer: Explainer) -> None:
    """A voxel holds by how much the target falls without the box that it lies in."""
    setting = Setting(signed=True)
    map_ = setting.explain(explainer).data
    without = setting.image.data.clone()
    without[:, :4, :4] = 0
    fall = setting.value(setting.image.data) - setting.value(without)
    assert float(map_[0, 0, 0]) == pytest.approx(fall, rel=CLOSE)
    assert map_.min() < 0 < map_.max()


def follows_what_features_add(explainer: Explainer) -> None:
    """Over many masks: in proportion to what each feature adds to the target, sign included."""
    setting = Setting(signed=True)
    blocks = Features("blocks", side_mm=4.0)
    known = setting.explain(FeatureAblation(blocks, baseline="zero")).data
    found = setting.explain(replace(explainer, features=blocks, samples=600)).data
    both = torch.stack([known.flatten(), found.flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.95
    assert found.min() < 0 < found.max()


def is_relevance_per_position(explainer: Explainer) -> None:
    """At a layer whose positions are voxels: the activation's part, position by position."""
    setting = Setting(signed=True)
    found = setting.explain(at_first_layer(explainer)).data
    parts = setting.explain(LayerGradientXActivation(layer="1")).data
    assert relative_gap(found, parts) < CLOSE
    assert float(found.double().sum()) == pytest.approx(setting.total, rel=1e-3)
    assert found.min() < 0 < found.max()


def speaks_for_the_target(explainer: Explainer) -> None:
    """Never negative; where all of a layer speaks for a target, nothing does for its opposite."""
    setting, explainer = Setting(), at_first_layer(explainer)
    assert setting.explain(explainer).data.min() >= 0
    with pytest.raises(MapError, match="zero everywhere"):
        setting.explain_opposite(explainer)


def turns_with_the_target(explainer: Explainer) -> None:
    """Positive where all speaks for the target, and negative for its opposite."""
    setting, explainer = Setting(), at_first_layer(explainer)
    found = setting.explain(explainer).data
    assert found.min() >= 0
    assert relative_gap(setting.explain_opposite(explainer).data, -found) < CLOSE


def has_the_guided_sign(explainer: Explainer) -> None:
    """The sign of guided backpropagation, wherever Grad-CAM lets it be seen."""
    case = make_case(2, 1)
    found = explainer.explain(case.model, case.volume, case.target).data
    guided = GuidedBackprop().explain(case.model, case.volume, case.target).data
    seen = found != 0
    assert torch.equal(found[seen].sign(), guided[seen].sign())
    assert found.min() < 0 < found.max()


def is_an_influence(explainer: Explainer) -> None:
    """Times a change of all units' activations it foresees the change of the target."""
    setting = Setting(signed=True)
    map_ = setting.explain(at_first_layer(explainer)).data
    start, step = setting.value(setting.image.data), 0.25
    first = setting.network[0]
    assert isinstance(first, nn.Conv2d)
    first.bias = nn.Parameter(torch.full((UNITS,), step))
    moved = setting.value(setting.image.data) - start
    assert float(step * map_.double().sum()) == pytest.approx(moved, rel=1e-3)


def is_a_signal(explainer: Explainer) -> None:
    """In units of the input: an image twice as bright has twice the signal; turns with R."""
    setting = Setting()
    found = setting.explain(explainer).data
    assert float(found.mean()) > 0
    assert relative_gap(setting.explain_opposite(explainer).data, -found) < CLOSE
    bright = setting.image.with_data(2 * setting.image.data)
    twice = explainer.explain(setting.model, bright, setting.target_on(bright)).data
    assert relative_gap(twice, 2 * found) < 1e-3


def is_a_probability(explainer: Explainer) -> None:
    """Adds up to one, less what was lost; below zero where the target counts a logit so."""
    setting = Setting()
    found = setting.explain(explainer)
    assert found.data.min() >= 0
    ended = 1 - found.facts.more["mass_lost"] - found.facts.more["fell_on_padding"]
    assert float(found.data.sum()) == pytest.approx(ended, rel=1e-3)
    assert float(found.data.sum()) > 0.9
    assert relative_gap(setting.explain_opposite(explainer).data, -found.data) < CLOSE


def is_a_contrast(explainer: Explainer) -> None:
    """Of both signs; where nothing excites the opposite, all speaks for the target."""
    case = make_case(2, 1)
    found = explainer.explain(case.model, case.volume, case.target).data
    assert found.min() < 0 < found.max()
    assert Setting().explain(explainer).data.min() >= 0


def is_deleted_or_kept(explainer: Explainer) -> None:
    """In 0..1; the target falls without what is deleted, and stays with what is kept."""
    assert isinstance(explainer, MeaningfulPerturbation)
    setting = Setting()
    x = setting.image.data.clone()
    x[:, 6:] *= 0.1
    image, whole = setting.image.with_data(x), setting.value(x)
    target = setting.target_on(image)
    for mode, word in (("deletion", "deleted"), ("preservation", "kept")):
        method = replace(explainer, mode=mode, steps=40, l1=1.0, tv=0.0)
        found = method.explain(setting.model, image, target)
        mask = found.data
        assert 0 <= mask.min() < mask.max() <= 1
        assert word in found.meaning.legend
        left = setting.value(x * (1 - mask if mode == "deletion" else mask)) / whole
        assert (left < 0.4) if mode == "deletion" else (left > 0.6)


def keeps_the_segmentation(explainer: Explainer) -> None:
    """In 0..1; the image faded to its minimum outside of the mask keeps the label's Dice."""
    case = make_case(2, 1)
    found = explainer.explain(case.model, case.volume, frozen(case.model, case.volume))
    assert 0 <= found.data.min() < found.data.max() <= 1
    x = case.volume.data
    kept = torch.lerp(x.amin().expand_as(x), x, found.data)
    one, other = (
        case.model.logits(data[None]).argmax(dim=1) == 1 for data in (case.volume.data, kept)
    )
    dice = 2 * float((one & other).sum()) / float(one.sum() + other.sum())
    assert dice == pytest.approx(found.facts.more["dice"], abs=1e-6)
    assert dice >= 0.8


def has_no_sign(explainer: Explainer) -> None:
    """Never negative, and the same for a target and its opposite."""
    case = make_case(2, 1)
    opposite = with_coefficients(case.target, -case.target.coefficients)
    found = explainer.explain(case.model, case.volume, case.target)
    assert found.data.min() >= 0
    assert (
        relative_gap(explainer.explain(case.model, case.volume, opposite).data, found.data) < CLOSE
    )
    assert not found.meaning.is_signed


def does_not_know_the_target(explainer: Explainer) -> None:
    """The same map for two targets that have nothing in common."""
    case = make_case(2, 1)
    other = frozen(case.model, case.volume, everywhere(of="probability", reduce="mean"))
    maps = [explainer.explain(case.model, case.volume, one) for one in (case.target, other)]
    assert torch.equal(maps[0].data, maps[1].data)
    assert "target" in maps[0].meaning.sign

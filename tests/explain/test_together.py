"""Targets explained together: the maps and facts of each alone, for fewer forward passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from esegeta.errors import MapError
from esegeta.explain import (
    EXPLAINERS,
    Explainer,
    HiResCam,
    InputXGradient,
    IntegratedGradients,
    Objective,
    Saliency,
)
from esegeta.explain.together import gradients_together, values_together
from esegeta.predict import Predictor, active_windows
from esegeta.targets import BoxRegion, FrozenTarget, Scene, Target, UnitTarget, VoxelTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, predictor, unet, volume
from tests.each import for_each
from tests.networks import Counting
from tests.oracles import everywhere, gradient_of, monai_prediction, relative_gap

pytestmark = pytest.mark.usefixtures("whole_windows")

TOGETHER = [
    Saliency(),
    Saliency(absolute=True),
    InputXGradient(),
    IntegratedGradients(steps=3, baseline="zero"),
]
IDS = [f"{place}-{method.name}" for place, method in enumerate(TOGETHER)]


def targets_of(ndim: int) -> dict[str, Target]:
    """A corner, an overlapping box, everything, and two that are not linear."""
    corner = BoxRegion((0,) * ndim, (2,) * ndim)
    middle = BoxRegion((1,) * ndim, (6,) * ndim)
    return {
        "corner": VoxelTarget("one", over=corner),
        "difference": VoxelTarget("one", over=middle) - 0.5 * VoxelTarget("one", over=corner),
        "all": everywhere(reduce="mean"),
        "probability": VoxelTarget("one", of="probability", over=middle),
        "margin": VoxelTarget("one", of="margin", over=corner),
    }


def setting(ndim: int, batch_size: int = 3) -> tuple[Predictor, Volume, list[FrozenTarget]]:
    model = predictor(Counting(unet(ndim, in_channels=2)), (8,) * ndim, batch_size=batch_size)
    image = volume(SHAPES[ndim], 2)
    scene = Scene(model, image)
    return model, image, [target.freeze(scene) for target in targets_of(ndim).values()]


@pytest.mark.parametrize("explainer", TOGETHER, ids=IDS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_maps_and_facts_are_those_of_each_target_alone(
    ndim: int, explainer: Explainer, batch_size: int
) -> None:
    model, image, targets = setting(ndim, batch_size)
    found = explainer.explain_together(model, image, targets)
    assert len(found) == len(targets)
    for one, target in zip(found, targets, strict=True):
        alone = explainer.explain(model, image, target)
        assert relative_gap(one.data, alone.data) < 1e-6
        assert one.target is target
        for name in ("evaluations", "windows_run", "active_windows", "num_windows"):
            assert getattr(one.facts, name) == getattr(alone.facts, name)
        assert (one.facts.completeness_delta is None) == (alone.facts.completeness_delta is None)
        if alone.facts.completeness_delta is not None:
            gap = one.facts.completeness_delta - alone.facts.completeness_delta
            assert abs(gap) < 1e-4 * float(alone.data.abs().sum())
        assert one.facts.more["shared_with"] == len(targets) - 1
        assert "shared_with" not in alone.facts.more
    assert len({one.facts.seconds for one in found}) == 1


def test_together_equals_autograd_through_monai(ndim: int) -> None:
    model, image, targets = setting(ndim)
    for one in Saliency().explain_together(model, image, targets):
        expected = gradient_of(
            lambda x, one=one: one.target.value(monai_prediction(model, x)), image.batch
        )
        assert relative_gap(one.data, expected[0]) < 1e-5


def test_three_linear_targets_take_the_forward_passes_of_their_union(ndim: int) -> None:
    model, image, targets = setting(ndim)
    three = targets[:3]
    windows = model.windows(image.batch)
    union = {w for target in three for w in active_windows(windows, target.cotangent(None))}
    for explainer, passes in ((Saliency(), 1), (IntegratedGradients(steps=3), 5)):
        model.network.windows = 0
        found = explainer.explain_together(model, image, three)
        assert model.network.windows == passes * len(union)
        assert sum(one.facts.windows_run for one in found) > model.network.windows


def test_targets_that_are_not_linear_share_the_prediction_of_a_step(ndim: int) -> None:
    model, image, targets = setting(ndim)
    curved = [target for target in targets if not target.is_linear]
    assert len(curved) == 2
    curved[0].scene.logits  # noqa: B018  (predicted once, before the counting)
    windows = model.windows(image.batch)
    union = {w for target in curved for w in target.touched(windows)}
    steps = 3
    model.network.windows = 0
    IntegratedGradients(steps=steps, baseline="zero").explain_together(model, image, curved)
    # A step predicts and goes back; of the ends only the start is not known already.
    assert model.network.windows == (2 * steps + 1) * len(union)


def test_the_prediction_is_made_once_for_all(ndim: int) -> None:
    model, image, _ = setting(ndim)
    num_windows = len(model.windows(image.batch))
    targets = [VoxelTarget("one", of=of, over=over) for of, over in OVER_PREDICTION]
    model.network.windows = 0
    Saliency().explain_together(model, image, targets)
    assert model.network.windows <= 2 * num_windows


OVER_PREDICTION = [
    ("probability", everywhere().over),
    ("margin", everywhere().over),
    ("logit", VoxelTarget("one").over),
]


def test_other_methods_explain_one_after_the_other() -> None:
    model, image, targets = setting(2)
    assert not HiResCam.traits.together
    found = HiResCam().explain_together(model, image, targets[:2])
    for one, target in zip(found, targets, strict=False):
        assert torch.equal(one.data, HiResCam().explain(model, image, target).data)
        assert "shared_with" not in one.facts.more


@for_each(EXPLAINERS)
def test_the_trait_together_matches_the_implementation(name: str) -> None:
    kind = EXPLAINERS[name]
    overrides = kind.attribute_together is not Explainer.attribute_together
    assert kind.traits.together == overrides


def test_a_map_of_zeros_fails_the_whole_group() -> None:
    model, image, targets = setting(2)
    form = targets[0].coefficients
    nothing = replace(targets[0], coefficients=form.scaled(0.0))
    with pytest.raises(MapError, match="zero everywhere"):
        Saliency().explain_together(model, image, [targets[1], nothing])


def test_targets_at_two_inputs_are_refused() -> None:
    model, image, targets = setting(2)
    one, other = (Objective.of(model, target, image) for target in targets[:2])
    assert len(values_together([one, other])) == len(gradients_together([one, other])) == 2
    with pytest.raises(ValueError, match="at one and the same input"):
        values_together([one, other.at(image.data.clone())])


def test_windows_of_infinite_slope_beside_a_target_add_nothing() -> None:
    """A batch holds windows that only another target touches; zero times Inf is none of ours."""

    class Root(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, x.clamp(min=0).sqrt()], dim=1)

    model = predictor(Root(), (4, 4), overlap=0.0, batch_size=2)
    image = volume((8, 4))
    image.data[:, :4] = 4.0
    image.data[:, 4:] = 0.0
    scene = Scene(model, image)
    ours = VoxelTarget("one", over=BoxRegion((0, 0), (4, 4))).freeze(scene)
    theirs = VoxelTarget("one", over=BoxRegion((0, 0), (8, 4))).freeze(scene)
    found = gradients_together([Objective.of(model, target, image) for target in (ours, theirs)])
    assert torch.equal(found[0][:, :4], torch.full((1, 4, 4), 0.25))
    assert not found[0][:, 4:].any()


def test_a_unit_target_among_others_is_explained_by_itself(ndim: int) -> None:
    """It ends at its layer: its windows are other networks' than the logits'."""
    model, image, targets = setting(ndim)
    unit = UnitTarget(layer="inner.model.0", channel=1).freeze(targets[0].scene)
    mixed = [targets[0], unit, targets[1]]
    found = Saliency().explain_together(model, image, mixed)
    for one, target in zip(found, mixed, strict=True):
        assert relative_gap(one.data, Saliency().explain(model, image, target).data) < 1e-6
        assert one.target is target
    assert [one.facts.more.get("shared_with") for one in found] == [1, None, 1]

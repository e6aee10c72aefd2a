"""Methods that share passes of one target give what each gives alone, in fewer passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from esegeta.explain import (
    Explainer,
    GradCam,
    GradCamPP,
    HiResCam,
    InputXGradient,
    LayerActivation,
    LayerGradientXActivation,
    Saliency,
    XResCam,
)
from esegeta.targets import FrozenTarget, KeptPasses, Scene, VoxelTarget
from esegeta.targets.kept import MB
from tests.builders import SHAPES, predictor, unet, volume
from tests.networks import Counting

METHODS: list[Explainer] = [
    Saliency(),
    Saliency(absolute=True),
    InputXGradient(),
    GradCam(),
    GradCamPP(),
    HiResCam(),
    XResCam(),
    LayerGradientXActivation(),
    LayerActivation(),
]


def targets(scene: Scene) -> list[FrozenTarget]:
    one = VoxelTarget("one")
    return [one.freeze(scene), (2.0 * one).freeze(scene)]


def test_maps_and_facts_are_those_of_each_method_alone() -> None:
    network = Counting(unet(2))
    model, image = predictor(network, (8, 8), overlap=0.0), volume((15, 8))
    alone, shared = (Scene(model, image, kept=kept) for kept in (None, KeptPasses()))
    passes = []
    maps = []
    for scene in (alone, shared):
        frozen = targets(scene)
        network.windows = 0
        maps.append([m.explain_together(model, image, frozen) for m in METHODS])
        passes.append(network.windows)
    for own, other in zip(*maps, strict=True):
        for one, two in zip(own, other, strict=True):
            torch.testing.assert_close(two.data, one.data, rtol=1e-6, atol=0)
            assert two.facts.windows_run == one.facts.windows_run
            assert two.facts.evaluations == one.facts.evaluations
    assert passes[1] < 0.5 * passes[0]


def test_changing_a_map_in_place_changes_no_other() -> None:
    model, image = predictor(unet(2), (8, 8)), volume(SHAPES[2])
    target = VoxelTarget("one").freeze(Scene(model, image, kept=KeptPasses()))
    first = Saliency().explain(model, image, target)
    expected = first.data.clone()
    first.data.zero_()
    second = Saliency().explain(model, image, target)
    assert torch.equal(second.data, expected)
    second.data.zero_()
    assert torch.equal(Saliency().explain(model, image, target).data, expected)


def test_activations_are_computed_again_if_none_are_kept() -> None:
    model, image = predictor(unet(2), (8, 8)), volume((8, 8))
    maps = []
    for kept in (None, KeptPasses(), KeptPasses(room_mb=0)):
        target = VoxelTarget("one").freeze(Scene(model, image, kept=kept))
        maps += [XResCam().explain(model, image, target).data for _ in range(2)]
    for found in maps[1:]:
        torch.testing.assert_close(found, maps[0], rtol=1e-5, atol=1e-7)


def test_windows_run_by_another_method_count_in_the_progress() -> None:
    """So that a progress bar reaches the same end."""
    told: list[int] = []
    model, image = replace(predictor(unet(2), (8, 8)), on_windows=told.append), volume(SHAPES[2])
    target = VoxelTarget("one").freeze(Scene(model, image, kept=KeptPasses()))
    sums = []
    for _ in range(2):
        told.clear()
        HiResCam().explain(model, image, target)
        sums.append(sum(told))
    assert sums[0] == sums[1] > 0


@pytest.mark.parametrize("what", ["weights", "input", "hook", "predictor"])
def test_kept_passes_are_dropped_when_the_weights_change(what: str) -> None:
    network = unet(2)
    model, image = predictor(network, (8, 8)), volume(SHAPES[2])
    target = VoxelTarget("one").freeze(Scene(model, image, kept=KeptPasses()))
    before = Saliency().explain(model, image, target).data
    with torch.no_grad():
        if what == "weights":
            next(network.parameters()).mul_(2)
        elif what == "input":
            image.data.mul_(2)
        elif what == "hook":
            network.register_forward_hook(lambda *given: 3 * given[2])
        else:
            model = replace(model, plan=replace(model.plan, blend="constant"))
    after = Saliency().explain(model, image, target).data
    fresh = replace(target, scene=replace(target.scene, kept=None))
    assert not torch.equal(after, before)
    assert torch.equal(after, Saliency().explain(model, image, fresh).data)


def test_kept_passes_respect_the_memory_limit() -> None:
    kept = KeptPasses(room_mb=100 * 4 / MB)
    tensor = torch.arange(60.0)
    kept.of("a").keep("first", tensor)
    kept.keep("second", tensor)
    kept.keep("third", tensor[:40])
    tensor.zero_()
    assert kept.find("second") is None
    assert kept.find("first", "second") is None
    (first, third) = kept.find("first", "third") or ()
    assert first.tolist() == list(range(60))
    assert third.tolist() == list(range(40))
    assert kept.of("a").find("first") is not None
    assert kept.of("b").find("first") is None

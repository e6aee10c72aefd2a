"""The shipped networks on the shipped samples: what is promised of them holds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from esegeta.config import load_config
from esegeta.explain import Explainer, IntegratedGradients, LayerwiseRelevance
from esegeta.explain.backprop.rules import COMPOSITES
from esegeta.targets import FrozenTarget, Scene, VoxelTarget, label_dice
from esegeta.volume import read_case, volume_from_tensor
from esegeta.workflow.build import Experiment, build_experiment

ROOT = Path(__file__).parents[1]


def opened(name: str) -> tuple[Experiment, FrozenTarget]:
    """Return a shipped experiment, and its first target on its first case."""
    experiment = build_experiment(load_config(ROOT / "configs" / f"{name}.yaml"))
    case, plan = experiment.cases[0], experiment.targets[0]
    volume, truth = read_case(case, experiment.preprocess, experiment.reading)
    scene = Scene(experiment.predictor, volume, truth)
    targets = plan.targets(scene, case, experiment.preprocess)
    return experiment, next(iter(targets.values())).freeze(scene)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all_methods_2d", "all_methods_3d"])
def test_integrated_gradients_add_up_within_two_percent_by_default(name: str) -> None:
    experiment, target = opened(name)
    found = IntegratedGradients().explain(experiment.predictor, target.scene.volume, target)
    assert found.facts.completeness_relative is not None
    assert found.facts.completeness_relative < 0.02
    assert found.warnings == ()


@pytest.mark.parametrize("name", ["all_methods_2d", "all_methods_3d"])
def test_configs_of_all_methods_list_every_method(name: str) -> None:
    from esegeta.explain import EXPLAINERS

    config = load_config(ROOT / "configs" / f"{name}.yaml")
    assert {method.name for method in config.methods.values()} == set(EXPLAINERS)


@pytest.mark.slow
def test_the_drawn_tumours_are_segmented_and_explained_by_their_sequences() -> None:
    experiment, target = opened("regions_3d")
    scene = target.scene
    dice = label_dice(scene.labels, scene.logits, scene.require_truth("Dice"))
    assert list(dice) == ["whole", "core", "enhancing"]
    assert min(dice.values()) > 0.88
    assert label_painted(scene) == {0, 1, 2, 4}
    shapley = experiment.methods["exact_shapley"]
    for label, sequence in (("whole", "flair"), ("enhancing", "t1ce")):
        found = shapley.explain(
            experiment.predictor, scene.volume, VoxelTarget(label).freeze(scene)
        )
        values = found.facts.more["values"]
        assert max(values, key=lambda name: values[name]) == sequence


def label_painted(scene: Scene) -> set[int]:
    """Return the integers of the predicted label map."""
    return {int(integer) for integer in scene.segmentation.label_map.unique()}


def slices_of_liver() -> tuple[Experiment, FrozenTarget]:
    """Return nnU-Net's experiment, whose norms are of instances, on two slices of the liver."""
    experiment = build_experiment(load_config(ROOT / "configs" / "nnunet.yaml"))
    volume, _ = read_case(experiment.cases[0], experiment.preprocess, experiment.reading)
    image = volume_from_tensor(volume.data[:, 105:107].clone())
    return experiment, VoxelTarget("liver").freeze(Scene(experiment.predictor, image))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_relevance_is_conserved_by_default_and_losses_of_named_rules_are_noted(norm: str) -> None:
    experiment, target = opened("all_methods_2d") if norm == "batch" else slices_of_liver()
    explain = partial(Explainer.explain, predictor=experiment.predictor)
    image = target.scene.volume
    found = explain(LayerwiseRelevance(), volume=image, target=target)
    assert found.facts.more["conservation_gap"] < 1e-3
    assert found.facts.more["amplification"] < 1.1
    assert found.warnings == ()
    gaps = []
    for composite in COMPOSITES:
        named = LayerwiseRelevance(composite=composite)
        lost = explain(named, volume=image, target=target)
        gaps.append(lost.facts.more["conservation_gap"])
        assert (gaps[-1] > 0.05) == any("`bias: distribute`" in text for text in lost.warnings)
        kept = explain(replace(named, bias="distribute"), volume=image, target=target)
        assert kept.facts.more["conservation_gap"] < 1e-3
    assert max(gaps) > 0.2

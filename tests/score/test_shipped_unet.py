"""Scores on the shipped CT network: the wrong label's map and random maps lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from monai.networks.nets import UNet

import esegeta
from esegeta.explain import (
    Attribution,
    Explainer,
    Features,
    IntegratedGradients,
    RandomMap,
    Saliency,
)
from esegeta.score import (
    Completeness,
    Deletion,
    DiceDrop,
    Infidelity,
    Insertion,
    Road,
    Score,
    ScoreCache,
    ScoreContext,
    SensitivityN,
)
from esegeta.targets import Scene, VoxelTarget
from esegeta.volume import volume_from_tensor

pytestmark = pytest.mark.slow

SAMPLES = Path(__file__).parents[2] / "data_samples"
LABELS = {1: "spleen", 2: "kidneys", 3: "liver", 4: "bone"}
PARTS = Features("supervoxels", count=100)

JUDGED = (
    Infidelity(perturbation="supervoxels", features=PARTS, baseline="mean"),
    Deletion(PARTS, steps=10),
    Insertion(PARTS, steps=10),
    DiceDrop(PARTS, steps=6),
    Road(steps=4),
    SensitivityN(PARTS, sizes=4, samples=10),
    Completeness("mean"),
)


class Ward:
    """A slab of the torso with spleen, liver and kidneys in three windows, and targets on it."""

    def __init__(self) -> None:
        network = UNet(
            3, 1, 5, (8, 16, 32, 64), (2, 2, 2), num_res_units=1, act="RELU", norm="BATCH"
        )
        weights = SAMPLES / "models" / "ct_unet3d.safetensors"
        self.model = esegeta.load_model(
            network, window=(48, 64, 64), overlap=0.25, labels=LABELS, weights=weights, device="cpu"
        )
        path = SAMPLES / "ct_torso" / "ct_torso.nii.gz"
        whole = esegeta.load_volume(path, orientation="RAS", window_hu=(-250, 400))
        box = (slice(None), slice(4, 100), slice(20, 84), slice(48, 112))
        crop = whole.data[box].contiguous()
        self.volume = volume_from_tensor(crop, spacing_mm=whole.grid.spacing_mm)
        self.scene = Scene(self.model, self.volume)
        self.cache = ScoreCache()
        self.spleen = VoxelTarget("spleen").freeze(self.scene)

    @cache  # noqa: B019  (as long as the module's tests)
    def map_of(self, explainer: Explainer, label: str) -> Attribution:
        """Return a map of a label; several scores judge the same ones."""
        return explainer.explain(self.model, self.volume, VoxelTarget(label).freeze(self.scene))

    @cache  # noqa: B019
    def figures(self, explainer: Explainer, made_for: str, score: Score) -> Mapping[str, float]:
        """Return how well a map made for some label explains the spleen."""
        context = ScoreContext(self.model, explainer, self.cache)
        return score.score(replace(self.map_of(explainer, made_for), target=self.spleen), context)


@pytest.fixture(scope="module")
def ward() -> Ward:
    return Ward()


@pytest.mark.parametrize("score", JUDGED, ids=lambda score: score.name)
def test_the_map_of_the_wrong_label_is_worse(ward: Ward, score: Score) -> None:
    gradients = IntegratedGradients(steps=8, baseline="mean")
    right = ward.figures(gradients, "spleen", score)
    wrong = ward.figures(gradients, "liver", score)
    first = score.metrics[-1 if score.name == "infidelity" else 0]
    sign = 1 if first.better == "higher" else -1
    assert sign * (right[first.name] - wrong[first.name]) > 0.005


def test_gradients_of_the_wrong_label_predict_changes_by_noise_worse(ward: Ward) -> None:
    score = Infidelity(perturbation="gaussian", noise=0.02, samples=12)
    right = ward.figures(Saliency(), "spleen", score)
    wrong = ward.figures(Saliency(), "liver", score)
    assert right["infidelity_relative"] < wrong["infidelity_relative"] - 0.1


@pytest.mark.parametrize("score", [JUDGED[1], JUDGED[3]], ids=lambda score: score.name)
@pytest.mark.parametrize(
    "method", [Saliency(), IntegratedGradients(steps=8, baseline="mean")], ids=lambda m: m.name
)
def test_random_maps_never_beat_gradients(ward: Ward, score: Score, method: Explainer) -> None:
    metric = score.metrics[0]
    sign = 1 if metric.better == "higher" else -1
    value = ward.figures(method, "spleen", score)[metric.name]
    for seed in range(4):
        null = RandomMap(sigma_mm=5.0 * (seed % 2), seed=seed)
        found = ward.figures(null, "spleen", score)[metric.name]
        assert sign * (value - found) > 0
        assert torch.isfinite(torch.tensor(found))

"""Consistency under flips: 1 where nothing knows left from right, else a slow rewrite's value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from esegeta.explain import (
    EXPLAINERS,
    Baseline,
    DeepLiftShap,
    Explainer,
    FeatureAblation,
    Features,
    InputXGradient,
    IntegratedGradients,
    LayerGradientXActivation,
    MiSuRe,
    NoiseTunnel,
    Objective,
    RandomMap,
    Saliency,
    SmoothGrad,
)
from esegeta.predict import WindowPlan
from esegeta.score import ConsistencyUnderFlips, ScoreContext
from esegeta.targets import (
    Component,
    DiceTarget,
    Predicted,
    Roi,
    Scene,
    Target,
    UnitTarget,
    VolumeTarget,
    VoxelTarget,
)
from esegeta.volume import Volume
from tests.builders import SHAPES, affine_of, pointwise, predictor, unet, volume
from tests.contracts.explainers import ROWS
from tests.networks import symmetric
from tests.oracles import everywhere, frozen, with_coefficients
from tests.pairwise import pairwise
from tests.score.flips import COSINE, SPEARMAN, SYMMETRIC_SHAPE, judged, likeness

DETERMINISTIC = [name for name in EXPLAINERS if not EXPLAINERS[name].traits.stochastic]


@pytest.mark.parametrize(
    ("ndim", "method"),
    [
        (3 if place % 2 and method != "exact_shapley" else 2, method)  # whose coalitions are many
        for place, method in enumerate(DETERMINISTIC)
    ],
)
def test_a_symmetric_network_scores_one(ndim: int, method: str) -> None:
    """Kernels are their own mirrors, windows and boxes lie symmetrically."""
    shape = SYMMETRIC_SHAPE[:ndim]
    image = volume(shape, 2)
    model = predictor(symmetric(ndim, 2), (8,) * ndim)
    target = with_coefficients(frozen(model, image), torch.rand(2, *shape))
    attribution = ROWS[method].explain(model, image, target)
    found = judged(attribution, model, ROWS[method]).values
    assert found[COSINE] == pytest.approx(1, abs=1e-6)
    assert found[SPEARMAN] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("of", ["logit", "log_probability"])
def test_pointwise_networks_score_one_for_any_windows(ndim: int, activation: str, of: str) -> None:
    model = predictor(pointwise(ndim), (4,) * ndim, activation=activation)
    image = volume(SHAPES[ndim])
    attribution = InputXGradient().explain(model, image, VoxelTarget("one", of))
    found = judged(attribution, model, InputXGradient()).values
    assert found[COSINE] == pytest.approx(1, abs=1e-6)
    assert found[SPEARMAN] == pytest.approx(1, abs=1e-6)


TARGETS: dict[str, Target] = {
    "logit": VoxelTarget("one"),
    "mean margin": VoxelTarget("one", "margin", reduce="mean"),
    "live probability": VoxelTarget("one", "probability", live=True),
    "live component": VoxelTarget("one", "probability", Component(), live=True),
    "sum": VoxelTarget("one") - 0.5 * VoxelTarget("two", reduce="mean"),
    "curved sum": VoxelTarget("one") + 3.0 * VoxelTarget("two", "entropy"),
    "product": VoxelTarget("one") * VoxelTarget("two", "probability"),
    "dice": DiceTarget("one"),
    "volume": VolumeTarget("two"),
}


def truth_for(image: Volume) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 3, image.grid.shape, generator=generator)


@pairwise(ndim=[2, 3], activation=["softmax", "sigmoid"], name=TARGETS)
def test_equals_explaining_the_flipped_function(ndim: int, activation: str, name: str) -> None:
    """A network that flips its input and flips back, explained at the image as it was."""
    num_outputs = 3
    network = unet(ndim, in_channels=2, out_channels=num_outputs, seed=11)
    # One window, so that the windows of the flipped image lie where those of the image lie.
    window = (16,) * ndim
    model = predictor(network, window, num_outputs=num_outputs, activation=activation)
    image = volume((16, 10, 12)[:ndim], 2, affine=affine_of("oblique", ndim))
    target = TARGETS[name].freeze(Scene(model, image, truth_for(image)))
    attribution = Saliency().explain(model, image, target)
    judgement = judged(attribution, model, Saliency())
    cosines, correlations = [], []
    for axis in range(ndim):
        found = ConsistencyUnderFlips((axis,)).judge(attribution, ScoreContext(model, Saliency()))
        x = image.data.clone()
        mirrored = replace(model, network=Mirrored(network, axis + 2))
        at = Objective.of(mirrored, target, image.with_data(x))
        other = Saliency().attribute(at).data
        cosine, correlation = likeness(attribution.data, other)
        assert found.values[COSINE] == pytest.approx(cosine, abs=1e-5)
        assert found.values[SPEARMAN] == pytest.approx(correlation, abs=1e-4)
        cosines.append(cosine)
        correlations.append(correlation)
    assert min(cosines) < 0.95
    assert judgement.values[COSINE] == pytest.approx(np.mean(cosines), abs=1e-5)
    assert judgement.values[SPEARMAN] == pytest.approx(np.mean(correlations), abs=1e-4)
    by_axis = {curve.name: curve for curve in judgement.curves}
    assert by_axis[COSINE].y == pytest.approx(tuple(cosines), abs=1e-5)
    assert by_axis[SPEARMAN].y == pytest.approx(tuple(correlations), abs=1e-4)
    assert by_axis[COSINE].ticks == ("axis 0", "axis 1", "axis 2")[:ndim]


class Mirrored(torch.nn.Module):
    """A network that sees its input flipped, and whose output is flipped back."""

    def __init__(self, inner: torch.nn.Module, axis: int) -> None:
        super().__init__()
        self.inner = inner
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.flip(self.axis)).flip(self.axis)


def test_each_axis_is_explained_anew_by_the_same_method(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    explainer = IntegratedGradients(steps=2, baseline="blur")
    attribution = explainer.explain(model, image, VoxelTarget("one"))
    for axis in range(ndim):
        mirrored = volume(SHAPES[ndim]).with_data(image.data.flip(axis + 1))
        over = Roi(attribution.target.mask.flip(axis))
        other = explainer.explain(model, mirrored, VoxelTarget("one", over=over))
        found = judged(attribution, model, explainer, (axis,)).values
        cosine, correlation = likeness(attribution.data, other.data.flip(axis + 1))
        assert found[COSINE] == pytest.approx(cosine, abs=1e-5)
        assert found[SPEARMAN] == pytest.approx(correlation, abs=1e-4)


def test_a_2d_network_over_slices() -> None:
    model = predictor(pointwise(2), (4, 4))
    model = replace(model, plan=WindowPlan((4, 4), slice_axis=0))
    image = volume((3, 9, 10))
    attribution = InputXGradient().explain(model, image, VoxelTarget("one"))
    found = judged(attribution, model, InputXGradient())
    assert found.values[COSINE] == pytest.approx(1, abs=1e-6)
    assert len(found.curves[0].x) == 3


@pytest.mark.parametrize(
    "explainer",
    [
        IntegratedGradients(steps=2, baseline=Baseline(file="given.nii.gz")),
        DeepLiftShap(baselines=(Baseline(file="given.nii.gz"), "zero")),
        FeatureAblation("given.nii.gz", baseline="zero"),
        FeatureAblation(Features("blocks", side_mm=4.0), Baseline(file="given.nii.gz")),
    ],
    ids=["baseline", "baselines", "atlas", "baseline of features"],
)
def test_files_on_the_grid_are_flipped_along(ndim: int, explainer: Explainer) -> None:
    shape = SYMMETRIC_SHAPE[:ndim]
    image = volume(shape)
    model = predictor(symmetric(ndim), (8,) * ndim)
    explainer = with_file(explainer, image)
    attribution = explainer.explain(model, image, everywhere(of="probability"))
    found = judged(attribution, model, explainer).values
    assert found[COSINE] == pytest.approx(1, abs=1e-5)
    mirrored = image.with_data(image.data.flip(1))
    unmoved = explainer.explain(model, mirrored, everywhere(of="probability")).data.flip(1)
    assert likeness(attribution.data, unmoved)[0] < 0.95


def with_file(explainer: Explainer, image: Volume) -> Explainer:
    """Return a method with the voxels of its file, as a run fills them in."""
    generator = torch.Generator().manual_seed(8)
    values = torch.randn(image.data.shape, generator=generator)
    labels = torch.randint(0, 4, image.grid.shape, generator=generator)
    if isinstance(explainer, DeepLiftShap):
        first, *others = explainer.baselines
        return replace(explainer, baselines=(first.with_values(values), *others))
    if isinstance(explainer, FeatureAblation) and explainer.features.kind == "atlas":
        return replace(explainer, features=explainer.features.with_labels(labels))
    return replace(explainer, baseline=explainer.baseline.with_values(values))


def test_files_of_a_nested_method_are_flipped_along() -> None:
    """Noise draws for voxels, not for the anatomy: with hardly any the maps are alike."""
    image = volume(SYMMETRIC_SHAPE[:2])
    model = predictor(symmetric(2), (8, 8))
    base = with_file(IntegratedGradients(steps=2, baseline=Baseline(file="given.nii.gz")), image)
    explainer = NoiseTunnel(base=base, samples=2, noise=1e-5)
    attribution = explainer.explain(model, image, everywhere(of="probability"))
    assert judged(attribution, model, explainer).values[COSINE] == pytest.approx(1, abs=1e-4)


def test_a_stochastic_method_draws_anew() -> None:
    """Its noise counts: less of it, the more samples it takes; noise alone is like nothing."""
    image = volume(SYMMETRIC_SHAPE[:2])
    model = predictor(symmetric(2), (8, 8))
    target = frozen(model, image, everywhere(of="probability"))
    found = []
    for samples in (2, 32):
        explainer = SmoothGrad(samples=samples, noise=0.5)
        attribution = explainer.explain(model, image, target)
        found.append(judged(attribution, model, explainer, (0,)).values[COSINE])
    assert found[0] < found[1] < 0.9999
    noise = RandomMap()
    attribution = noise.explain(model, image, target)
    assert abs(judged(attribution, model, noise).values[COSINE]) < 0.3


def test_the_mask_is_flipped_and_not_formed_anew() -> None:
    """A network that predicts elsewhere in the mirrored image is still asked of the same voxels."""
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    target = VoxelTarget("one").freeze(Scene(model, image))
    moved = target.flipped(0)
    anew = model.labels.predicted(model.logits(image.data.flip(1)[None]), "one")[0]
    assert torch.equal(moved.mask, target.mask.flip(0))
    assert not torch.equal(moved.mask, anew)


def test_misure_keeps_the_flipped_label(ndim: int) -> None:
    """It asks the scene for the prediction, which is that of the flipped image."""
    shape = SYMMETRIC_SHAPE[:ndim]
    image = volume(shape)
    model = predictor(symmetric(ndim), (8,) * ndim)
    explainer = MiSuRe(tau=0.8, steps=4, rate=0.1, cell=2, baseline="minimum")
    attribution = explainer.explain(model, image, VoxelTarget("one"))
    found = judged(attribution, model, explainer, (0,)).values
    assert found[COSINE] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "explainer",
    [Saliency(), LayerGradientXActivation("model.0")],
    ids=lambda explainer: explainer.name,
)
def test_units_are_read_in_the_flipped_image(ndim: int, explainer: Explainer) -> None:
    """Units of a layer at half the resolution, over the voxels predicted as a label."""
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    units = [UnitTarget("model.1.submodule", unit, Predicted(), label="one") for unit in (2, 5)]
    target = (units[0] - 2.0 * units[1]).freeze(Scene(model, image))
    attribution = explainer.explain(model, image, target)
    for axis in range(ndim):
        mirrored = volume(SHAPES[ndim], 2).with_data(image.data.flip(axis + 1))
        over = Roi(target.mask.flip(axis))
        anew = [replace(unit, over=over) for unit in units]
        other = explainer.explain(model, mirrored, anew[0] - 2.0 * anew[1]).data.flip(axis + 1)
        found = judged(attribution, model, explainer, (axis,)).values
        cosine, correlation = likeness(attribution.data, other)
        assert found[COSINE] == pytest.approx(cosine, abs=1e-5)
        assert found[SPEARMAN] == pytest.approx(correlation, abs=1e-4)
        assert found[COSINE] < 0.999

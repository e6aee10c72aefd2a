"""`name: captum`: Captum's classes in a config, through all our checks and scores."""

from __future__ import annotations

from typing import Any

import captum.attr
import numpy as np
import pytest
import torch

import esegeta
from esegeta.errors import ConfigError
from esegeta.explain import Captum, Explainer
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, unet
from tests.experiments import quick, unet_lab

__all__ = ["quick"]

pytestmark = pytest.mark.usefixtures("quiet_captum")

BLOCKS = esegeta.Features("blocks", side_mm=5)
EACH = esegeta.Features("blocks", side_mm=5, channels="each")


@pytest.fixture
def model(ndim: int) -> esegeta.SegmentationModel:
    network = unet(ndim, in_channels=2, out_channels=3)
    return esegeta.load_model(
        network, window=(8,) * ndim, labels={1: "one", 2: "two"}, device="cpu"
    )


@pytest.fixture
def image(ndim: int) -> Volume:
    data = torch.randn((2, *SHAPES[ndim]), generator=torch.Generator().manual_seed(1))
    return esegeta.volume_from_tensor(data)


@pytest.fixture
def target(model: esegeta.SegmentationModel, image: Volume) -> FrozenTarget:
    return model.freeze(model.target("one"), image)


PAIRS: list[tuple[Captum, Explainer]] = [
    (
        Captum("captum.attr:FeatureAblation", features=BLOCKS, baseline="mean"),
        esegeta.FeatureAblation(features=BLOCKS, baseline="mean"),
    ),
    (
        Captum("captum.attr:FeatureAblation", features=EACH, baseline="zero"),
        esegeta.FeatureAblation(features=EACH, baseline="zero"),
    ),
    (
        Captum("captum.attr:ShapleyValues", features="channels", baseline="mean"),
        esegeta.ExactShapley(features="channels", baseline="mean"),
    ),
    (
        Captum("captum.attr:IntegratedGradients", arguments={"n_steps": 3}, baseline="blur"),
        esegeta.IntegratedGradients(steps=3, baseline="blur"),
    ),
    (
        Captum("captum.attr:Saliency", arguments={"abs": False}),
        esegeta.Saliency(),
    ),
    (Captum(), esegeta.Saliency(absolute=True)),
]


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=lambda item: item.name)
def test_maps_and_their_meaning_equal_ours(
    theirs: Captum,
    ours: Explainer,
    model: esegeta.SegmentationModel,
    image: Volume,
    target: FrozenTarget,
) -> None:
    found, wanted = (one.explain(model, image, target) for one in (theirs, ours))
    scale = float(wanted.data.abs().max())
    torch.testing.assert_close(found.data, wanted.data, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(found.density(), wanted.density(), rtol=0, atol=1e-5 * scale)
    assert found.meaning == wanted.meaning and found.unit == wanted.unit
    if found.facts.completeness_delta is not None and theirs.class_name == "ShapleyValues":
        assert abs(found.facts.completeness_relative or 0) < 1e-5


@pytest.mark.parametrize("ndim", [2])
def test_kernel_shap_over_all_coalitions_is_the_shapley_value(
    model: esegeta.SegmentationModel, image: Volume, target: FrozenTarget
) -> None:
    given = {"n_samples": 40}
    theirs = Captum("captum.attr:KernelShap", arguments=given, features="channels", baseline="zero")
    found = theirs.explain(model, image, target).data
    wanted = esegeta.ExactShapley(features="channels", baseline="zero")
    exact = wanted.explain(model, image, target).data
    scale = float(exact.abs().max())
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-3 * scale)
    torch.testing.assert_close(theirs.explain(model, image, target).data, found, rtol=0, atol=0)


@pytest.mark.parametrize("ndim", [2])
def test_voxels_in_no_feature_are_never_replaced(
    model: esegeta.SegmentationModel, image: Volume, target: FrozenTarget
) -> None:
    atlas = torch.zeros(image.grid.shape, dtype=torch.int64)
    atlas[:4], atlas[4:8] = 3, 7
    features = esegeta.Features("atlas", labels=atlas)
    theirs = Captum("captum.attr:ShapleyValues", features=features, baseline="zero")
    ours = esegeta.ExactShapley(features=features, baseline="zero")
    found, wanted = (one.explain(model, image, target).data for one in (theirs, ours))
    scale = float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * scale)
    assert not found[:, 8:].any()


@pytest.mark.parametrize("ndim", [2])
def test_a_noise_tunnel_takes_another_class_as_its_method(
    model: esegeta.SegmentationModel, image: Volume, target: FrozenTarget
) -> None:
    inner = {"attribution_method": {"class": "captum.attr:Saliency"}}
    given = {"nt_samples": 2, "stdevs": 1e-6, "abs": False}
    theirs = Captum("captum.attr:NoiseTunnel", init=inner, arguments=given, value="slope")
    found = theirs.explain(model, image, target)
    wanted = esegeta.Saliency().explain(model, image, target).data
    scale = float(wanted.abs().max())
    torch.testing.assert_close(found.data, wanted, rtol=0, atol=1e-3 * scale)
    assert found.meaning.is_slope


@pytest.mark.parametrize("ndim", [2])
def test_arguments_may_be_none_if_captum_accepts_it(
    model: esegeta.SegmentationModel, image: Volume, target: FrozenTarget
) -> None:
    box = {"sliding_window_shapes": (2, 3, 3)}
    plain, none = (
        Captum("captum.attr:Occlusion", arguments=given, baseline="zero")
        for given in (box, {**box, "perturbations_per_eval": 1, "strides": None})
    )
    found = none.explain(model, image, target).data
    assert torch.equal(found, plain.explain(model, image, target).data)
    with pytest.raises(ConfigError, match="perturbations_per_eval: must be a whole number"):
        Captum("captum.attr:Occlusion", arguments={**box, "perturbations_per_eval": None})


@pytest.mark.parametrize("ndim", [2])
def test_a_result_of_another_shape_than_the_image_is_refused(
    model: esegeta.SegmentationModel, image: Volume, target: FrozenTarget
) -> None:
    given = {"n_samples": 8, "return_input_shape": False}
    method = Captum("captum.attr:KernelShap", arguments=given, features="channels", baseline="zero")
    with pytest.raises(ConfigError, match=r"KernelShap returns \(1, 2\), not a map of the image"):
        method.explain(model, image, target)


class Own(captum.attr.Saliency):
    """A class that Captum does not know."""


def test_an_unknown_class_needs_a_meaning_of_its_values() -> None:
    own = f"{__name__}:Own"
    with pytest.raises(ConfigError, match="what a value of Own means is not known; give `meaning`"):
        Captum(own)
    assert Captum(own, value="slope").meaning.is_slope


def tunnel_of(inner: Any) -> dict[str, Any]:
    return {"class": "captum.attr:NoiseTunnel", "init": {"attribution_method": inner}}


def attributing(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"class": f"captum.attr:{kind}", "attribute": arguments}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"class": "captum.attr:LayerGradCam"}, "use grad_cam"),
        ({"class": "captum.attr:DeepLift"}, "use deep_lift"),
        ({"class": "captum.attr:Mean"}, "is not an attribution of Captum"),
        ({"class": "captum.atr:Saliency"}, "(No module named 'captum.atr'); install it"),
        ({"class": "captum.attr:ShapleyValue"}, 'did you mean "ShapleyValues"'),
        ({"class": "captum.attr:GradientAttribution"}, "is a base class"),
        ({"attribute": {"target": 1}}, "target cannot be given"),
        ({"attribute": {"nsteps": 1}, "class": "captum.attr:IntegratedGradients"}, "n_steps"),
        ({"init": {"multiply": True}}, "Saliency takes no multiply"),
        ({"features": "blocks"}, "takes no feature_mask"),
        ({"class": "captum.attr:Occlusion"}, "Occlusion needs sliding_window_shapes"),
        ({"class": "captum.attr:GradientShap"}, "GradientShap needs baselines"),
        ({"class": "captum.attr:FeaturePermutation"}, "use FeatureAblation"),
        (tunnel_of({"class": "captum.attr:DeepLift"}), "use deep_lift"),
        (tunnel_of({"class": "captum.attr:Salience"}), 'did you mean "Saliency"'),
        (tunnel_of({"class": "captum.attr:Saliency", "abs": 1}), "Saliency takes no abs"),
        (tunnel_of("saliency"), "attribution_method: should be a block"),
        ({"class": "captum.attr:NoiseTunnel"}, "NoiseTunnel needs attribution_method"),
        ({"meaning": "slop"}, 'meaning: "slop" is not known'),
        ({"clas": "captum.attr:Saliency"}, 'did you mean "class"?'),
        (attributing("IntegratedGradients", n_steps="many"), "whole number of at least 1"),
        (attributing("IntegratedGradients", method="gausslegendr"), "gausslegendr"),
        (attributing("IntegratedGradients", n_steps=0), "of at least 1 (found 0)"),
        (attributing("IntegratedGradients", baselines="black"), "IntegratedGradients refuses"),
        (
            attributing("Occlusion", sliding_window_shapes=[1, 3, 3]),
            "methods[0]: captum: Occlusion refuses",
        ),
        (attributing("Occlusion", sliding_window_shapes=[1, 99, 3, 3]), "cannot exceed input"),
        (attributing("KernelShap", n_samples="many"), "captum: attribute: n_samples: must be"),
        (attributing("Occlusion", sliding_window_shapes=[1, 3, 3, 3], strides=0), "strides: must"),
        (attributing("Saliency", abs="no"), "abs: should be true or false (found 'no')"),
        (
            {**tunnel_of({"class": "captum.attr:Saliency"}), "attribute": {"nt_type": "smoth"}},
            "NoiseTunnel refuses",
        ),
        ({"class": "captum.attr:Lime", "init": {"perturb_func": 3}}, "Lime refuses"),
    ],
)
def test_invalid_keys_are_refused_before_the_run(
    keys: dict[str, Any], words: str, tmp_path: Any
) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["methods"] = [{"name": "captum", **keys}]
    result = lab.validate()
    assert result.exit_code == 2
    assert words in result.stderr, result.stderr
    assert f"{lab.config}:" in result.stderr


def test_a_config_runs_and_scores_a_class_of_captum(tmp_path: Any, quick: None) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["methods"] = [
        {
            "name": "captum",
            "id": "shapley",
            "class": "captum.attr:ShapleyValues",
            "features": "channels",
            "baseline": "zero",
        },
        {"name": "exact_shapley", "features": "channels", "baseline": "zero"},
    ]
    lab.keys["scores"] = ["gini"]
    done = lab.run()
    assert done.exit_code in (0, 1), done.stderr
    maps = [lab.map("a", "liver", name) for name in ("shapley", "exact_shapley")]
    np.testing.assert_allclose(*maps, rtol=1e-5)
    parameters = lab.sidecar("a", "liver", "shapley")["parameters"]
    assert parameters["class"] == "captum.attr:ShapleyValues"
    rows = {row["method"]: float(row["value"]) for row in lab.scores()}
    assert rows["shapley"] == pytest.approx(rows["exact_shapley"], abs=1e-5)

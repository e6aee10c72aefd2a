"""An attribution keeps sign and unit, and its file says how it came about."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

from esegeta.errors import MapError
from esegeta.explain import (
    Attribution,
    Baseline,
    GradCam,
    InputXGradient,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
    parameters_of,
    sidecar_path,
)
from esegeta.explain.attribution import require_map
from esegeta.targets import VoxelTarget
from tests.builders import SHAPES, affine_of, predictor, unet, volume
from tests.oracles import everywhere, frozen


@pytest.fixture
def attribution(ndim: int) -> Attribution:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2, affine=affine_of("oblique", ndim))
    return InputXGradient().explain(model, image, frozen(model, image))


@pytest.mark.slow
def test_total_is_the_sum_over_channels(attribution: Attribution) -> None:
    assert attribution.has_channels
    expected = attribution.data[0] + attribution.data[1]
    torch.testing.assert_close(attribution.total, expected)
    assert attribution.total.min() < 0 < attribution.total.max()


def test_a_map_without_channels_is_shared_evenly_among_channels(attribution: Attribution) -> None:
    assert torch.equal(attribution.per_channel(), attribution.data)
    of_voxels = replace(attribution, data=attribution.data[:1])
    assert not of_voxels.has_channels
    shares = of_voxels.per_channel()
    torch.testing.assert_close(shares, torch.stack([attribution.data[0] / 2] * 2))
    torch.testing.assert_close(shares.sum(dim=0), of_voxels.total)


def test_an_image_of_one_channel_has_no_channel_maps(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    found = Saliency().explain(model, image, frozen(model, image))
    assert not found.has_channels
    assert torch.equal(found.per_channel(), found.data)


@pytest.mark.parametrize("name", ["map.nii.gz", "map.nii"])
def test_saves_the_map_on_the_images_grid_with_a_sidecar(
    attribution: Attribution, tmp_path: Path, name: str
) -> None:
    path = attribution.save(str(tmp_path / name))
    image = nib.load(path)
    ndim = attribution.volume.ndim
    found = np.asarray(image.dataobj).reshape(attribution.volume.grid.shape)
    np.testing.assert_array_equal(found, attribution.total.numpy())
    assert image.get_data_dtype() == np.float32
    np.testing.assert_allclose(image.affine, affine_of("oblique", ndim), atol=1e-4)
    sidecar = json.loads((tmp_path / "map.json").read_text())
    assert sidecar["method"] == "input_x_gradient"
    assert sidecar["unit"] == "logit x voxels"
    assert sidecar["target"] == "sum of logit of one over all"
    assert sidecar["sign"] == "positive values raise the target"
    assert sidecar["meaning"] == "contribution"
    assert sidecar["facts"]["active_windows"] == attribution.facts.num_windows > 1
    assert sidecar["warnings"] == []
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([name, "map.json"])


def test_the_sidecar_stands_beside_the_map() -> None:
    assert sidecar_path(Path("a/b.c.nii.gz")) == Path("a/b.c.json")
    assert sidecar_path(Path("a/b.nii")) == Path("a/b.json")


def test_the_facts_of_a_gradient_count_windows(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    facts = Saliency().explain(model, image, frozen(model, image)).facts
    windows = len(model.windows(image.batch))
    assert (facts.num_windows, facts.active_windows) == (windows, windows)
    assert (facts.evaluations, facts.windows_run) == (1, windows)
    assert facts.seconds > 0
    assert facts.peak_memory_mb > 1
    assert facts.seed is None
    assert facts.completeness_delta is None


def test_a_target_is_frozen_if_it_is_not_yet(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = VoxelTarget("one")
    found = Saliency().explain(model, image, target)
    same = Saliency().explain(model, image, frozen(model, image, target))
    assert torch.equal(found.data, same.data)
    assert found.target.description == "sum of logit of one over predicted"


def test_units_of_maps_name_the_target(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image, everywhere(of="probability", reduce="mean"))
    units = [
        method.explain(model, image, target).unit
        for method in (Saliency(), InputXGradient(), SmoothGrad(samples=1), GradCam())
    ]
    per_input = "probability / input unit"
    assert units == [per_input, "probability", per_input, "probability / position"]


def test_parameters_are_plain_values() -> None:
    values = torch.zeros(1, 2, 2)
    method = SmoothGrad(
        base=IntegratedGradients(steps=3, baseline=Baseline(file="a.nii").with_values(values)),
        samples=2,
    )
    assert parameters_of(method) == {
        "base": {
            "name": "integrated_gradients",
            "steps": 3,
            "baseline": {"kind": "file", "sigma_mm": 10.0, "file": "a.nii"},
            "tolerance": 0.05,
        },
        "samples": 2,
        "noise": 0.1,
        "seed": 0,
        "spread": False,
    }
    assert json.loads(json.dumps(parameters_of(method))) == parameters_of(method)


@dataclass(frozen=True)
class Weighed(Saliency):
    """A method of one's own, with a tensor for a parameter."""

    weights: Tensor | None = None
    name: ClassVar[str] = "weighed"


def test_a_tensor_among_the_parameters_is_told_by_its_shape() -> None:
    told = parameters_of(Weighed(weights=torch.zeros(3, 4)))
    assert told == {"absolute": False, "weights": "tensor (3, 4)"}
    assert parameters_of(Weighed())["weights"] is None


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_maps_with_holes_are_refused(bad: float) -> None:
    data = torch.ones(1, 4, 4)
    require_map(data, "m", "")
    data[0, 1, 2] = bad
    with pytest.raises(MapError, match=r"m: 1 voxels of the map are NaN or Inf.*fp32"):
        require_map(data, "m", "")
    with pytest.raises(MapError, match="m: the map is zero everywhere; look elsewhere"):
        require_map(torch.zeros(1, 4, 4), "m", "look elsewhere")

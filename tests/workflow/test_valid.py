"""Networks of valid convolutions, from a config to maps and trails; one of doubles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.experiments import (
    Lab,
    esegeta,
    pointwise_lab,
    voxels,
)
from tests.workflow.test_members import label_by_brightness

VALID = '''\
import torch
from torch import nn


class Middle(nn.Module):
    """Two valid convolutions: four voxels less along each axis."""

    def __init__(self, ndim=3):
        super().__init__()
        conv = nn.Conv2d if ndim == 2 else nn.Conv3d
        self.one = conv(1, 3, 3)
        self.act = nn.Tanh()
        self.two = conv(3, 2, 3)

    def forward(self, x):
        return self.two(self.act(self.one(x)))
'''


def middle_lab(folder: Path, ndim: int) -> Lab:
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], ndim=ndim, shape=(12, 11, 9)[:ndim])
    (folder / f"valid_networks_{ndim}.py").write_text(VALID, encoding="utf-8")
    torch.manual_seed(0)
    from torch import nn

    conv = nn.Conv2d if ndim == 2 else nn.Conv3d
    layers = {"one": conv(1, 3, 3), "two": conv(3, 2, 3)}
    state = {
        f"{name}.{key}": tensor.detach()
        for name, layer in layers.items()
        for key, tensor in layer.named_parameters()
    }
    save_file(state, folder / "w.safetensors")
    lab.keys["model"] = {
        "kind": "module",
        "class": f"valid_networks_{ndim}:Middle",
        "args": {"ndim": ndim},
        "weights": "w.safetensors",
    }
    lab.keys["inference"]["window"] = [10] * ndim
    lab.keys["targets"][0]["over"] = "all"
    return lab


@pytest.mark.slow
def test_valid_convolutions_from_a_config(tmp_path: Path, ndim: int) -> None:
    lab = middle_lab(tmp_path, ndim)
    lab.keys["inference"].update(padding="edge", overlap=0.0)
    lab.keys["methods"] = ["saliency", "occlusion", "grad_cam"]
    result = lab.validate()
    assert result.exit_code == 0, result.output
    size = "x".join(["10"] * ndim)
    assert f"the network turns a window of {size} into {'x'.join(['6'] * ndim)}" in result.output
    assert "inference.padding: edge" in result.output
    result = lab.run()
    assert result.exit_code == 0, result.output
    # The gradient of all logits of the label, by plain torch over the image padded once.
    image = torch.from_numpy(voxels(tmp_path / "a.nii.gz"))[None, None].requires_grad_(True)
    mode = "replicate"
    padded = torch.nn.functional.pad(image, (2,) * 2 * ndim, mode=mode)
    namespace: dict[str, Any] = {}
    exec(VALID, namespace)
    network = namespace["Middle"](ndim)
    from safetensors.torch import load_file

    network.load_state_dict(load_file(tmp_path / "w.safetensors"))
    (slope,) = torch.autograd.grad(network(padded)[:, 1].sum(), image)
    found = lab.map("a", "liver", "saliency")
    np.testing.assert_allclose(found, slope[0, 0].numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_trails_go_through_mirrored_valid_convolutions(tmp_path: Path) -> None:
    lab = middle_lab(tmp_path, 2)
    lab.keys["inference"]["mirror"] = [0]
    label_by_brightness(lab)
    trails = {"samples": 200, "permutations": 39, "windows": 99, "q_value": 1}
    lab.keys["dissection"] = {
        "layers": ["one"],
        "concepts": {"liver": 1},
        "chance": {"samples": 5},
        "figures": {"units": 0, "images": 1},
        "trails": trails,
    }
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    assert list((lab.root / "dissection").rglob("*trail*"))


@pytest.mark.slow
def test_a_float64_network_is_converted_with_a_note(tmp_path: Path) -> None:
    text = VALID.replace(
        "self.two = conv(3, 2, 3)", "self.two = conv(3, 2, 3)\n        self.double()"
    )
    (tmp_path / "doubles.py").write_text(text, encoding="utf-8")
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["model"] = {"kind": "module", "class": "doubles:Middle"}
    lab.keys["targets"][0]["over"] = "all"
    result = lab.run()
    assert result.exit_code == 0, result.output
    assert (
        "the network's parameters are float64; it was converted to float32"
        in (lab.record()["notes"])
    )

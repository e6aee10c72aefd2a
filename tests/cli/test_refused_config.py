"""A config that is wrong: refused with place, what was found and what to do, before any work."""

from pathlib import Path

import pytest
import torch

from tests.cli.faults import FAULTS_OF_VALUES
from tests.cli.label_faults import FAULTS_OF_LABELS
from tests.cli.more_faults import FAULTS_OF_MEANING
from tests.cli.preprocess_faults import FAULTS_OF_PREPROCESSING
from tests.experiments import esegeta, noise, pointwise_lab, refused, save_image, unet_lab

PLACED = {
    **FAULTS_OF_VALUES,
    **FAULTS_OF_LABELS,
    **FAULTS_OF_MEANING,
    **FAULTS_OF_PREPROCESSING,
}


@pytest.mark.parametrize("fault", PLACED)
def test_a_fault_is_placed_by_file_and_line(fault: str, tmp_path: Path) -> None:
    change, text, what, hint = PLACED[fault]
    one_output = fault == "softmax of one output"
    weight, bias = ([[1.0]], [0.0]) if one_output else ([[0.0], [1.0]], [0.0, 0.0])
    lab = pointwise_lab(tmp_path, weight, bias, cases=2)
    change(lab.keys)
    config = lab.write()
    place = f"{lab.config}:{lab.line_of(text)}: " if text else ""
    for command in ("run", "validate"):
        result = esegeta(command, config)
        refused(result, lab, place, what, hint)
        assert len(result.stderr.splitlines()) == 1, command


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
@pytest.mark.parametrize("asked", ["config", "option"])
def test_cuda_without_a_gpu_is_refused(asked: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    if asked == "config":
        lab.keys["device"] = "cuda"
    result = lab.run(*(["--device", "cuda"] if asked == "option" else []))
    refused(result, lab, "device: cuda was asked for", "finds no CUDA", "cpu")


@pytest.mark.parametrize("output", ["file", "file/deeper"])
def test_an_output_that_cannot_be_a_folder_is_refused(output: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    (tmp_path / "file").write_text("in the way")
    refused(lab.run("-o", tmp_path / output), lab, "cannot be written", "-o")
    assert (tmp_path / "file").read_text() == "in the way"


LAYERS = {
    "grad_cam": {"name": "grad_cam", "layer": "model.0.convv"},
    "a list": {"name": "grad_cam", "layer": ["model.0.conv", "model.0.convv"]},
    "inside another": {
        "name": "smoothgrad",
        "base": {"name": "grad_cam", "layer": "model.0.convv"},
    },
}


@pytest.mark.parametrize("where", LAYERS)
def test_an_unknown_layer_is_named_with_the_nearest(where: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["methods"].append(LAYERS[where])
    message = 'layer "model.0.convv" is not in the network'
    refused(lab.run(), lab, f"{lab.config}:", message, '"model.0.conv"', "esegeta layers")


@pytest.mark.parametrize("where", LAYERS)
def test_a_layer_without_a_spatial_output_is_refused(where: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    (tmp_path / "flat.py").write_text(FLAT, encoding="utf-8")
    lab.keys["model"] = {"kind": "module", "class": "flat:Flat"}
    entry = LAYERS[where]
    name = ["gate"] if isinstance(entry.get("layer"), list) else "gate"
    layer = {"name": "grad_cam", "layer": name}
    lab.keys["methods"].append({**entry, "base": layer} if "base" in entry else layer)
    found = (f"{lab.config}:", 'layer "gate" has no spatial output (2)', "esegeta layers")
    refused(lab.run(), lab, *found)
    refused(lab.validate(), lab, *found)


def test_a_unit_without_a_spatial_map_is_refused(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    (tmp_path / "flat.py").write_text(FLAT, encoding="utf-8")
    lab.keys["model"] = {"kind": "module", "class": "flat:Flat"}
    lab.keys["targets"].append({"name": "u", "of": "unit", "layer": "gate", "channel": 0})
    found = ('targets[1]: layer "gate" has no spatial output (2)', "esegeta layers")
    refused(lab.run(), lab, f"{lab.config}:{lab.line_of('- name: u')}: ", *found)
    lab.keys["targets"][1]["layer"] = "twice"
    refused(lab.validate(), lab, 'targets[1]: layer "twice" runs more than once', "runs once")


FLAT = """\
from torch import nn


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv3d(1, 2, 1)
        self.gate = nn.Linear(2, 2)
        self.twice = nn.ReLU()

    def forward(self, x):
        x = self.twice(self.twice(self.body(x)))
        return x * self.gate(x.mean((2, 3, 4)))[..., None, None, None]
"""


def test_a_box_partly_outside_of_the_image_is_valid(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["targets"] = [
        {"name": "box", "label": "liver", "box": [[-3, 0, 8], [4, 40, 12]]},
        {"name": "point", "label": "liver", "point": [11.4, 0, 8]},
    ]
    assert lab.validate().exit_code == 0


WINDOWS = {
    "odd": ([9, 8, 8], "must be a multiple of 2"),
    "2d": ([8, 8], "inference.window has 2 lengths, the network is 3D"),
    "1d": ([8], "give two or three lengths"),
}


@pytest.mark.parametrize("command", ["run", "validate", "layers"])
@pytest.mark.parametrize("kind", WINDOWS)
def test_a_window_that_the_network_cannot_take_is_refused(
    kind: str, command: str, tmp_path: Path
) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["inference"]["window"], message = WINDOWS[kind]
    place = f"{lab.write()}:{lab.line_of('window:' if kind != 'odd' else 'inference:')}: "
    refused(esegeta(command, lab.config), lab, place, message)


def test_an_unused_image_in_the_folder_is_ignored(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    save_image(tmp_path / "unused.nii.gz", noise((3, 3, 3)))
    assert lab.validate().exit_code == 0

"""`esegeta layers`: the tree of a network with shapes, and what is unusual in it."""

from pathlib import Path

import torch

from tests.experiments import esegeta, unet_lab, weighted_lab


def test_layers_prints_the_tree_with_shapes(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    result = esegeta("layers", lab.write(), "--set", "inference.window=[8, 16, 4]")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "8x16x4" in lines[0]
    assert "1 channel;" in lines[0]
    shapes = {line.split()[0]: line.split()[2] for line in lines[1:]}
    assert shapes["(network)"] == "2x8x16x4"
    assert shapes["model.0.conv"] == "4x4x8x2"
    assert shapes["model.1.submodule.conv"] == "8x4x8x2"
    depths = {line.split()[0]: len(line) - len(line.lstrip()) for line in lines[1:]}
    assert depths["(network)"] < depths["model"] < depths["model.0"] < depths["model.0.conv"]


def test_layers_leaves_out_weights_and_notes_unusual_layers(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    (tmp_path / "odd.py").write_text(ODD, encoding="utf-8")
    lab.keys["model"] = {"kind": "module", "class": "odd:Odd"}
    result = esegeta("layers", lab.write())
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()[1:]]
    names = [line.split()[0] for line in lines]
    assert names == ["(network)", "normed", "twice", "pool", "unpool"]
    assert lines[2].endswith("  runs 2 times")
    assert lines[3].endswith("  returns a tuple of 2 tensors")
    lab.keys["methods"] = [{"name": "grad_cam", "layer": "normed.parametrizations.weight"}]
    result = lab.validate()
    assert result.exit_code == 2
    assert "holds a weight, not an activation" in result.stderr


ODD = """\
from torch import nn
from torch.nn.utils.parametrizations import weight_norm


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.normed = weight_norm(nn.Conv3d(1, 2, 1))
        self.twice = nn.Tanh()
        self.pool = nn.MaxPool3d(2, return_indices=True)
        self.unpool = nn.MaxUnpool3d(2)

    def forward(self, x):
        return self.unpool(*self.pool(self.twice(self.twice(self.normed(x)))))
"""


def test_layers_works_for_a_network_without_a_convolution(tmp_path: Path) -> None:
    lab = weighted_lab(tmp_path, torch.ones(2, 3, 4, 4, 4), shape=(4, 4, 4))
    result = esegeta("layers", lab.write())
    assert result.exit_code == 0
    assert "2x4x4x4" in result.stdout

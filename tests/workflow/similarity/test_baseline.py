"""Networks that are compared: the untrained one beside them, and their names."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from esegeta.config import load_config
from esegeta.predict import Units, blend_units
from esegeta.workflow.similarity import build_comparison
from esegeta.workflow.similarity.build import Comparison
from tests.builders import unet
from tests.experiments import Lab, esegeta, pointwise_lab
from tests.workflow.similarity.labs import similarity_lab

SAME = '''\
"""A network whose weights do not depend on chance."""

import torch
from torch import nn


class Same(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(1, 2, 1)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.5)

    def forward(self, x):
        return self.head(x)
'''


def built(lab: Lab) -> Comparison:
    return build_comparison(load_config(lab.write()))


def pointwise(folder: Path) -> Lab:
    """Return a comparison of the one layer of a network on an image of two axes."""
    lab = pointwise_lab(folder, [[1.0], [-2.0]], [0.5, 0.0], shape=(10, 9), ndim=2)
    for block in ("targets", "methods", "scores"):
        del lab.keys[block]
    lab.keys["similarity"] = {"layers": ["head"], "methods": ["cka"], "samples": 100}
    return lab


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("same", "its class makes the same weights under every seed"),
        ("pickle", "a pickled network is read from its file as a whole"),
    ],
)
def test_a_network_that_cannot_be_made_anew_has_no_baseline(
    kind: str, why: str, tmp_path: Path
) -> None:
    if kind == "same":
        lab = pointwise(tmp_path)
        (tmp_path / "same_weights.py").write_text(SAME, encoding="utf-8")
        lab.keys["model"] = {"kind": "module", "class": "same_weights:Same"}
    else:
        lab = similarity_lab(tmp_path, layers=["model.0"])
        torch.save(unet(3), tmp_path / "net.pth")
        lab.keys["model"] = {"kind": "module", "path": "net.pth", "trust": "pickle"}
    comparison = built(lab)
    assert [one.name for one in comparison.networks] == ["tiny"]
    assert f"no untrained network as a baseline: {why}" in comparison.notes


def test_networks_of_an_ensemble_are_read_by_themselves(tmp_path: Path) -> None:
    lab = pointwise(tmp_path)
    weights = {"w": ([1.0, -2.0], [0.5, 0.0]), "v": ([3.0, 4.0], [0.0, -1.0])}
    for name, (weight, bias) in weights.items():
        state = {"head.weight": torch.tensor(weight)[:, None, None, None].clone()}
        save_file({**state, "head.bias": torch.tensor(bias)}, tmp_path / f"{name}.safetensors")
    lab.keys["model"]["weights"] = [f"{name}.safetensors" for name in weights]
    comparison = built(lab)
    *members, untrained = comparison.networks
    assert [one.name for one in members] == ["tiny#1", "tiny#2"]
    assert members[0].weights_sha256 != members[1].weights_sha256
    assert untrained.name == "untrained" and untrained.member is None
    image = comparison.basis.read(comparison.cases[0])[0].batch
    for member, (weight, bias) in zip(members, weights.values(), strict=True):
        (maps,) = blend_units(member.watched, image, [Units("head", 0, 2)])
        found = maps.grid.to_voxels(maps.data)
        for channel in range(2):
            expected = weight[channel] * image[0, 0] + bias[channel]
            torch.testing.assert_close(found[channel], expected, atol=1e-5, rtol=0)


def test_configs_with_equal_names_in_equal_file_names_are_numbered(tmp_path: Path) -> None:
    lab = pointwise(tmp_path)
    keys = copy.deepcopy(lab.keys)
    del keys["similarity"]
    for part in (keys["model"], keys["data"]["cases"][0]):
        for key in ("weights", "image"):
            if key in part:
                part[key] = str(tmp_path / part[key])
    (tmp_path / "sub").mkdir()
    twin = tmp_path / "sub" / lab.config.name
    for name in ("sub/tiny.yaml", "sub/tiny_networks.py"):
        text = yaml.safe_dump(keys) if name == "sub/tiny.yaml" else ""
        (tmp_path / name).write_text(text or (tmp_path / "tiny_networks.py").read_text())
    comparison = build_comparison(load_config(lab.write()), [twin])
    names = [one.name for one in comparison.networks]
    assert names == ["tiny (tiny.yaml)", "tiny (tiny.yaml) 2", "untrained"]


def test_fewer_than_five_cases_get_a_note(tmp_path: Path) -> None:
    lab = pointwise(tmp_path)
    names = "abcde"
    lab.keys["data"]["cases"] = [{"name": name, "image": "a.nii.gz"} for name in names]
    assert not [note for note in built(lab).notes if "cases" in note]
    del lab.keys["data"]["cases"][-1]
    assert built(lab).notes[-1].startswith("4 cases: intervals of so few are too narrow")


def test_fewer_positions_than_cases_are_refused(tmp_path: Path) -> None:
    lab = pointwise(tmp_path)
    lab.keys["data"]["cases"] = [{"name": f"c{k}", "image": "a.nii.gz"} for k in range(101)]
    result = esegeta("similarity", lab.write())
    assert result.exit_code == 2
    assert "similarity.samples: 100 positions for 101 cases; give at least one" in result.stderr

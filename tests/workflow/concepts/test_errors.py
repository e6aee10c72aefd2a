"""Concepts of errors through the command line: an artefact that is taken for the organ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.experiments import Lab, _lab, esegeta, save_image
from tests.workflow.concepts.planted import table

NETWORK = '''\
"""Unit 0 fires for the artefact, unit 1 for the organ; the label is where either does."""

import torch
from torch import nn


class Misled(nn.Module):
    def __init__(self):
        super().__init__()
        self.units = nn.Conv2d(4, 3, 1)
        self.head = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.head(torch.relu(self.units(x)))
'''
SHAPE, CASES = (40, 38), 6
CORNERS = {
    "artefact": ((3, 3), (30, 28)),
    "organ": ((3, 28), (30, 3)),
    "idle": ((3, 16), (30, 16)),
}


def misled_lab(folder: Path) -> Lab:
    """Return an experiment on six cases, each with two true and two false components."""
    (folder / "misled.py").write_text(NETWORK, encoding="utf-8")
    head = torch.zeros(2, 3, 1, 1)
    head[1, :2] = 2.0
    state = {
        "units.weight": torch.eye(3, 4)[..., None, None].clone(),
        "units.bias": torch.zeros(3),
        "head.weight": head,
        "head.bias": torch.tensor([0.0, -2.0]),
    }
    save_file(state, folder / "w.safetensors")
    model = {"kind": "module", "class": "misled:Misled", "weights": "w.safetensors"}
    lab = _lab(folder, model, 0, SHAPE, [16, 16])
    (folder / "masks").mkdir()
    lab.keys["data"]["cases"] = [_case(folder, number) for number in range(CASES)]
    lab.keys["data"]["channels"] = ["a", "b", "c", "noise"]
    lab.keys["labels"] = {1: "organ"}
    for key in ("targets", "methods", "scores"):
        del lab.keys[key]
    lab.keys["concepts"] = {
        "layers": ["units"],
        "concepts": {name: {"masks": f"masks/{{case}}_{name}.nii.gz"} for name in CORNERS},
        "targets": ["organ"],
        "piece_mm": 2.0,
        "permutations": 19,
        "maps": "none",
        "errors": True,
    }
    return lab


def _case(folder: Path, number: int) -> dict[str, Any]:
    generator = np.random.default_rng(number)
    image = -2 + 0.2 * generator.normal(size=(4, *SHAPE)).astype(np.float32)
    image[3] *= 40  # without it what is around the regions is dark, and not the body
    name = chr(ord("a") + number)
    for channel, (word, corners) in enumerate(CORNERS.items()):
        mask = np.zeros(SHAPE, dtype=np.int16)
        for row, column in corners:
            start, side = row + int(generator.integers(2)), column + int(generator.integers(2))
            mask[start : start + 6, side : side + 6] = 1
        image[channel] += 4 * mask
        save_image(folder / "masks" / f"{name}_{word}.nii.gz", mask, np.eye(4))
        if word == "organ":
            save_image(folder / f"{name}_label.nii.gz", mask, np.eye(4))
    paths = [f"{name}_{channel}.nii.gz" for channel in range(4)]
    for path, channel in zip(paths, image, strict=True):
        save_image(folder / path, channel, np.eye(4))
    return {"name": name, "image": paths, "label": f"{name}_label.nii.gz"}


def rows(lab: Lab) -> dict[str, dict[str, str]]:
    return {row["concept"]: row for row in table(lab.root / "concepts" / "errors.csv")}


@pytest.mark.slow
def test_the_artefact_tells_false_components_from_true_ones(tmp_path: Path) -> None:
    """The unit's slope of 2 times its step of 4 where it fires, and nothing where it does not."""
    lab = misled_lab(tmp_path)
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    found = rows(lab)
    for name in ("artefact", "organ"):
        row = found[name]
        assert (row["false_components"], row["true_components"]) == ("12", "12")
        assert float(row["p"]) == pytest.approx(1 / 1000) and row["significant"] == "1"
    assert float(found["artefact"]["difference"]) == pytest.approx(8, rel=0.1)
    # Some counter-pieces of the organ lie on the artefact: its step leads away from that too.
    assert float(found["organ"]["difference"]) < -7
    assert float(found["artefact"]["false_mean"]) == pytest.approx(8, rel=0.15)
    assert float(found["artefact"]["true_mean"]) == pytest.approx(0, abs=0.8)
    # Some of its counter-pieces lie on artefacts, by chance: p by permutation is small for that.
    idle = found["idle"]
    assert idle["refused"] == "" and abs(float(idle["difference"])) < 2
    assert idle["significant"] == "0" and float(idle["p_random"]) > 0.05
    page = esegeta("report", lab.root)
    text = (lab.root / "report" / "index.html").read_text(encoding="utf-8")
    assert page.exit_code == 0 and "errors.csv" in text


@pytest.mark.slow
def test_without_false_components_there_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    lab = misled_lab(tmp_path)
    for case in lab.keys["data"]["cases"]:
        whole = np.ones(SHAPE, dtype=np.int16)
        save_image(tmp_path / case["label"], whole, np.eye(4))
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    assert "0 false and 24 true components" in rows(lab)["artefact"]["refused"]


@pytest.mark.parametrize("truth", ["organ", "everything"])
@pytest.mark.slow
def test_components_are_true_where_the_truth_meets_them(
    truth: str, tmp_path: Path, quick_concepts: None
) -> None:
    """Of three cases, the three largest of the four components of each, and a vague concept."""
    lab = misled_lab(tmp_path)
    del lab.keys["data"]["cases"][3:]
    noise = np.random.default_rng(0).uniform(size=(3, *SHAPE))
    for case, own in zip(lab.keys["data"]["cases"], noise, strict=True):
        mask = (own < 0.3).astype(np.int16)
        save_image(tmp_path / "masks" / f"{case['name']}_vague.nii.gz", mask, np.eye(4))
        if truth == "everything":
            save_image(tmp_path / case["label"], np.ones(SHAPE, dtype=np.int16), np.eye(4))
    names = ("artefact", "vague")
    lab.keys["concepts"] |= {
        "concepts": {name: {"masks": f"masks/{{case}}_{name}.nii.gz"} for name in names},
        "errors": {"components": 3, "permutations": 99},
    }
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    found = rows(lab)
    num_false, num_true = (int(found["vague"][f"{kind}_components"]) for kind in ("false", "true"))
    assert num_false + num_true == 9
    vague, artefact = found["vague"], found["artefact"]
    assert "does not generalise" in vague["refused"] and vague["difference"] == "nan"
    if truth == "everything":
        assert num_false == 0 and artefact["difference"] == "nan"
        assert artefact["refused"] == (
            "0 false and 9 true components: a test needs two of each kind"
        )
        return
    assert num_false >= 3 and num_true >= 3  # two of each kind in a case, of which one is left out
    assert artefact["refused"] == "" and float(artefact["p"]) < 0.1
    # The unit's slope of 2 times its step of 4 where it fires, and nothing where it does not.
    assert float(artefact["false_mean"]) == pytest.approx(8, rel=0.15)
    assert float(artefact["true_mean"]) == pytest.approx(0, abs=1)
    record = (lab.root / "concepts" / "concepts.json").read_text(encoding="utf-8")
    assert '"errors.csv"' in record

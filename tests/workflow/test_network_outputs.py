"""Networks that return several tensors: the chosen one is predicted, explained, dissected, trained.

Each is held against a network of the same layers and weights that returns that tensor alone.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiments import Lab, _lab, esegeta, noise, refused, save_image, voxels
from tests.workflow.retrain.tasks import RetrainLab

HEADS = '''\
"""A network with two heads, that returns them in one way or another."""

from collections import namedtuple
from dataclasses import dataclass

import torch
from torch import nn

Pair = namedtuple("Pair", "aux out")


@dataclass
class Result:
    aux: torch.Tensor
    out: torch.Tensor


FORMS = {
    "plain": lambda out, aux: out,
    "plain aux": lambda out, aux: aux,
    "dict": lambda out, aux: {"aux": aux, "out": out},
    "list": lambda out, aux: [aux, out],
    "named tuple": lambda out, aux: Pair(aux, out),
    "dataclass": lambda out, aux: Result(aux, out),
    "nested": lambda out, aux: {"deep": [aux[..., ::2], aux], "main": {"out": out}},
}


class Heads(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.out = nn.Conv2d(4, 2, 1, bias=False)
        self.aux = nn.Conv2d(4, 2, 1, bias=False)

    def forward(self, x):
        seen = torch.tanh(self.stem(x))
        return FORMS[self.form](self.out(seen), self.aux(seen))
'''

SHAPE = (13, 12)
CHOICES: dict[str, int | str] = {
    "dict": "out",
    "list": 1,
    "named tuple": "out",
    "dataclass": "out",
    "nested": "main.out",
}


def heads_lab(folder: Path, form: str, output: int | str | None = None) -> RetrainLab:
    folder.mkdir(exist_ok=True)
    (folder / "two_heads.py").write_text(HEADS, encoding="utf-8")
    model = {"kind": "module", "class": "two_heads:Heads", "args": {"form": form}}
    lab = _lab(folder, model, 1, SHAPE, [8, 8])
    if output is not None:
        lab.keys["model"]["output"] = output
    save_image(folder / "a_label.nii.gz", (noise(SHAPE, seed=9) > 0).astype(np.uint8))
    lab.keys["data"]["cases"][0]["label"] = "a_label.nii.gz"
    lab.keys["targets"] = [
        {"name": "liver", "label": "liver", "of": "logit", "over": "predicted"},
        {"name": "unit", "of": "unit", "layer": "stem", "channel": 1, "over": "all"},
    ]
    lab.keys["methods"] = [
        "saliency",
        {"name": "layer_integrated_gradients", "layer": "stem", "steps": 2},
        {"name": "occlusion", "box": [4, 4], "stride": [4, 4]},
    ]
    return RetrainLab(folder, lab.keys)


def maps_of(lab: Lab) -> dict[str, np.ndarray]:
    return {path.name: voxels(path) for path in sorted(lab.root.rglob("*.nii.gz"))}


@pytest.mark.parametrize("form", CHOICES)
@pytest.mark.slow
def test_a_run_uses_the_chosen_output_alone(form: str, tmp_path: Path) -> None:
    plain = heads_lab(tmp_path / "plain", "plain")
    chosen = heads_lab(tmp_path / "chosen", form, CHOICES[form])
    for lab in (plain, chosen):
        result = lab.run()
        assert "0 failed" in result.output, result.output
    expected, found = maps_of(plain), maps_of(chosen)
    assert list(found) == list(expected)
    assert len(found) >= 6
    for name, values in expected.items():
        assert np.array_equal(found[name], values), name
    assert not any("tensors" in note for note in chosen.record()["notes"])


@pytest.mark.slow
def test_the_chosen_output_differs_from_the_first(tmp_path: Path) -> None:
    plain = heads_lab(tmp_path / "plain", "plain")
    first = heads_lab(tmp_path / "first", "dict")
    other = heads_lab(tmp_path / "other", "plain aux")
    segmentations = []
    for lab in (plain, first, other):
        lab.keys["methods"], lab.keys["targets"] = ["saliency"], lab.keys["targets"][:1]
        assert lab.run().exit_code == 0
        segmentations.append(lab.segmentation("a"))
    assert np.array_equal(segmentations[1], segmentations[2])
    assert not np.array_equal(segmentations[1], segmentations[0])


NOTE = (
    "the network returns 2 tensors: aux (2x8x8), out (2x8x8); the first, aux, is taken as the "
    "prediction (choose with model.output)"
)


def test_the_output_taken_and_the_others_are_noted(tmp_path: Path) -> None:
    lab = heads_lab(tmp_path, "dict")
    assert f"note: {NOTE}" in lab.validate().output
    lab.keys["methods"] = ["saliency"]
    assert NOTE in lab.run().output
    assert NOTE in lab.record()["notes"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            "ot",
            'model.output: the network returns no tensor "ot"; it returns aux (2x8x8), '
            'out (2x8x8); did you mean "out"?',
        ),
        (2, 'the network returns no tensor "2"; it returns aux (2x8x8), out (2x8x8); choose from'),
    ],
)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_an_output_that_is_not_returned_is_refused(
    command: str, output: int | str, message: str, tmp_path: Path
) -> None:
    lab = heads_lab(tmp_path, "dict", output)
    result = getattr(lab, command)()
    refused(result, lab, f"tiny.yaml:{lab.line_of('output: ' + str(output))}: ", message)


def test_an_output_of_another_size_is_noted_with_all_outputs(tmp_path: Path) -> None:
    result = heads_lab(tmp_path, "nested").validate()
    assert result.exit_code == 0
    assert "deep.0 (2x8x4), deep.1 (2x8x8), main.out (2x8x8); the first, deep.0" in result.output
    assert "turns a window of 8x8 into 8x4, which are interpolated linearly" in result.output


@pytest.mark.parametrize(
    ("value", "message"),
    [(True, "give an index such as 0"), ("", "give an index"), ([0], "give an index")],
)
def test_an_output_is_an_index_or_a_key(value: Any, message: str, tmp_path: Path) -> None:
    lab = heads_lab(tmp_path, "dict")
    lab.keys["model"]["output"] = value
    refused(lab.validate(), lab, f"tiny.yaml:{lab.line_of('output:')}", message)


def test_layers_show_the_shape_of_the_chosen_output(tmp_path: Path) -> None:
    lab = heads_lab(tmp_path, "nested", "deep.1")
    lines = esegeta("layers", lab.write()).output.splitlines()
    assert "(network)  Heads  2x8x8  " in next(line for line in lines if "(network)" in line)
    assert any("out  Conv2d  2x8x8" in line for line in lines)


@pytest.mark.slow
def test_a_dissection_uses_the_chosen_output_alone(tmp_path: Path) -> None:
    tables = []
    for form, output in (("plain", None), ("dict", "out"), ("dict", None)):
        lab = heads_lab(tmp_path / f"{form} {output}", form, output)
        for key in ("targets", "methods", "scores"):
            del lab.keys[key]
        lab.keys["dissection"] = {
            "layers": ["stem"],
            "concepts": {"liver": 1},
            "quantile": 0.3,
            "chance": {"samples": 99},
            "q_value": 1.0,
            "ablation": {"layers": ["stem"]},
        }
        result = esegeta("dissect", lab.write())
        assert result.exit_code == 0, result.output
        found = sorted((lab.root / "dissection").rglob("*.csv"))
        assert "ablation.csv" in [path.name for path in found]
        tables.append({path.name: path.read_text() for path in found})
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]  # ablation looks at the prediction


@pytest.mark.slow
def test_retraining_uses_the_chosen_output(tmp_path: Path) -> None:
    results = []
    for form, output in (("plain", None), ("dict", "out"), ("dict", None)):
        lab = heads_lab(tmp_path / f"{form} {output}", form, output)
        save_image(lab.folder / "b.nii.gz", noise(SHAPE, seed=20))
        save_image(lab.folder / "b_label.nii.gz", (noise(SHAPE, seed=21) > 0).astype(np.uint8))
        b = {"name": "b", "image": "b.nii.gz", "label": "b_label.nii.gz"}
        lab.keys["data"]["cases"].append(b)
        lab.keys["methods"], lab.keys["targets"] = ["saliency"], lab.keys["targets"][:1]
        lab.keys["retrain"] = {
            **{"fractions": [0.5], "iterations": 3, "batch_size": 2, "seeds": [0], "folds": 2},
            "optimizer_args": {"lr": 0.3},
        }
        result = lab.retrain()
        assert result.exit_code == 0, result.output
        units = sorted((lab.retrain_folder / "units").glob("*.json"))
        results.append({path.name: json.loads(path.read_text())["loss"] for path in units})
    assert results[0] == results[1]
    assert results[0] != results[2]

"""What is wrong with a block `examples`: refused with its line, before anything is computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.experiments import Lab, esegeta, read_json, refused
from tests.workflow.examples.labs import examples_lab, table, with_influence

Change = Callable[[dict[str, Any]], Any]


def block(**keys: Any) -> Change:
    return lambda config: config["examples"].update(keys)


def influence(**keys: Any) -> Change:
    return lambda config: config["examples"]["influence"].update(keys)


def _train_without_truth(config: dict[str, Any]) -> None:
    config["examples"]["influence"]["training"]["cases"][1].pop("label")


def _train_on_nothing(config: dict[str, Any]) -> None:
    config["examples"]["influence"]["training"]["cases"][2]["image"] = "gone.nii.gz"


def _unit_target(config: dict[str, Any]) -> None:
    config["targets"].append(
        {"name": "unit", "of": "unit", "layer": "head", "channel": 0, "over": "all"}
    )
    config["examples"]["influence"]["test"]["targets"] = ["unit"]


def _component_without_truth(config: dict[str, Any]) -> None:
    config["examples"].update(of="component", surrogate={"kind": "linear"})
    config["data"]["cases"][0].pop("label")


FAULTS: dict[str, tuple[Change, str, str, str]] = {
    "unknown key": (block(prototype=3), "prototype: 3", "unknown", '"prototypes"'),
    "of": (block(of="cases"), "of: cases", 'examples.of: "cases" is not known', '"case"'),
    "layer": (block(layer="haed"), "layer: haed", '"haed" is not in the network', '"head"'),
    "no layer": (block(layer=None), "examples:", "`prototypes` needs a `layer`", ""),
    "prototypes": (block(prototypes=9), "prototypes: 9", "9 prototypes of 4 cases", "at most 4"),
    "least of cases": (
        block(min_voxels=10**9),
        "min_voxels: 1000000000",
        "no case has 1000000000 voxels; the largest, all of a, has ",
        "at most ",
    ),
    "supervoxels": (
        block(of="supervoxel", supervoxels=10**9),
        "supervoxels: 1000000000",
        "1000000000 supervoxels of a, which has ",
        "fewer",
    ),
    "least of slices": (
        block(of="slice", min_voxels=12 * 11 + 1),
        "min_voxels: 133",
        "no slice has 133 voxels; the largest, a slice of a, has 132",
        "at most 132",
    ),
    "slices": (
        block(of="slice", prototypes=37),
        "prototypes: 37",
        "37 prototypes of 36 slices",
        "at most 36",
    ),
    "none": (block(prototypes=0), "prototypes: 0", "examples.prototypes: ", "1"),
    "kind": (block(surrogate={"kind": "three"}), "kind: three", '"three"', '"tree"'),
    "depth": (
        block(surrogate={"kind": "linear", "depth": 2}),
        "surrogate:",
        "`depth` belongs to kind: tree",
        "",
    ),
    "surrogate": (_component_without_truth, "surrogate:", "case a has no ground truth", "label"),
    "checkpoints": (
        influence(checkpoints=["ckpt/*.pt"]),
        "- ckpt/*.pt",
        "'ckpt/*.pt' matches no file",
        "ckpt/*.safetensors",
    ),
    "folder": (
        influence(checkpoints=["ckpt"]),
        "- ckpt",
        "ckpt is a folder",
        "ckpt/*.safetensors",
    ),
    "a checkpoint twice": (
        influence(checkpoints=["ckpt/*.safetensors", "ckpt/step2.safetensors"]),
        "checkpoints:",
        "step2.safetensors is listed twice",
        "",
    ),
    "group": (
        lambda config: config.update(labels={1: "all"}),
        "labels:",
        'labels: "all" stands for another group in the tables of examples',
        "another name",
    ),
    "weights": (influence(checkpoints=["a.nii.gz"]), "checkpoints:", "a.nii.gz", ""),
    "rates": (influence(learning_rates=[0.1]), "learning_rates:", "1 rates for 2", "for each"),
    "target": (influence(test={"targets": ["livr"]}), "- livr", 'no target "livr"', '"liver"'),
    "unit": (_unit_target, "- unit", "looks at a layer's unit", "output"),
    "truth": (_train_without_truth, "- name: b", "case b has no ground truth", "label"),
    "file": (_train_on_nothing, "- name: c", "gone.nii.gz", "examples.influence.training.cases[2]"),
    "slabs": (
        lambda config: config["examples"]["influence"]["training"].update(slabs=40),
        "slabs: 40",
        "40 slabs of a",
        "at most 12",
    ),
    "layers": (influence(layers=["hed"]), "- hed", 'no layer "hed"', "head"),
    "seeds": (influence(leave_one_out={"seeds": [1, 1]}), "seeds:", "1 is listed twice", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_with_their_line(fault: str, tmp_path: Path) -> None:
    change, text, what, hint = FAULTS[fault]
    lab = with_influence(examples_lab(tmp_path, cases=4))
    change(lab.keys)
    result = esegeta("examples", lab.write())
    refused(result, lab, f"{lab.config}:{lab.line_of(text)}", what, hint)


@pytest.mark.parametrize("fault", ["layer", "checkpoints"])
def test_validate_reports_the_same_faults(fault: str, tmp_path: Path) -> None:
    change, text, what, hint = FAULTS[fault]
    lab = with_influence(examples_lab(tmp_path, cases=4))
    change(lab.keys)
    refused(lab.validate(), lab, f"{lab.config}:{lab.line_of(text)}", what, hint)


def test_two_examples_are_too_few_to_be_left_out(tmp_path: Path) -> None:
    lab: Lab = with_influence(examples_lab(tmp_path, cases=3), leave_one_out=True)
    lab.keys["examples"]["influence"]["training"]["cases"].pop()
    result = esegeta("examples", lab.write())
    refused(result, lab, f":{lab.line_of('leave_one_out')}: ", "2 training examples are too few")


def test_validate_says_what_would_be_done(tmp_path: Path) -> None:
    lab = with_influence(examples_lab(tmp_path, cases=4))
    result = lab.validate()
    assert result.exit_code == 0, result.output
    assert "valid for `esegeta examples`" in result.output
    assert "2 prototypes and 1 criticisms of each group (all, liver, errors)" in result.output
    assert "influence of 4 training examples on liver at 2 checkpoints" in result.output


def test_a_config_without_the_block_says_so(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path)
    lab.keys.pop("examples")
    lab.keys["methods"] = ["saliency"]
    refused(esegeta("examples", lab.write()), lab, "has no block `examples`")


def test_a_run_of_a_config_with_only_examples_is_refused(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path)
    refused(lab.run(), lab, f":{lab.line_of('examples:')}: ", "no methods", "esegeta examples")


def test_fewer_criticisms_than_asked_are_noted(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=3, criticisms=7)
    result = esegeta("examples", lab.write())
    assert result.exit_code == 0, result.output
    roles = [row["role"] for row in table(lab, "prototypes") if row["group"] == "all"]
    assert roles == ["prototype", "prototype", "criticism"]
    notes = read_json(lab.root / "examples" / "examples.json")["notes"]
    said = "all items: 3 items of at least 8 voxels are fewer than 2 prototypes and 7 criticisms"
    assert said in notes


def test_a_single_case_cannot_be_compared(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=1)
    lab.keys["examples"].pop("prototypes")
    result = esegeta("examples", lab.write())
    place = f"{lab.config}:{lab.line_of('cases:')}: "
    refused(result, lab, place, "a single case cannot be compared", "of: slice")


def test_images_in_two_dimensions_have_no_slices(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=2, ndim=2, of="slice")
    result = esegeta("examples", lab.write())
    refused(result, lab, f":{lab.line_of('of: slice')}: ", "a is 2D and has no slices", "of: case")


def test_several_networks_have_no_layer_in_common(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=2)
    shutil.copy(tmp_path / "w.safetensors", tmp_path / "other.safetensors")
    lab.keys["model"]["weights"] = ["w.safetensors", "other.safetensors"]
    result = esegeta("examples", lab.write())
    place = f"{lab.config}:{lab.line_of('weights:')}: "
    refused(result, lab, place, "model.weights lists 2 networks", "list one of them")


def test_a_layer_without_weights_has_no_curvature(tmp_path: Path) -> None:
    lab = with_influence(examples_lab(tmp_path, cases=2), layers=["act"])
    module = (tmp_path / "tiny_networks.py").read_text(encoding="utf-8")
    (tmp_path / "acting_networks.py").write_text(module + ACTING, encoding="utf-8")
    lab.keys["model"]["class"] = "acting_networks:Acting"
    result = esegeta("examples", lab.write())
    refused(result, lab, f":{lab.line_of('- act')}: ", 'layers[0]: layer "act" has no parameters')


ACTING = """

class Acting(Pointwise):
    def __init__(self, **args):
        super().__init__(**args)
        self.act = nn.Identity()

    def forward(self, x):
        return self.act(super().forward(x))
"""

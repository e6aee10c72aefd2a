"""Networks of configs: what is said of their weights, outputs and values, and what is refused."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.utils import OptionalImportError
from safetensors.torch import load_file

from tests.experiments import Lab, _lab, esegeta, read_json, refused, save_image, unet_lab

ENDS = '''\
"""A small network, and what its output goes through."""

import torch
from torch import nn

ENDS = {
    "logits": lambda y: y,
    "softmax": lambda y: y.softmax(dim=1),
    "sigmoid": torch.sigmoid,
}


class Net(nn.Module):
    def __init__(self, end="logits"):
        super().__init__()
        self.end = end
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1, bias=False)

    def forward(self, x):
        return ENDS[self.end](self.head(torch.tanh(self.stem(x))))


def compiled(**args):
    return torch.compile(Net(**args))
'''


def net_lab(folder: Path, name: str = "Net", **args: object) -> Lab:
    (folder / "small_nets.py").write_text(ENDS, encoding="utf-8")
    model = {"kind": "module", "class": f"small_nets:{name}", "args": args}
    return _lab(folder, model, 1, (13, 12), [8, 8])


SAID = "the network's output looks like probabilities, not logits"


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_an_output_of_probabilities_is_warned_of_by_validate_and_in_every_map(
    end: str, activation: str, tmp_path: Path
) -> None:
    lab = net_lab(tmp_path, end=end)
    lab.keys["activation"] = activation
    lab.keys["labels"] = {1: "a"} if activation == "softmax" else {1: "a", 2: "b"}
    lab.keys["targets"] = [
        {"name": over, "label": "a", "of": "logit", "over": over} for over in ("predicted", "all")
    ]
    if end == "sigmoid" and activation == "softmax":
        lab.keys["targets"] = lab.keys["targets"][1:]
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    assert f"note: {SAID}" in lab.validate().output
    first = lab.run()
    assert first.exit_code == 1, first.output
    units = lab.record()["units"]
    assert len(units) == 2 * len(lab.keys["targets"])
    assert first.output.count(f"    warning: {SAID}") == len(units)
    for unit in units:
        assert [text[: len(SAID)] for text in unit["warnings"]] == [SAID]
        sidecar = lab.sidecar("a", unit["target"], unit["method"])
        assert sidecar["warnings"] == unit["warnings"]
    assert sum(note.startswith(SAID) for note in lab.record()["notes"]) == 1
    written = read_json(lab.root / "a" / "a_desc-prediction_dseg.json")
    assert [text[: len(SAID)] for text in written["warnings"]] == [SAID]


@pytest.mark.slow
def test_the_warning_stays_with_maps_that_are_skipped_or_made_later(tmp_path: Path) -> None:
    lab = net_lab(tmp_path, end="softmax")
    lab.keys["targets"][0]["over"] = "all"  # needs no prediction
    lab.run()
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    assert lab.run().exit_code == 1
    units = {unit["method"]: unit for unit in lab.record()["units"]}
    assert units["saliency"]["status"] == "skipped"
    for unit in units.values():
        assert [text[: len(SAID)] for text in unit["warnings"]] == [SAID]


def test_an_output_of_logits_gets_no_warning(tmp_path: Path) -> None:
    lab = net_lab(tmp_path)
    assert SAID not in lab.validate().output
    assert lab.run().exit_code == 0
    assert not any(SAID in note for note in lab.record()["notes"])


@pytest.mark.slow
def test_wrappers_taken_off_the_weights_are_in_the_record(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, ndim=2)
    plain = lab.run()
    assert plain.exit_code == 0
    expected = lab.map("a", "liver", "saliency")
    state = load_file(tmp_path / "w.safetensors")
    other = {key: 0 * value for key, value in state.items()}
    wrapped = {
        "best_metric": np.float64(0.9),
        "ema": OrderedDict((f"module.{key}", value) for key, value in other.items()),
        "state_dict": {f"net._orig_mod.{key}": value for key, value in state.items()},
    }
    torch.save(wrapped, tmp_path / "checkpoint.pt")
    lab.keys["model"]["weights"] = "checkpoint.pt"
    lab.keys["name"] = "other"
    notes = [
        'model.weights: checkpoint.pt: removed from the weights: the wrapper "state_dict", the '
        'prefix "net.", the prefix "_orig_mod."',
        'model.weights: checkpoint.pt: several weights fit: "state_dict" was used, not "ema"; '
        "choose with weights_key",
    ]
    validated = lab.validate().output
    assert lab.run().exit_code == 0
    record = read_json(tmp_path / "out" / "other" / "run.json")
    assert record["notes"] == notes
    assert record["network"]["weights"] == [
        {
            "file": str(tmp_path / "checkpoint.pt"),
            "key": "state_dict",
            "taken_off": {
                "wrapper": "state_dict",
                "prefixes": ["net.", "_orig_mod."],
                "entries": [],
            },
            "also_fit": ["ema"],
        }
    ]
    for note in notes:
        assert f"note: {note}" in validated
    found = lab.folder / "out" / "other" / "a" / "a_label-liver_desc-saliency_attrmap.nii.gz"
    import nibabel as nib

    assert np.array_equal(np.asarray(nib.load(found).dataobj), expected)
    lab.keys["model"]["weights_key"] = "ema"
    lab.run()
    record = read_json(tmp_path / "out" / "other" / "run.json")
    assert 'the prefix "module."' in record["notes"][0]
    (weights,) = record["network"]["weights"]
    assert (weights["key"], weights["taken_off"]["wrapper"]) == ("ema", "")
    assert record["config"]["model"]["weights_key"] == "ema"


def test_names_of_channels_that_a_network_does_not_take_are_refused(tmp_path: Path) -> None:
    lab = net_lab(tmp_path)
    lab.keys["data"] |= {
        "channels": ["t1", "t2"],
        "cases": [{"name": "a", "image": ["a.nii.gz", "a.nii.gz"]}],
    }
    result = lab.validate()
    line = lab.line_of("channels:")
    refused(result, lab, f"tiny.yaml:{line}: data.channels names 2, the network takes 1")


def test_a_key_of_weights_that_is_not_there_is_refused_where_it_stands(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, ndim=2)
    state = load_file(tmp_path / "w.safetensors")
    torch.save({"epoch": 3, "ema": {"state": state}}, tmp_path / "w.pt")
    lab.keys["model"] |= {"weights": "w.pt", "weights_key": "ema.stat"}
    refused(
        lab.validate(),
        lab,
        f"tiny.yaml:{lab.line_of('weights_key')}: weights_key: ",
        'holds nothing under "ema.stat"',
        'did you mean "ema.state"?',
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_key": "ema..state"}, "give a key of the file"),
        ({"weights_key": "ema", "weights": None}, "`weights_key` chooses from a file of `weights`"),
        ({"weight_key": "ema"}, 'did you mean "weights_key"'),
    ],
)
def test_invalid_keys_of_weights_are_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    lab = unet_lab(tmp_path, ndim=2)
    lab.keys["model"] |= changes
    refused(lab.validate(), lab, "tiny.yaml:", message)


@pytest.mark.slow
def test_a_network_that_is_made_by_a_function_of_monai_runs(tmp_path: Path) -> None:
    model = {
        "kind": "monai",
        "network": "MedNeXtS",
        "args": {"spatial_dims": 2, "in_channels": 1, "out_channels": 2},
    }
    lab = _lab(tmp_path, model, 1, (33, 32), [32, 32])
    lab.keys["targets"][0]["over"] = "all"
    result = lab.run()
    assert result.exit_code == 0, result.output
    assert np.abs(lab.map("a", "liver", "saliency")).max() > 0


@pytest.mark.slow
def test_a_package_that_is_missed_as_the_network_runs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise OptionalImportError("from einops import rearrange (No module named 'einops').")

    monkeypatch.setattr("monai.networks.nets.swin_unetr.rearrange", missing)
    args = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "feature_size": 12}
    model = {"kind": "monai", "network": "SwinUNETR", "args": args}
    lab = _lab(tmp_path, model, 1, (32, 32), [32, 32])
    refused(
        lab.validate(),
        lab,
        "tiny.yaml:",
        'the network: needs the package "einops", which is not installed; pip install einops',
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of loading the compiler
@pytest.mark.slow
def test_a_compiled_network_is_explained_by_layers_as_the_plain_one(tmp_path: Path) -> None:
    maps = []
    for name in ("Net", "compiled"):
        folder = tmp_path / name
        folder.mkdir()
        lab = net_lab(folder, name)
        lab.keys["methods"] = [{"name": "grad_cam", "layer": "stem"}, "saliency"]
        result = lab.run()
        assert result.exit_code == 0, result.output
        maps.append([lab.map("a", "liver", method) for method in ("grad_cam", "saliency")])
    for plain, compiled in zip(*maps, strict=True):
        assert np.array_equal(plain, compiled)
    assert any("the network is compiled; it runs as it was" in n for n in lab.record()["notes"])
    listed = esegeta("layers", lab.write()).output
    assert "stem  Conv2d" in listed
    assert "_orig_mod" not in listed


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of loading the compiler
@pytest.mark.slow
def test_weights_go_into_a_compiled_network(tmp_path: Path) -> None:
    lab = net_lab(tmp_path, "compiled")
    state = {
        "_orig_mod.stem.weight": torch.ones(4, 1, 3, 3),
        "_orig_mod.stem.bias": torch.zeros(4),
        "_orig_mod.head.weight": torch.tensor([0.0, 1.0])[:, None, None, None].repeat(1, 4, 1, 1),
    }
    torch.save(state, tmp_path / "w.pt")
    lab.keys["model"]["weights"] = "w.pt"
    save_image(tmp_path / "a.nii.gz", np.ones((13, 12), np.float32))
    assert lab.run().exit_code == 0
    assert (lab.segmentation("a") == 1).all()
    assert any('the prefix "_orig_mod."' in note for note in lab.record()["notes"])

"""A config that is wrong: refused with place, what was found and what to do, before any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.experiments import esegeta, noise, pointwise_lab, refused, save_image, unet_lab

Change = Callable[[dict[str, Any]], Any]


def method(**keys: Any) -> Change:
    return lambda config: config["methods"].append(keys)


def target(**keys: Any) -> Change:
    return lambda config: config["targets"].append(keys)


def block(*path: str, **keys: Any) -> Change:
    def change(config: dict[str, Any]) -> None:
        for name in path:
            config = config.setdefault(name, {})
        config.update(keys)

    return change


PLACED: dict[str, tuple[Change, str, str, str]] = {
    "inverted box": (
        target(name="b", label="liver", box=[[5, 5, 5], [1, 1, 1]]),
        "name: b",
        "targets[1]:",
        "each start below its stop",
    ),
    "live mask of a fixed region": (
        target(name="b", label="liver", over="all", mask="live"),
        "name: b",
        "targets[1]:",
        "mask: live has no effect over: all",
    ),
    "live mask of dice": (
        target(name="b", label="liver", of="dice", mask="live"),
        "name: b",
        "targets[1]: of: dice is of the whole map; it has no mask: live",
        "",
    ),
    "live mask of entropy": (
        target(name="b", label="liver", of="entropy", mask="live"),
        "name: b",
        "targets[1]: mask: live has no effect over: all (the default for entropy)",
        "",
    ),
    "mean of a volume": (
        target(name="b", label="liver", of="volume_ml", reduce="mean", mask="frozen"),
        "name: b",
        "targets[1]: of: volume_ml is of the whole map; it has no reduce: mean",
        "",
    ),
    "smallest volume of the largest": (
        target(name="b", label="liver", component="largest", min_volume_ml=1),
        "name: b",
        "targets[1]: `min_volume_ml` belongs to component: each",
        "",
    ),
    "target like a component": (
        target(name="b#1", label="liver", over="all"),
        "name: b#1",
        'targets[1].name: "b#1" cannot be the name of a target',
        "",
    ),
    "target like another key of a file name": (
        target(name="b_desc-x", label="liver", over="all"),
        "name: b_desc-x",
        'targets[1].name: "b_desc-x" cannot be the name of a target',
        "",
    ),
    "label like a component": (
        lambda config: (
            config.update(labels={1: "liver#1"}),
            config.update(targets=[{"label": "liver#1"}]),
        ),
        "- label",
        '"liver#1" cannot be the name of a target',
        "give the target a `name`",
    ),
    "method like a channel": (
        method(name="saliency", id="a_chan-b"),
        "- name: saliency",
        'id "a_chan-b" cannot be part of a file name',
        "_chan-",
    ),
    "channel like a label": (
        block("data", channels=["a_label-b"]),
        "- a_label-b",
        'data.channels[0]: "a_label-b" cannot be',
        "_label-",
    ),
    "label below zero": (block(labels={-1: "a", 1: "liver"}), "labels:", "labels: -1", "0 or more"),
    "background under sigmoid": (
        block(labels={0: "core", 1: "liver"}, activation="sigmoid"),
        "labels:",
        'labels: 0 cannot be the label "core"; 0 is the background',
        "number the labels from 1",
    ),
    "list of labels": (block(labels=["liver"]), "labels:", "labels: ", "{1: liver}"),
    "name as a label": (block(labels={"liver": 1}), "liver: 1", "labels.liver: ", "1: liver"),
    "window of one number": (
        block("inference", window=8),
        "window:",
        "inference.window",
        "[64, 64, 64]",
    ),
    "spacing of one number": (
        block("data", "preprocess", spacing_mm=3),
        "spacing_mm:",
        "data.preprocess.spacing_mm",
        "[3, 3, 3]",
    ),
    "cases without a value": (block("data", cases=None), "cases:", "data.cases: missing", ""),
    "baseline of a number": (
        method(name="integrated_gradients", baseline=3),
        "baseline:",
        "methods[1].baseline: should be a block of keys or text (found 3)",
        "",
    ),
    "two overlaps for three axes": (
        block("inference", overlap=[0.5, 0.5]),
        "overlap:",
        "inference.overlap: ",
        "give one, or 3",
    ),
    "box of two lengths": (
        method(name="occlusion", box=[4, 4]),
        "- name: occlusion",
        "methods[1]: occlusion: box: [4, 4] for the 3D image a",
        "give one length, or 3",
    ),
    "stride of two lengths in a method of a method": (
        method(name="smoothgrad", base={"name": "occlusion", "stride_mm": [4, 4]}),
        "- name: smoothgrad",
        "methods[1]: occlusion: stride_mm: [4, 4] for the 3D image a",
        "give one length, or 3",
    ),
    "point outside": (
        target(name="b", label="liver", point=[3, 11, 3]),
        "name: b",
        "targets[1]: point [3, 11, 3] lies outside a",
        "12 x 11 x 9",
    ),
    "point before": (
        target(name="b", label="liver", point=[-1, 0, 0]),
        "name: b",
        "targets[1]: point [-1, 0, 0] lies outside a",
        "12 x 11 x 9",
    ),
    "box outside": (
        target(name="b", label="liver", box=[[0, 0, 9], [4, 4, 12]]),
        "name: b",
        "targets[1]: box [[0, 0, 9], [4, 4, 12]] lies outside a",
        "12 x 11 x 9",
    ),
    "top": (block(sed=3), "sed:", "sed: unknown key", '"seed"'),
    "nested": (
        block("inference", batchsize=2),
        "batchsize:",
        "inference.batchsize",
        '"batch_size"',
    ),
    "model": (block("model", weigths="w"), "weigths:", "model.weigths: unknown", '"weights"'),
    "case": (
        lambda config: config["data"]["cases"][1].update(lable="x"),
        "lable:",
        "data.cases[1].lable: unknown key",
        '"label"',
    ),
    "method": (
        method(name="integrated_gradients", stps=3),
        "stps:",
        "methods[1].stps: unknown key of integrated_gradients",
        '"steps"',
    ),
    "method of a method": (
        method(name="smoothgrad", base={"name": "integrated_gradients", "stps": 3}),
        "stps:",
        "methods[1].base.stps: unknown key",
        '"steps"',
    ),
    "baseline": (
        method(name="integrated_gradients", baseline={"kind": "blur", "sigma": 3}),
        "sigma:",
        "methods[1].baseline.sigma: unknown key",
        '"sigma_mm"',
    ),
    "unknown method": (
        method(name="integrated_gradient"),
        "integrated_gradient",
        'methods[1]: unknown method "integrated_gradient"',
        '"integrated_gradients"',
    ),
    "unknown score": (
        lambda config: config["scores"].append("infidelty"),
        "infidelty",
        'scores[0]: unknown score "infidelty"',
        '"infidelity"',
    ),
    "unknown word": (
        target(name="x", label="liver", over="predcted"),
        "predcted",
        'targets[1].over: "predcted" is not known',
        '"predicted"',
    ),
    "wrong type": (
        method(name="integrated_gradients", steps="many"),
        "many",
        "methods[1].steps: ",
        "(found 'many')",
    ),
    "negative steps": (
        method(name="integrated_gradients", steps=0),
        "integrated_gradients",
        "methods[1]: integrated_gradients: steps: 0",
        "at least 1",
    ),
    "unknown baseline": (
        method(name="integrated_gradients", baseline="blurr"),
        "integrated_gradients",
        'methods[1]: baseline: "blurr" is not known',
        '"blur"',
    ),
    "window with a zero": (
        block("inference", window=[8, 0, 8]),
        "window:",
        "inference.window: give two or three lengths above zero",
        "[8, 0, 8]",
    ),
    "overlap of one": (
        block("inference", overlap=1),
        "overlap:",
        "inference.overlap",
        "less than 1",
    ),
    "two methods of one id": (
        method(name="saliency", absolute=True),
        "- name: saliency",
        'methods[1]: two entries have the id "saliency"',
        "give one of them an `id`",
    ),
    "two targets of one name": (
        target(name="liver", label="liver", over="all"),
        "- name: liver",
        'targets[1]: two targets have the name "liver"',
        "give each a `name`",
    ),
    "empty combination": (
        target(name="x", combine={}),
        "- name: x",
        "targets[1]: combine names no target",
        "",
    ),
    "combination of nothing": (
        target(name="x", combine={"livr": 1.0}),
        "- name: x",
        'targets[1].combine: no target "livr"',
        '"liver"',
    ),
    "label that no folder can have": (
        lambda config: (
            config.update(labels={1: "left/liver"}),
            config.update(targets=[{"label": "left/liver"}]),
        ),
        "- label",
        '"left/liver" cannot be part of a file name',
        "",
    ),
    "key of another region": (
        target(name="x", label="liver", over="predicted", point=[1, 1, 1]),
        "- name: x",
        "`point` belongs to over: point",
        "",
    ),
    "no label": (target(name="x"), "- name: x", "targets[1]: `label` is missing", ""),
    "unknown label": (
        target(name="x", label="livr", over="all"),
        "- name: x",
        'targets[1]: label "livr" is not among the labels',
        '"liver"',
    ),
    "labels the wrong way round": (
        block(labels={"liver": 1}),
        "liver: 1",
        "labels.liver",
        "integer",
    ),
    "softmax of one output": (
        block("model", "args", out_channels=1),
        "labels:",
        "softmax over a single output channel",
        "use activation: sigmoid",
    ),
    "bad orientation": (
        block("data", "preprocess", orientation="RAX"),
        "preprocess:",
        'orientation: "RAX" is not a set of axis codes',
        "such as RAS or LPS",
    ),
    "orientation of too few axes": (
        block("data", "preprocess", orientation="RA"),
        "- name: a",
        'preprocess.orientation "RA" names 2 axes, a is 3D',
        "such as RAS",
    ),
    "spacing of wrong length": (
        block("data", "preprocess", spacing_mm=[2, 2]),
        "- name: a",
        "preprocess.spacing_mm has 2 values, a is 3D",
        "give 3 values",
    ),
    "no spacing": (
        block("data", "preprocess", spacing_mm=[]),
        "spacing_mm",
        "data.preprocess.spacing_mm",
        "two or three lengths",
    ),
    "empty intensity window": (
        block("data", "preprocess", intensity={"window": [400, -250]}),
        "preprocess:",
        "[400, -250] is empty",
        "lower bound first",
    ),
    "two intensities": (
        block("data", "preprocess", intensity={"window": [0, 1], "zscore": True}),
        "intensity:",
        "data.preprocess.intensity: give one of",
        "",
    ),
    "unknown intensity": (
        block("data", "preprocess", intensity="zscor"),
        "intensity:",
        'data.preprocess.intensity: "zscor" is not known',
        'did you mean "zscore"?',
    ),
    "intensity without its bounds": (
        block("data", "preprocess", intensity="window"),
        "intensity:",
        "data.preprocess.intensity: window needs its bounds",
        "write window: [-250, 400]",
    ),
    "empty id": (
        method(name="saliency", id=""),
        "- name: saliency",
        'id "" cannot be part of a file name',
        "",
    ),
    "two cases of one name": (
        lambda config: config["data"]["cases"][1].update(name="a"),
        "cases:",
        'two cases have the name "a"',
        "`name` of its own",
    ),
    "no cases": (block("data", cases=[]), "cases:", "data.cases: [] yields no image", ""),
    "channels of one name": (
        block("data", channels=["t1", "t1"]),
        "channels:",
        "data.channels",
        '"t1"',
    ),
    "unknown device": (block(device="gpu"), "device:", '"gpu" is not a device', "cuda:1"),
    "case that leaves its folder": (
        lambda config: config["data"]["cases"][0].update(name="../x"),
        "../x",
        "data.cases[0].name",
        "cannot be part of a file name",
    ),
}


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize("fault", PLACED)
def test_a_fault_is_placed_by_file_and_line(fault: str, command: str, tmp_path: Path) -> None:
    change, text, what, hint = PLACED[fault]
    one_output = fault == "softmax of one output"
    weight, bias = ([[1.0]], [0.0]) if one_output else ([[0.0], [1.0]], [0.0, 0.0])
    lab = pointwise_lab(tmp_path, weight, bias, cases=2)
    change(lab.keys)
    result = esegeta(command, lab.write())
    place = f"{lab.config}:{lab.line_of(text)}: " if text else ""
    refused(result, lab, place, what, hint)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
@pytest.mark.parametrize("asked", ["config", "option"])
def test_cuda_where_there_is_none(asked: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    if asked == "config":
        lab.keys["device"] = "cuda"
    result = lab.run(*(["--device", "cuda"] if asked == "option" else []))
    refused(result, lab, "device: cuda was asked for", "finds no CUDA", "cpu")


@pytest.mark.parametrize("output", ["file", "file/deeper"])
def test_output_that_cannot_be_a_folder(output: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    (tmp_path / "file").write_text("in the way")
    refused(lab.run("-o", tmp_path / output), lab, "cannot be written", "-o")
    assert (tmp_path / "file").read_text() == "in the way"


LAYERS = {
    "grad_cam": {"name": "grad_cam", "layer": "model.0.convv"},
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
    layer = {"name": "grad_cam", "layer": "gate"}
    lab.keys["methods"].append({**entry, "base": layer} if "base" in entry else layer)
    found = (f"{lab.config}:", 'layer "gate" has no spatial output (2)', "esegeta layers")
    refused(lab.run(), lab, *found)
    refused(lab.validate(), lab, *found)


FLAT = """\
from torch import nn


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv3d(1, 2, 1)
        self.gate = nn.Linear(2, 2)

    def forward(self, x):
        x = self.body(x)
        return x * self.gate(x.mean((2, 3, 4)))[..., None, None, None]
"""


def test_a_box_that_reaches_into_the_image_is_no_fault(tmp_path: Path) -> None:
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
def test_a_window_that_the_network_cannot_take(kind: str, command: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["inference"]["window"], message = WINDOWS[kind]
    place = f"{lab.write()}:{lab.line_of('window:' if kind != 'odd' else 'inference:')}: "
    refused(esegeta(command, lab.config), lab, place, message)


def test_an_image_of_another_case_on_another_folder_is_no_obstacle(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    save_image(tmp_path / "unused.nii.gz", noise((3, 3, 3)))
    assert lab.validate().exit_code == 0

"""Kinds of networks through the command line: equal results, and refusals before the run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.builders import unet
from tests.closed import Canary, save_export, save_script, save_trace
from tests.experiments import WINDOW, Lab, esegeta, read_json, refused, unet_lab

BATCH = 4
SHAPE = (BATCH, 1, *WINDOW)
SERVING = "choose from: saliency, input_x_gradient, integrated_gradients"


def closed_lab(folder: Path, kind: str) -> Lab:
    """Return an experiment of the U-Net of `unet_lab` as a file of its own."""
    lab = unet_lab(folder)
    if kind == "torchscript":
        save_script(unet(3), folder / "net.ts")
    elif kind == "traced":
        save_trace(unet(3), SHAPE, folder / "net.ts")
    elif kind == "frozen":
        save_trace(unet(3), SHAPE, folder / "net.ts", freeze=True)
    elif kind == "export":
        save_export(unet(3), SHAPE, folder / "net.pt2")
    elif kind == "module":
        torch.save(unet(3), folder / "net.pth")
    files = {"export": "net.pt2", "module": "net.pth"}
    name = kind if kind in files else "torchscript"
    lab.keys["model"] = {"kind": name, "path": files.get(kind, "net.ts")}
    if kind == "module":
        lab.keys["model"]["trust"] = "pickle"
    return lab


METHODS = [
    "saliency",
    {"name": "integrated_gradients", "steps": 4},
    {"name": "occlusion", "box": 4},
    {"name": "smoothgrad", "samples": 2},
    {"name": "exact_shapley", "features": "channels"},
]


@pytest.mark.parametrize("kind", ["torchscript", "traced", "frozen", "export", "module"])
@pytest.mark.slow
def test_maps_of_an_exported_network_equal_those_of_its_class(kind: str, tmp_path: Path) -> None:
    for folder in ("open", "closed"):
        (tmp_path / folder).mkdir()
    labs = [unet_lab(tmp_path / "open"), closed_lab(tmp_path / "closed", kind)]
    for lab in labs:
        lab.keys["inference"]["batch_size"] = BATCH
        lab.keys["methods"] = METHODS
        lab.keys["scores"] = ["infidelity"]
        found = lab.run()
        assert found.exit_code == 0, found.output
    np.testing.assert_array_equal(*(lab.segmentation("a") for lab in labs))
    target = labs[0].keys["targets"][0]["name"]
    for method in METHODS:
        name = method if isinstance(method, str) else method["name"]
        wanted, found = (lab.map("a", target, name) for lab in labs)
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    notes = labs[1].record()["notes"]
    assert any("is code" in note and "net." in note for note in notes)


CLOSED = ["torchscript", "export"]
WORDS = {"torchscript": "a TorchScript network", "export": "an exported program"}


@pytest.mark.parametrize("kind", CLOSED)
@pytest.mark.parametrize(
    "method",
    [
        {"name": "grad_cam", "layer": "model.0"},
        {"name": "guided_backprop"},
        {"name": "lrp"},
        {"name": "smoothgrad", "base": {"name": "guided_backprop"}},
    ],
)
def test_methods_that_watch_layers_are_refused_before_the_run(
    kind: str, method: dict[str, object], tmp_path: Path
) -> None:
    lab = closed_lab(tmp_path, kind)
    lab.keys["inference"]["batch_size"] = BATCH
    lab.keys["methods"] = ["saliency", method]
    for result in (lab.run(), lab.validate()):
        line = lab.line_of(f"name: {method['name']}")
        name = dict(method.get("base", method))["name"]
        refused(result, lab, f"tiny.yaml:{line}: methods[1]: {name} needs", WORDS[kind], SERVING)
        assert "grad_cam," not in result.stderr.partition("choose from")[2]


@pytest.mark.parametrize("kind", CLOSED)
@pytest.mark.slow
def test_units_random_weights_dissection_and_retraining_are_refused_by_name(
    kind: str, tmp_path: Path
) -> None:
    lab = closed_lab(tmp_path, kind)
    lab.keys["inference"]["batch_size"] = BATCH
    lab.keys["targets"].append({"of": "unit", "layer": "model.0", "channel": 0, "name": "unit"})
    refused(lab.run(), lab, f"tiny.yaml:{lab.line_of('of: unit')}: targets[1]: of: unit needs")
    lab.keys["targets"].pop()
    for score in ("parameter_randomization", "efficient_mprt"):
        lab.keys["scores"] = ["infidelity", score]
        place = f"tiny.yaml:{{}}: scores[1]: {score} needs the layers"
        result = lab.run()
        refused(result, lab, place.format(lab.line_of(score)), "choose from: ", WORDS[kind])
        assert score not in result.stderr.partition("choose from")[2]
    lab.keys["scores"] = []
    lab.keys["dissection"] = {"layers": "all", "concepts": {"liver": 1}}
    result = esegeta("dissect", lab.write())
    refused(result, lab, f"tiny.yaml:{lab.line_of('dissection:')}: dissection needs the layers")
    del lab.keys["dissection"]
    lab.keys["retrain"] = {"iterations": 1}
    result = esegeta("retrain", lab.write())
    refused(result, lab, f"tiny.yaml:{lab.line_of('retrain:')}: retrain builds the network again")
    refused(esegeta("layers", lab.write()), lab, "a list of layers needs", WORDS[kind])


def test_a_pickled_network_is_not_trained_from_scratch(tmp_path: Path) -> None:
    lab = closed_lab(tmp_path, "module")
    lab.keys["retrain"] = {"iterations": 1}
    result = esegeta("retrain", lab.write())
    refused(result, lab, "retrain builds the network again", "a pickled network is read from its")


@pytest.mark.slow
def test_an_exported_program_accepts_only_the_window_and_batch_of_its_export(
    tmp_path: Path,
) -> None:
    lab = closed_lab(tmp_path, "export")
    lab.keys["inference"] = {"window": [16, 8, 8], "batch_size": BATCH}
    said = "inference.window: the program was exported for windows of 8 x 8 x 8, and this is 16x8x8"
    refused(lab.run(), lab, f"tiny.yaml:{lab.line_of('window:')}: {said}; give [8, 8, 8]")
    lab.keys["inference"] = {"window": [8, 8], "batch_size": BATCH}
    refused(lab.run(), lab, "inference.window has 2 lengths, the network is 3D")
    lab.keys["inference"] = {"window": WINDOW, "batch_size": 3}
    said = "inference.batch_size: the program was exported for 4 windows at a time, and this is 3"
    refused(lab.run(), lab, f"tiny.yaml:{lab.line_of('batch_size:')}: {said}; give 4")


class Rounded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.round(self.conv(x).detach() * 10)


@pytest.mark.parametrize("kind", CLOSED)
@pytest.mark.slow
def test_a_network_without_gradients_serves_gradient_free_methods(
    kind: str, tmp_path: Path
) -> None:
    lab = closed_lab(tmp_path, kind)
    lab.keys["inference"]["batch_size"] = BATCH
    torch.manual_seed(0)
    if kind == "export":
        save_export(Rounded(), SHAPE, tmp_path / "net.pt2")
    else:
        save_script(Rounded(), tmp_path / "net.ts")
    lab.keys["targets"] = [{"name": "liver", "label": "liver", "of": "logit", "over": "all"}]
    lab.keys["methods"] = [{"name": "occlusion", "box": 4}, "saliency"]
    result = lab.run()
    said = "methods[1]: saliency needs gradients, and none flow"
    refused(result, lab, f"tiny.yaml:{lab.line_of('- saliency')}: {said}")
    serving = result.stderr.partition("choose from: ")[2]
    assert "occlusion, feature_ablation" in serving
    assert "meaningful" not in serving
    lab.keys["methods"].pop()
    assert "gradients: no" in lab.validate().output
    found = lab.run()
    assert found.exit_code == 0, found.output


class Dropped(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.dropout(x, 0.5, training=True)
        return torch.cat([y, -y], 1)


def test_exported_dropout_is_refused(tmp_path: Path) -> None:
    lab = closed_lab(tmp_path, "torchscript")
    save_script(Dropped(), tmp_path / "net.ts")
    said = "two passes of the network over the same window differ"
    refused(lab.run(), lab, f"tiny.yaml:{lab.line_of('model:')}: {said}", "network.eval()")


def test_validate_prints_what_the_network_can_do_and_what_is_needed(tmp_path: Path) -> None:
    lab = closed_lab(tmp_path, "export")
    lab.keys["inference"]["batch_size"] = BATCH
    text = lab.validate().output
    able = "gradients: yes, layers: no, retraining: no, window: 8 x 8 x 8, batch: 4, as exported"
    assert f"  network: an exported program; {able}\n" in text
    assert "  asked for: gradients: saliency; window: 8 x 8 x 8; batch: 4\n" in text
    assert "note: model.path net.pt2 is code" in text
    plain = unet_lab(tmp_path)
    plain.keys["methods"] = [{"name": "grad_cam", "layer": "model.0"}]
    plain.keys["scores"] = ["parameter_randomization"]
    text = plain.validate().output
    assert (
        "gradients: yes, layers: yes, retraining: yes, window: any size the network takes" in text
    )
    assert "asked for: layers: grad_cam; gradients: grad_cam; random weights: param" in text


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_is_not_opened_without_trust(new: bool, tmp_path: Path) -> None:
    lab = closed_lab(tmp_path, "module")
    sung = tmp_path / "sung"
    torch.save(Canary(sung), tmp_path / "net.pth", _use_new_zipfile_serialization=new)
    del lab.keys["model"]["trust"]
    for result in (lab.run(), lab.validate(), esegeta("layers", lab.config)):
        refused(result, lab, f"tiny.yaml:{lab.line_of('model:')}: model: a pickled network is code")
        assert "trust: pickle" in result.stderr
    lab.keys["model"] = {"kind": "torchscript", "path": "net.pth"}
    refused(lab.run(), lab, "is a checkpoint of torch.save, not a TorchScript network")
    lab.keys["model"] = {"kind": "export", "path": "net.pth"}
    refused(lab.run(), lab, "is a checkpoint of torch.save, not an exported program")
    assert not sung.exists()
    lab.keys["model"] = {"kind": "module", "path": "net.pth", "trust": "pickle"}
    assert lab.validate().exit_code == 0
    assert sung.exists()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"kind": "torchscript"}, "kind: torchscript needs `path`, the file that torch.jit.save"),
        ({"kind": "export", "weights": "w"}, "`weights` belongs to kind: monai or module"),
        ({"kind": "bundle"}, "kind: bundle needs `path`, the folder of the MONAI bundle"),
        ({"kind": "monai", "path": "x"}, "`path` belongs to kind: torchscript or export or bundle"),
        ({"kind": "module"}, 'kind: module needs `class`, as "package.module:Class", or a `path`'),
        ({"kind": "module", "path": "a", "class": "b:C"}, "give one of them"),
        ({"kind": "export", "path": "x", "trust": "pickle"}, "`trust` belongs to a pickled"),
        ({"kind": "torchscrip", "path": "x"}, 'did you mean "torchscript"?'),
        ({"kind": "module", "path": "x", "trust": "all"}, '"all" is not known'),
    ],
)
def test_keys_of_another_kind_are_refused(model: dict[str, str], said: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["model"] = model
    refused(lab.run(), lab, said, "tiny.yaml:")


@pytest.mark.slow
def test_a_changed_file_of_the_network_makes_maps_again(tmp_path: Path) -> None:
    lab = closed_lab(tmp_path, "torchscript")
    assert lab.run().exit_code == 0
    first = read_json(lab.root / "run.json")["weights_sha256"]
    save_script(unet(3, seed=1), tmp_path / "net.ts")
    result = lab.run()
    assert result.exit_code == 0
    assert read_json(lab.root / "run.json")["weights_sha256"] != first
    assert set(lab.statuses().values()) == {"done"}

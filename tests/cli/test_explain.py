"""The one line: a model and an image, and the config that it writes runs to the same maps."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from esegeta.config import load_config
from esegeta.config.commented import write_commented
from esegeta.config.lines import parse_yaml
from esegeta.predict import Predictor
from tests.builders import unet
from tests.bundles import write_bundle
from tests.closed import save_export, save_trace
from tests.experiments import Lab, esegeta, noise, read_json, save_image, unet_lab, voxels
from tests.nnunet_folder import Results

SHAPE = (14, 12, 10)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save_image(tmp_path / "ct.nii.gz", 40 * noise(SHAPE))


def nnunet(folder: Path) -> list[str]:
    pytest.importorskip("dynamic_network_architectures")
    Results(folder / "results", folds=(0,)).write()
    return [str(folder / "results"), "--set", "inference.mirror=[]"]


def bundle(folder: Path) -> list[str]:
    write_bundle(folder / "bundle")
    return [str(folder / "bundle")]


def torchscript(folder: Path) -> list[str]:
    save_trace(unet(3), (1, 1, 8, 8, 8), folder / "network.ts")
    return [str(folder / "network.ts"), "--set", "inference.window=[8,8,8]"]


def export(folder: Path) -> list[str]:
    save_export(unet(3), (2, 1, 8, 8, 8), folder / "network.pt2")
    return [str(folder / "network.pt2")]


def own_lab(folder: Path) -> Lab:
    (folder / "own").mkdir()
    return unet_lab(folder / "own")


def weights(folder: Path) -> list[str]:
    lab = own_lab(folder)
    shutil.move(lab.write(), folder / "own" / "config.yaml")
    (file,) = (folder / "own").glob("*.safetensors")
    return [str(file)]


def config(folder: Path) -> list[str]:
    return [str(own_lab(folder).write())]


Model = Callable[[Path], list[str]]


@pytest.mark.parametrize("model", [nnunet, bundle, torchscript, weights, config])
@pytest.mark.slow
def test_the_config_that_is_written_runs_to_the_same_maps(
    tmp_path: Path, image: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "out"
    named, *options = model(tmp_path)
    done = esegeta("explain", named, image, "-o", out, "--device", "cpu", *options)
    assert done.exit_code in (0, 1), done.output  # 1: a map of random weights may carry a warning
    (map_,) = out.rglob("*_attrmap.nii.gz")
    first = voxels(map_)
    assert first.shape == SHAPE
    assert np.abs(first).max() > 0
    text = (out / "config.yaml").read_text()
    assert text.count("#") > 5
    monkeypatch.chdir(tmp_path / "new")
    again = esegeta("run", out / "config.yaml")
    assert "1 skipped" in again.output
    assert read_json(out / "run.json")["units"][0]["status"] == "skipped"
    esegeta("run", out / "config.yaml", "--overwrite")
    assert np.array_equal(voxels(map_), first)


def test_without_a_label_option_the_largest_label_is_explained(tmp_path: Path, image: Path) -> None:
    named, *options = nnunet(tmp_path)
    out = tmp_path / "out"
    done = esegeta("explain", named, image, "-o", out, *options)
    predicted = voxels(next(out.rglob("*_dseg.nii.gz")))
    sizes = {"liver": (predicted == 1).sum(), "tumour": (predicted == 2).sum()}
    largest = max(sizes, key=lambda name: sizes[name])
    assert all(
        f"{name}: " in done.output and f"{n} voxels" in done.output for name, n in sizes.items()
    )
    assert [target.label for target in load_config(out / "config.yaml").keys.targets] == [largest]


def test_options_are_written_into_the_config(tmp_path: Path, image: Path) -> None:
    named, *options = bundle(tmp_path)
    given = ["--label", "liver", "--over", "voxel:3,4,5", "--set", "methods.1.steps=2"]
    methods = ["--method", "saliency", "--method", "integrated_gradients"]
    out = tmp_path / "out"
    esegeta("explain", named, image, "-o", out, *given, *methods, *options)
    keys = yaml.safe_load((out / "config.yaml").read_text())
    assert keys["targets"][0]["point"] == [3, 4, 5]
    assert keys["methods"] == ["saliency", {"name": "integrated_gradients", "steps": 2}]
    assert keys["model"] == {"kind": "bundle", "path": str(tmp_path / "bundle")}


def test_another_config_of_the_same_folder_is_kept(tmp_path: Path, image: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.yaml").write_text("mine: 1\n")
    named, *options = bundle(tmp_path)
    esegeta("explain", named, image, "-o", out, "--over", "all", *options)
    assert (out / "config-1.yaml").read_text() == "mine: 1\n"
    esegeta("explain", named, image, "-o", out, "--over", "all", *options)
    assert not (out / "config-2.yaml").exists()


def test_the_path_of_a_fold_stands_for_its_model_with_that_fold(
    tmp_path: Path, image: Path
) -> None:
    nnunet(tmp_path)
    fold = next((tmp_path / "results").rglob("fold_0"))
    path = tmp_path / "it.yaml"
    assert esegeta("init", "--from", fold, image, "-o", path).exit_code == 0
    keys = load_config(path).keys
    assert keys.model.folds == [0]
    assert keys.data.cases[0].image == str(image)


@pytest.mark.parametrize(
    "model", [nnunet, bundle, torchscript, pytest.param(export, marks=pytest.mark.slow), weights]
)
def test_init_writes_a_config_that_is_valid(tmp_path: Path, image: Path, model: Model) -> None:
    named, *options = model(tmp_path)
    path = tmp_path / "it.yaml"
    assert esegeta("init", "--from", named, image, "-o", path, *options).exit_code == 0
    assert esegeta("validate", path).exit_code == 0
    assert not (tmp_path / "results" / "explain-ct").exists()
    assert esegeta("init", "--from", named, image, "-o", path).exit_code == 2


def test_a_prediction_is_made_once(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    logits = Predictor.logits

    def count(self: Predictor, *given: Any, **named: Any) -> Any:
        made.append(self)
        return logits(self, *given, **named)

    monkeypatch.setattr(Predictor, "logits", count)
    named, *options = bundle(tmp_path)
    assert "1 done" in esegeta("explain", named, image, "-o", tmp_path / "out", *options).output
    assert len(made) == 1


@pytest.mark.parametrize("screen", [True, False])
def test_the_picture_is_opened_where_there_is_a_screen(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, screen: bool
) -> None:
    opened: list[str] = []

    def launch(path: str) -> int:
        opened.append(path)
        return 0

    monkeypatch.setattr("typer.launch", launch)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0" if screen else "")
    named, *options = bundle(tmp_path)
    given = ["-o", tmp_path / "out", "--label", "liver", "--over", "all", "--open"]
    text = esegeta("explain", named, image, *given, *options).output
    picture = tmp_path / "out" / "ct" / "ct_label-liver-all_desc-saliency_overlay.png"
    assert f"picture: {picture}" in text
    assert opened == ([str(picture)] if screen else [])
    assert ("there is no screen" in text) is not screen


def test_a_written_config_is_read_back_unchanged() -> None:
    content = {
        "labels": {1: "yes", 2: "1e-3", 3: "007", 4: "null", 5: "a: b # c", -1: "é"},
        "model": {"args": {"eps": 1e-05, "on": True, "none": None, "list": [1, [2, 3]], "b": {}}},
        "data": {"cases": [{"name": f"case {n}", "image": "x" * 90} for n in range(3)]},
    }
    text = write_commented(content, {"model": ["why"]}, ["head"])
    assert parse_yaml(text, Path("x.yaml")).content == content
    assert text.startswith("# head\n")
    assert "\n# why\nmodel:" in text


def test_guesses_about_a_network_file_are_noted(tmp_path: Path, image: Path) -> None:
    named = torchscript(tmp_path)[0]
    out = tmp_path / "out"
    text = esegeta("explain", named, image, "-o", out).output
    written = (out / "config.yaml").read_text()
    for said in ("the window is a guess", "no preprocessing is known", "its labels have no names"):
        assert f"note: {said}" in text
        assert f"# {said}" in written
    keys = load_config(out / "config.yaml").keys
    assert keys.inference.window == (64, 64, 64)
    assert keys.labels == {1: "label1"}


def test_a_config_beside_a_network_file_is_used(tmp_path: Path, image: Path) -> None:
    named = torchscript(tmp_path)[0]
    kept = {"labels": {1: "liver"}, "inference": {"window": [8, 8, 8]}}
    text = yaml.safe_dump({"model": {"kind": "torchscript"}, "data": {"preprocess": {}}, **kept})
    (tmp_path / "network.yaml").write_text(text)
    path = tmp_path / "it.yaml"
    done = esegeta("init", "--from", named, image, "-o", path)
    assert done.exit_code == 0, done.output
    found = yaml.safe_load(path.read_text())
    assert {key: found[key] for key in kept} == kept
    assert found["model"] == {"kind": "torchscript", "path": named}


def test_a_map_that_is_zero_has_no_picture(tmp_path: Path, image: Path) -> None:
    network = torch.nn.Conv3d(1, 2, 1)
    network.load_state_dict(
        {"weight": torch.zeros(2, 1, 1, 1, 1), "bias": torch.tensor([0.0, 1.0])}
    )
    save_trace(network, (1, 1, 8, 8, 8), tmp_path / "blind.ts")
    window = ("--set", "inference.window=[8,8,8]")
    done = esegeta("explain", tmp_path / "blind.ts", image, "-o", tmp_path / "out", *window)
    assert done.exit_code == 2 and "the map is zero everywhere" in done.stderr
    assert f"config in {tmp_path / 'out' / 'config.yaml'}" in done.stdout
    assert "picture" not in done.stdout

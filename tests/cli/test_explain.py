"""The one line: a model and an image, and the config that it writes runs to the same maps."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from esegeta.config import load_config
from tests.builders import unet
from tests.bundles import write_bundle
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
    traced = torch.jit.trace(unet(3).eval(), torch.zeros(1, 1, 8, 8, 8))
    traced.save(str(folder / "network.ts"))
    return [str(folder / "network.ts"), "--set", "inference.window=[8,8,8]"]


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


def test_without_a_label_the_largest_is_explained(tmp_path: Path, image: Path) -> None:
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


def test_options_are_written_out(tmp_path: Path, image: Path) -> None:
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


def test_a_fold_is_its_folder_with_that_fold(tmp_path: Path, image: Path) -> None:
    nnunet(tmp_path)
    fold = next((tmp_path / "results").rglob("fold_0"))
    path = tmp_path / "it.yaml"
    assert esegeta("init", "--from", fold, image, "-o", path).exit_code == 0
    keys = load_config(path).keys
    assert keys.model.folds == [0]
    assert keys.data.cases[0].image == str(image)


@pytest.mark.parametrize("model", [nnunet, bundle, torchscript, weights])
def test_init_writes_a_config_that_is_valid(tmp_path: Path, image: Path, model: Model) -> None:
    named, *options = model(tmp_path)
    path = tmp_path / "it.yaml"
    assert esegeta("init", "--from", named, image, "-o", path, *options).exit_code == 0
    assert esegeta("validate", path).exit_code == 0
    assert not (tmp_path / "results" / "explain-ct").exists()
    assert esegeta("init", "--from", named, image, "-o", path).exit_code == 2

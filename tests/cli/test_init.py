"""The config that `esegeta init` writes: it is accepted, and nothing is overwritten."""

from pathlib import Path

import numpy as np
import pytest

from esegeta.cli.starter import STARTER, starter
from esegeta.config import load_config
from esegeta.config.dissection import DissectionKeys
from esegeta.config.lines import parse_yaml
from tests.experiments import esegeta, noise, save_image, unet_lab


def test_init_writes_a_config_that_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert esegeta("init").exit_code == 0
    config = load_config(Path("esegeta.yaml"))
    assert config.keys.name == "liver"
    assert list(config.methods) == ["saliency", "integrated_gradients"]


def test_the_starter_holds_a_dissection_to_uncomment(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lines = STARTER.splitlines()
    first = lines.index(next(line for line in lines if line.startswith("# dissection:")))
    assert all(line.startswith("# ") for line in lines[first:])
    text = "\n".join([*lines[:first], *(line[2:] for line in lines[first:])])
    path = tmp_path / "esegeta.yaml"
    path.write_text(text, encoding="utf-8")
    keys = load_config(path).keys.dissection
    assert keys is not None
    assert keys.ablation is None and keys.trails is None
    default = DissectionKeys(layers="all", concepts={"liver": 1})
    for name in ("quantile", "min_iou", "chance"):
        assert getattr(keys, name) == getattr(default, name)
    lab.keys["dissection"] = parse_yaml(text, path).content["dissection"]
    save_image(tmp_path / "label.nii.gz", (noise() > 0).astype(np.uint8))
    lab.keys["data"]["cases"][0]["label"] = "label.nii.gz"
    result = lab.validate()
    assert result.exit_code == 0
    assert "concepts: liver, liver_surface, elsewhere" in result.stdout


@pytest.mark.slow
def test_the_starter_holds_features_inspect_and_examples_to_uncomment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = starter().splitlines()
    places = [lines.index(f) for f in lines if f.startswith(("# features:", "# dissection:"))]
    blocks = [line[2:] for line in lines[places[1] :]]
    Path("esegeta.yaml").write_text("\n".join([*lines[: places[0]], *blocks]), encoding="utf-8")
    result = esegeta("validate", "esegeta.yaml")
    assert result.exit_code == 0, result.output
    for command in ("features", "inspect", "examples"):
        assert f"valid for `esegeta {command}`" in result.stdout


def test_init_does_not_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    result = esegeta("init", path)
    assert result.exit_code == 2
    assert f"{path}: already exists" in result.stderr
    assert path.read_text() == "precious"


def test_init_writes_one_config(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    for words in ([first, second], [first, "-o", second]):
        result = esegeta("init", *words)
        assert result.exit_code == 2
        assert f"init: 2 files to write: {first}, {second}; name one" in result.stderr
    assert not first.exists() and not second.exists()


@pytest.mark.slow
def test_init_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    result = esegeta("init", tmp_path / "no" / "mine.yaml")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr

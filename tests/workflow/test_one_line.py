"""What `explain` and `init --from` say and write without a run's config: sizes, passes, times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.experiments import esegeta, noise, save_image, unet_lab, voxels


def model(folder: Path, ndim: int = 3) -> Path:
    """Return the config of a network."""
    (folder / "own").mkdir()
    return unet_lab(folder / "own", ndim=ndim, shape=(8,) * ndim).write()


def test_a_label_of_several_images_is_explained_without_looking_first(tmp_path: Path) -> None:
    named, out = model(tmp_path), tmp_path / "out"
    (tmp_path / "scans").mkdir()
    for name in "ab":
        save_image(tmp_path / "scans" / f"{name}.nii.gz", noise((9, 8, 8)))
    given = ("--label", "liver", "--over", "all")
    said = esegeta("explain", named, tmp_path / "scans", "-o", out, *given).output
    assert "2 done" in said
    assert "predicted in" not in said
    assert "method: saliency" in said
    assert "per case" not in said  # how long it takes is known of what was looked at


def test_the_size_of_a_label_in_a_picture_is_given_in_pixels(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (12, 10), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "x.png")
    out = tmp_path / "out"
    said = esegeta("explain", model(tmp_path, 2), tmp_path / "x.png", "-o", out).output
    (path,) = out.rglob("*_dseg.nii.gz")
    count = int((voxels(path) == 1).sum())
    assert count > 0
    assert f"  liver: {count} voxels  <- explained\n" in said


def test_mirrored_passes_and_long_times_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"saliency": 7.25, "input_x_gradient": 720.0, "random_map": 10_800.0}
    monkeypatch.setattr("esegeta.workflow.one_line.expected_seconds", lambda *of: times)
    image = save_image(tmp_path / "x.nii.gz", noise((9, 8, 8)))
    methods = [word for name in times for word in ("--method", name)]
    options = ("-o", tmp_path / "out", "--set", "inference.mirror=[0,1]", *methods)
    said = esegeta("explain", model(tmp_path), image, *options).output
    assert "4 mirrored passes per window; --set inference.mirror=[] is 4 times as fast" in said
    lines = [line for line in said.splitlines() if line.startswith("method: ")]
    waits = ("7.2 s", "12 min", "3.0 h")
    for line, name, wait in zip(lines, times, waits, strict=True):
        assert line.startswith(f"method: {name}, ")
        assert line.endswith(f"; about {wait} per case")


def test_init_without_images_writes_a_placeholder_image(tmp_path: Path) -> None:
    path = tmp_path / "it.yaml"
    done = esegeta("init", "--from", model(tmp_path), "-o", path)
    assert done.exit_code == 0, done.output
    keys = yaml.safe_load(path.read_text())
    assert keys["data"]["cases"] == [{"name": "case", "image": "image.nii.gz"}]
    assert keys["targets"][0]["label"] == "liver"

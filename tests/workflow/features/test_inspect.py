"""`esegeta inspect`: counts, maps on the image's grid, filters in the image's units."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.config import load_config
from esegeta.predict import Units, blend_units
from esegeta.report.inside_figures import filter_sheet
from esegeta.workflow.inside.acts import read
from esegeta.workflow.inside.weigh import layers_on_image, slopes_of
from esegeta.workflow.inspect import build_inspection
from esegeta.workflow.task import Desk, Silence
from tests.experiments import Lab, esegeta, noise, read_json, save_image, written
from tests.workflow.features.labs import inspect, inspect_lab


def rows(lab: Lab, name: str) -> list[dict[str, str]]:
    with (lab.root / "inspect" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_units_are_counted_drawn_and_written(ndim: int, tmp_path: Path) -> None:
    lab = inspect_lab(tmp_path, ndim)
    result = inspect(lab)
    assert result.exit_code == 0, result.output
    job = build_inspection(load_config(lab.config))
    desk = Desk(job, Silence())
    maps = []
    for case in job.basis.cases:
        volume = read(desk, case)
        (one,) = blend_units(job.watched, volume.batch, [Units("model.0", 0, 4)])
        maps.append(one.grid.to_voxels(one.data).flatten(1))
    table = rows(lab, "units.csv")
    assert len(table) == 4
    shown = [int(row["unit"]) for row in table if row["shown"] == "1"]
    spread = torch.tensor([float(row["std"]) for row in table])
    assert sorted(spread.topk(2).indices.tolist()) == shown
    (layer,) = rows(lab, "layers.csv")
    assert int(layer["dead"]) == 0
    folder = lab.root / "inspect" / "a"
    for unit in shown:
        path = folder / f"a_layer-model-0_unit-{unit}_activation.nii.gz"
        image, source = nib.load(path), nib.load(tmp_path / "a.nii.gz")
        assert image.shape == source.shape
        assert np.allclose(image.affine, source.affine)
        assert np.allclose(image.get_fdata().ravel(), maps[0][unit].numpy(), atol=1e-5)
    assert not (lab.root / "inspect" / "b").exists()
    before = written(lab.root / "inspect", "**/*.nii.gz")
    assert "5 skipped" in inspect(lab).output
    assert written(lab.root / "inspect", "**/*.nii.gz") == before


@pytest.mark.slow
def test_channels_of_a_dissection_are_shown(tmp_path: Path) -> None:
    lab = inspect_lab(tmp_path, by="dissection", channels=1, weights=False)
    table = lab.root / "dissection" / "units.csv"
    table.parent.mkdir(parents=True)
    lines = ["layer,unit,concept,iou,named", "model.0,1,fat,0.2,1", "model.0,3,bone,0.4,1"]
    table.write_text("\n".join([*lines, "model.0,2,air,0.9,0"]) + "\n")
    assert inspect(lab, "-q").exit_code == 0
    shown = [row["unit"] for row in rows(lab, "units.csv") if row["shown"] == "1"]
    assert shown == ["3"]


def test_named_channels_are_shown(tmp_path: Path) -> None:
    lab = inspect_lab(tmp_path, 2, channels=[2], cases="all", weights=False)
    assert inspect(lab, "-q").exit_code == 0
    found = sorted(path.name for path in (lab.root / "inspect").rglob("*.nii.gz"))
    assert found == [f"{case}_layer-model-0_unit-2_activation.nii.gz" for case in "ab"]


@pytest.mark.slow
def test_first_filters_are_in_units_of_the_image(tmp_path: Path) -> None:
    lab = inspect_lab(tmp_path)
    job = build_inspection(load_config(lab.write()))
    assert layers_on_image(job) == ["model.0.conv"]
    volume = job.basis.read(job.basis.cases[0])[0]
    assert slopes_of(job, volume) == pytest.approx([1 / 4])  # -2 .. 2 becomes 0 .. 1
    assert inspect(lab, "-q").exit_code == 0
    record = read_json(lab.root / "inspect" / "weights" / "weights.json")
    assert record["slopes"] == pytest.approx([0.25])
    with (lab.root / "inspect" / "weights" / "weights.csv").open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert [row["layer"] for row in table if row["in_image"] == "1"] == layers_on_image(job)


@pytest.mark.parametrize("named", [["model.1"], []], ids=["one layer", "none"])
def test_a_layer_without_a_named_channel_has_no_picture(named: list[str], tmp_path: Path) -> None:
    lab = inspect_lab(
        tmp_path, 2, layers=["model.0", "model.1"], by="dissection", channels=3, weights=False
    )
    units = lab.root / "dissection" / "units.csv"
    units.parent.mkdir(parents=True)
    lines = ["layer,unit,concept,iou,named", "model.0,2,air,0.9,0"]
    units.write_text("\n".join([*lines, *(f"{layer},5,fat,0.2,1" for layer in named)]) + "\n")
    assert inspect(lab, "-q").exit_code == 0
    folder = lab.root / "inspect" / "a"
    found = sorted(path.name for path in folder.iterdir() if path.suffix != ".json")
    wanted = ["layer-model-1_activations.png", "layer-model-1_unit-5_activation.nii.gz"]
    assert found == ([f"a_{name}" for name in wanted] if named else [])
    assert read_json(folder / "a_activations.json")["files"] == found[::-1]
    shown = {(row["layer"], row["unit"]) for row in rows(lab, "units.csv") if row["shown"] == "1"}
    assert shown == {(layer, "5") for layer in named}


@pytest.mark.slow
def test_maps_that_do_not_fit_into_memory_together_are_made_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for two and a half maps of model.0, and for less than one of model.2."""
    keys = {"layers": ["model.0", "model.2"], "weights": False, "channels": 1}
    lab = inspect_lab(tmp_path, 2, **keys)
    assert inspect(lab, "-q").exit_code == 0
    tables = {name: rows(lab, name) for name in ("units.csv", "layers.csv")}
    lab.keys["output"] = str(tmp_path / "small")
    passes: list[list[Units]] = []

    def noted(predictor: Any, image: torch.Tensor, wanted: list[Units]) -> Any:
        passes.append(list(wanted))
        return blend_units(predictor, image, wanted)

    monkeypatch.setattr("esegeta.workflow.inside.acts.ROOM_MB", 2.5 * (6 * 6 * 9) * 4 / 2**20)
    monkeypatch.setattr("esegeta.workflow.inside.acts.blend_units", noted)
    assert inspect(lab, "-q").exit_code == 0
    folder = tmp_path / "small" / "tiny" / "inspect"
    for name, table in tables.items():
        with (folder / name).open(encoding="utf-8", newline="") as stream:
            assert list(csv.DictReader(stream)) == table
    case = [(one.layer, one.first, one.stop) for part in passes[:4] for one in part]
    assert case == [("model.0", 0, 2), ("model.0", 2, 4), ("model.2", 0, 1), ("model.2", 1, 2)]
    assert [len(part) for part in passes] == [1] * 10  # of two cases, and two pictures of the first


@pytest.mark.parametrize("what", ["log", "constant", "made"])
def test_first_filters_keep_the_networks_unit_where_preprocessing_is_not_linear(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    where = "esegeta.workflow.inside.weigh.draw_filters"
    monkeypatch.setattr(where, lambda path, *rest: titles.append(rest[-1]) or path.touch())
    lab = inspect_lab(tmp_path, 2)
    if what == "log":
        lab.keys["data"]["preprocess"] = {"intensity": "log"}
        for name in "ab":
            save_image(tmp_path / f"{name}.nii.gz", 50 * np.abs(noise((12, 11))))
    if what == "constant":
        save_image(tmp_path / "a.nii.gz", np.ones((12, 11), dtype=np.float32))
    job = build_inspection(load_config(lab.write()))
    volume = job.basis.read(job.basis.cases[0])[0]
    if what == "made":  # of no file, such as one that is in memory
        assert slopes_of(job, volume) is not None
        assert slopes_of(job, replace(volume, origin=None)) is None
        return
    assert slopes_of(job, volume) is None
    result = inspect(lab)
    assert result.exit_code == 0
    words = "preprocessing is not linear in the file's grey values"
    record = read_json(lab.root / "inspect" / "weights" / "weights.json")
    assert record["slopes"] is None and words in record["notes"][0]
    assert words in " ".join(result.output.split())
    assert [title for title in titles if "model.0.conv" in title] == [
        "model.0.conv: 4 filters of 1 x 3x3"
    ]


NO_FIRST_FILTER = '''\
"""A network without a convolution, and one that shows its convolution something else."""

import torch
from torch import nn


class Without(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Tanh()

    def forward(self, x):
        y = self.first(x)
        return torch.cat([y, -y], dim=1)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x):
        return self.first(2 * x)
'''


@pytest.mark.parametrize(
    ("name", "note", "layers"),
    [
        ("Without", "the network has no 2D or 3D convolution", []),
        ("Scaled", "no convolution takes the image itself", [("first", "0")]),
    ],
)
def test_a_network_without_first_filters_is_noted(
    name: str, note: str, layers: list[tuple[str, str]], tmp_path: Path
) -> None:
    lab = inspect_lab(tmp_path, 2, layers=["first"], channels=1)
    (tmp_path / "no_first_filter.py").write_text(NO_FIRST_FILTER, encoding="utf-8")
    lab.keys["model"] = {"kind": "module", "class": f"no_first_filter:{name}"}
    assert inspect(lab, "-q").exit_code == 0
    record = read_json(lab.root / "inspect" / "weights" / "weights.json")
    assert record["notes"] == [f"inspect.weights: {note}"]
    table = rows(lab, "weights/weights.csv")
    assert [(row["layer"], row["in_image"]) for row in table] == layers


@pytest.mark.slow
def test_a_second_device_sees_the_same(tmp_path: Path, second: torch.device) -> None:
    lab = inspect_lab(tmp_path, 2)
    found = []
    for name in ("cpu", "testdevice"):
        lab.keys |= {"device": name, "output": str(tmp_path / name)}
        result = inspect(lab, "-q")
        assert result.exit_code == 0, result.output
        folder = tmp_path / name / "tiny" / "inspect"
        tables = [folder / "units.csv", folder / "layers.csv", folder / "weights" / "weights.csv"]
        found.append([path.read_bytes() for path in tables])
    assert found[0] == found[1]


def test_filters_lie_on_one_sheet() -> None:
    """Axis 0 to the right, axis 1 upwards, slices along axis 2 side by side."""
    weights = np.arange(2 * 1 * 2 * 3 * 2, dtype=float).reshape(2, 1, 2, 3, 2)
    sheet, width, height = filter_sheet(weights)
    assert (width, height) == (5, 3)
    assert np.array_equal(sheet[:3, :2], weights[0, 0, :, :, 0].T[::-1])
    assert np.array_equal(sheet[4:, 3:5], weights[1, 0, :, :, 1].T[::-1])
    assert np.isnan(sheet[3]).all()
    assert np.isnan(sheet[:, 2]).all()


@pytest.mark.slow
def test_figures_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.undo()
    lab = inspect_lab(tmp_path, channels=7)
    assert inspect(lab, "-q").exit_code == 0
    pictures = list((lab.root / "inspect").rglob("*.png"))
    assert len(pictures) >= 2
    for path in pictures:
        assert len(np.unique(np.asarray(Image.open(path)))) > 20
    result = esegeta("report", lab.root, "-q")
    assert result.exit_code == 0, result.output
    assert "Inside the network" in (lab.root / "report" / "index.html").read_text(encoding="utf-8")

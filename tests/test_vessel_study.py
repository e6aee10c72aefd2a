"""The networks and configs of the study of vessels: what their cards and pages say holds."""

from __future__ import annotations

import csv
import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.config import load_config
from esegeta.explain import EXPLAINERS, NULL, Saliency
from esegeta.targets import Scene, VoxelTarget, label_dice
from esegeta.volume import read_case, volume_from_tensor
from esegeta.workflow.build import build_experiment
from tests.experiments import esegeta, quick

__all__ = ["quick"]

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "configs" / "vessel_study"
MODELS = ROOT / "data_samples" / "models"
NOTEBOOK = ROOT / "docs" / "tutorial_vessels.ipynb"
NETWORKS = {
    "vessels_unet": "vessel_unet",
    "vessels_unet_ds": "vessel_unet_ds",
    "vessels_attention_unet": "vessel_attention_unet",
    "shortcut": "vessel_unet_shortcut",
}


def card_of(weights: str) -> dict[str, dict[str, float]]:
    """Return the table of a model card: a row a case, a column a figure."""
    text = (MODELS / f"{weights}.md").read_text(encoding="utf-8")
    lines = [line.strip("| ").split(" | ") for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    (_, *columns), _, *rows = lines
    return {row[0]: dict(zip(columns, map(float, row[1:]), strict=True)) for row in rows}


@pytest.mark.parametrize("name", [*NETWORKS, "shortcut_control"])
def test_configs_hold_the_methods_and_targets_of_the_study(name: str) -> None:
    config = load_config(STUDY / f"{name}.yaml")
    assert config.keys.name == name
    methods = {method.name for method in config.methods.values()}
    assert len(methods - set(NULL)) >= 20
    assert set(NULL) <= methods <= set(EXPLAINERS)
    weights = (STUDY / str(config.keys.model.weights)).resolve()
    assert weights.is_file() and weights.stat().st_size < 1e6
    if name.startswith("vessels"):
        assert [target.name for target in config.keys.targets] == [
            "vessels",
            "thin",
            "false_positives",
            "missed",
        ]


def test_only_the_network_trained_on_the_shortcut_needs_fat() -> None:
    honest = [card_of(weights) for name, weights in NETWORKS.items() if name != "shortcut"]
    taught = card_of(NETWORKS["shortcut"])
    cases = [case for case in taught if case.startswith("tof")]
    assert len(cases) == 12
    assert min(taught[case]["effect of fat"] for case in cases) > 2
    for card in honest:
        assert max(card[case]["effect of fat"] for case in cases) < 0.5
        assert min(card[case]["Dice"] for case in cases) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_dice_in_the_model_cards_equals_that_of_the_configs(name: str) -> None:
    every_case = [f"data.cases={STUDY / 'cases.csv'}"]
    experiment = build_experiment(load_config(STUDY / f"{name}.yaml", every_case))
    card = card_of(NETWORKS[name])
    found = {}
    for case in experiment.cases:
        volume, truth = read_case(case, experiment.preprocess, experiment.reading)
        scene = Scene(experiment.predictor, volume, truth)
        dice = label_dice(scene.labels, scene.logits, scene.require_truth("Dice"))["vessel"]
        found[case.name] = float(dice)
        # A voxel on the threshold may fall to either side on another machine.
        assert abs(found[case.name] - card[case.name]["Dice"]) < 2e-3
    assert len(found) == 12
    assert abs(np.mean(list(found.values())) - card["mean"]["Dice"]) < 1e-3


REAL = ROOT.parent / "shared" / "data" / "chris_MRA.nii.gz"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="a real angiogram that may not be shipped")
def test_networks_run_on_a_real_angiogram() -> None:
    """Its provider set the background to zero, so this says nothing of the networks' worth."""
    scan = nib.load(REAL)
    assert isinstance(scan, nib.Nifti1Image)
    grey = np.asarray(scan.dataobj, dtype=np.float32)[80:120, 120:160, 30:54]
    assert grey.max() > 0
    values = torch.from_numpy((grey - grey.mean()) / grey.std())[None]
    image = volume_from_tensor(values, spacing_mm=(0.52, 0.52, 0.65))
    experiment = build_experiment(load_config(STUDY / "vessels_unet.yaml"))
    scene = Scene(experiment.predictor, image)
    frozen = VoxelTarget("vessel", reduce="mean").freeze(scene)
    found = Saliency().explain(experiment.predictor, image, frozen)
    vessel = frozen.mask
    assert vessel is not None and 0 < int(vessel.sum()) < vessel.numel() / 4
    # What is called vessel is brighter than the rest, and the slopes there are the larger ones.
    assert values[0][vessel].mean() > values[0].mean() + 1
    steep = found.data.abs().sum(0)
    assert steep[vessel].mean() > 3 * steep.mean()


@pytest.mark.slow
def test_the_notebook_finds_the_fat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    runner = importlib.import_module("run_notebook")
    for name in ("data_samples", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "tutorial_vessels"}
    shown = list(runner.run_cells(runner.read_notebook(NOTEBOOK), space))
    assert sum("image/png" in out.get("data", {}) for outs in shown for out in outs) == 1
    share = {key: space["share_of_fat"](map_) for key, map_ in space["maps"].items()}
    assert share["deep_lift", "taught"] > 0.2 > 0.05 > share["deep_lift", "honest"]
    assert share["grad_cam", "taught"] < 0.01
    assert (tmp_path / "results" / "taught_deep_lift.nii.gz").is_file()


def test_the_notebook_is_small_and_its_outputs_are_there() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    outputs = [out for cell in cells for out in cell.get("outputs", ())]
    assert len(outputs) >= 4 and not any("ename" in out for out in outputs)
    assert NOTEBOOK.stat().st_size < 100_000


def first_case(folder: Path) -> Path:
    """Write a table of one case, as the study's own has twelve."""
    table = folder / "one.csv"
    data = ROOT / "data_samples" / "tof_phantom"
    table.write_text(f"name,image,label\ntof01,{data}/tof01.nii.gz,{data}/tof01_labels.nii.gz\n")
    return table


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_known_answer_is_found_by_the_study(tmp_path: Path) -> None:
    cut = [f"data.cases={first_case(tmp_path)}", "report=false"]
    share = {}
    for name in ("shortcut", "shortcut_control"):
        keys = load_config(STUDY / f"{name}.yaml").keys
        known = next(dict(m) for m in map(as_keys, keys.methods) if m.get("id") == "known_answer")
        sets = [*cut, f"methods={json.dumps(['deep_lift', known])}"]
        options = [part for one in sets for part in ("--set", one)]
        done = esegeta("run", STUDY / f"{name}.yaml", "-o", tmp_path / "out", *options)
        assert done.exit_code == 0, done.output
        with (tmp_path / "out" / name / "regions.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row["region"] == "fat":
                    share[name, row["method"]] = float(row["share"]), float(row["signed_sum"])
    card = card_of(NETWORKS["shortcut"])
    # Fat alone is worth what the logits change by without it, but for the z-score, which moves too.
    assert share["shortcut", "known_answer"][0] > 0.8
    worth = share["shortcut", "known_answer"][1]
    assert abs(worth / card["tof01"]["effect of fat"] - 1) < 0.4
    assert share["shortcut_control", "known_answer"][1] < 0
    assert share["shortcut", "deep_lift"][0] > 5 * share["shortcut_control", "deep_lift"][0]


def as_keys(method: object) -> dict[str, Any]:
    """Return the keys of a method, as they stand in the config."""
    return {"name": method} if isinstance(method, str) else dict(method)  # type: ignore[call-overload]


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_cut_of_the_study_is_scored_and_compared(tmp_path: Path) -> None:
    sets = [f"data.cases={first_case(tmp_path)}", 'methods=["saliency", "random_map"]']
    sets += ["scores=[{name: infidelity, perturbation: supervoxels, baseline: blur, samples: 10}]"]
    options = [part for one in sets for part in ("--set", one)]
    for name in ("vessels_unet", "vessels_attention_unet"):
        done = esegeta("run", STUDY / f"{name}.yaml", "-o", tmp_path, *options)
        assert done.exit_code == 0, done.output
    names = [str(tmp_path / name) for name in ("vessels_unet", "vessels_attention_unet")]
    assert esegeta("compare", *names, "-o", tmp_path / "compare").exit_code == 0
    with (tmp_path / "compare" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = {
        (row["model"], row["method"]): float(row["value"])
        for row in rows
        if row["score"] == "infidelity_relative" and row["target"] == "thin"
    }
    for name in ("vessels_unet", "vessels_attention_unet"):
        assert values[name, "saliency"] < 0.2 < 0.4 < values[name, "random_map"]
    assert {row["target"] for row in rows} == {"vessels", "thin", "false_positives", "missed"}


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("vessel_tables")


def test_intervals_use_students_t(tables: ModuleType) -> None:
    # By hand: mean 2.5, standard error sqrt(5 / 3) / 2, and t of 3 degrees of freedom, 3.1824.
    found = tables.Interval.of([1.0, 2.0, 3.0, 4.0])
    assert np.isclose(found.high - 2.5, 3.182446 * np.sqrt(5 / 3) / 2, rtol=1e-6)
    assert np.isclose(found.low + found.high, 5) and found.number == 4
    # For two looks at 95 % each must hold at 97.5 %.
    wider = tables.Interval.of([1.0, 2.0, 3.0, 4.0], looks=2)
    assert np.isclose(wider.high - 2.5, 4.176535 * np.sqrt(5 / 3) / 2, rtol=1e-6)
    assert tables.Interval.of([0.5]).words() == "0.50"


def test_the_page_has_the_tables_of_the_cards(tables: ModuleType) -> None:
    page = (ROOT / "docs" / "tutorial_vessels.md").read_text(encoding="utf-8")
    assert tables.networks_table() in page
    assert not re.findall(r"^[A-Z_]+$", page, re.MULTILINE)
    assert len(re.findall(r"^!\[", page, re.MULTILINE)) == 10


def test_tables_are_written_between_their_markers(tables: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- one -->\nold\n<!-- end of one -->\nb\n")
    for _ in range(2):
        assert tables.fill(page, {"one": "| \\1 |", "two": "no place"}) == ["one"]
        assert page.read_text() == "a\n<!-- one -->\n\n| \\1 |\n\n<!-- end of one -->\nb\n"

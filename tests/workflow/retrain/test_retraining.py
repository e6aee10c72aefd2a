"""Whole retrainings: what is trained, what is left behind, and what is left alone."""

import itertools
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from esegeta.config import load_config
from esegeta.explain import RandomMap
from esegeta.retraining import Training
from esegeta.retraining.samples import EMPTY, UNTOUCHED, Removal
from esegeta.workflow import Silence, build_experiment
from esegeta.workflow.retrain import build_retraining
from esegeta.workflow.retrain.material import map_cases, read_material
from esegeta.workflow.retrain.tasks import rank_samples
from esegeta.workflow.retrain.trainer import Trainer
from tests.experiments import noise, save_image, unet_lab
from tests.oracles import state_of
from tests.workflow.retrain.tasks import RetrainLab, half_task, small_task


def trainer_of(lab: RetrainLab, *, seed: int = 0) -> Trainer:
    """Return a trainer whose rankings are random."""
    built = build_retraining(build_experiment(load_config(lab.write())))
    material = read_material(built)
    maps = [torch.randn(truth.shape) for truth in material.truths]
    return Trainer(built, material, rank_samples(material, maps, seed))


def bits(network: nn.Module) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def unet_retrain_lab(folder: Path, ndim: int, *, cases: int, shape: tuple[int, ...]) -> RetrainLab:
    """Return a retraining of a U-Net with batch norms on noise with labels of noise."""
    lab = unet_lab(folder, cases=cases, shape=shape, ndim=ndim)
    for place, case in enumerate(lab.keys["data"]["cases"]):
        label = (noise(shape, seed=50 + place) > 0.5).astype(np.uint8)
        save_image(folder / f"{case['name']}_label.nii.gz", label)
        case["label"] = f"{case['name']}_label.nii.gz"
    lab.keys["retrain"] = {
        "fractions": [0.5],
        "iterations": 2,
        "batch_size": 2,
        "seeds": [0],
        "folds": 2,
    }
    return RetrainLab(lab.folder, lab.keys)


def test_networks_of_a_pair_start_alike_and_see_the_same_patches(ndim: int, tmp_path: Path) -> None:
    lab = unet_retrain_lab(tmp_path, ndim, cases=3, shape=(12, 11, 9)[:ndim])
    trainers = [trainer_of(lab), trainer_of(lab)]
    assert not torch.equal(trainers[0].orders[0], trainers[1].orders[0])
    # Nothing is removed, whatever the method and the mode: bit for bit the same network.
    ends = [
        UNTOUCHED,
        Removal("roar", "a", 0.0),
        Removal("roar", "b", 0.0),
        Removal("kar", "a", 1.0),
    ]
    trained = [
        bits(trainer.train(Training(end, 5, 1), Silence())[0])
        for trainer, end in itertools.product(trainers, ends)
    ]
    assert all(same(trained[0], other) for other in trained[1:])
    # And everything removed, too; but not the same as nothing removed.
    empty = [
        bits(trainer.train(Training(end, 5, 1), Silence())[0])
        for trainer in trainers
        for end in (EMPTY, Removal("kar", "a", 0.0))
    ]
    assert all(same(empty[0], other) for other in empty[1:])
    assert not same(trained[0], empty[0])
    for seed, fold in ((6, 1), (5, 0)):
        other = bits(trainers[0].train(Training(UNTOUCHED, seed, fold), Silence())[0])
        assert not same(trained[0], other)


def test_training_starts_from_new_weights_and_not_from_the_trained(tmp_path: Path) -> None:
    lab = unet_retrain_lab(tmp_path, 2, cases=2, shape=(12, 11))
    lab.keys["retrain"]["optimizer_args"] = {"lr": 0.0}
    before = bits(trainer_of(lab).train(Training(UNTOUCHED, 0, 0), Silence())[0])
    lab.keys["model"].pop("weights")
    after = bits(trainer_of(lab).train(Training(UNTOUCHED, 0, 0), Silence())[0])
    assert same(before, after)


def test_dropout_is_paired_and_the_random_state_is_left_alone(tmp_path: Path) -> None:
    lab = unet_retrain_lab(tmp_path, 2, cases=2, shape=(12, 11))
    lab.keys["model"]["args"]["dropout"] = 0.5
    lab.keys["model"].pop("weights")
    trainer = trainer_of(lab)
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    one = bits(trainer.train(Training(UNTOUCHED, 0, 0), Silence())[0])
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(12)
    assert same(one, bits(trainer.train(Training(UNTOUCHED, 0, 0), Silence())[0]))


def test_the_same_share_is_removed_from_every_image(tmp_path: Path) -> None:
    lab = unet_retrain_lab(tmp_path, 3, cases=1, shape=(12, 11, 9))
    trainer = trainer_of(lab)
    assert [sample.shape for sample in trainer.material.samples] == [(6, 11, 9), (6, 11, 9)]
    for sample in trainer.material.samples:
        damaged = trainer.image(sample, Removal("roar", "m", 0.3))
        missing = (damaged != sample.data).any(dim=0)
        assert int(missing.sum()) == math.floor(0.3 * 6 * 11 * 9 + 0.5)
        assert torch.equal(damaged[:, missing], sample.fill[:, missing])
        kept = trainer.image(sample, Removal("kar", "m", 0.3))
        assert torch.equal((kept != sample.data).any(dim=0), ~missing)


def test_the_trained_network_is_left_as_it_was(tmp_path: Path) -> None:
    lab = unet_retrain_lab(tmp_path, 2, cases=2, shape=(12, 11))
    experiment = build_experiment(load_config(lab.write()))
    before = state_of(experiment.predictor.network)
    from esegeta.workflow.retrain import run_retraining

    outcome = run_retraining(build_retraining(experiment))
    assert outcome.exit_code == 0
    assert state_of(experiment.predictor.network) == before


@pytest.mark.slow
def test_the_files_and_tables_of_a_study(tmp_path: Path) -> None:
    lab = small_task(tmp_path, fractions=[0.2, 0.7], seeds=[3, 0])
    result = lab.retrain()
    assert result.exit_code == 0, result.output
    folder = lab.retrain_folder
    assert {path.name for path in folder.iterdir()} == {
        "retrain.csv",
        "summary.csv",
        "retrain.png",
        "retrain.json",
        ".journal.jsonl",
        "units",
    }
    assert lab.leftovers() == []
    rows = lab.table("retrain.csv")
    assert list(rows[0]) == ["mode", "method", "fraction", "seed", "fold", "label", "dice"]
    found = {tuple(row.values())[:-1] for row in rows}
    pairs = list(itertools.product((3.0, 0.0), (0.0, 1.0), ("liver", "mean")))
    curves = itertools.product(("roar", "kar"), ("input_x_gradient", "random"), (0.2, 0.7))
    ends = itertools.product(("roar", "kar"), ("reference",), (0.0, 1.0))
    assert found == {(*curve, *pair) for curve in (*curves, *ends) for pair in pairs}
    assert len(rows) == len(found)
    assert len(lab.units()) == 4 * (2 + 2 * 2 * 2)
    summary = lab.table("summary.csv")
    assert list(summary[0]) == [
        *("mode", "method", "label", "fraction", "n", "mean", "low", "high"),
        *("gain_over_random", "gain_low", "gain_high"),
    ]
    for row in summary:
        point = (row["mode"], row["method"], row["fraction"], row["label"])
        assert row["n"] == 4
        assert row["mean"] == pytest.approx(np.mean(lab.dice(*point)))
    record = lab.retrain_record()
    assert record["state"] == "complete"
    assert record["recipe"]["loss_args"] == {"to_onehot_y": True, "softmax": True}
    assert record["recipe"]["patch"] == [16, 16]
    assert record["methods"]["random"] == {"sigma_mm": 0.0, "seed": 3}
    assert record["versions"]["torch"] == torch.__version__
    assert {unit["status"] for unit in record["units"]} == {"done"}
    assert all(unit["seconds"] > 0 for unit in record["units"])
    assert not (lab.root / "run.json").exists()


def test_plain_lines_show_progress(tmp_path: Path) -> None:
    lines = small_task(tmp_path, modes=["kar"]).retrain().stdout.splitlines()
    assert lines[0].startswith("note: model.class tiny_networks:Pointwise is code")
    assert "[1/8] reference / untouched / seed 0, fold 0 ..." in lines
    assert any(line.startswith("[8/8] random / kar 0.5 / seed 0, fold 1: done") for line in lines)
    assert any("input_x_gradient / map of c0" in line for line in lines)
    assert lines[-1].startswith("8 done, 0 skipped, 0 failed in ")
    assert lines[-1].endswith(f"results in {tmp_path / 'out' / 'tiny' / 'retrain'}")


@pytest.mark.slow
def test_the_number_of_windows_is_known_beforehand(tmp_path: Path) -> None:
    class Hearing(Silence):
        def __init__(self) -> None:
            self.begun: list[tuple[str, int | None]] = []
            self.windows: list[int] = []

        def begin(self, name: str, units: int = 0, windows: int | None = None) -> None:
            self.begun.append((name, windows))
            self.windows.append(0)

        def advance(self, windows: int) -> None:
            self.windows[-1] += windows

    from esegeta.workflow.retrain import run_retraining

    lab = unet_retrain_lab(tmp_path, 2, cases=3, shape=(12, 11))
    listener = Hearing()
    run_retraining(build_retraining(build_experiment(load_config(lab.write()))), listener)
    begun = dict(zip(listener.begun, listener.windows, strict=True))
    trainings = {name: (told, ran) for (name, told), ran in begun.items() if "seed" in name}
    assert len(trainings) == 12
    # Two steps of two patches, and four windows an image: fold 0 is tested on two of three.
    for name, (told, ran) in trainings.items():
        assert told == ran == 4 + 4 * (2 if name.endswith("fold 0") else 1)


@pytest.mark.slow
def test_a_single_case_is_cut_into_slabs_with_a_note(tmp_path: Path) -> None:
    lab = unet_retrain_lab(tmp_path, 2, cases=1, shape=(12, 11, 9))
    lab.keys["inference"]["slice_axis"] = 0
    lab.keys["retrain"]["folds"] = 3
    result = lab.retrain()
    assert result.exit_code == 0, result.output
    assert "note: a single case: its 3 folds are slabs along axis 0 (12 voxels)" in result.stdout
    notes = lab.retrain_record()["notes"]
    assert any("a single case" in note for note in notes)
    assert "note: a single case" in lab.retrain().stdout  # nothing is left to do
    assert lab.retrain_record()["notes"] == notes
    lab.keys["retrain"]["folds"] = 13
    result = lab.retrain()
    assert result.exit_code == 2
    assert "13 slabs of a single case with 12 voxels along axis 0" in result.stderr


def test_labels_that_a_fold_lacks_are_named(tmp_path: Path) -> None:
    lab = unet_retrain_lab(tmp_path, 2, cases=2, shape=(12, 11))
    lab.keys["labels"] = {1: "liver"}
    save_image(tmp_path / "b_label.nii.gz", np.zeros((12, 11), np.uint8))
    result = lab.retrain()
    assert "note: fold 0: no training image has liver" in result.stdout
    assert "note: fold 1: no test image has liver" in result.stdout
    assert math.isnan(lab.dice("roar", "reference", 0.0)[1])
    (row,) = (
        row
        for row in lab.table("summary.csv")
        if (row["mode"], row["method"], row["fraction"], row["label"])
        == ("roar", "reference", 0, "liver")
    )
    assert row["n"] == 1


@pytest.mark.slow
def test_cases_of_different_shapes_and_labels_with_gaps_are_retrained(
    ndim: int, activation: str, tmp_path: Path
) -> None:
    lab = unet_retrain_lab(tmp_path, ndim, cases=3, shape=(12, 11, 9)[:ndim])
    small = (7, 9, 6)[:ndim]
    save_image(tmp_path / "b.nii.gz", noise(small))
    save_image(tmp_path / "b_label.nii.gz", np.full(small, 4, np.uint8))
    lab.keys["labels"] = {1: "liver", 4: "bone"}
    outputs = 3 if activation == "softmax" else 2
    lab.keys["model"]["args"]["out_channels"] = outputs
    lab.keys["model"].pop("weights")
    lab.keys["activation"] = activation
    lab.keys["targets"][0]["over"] = "all"
    result = lab.retrain("-q")
    assert result.exit_code == 0, result.output
    labels = {row["label"] for row in lab.table("retrain.csv")}
    assert labels == {"liver", "bone", "mean"}


def test_a_random_map_of_the_config_serves_as_the_random_ranking(tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    lab.keys["methods"] = ["saliency", {"name": "random_map", "id": "chance", "seed": 9}]
    built = build_retraining(build_experiment(load_config(lab.write())))
    assert (built.random, list(built.methods)) == ("chance", ["saliency", "chance"])
    lab.keys["methods"] = ["saliency", {"name": "random_map", "sigma_mm": 4.0}]
    built = build_retraining(build_experiment(load_config(lab.write())))
    assert (built.random, list(built.methods)) == ("random", ["saliency", "random_map", "random"])
    assert built.methods["random"] == RandomMap(seed=3)
    assert replace(built).label == "liver"


def test_the_random_ranking_removes_other_voxels_from_every_image(tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    built = build_retraining(build_experiment(load_config(lab.write())))
    material = read_material(built)
    maps = map_cases(built, "random", material, Silence())
    assert maps[0].shape == maps[1].shape
    assert abs(float(np.corrcoef(maps[0].flatten(), maps[1].flatten())[0, 1])) < 0.25
    again = map_cases(built, "random", material, Silence())
    assert all(torch.equal(one, other) for one, other in zip(maps, again, strict=True))


def test_networks_that_learn_nothing_get_a_note(tmp_path: Path) -> None:
    lab = half_task(tmp_path)
    lab.keys["retrain"] |= {"iterations": 1, "optimizer_args": {"lr": 0.0}, "modes": ["roar"]}
    result = lab.retrain()
    assert result.exit_code == 0
    assert "note: liver: trained on untouched images, the Dice is only" in result.stdout
    assert any("only" in note for note in lab.retrain_record()["notes"])


def test_fractions_0_and_1_are_the_reference_networks(tmp_path: Path) -> None:
    lab = small_task(tmp_path, fractions=[0, 0.5, 1], modes=["roar"])
    assert lab.retrain("-q").exit_code == 0
    assert len(lab.units()) == 2 * (2 + 2)


@pytest.mark.parametrize("over", ["label", "false_negative", "predicted"])
def test_targets_over_the_ground_truth_are_noted_as_a_leak(over: str, tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    lab.keys["targets"] = [{**lab.keys["targets"][0], "over": over}]
    built = build_retraining(build_experiment(load_config(lab.write())))
    told = [note for note in built.notes if "reveals the label" in note]
    assert len(told) == (over != "predicted")


def leaks_told(lab: RetrainLab) -> list[str]:
    built = build_retraining(build_experiment(load_config(lab.write())))
    return [note for note in built.notes if "reveals the label" in note]


def test_a_nested_combination_over_the_ground_truth_is_noted_as_a_leak(tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    (plain,) = lab.keys["targets"]
    lab.keys["targets"] = [
        {**plain, "name": "missed", "over": "false_negative"},
        {"name": "inner", "combine": {"missed": 1.0}},
        {"name": "outer", "combine": {"inner": 0.5}},
    ]
    lab.keys["retrain"]["target"] = "outer"
    assert len(leaks_told(lab)) == 1


def test_a_copy_of_the_ground_truth_is_noted_as_a_leak(tmp_path: Path) -> None:
    """A mask to look at, and the features of a method, may be the label file or a copy of it."""
    lab = small_task(tmp_path)
    for case in lab.keys["data"]["cases"]:
        shutil.copy(lab.folder / case["label"], lab.folder / f"{case['name']}_mask.nii.gz")
    (plain,) = lab.keys["targets"]
    lab.keys["targets"] = [{**plain, "over": "roi", "roi": "{case}_mask.nii.gz"}]
    (of_target,) = leaks_told(lab)
    assert of_target.startswith("target ")
    lab.keys["targets"] = [plain]
    features = {"kind": "atlas", "file": "{case}_label.nii.gz"}
    lab.keys["methods"] = ["saliency", {"name": "feature_ablation", "features": features}]
    (of_method,) = leaks_told(lab)
    assert of_method.startswith('method "feature_ablation" ')

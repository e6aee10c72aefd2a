"""What is wrong with a block `retrain`: refused with its line, before anything is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.experiments import Lab, esegeta, refused
from tests.workflow.retrain.tasks import RetrainLab, small_task

Change = Callable[[dict[str, Any]], Any]


def block(**keys: Any) -> Change:
    return lambda config: config["retrain"].update(keys)


KEYS: dict[str, tuple[Change, str, str, str]] = {
    "unknown key": (block(iteration=3), "iteration: 3", "retrain.iteration: unknown", "iterations"),
    "unknown mode": (block(modes=["raor"]), "- raor", 'retrain.modes[0]: "raor"', "roar"),
    "no mode": (block(modes=[]), "modes:", "retrain.modes: ", "at least 1"),
    "twice": (block(seeds=[4, 4]), "seeds:", "retrain.seeds: 4 is listed twice", ""),
    "fraction": (block(fractions=[0.5, 1.5]), "- 1.5", "retrain.fractions[1]: ", "at most 1"),
    "baseline": (block(baseline="maen"), "baseline:", 'retrain.baseline: "maen"', '"mean"'),
    "width": (
        block(baseline={"kind": "mean", "sigma_mm": 3}),
        "baseline:",
        "`sigma_mm` belongs to kind: blur",
        "",
    ),
    "loss": (block(loss="DiceCELos"), "loss: ", 'monai.losses has no "DiceCELos"', '"DiceCELoss"'),
    "optimizer": (block(optimizer="adamw"), "optimizer: ", 'no "adamw"', 'mean "AdamW"?'),
    "base class": (block(optimizer="Optimizer"), "optimizer: ", 'no "Optimizer"', ""),
    "rank": (block(rank_by="magnitud"), "rank_by", '"magnitud" is not known', '"magnitude"'),
    "schedule": (block(schedule="cosin"), "schedule", '"cosin" is not known', '"cosine"'),
    "folds": (block(folds=1), "folds: 1", "retrain.folds: ", "at least 2"),
    "patch": (block(patch=8), "patch: 8", "retrain.patch: give a list", "[96, 96]"),
}


@pytest.mark.parametrize("command", ["run", "validate", "retrain"])
@pytest.mark.parametrize("fault", KEYS)
def test_invalid_keys_are_refused_by_every_command(
    fault: str, command: str, tmp_path: Path
) -> None:
    change, text, what, hint = KEYS[fault]
    lab = small_task(tmp_path)
    change(lab.keys)
    result = esegeta(command, lab.write())
    refused(result, lab, f"{lab.config}:{lab.line_of(text)}: ", what, hint)


def _without_truth(config: dict[str, Any]) -> None:
    config["data"]["cases"][1].pop("label")


def _components(config: dict[str, Any]) -> None:
    config["targets"] = [{"name": "liver", "label": "liver", "component": "each"}]


def _id(name: str) -> Change:
    return lambda config: config["methods"].append({"name": "saliency", "id": name})


MEANING: dict[str, tuple[Change, str, str, str]] = {
    "target": (block(target="livr"), "target: livr", 'no target "livr"', '"liver"'),
    "components": (_components, "retrain:", '"liver" is split into components', "largest"),
    "truth": (_without_truth, "cases:", "case c1 has no ground truth", "label:"),
    "folds": (block(folds=5), "folds: 5", "5 folds for 4 cases", "at most 4"),
    "loss argument": (
        block(loss_args={"smoth_nr": 1.0}),
        "smoth_nr",
        "retrain.loss_args.smoth_nr: DiceCELoss has no such argument",
        '"smooth_nr"',
    ),
    "optimizer argument": (
        block(optimizer_args={"lrr": 1.0}),
        "lrr",
        "retrain.optimizer_args.lrr: Adam has no such argument",
        '"lr"',
    ),
    "patch": (block(patch=[8, 8, 8]), "patch:", "retrain.patch has 3 lengths", "give 2 lengths"),
    "loss that is no number": (
        block(loss="DiceLoss", loss_args={"reduction": "none"}),
        "loss: ",
        "retrain.loss: DiceLoss gives",
        "reduction",
    ),
    "random": (_id("random"), "name: saliency", 'the id "random" is reserved', "`id`"),
    "mean": (
        lambda config: config.update(labels={1: "mean"}, targets=[{"label": 1, "over": "all"}]),
        "labels:",
        'labels: "mean" stands for the mean over labels',
        "another name",
    ),
    "reference beside a random map": (
        lambda config: config["methods"].extend(
            ["random_map", {"name": "saliency", "id": "reference"}]
        ),
        "name: saliency",
        'the id "reference" is reserved',
        "`id`",
    ),
    "reference": (_id("reference"), "name: saliency", 'the id "reference" is reserved', "`id`"),
}


@pytest.mark.parametrize("command", ["validate", "retrain"])
@pytest.mark.parametrize("fault", MEANING)
def test_a_study_that_cannot_be_trained_is_refused(
    fault: str, command: str, tmp_path: Path
) -> None:
    change, text, what, hint = MEANING[fault]
    lab = small_task(tmp_path)
    change(lab.keys)
    result = esegeta(command, lab.write())
    refused(result, lab, f"{lab.config}:{lab.line_of(text)}: ", what, hint)
    assert result.stderr.count(str(lab.config)) == 1


def test_a_run_ignores_the_block(tmp_path: Path) -> None:
    lab = small_task(tmp_path, target="livr")
    assert lab.run("-q").exit_code == 0
    assert not lab.retrain_folder.exists()


def test_a_config_without_the_block_is_refused(tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    lab.keys.pop("retrain")
    refused(lab.retrain(), lab, "has no block `retrain`", "retrain: {}")
    assert lab.validate().exit_code == 0


def test_a_patch_size_that_the_network_cannot_take_is_refused(tmp_path: Path) -> None:
    lab = unet_retrain_lab(tmp_path)
    lab.keys["retrain"]["patch"] = [7, 8, 8]
    result = lab.retrain()
    refused(result, lab, f"{lab.config}:", "retrain.patch: the network cannot take 7x8x8")
    assert "must be a multiple of 2" in result.stderr


def test_a_network_that_does_not_depend_on_the_seed_is_refused(tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    module = (tmp_path / "tiny_networks.py").read_text()
    (tmp_path / "fixed_networks.py").write_text(module + FIXED, encoding="utf-8")
    lab.keys["model"] |= {"class": "fixed_networks:Fixed"}
    refused(lab.retrain(), lab, "the same with two seeds", "random state")


FIXED = '''

class Fixed(Pointwise):
    """Its weights are always these."""

    def __init__(self, **args):
        super().__init__(**args)
        nn.init.ones_(self.head.weight)
        nn.init.zeros_(self.head.bias)
'''


def unet_retrain_lab(folder: Path) -> RetrainLab:
    from tests.workflow.retrain.test_retraining import unet_retrain_lab as make

    return make(folder, 3, cases=2, shape=(12, 11, 9))


def test_validate_says_what_would_be_trained(tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    result = lab.validate()
    assert result.exit_code == 0
    assert "retrain: roar, kar by input_x_gradient, random" in result.stdout
    assert "12 networks of 2 iterations of 4 patches of 16x16" in result.stdout
    assert not (tmp_path / "out").exists()
    assert isinstance(lab, Lab)

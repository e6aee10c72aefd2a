"""The networks and configs of the study of vessels: what their cards and pages say holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from esegeta.config import load_config
from esegeta.explain import EXPLAINERS, NULL
from esegeta.targets import Scene, label_dice
from esegeta.volume import read_case
from esegeta.workflow.build import build_experiment

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "configs" / "vessel_study"
MODELS = ROOT / "data_samples" / "models"
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
def test_configs_ask_what_the_study_asks(name: str) -> None:
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


def test_only_the_network_that_was_taught_it_needs_fat() -> None:
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
def test_dice_of_the_cards_is_that_of_the_configs(name: str) -> None:
    experiment = build_experiment(load_config(STUDY / f"{name}.yaml"))
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

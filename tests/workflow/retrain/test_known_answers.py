"""Where the label lies in half of every image, a map of that half is worth what it should be."""

from pathlib import Path

import pytest

from tests.workflow.retrain.tasks import RetrainLab, half_task

TRUE_MAP = "input_x_gradient"
LOST = 0.4
"""What is left where nothing but the shape of the hole is: Dice of predicting all of the half is
2p / (p + 1) for labels of p = 0.2 of its voxels, 0.33 on average."""


@pytest.fixture
def lab(ndim: int, activation: str, tmp_path: Path) -> RetrainLab:
    return half_task(tmp_path, ndim=ndim, activation=activation)


@pytest.mark.slow
@pytest.mark.parametrize(("ndim", "activation"), [(2, "sigmoid"), (3, "softmax")], indirect=True)
def test_roar_and_kar_separate_a_true_map_from_a_random_one(lab: RetrainLab) -> None:
    result = lab.retrain("-q")
    assert result.exit_code == 0, result.output
    untouched = lab.dice("roar", "reference", 0.0)
    assert len(untouched) == 2
    assert min(untouched) > 0.95
    assert max(lab.dice("roar", "reference", 1.0)) < LOST
    assert lab.dice("kar", "reference", 1.0) == untouched

    assert max(lab.dice("roar", TRUE_MAP, 0.5)) < LOST
    assert min(lab.dice("roar", "random", 0.5)) > 0.45
    assert min(lab.dice("kar", TRUE_MAP, 0.5)) > 0.95
    assert max(lab.dice("kar", "random", 0.5)) < 0.8

    # The true map's half holds all of the label: ROAR removes it whole, KAR keeps it whole.
    for mode, removed in (("roar", 1.0), ("kar", 0.0)):
        for unit in lab.results(mode, TRUE_MAP):
            assert [image["removed"] for image in unit["images"].values()] == [
                {"liver": removed}
            ] * 2

    gains = {
        (row["mode"], row["method"]): row["gain_over_random"]
        for row in lab.table("summary.csv")
        if row["label"] == "liver"
    }
    assert gains["roar", TRUE_MAP] > 0.05
    assert gains["kar", TRUE_MAP] > 0.05
    assert all(gains[mode, "random"] != gains[mode, "random"] for mode in ("roar", "kar"))


@pytest.mark.slow
def test_the_worst_map_is_worse_than_chance(tmp_path: Path) -> None:
    lab = half_task(tmp_path)
    # By value, the least of a map whose sign is turned is the half that matters.
    lab.keys["targets"] = [
        {"name": "plain", "label": "liver", "over": "all"},
        {"name": "turned", "combine": {"plain": -1.0}},
    ]
    lab.keys["retrain"] |= {"target": "turned", "rank_by": "value", "fractions": [0.5]}
    assert lab.retrain("-q").exit_code == 0
    assert min(lab.dice("roar", TRUE_MAP, 0.5)) > 0.95
    assert max(lab.dice("kar", TRUE_MAP, 0.5)) < LOST

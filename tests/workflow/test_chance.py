"""A map that does not beat a random one says so: in its sidecar and in the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esegeta.config import load_config
from esegeta.report.contents import sealed
from esegeta.volume import write_json
from esegeta.workflow.build import Experiment, build_experiment
from esegeta.workflow.chance import doubts_of_chance
from tests.experiments import Lab, unet_lab

DELETION = {"name": "deletion", "features": {"kind": "blocks", "side_mm": 6}, "steps": 3}
WORDS = "does not beat a random map: deletion is"


def lab_with(tmp_path: Path, methods: list[str]) -> Lab:
    lab = unet_lab(tmp_path, shape=(9, 8, 8))
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["methods"] = methods
    lab.keys["scores"] = [DELETION, {"name": "sensitivity_max", "samples": 1}, "halo_profile"]
    return lab


def warnings_of(lab: Lab, method: str) -> list[str]:
    return [text for text in lab.sidecar("a", "liver", method)["warnings"] if WORDS in text]


def let_random_have(lab: Lab, value: float) -> None:
    """Change what the finished random map has reached."""
    path = lab.file("a", "liver", "random_map", "attrmap.json")
    sidecar = json.loads(path.read_text())
    for row in sidecar["scores"]:
        row["value"] = value if row["score"] == "deletion" else row["value"]
    path.write_text(json.dumps(sealed(sidecar)))


@pytest.mark.slow
def test_the_random_map_is_made_first_and_others_are_compared_with_it(
    tmp_path: Path, quick: None
) -> None:
    lab = lab_with(tmp_path, ["saliency", "random_map"])
    result = lab.run()
    assert result.exit_code == 0, result.output
    assert [row["method"] for row in lab.scores()][:: len(lab.scores()) // 2] == [
        "saliency",
        "random_map",
    ]
    assert warnings_of(lab, "random_map") == []
    let_random_have(lab, -9.0)
    worse = lab.run()
    assert worse.exit_code == 0, worse.output
    assert set(lab.statuses().values()) == {"skipped"}
    (text,) = warnings_of(lab, "saliency")
    assert text.endswith("that of random_map -9")
    assert "does not beat a random map" in " ".join(worse.output.split())
    let_random_have(lab, 9.0)
    assert "does not beat" not in lab.run().output
    assert warnings_of(lab, "saliency") == []


@pytest.mark.slow
def test_no_chance_warning_without_a_random_map(tmp_path: Path, quick: None) -> None:
    lab = lab_with(tmp_path, ["saliency"])
    assert lab.run().exit_code == 0
    assert lab.sidecar("a", "liver", "saliency")["chance_warnings"] == []


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Experiment]:
    """Return an experiment that has made no map yet."""
    lab = lab_with(tmp_path_factory.mktemp("chance"), ["saliency", "random_map"])
    lab.keys["scores"] += ["completeness", {"name": "random_map_baseline", "base": DELETION}]
    lab.root.joinpath("a").mkdir(parents=True)
    return lab, build_experiment(load_config(lab.write()))


OF_ONE = "deletion is {}, that of random_map {}"
OF_MANY = "random_map_baseline is 0.3, the share of random maps that do as well on deletion"


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        ({"deletion": 0.4}, {"deletion": 0.5}, []),
        ({"deletion": 0.3}, {"deletion": 0.3}, [OF_ONE.format(0.3, 0.3)]),
        ({"deletion": 0.4}, {"deletion": 0.3}, [OF_ONE.format(0.4, 0.3)]),
        ({"deletion": 0.4}, {}, []),
        ({}, {"deletion": 0.2}, []),
        ({"deletion": 0.4}, {"deletion": None}, []),
        ({"completeness": 0.4}, {"completeness": 0.2}, []),
        ({"random_map_baseline": 0.05}, {}, []),
        (
            {"random_map_baseline": 0.3, "deletion": 0.4},
            {"deletion": 0.2},
            [OF_MANY, OF_ONE.format(0.4, 0.2)],
        ),
    ],
    ids=range(9),
)
def test_a_map_is_compared_with_the_scores_of_the_random_map(
    own: dict[str, float],
    other: dict[str, float | None],
    said: list[str],
    compared: tuple[Lab, Experiment],
) -> None:
    """Scores that grow with the map do not count, nor those without a value for either map."""
    lab, experiment = compared
    names = {"case": "a", "target": "liver", "method": "random_map"}
    theirs = [{**names, "score": k, "value": v, "better": "lower"} for k, v in other.items()]
    path = lab.file("a", "liver", "random_map", "attrmap.json")
    write_json(path, sealed({"scores": theirs}))
    rows = [{"score": name, "value": value} for name, value in own.items()]
    expected = (f"does not beat a random map: {'; '.join(said)}",) if said else ()
    assert doubts_of_chance(experiment, {**names, "method": "saliency"}, rows) == expected
    assert doubts_of_chance(experiment, names, rows) == ()

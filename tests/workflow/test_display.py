"""What a run says to viewers: ranges, storage, colours of labels, doubts on pictures."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from esegeta.report import ScoreRow
from esegeta.score import RandomMapBaseline
from esegeta.workflow.scored import Scored, doubts_of_scores
from tests.experiments import Lab, pointwise_lab, quick, refused, voxels

__all__ = ["quick"]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = pointwise_lab(tmp_path, [[0.0], [3.0]], [0.0, 0.0])
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["methods"] = ["input_x_gradient", {"name": "saliency", "absolute": True}]
    return lab


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_sidecars_say_how_maps_are_shown(lab: Lab) -> None:
    assert lab.run().exit_code == 0
    signed, strength = (lab.sidecar("a", "liver", m) for m in ("input_x_gradient", "saliency"))
    array = voxels(lab.file("a", "liver", "input_x_gradient"))
    high = np.percentile(np.abs(array[array != 0]), 99.5)
    assert signed["display"]["high"] == pytest.approx(float(high))
    assert signed["display"]["low"] == pytest.approx(float(high) / 100)
    assert (signed["display"]["colormap"], signed["display"]["negative"]) == ("red", "blue")
    assert strength["display"]["negative"] is None
    assert signed["colours"] == ["red: raises the liver score", "blue: lowers it"]
    assert signed["storage"] == {"dtype": "float32"}
    header = nib.load(lab.file("a", "liver", "saliency")).header
    assert header["cal_min"] == 0 < header["cal_max"]
    assert header["descrip"].item().startswith(b"saliency: liver [logit x voxels / input unit")


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_maps_as_int16_are_half_the_size_and_say_their_error(lab: Lab) -> None:
    assert lab.run().exit_code == 0
    exact = voxels(lab.file("a", "liver", "input_x_gradient"))
    lab.keys["dtype"] = "int16"
    assert lab.run().exit_code == 0
    assert set(lab.statuses().values()) == {"done"}
    path = lab.file("a", "liver", "input_x_gradient")
    assert nib.load(path).get_data_dtype() == np.int16
    error = np.abs(voxels(path) - exact).max()
    assert 0 < error < 1e-4 * np.abs(exact).max()
    storage = lab.sidecar("a", "liver", "input_x_gradient")["storage"]
    assert storage["dtype"] == "int16"
    assert storage["largest_error"] == pytest.approx(float(error), rel=1e-3)
    assert lab.run().exit_code == 0
    assert set(lab.statuses().values()) == {"skipped"}


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_labels_have_the_colours_of_the_config(lab: Lab) -> None:
    table = lab.root / "a" / "a_desc-prediction_dseg.tsv"
    assert lab.run().exit_code == 0
    assert "liver\t#e69f00" in table.read_text(encoding="utf-8")
    lab.keys["colors"] = {"liver": "#A01B2F"}
    assert lab.run().exit_code == 0
    assert "liver\t#a01b2f" in table.read_text(encoding="utf-8")
    assert set(lab.statuses().values()) == {"skipped"}


@pytest.mark.parametrize(
    ("keys", "fragment"),
    [
        ({"colors": {"livr": "#a01b2f"}}, 'no label "livr"; did you mean "liver"?'),
        ({"colors": {"liver": "red"}}, '"red" of liver is not a colour'),
        ({"dtype": "int8"}, "dtype"),
    ],
)
def test_invalid_display_keys_are_refused(lab: Lab, keys: dict[str, Any], fragment: str) -> None:
    lab.keys |= keys
    refused(lab.run(), lab, fragment)


def scored(p: float | None, edges: float | None) -> Scored:
    names = ("a", "liver", "saliency")
    values = {"random_map_baseline": p, "random_map_baseline_edges": edges}
    return Scored(tuple(ScoreRow(*names, name, value, "lower") for name, value in values.items()))


def test_maps_no_better_than_noise_are_warned_of() -> None:
    scores = {"random_map_baseline": RandomMapBaseline(samples=19)}
    # p = (1 + 9) / (1 + 19): nine of nineteen random maps do as well.
    assert doubts_of_scores(scored(0.5, 0.1), scores) == [
        "no better than noise: 9 of 19 random maps do at least as well on deletion"
    ]
    assert doubts_of_scores(scored(0.05, -0.1), scores) == [
        "worse than the edges of the image on deletion"
    ]
    assert doubts_of_scores(scored(0.05, 0.1), scores) == []
    assert doubts_of_scores(scored(None, None), scores) == []
    # With few random maps p cannot fall below 0.05, though the map beats them all.
    few = {"random_map_baseline": RandomMapBaseline(samples=3)}
    assert doubts_of_scores(scored(0.25, 0.1), few) == []

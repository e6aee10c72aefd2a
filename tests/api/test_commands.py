"""The commands as functions: the same files as the command line, and what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import esegeta
from esegeta.api import Results
from esegeta.errors import ConfigError, OutputError, RunError
from esegeta.results_folder import COMPARISON_RECORD, PARTS, RUN_RECORD
from tests.experiments import Lab, quick, save_image, unet_lab, voxels

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = unet_lab(tmp_path)
    lab.keys["scores"] = ["gini"]
    return lab


def test_run_returns_maps_scores_and_record(lab: Lab) -> None:
    results = esegeta.run(lab.write())
    assert results.folder == lab.root and results.failures == ()
    assert results.maps == (lab.file("a", "liver", "saliency"),)
    assert results.scores == lab.scores() and results.scores[0]["score"] == "gini"
    assert results.record == lab.record()
    assert repr(results).startswith(f"<Results {lab.root}: 1 maps, ")
    assert not (lab.root / "report").exists()
    with pytest.raises(OutputError, match='did you mean "scores"'):
        results.table("score")
    kept = lab.maps()
    assert esegeta.run(lab.config).maps == results.maps and lab.maps() == kept
    esegeta.run(lab.config, policy=esegeta.Policy(overwrite=True))
    assert lab.maps() != kept


def test_run_writes_a_report_if_the_config_asks_for_one(lab: Lab) -> None:
    lab.keys["report"] = True
    esegeta.run(lab.write())
    assert "saliency" in (lab.root / "report" / "index.html").read_text(encoding="utf-8")


def test_a_config_may_be_a_dictionary(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {**lab.keys, "methods": ({"name": "saliency"}, "input_x_gradient")}
    keys["output"] = tmp_path / "elsewhere"
    results = esegeta.run(keys, overrides=["methods.0.absolute=true"])
    assert results.folder == tmp_path / "elsewhere" / "tiny"
    assert isinstance(keys["methods"], tuple) and keys["methods"][0] == {"name": "saliency"}
    magnitude = next(path for path in results.maps if "saliency" in path.name)
    assert (voxels(magnitude) >= 0).all() and np.any(voxels(magnitude))
    with pytest.raises(ConfigError, match=r'^config: methods\[0\]: unknown method "salience"'):
        esegeta.run({**keys, "methods": ["salience"]})


def test_failures_are_named(lab: Lab) -> None:
    lab.keys["data"]["cases"].append({"name": "flat", "image": "flat.nii.gz"})
    save_image(lab.folder / "flat.nii.gz", np.full((12, 11, 9), np.nan, np.float32))
    lab.keys["targets"][0]["over"] = "component"
    results = esegeta.run(lab.write())
    assert results.failures and len(results.failures) + len(results.maps) == 2
    assert all(text.startswith("flat / liver / saliency: ") for text in results.failures)


def test_predict_compare_and_report(lab: Lab, tmp_path: Path) -> None:
    predicted = esegeta.predict(lab.write(), probabilities=True)
    assert any("probseg" in path.name for path in predicted.files)
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    runs = [esegeta.run(lab.write()).folder]
    compared = esegeta.compare(runs, output=tmp_path / "compared")
    assert {row["method"] for row in compared.table("scores")} == {"saliency", "input_x_gradient"}
    page = esegeta.report(runs[0], output=tmp_path / "page")
    assert page == tmp_path / "page" / "index.html" and page.is_file()
    with pytest.raises(RunError, match="no such folder"):
        esegeta.compare(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [RUN_RECORD, COMPARISON_RECORD, *PARTS.values()])
def test_the_record_of_every_command_is_found(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"by": "it"}')
    assert Results(tmp_path).record == {"by": "it"}


def test_an_empty_folder_has_no_record(tmp_path: Path) -> None:
    results = Results(tmp_path)
    assert (results.record, results.scores, results.maps) == ({}, [], ())

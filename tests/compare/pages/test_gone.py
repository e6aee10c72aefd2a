"""What of a run's folder is gone, of another grid or odd, and what the page says of it then."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.compare.pages import write_report
from esegeta.compare.pages.records import methods_to_cite, record_of
from esegeta.compare.pages.runs import read_runs
from esegeta.errors import RunError
from esegeta.report import PredictionFiles, TaskFiles, write_record
from esegeta.results_folder import COMPARISON_RECORD
from esegeta.volume import Grid, excerpt_of
from esegeta.volume.nifti import write_nifti
from esegeta.volume.volume import Source
from tests.compare.pages.page import Page
from tests.compare.pages.results import SHAPE, FakeResults, labels, signed_map


def reported(root: Path) -> Page:
    return Page(write_report([root], root.parent / "out"))


def without_images(results: FakeResults, folder: Path) -> Path:
    """Write a run's folder, and remove scans and segmentations."""
    root = results.write(folder)
    for case in results.cases:
        results.image(folder, case, "0").unlink()
        PredictionFiles(root, case).segmentation.unlink()
    return root


def test_a_map_without_its_image_is_shown_on_its_own_grid(tmp_path: Path) -> None:
    page = reported(without_images(FakeResults(cases=("first", "second")), tmp_path))
    assert [case["name"] for case in page.data["cases"]] == ["first", "second"]
    for case in page.data["cases"]:
        assert "does not exist any more" in case["notes"][0]
        assert (case["segmentation"], case["labels"]) == ("", [])
        black = page.volume(case["scans"][0]["volume"])
        assert black.shape == SHAPE and not black.get_fdata().any()
    shown = page.volume(page.data["maps"][0]["layers"][0]["volume"])
    assert shown.get_fdata().max() == pytest.approx(signed_map().max(), rel=1e-3)


def test_a_case_without_files_is_left_out_but_its_failures_are_listed(tmp_path: Path) -> None:
    failed = {("gone", "liver", method): "out of memory" for method in ("saliency", "hires_cam")}
    results = FakeResults(cases=("gone", "torso"), failed=failed)
    root = results.write(tmp_path)
    results.image(tmp_path, "gone", "0").unlink()
    PredictionFiles(root, "gone").segmentation.unlink()
    page = reported(root)
    assert [case["name"] for case in page.data["cases"]] == ["torso"]
    assert len(page.data["maps"]) == 2
    assert page.one("section", id="record").text.count("gone / liver / ") == 2


def test_a_note_says_how_much_of_a_large_scan_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(excerpt_of, most_voxels=1000)
    monkeypatch.setattr("esegeta.compare.pages.scans.excerpt_of", small)
    page = reported(FakeResults().write(tmp_path))
    (case,) = page.data["cases"]
    whole = excerpt_of(Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])), labels() != 0, most_voxels=1000)
    assert case["notes"] == [whole.note] and whole.note
    assert np.prod(page.volume(case["scans"][0]["volume"]).shape) <= 1000


def test_a_mask_on_another_grid_is_not_outlined(tmp_path: Path) -> None:
    root = FakeResults(methods={"saliency": "saliency"}).write(tmp_path)
    other = np.ones((3, 3, 3), np.float32)
    path = PredictionFiles(root, "torso").mask("liver")
    write_nifti(path, other, Source(Grid(other.shape, np.eye(4))), intent="label")
    (entry,) = reported(root).data["maps"]
    assert entry["label"] == 1 and entry["outline"] == ""


@pytest.mark.parametrize("row", ["one\tliver\t#009e73", "1\tliver\tgreen"])
def test_a_malformed_row_of_the_label_table_leaves_the_number_as_name(
    row: str, tmp_path: Path
) -> None:
    root = FakeResults().write(tmp_path)
    PredictionFiles(root, "torso").table.write_text(f"index\tname\tcolor\n{row}\n")
    (label,) = reported(root).data["cases"][0]["labels"]
    assert (label["value"], label["name"]) == (1, "1")


FACTS = {"seconds": 1.5, "active_windows": 2, "num_windows": 4, "completeness_relative": 0.0123}
TOLD = {"windows": "2 of 4 touch the target", "completeness error": "1.2 %", "time": "1.5 s"}
PLAIN = {"method", "values", "grid"}


@pytest.mark.parametrize(
    ("facts", "told"),
    [(FACTS, TOLD), ({}, {})],
)
def test_facts_are_listed_only_if_known(
    facts: dict[str, Any], told: dict[str, str], tmp_path: Path
) -> None:
    root = FakeResults(methods={"saliency": "saliency"}, sidecar={"facts": facts}).write(tmp_path)
    found = facts_on(reported(root))
    assert told.items() <= found.items()
    assert (set(found) == PLAIN) == (not facts)


def facts_on(page: Page) -> dict[str, str]:
    (entry,) = page.data["maps"]
    return dict(entry["facts"])


def test_nested_parameters_are_listed_by_their_keys(tmp_path: Path) -> None:
    parameters = {"noise": {"sd": 0.125, "seed": None, "kind": "normal"}, "steps": 8}
    results = FakeResults(methods={"saliency": "saliency"}, sidecar={"parameters": parameters})
    found = facts_on(reported(results.write(tmp_path)))
    assert (found["noise"], found["steps"]) == ("sd 0.125, kind normal", "8")


def test_a_layer_is_named_as_the_network_names_it(tmp_path: Path) -> None:
    results = FakeResults(methods={"saliency": "saliency"})
    root = results.write(tmp_path)
    files = TaskFiles(root, "torso", "liver", "saliency")
    layers = {files.layer_map(layer): layer for layer in ("model.1", "")}
    for path in layers:
        write_nifti(path, signed_map(), Source(Grid(SHAPE, results.affine)), intent="estimate")
    sidecar = json.loads(files.sidecar.read_text())
    sidecar["files"] += [path.name for path in layers]
    sidecar["layer_maps"] = {path.name: {"layer": layer} for path, layer in layers.items()}
    files.sidecar.write_text(json.dumps(sidecar))
    (entry,) = reported(root).data["maps"]
    assert [layer["name"] for layer in entry["layers"]] == [
        "the map",
        "layer model.1, on its own grid",
        "layer network, on its own grid",
    ]


def test_failed_predictions_and_warnings_are_in_the_record(tmp_path: Path) -> None:
    results = FakeResults()
    root = results.write(tmp_path)
    predictions = [
        {"case": "torso", "status": "done", "warnings": ["clipped"]},
        {"case": "dark", "status": "failed", "message": "no voxel; look at it"},
    ]
    write_record(root, {**results._record(tmp_path), "predictions": predictions})
    (run,) = read_runs([root])
    assert record_of(run).failures == (("dark: prediction", "no voxel; look at it"),)
    assert record_of(run).warnings == ("torso: clipped",)


def test_only_built_in_methods_are_cited(tmp_path: Path) -> None:
    methods = {"mine": "own_method", "saliency": "saliency", "again": "saliency"}
    (run,) = read_runs([FakeResults(methods=methods).write(tmp_path)])
    assert [one.name for one in methods_to_cite([run])] == ["saliency"]


def test_pictures_and_tables_of_other_commands_are_limited_in_number(tmp_path: Path) -> None:
    root = FakeResults().write(tmp_path)
    folder = root / "dissection"
    folder.mkdir()
    (folder / "empty.csv").write_text("unit,iou\n")
    (folder / "units.csv").write_text("unit,iou\n0,0.5\n")
    for number in range(42):
        (folder / f"unit-{number}.png").write_bytes(b"png")
    page = reported(root)
    section = page.one("section", id="section-1")
    assert f"40 of 42 pictures are shown; the others are in {folder}" in section.text
    shown = [one.attributes["alt"] for one in page.find("img")]
    assert "unit-39" in shown and "unit-40" not in shown
    assert "units.csv" in section.text and "empty.csv" not in section.text


def test_runs_of_one_name_are_numbered(tmp_path: Path) -> None:
    roots = [FakeResults().write(tmp_path / name) for name in "abc"]
    assert [run.shown_name for run in read_runs(roots)] == ["demo", "demo (2)", "demo (3)"]


def test_a_report_of_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no folder is named"):
        write_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_report_of_a_comparison_alone_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "compare"
    folder.mkdir()
    (folder / COMPARISON_RECORD).write_text("{}")
    with pytest.raises(RunError, match=r"compare: holds a comparison and no run; name the runs"):
        write_report([folder], tmp_path / "out")

"""Curves, regions, what other commands left, the record, and whom to cite."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from esegeta.compare.pages import write_report
from esegeta.compare.pages.curves import charts_of
from esegeta.compare.pages.records import record_of, told_of
from esegeta.compare.pages.runs import read_runs
from esegeta.compare.pages.scans import window_of
from esegeta.explain import EXPLAINERS
from esegeta.score import SCORES
from tests.compare.pages.page import Page
from tests.compare.pages.results import PNG, FakeResults

HALO = {
    "score": "halo_profile",
    "curve": "halo_cumulative",
    "x_label": "distance",
    "y_label": "share up to here",
    "x": [0, 1, 2, 3, 4],
    "y": [0.2, 0.9, 0.9995, 1.0, 1.0],
    "ticks": [],
}
DENSITY = {**HALO, "curve": "halo_density", "x": [0.5, 1.5, 2.5, 3.5, 4.5], "y": [1, 2, 3, 4, None]}


def test_curves_of_all_methods_share_axes_and_halos_end_with_their_mass(tmp_path: Path) -> None:
    (run,) = read_runs([FakeResults(sidecar={"curves": [HALO, DENSITY]}).write(tmp_path)])
    cumulative, density = charts_of(run)
    assert [line.name for line in cumulative.lines] == ["saliency", "hires_cam"]
    assert cumulative.lines[0].x == (0, 1, 2)
    assert density.lines[0].x == (0.5, 1.5)
    assert cumulative.title == "halo_profile: halo_cumulative"


def test_areas_stand_in_the_legend(tmp_path: Path) -> None:
    curve = {**HALO, "score": "deletion", "curve": "most first", "x": [0, 0.5, 1], "y": [1, 0, 0]}
    names = {**curve, "curve": "by layer", "ticks": ["a", "b", "c"]}
    (run,) = read_runs([FakeResults(sidecar={"curves": [curve, names]}).write(tmp_path)])
    first, second = charts_of(run)
    assert {line.note for line in first.lines} == {"area 0.25"}
    assert {line.note for line in second.lines} == {""}


def test_bars_are_as_long_as_shares_and_sums(tmp_path: Path) -> None:
    rows = [
        {"atlas": "found", "region": "liver", "channel": "t1", "share": 0.75, "per_ml": 4.0},
        {"atlas": "found", "region": "liver", "channel": "t2", "share": 0.25, "per_ml": -1.0},
    ]
    rows = [{**row, "volume_ml": 1.0, "signed_sum": 0.0} for row in rows]
    results = FakeResults(methods={"saliency": "saliency"}, sidecar={"regions": rows})
    page = Page(write_report([results.write(tmp_path)], tmp_path / "out"))
    rects = [one.attributes for one in page.find("rect") if one.attributes["class"] != "zero"]
    assert [float(one["width"]) for one in rects] == [75, 50, 25, 12.5]
    assert [one["class"] for one in rects] == ["c0", "plus", "c1", "minus"]
    assert float(rects[3]["x"]) == 37.5


def test_results_of_other_commands_have_sections(tmp_path: Path) -> None:
    root = FakeResults().write(tmp_path)
    folder = root / "dissection"
    (folder / "figures").mkdir(parents=True)
    (folder / "summary.json").write_text('{"notes": ["dead units: 2 of 8"]}')
    (folder / "units.csv").write_text("unit,iou\n" + "".join(f"{n},0.123456\n" for n in range(250)))
    for name in ("unit-10", "unit-2"):
        (folder / "figures" / f"{name}.png").write_bytes(PNG)
    page = Page(write_report([root], tmp_path / "out"))
    section = page.one("section", id="section-1")
    assert "Dissection" in section.text and "dead units: 2 of 8" in section.text
    assert "first 200 of 250 rows" in section.text
    assert "0.1235" in section.text and "0.123456" not in section.text
    (cell, *_) = page.find("td", data_value="0.123456")
    assert cell.text == "0.1235"
    pictures = [one for one in page.find("img") if one.attributes["alt"].startswith("unit")]
    assert [one.attributes["alt"] for one in pictures] == ["unit-2", "unit-10"]
    picture = pictures[0]
    assert (tmp_path / "out" / picture.attributes["src"]).read_bytes() == PNG


def test_a_dissection_alone_is_a_report_too(tmp_path: Path) -> None:
    folder = tmp_path / "units" / "dissection"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(
        '{"config": {"name": "units"}, "notes": ["a note"], "scores": 5, "methods": ["cka"]}'
    )
    (folder / "units.csv").write_text("unit,iou\n0,0.5\n")
    page = Page(write_report([tmp_path / "units"], tmp_path / "out"))
    assert page.one("title").text == "units – esegeta"
    assert "There is no map" in page.one("section", id="viewer").text


def test_the_page_shows_record_and_sources(tmp_path: Path) -> None:
    page = Page(write_report([FakeResults().write(tmp_path)], tmp_path / "out"))
    record = page.one("section", id="record").text
    assert "abc123" in record and "torch" in record
    assert "Simonyan" in page.one("section", id="cite").text


def test_every_method_and_score_can_be_cited() -> None:
    told = {name: told_of(kind) for name, kind in {**EXPLAINERS, **SCORES}.items()}
    assert [name for name, parts in told.items() if not all(parts)] == []


@pytest.mark.parametrize(
    ("intensity", "window"),
    [
        ({"window": [-250, 400], "zscore": None}, (-250, 400)),
        ([{"clip": [0, 5]}, {"zscore": {}}], (0, 5)),
        ({"ct": {"clip": [-100, 200], "mean": 0, "std": 1}}, (-100, 200)),
        ({"zscore": {"over": "all"}}, None),
        ([{"window": ["p1", "p99"]}, {"clip": [0, 5]}], (0, 5)),
        ([{"window": [None, 400]}, "minmax"], None),
        (None, None),
    ],
)
def test_the_intensity_window_is_taken_from_the_config(
    intensity: object, window: tuple[float, float] | None
) -> None:
    assert window_of(intensity) == window


def test_a_label_that_others_cover_is_outlined_whole(tmp_path: Path) -> None:
    from esegeta.report import PredictionFiles
    from esegeta.volume import Grid
    from esegeta.volume.nifti import write_nifti
    from esegeta.volume.volume import Source
    from tests.compare.pages.results import SHAPE, labels

    results = FakeResults(methods={"saliency": "saliency"})
    root = results.write(tmp_path)
    whole = labels()
    whole[:3] = 1
    path = PredictionFiles(root, "torso").mask("liver")
    write_nifti(path, whole, Source(Grid(SHAPE, results.affine)), intent="label")
    page = Page(write_report([root], tmp_path / "out"))
    (entry,) = page.data["maps"]
    assert np.array_equal(page.volume(entry["outline"]).get_fdata(), whole)


def test_the_record_is_shown_in_words(tmp_path: Path) -> None:
    root = FakeResults().write(tmp_path)
    record = json.loads((root / "run.json").read_text())
    loaded = {"file": "w.safetensors", "key": "", "taken_off": {"wrapper": "", "prefixes": ["a."]}}
    record["network"] = {"parameters": 7, "passes_per_window": 1, "weights": [loaded]}
    (root / "run.json").write_text(json.dumps(record))
    (run,) = read_runs([root])
    facts = dict(record_of(run).facts)
    assert facts["network: passes per window"] == "1"
    assert facts["network: weights"] == "file w.safetensors, taken off prefixes a."

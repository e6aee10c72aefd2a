"""The page's content follows from the folder: maps, words, warnings, what is left out."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from esegeta.compare.pages import report_place, write_report
from esegeta.errors import OutputError, RunError
from esegeta.report import TaskFiles, write_record
from esegeta.report.page.assets import static_text
from esegeta.report.page.sinks import SCRIPTS
from esegeta.volume import Grid
from esegeta.volume.nifti import write_nifti
from esegeta.volume.volume import Source
from tests.builders import affine_of
from tests.compare.pages.page import Page
from tests.compare.pages.results import (
    ABOVE,
    BELOW,
    LABEL,
    PEAK,
    SHAPE,
    FakeResults,
    scan,
    signed_map,
)


def page_of(results: FakeResults, folder: Path, **options: bool) -> Page:
    return Page(write_report([results.write(folder)], folder / "out", **options))


@pytest.mark.parametrize("single_file", [False, True])
def test_volumes_lie_where_their_files_do(tmp_path: Path, single_file: bool) -> None:
    page = page_of(FakeResults(affine=affine_of("oblique")), tmp_path, single_file=single_file)
    (case,) = page.data["cases"]
    image = page.volume(case["scans"][0]["volume"])
    assert np.array_equal(image.get_fdata(), scan())
    assert np.allclose(image.affine, affine_of("oblique"), atol=1e-5)
    assert np.unique(page.volume(case["segmentation"]).get_fdata()).tolist() == [0, 1]
    layer = page.data["maps"][0]["layers"][0]
    shown = page.volume(layer["volume"])
    assert np.allclose(shown.affine, affine_of("oblique"), atol=1e-5)
    assert np.abs(shown.get_fdata() - signed_map()).max() <= 0.501e-3 * layer["high"]


def test_the_display_range_is_from_2_percent_to_the_full_99_5_percentile(tmp_path: Path) -> None:
    layer = page_of(FakeResults(), tmp_path).data["maps"][0]["layers"][0]
    magnitude = np.abs(signed_map()[signed_map() != 0])
    assert layer["high"] == pytest.approx(np.percentile(magnitude, 99.5))
    assert layer["low"] == pytest.approx(0.02 * layer["high"])
    assert layer["peak"] == pytest.approx(PEAK)
    assert layer["signed"]


def test_the_sidecar_s_display_range_is_taken(tmp_path: Path) -> None:
    results = FakeResults(sidecar={"display": {"low": 0.25, "high": 3.5}})
    layer = page_of(results, tmp_path).data["maps"][0]["layers"][0]
    assert (layer["low"], layer["high"]) == (0.25, 3.5)


def test_scans_are_shown_in_the_config_s_window(tmp_path: Path) -> None:
    (shown,) = page_of(FakeResults(), tmp_path).data["cases"][0]["scans"]
    assert (shown["low"], shown["high"]) == (-50, 150)


def test_every_channel_can_be_looked_at(tmp_path: Path) -> None:
    scans = page_of(FakeResults(channels=("t1", "flair")), tmp_path).data["cases"][0]["scans"]
    assert [one["name"] for one in scans] == ["t1", "flair"]


def test_the_cross_hair_begins_within_the_target(tmp_path: Path) -> None:
    (first, second) = page_of(FakeResults(), tmp_path).data["maps"]
    assert first["focus"] == pytest.approx(np.diag([2, 2, 2]) @ ABOVE)
    assert first["focus"] == second["focus"]
    assert first["label"] == 1


def test_the_cross_hair_begins_at_the_position_of_the_sidecar(tmp_path: Path) -> None:
    results = FakeResults(sidecar={"display": {"position_mm": [10.0, 18.0, 14.0]}})
    assert page_of(results, tmp_path).data["maps"][0]["focus"] == [10.0, 18.0, 14.0]


@pytest.mark.parametrize(
    ("colours", "above", "below"),
    [
        (["red: raises the liver score", "blue: lowers it"], "raises the liver score", "lowers it"),
        (["the stronger, the more"], "the stronger, the more", "the stronger, the more"),
        (None, "positive values raise the target", "positive values raise the target"),
    ],
)
def test_signs_are_described_in_the_sidecars_words(
    tmp_path: Path, colours: object, above: str, below: str
) -> None:
    entry = page_of(FakeResults(sidecar={"colours": colours}), tmp_path).data["maps"][0]
    assert (entry["positive"], entry["negative"]) == (above, below)


def test_maps_of_channels_and_layers_can_be_selected(tmp_path: Path) -> None:
    results = FakeResults(channels=("t1", "flair"), methods={"saliency": "saliency"})
    root = results.write(tmp_path)
    files = TaskFiles(root, "torso", "liver", "saliency")
    more = [files.channel_map("t1"), files.channel_map("flair"), files.layer_map("model.1")]
    grid = Source(Grid(SHAPE, results.affine))
    for path in more:
        write_nifti(path, signed_map(), grid, intent="estimate")
    sidecar = files.sidecar.read_text().replace(
        '"files": [', '"files": [' + "".join(f'"{path.name}", ' for path in more)
    )
    files.sidecar.write_text(sidecar)
    (entry,) = Page(write_report([root], tmp_path / "out")).data["maps"]
    assert [layer["name"] for layer in entry["layers"]] == [
        "all channels",
        "channel t1",
        "channel flair",
        "layer model-1, on its own grid",
    ]


def test_a_failed_task_says_why(tmp_path: Path) -> None:
    key = ("torso", "liver", "hires_cam")
    page = page_of(FakeResults(failed={key: "out of memory; lower batch_size"}), tmp_path)
    assert page.data["maps"][1]["failure"] == "out of memory; lower batch_size"
    assert page.data["maps"][1]["layers"] == []
    assert "out of memory" in page.one("section", id="record").text


def test_without_its_scan_a_map_is_shown_on_black_with_a_note(tmp_path: Path) -> None:
    results = FakeResults()
    root = results.write(tmp_path)
    results.image(tmp_path, "torso", "0").unlink()
    (case,) = Page(write_report([root], tmp_path / "out")).data["cases"]
    assert "does not exist any more" in case["notes"][0]
    page = Page(tmp_path / "out/index.html")
    assert not page.volume(case["scans"][0]["volume"]).get_fdata().any()


def test_a_scan_that_has_changed_is_named(tmp_path: Path) -> None:
    results = FakeResults()
    root = results.write(tmp_path)
    path = results.image(tmp_path, "torso", "0")
    record = results._record(tmp_path)
    write_record(root, {**record, "inputs_sha256": {str(path): "0" * 64}})
    (case,) = Page(write_report([root], tmp_path / "out")).data["cases"]
    assert "has changed since the run" in case["notes"][0]


def test_warnings_are_on_the_page(tmp_path: Path) -> None:
    doubts = {"warnings": ["not complete: 12 %"], "doubts": ["worse than a random map"]}
    page = page_of(FakeResults(sidecar=doubts), tmp_path)
    assert page.data["maps"][0]["warnings"] == ["not complete: 12 %", "worse than a random map"]


NASTY = '</script><img src=x onerror="alert(1)">&"\'<'


@pytest.mark.parametrize("single_file", [False, True])
def test_names_are_text_and_nothing_else(tmp_path: Path, single_file: bool) -> None:
    results = FakeResults(name=NASTY.replace("/", "-"), sidecar={"warnings": [NASTY]})
    root = results.write(tmp_path)
    record = results._record(tmp_path)
    record["config"]["name"] = NASTY
    record["notes"] = [NASTY]
    write_record(root, record)
    page = Page(write_report([root], tmp_path / "out", single_file=single_file))
    assert page.one("title").text == f"{NASTY} – esegeta"
    assert page.data["maps"][0]["warnings"] == [NASTY]
    assert NASTY in page.one("section", id="record").text
    assert not list(page.find("img", src="x"))
    volumes = 4 if single_file else 0
    assert len(list(page.find("script"))) == 3 + volumes


def test_names_of_cases_and_targets_are_escaped(tmp_path: Path) -> None:
    case, target = "a&b'<c>", "</script>"
    results = FakeResults(cases=(case,))
    root = results.write(tmp_path)
    record = results._record(tmp_path)
    record["units"].append({**record["units"][0], "target": target, "status": "failed"})
    write_record(root, record)
    page = Page(write_report([root], tmp_path / "out"))
    assert page.data["cases"][0]["name"] == case
    assert page.data["maps"][-1]["target"] == target


def test_a_report_folder_runs_only_its_own_scripts_and_connects_to_nothing(tmp_path: Path) -> None:
    page = page_of(FakeResults(), tmp_path)
    assert page.policy.startswith("default-src 'none'; script-src 'self';")
    assert "connect-src" not in page.policy
    for element in page.elements:
        for key in ("src", "href"):
            place = element.attributes.get(key, "")
            own = not re.match(r"[a-z]+:|//", place)
            assert own or (element.tag, key) == ("a", "href"), place
            if own and place and not place.startswith("#"):
                assert (page.path.parent / place).is_file()


def test_a_single_file_report_runs_only_its_own_two_scripts(tmp_path: Path) -> None:
    page = page_of(FakeResults(), tmp_path, single_file=True)
    assert sorted(path.name for path in page.path.parent.iterdir()) == ["index.html", "report.json"]
    scripts = [one.text for one in page.find("script") if "type" not in one.attributes]
    digests = [hashlib.sha256(text.encode()).digest() for text in scripts]
    hashes = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    assert f"script-src {' '.join(hashes)};" in page.policy
    assert len(scripts) == 2
    assert "unsafe" not in page.policy
    assert "Copyright (c) 2021, Niivue" in page.text


def test_scripts_contain_nothing_that_ends_a_script_element() -> None:
    for name in SCRIPTS:
        assert not re.search("</script|<!--", static_text(name), flags=re.IGNORECASE)


def test_a_single_file_report_may_have_any_name(tmp_path: Path) -> None:
    root = FakeResults().write(tmp_path)
    page = write_report([root], tmp_path / "mine.html", single_file=True)
    assert page == tmp_path / "mine.html"
    with pytest.raises(OutputError, match="needs a folder"):
        write_report([root], tmp_path / "mine.html")


def test_a_second_report_replaces_the_first_and_removes_its_leftovers(tmp_path: Path) -> None:
    root = FakeResults(methods={"saliency": "saliency", "b": "hires_cam"}).write(tmp_path)
    out = tmp_path / "out"
    write_report([root], out)
    assert (out / "volumes/v3.js").is_file()
    mine = out / "volumes" / "mine.txt"
    mine.write_text("kept")
    small = FakeResults(methods={"saliency": "saliency"}).write(tmp_path / "small")
    write_report([small], out)
    assert not (out / "volumes/v3.js").exists()
    assert mine.read_text() == "kept"
    write_report([small], out, single_file=True)
    assert not (out / "static").exists()


def test_a_page_that_is_no_report_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("mine")
    root = FakeResults().write(tmp_path)
    for single_file in (False, True):
        with pytest.raises(OutputError, match="not written by `esegeta report`"):
            write_report([root], out, single_file=single_file)
    assert (out / "index.html").read_text() == "mine"


def test_runs_are_named_and_a_folder_stands_for_the_runs_within(tmp_path: Path) -> None:
    FakeResults().write(tmp_path / "a")
    results = tmp_path / "results"
    FakeResults(name="one").write(results)
    FakeResults(name="two").write(results)
    page = Page(write_report([results, tmp_path / "a" / "demo"], tmp_path / "out"))
    assert [case["run"] for case in page.data["cases"]] == ["one", "two", "demo"]
    assert len({entry["id"] for entry in page.data["maps"]}) == 6


def test_the_default_folder_of_a_report(tmp_path: Path) -> None:
    assert report_place([tmp_path / "demo"]) == tmp_path / "demo" / "report"
    assert report_place([tmp_path / "a", tmp_path / "b"]) == tmp_path / "report"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run"):
        write_report([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_test_map_has_its_blobs_in_place(tmp_path: Path) -> None:
    """The yardstick of the browser's tests."""
    root = FakeResults().write(tmp_path)
    data = nib.load(TaskFiles(root, "torso", "liver", "saliency").map).get_fdata()
    assert (data[ABOVE], data[BELOW]) == pytest.approx((PEAK, -0.9 * PEAK))


def test_a_picture_is_shown_in_2d_in_colour_without_sides(tmp_path: Path) -> None:
    results = FakeResults(channels=("red", "green", "blue"))
    root = results.write(tmp_path)
    colours = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "picture.png")
    record = results._record(tmp_path)
    record["config"]["data"]["cases"] = [{"name": "torso", "image": str(tmp_path / "picture.png")}]
    record["config"]["inference"]["window"] = [8, 8]
    write_record(root, record)
    page = Page(write_report([root], tmp_path / "out"))
    (case,) = page.data["cases"]
    assert (case["flat"], case["has_sides"], case["notes"]) == (True, False, [])
    (picture,) = case["scans"]
    assert picture["is_colour"]
    shown = np.asarray(page.volume(picture["volume"]).dataobj)
    for place, name in enumerate("RGB"):
        assert np.array_equal(shown[:, :, 0][name], colours[..., place])


@pytest.mark.parametrize("named", [1, "1"])
def test_a_target_names_its_label_by_integer_too(tmp_path: Path, named: object) -> None:
    results = FakeResults(config={"targets": [{"name": LABEL, "label": named}]})
    assert page_of(results, tmp_path).data["maps"][0]["label"] == 1

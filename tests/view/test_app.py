"""Questions to the server: answered once, cached, cancelled, kept."""

import gzip
import json
import threading
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from esegeta.compare.pages import write_report
from esegeta.explain import EXPLAINERS, map_on_file
from esegeta.report import PredictionFiles, TaskFiles
from esegeta.targets import PointRegion, VoxelTarget
from esegeta.view import QUICK, Session
from esegeta.volume import write_json
from tests.experiments import Lab, read_json, voxels
from tests.view.sessions import Page, question, served, session_of

AT = (2, 3, 6)


def windows_at(session: Session, index: tuple[int, ...]) -> int:
    """Count the windows that hold a voxel, from their boxes."""
    shape = session.scene.volume.grid.shape
    starts = [sorted({*range(0, max(n - 8, 0) + 1, 4), max(n - 8, 0)}) for n in shape]
    held = [
        sum(start <= at < start + 8 for start in line)
        for at, line in zip(index, starts, strict=True)
    ]
    return int(np.prod(held))


def whole_of(page: Page, entry: dict[str, Any]) -> np.ndarray:
    """Return a map as it is shown, put in its place on the file's grid."""
    source = page.session.scene.volume.source.grid
    image = nib.Nifti1Image.from_bytes(gzip.decompress(page.volume(entry)))
    found = np.zeros(source.shape)
    corner = [round(at) for at in source.to_index(image.affine[:3, 3].tolist())]
    box = tuple(slice(at, at + n) for at, n in zip(corner, image.shape, strict=True))
    found[box] = image.get_fdata()
    return found


SPACINGS = {"as it is": {}, "coarser": {"spacing_mm": [1.4, 1.9, 3.1]}}


@pytest.mark.parametrize("preprocess", SPACINGS.values(), ids=list(SPACINGS))
@pytest.mark.parametrize("method", QUICK)
def test_a_click_is_answered_by_the_map_that_a_run_would_write(
    lab: Lab, method: str, preprocess: dict[str, Any]
) -> None:
    lab.keys["data"]["preprocess"] = preprocess
    lab.keys["inference"]["window"] = [6, 8, 8]
    with served(session_of(lab)) as page:
        state = page.ask(**question(page.session, AT, method=method))
        assert state["state"] == "done", state
        entry = state["result"]
        scene = page.session.scene
        target = VoxelTarget("liver", over=PointRegion(AT))
        expected = EXPLAINERS[method]().explain(scene.predictor, scene.volume, target)
        written = map_on_file(expected)
        found, whole = whole_of(page, entry), written.array
    np.testing.assert_allclose(found, whole, atol=1e-3 * np.abs(whole).max())
    (layer,) = entry["layers"]
    magnitudes = np.abs(whole[whole != 0])
    # Interpolation leaves some voxels at 1e-9 of the peak, others at zero; the percentile counts.
    exact = 0.05 if preprocess else 1e-5
    assert layer["high"] == pytest.approx(float(np.percentile(magnitudes, 99.5)), rel=exact)
    assert layer["peak"] == pytest.approx(float(np.abs(whole).max()))
    assert entry["about"].startswith("Why liver at voxel ") and layer["unit"] == written.unit
    assert "liver score" in entry["positive"]
    assert np.allclose(entry["focus"], scene.volume.source.grid.to_mm(AT))


def test_only_the_windows_that_hold_the_voxel_are_run_and_the_prediction_is_not(
    page: Page,
) -> None:
    state = page.ask(**question(page.session, AT))
    count = windows_at(page.session, AT)
    whole = len(page.session.scene.predictor.windows(page.session.scene.volume.batch))
    assert sum(page.runs) == count < whole
    assert state["done"] == state["total"] == count


def test_a_repeated_question_is_answered_from_the_cache(page: Page) -> None:
    asked = question(page.session, AT)
    first = page.ask(**asked)["result"]
    run = list(page.runs)
    again = page.client.post("/api/explain", json=asked)
    assert again.status_code == 200 and again.json()["cached"]
    assert again.json()["result"] == first and page.runs == run
    changes: list[dict[str, Any]] = [
        {"method": "input_x_gradient"},
        question(page.session, (3, 3, 6)),
        {"label": "", "about": "component"},
    ]
    liver = np.argwhere(page.session.scene.predicted("liver").numpy())[0].tolist()
    changes[2] |= {"place_mm": question(page.session, tuple(liver))["place_mm"]}
    ids = {page.ask(**{**asked, **change})["result"]["id"] for change in changes}
    assert len(ids | {first["id"]}) == 4 and len(page.runs) > len(run)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": "livr"}, "liver"),
        ({"method": "occlusion"}, "occlusion"),
        ({"place_mm": [1e6, 0, 0]}, "outside"),
        ({"file": "/etc/passwd"}, "unknown key"),
    ],
)
def test_a_question_without_an_answer_is_refused_with_a_reason(
    page: Page, changes: dict[str, Any], said: str
) -> None:
    asked = {**question(page.session, AT), **changes}
    answer = page.client.post("/api/explain", json=asked)
    assert answer.status_code == 422 and said in answer.json()["message"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", "application/x-www-form-urlencoded", 415),
        (b"{", "application/json", 400),
        (b"[" * 9000, "application/json", 400),
        (b" " * 20_000, "application/json", 413),
    ],
)
def test_an_invalid_request_is_refused(page: Page, content: bytes, kind: str, status: int) -> None:
    answer = page.client.post("/api/explain", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status and answer.json()["message"]


@pytest.mark.parametrize("path", ["/api/jobs/99", "/api/jobs/x", "/volumes/a1-0", "/nowhere"])
def test_an_unknown_address_is_refused_with_a_reason(page: Page, path: str) -> None:
    answer = page.client.get(path)
    assert answer.status_code == 404 and answer.json()["message"]


def test_a_running_job_can_be_cancelled_and_leaves_the_network_unchanged(page: Page) -> None:
    hold, begun = threading.Event(), threading.Event()
    relay = page.session.relay.listener
    assert relay is not None

    def held(windows: int) -> None:
        begun.set()
        assert hold.wait(10)
        relay(windows)

    network = page.session.scene.predictor.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    page.session.relay.listener = held
    asked = question(page.session, AT, method="guided_backprop")
    job = page.client.post("/api/explain", json=asked).json()
    assert begun.wait(10)
    page.client.post(f"/api/jobs/{job['job']}/cancel", json={})
    hold.set()
    state = page.client.get(f"/api/jobs/{job['job']}?after=1000").json()
    assert state["state"] == "cancelled" and state["result"] is None
    page.session.relay.listener = relay
    assert not any(module._forward_hooks for module in network.modules())
    assert all((value == before[name]).all() for name, value in network.state_dict().items())
    assert page.ask(**asked)["state"] == "done"


def test_a_kept_map_equals_that_of_a_run(page: Page, lab: Lab) -> None:
    entry = page.ask(**question(page.session, AT))["result"]
    state = page.finish(page.client.post("/api/keep", json={"answer": entry["id"]}))
    assert state["state"] == "done", state
    file = lab.file("a", "liver-voxel-2-3-6", "saliency")
    assert state["result"] == {"map": str(file)}
    shown = nib.Nifti1Image.from_bytes(gzip.decompress(page.volume(entry)))
    kept = voxels(file)
    assert kept.shape == (12, 11, 9)
    assert np.abs(kept).max() == pytest.approx(np.abs(shown.get_fdata()).max(), rel=1e-3)
    sidecar = read_json(file.with_name(file.name.replace(".nii.gz", ".json")))
    assert sidecar["kept_by"] == "esegeta view" and sidecar["target_name"] == "liver-voxel-2-3-6"
    assert len(sidecar["inputs_sha256"]) == 2 and sidecar["weights_sha256"]
    assert not lab.leftovers() and not (lab.root / ".lock").exists()


def kept(page: Page, index: tuple[int, ...], **changes: Any) -> str:
    entry = page.ask(**question(page.session, index, **changes))["result"]
    state = page.finish(page.client.post("/api/keep", json={"answer": entry["id"]}))
    assert state["state"] == "done", state
    return str(entry["target"])


def test_kept_maps_are_in_the_record_with_their_prediction(page: Page, lab: Lab) -> None:
    first = kept(page, AT)
    page.runs.clear()
    second = kept(page, (8, 7, 4), method="input_x_gradient")
    kept(page, AT)  # again, which is one entry
    record = read_json(lab.root / "run.json")
    assert record["state"] == "complete" and record["weights_sha256"]
    found = [(unit["case"], unit["target"], unit["method"]) for unit in record["units"]]
    assert found == [("a", second, "input_x_gradient"), ("a", first, "saliency")]
    assert all(unit["kept_by"] == "esegeta view" for unit in record["units"])
    assert [unit["status"] for unit in record["predictions"]] == ["done"]
    prediction = PredictionFiles(lab.root, "a")
    sidecar = read_json(prediction.sidecar)
    sidecar_of_map = TaskFiles(lab.root, "a", first, "saliency").sidecar
    assert record["inputs_sha256"] == read_json(sidecar_of_map)["inputs_sha256"]
    assert (voxels(prediction.segmentation) > 0).any() and sidecar["fingerprint"]
    assert (lab.root / "scores.csv").is_file()


def test_a_kept_map_is_in_the_report_and_outlives_a_run(page: Page, lab: Lab) -> None:
    target = kept(page, AT)
    lab.keys["methods"] = ["saliency"]
    assert lab.run().exit_code == 0
    units = read_json(lab.root / "run.json")["units"]
    assert [unit["target"] for unit in units][-1] == target and len(units) > 1
    assert "kept_by" not in units[0]
    report = write_report([lab.root], lab.root / "report")
    text = report.read_text(encoding="utf-8")
    data = json.loads(text.partition('id="report-data">')[2].partition("</script>")[0])
    (entry,) = [one for one in data["maps"] if one["target"] == target]
    place = page.session.scene.volume.source.grid.to_mm(AT)
    assert entry["focus"] == pytest.approx(place) and entry["layers"] and entry["label"] == 1
    remove = TaskFiles(lab.root, "a", target, "saliency").map
    remove.unlink()
    assert lab.run().exit_code == 0  # what is not there is not in the record either
    assert all("kept_by" not in unit for unit in read_json(lab.root / "run.json")["units"])


def test_maps_are_not_added_to_the_run_of_another_network(page: Page, lab: Lab) -> None:
    entry = page.ask(**question(page.session, AT))["result"]
    write_json(lab.root / "run.json", {"weights_sha256": "0" * 64, "units": []})
    state = page.finish(page.client.post("/api/keep", json={"answer": entry["id"]}))
    assert state["state"] == "failed" and "another network" in state["message"]
    assert not lab.file("a", entry["target"], "saliency").exists()


def test_an_unknown_answer_cannot_be_kept(page: Page) -> None:
    for body in ({"answer": "a9"}, {}, []):
        assert page.client.post("/api/keep", json=body).status_code == 404


def test_the_page_lists_methods_labels_and_scripts(page: Page) -> None:
    text = page.client.get("/").text
    assert all(f'<option value="{name}">' in text for name in (*QUICK, "liver", "", "error"))
    for part in ("niivue.umd.js", "live.js", "report.js", "report.css", "live.css"):
        assert f"static/{part}?token=" in text
        assert page.client.get(f"/static/{part}").status_code == 200
    assert page.client.get("/volumes/scan0").content[:2] == b"\x1f\x8b"

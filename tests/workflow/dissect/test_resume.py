"""A dissection that was killed goes on; one that is finished is left alone; another is redone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esegeta.dissection import counts
from esegeta.volume import files as volume_files
from esegeta.workflow.dissect import influences as influence
from esegeta.workflow.dissect import passes
from esegeta.workflow.journal import NAME
from tests.experiments import Lab, esegeta, read_json
from tests.workflow.dissect.causal import causal_lab
from tests.workflow.dissect.planted import noisy_lab, table

TABLES = ("units.csv", "pairs.csv", "concepts.csv")


class KilledError(BaseException):
    """No error that anybody would catch."""


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Windows that went through the network, each batch as it did."""
    seen: list[int] = []
    from esegeta.predict import layer_outputs

    read = layer_outputs.read_layers

    def counted(predictor: Any, crops: Any, *rest: Any) -> Any:
        seen.append(len(crops))
        return read(predictor, crops, *rest)

    monkeypatch.setattr(layer_outputs, "read_layers", counted)
    return seen


def kill_at(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter(range(10**6))

    def killed(*arguments: Any, **more: Any) -> Any:
        if next(calls) == call:
            raise KilledError
        return function(*arguments, **more)

    return killed


def tables(lab: Lab) -> dict[str, Any]:
    return {name: table(lab, name) for name in TABLES}


@pytest.mark.slow
def test_a_killed_dissection_continues_without_counting_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: list[int]
) -> None:
    """Killed while the second case is counted: no window runs again, the first is not counted."""
    (tmp_path / "other").mkdir()
    whole = noisy_lab(tmp_path / "other")
    assert esegeta("dissect", whole.write()).exit_code == 0
    needed = sum(windows)
    windows.clear()
    lab = noisy_lab(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "count_case", kill_at(1, counts.count_case))
        with pytest.raises(KilledError):
            esegeta("dissect", lab.write())
    assert sum(windows) == needed
    assert not (lab.root / "dissection" / "units.csv").exists()
    assert lab.leftovers() == []
    windows.clear()
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0
    assert windows == []
    assert "a / dissection / overlaps: skipped" in result.stdout
    assert "b / dissection / overlaps: done" in result.stdout
    assert tables(lab) == tables(whole)
    assert not (lab.root / "dissection" / "work").exists()


def test_a_dissection_killed_in_the_first_pass_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: list[int]
) -> None:
    from esegeta.dissection import thresholds as unit_thresholds

    lab = noisy_lab(tmp_path, cases=3)
    with monkeypatch.context() as patch:
        patch.setattr(
            unit_thresholds.ThresholdSearch, "add", kill_at(5, unit_thresholds.ThresholdSearch.add)
        )
        with pytest.raises(KilledError):
            esegeta("dissect", lab.write())
    half = sum(windows)
    assert esegeta("dissect", lab.write()).exit_code == 0
    assert sum(windows) * 2 == half * 3  # two of three cases were done


@pytest.mark.slow
def test_a_finished_dissection_is_left_alone(tmp_path: Path, windows: list[int]) -> None:
    lab = noisy_lab(tmp_path)
    esegeta("dissect", lab.write())
    summary = lab.root / "dissection" / "summary.json"
    before = summary.stat().st_mtime_ns
    windows.clear()
    result = esegeta("dissect", lab.write())
    assert "already finished" in result.stdout
    assert windows == []
    assert summary.stat().st_mtime_ns == before
    assert esegeta("dissect", lab.write(), "--overwrite").exit_code == 0
    assert sum(windows) > 0
    assert summary.stat().st_mtime_ns > before


CHANGES: dict[str, Callable[[Lab], Any]] = {
    "quantile": lambda lab: lab.keys["dissection"].update(quantile=0.2),
    "concept": lambda lab: lab.keys["dissection"]["concepts"].update(two=2),
    "bar": lambda lab: lab.keys["dissection"].update(min_iou=0.5),
    "label map": lambda lab: (lab.folder / "a_label.nii.gz").write_bytes(
        (lab.folder / "b_label.nii.gz").read_bytes()
    ),
    "image": lambda lab: (lab.folder / "a.nii.gz").write_bytes(
        (lab.folder / "b.nii.gz").read_bytes()
    ),
    "window": lambda lab: lab.keys["inference"].update(window=[8, 8, 4]),
    "a file is gone": lambda lab: (lab.root / "dissection" / "pairs.csv").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.slow
def test_a_changed_dissection_is_done_again(change: str, tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path)
    esegeta("dissect", lab.write())
    first = read_json(lab.root / "dissection" / "summary.json")["fingerprint"]
    CHANGES[change](lab)
    result = esegeta("dissect", lab.write())
    assert "already finished" not in result.stdout
    second = read_json(lab.root / "dissection" / "summary.json")["fingerprint"]
    assert (second == first) == (change == "a file is gone")
    assert set(tables(lab)) == set(TABLES)


@pytest.mark.slow
def test_results_of_an_earlier_dissection_are_removed(tmp_path: Path) -> None:
    """Masks of units that are named no more would look like results."""
    lab = noisy_lab(tmp_path)
    lab.keys["dissection"].update(min_iou=0, q_value=1)
    esegeta("dissect", lab.write())
    folder = lab.root / "dissection"
    assert list((folder / "masks").iterdir())
    (folder / "mine.txt").write_text("precious")
    lab.keys["dissection"].update(min_iou=0.99)
    esegeta("dissect", lab.write())
    assert not list((folder / "masks").iterdir())
    assert (folder / "mine.txt").read_text() == "precious"


def test_a_case_that_fails_is_named_and_the_rest_is_kept(
    tmp_path: Path, windows: list[int]
) -> None:
    lab = noisy_lab(tmp_path)
    torn = tmp_path / "b.nii.gz"
    whole = torn.read_bytes()
    torn.write_bytes(whole[: len(whole) // 2])
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 2
    assert "b.nii.gz" in result.stderr and "damaged" in result.stderr
    torn.write_bytes(whole)
    first = sum(windows)
    assert esegeta("dissect", lab.write()).exit_code == 0
    assert sum(windows) == 2 * first


def test_thresholds_and_overlaps_read_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading and unpacking take longer than a small network: what concepts need is kept."""
    read: list[str] = []
    plain = volume_files.read_array

    def counted(image: Any, path: Path) -> Any:
        read.append(path.name)
        return plain(image, path)

    monkeypatch.setattr(volume_files, "read_array", counted)
    lab = noisy_lab(tmp_path)
    lab.keys["dissection"].update(holdout=False, min_iou=1.0)  # no unit is named, and shown
    assert esegeta("dissect", lab.write()).exit_code == 0
    # An image is read beforehand, to see that one can be; then image and label of two cases.
    assert read[0] == "a.nii.gz"
    assert len(read[1:]) == len(set(read[1:])) == 4


@pytest.mark.slow
def test_another_dissection_replaces_the_results_only_when_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = noisy_lab(tmp_path)
    lab.keys["dissection"]["min_iou"] = 0.0
    esegeta("dissect", lab.write())
    folder = lab.root / "dissection"
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != NAME]
    before = {path: path.read_bytes() for path in files}
    assert any(path.suffix == ".png" for path in before)
    lab.keys["dissection"]["quantile"] = 0.1
    with monkeypatch.context() as patch:
        patch.setattr(passes, "count_case", kill_at(1, counts.count_case))
        with pytest.raises(KilledError):
            esegeta("dissect", lab.write())
    assert {path: path.read_bytes() for path in before} == before
    result = esegeta("dissect", lab.write())
    assert "is replaced once this one is ready" in result.stdout
    assert read_json(folder / "summary.json")["quantile"] == 0.1


@pytest.mark.slow
def test_progress_counts_all_passes_from_the_start(tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path)
    lab.keys["dissection"].update(
        min_iou=0.0, q_value=1.0, ablation={"draws": 2}, trails={"samples": 100}
    )
    lines = esegeta("dissect", lab.write()).stdout.splitlines()
    counts = [line.split("]")[0][1:].split("/") for line in lines if line.startswith("[")]
    assert len({total for _, total in counts}) == 1
    assert counts[-1][0] == counts[-1][1]


@pytest.mark.slow
def test_trails_continue_with_the_finished_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    whole = causal_lab(tmp_path / "other")
    assert esegeta("dissect", whole.write()).exit_code == 0
    lab = causal_lab(tmp_path)
    kill = kill_at(1, influence.Influences._changed)  # within the first case's influences
    with monkeypatch.context() as patch:
        patch.setattr(influence.Influences, "_changed", kill)
        with pytest.raises(KilledError):
            esegeta("dissect", lab.write())
    result = esegeta("dissect", lab.write())
    assert "n1 / dissection / trails, samples: skipped (already finished)" in result.stdout
    assert "n0 / dissection / trails, influences ..." in result.stdout
    for name in ("trails.json", "trails.graphml"):
        folders = [each.root / "dissection" for each in (lab, whole)]
        assert len({(folder / name).read_bytes() for folder in folders}) == 1

"""The yardstick sees what differs, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from tests.experiments import esegeta
from tests.golden.canonical import canonical
from tests.golden.difference import differences, write_record
from tests.golden.experiments import configs
from tests.golden.yardstick import compare, make

Change = Callable[[Path], Any]


def _results(out: Path, change: Change | None = None) -> Path:
    """Write one file of each kind, change something, and record it as a make does."""
    folder = out / "lab" / "results" / "tiny"
    folder.mkdir(parents=True)
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 2, 3, 1])), folder / "map.nii.gz")
    (folder / "scores.csv").write_text("score,value\ngini,0.25\nauroc,0.5\n")
    facts = {"seconds": 1.5, "evaluations": 3, "more": {"started": "now"}, "folder": str(folder)}
    _write_json(folder, facts)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "map.png")
    save_file({"w": np.zeros(3, np.float32)}, folder / "patterns-0a1b2c.safetensors")
    if change is not None:
        change(folder)
    _record(out)
    return out


def _record(out: Path, **options: Any) -> None:
    """Write the record of the results that lie in a folder."""
    contents = canonical(out / "lab" / "results")
    files = {f"results/{name}": content for name, content in contents.items()}
    write_record(out, files, {"0 run tiny.yaml": 0}, **options)


def _write_json(folder: Path, keys: dict[str, Any]) -> None:
    (folder / "map.json").write_text(json.dumps(keys))


def _change_voxel(folder: Path) -> None:
    image = nib.load(folder / "map.nii.gz")
    voxels = np.asarray(image.dataobj).copy()
    voxels[1, 2, 3] += 0.5
    nib.save(nib.Nifti1Image(voxels, image.affine), folder / "map.nii.gz")


def _negate_zero(folder: Path) -> None:
    image = nib.load(folder / "map.nii.gz")
    voxels = np.asarray(image.dataobj).copy()
    voxels[0, 0, 0] = -0.0
    nib.save(nib.Nifti1Image(voxels, image.affine), folder / "map.nii.gz")


def _move_image(folder: Path) -> None:
    voxels = np.asarray(nib.load(folder / "map.nii.gz").dataobj)
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 2, 4, 1])), folder / "map.nii.gz")


def _change_pixel(folder: Path) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[2, 1, 0] = 1
    Image.fromarray(pixels).save(folder / "map.png")


def _change_tensor(folder: Path) -> None:
    save_file({"w": np.ones(3, np.float32)}, folder / "patterns-0a1b2c.safetensors")


CHANGES: dict[str, tuple[Change, str]] = {
    "voxel": (_change_voxel, "differs: results/tiny/map.nii.gz\n    1 of 24 values, at most 0.5 "),
    "sign of zero": (_negate_zero, "differs: results/tiny/map.nii.gz\n    0 of 24 values, at most"),
    "affine": (_move_image, "differs: results/tiny/map.nii.gz\n    affine: "),
    "pixel": (_change_pixel, "differs: results/tiny/map.png\n    1 of 64 values, at most 1 apart"),
    "tensor": (_change_tensor, "patterns-FINGERPRINT.safetensors\n    tensors that differ: w"),
    "table": (
        lambda folder: (folder / "scores.csv").write_text("score,value\ngini,0.26\nauroc,0.5\n"),
        "1 of 3 lines, first at 2:\n    - gini,0.25\n    + gini,0.26",
    ),
    "fact": (
        lambda folder: _write_json(folder, {"seconds": 1.5, "evaluations": 4}),
        '- "evaluations": 3,',
    ),
    "extra": (lambda folder: (folder / "new.csv").write_text("a\n"), "extra: results/tiny/new.csv"),
    "missing": (lambda folder: (folder / "map.png").unlink(), "missing: results/tiny/map.png"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_every_change_is_reported(tmp_path: Path, kind: str) -> None:
    change, words = CHANGES[kind]
    found = list(differences(_results(tmp_path / "a"), _results(tmp_path / "b", change)))
    assert len(found) == 1
    assert words in found[0]


def test_times_places_and_fingerprints_are_not_differences(tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        facts = {"more": {"started": "later"}, "evaluations": 3, "seconds": 7.0}
        _write_json(folder, {**facts, "folder": str(folder)})
        (folder / "patterns-0a1b2c.safetensors").rename(folder / "patterns-ffff.safetensors")

    first, second = _results(tmp_path / "a"), _results(tmp_path / "b", change)
    assert list(differences(first, second)) == []
    assert compare(first, second, []) == 0


def test_declared_differences_are_left_out(tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        _change_voxel(folder)
        (folder / "scores.csv").write_text("score,value\ngini,0.26\nauroc,0.5\n")

    first, second = _results(tmp_path / "a"), _results(tmp_path / "b", change)
    assert list(differences(first, second, ["*.nii.gz", "*.csv::gini"])) == []
    assert len(list(differences(first, second, ["*.nii.gz", "*.csv::auroc"]))) == 1
    assert len(list(differences(first, second, ["*.csv"]))) == 1
    assert compare(first, second, ["*.csv"]) == 1


def test_another_exit_code_is_reported(tmp_path: Path) -> None:
    first, second = _results(tmp_path / "a"), _results(tmp_path / "b")
    write_record(second, {}, {"0 run tiny.yaml": 1})
    assert "exit code of 0 run tiny.yaml: 0, then 1" in list(differences(first, second))


def test_results_missing_in_a_partial_record_are_not_compared(tmp_path: Path) -> None:
    first, second = _results(tmp_path / "a"), _results(tmp_path / "b", _change_voxel)
    other = first / "lab" / "results" / "other"
    other.mkdir()
    (other / "scores.csv").write_text("score\n")
    _record(first)
    assert len(list(differences(first, second))) == 2
    _record(second, is_part=True)
    assert len(list(differences(first, second))) == 1


def test_make_refuses_other_folders_and_other_packages(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="something else"):
        make(tmp_path)
    with pytest.raises(SystemExit, match="holds no package esegeta"):
        make(tmp_path / "new", checkout=tmp_path)


@pytest.mark.parametrize(("command", "key"), [("methods", "methods"), ("scores", "scores")])
@pytest.mark.parametrize("ndim", [2, 3])
def test_every_method_and_score_is_run(
    command: str, key: str, ndim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    known = set(re.findall(r"^  ([a-z]\w*)  ", esegeta(command).output, re.MULTILINE))
    known -= {"name", "score", "captum"}  # which is every class of Captum, and none of ours
    assert len(known) > 20
    entries = configs()[f"{command}_{ndim}d"][key]
    assert {entry if isinstance(entry, str) else entry["name"] for entry in entries} == known

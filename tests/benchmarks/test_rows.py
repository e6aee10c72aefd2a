"""Every row of the benchmarks asks for contenders that its process knows."""

from __future__ import annotations

from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from benchmarks import (
    dissection_contenders,
    equality_rows,
    label_process,
    map_process,
    program_rows,
    similarity_contenders,
)
from benchmarks.__main__ import ROWS
from benchmarks.job import DissectionJob, Job, LabelJob, MapJob, SimilarityJob
from benchmarks.run import BenchmarkRun, Result
from benchmarks.smallest import smallest_method, smallest_score
from esegeta.explain import EXPLAINERS
from esegeta.score import SCORES
from tests.volume import test_one_image_in_every_format as one_image
from tests.volume.dicom_files import itk_volume, voxels

EQUAL = [name for name in ROWS if name.startswith("equal_")]
"""Rows of the tests' own oracles, which start no process."""
OWN = ("help", "demo", "view", "pictures", "examples", "workers", *EQUAL)
MEASURED = [name for name in ROWS if name not in OWN]


class Recorder(BenchmarkRun):
    """A run that starts no process and says that each job took longer than the one before."""

    def run(self, *jobs: Job) -> list[Result]:
        self.notes.extend(job.contender for job in jobs)
        known = {
            MapJob: map_process.CONTENDERS,
            DissectionJob: dissection_contenders.DISSECTIONS,
            SimilarityJob: similarity_contenders.SIDES,
            LabelJob: label_process.CONTENDERS,
        }
        for job in jobs:
            assert job.contender in known[type(job)]
        file = self.folder / "map.pt"
        torch.save(torch.ones(2), file)
        took = range(len(jobs), 0, -1)
        return [Result(n, n, n, 0.0, {"freeze": n, "work": n}, file) for n in took]


@pytest.mark.parametrize("quick", [False, True])
def test_every_row_compares_with_a_contender(
    quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_rows, "RESUMED", (3, 6))  # it is run, not recorded
    recorder = Recorder("cpu", 1, 1, 1, quick, tmp_path)
    for name in MEASURED:
        lines = list(ROWS[name](recorder))
        assert lines
        assert any(line.ratio is not None and line.ratio > 0 for line in lines)
    asked = {
        *map_process.CONTENDERS,
        *dissection_contenders.DISSECTIONS,
        *label_process.CONTENDERS,
    }
    assert asked <= set(recorder.notes)


@pytest.mark.slow
def test_the_time_of_a_click_is_compared_with_its_windows(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
    *labels, last = ROWS["view"](BenchmarkRun("cpu", 1, 2, 1, True, tmp_path))
    assert len(labels) == 1 and last.must == 1.3
    assert last.ratio is not None and last.ratio > 0.5  # how much below 1.3, a busy machine hides


def test_formats_that_differ_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_another(path: Path) -> None:
        sitk.WriteImage(itk_volume(voxels(seed=1)), str(path))

    some = {name: one_image.WRITERS[name] for name in ("a.nii", "a.mha")}
    for number, writers in enumerate((some, {**some, "b.mha": write_another})):
        (tmp_path / str(number)).mkdir()
        monkeypatch.setattr(one_image, "WRITERS", writers)
        bench = Recorder("cpu", 1, 1, 1, True, tmp_path / str(number))
        (line,) = equality_rows.formats(bench)
        assert line.row == f"one volume in {2 + number} formats"
        assert (line.ratio, line.verdict) == (number, ("met", "NOT MET")[number])


def test_every_method_and_score_has_a_cheapest_form() -> None:
    assert all(type(smallest_method(name)) is type(make()) for name, make in EXPLAINERS.items())
    assert all(type(smallest_score(name)) is type(make()) for name, make in SCORES.items())


@pytest.mark.slow
def test_the_time_of_pictures_is_compared_with_their_passes(tmp_path: Path) -> None:
    bench = BenchmarkRun("cpu", 1, 1, 1, True, tmp_path)
    wall, cpu = ROWS["pictures"](bench)
    assert (wall.figure, wall.must, cpu.must) == ("time", 1.2, None)
    assert wall.ratio is not None


@pytest.mark.slow
def test_influence_is_compared_with_its_passes_in_time_and_value(tmp_path: Path) -> None:
    lines = list(ROWS["examples"](BenchmarkRun("cpu", 1, 1, 1, True, tmp_path)))
    assert [line.must for line in lines] == [1.3, None, None, None, 1e-4]
    assert lines[-1].verdict == "met"
    assert all(line.ratio is not None and line.ratio > 0 for line in lines[:-1])

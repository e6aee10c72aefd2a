"""The check of a GPU says plainly that there is none, and measures what it says it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_check
from benchmarks.gpu_check import NO_DEVICE, correlation, exactness, finished, is_met, main
from benchmarks.gpu_contenders import GpuSetting
from benchmarks.table import Line

TINY = GpuSetting(filters=(2, 3, 3), side=12, window=8)
CPU = torch.device("cpu")


def test_the_check_is_skipped_with_a_message_without_cuda(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == NO_DEVICE
    said = capsys.readouterr().err
    assert "no CUDA device" in said
    assert "nothing was checked" in said


@pytest.mark.slow
def test_the_same_device_gives_the_same_numbers() -> None:
    lines = {(line.row, line.figure): line for line in exactness(CPU, TINY)}
    for what in ("prediction", "saliency"):
        assert lines[f"fp32, {what}", "largest difference to the CPU"].ratio == 0
        half = lines[f"bf16, {what}", "largest difference to the CPU"]
        assert half.ratio is not None
        assert 1e-5 < half.ratio < 0.5
        assert float(lines[f"bf16, {what}", "correlation with the CPU"].ours) > 0.9


@pytest.mark.slow
def test_throughput_is_compared_with_the_bare_network() -> None:
    (line,) = gpu_check.throughput(CPU, TINY)
    assert line.ratio is not None
    assert line.ratio > 0
    assert line.must == pytest.approx(1 / 0.9)


def test_correlation_is_that_of_all_voxels() -> None:
    one = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert correlation(one, 2 * one + 1) == pytest.approx(1)
    assert correlation(one, -one) == pytest.approx(-1)


def test_missing_or_too_large_ratios_are_not_met() -> None:
    assert is_met([Line("a", "b", "c"), Line("a", "b", "c", ratio=1.0, must=1.0)])
    assert not is_met([Line("a", "b", "c", ratio=1.1, must=1.0)])
    assert not is_met([Line("a", "b", "failed", must=0)])


def test_finished_methods_are_read_from_the_files_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    record = {
        "methods": {"fine": {"name": "occlusion"}, "saliency": {}},
        "units": [
            {"method": "fine", "status": "done"},
            {"method": "saliency", "status": "failed"},
        ],
    }
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    lines = ["case,target,method,score,value,better", "a,b,c,road_lerf,1,low", "a,b,c,gini,1,high"]
    (tmp_path / "run/scores.csv").write_text("\n".join(lines))
    assert finished(tmp_path, "method") == {"occlusion"}
    assert finished(tmp_path, "score") == {"road", "gini"}

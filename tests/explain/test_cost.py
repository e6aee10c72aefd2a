"""What methods cost: sums, multiples, words, and the windows that a progress bar foresees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from esegeta.explain import (
    AblationCam,
    Cost,
    GradCam,
    HiResCam,
    IntegratedGradients,
    Occlusion,
    PatternNet,
    Saliency,
    ScoreCam,
    SmoothGrad,
)
from esegeta.explain.cost import measure

BOX = Cost.of(1, over="touched", per="box")
GRAD_CAM = Cost.of(1, 1) + Cost.of(1, over="all")


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Cost.of(), "0 F"),
        (Cost.of(1, 1), "1 F + 1 B"),
        (Cost.of(0, 2), "2 B"),
        (Cost.of(1, 1) + Cost.of(2), "3 F + 1 B"),
        (16 * (Cost.of(34, 32)), "544 F + 512 B"),
        (2 * (3 * Cost.of(2)), "12 F"),
        (3 * Cost.of(1, 2, extra_backwards=2), "3 F + 6 to 12 B"),
        (BOX, "1 F for each box, of the windows it touches"),
        (4 * BOX + Cost.of(2), "4 F for each box, of the windows it touches, and 2 F"),
        (GRAD_CAM, "1 F + 1 B, and 1 F over all windows"),
        (GRAD_CAM + GRAD_CAM, "2 F + 2 B, and 2 F over all windows"),
        (
            Cost.of(1, 1, per="group") + Cost.of(1, over="all", per="group"),
            "1 F + 1 B, and 1 F over all windows, for each group",
        ),
        (
            Cost.of(1, per="channel", at_most=64) + Cost.of(3),
            "1 F for each channel, at most 64, and 3 F",
        ),
        (Cost.of(1, 5, over="all", per="fit"), "1 F + 5 B over all windows for each fit"),
    ],
)
def test_costs_add_up_and_read_well(cost: Cost, text: str) -> None:
    assert str(cost) == text


@pytest.mark.parametrize(
    ("cost", "linear", "not_linear"),
    [
        (Cost.of(), 0, 0),
        (Cost.of(1, 1), 3, 3),
        (Cost.of(34, 32), 34 * 3, 65 * 3),
        (16 * Cost.of(1, 1), 16 * 3, 16 * 3),
        (16 * Cost.of(1, 1).at_another_image(), 16 * 3, 32 * 3),
        (4 * Cost.of(2).at_another_image(), 8 * 3, 8 * 3),
        (Cost.of(1, 4), 3, 3),
        (2 * Cost.of(3, 1, not_linear=4) + Cost.of(5, 3), 11 * 3, 15 * 3),
        (Cost.of(512), 512 * 3, 512 * 3),
        (GRAD_CAM, 3 + 10, 3 + 10),
        (Cost.of(37, 32, not_linear=195), 37 * 3, 195 * 3),
        (BOX, None, None),
        (5 * BOX + Cost.of(2), None, None),
        (Cost.of(2, 1, over="region"), None, None),
    ],
)
def test_the_number_of_windows_is_predicted_where_known(
    cost: Cost, linear: int | None, not_linear: int | None
) -> None:
    assert cost.windows(3, 10, is_linear=True) == linear
    assert cost.windows(3, 10, is_linear=False) == not_linear
    assert cost.is_known == (linear is not None)


def test_the_cost_follows_the_parameters() -> None:
    assert Saliency().cost == Cost.of(1, 1)
    assert IntegratedGradients(steps=3).cost == Cost.of(5, 3)
    assert str(SmoothGrad(IntegratedGradients(steps=3), samples=2).cost) == "10 F + 6 B"
    assert not SmoothGrad(Occlusion(), samples=2).cost.is_known
    assert HiResCam(layer=("a", "b")).cost == 2 * HiResCam(layer="a").cost
    assert GradCam().cost == GRAD_CAM
    assert "at most" not in str(ScoreCam(max_channels=None).cost)
    assert not AblationCam().cost.is_known
    assert not PatternNet().cost.is_known
    assert PatternNet(patterns="file").cost == Cost.of(1, 1)


@pytest.mark.parametrize("written", ["VmHWM:    2048 kB\n", "VmRSS:    2048 kB\n", None])
def test_peak_memory_is_measured_on_systems_without_a_record_of_it(
    written: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    if written is not None:
        status.write_text(written)
    monkeypatch.setattr("esegeta.explain.cost.STATUS", status)
    monkeypatch.setattr("esegeta.explain.cost.CLEAR_REFS", tmp_path / "none" / "clear_refs")
    with measure(torch.device("cpu")) as meter:
        pass
    if written is not None and written.startswith("VmHWM"):
        assert meter.peak_memory_mb == 2
    else:
        assert meter.peak_memory_mb > 50  # torch alone takes more

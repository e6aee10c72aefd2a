"""The picture of a finished map follows what becomes known beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from esegeta.report import draw_overlay
from tests.workflow.predictions import expect, liver_lab, positive


@pytest.mark.slow
def test_a_picture_shows_a_warning_of_an_unexpected_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esegeta.report.save.draw_overlay", draw_overlay)
    lab = liver_lab(tmp_path)
    assert lab.run().exit_code == 0
    overlay = lab.file("a", "liver", "saliency", "overlay.png")
    plain = imread(overlay)[..., :3]
    times = lab.maps()
    expect(lab, 1 - positive())
    assert lab.run().exit_code == 1
    warned = imread(overlay)[..., :3]
    assert warned.shape[0] > plain.shape[0] + 20 and lab.maps() == times
    rows = int(0.9 * plain.shape[0])
    np.testing.assert_allclose(warned[:rows], plain[:rows], atol=1 / 255)
    expect(lab, positive())
    assert lab.run().exit_code == 0
    assert imread(overlay).shape[0] == pytest.approx(plain.shape[0], abs=1)

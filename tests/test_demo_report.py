"""The demo's report: one file that can be sent, and a first picture that comes soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from esegeta.compare.pages import write_report
from tests.browser import opened, started
from tests.experiments import esegeta

ROOT = Path(__file__).parents[1]
MOST_BYTES = 8_000_000
MOST_SECONDS = 30.0
"""Of two loaded cores without a graphics card; it takes about two on a quiet machine."""


@pytest.mark.slow
def test_the_demo_s_report_is_one_small_file_that_shows_a_map(tmp_path: Path) -> None:
    # Its scores, steps and boxes take minutes; a second saliency stands for integrated gradients,
    # whose map is as noisy and a little smaller.
    changes = [
        "methods=[saliency, {name: saliency, id: again}, hires_cam]",
        "scores=[]",
        "report=false",
    ]
    options = [part for change in changes for part in ("--set", change)]
    done = esegeta("run", ROOT / "configs" / "demo.yaml", "-o", tmp_path, "-q", *options)
    assert done.exit_code == 0, done.output
    page = write_report([tmp_path / "demo"], tmp_path / "demo.html", single_file=True)
    # Occlusion's map, of 45 mm boxes, would add 0.1 MB and its picture 0.2 MB.
    assert page.stat().st_size < MOST_BYTES - 500_000
    with started() as browser:
        start = time.perf_counter()
        with opened(browser, page) as tab:
            seconds = time.perf_counter() - start
            assert tab.evaluate("document.body.dataset.shown").startswith("r0m")
            assert tab.locator("#label-value").inner_text() == "liver"
    print(f"first picture after {seconds:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
    assert seconds < MOST_SECONDS

"""Concepts without pictures, and with a classifier that takes no time; tests ask for them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from esegeta.report import Panel
from esegeta.report.tcav_figures import ShareBars, SizeBar


def _difference(
    rows: np.ndarray, is_concept: np.ndarray, *rest: object
) -> tuple[np.ndarray, float]:
    """Return the normal and bias of what is nearer to the mean of the one than of the other."""
    one, other = rows[is_concept].mean(axis=0), rows[~is_concept].mean(axis=0)
    normal = one - other
    return normal, float(-normal @ (one + other) / 2)


def _head(
    train: np.ndarray, truth: np.ndarray, weights: np.ndarray, features: np.ndarray
) -> np.ndarray:
    return np.asarray(features @ _difference(train, truth)[0])


def _write_sizes(path: Path, bars: Sequence[SizeBar], *rest: object) -> None:
    path.write_text("".join(f"{bar.concept} in {bar.layer}: {bar.note}\n" for bar in bars))


def _write_shares(path: Path, panels: Sequence[ShareBars], *rest: object) -> None:
    path.write_text("".join(f"{panel.title}\n" for panel in panels))


def _write_unit(path: Path, title: str, names: object, rows: Sequence[Sequence[Panel]]) -> None:
    path.write_text("\n".join([title, *(row[0].title for row in rows)]))


@pytest.fixture(scope="module")
def quick_concepts() -> Iterator[None]:
    """Replace fits by differences of means, and pictures by what stands in them.

    Fits are what `tests/concepts` are about, and pictures what `tests/report` are.
    """
    with pytest.MonkeyPatch.context() as patch:
        place = "esegeta.workflow.concepts"
        patch.setattr(f"{place}.results.draw_sizes", _write_sizes)
        patch.setattr(f"{place}.results.draw_shares", _write_shares)
        patch.setattr(f"{place}.pictures.draw_unit", _write_unit)
        patch.setattr("esegeta.report.save.draw_overlay", lambda path, *_: path.touch())
        patch.setattr("esegeta.concepts.cav._fit", _difference)
        patch.setattr("esegeta.concepts.cav.JUDGED_DRAWS", 2)
        module = importlib.import_module("esegeta.concepts.completeness")  # a function hides it
        patch.setattr(module, "_head", _head)
        patch.setattr(module, "THRESHOLDS", 8)
        torch.set_num_threads(1)
        yield

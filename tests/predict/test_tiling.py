"""Windows that stand evenly and count without a floor: nnU-Net's, and what holds for any."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data.utils import compute_importance_map

from esegeta.axes import Shape
from esegeta.errors import ConfigError
from esegeta.predict import WindowPlan
from esegeta.predict.blend import coverage_of
from esegeta.predict.tiling import importance_of, starts_along

CPU = torch.device("cpu")
AXES = [(64, 26), (26, 26), (27, 26), (110, 64), (41, 8), (97, 33), (12, 5), (200, 7)]


def test_even_starts_are_those_that_nnunet_is_known_for() -> None:
    assert starts_along(64, 26, 0.5, "even") == [0, 13, 25, 38]
    assert starts_along(110, 64, 0.5, "even") == [0, 23, 46]
    assert starts_along(64, 32, 0.5, "even") == starts_along(64, 32, 0.5, "fixed")


@pytest.mark.parametrize(("length", "size"), AXES)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
def test_even_starts_cover_the_axis(length: int, size: int, overlap: float) -> None:
    starts = starts_along(length, size, overlap, "even")
    steps = np.diff(starts)
    assert starts[0] == 0 and starts[-1] == length - size
    assert all(1 <= step <= math.ceil(size * (1 - overlap)) for step in steps)
    assert len(steps) == 0 or steps.max() - steps.min() <= 1


@pytest.mark.parametrize(("length", "size"), AXES)
@pytest.mark.parametrize("step", [0.25, 0.5, 0.75, 1.0])
def test_even_starts_are_nnunets(length: int, size: int, step: float) -> None:
    module = pytest.importorskip("nnunetv2.inference.sliding_window_prediction")
    (expected,) = module.compute_steps_for_sliding_window((length,), (size,), step)
    assert starts_along(length, size, 1 - step, "even") == expected


@pytest.mark.parametrize("size", [(8, 8), (9, 16), (6, 7, 12), (32, 8, 5)])
def test_gaussian_without_floor_is_nnunets(size: tuple[int, ...]) -> None:
    module = pytest.importorskip("nnunetv2.inference.sliding_window_prediction")
    expected = module.compute_gaussian(size, 1 / 8, 1.0, torch.float64, CPU)
    module.compute_gaussian.cache_clear()
    assert torch.equal(importance_of(size, "nnunet", CPU, torch.float64), expected)


def test_gaussian_without_floor_is_a_product_of_normalised_bells() -> None:
    """Away from what is cut off, each axis is exp(-(d / sigma)^2 / 2) of the distance to n // 2."""
    weights = importance_of((16, 24), "nnunet", CPU, torch.float64)
    bells = [
        torch.exp(-(((torch.arange(n, dtype=torch.float64) - n // 2) * 8 / n) ** 2) / 2)
        for n in (16, 24)
    ]
    assert torch.allclose(weights, bells[0][:, None] * bells[1][None], rtol=1e-9)
    assert float(weights.min()) == pytest.approx(math.exp(-16), rel=1e-9)


def test_blended_weights_sum_to_one() -> None:
    plan = WindowPlan((8, 6), blend="nnunet", positions="even")
    windows = plan.lay((21, 17))
    total = torch.zeros(windows.padded_shape, dtype=torch.float64)
    weights = windows.importance(CPU, torch.float64)
    coverage = coverage_of(windows.outputs, CPU, torch.float64)
    for box in windows.boxes:
        total[box] += weights / coverage[box]
    assert torch.allclose(total, torch.ones_like(total))


def test_touching_box_works_for_even_positions() -> None:
    windows = WindowPlan((8, 6), positions="even").lay((21, 17))
    for corner in ((0, 0), (7, 9), (20, 16)):
        box = tuple(slice(place, place + 1) for place in corner)
        mask = torch.zeros((21, 17), dtype=torch.bool)
        mask[box] = True
        assert windows.touching_box(box) == windows.touching(mask)


@pytest.mark.parametrize(
    ("key", "word", "nearest"), [("positions", "evn", "even"), ("blend", "gausian", "gaussian")]
)
def test_unknown_words_are_refused_with_the_nearest(key: str, word: str, nearest: str) -> None:
    plan = WindowPlan((8, 8))
    object.__setattr__(plan, key, word)  # past the type checker, as untyped callers come
    with pytest.raises(
        ConfigError, match=f'{key}: "{word}" is not known; did you mean "{nearest}"'
    ):
        plan.__post_init__()


@pytest.mark.parametrize("size", [(1, 64), (7, 20), (96, 64, 3), (17, 16, 5), (160, 128)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_weights_of_a_window_are_those_of_monai(size: Shape, dtype: torch.dtype) -> None:
    for blend in ("gaussian", "constant"):
        theirs = compute_importance_map(size, mode=blend, sigma_scale=0.125, dtype=dtype)
        assert torch.equal(importance_of(size, blend, CPU, dtype), theirs)

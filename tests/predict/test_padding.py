"""What lies outside of an image is numpy's, and its transpose is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.predict.padding import extend, fold

NUMPY = {"zeros": "constant", "edge": "edge", "reflect": "reflect"}
WIDTHS = [((0, 0), (0, 0)), ((3, 4), (0, 2)), ((1, 0), (9, 11))]


@pytest.mark.parametrize("shape", [(5, 4), (2, 3), (1, 2)])
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("padding", NUMPY)
def test_padding_equals_that_of_numpy(
    padding: str, widths: tuple[tuple[int, int], ...], shape: tuple[int, int]
) -> None:
    data = torch.randn(2, 3, *shape, dtype=torch.float64)
    expected = np.pad(data.numpy(), ((0, 0), (0, 0), *widths), mode=NUMPY[padding])
    assert torch.equal(extend(data, widths, padding), torch.from_numpy(expected))


@pytest.mark.parametrize("shape", [(5, 4), (2, 3), (1, 2)])
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("padding", NUMPY)
def test_folding_is_the_transpose_of_padding(
    padding: str, widths: tuple[tuple[int, int], ...], shape: tuple[int, int]
) -> None:
    x = torch.randn(2, *shape, dtype=torch.float64)
    extended = extend(x, widths, padding)
    y = torch.randn_like(extended)
    folded = fold(y, widths, padding)
    assert folded.shape == x.shape
    torch.testing.assert_close((extended * y).sum(), (x * folded).sum())

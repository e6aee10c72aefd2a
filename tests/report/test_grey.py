"""Black and white: what preprocessing keeps, else percentiles of what is no air."""

import numpy as np
import pytest

from esegeta.report import grey_range


def test_percentiles_are_of_the_values_above_the_smallest() -> None:
    """However much air surrounds 101 values in even steps."""
    values = np.linspace(-50, 50, 101)
    for air in (1, 100_000):
        image = np.concatenate([np.full(air, -1000.0), values])
        assert grey_range(image) == pytest.approx((-49, 49))


def test_a_window_goes_before_percentiles_where_all_channels_have_the_same() -> None:
    image = np.concatenate([[-1.0], np.linspace(0, 100, 101)])
    assert grey_range(image, ((-160, 240),)) == (-160, 240)
    assert grey_range(image, ((0, 1), (0, 1), (0, 1))) == (0, 1)
    for unknown in ((None,), ((0, 1), None), ((0, 1), (0, 2))):
        assert grey_range(image, unknown) == pytest.approx((1, 99))


@pytest.mark.parametrize("image", [np.full(9, 3.0), np.array([0.0, 3.0, 3.0])])
def test_the_grey_range_of_a_constant_image_is_not_empty(image: np.ndarray) -> None:
    low, high = grey_range(image)
    assert (low, high) == (3.0, 4.0)

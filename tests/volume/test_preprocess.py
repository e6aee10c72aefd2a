"""Intensity rules against NumPy, and preprocessing that is left out or impossible."""

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError, DataError
from esegeta.volume import Intensity, Preprocess, volume_from_tensor
from tests.builders import SHAPES
from tests.volume.files import noise


def grey_values(ndim: int) -> np.ndarray:
    """Return two channels of different range, `2 *S`."""
    array = noise((2, *SHAPES[ndim]))
    array[0] = 300 * array[0] - 100
    array[1] = 0.1 * array[1] + 5
    return array


def rewritten(channel: np.ndarray, rule: Intensity) -> np.ndarray:
    x = channel.astype(np.float64)
    if rule.kind == "window":
        return (np.clip(x, rule.low, rule.high) - rule.low) / (rule.high - rule.low)
    if rule.kind == "percentile":
        low, high = np.percentile(x, [rule.low, rule.high])
        return (np.clip(x, low, high) - low) / (high - low)
    if rule.kind == "minmax":
        return (x - x.min()) / (x.max() - x.min())
    if rule.kind == "zscore":
        return (x - x.mean()) / x.std()
    return x


RULES = [
    Intensity("window", -250, 400),
    Intensity("window", 0.0, 5.0),
    Intensity("percentile", 1, 99),
    Intensity("percentile", 0, 62.5),
    Intensity("minmax"),
    Intensity("zscore"),
    Intensity("none"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.kind}{rule.low:g}-{rule.high:g}")
def test_intensity_is_normalised_per_channel(ndim: int, rule: Intensity) -> None:
    array = grey_values(ndim)
    volume = volume_from_tensor(torch.from_numpy(array))
    result = Preprocess(intensity=rule)(volume).data
    assert type(result) is torch.Tensor
    assert result.dtype == torch.float32
    for channel in range(2):
        expected = rewritten(array[channel], rule)
        np.testing.assert_allclose(result[channel].numpy(), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.filterwarnings("ignore:Divide by zero")
@pytest.mark.parametrize("kind", ["minmax", "zscore", "percentile"])
def test_a_constant_channel_stays_finite(kind: str) -> None:
    rule = Intensity(kind, 1, 99)
    volume = volume_from_tensor(torch.full((1, 4, 4), 3.0))
    result = Preprocess(intensity=rule)(volume).data
    np.testing.assert_array_equal(result.numpy(), 0.0)


def test_an_image_without_preprocessing_stays_unchanged(ndim: int) -> None:
    volume = volume_from_tensor(torch.from_numpy(grey_values(ndim)))
    result = Preprocess()(volume)
    assert torch.equal(result.data, volume.data)
    assert result.grid.same_as(volume.grid)
    assert result.source is volume.source


def test_intensity_does_not_touch_the_volume_it_was_given() -> None:
    array = grey_values(2)
    volume = volume_from_tensor(torch.from_numpy(array.copy()))
    for rule in RULES:
        Preprocess(intensity=rule)(volume)
    np.testing.assert_array_equal(volume.data.numpy(), array)


@pytest.mark.parametrize("kind", ["window", "percentile"])
@pytest.mark.parametrize(("low", "high"), [(400, -250), (3, 3), (float("nan"), 1)])
def test_an_empty_range_is_refused(kind: str, low: float, high: float) -> None:
    with pytest.raises(ConfigError, match=rf"intensity {kind}.*is empty"):
        Intensity(kind, low, high)


@pytest.mark.parametrize(("low", "high"), [(-1, 50), (50, 101)])
def test_percentiles_lie_in_0_to_100(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match=r"must lie within 0\.\.100"):
        Intensity("percentile", low, high)


@pytest.mark.parametrize("codes", ["", "R", "RRS", "RAX", "ras", "RASL", "RLS"])
def test_invalid_axis_codes_are_refused(codes: str) -> None:
    with pytest.raises(ConfigError, match="not a set of axis codes"):
        Preprocess(orientation=codes)


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (1.0, -2.0)])
def test_a_spacing_of_zero_or_less_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="above zero"):
        Preprocess(spacing_mm=spacing)


def test_a_spacing_with_another_number_of_axes_is_refused() -> None:
    volume = volume_from_tensor(torch.zeros(1, 4, 4))
    with pytest.raises(ConfigError, match=r"3 values for a 2D image.*give 2 values"):
        Preprocess(spacing_mm=(1.0, 1.0, 1.0))(volume)


def test_percentiles_that_coincide_are_refused() -> None:
    data = torch.stack([torch.rand(20, 20), torch.zeros(20, 20)])
    data[1, 0, 0] = 3.0  # almost all zero, but not constant
    with pytest.raises(DataError, match="in channel 1 the 1th and the 99th percentile are both 0"):
        Preprocess(intensity=Intensity("percentile", 1, 99))(volume_from_tensor(data))


def test_a_volume_keeps_its_origin_while_it_is_known() -> None:
    file = volume_from_tensor(torch.from_numpy(grey_values(3)))
    chain = Preprocess(intensity=Intensity("window", 0.0, 5.0))
    seen = chain(file)
    assert seen.origin is not None
    assert torch.equal(seen.origin.image, file.data)
    assert seen.origin.chain == chain
    assert file.origin is None  # it is the file
    assert seen.flipped(0).origin is seen.origin
    # Neither other data nor a second chain is what that chain makes of that image.
    assert seen.with_data(seen.data * 2).origin is None
    assert Preprocess("LPS")(seen).origin is None

"""The probe before a run says what windows and channels a network takes."""

from __future__ import annotations

import json

import pytest
import torch

from esegeta.errors import ModelError, WindowError
from esegeta.predict import count_outputs
from tests.builders import linear, unet
from tests.networks import Counting, Strided, Wrapped
from tests.oracles import state_of


@pytest.mark.parametrize("num_outputs", [1, 2, 5])
def test_counts_the_output_channels(ndim: int, num_outputs: int) -> None:
    network = linear(ndim, in_channels=3, out_channels=num_outputs)
    assert count_outputs(network, (5, 4, 3)[:ndim], 3) == num_outputs


def test_counts_the_channels_of_the_first_output(ndim: int) -> None:
    assert count_outputs(Wrapped(unet(ndim, out_channels=3), list), (8,) * ndim, 1) == 3


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(9, 33), (35, 32), (18, 31)])
def test_a_window_error_names_the_multiple(size: tuple[int, int], levels: int) -> None:
    network = Strided(2, levels)
    multiple = 2**levels
    assert any(length % multiple for length in size)
    with pytest.raises(WindowError, match=rf"multiple of {multiple}, such as \[") as caught:
        count_outputs(network, size, 1)
    proposed = tuple(json.loads(caught.value.hint.split("such as ")[1]))
    assert count_outputs(network, proposed, 1) == 2


@pytest.mark.parametrize("levels", [1, 2])
def test_a_window_error_names_the_multiple_in_3d(levels: int) -> None:
    with pytest.raises(WindowError, match=rf"multiple of {2**levels}"):
        count_outputs(Strided(3, levels), (8, 7, 12), 1)


@pytest.mark.parametrize("levels", [2, 3])
def test_the_smallest_sufficient_multiple_is_named(levels: int) -> None:
    """14 is a multiple of 2; 16 would go through, yet not because it is a multiple of 2 or 4."""
    with pytest.raises(WindowError, match=rf"multiple of {2**levels}"):
        count_outputs(Strided(2, levels), (14, 16), 1)


def test_wrong_channels_are_no_window_error(ndim: int) -> None:
    with pytest.raises(ModelError, match=r"with 3 channels.*in_channels") as caught:
        count_outputs(unet(ndim), (8,) * ndim, 3)
    assert not isinstance(caught.value, WindowError)


def test_a_network_that_returns_no_tensor_is_refused(ndim: int) -> None:
    class Words(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> str:
            return "liver"

    with pytest.raises(ModelError, match=r"fails on a window of .*: it returned no tensor"):
        count_outputs(Words(), (8,) * ndim, 1)


def test_a_network_that_changes_the_shape_is_refused(ndim: int) -> None:
    network = torch.nn.Upsample(scale_factor=2)
    with pytest.raises(ModelError, match="8x8"):
        count_outputs(network, (4,) * ndim, 1)


def test_leaves_the_network_as_it_was(ndim: int) -> None:
    network = unet(ndim).train()
    before = state_of(network)
    count_outputs(network, (8,) * ndim, 1)
    with pytest.raises(WindowError):
        count_outputs(network, (7,) * ndim, 1)
    assert state_of(network) == before


def test_one_window_is_enough_where_it_fits(ndim: int) -> None:
    network = Counting(unet(ndim))
    count_outputs(network, (8,) * ndim, 1)
    assert network.windows == 1


class Unfolds(torch.nn.Module):
    """A 2D network whose convolution is 3D: its channels are an axis of space."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Conv3d(1, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x[:, None]).mean(dim=2)


@pytest.mark.parametrize("num_channels", [1, 2])
def test_windows_of_other_axes_than_the_network_s_are_refused(num_channels: int) -> None:
    flat = linear(2, in_channels=num_channels, out_channels=2)
    solid = linear(3, in_channels=num_channels, out_channels=2)
    with pytest.raises(WindowError, match=r"8x8x8 has 3 lengths, .* is 2D; give 2 lengths"):
        count_outputs(flat, (8, 8, 8), num_channels)
    with pytest.raises(WindowError, match=r"8x8 has 2 lengths, .* is 3D; give 3 lengths"):
        count_outputs(solid, (8, 8), num_channels)
    assert count_outputs(Unfolds(), (8, 8), num_channels) == 2

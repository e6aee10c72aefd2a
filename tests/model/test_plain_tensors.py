"""Odd tensors in a file of weights: taken as they are, or refused with what they are."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import ModelError, WeightsError
from esegeta.model import load_weights, require_finite_parameters

RAGGED = (torch.ones(2), torch.ones(3))


def quantised(value: Tensor) -> Tensor:
    with warnings.catch_warnings():  # torch is about to give them up; files of them remain
        warnings.simplefilter("ignore", UserWarning)
        return torch.quantize_per_channel(value, torch.ones(4), torch.zeros(4), 0, torch.qint8)


def nested(value: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.nested.nested_tensor(list(RAGGED))


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "nested": (nested, "weight is a nested tensor"),
    "csr": (lambda value: value.to_sparse_csr(), "sparse_csr"),
    "bsr": (lambda value: value.to_sparse_bsr((2, 2)), "sparse_bsr"),
    "quantised": (quantised, "quantised"),
    "float8": (lambda value: value.to(torch.float8_e4m3fn), "float8_e4m3fn, whose scales"),
    "bits": (lambda value: value.to(torch.uint8).view(torch.bits8), "bits8"),
    "no voxel": (lambda value: value[:0], r"weight is \(0, 4\)"),
    "a view of one number": (lambda value: torch.ones(1).expand(2**20, 2**20), r"1048576"),
    "a list": (lambda value: value.tolist(), "weight is not a tensor but list"),
    "a storage": (lambda value: value.untyped_storage(), "not a tensor but TypedStorage"),
    "NaN": (lambda value: value * torch.nan, "16 of 16 values are not finite in float32"),
    "1e300": (lambda value: value.double() * 1e300, r"4 of 16 .* such as 1e\+300"),
}
TAKEN: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda value: value.T.clone().T,
    "every other": lambda value: value.repeat_interleave(2, 0)[::2],
    "overlapping": lambda value: torch.eye(1, 16)[0].as_strided((4, 4), (1, 3)),
    "negated on reading": lambda value: torch._neg_view(-value),
    "expanded": lambda value: torch.full((1,), 2.0).expand(4, 4),
    "brain floats": lambda value: value.bfloat16(),
    "parameter": lambda value: nn.Parameter(value),
}


@pytest.mark.filterwarnings("ignore:.*CSR|.*BSR|TypedStorage is deprecated")
@pytest.mark.parametrize("what", REFUSED)
def test_an_odd_tensor_is_refused(what: str, tmp_path: Path) -> None:
    make, words = REFUSED[what]
    torch.save({"weight": make(torch.eye(4)), "bias": torch.ones(4)}, tmp_path / "w.pt")
    network = nn.Linear(4, 4)
    before = network.weight.detach().clone()
    with pytest.raises(WeightsError, match=words):
        load_weights(network, tmp_path / "w.pt")
    assert torch.equal(network.weight, before)


@pytest.mark.parametrize("what", TAKEN)
def test_a_dense_tensor_is_taken_whatever_its_strides(what: str, tmp_path: Path) -> None:
    value = TAKEN[what](torch.eye(4))
    torch.save({"weight": value, "bias": torch.ones(4)}, tmp_path / "w.pt")
    network = nn.Linear(4, 4)
    load_weights(network, tmp_path / "w.pt")
    assert network.weight.tolist() == value.tolist()


def test_a_number_in_place_of_a_counter_tensor_is_refused(tmp_path: Path) -> None:
    state = nn.BatchNorm1d(2).state_dict()
    torch.save({**state, "num_batches_tracked": 3}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="num_batches_tracked is not a tensor but int"):
        load_weights(nn.BatchNorm1d(2), tmp_path / "w.pt")


class Causal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.full((2,), -torch.inf))


def test_an_infinity_that_the_network_begins_with_is_taken(tmp_path: Path) -> None:
    torch.save(Causal().state_dict(), tmp_path / "w.pt")
    load_weights(Causal(), tmp_path / "w.pt")
    require_finite_parameters(Causal())


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_parameters_that_hold_no_values_yet_are_taken() -> None:
    with torch.device("meta"):
        network = nn.Linear(2, 2)
    require_finite_parameters(nn.Sequential(network, nn.LazyLinear(3)))


def test_non_finite_parameters_of_a_given_network_are_refused() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    require_finite_parameters(network)
    network[1].bias.data.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"1\.bias"):
        require_finite_parameters(network)

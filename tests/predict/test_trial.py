"""Networks without code are tried out: whether slopes flow back, and if two passes agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import ModelError
from esegeta.predict.trial import try_gradients
from tests.builders import linear


class Refusing(nn.Module):
    """Raises as soon as slopes are asked for."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise RuntimeError(self.words)
        return x * 2


class Cut(nn.Module):
    """Holds back slopes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach() * 2


def test_gradients_are_found_if_every_operation_has_a_derivative() -> None:
    assert try_gradients(linear(2), (4, 4), 1)
    assert not try_gradients(Cut(), (4, 4), 1)
    assert not try_gradients(Refusing("derivative for x is not implemented"), (4, 4), 1)


def test_out_of_memory_does_not_count_as_missing_gradients() -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        try_gradients(Refusing("CUDA out of memory. Tried to allocate"), (4, 4), 1)


def test_a_network_whose_passes_differ_is_refused() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

    with pytest.raises(ModelError, match="two passes of the network over the same window differ"):
        try_gradients(Noisy(), (4, 4), 1)

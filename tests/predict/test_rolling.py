"""The gradient of targets that are not linear, slab by slab, is that of the whole prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esegeta.axes import Logits
from esegeta.predict import Box, Predictor
from esegeta.predict.rolling import Curved, pull_back_rolling
from tests.builders import predictor
from tests.oracles import gradient_of, relative_gap
from tests.predict.averaged import averaging, slow_average
from tests.predict.test_members import folds

SHAPE = (21, 10)


def half_square(weights: Tensor) -> Curved:
    """Return `sum w y^2 / 2` as the rolling pass sees it, of weights `L *S`; of all windows."""

    def slope(logits: Logits, box: Box, into: Tensor) -> None:
        into.copy_(weights[(slice(None), *box)] * logits)

    return Curved(slope, ())


def touching(target: Curved, model: Predictor, x: Tensor, weights: Tensor) -> Curved:
    return replace(target, touched=model.windows(x).touching(weights.any(dim=0)))


def weights_at(*box: slice) -> Tensor:
    weights = torch.zeros(2, *SHAPE)
    weights[(slice(None), *box)] = 1.5
    return weights


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize("batch_size", [1, 50])
def test_targets_of_some_windows_share_passes(average: str, batch_size: int) -> None:
    networks = folds(2, 2)
    plain = replace(predictor(networks[0], (8, 6)), batch_size=batch_size)
    model = averaging(networks, plain, [0], average)
    x = torch.randn(1, 1, *SHAPE)
    # Of the first row of windows each target depends on one alone.
    weights = [weights_at(slice(1, 3), slice(0, 2)), weights_at(slice(1, 19), slice(8, 10))]
    targets = [touching(half_square(one), model, x, one) for one in weights]
    assert set(targets[0].touched) != set(targets[1].touched)
    found = pull_back_rolling(model, x, targets)

    def value(x: Tensor, weights: Tensor) -> Tensor:
        return (slow_average(networks, plain, x, [0], average).square() * weights).sum() / 2

    for pulled, own, target in zip(found, weights, targets, strict=True):
        expected = gradient_of(lambda x, own=own: value(x, own), x)
        assert relative_gap(pulled.gradient, expected) < 1e-5
        assert pulled.num_active == len(target.touched) < len(model.windows(x))


def test_a_target_without_a_slope_goes_back_through_no_window() -> None:
    networks = folds(2, 1)
    model = predictor(networks[0], (8, 6))
    x = torch.randn(1, 1, *SHAPE)
    weights = weights_at(slice(0, 21), slice(2, 7))
    still = touching(half_square(0 * weights), model, x, weights)
    curved = touching(half_square(weights), model, x, weights)
    none, some = pull_back_rolling(model, x, [still, curved])
    assert not none.gradient.any()
    assert (none.num_active, some.num_active) == (0, len(model.windows(x)))
    expected = gradient_of(lambda x: (model(x).square() * weights).sum() / 2, x)
    assert relative_gap(some.gradient, expected) < 1e-5

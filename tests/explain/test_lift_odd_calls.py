"""Multipliers of calls whose other arguments come from the image too, or whose shapes change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.errors import ModelError
from esegeta.explain.backprop.lift import lift
from tests.explain.test_lift import Function, draws, multiplier

FROM_THE_IMAGE: dict[str, Function] = {
    "slope of a PReLU": lambda x: F.prelu(x, x.mean((0, 2, 3)).sigmoid()),
    "limits of a clamp": lambda x: torch.clamp(x, min=9 + x.mean(1, True).sigmoid()),
    "exponent": lambda x: (x.square() + 1).pow(x.sigmoid()),
    "quotient that is not rounded": lambda x: torch.div(x, x.square() + 1, rounding_mode=None),
}


@pytest.mark.parametrize("name", FROM_THE_IMAGE)
def test_parameters_computed_from_the_image_get_their_share(name: str) -> None:
    function = FROM_THE_IMAGE[name]
    end, _ = draws((2, 2, 4, 5))
    start = 0.3 * end  # quadrature would round off a corner on the way
    arriving, _ = draws((2, 2, 4, 5), 1)
    found = multiplier(function, start, end, arriving)
    change = float((arriving * (function(end) - function(start))).sum(dtype=torch.float64))
    shares = float((found * (end - start)).sum(dtype=torch.float64))
    assert shares == pytest.approx(change, rel=1e-4)


def test_rounded_division_has_no_slope() -> None:
    end, start = draws((2, 2, 4, 5))
    function: Function = lambda x: torch.div(x, x.square() + 0.1, rounding_mode="floor")  # noqa: E731
    assert not multiplier(function, start, end, torch.ones_like(end)).any()


def test_a_network_selecting_another_number_of_values_is_refused() -> None:
    def above(x: Tensor) -> Tensor:
        return torch.tanh(x[x > 0])

    end, start = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([1.0, -2.0, -1.0])
    with pytest.raises(ModelError, match="takes a different path"):
        lift(above, end.clone().requires_grad_(True), start)
    y, _ = lift(above, end.clone().requires_grad_(True), end * 0.5)
    assert torch.equal(y, end[:2].tanh())

"""What each single pass answers for where probabilities are averaged, against autograd."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.model import held_still
from esegeta.predict import Moment, PassesApart, Pieces, WindowSum
from esegeta.predict.average import slopes_on_the_line
from tests.builders import predictor
from tests.oracles import gradient_of, relative_gap
from tests.predict.averaged import averaging, slow_average
from tests.predict.test_members import COMBINATIONS, folds

TOLERANCE = 1e-5
SHAPES = {2: (10, 7), 3: (9, 6, 7)}


def moment_of(apart: PassesApart, x: Tensor) -> Moment:
    windows = apart.single.windows(x)
    return apart.moment(x, lambda pieces: apart.single.run(pieces.crops, windows))


def pulled(apart: PassesApart, moment: Moment, slope: Tensor) -> Tensor:
    """Return the sum over passes of the gradient of `<share, z>` by the input."""
    windows, shares = apart.single.windows(moment.x), apart.shares(slope, moment)
    total = WindowSum(windows, moment.x, num_channels=1)
    with held_still(apart.whole.network):
        for pieces in apart.single.pieces(moment.x, windows, range(len(windows))):
            crops = pieces.crops.requires_grad_(True)
            share = shares.of(pieces, crops.device)
            with torch.enable_grad():
                z = apart.single.run(crops, windows)
            total.add(pieces.windows, torch.autograd.grad(z, crops, share)[0])
    return total.result() * shares.scale


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_passes_give_the_prediction_and_gradient_of_their_mean(
    combination: str, activation: str, ndim: int
) -> None:
    count, num_axes = COMBINATIONS[combination]
    networks, mirror = folds(ndim, count), list(range(num_axes))
    model = predictor(networks[0], (8,) * ndim, activation=activation)
    apart = PassesApart(replace(averaging(networks, model, mirror, "probabilities"), batch_size=3))
    x, slope = torch.randn(1, 1, *SHAPES[ndim]), torch.randn(1, 2, *SHAPES[ndim])
    moment = moment_of(apart, x)
    y = slow_average(networks, model, x, mirror, "probabilities")
    assert relative_gap(apart.prediction(moment), y.detach()) < TOLERANCE
    expected = gradient_of(
        lambda x: (slow_average(networks, model, x, mirror, "probabilities") * slope).sum(), x
    )
    assert relative_gap(pulled(apart, moment, slope), expected) < TOLERANCE


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_shares_of_passes_add_up_to_the_change(activation: str, precision: str) -> None:
    networks = folds(2, 2)
    model = predictor(networks[0], (8, 8), activation=activation)
    whole = replace(averaging(networks, model, [0], "probabilities"), precision=precision)
    apart = PassesApart(whole)
    start, end = torch.randn(2, 1, 1, 10, 7) * 2
    slope = torch.randn(1, 2, 10, 7) * 1e-6
    moments = [moment_of(apart, x) for x in (start, end)]
    shares, windows = apart.shares(slope, *moments), apart.single.windows(end)
    assert (shares.scale < 1e-3) == (precision == "fp16")
    total = 0.0
    with held_still(whole.network), torch.no_grad():
        for pieces in apart.single.pieces(end, windows, range(len(windows))):
            before = windows.cut(windows.pad_image(start), pieces.windows)
            z, z_before = (apart.single.run(one, windows) for one in (pieces.crops, before))
            total += float(((z - z_before) * shares.of(pieces, z.device)).sum()) * shares.scale
    before, after = (apart.prediction(moment) for moment in moments)
    change = float(((after - before) * slope).sum())
    assert total == pytest.approx(change, rel=1e-4 if precision == "fp32" else 2e-2)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_mean_slope_equals_that_of_many_points(activation: str) -> None:
    starts, ends = torch.randn(2, 3, 1, 4, 5, dtype=torch.float64) * 4
    slope = torch.randn(1, 4, 5, dtype=torch.float64)
    found = slopes_on_the_line(list(starts), list(ends), activation, slope)
    places = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    z = (starts + places.reshape(-1, *[1] * starts.ndim) * (ends - starts)).requires_grad_(True)
    if activation == "softmax":
        y = z.softmax(dim=3).mean(dim=1).log()
    else:
        y = z.sigmoid().mean(dim=1).logit()
    expected = torch.autograd.grad((y * slope).sum(), z)[0].mean(dim=0)
    torch.testing.assert_close(torch.stack(found), expected, rtol=1e-4, atol=1e-5)


def test_only_windows_over_the_mask_are_run() -> None:
    networks: list[nn.Module] = folds(2, 2)
    apart = PassesApart(
        averaging(networks, predictor(networks[0], (8, 8), overlap=0.0), [0], "probabilities")
    )
    x = torch.randn(1, 1, 24, 16)
    over = torch.zeros(24, 16, dtype=torch.bool)
    over[20, 12] = True
    windows = apart.single.windows(x)
    seen: list[int] = []

    def run(pieces: Pieces) -> Tensor:
        seen.extend(pieces.windows)
        return apart.single.run(pieces.crops, windows)

    moment = apart.moment(x, run, over=over)
    assert seen == windows.touching(over) and len(seen) == 4
    y = slow_average(networks, apart.single, x, [0], "probabilities").detach()
    torch.testing.assert_close(apart.prediction(moment)[..., 20, 12], y[..., 20, 12])

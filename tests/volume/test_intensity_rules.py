"""Each rule for grey values against MONAI's transform, or nnU-Net's and TorchIO's formula."""

import numpy as np
import pytest
import torch
from monai import transforms
from torch import Tensor

from esegeta.errors import ConfigError, StepError
from esegeta.volume.intensity import foreground_of
from esegeta.volume.intensity_rules import (
    Clip,
    Ct,
    Keep,
    Linear,
    Log,
    Rule,
    Window,
)
from esegeta.volume.intensity_statistics import Percentile, Rescale, ZScore
from tests.builders import SHAPES
from tests.volume.files import noise
from tests.volume.references import (
    nnunet_ct,
    nnunet_zscore,
    nonzero_mask,
    torchio_above_mean,
)


def channel(ndim: int, seed: int = 0) -> Tensor:
    """Grey values of which a third are exactly 0."""
    values = torch.from_numpy(noise(SHAPES[ndim], seed)) * 300 - 100
    values[noise(SHAPES[ndim], seed + 1) > 0.4] = 0.0
    return values


def nothing() -> Tensor:
    raise AssertionError("this rule asks for no foreground")


MONAI = {
    "window": (Window(-250, 400), transforms.ScaleIntensityRange(-250, 400, 0.0, 1.0, clip=True)),
    "odd window": (Window(-0.1, 0.3), transforms.ScaleIntensityRange(-0.1, 0.3, 0, 1, clip=True)),
    "percentile": (
        Percentile(1, 99),
        transforms.ScaleIntensityRangePercentiles(1, 99, 0.0, 1.0, clip=True, channel_wise=True),
    ),
    "odd percentile": (
        Percentile(0.5, 62.5),
        transforms.ScaleIntensityRangePercentiles(0.5, 62.5, 0, 1, clip=True, channel_wise=True),
    ),
    "minmax": (Rescale(), transforms.ScaleIntensity(channel_wise=True)),
    "rescale": (Rescale(-1, 3), transforms.ScaleIntensity(-1.0, 3.0, channel_wise=True)),
    "zscore": (ZScore(), transforms.NormalizeIntensity(channel_wise=True)),
    "nonzero": (ZScore("nonzero"), transforms.NormalizeIntensity(nonzero=True, channel_wise=True)),
}


@pytest.mark.parametrize("name", MONAI)
def test_equal_to_monai_bit_for_bit_in_float32(name: str, ndim: int) -> None:
    rule, transform = MONAI[name]
    v = channel(ndim)
    expected = torch.as_tensor(transform(v.clone()[None]))[0]
    got = rule(v, nothing)
    assert got.dtype == torch.float32
    assert torch.equal(got, torch.Tensor(expected))


@pytest.mark.parametrize("name", MONAI)
def test_rules_in_float64_equal_monai(name: str, ndim: int) -> None:
    rule, transform = MONAI[name]
    v = channel(ndim)
    got = rule(v.double(), nothing)
    assert got.dtype == torch.float64
    expected = torch.as_tensor(transform(v.clone()[None]))[0]
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_the_ct_rule_equals_nnunet(ndim: int) -> None:
    v = channel(ndim).double()
    got = Ct(-150, 210.5, 71.3, 60.2)(v, nothing)
    np.testing.assert_allclose(got, nnunet_ct(v.numpy(), -150, 210.5, 71.3, 60.2), rtol=1e-14)


def test_the_foreground_equals_the_mask_of_nnunet_with_holes_filled() -> None:
    data = torch.zeros(2, 12, 12, 12, dtype=torch.float64)
    shell = torch.from_numpy(noise((8, 8, 8))).double() * 40 + 300
    shell[3:5, 3:5, 3:5] = 0.0  # a hole within the head
    data[0, 2:10, 2:10, 2:10] = shell
    data[1, 1, 5, 5] = 7.0  # inside by the other channel alone
    inside = nonzero_mask(data.numpy())
    assert inside[5, 5, 5]
    assert inside[1, 5, 5]
    np.testing.assert_array_equal(foreground_of(data).numpy(), inside)
    for number in range(2):
        got = ZScore("foreground")(data[number], lambda: foreground_of(data))
        expected = nnunet_zscore(data[number].numpy(), inside)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)
        assert not got[~torch.from_numpy(inside)].any()
    # Over all voxels it is another function, which is why the mask must be said.
    assert (ZScore()(data[0], nothing) - torch.from_numpy(expected)).abs().max() > 0.1


def test_the_above_mean_rule_equals_torchio(ndim: int) -> None:
    v = channel(ndim).double()
    got = ZScore("above_mean")(v, nothing)
    np.testing.assert_allclose(got, torchio_above_mean(v.numpy()), rtol=1e-12)


def test_rules_of_given_numbers_equal_their_formula(ndim: int) -> None:
    v = channel(ndim).double()
    assert torch.equal(Linear(0.01, -1)(v, nothing), v * 0.01 - 1)
    assert torch.equal(Clip(-50, 120)(v, nothing), v.clamp(-50, 120))
    assert torch.equal(Clip(0, float("inf"))(v, nothing), v.clamp(min=0))
    assert torch.equal(Keep()(v, nothing), v)
    positive = v.abs()
    np.testing.assert_allclose(Log()(positive, nothing), np.log(1 + positive.numpy()), rtol=1e-14)


CONSTANT = {
    "minmax": (Rescale(), 0.0),
    "rescale": (Rescale(-1, 3), -1.0),
    "percentile": (Percentile(1, 99), 0.0),
    "zscore": (ZScore(), 0.0),
    "above_mean": (ZScore("above_mean"), 0.0),
    "foreground": (ZScore("foreground"), 0.0),
    "nonzero": (ZScore("nonzero"), 0.0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_channel_stays_constant(name: str, dtype: torch.dtype) -> None:
    rule, expected = CONSTANT[name]
    # 0.1 has no exact mean: a rounded one would be divided by a std of rounding.
    v = torch.full((7, 6), 0.1, dtype=dtype)
    got = rule(v, lambda: torch.ones(7, 6, dtype=torch.bool))
    assert torch.equal(got, torch.full_like(v, expected))


@pytest.mark.parametrize("over", ["nonzero", "foreground"])
def test_a_channel_of_zeros_stays_zero(over: str) -> None:
    v = torch.zeros(5, 4)
    assert torch.equal(ZScore(over)(v, lambda: v != 0), v)  # type: ignore[arg-type]


def test_one_voxel_above_the_mean_has_a_std_of_one() -> None:
    v = torch.tensor([[0.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    assert ZScore("above_mean")(v, nothing).tolist() == [[-4.0, -4.0], [-4.0, 0.0]]


def test_a_large_offset_costs_no_precision() -> None:
    small = torch.from_numpy(noise((20, 20))).double()
    v = small + 1e9
    for rule in (ZScore(), Rescale(), Percentile(2, 98), ZScore("above_mean"), ZScore("nonzero")):
        close = rule(v, nothing) - rule(small, nothing)
        if rule != ZScore("above_mean"):
            assert close.abs().max() < 1e-6
        assert rule(v, nothing).std() > 0.1


DIFFERENTIABLE = [
    Window(-250, 400),
    Percentile(5, 90),
    Rescale(-1, 2),
    ZScore(),
    ZScore("nonzero"),
    ZScore("above_mean"),
    ZScore("foreground"),
    Ct(-150, 210, 70, 60),
    Linear(0.3, 2),
    Clip(-100, 100),
    Keep(),
]


@pytest.mark.parametrize("rule", DIFFERENTIABLE, ids=repr)
def test_the_derivative_is_that_of_the_whole_formula(rule: Rule) -> None:
    # Without zeros or equal values, where minima, percentiles and masks have no derivative.
    v = (torch.from_numpy(noise((4, 5))).double() * 300 - 100).requires_grad_()
    inside = (v > -150).detach()
    assert torch.autograd.gradcheck(lambda x: rule(x, lambda: inside), (v,), eps=1e-4, atol=1e-6)


FIXED: list[Rule] = [
    Window(-30, 90),
    Percentile(10, 85),
    Rescale(-1, 3),
    Clip(-20, 60),
    *(ZScore(over) for over in ("all", "nonzero", "above_mean", "foreground")),
]


@pytest.mark.parametrize("rule", FIXED, ids=str)
def test_a_fixed_rule_equals_the_rule_and_depends_on_its_voxel_only(rule: Rule) -> None:
    v = channel(3).double()
    inside = foreground_of(v[None])
    fixed = rule.fixed(v, lambda: inside)
    torch.testing.assert_close(fixed(v, lambda: inside), rule(v, lambda: inside))
    # One voxel far away changes its own value and no other one's.
    moved = v.clone()
    moved[0, 0, 0] = 5000.0
    changed = fixed(moved, lambda: inside) != fixed(v, lambda: inside)
    assert not changed.flatten()[1:].any()


def test_fixed_rules_of_constant_channels_and_of_rules_without_statistics() -> None:
    flat, other = torch.full((2, 3), 7.0), torch.arange(6.0).reshape(2, 3)
    for rule in (Percentile(10, 85), Rescale(-1, 3), ZScore()):
        assert torch.equal(rule.fixed(flat, nothing)(other, nothing), rule(flat, nothing))
    log = Log().fixed(other, nothing)
    assert torch.equal(log(other, nothing), Log()(other, nothing))
    assert float(log(torch.tensor([-9.0]), nothing)) == 0.0  # as the lowest that was seen


def test_percentiles_with_gradients_equal_those_without() -> None:
    v = channel(3).double()
    for low, high in ((0, 100), (1, 99), (12.34, 56.78)):
        rule = Percentile(low, high)
        plain, graphed = rule(v, nothing), rule(v.clone().requires_grad_(), nothing)
        torch.testing.assert_close(graphed.detach(), plain, rtol=1e-13, atol=1e-14)


REFUSED = {
    "window": (lambda: Window(400, -250), r"intensity window: \[400, -250\] is empty"),
    "same": (lambda: Clip(3, 3), r"intensity clip: \[3, 3\] is empty"),
    "nan": (lambda: Window(float("nan"), 1), "is empty"),
    "infinite": (lambda: Window(0, float("inf")), "must be finite"),
    "percentile": (lambda: Percentile(-1, 50), r"within 0\.\.100"),
    "rescale": (lambda: Rescale(1, -1), r"intensity rescale: \[1, -1\] is empty"),
    "scale": (lambda: Linear(0, 1), "the scale not 0"),
    "ct clip": (lambda: Ct(5, 2, 0, 1), r"intensity ct: clip: \[5, 2\] is empty"),
    "ct std": (lambda: Ct(2, 5, 0, 0), "std above 0"),
    "over": (lambda: ZScore("nozero"), 'over: "nozero" is not known; did you mean "nonzero"'),
}


@pytest.mark.parametrize("what", REFUSED)
def test_impossible_numbers_are_refused(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("lowest", [-1.0, -1.5])
def test_the_logarithm_of_values_up_to_minus_one_is_refused(lowest: float) -> None:
    with pytest.raises(StepError, match=rf"a value is {lowest:g}, and log\(1 \+ v\) needs"):
        Log()(torch.tensor([[3.0, lowest]]), nothing)

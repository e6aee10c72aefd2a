"""The prediction slab by slab is the whole one, and never holds more than a window is thick."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esegeta.predict import Predictor, Slab
from esegeta.predict.slabs import slab_axis
from tests.allocations import Allocations
from tests.builders import pointwise, predictor, unet, volume
from tests.networks import Valid
from tests.predict.averaged import averaging
from tests.predict.valid import covering

ROUNDING = 1e-6


def assembled(model: Predictor, x: Tensor, chosen: Sequence[int] | None = None) -> list[Tensor]:
    """Return the parts of all slabs put together; NaN where none came."""
    found: list[Tensor] = []

    def take(slab: Slab) -> None:
        for number, part in enumerate(slab.parts):
            if number == len(found):
                found.append(torch.full((1, part.shape[1], *x.shape[2:]), torch.nan))
            planes = found[number][(slice(None), slice(None), *slab.box)]
            assert bool(planes.isnan().all())  # no plane comes twice
            planes.copy_(part)

    model.each_slab(x, take, chosen=chosen)
    return found


def of_batch(size: int, **plan: object) -> Predictor:
    model = predictor(unet(3, out_channels=3), (4, 4, 4), batch_size=size, num_outputs=3)
    return replace(model, plan=replace(model.plan, **plan))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.75])
def test_slabs_equal_the_prediction_bit_for_bit(size: int, overlap: float) -> None:
    model = of_batch(size, overlap=overlap)
    x = volume((11, 6, 5)).batch
    assert slab_axis(model.windows(x)) == 0
    (found,) = assembled(model, x)
    assert torch.equal(found, model.logits(x))


@pytest.mark.parametrize("shape", [(5, 11, 6), (6, 5, 13), (3, 9, 2)])
def test_slabs_lie_across_the_axis_that_makes_them_smallest(shape: tuple[int, ...]) -> None:
    model = of_batch(2)
    x = volume(shape).batch
    assert slab_axis(model.windows(x)) == shape.index(max(shape))
    (found,) = assembled(model, x)
    torch.testing.assert_close(found, model.logits(x), rtol=ROUNDING, atol=ROUNDING)


def test_slices_of_a_volume_are_slabs_of_one_plane() -> None:
    model = predictor(unet(2), (4, 4))
    x = volume((6, 7, 3)).batch
    assert slab_axis(model.windows(x)) == 2
    (found,) = assembled(model, x)
    assert torch.equal(found, model.logits(x))


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_planes_of_padding_are_left_out(padding: str) -> None:
    model = predictor(Valid(2), (14, 14))
    model = covering(replace(model, plan=replace(model.plan, padding=padding)))
    x = volume((17, 5)).batch
    (found,) = assembled(model, x)
    torch.testing.assert_close(found, model.logits(x), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_mirrored_networks_of_an_ensemble(average: str) -> None:
    networks = [unet(2, seed=seed) for seed in range(2)]
    model = averaging(networks, predictor(networks[0], (4, 4)), (0, 1), average)
    x = volume((11, 6)).batch
    found, whole = assembled(model, x), model.predict_apart(x)
    assert len(found) == len(whole) == (2 if average == "probabilities" else 1)
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=ROUNDING, atol=ROUNDING)


def test_only_the_chosen_windows_are_run() -> None:
    model = of_batch(1)
    x = volume((18, 5, 4)).batch
    windows = model.windows(x)
    over = torch.zeros(x.shape[2:], dtype=torch.bool)
    over[1], over[16] = True, True
    chosen = windows.touching(over)
    (found,) = assembled(model, x, chosen)
    whole = model.logits(x)
    assert torch.equal(found[0, :, over], whole[0, :, over])
    assert bool(found[:, :, 9].isnan().all())


def test_the_network_is_left_as_it_was_when_a_slab_is_refused() -> None:
    network = unet(3, out_channels=3).train()
    model = replace(of_batch(1), network=network)

    def refuse(slab: Slab) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        model.each_slab(volume((11, 6, 5)).batch, refuse)
    assert network.training
    assert torch.is_grad_enabled()
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("length", [12, 18])
def test_memory_holds_at_most_one_slab(length: int) -> None:
    model = predictor(pointwise(3, out_channels=5), (4, 4, 4), num_outputs=5, batch_size=1)
    x = volume((length, 8, 8)).batch
    with Allocations() as held:
        model.each_slab(x, lambda slab: None)
    assert held.largest == 5 * 4 * 8 * 8 * 4  # outputs, planes of a window, bytes

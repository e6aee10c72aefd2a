"""The second device of the tests is as strict as CUDA, and computes what the CPU computes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.builders import convolution, predictor, unet, volume
from tests.second_device import MODULE

MIXED = "same device, but found at least two devices, testdevice:0 and cpu"


class Hidden(nn.Module):
    """Keeps a tensor that `.to` does not find."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        self.head = convolution(ndim)(1, 2, 1)
        self.weight = torch.ones(2, *[1] * ndim)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) * self.weight


OFFENCES: dict[str, Callable[[Tensor, Tensor], object]] = {
    "sum": lambda there, here: there + here,
    "sum in place": lambda there, here: there.add_(here),
    "sum in place on the CPU": lambda there, here: here.add_(there),
    "sum with one number there": lambda there, here: here + there.sum(),
    "in place on one number here": lambda there, here: here.sum().add_(there.sum()),
    "product": lambda there, here: there @ here,
    "product with one number here": lambda there, here: torch.dot(there[0], here[0]),
    "condition": lambda there, here: torch.where(there > 0, there, here),
    "concatenation": lambda there, here: torch.cat([there, here]),
    "selection": lambda there, here: there.index_select(0, torch.tensor([0])),
    "gathering": lambda there, here: there.gather(0, torch.zeros(1, 3, dtype=torch.long)),
    "indices there": lambda there, here: here[there > 0],
    "values for a mask": lambda there, here: there.index_put_((here > 0,), here[here > 0]),
}


@pytest.mark.parametrize("offence", OFFENCES)
def test_tensors_of_two_devices_do_not_mix(second: torch.device, offence: str) -> None:
    here = torch.arange(9.0).reshape(3, 3)
    with pytest.raises(RuntimeError, match=MIXED):
        OFFENCES[offence](here.to(second), here)
    OFFENCES[offence](here.clone(), here.clone())


def test_cpu_tensors_that_cuda_accepts_are_accepted(second: torch.device) -> None:
    here = torch.arange(6.0).reshape(2, 3)
    there = here.to(second)
    assert torch.equal((torch.tensor(2.0) * there).cpu(), 2 * here)
    assert torch.equal(there[torch.tensor([1, 0])].cpu(), here[[1, 0]])
    assert torch.equal(there[here > 2].cpu(), here[here > 2])
    there[torch.tensor([0])] = torch.tensor(7.0)
    there.masked_fill_(there < 5, torch.tensor(-1.0))
    assert there.tolist() == [[7, 7, 7], [-1, -1, 5]]


def test_numpy_is_refused(second: torch.device) -> None:
    there = torch.zeros(3, device=second)
    with pytest.raises(TypeError, match=r"numpy; use \.cpu\(\) first"):
        there.numpy()
    assert there.cpu().numpy().sum() == 0


def test_a_hidden_buffer_on_the_cpu_is_found(ndim: int, second: torch.device) -> None:
    model, image = predictor(Hidden(ndim), (8,) * ndim), volume((9,) * ndim)
    expected = model.logits(image.batch)
    there = replace(model, network=copy.deepcopy(model.network).to(second))
    with pytest.raises(RuntimeError, match=MIXED):
        there.logits(image.batch.to(second))
    there.network.weight = there.network.weight.to(second)
    assert torch.equal(there.logits(image.batch.to(second)).cpu(), expected)


def test_random_draws_need_a_generator_of_the_device(second: torch.device) -> None:
    expected = torch.rand(3, generator=torch.Generator().manual_seed(4))
    generator = torch.Generator(device=second).manual_seed(4)
    assert generator.device == second
    assert torch.equal(torch.rand(3, generator=generator, device=second).cpu(), expected)
    for draw in (
        lambda generator: torch.rand(3, generator=generator, device=second),
        lambda generator: torch.zeros(3, device=second).normal_(generator=generator),
        lambda generator: torch.randperm(3, generator=generator, device=second),
    ):
        with pytest.raises(
            RuntimeError, match="'testdevice' device type for generator but found 'cpu"
        ):
            draw(torch.Generator())


def test_draws_without_a_generator_use_the_state_of_the_device(second: torch.device) -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = [torch.rand(2, device=second), torch.rand_like(torch.zeros(2, device=second))]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.cat(found).cpu(), expected)
    assert not torch.equal(MODULE.get_rng_state(), state)


def test_a_backward_pass_runs_on_another_thread(ndim: int, second: torch.device) -> None:
    threads: list[threading.Thread] = []
    x = volume((8,) * ndim).batch
    slopes = []
    for device in (torch.device("cpu"), second):
        network, leaf = unet(ndim).to(device), x.clone().to(device).requires_grad_()
        leaf.register_hook(lambda slope: threads.append(threading.current_thread()))
        network(leaf).sum().backward()
        parameters = [parameter.grad for parameter in network.parameters()]
        slopes.append([slope.cpu() for slope in (leaf.grad, *parameters)])
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()
    assert all(torch.equal(one, other) for one, other in zip(*slopes, strict=True))


def test_networks_move_copy_and_change_their_type(ndim: int, second: torch.device) -> None:
    network = unet(ndim)
    there = copy.deepcopy(copy.deepcopy(network).to(second))
    back = copy.deepcopy(there).cpu()
    there.half()
    for name, tensor in network.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor)
        moved = there.state_dict()[name]
        assert moved.device == second
        assert torch.equal(moved.cpu(), tensor.half() if tensor.is_floating_point() else tensor)

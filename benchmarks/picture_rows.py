"""The row about pictures: activation maximisation against its bare forward and backward passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.measure import synchronize
from benchmarks.run import BenchmarkRun
from benchmarks.table import Line
from esegeta.features import (
    Fourier,
    LabelObjective,
    Recipe,
    Subject,
    Transforms,
    Unmixed,
    ascend,
    mixing_of,
)
from esegeta.model import Labels, held_still

LABEL = 3
SIDE, STEPS = 48, 256
WARM = 4
"""Steps before the clock runs: the first ones allocate."""


def pictures(bench: BenchmarkRun) -> Iterator[Line]:
    side, steps = (24, 16) if bench.quick else (SIDE, STEPS)
    row = f"picture of a label, {side}^3, {steps} steps"
    torch.set_num_threads(bench.threads)
    device = torch.device(bench.device)
    network = _network().to(device)
    start = torch.rand(1, 1, side, side, side, device=device)
    sides: dict[str, Callable[[int], object]] = {
        "bare": lambda number: _bare(network, start, number),
        "esegeta": lambda number: _ascend(network, start, number),
    }
    wall, cpu = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0.0)
    for work in sides.values():
        work(WARM)
    # A picture is made in one go, since it settles once; its rival runs half before, half after, so
    # that other work disturbs both alike.
    for name, number in (("bare", steps // 2), ("esegeta", steps), ("bare", steps - steps // 2)):
        synchronize(device)
        began, cpu_began = time.perf_counter(), time.process_time()
        sides[name](number)
        synchronize(device)
        wall[name] += time.perf_counter() - began
        cpu[name] += time.process_time() - cpu_began
    for figure, took, must in (("time", wall, 1.2), ("CPU time", cpu, None)):
        ratio = took["esegeta"] / took["bare"]
        texts = (f"{took['esegeta']:.2f} s", f"{took['bare']:.2f} s")
        yield Line(row, figure, *texts, ratio, must)


def _ascend(network: nn.Module, start: Tensor, steps: int) -> None:
    shape = tuple(start.shape[2:])
    bounds = (torch.zeros(1), torch.ones(1))
    spacing = (1.0, 1.0, 1.0)
    recipe = Recipe(steps, 0.05, spacing, transforms=Transforms(2), bounds=bounds)
    inner = Unmixed(Fourier(shape, spacing), *mixing_of(start[0].flatten(1)))
    labels = Labels({1: "spleen", 2: "kidneys", 3: "liver", 4: "bone"}, "softmax", 5)
    ascend(Subject(network), LabelObjective(labels, LABEL), inner, start, recipe)


def _bare(network: nn.Module, start: Tensor, steps: int) -> None:
    """Run the network forward, and back from the same logit."""
    with held_still(network):
        for _ in range(steps):
            x = start.clone().requires_grad_(True)
            torch.autograd.grad(network(x)[:, LABEL].mean(), x)


def _network() -> nn.Module:
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    network: nn.Module = UNet(
        3, 1, 5, (8, 16, 32, 64), (2, 2, 2), num_res_units=1, act="RELU", norm="BATCH"
    )
    return network

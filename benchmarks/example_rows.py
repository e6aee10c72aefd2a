"""The row about examples: TracIn of a checkpoint against its bare passes, and against captum's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from captum.influence import TracInCP
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.measure import synchronize
from benchmarks.run import BenchmarkRun
from benchmarks.table import Line
from esegeta.examples import Example, InfluenceQuery, influence_at
from esegeta.model import Labels
from esegeta.predict import Predictor, WindowPlan
from esegeta.targets import Everywhere, FrozenTarget, Scene, VoxelTarget
from esegeta.volume import volume_from_tensor

TURNS = 4
LABEL = 1
"""Of the target, its mean logit over the whole test image."""


def examples(bench: BenchmarkRun) -> Iterator[Line]:
    side, count = (32, 4) if bench.quick else (96, 32)
    torch.set_num_threads(bench.threads)
    device = torch.device(bench.device)
    study = _Study(side, count, device)
    captum = study.captum(bench.folder)
    sides: dict[str, Callable[[], Tensor]] = {
        "esegeta": study.trace,
        "bare": study.bare,
        "captum": lambda: captum.influence((study.images[:1], study.truths[:1]), k=None)[0],
    }
    wall, cpu = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0.0)
    for work in sides.values():
        work()  # the first one allocates
    for _ in range(TURNS):
        for name, work in sides.items():
            synchronize(device)
            began, cpu_began = time.perf_counter(), time.process_time()
            work()
            synchronize(device)
            wall[name] += time.perf_counter() - began
            cpu[name] += time.process_time() - cpu_began
    for other, must in (("bare", 1.3), ("captum", None)):
        row = f"TracIn of {count} images of {side}^2 at a checkpoint, {other}"
        for figure, took in (("time", wall), ("CPU time", cpu)):
            ratio = took["esegeta"] / took[other]
            texts = (f"{took['esegeta'] / TURNS:.2f} s", f"{took[other] / TURNS:.2f} s")
            yield Line(row, figure, *texts, ratio, must if figure == "time" else None)
    found, expected = study.trace(), -study.bare()
    apart = float((found - expected).abs().max() / expected.abs().max())
    row = f"TracIn of {count} images of {side}^2 at a checkpoint, bare"
    yield Line(row, "largest relative difference", "", ratio=apart, must=1e-4)


class _Study:
    """Training images of one window each, and a target of the first of them."""

    def __init__(self, side: int, count: int, device: torch.device) -> None:
        self.network = _network().to(device)
        draws = torch.Generator().manual_seed(0)
        self.images = torch.randn((count, 1, side, side), generator=draws).to(device)
        self.truths = (self.images[:, 0] > 0).long()
        plan = WindowPlan((side, side))
        labels = Labels({1: "one"}, "softmax", 2)
        self.predictor = Predictor(self.network, plan, labels)
        windows = plan.lay((side, side))
        pairs = zip(self.images, self.truths, strict=True)
        self.examples = [
            Example(str(place), image.cpu(), truth.cpu(), None, windows)
            for place, (image, truth) in enumerate(pairs)
        ]
        self.question = InfluenceQuery("it", self.images[:1], self._frozen(self.images[0]))

    def trace(self) -> Tensor:
        """Return our influence of each image."""
        found = influence_at(self.predictor, [self.question], self.examples, _loss).pulls["it"]
        return torch.tensor([found[one.name].total for one in self.examples])

    def bare(self) -> Tensor:
        """Return the products of gradients from the passes that they need, and nothing beside."""
        weights = list(self.network.parameters())
        target = self.network(self.images[:1])[:, LABEL].mean()
        asked = torch.autograd.grad(target, weights)
        found = []
        for image, truth in zip(self.images, self.truths, strict=True):
            loss = _loss(self.network(image[None]), truth[None], None)
            slopes = torch.autograd.grad(loss, weights)
            found.append(sum((a * b).sum() for a, b in zip(asked, slopes, strict=True)))
        return torch.stack([torch.as_tensor(one) for one in found]).cpu()

    def captum(self, folder: Path) -> TracInCP:
        """Return captum's way: a loss in place of the target, and the same images."""
        file = folder / "0.pt"
        torch.save(self.network.state_dict(), file)

        def load(module: nn.Module, path: str) -> float:
            module.load_state_dict(torch.load(path, weights_only=True))
            return 1.0

        return TracInCP(
            self.network,
            TensorDataset(self.images, self.truths),
            [str(file)],
            checkpoints_load_func=load,
            loss_fn=_MeanOfVoxels(),
            batch_size=8,
            sample_wise_grads_per_batch=False,
        )

    def _frozen(self, image: Tensor) -> FrozenTarget:
        volume = volume_from_tensor(image)
        target = VoxelTarget("one", "logit", over=Everywhere(), reduce="mean")
        return target.freeze(Scene(self.predictor, volume))


class _MeanOfVoxels(nn.Module):
    """Cross entropy of each image."""

    reduction = "none"

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        return F.cross_entropy(logits, truth, reduction="none").mean(dim=(1, 2))


def _loss(logits: Tensor, truth: Tensor, inside: Tensor | None) -> Tensor:
    return F.cross_entropy(logits, truth)


def _network() -> nn.Module:
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    network: nn.Module = UNet(
        2, 1, 2, (16, 32, 64), (2, 2), num_res_units=1, act="RELU", norm="BATCH"
    )
    return network.eval()

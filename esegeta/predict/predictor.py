"""The sliding-window prediction as one differentiable function, in the memory of a few windows.

    y = sum_t w_t * net(x_t) / sum_t w_t

`forward` keeps no graph. `backward` receives g = dR/dy, and re-runs with a graph only those
windows that g touches: each adds the vector-Jacobian product of its own `w_t * g_t / sum w` to the
gradient of the input. That is the gradient of the whole blended prediction, exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from esegeta.axes import Batch, Logits, Mask
from esegeta.errors import ModelError
from esegeta.model import (
    FIRST,
    Capability,
    Labels,
    OutputChoice,
    capability_of,
    held_still,
    without_wrappers,
)
from esegeta.predict.blend import CotangentShares, Pieces, WindowBlend, inner
from esegeta.predict.cotangent import Cotangent, active_windows, power_of_two_above
from esegeta.predict.pull_back import Pullback, PullbackSum, by_company
from esegeta.predict.windows import WindowPlan, Windows

Precision = Literal["fp32", "bf16", "fp16"]

AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, eq=False)
class Predictor:
    """A segmentation network over volumes of any size, window by window.

    Calling it maps `B C *S` to logits `B L *S`; the call is differentiable by its input, and
    equals MONAI's `sliding_window_inference` with the same plan. Buffers of the volume's size
    stay on the input's device, windows go to the network's. It leaves the network as it was:
    no hook, gradient, or changed train flag, also after an exception.

    Args:
        network: any module from `B C *W` to logits, or to what holds them; that inside a
            compiled or data parallel one.
        plan: how volumes are cut into windows.
        labels: what the output channels mean.
        batch_size: windows that go through the network at a time.
        precision: fp32, or bf16 / fp16 under autocast; results are float32 all the same.
        on_windows: is told how many windows went through the network, each time some did.
        output: which of several tensors that the network returns the logits are.
        gradients: whether slopes flow back through the network; see `try_gradients`.
    """

    network: nn.Module
    plan: WindowPlan
    labels: Labels
    batch_size: int = 1
    precision: Precision = "fp32"
    on_windows: Callable[[int], None] | None = field(default=None, repr=False, compare=False)
    output: OutputChoice = FIRST
    gradients: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", without_wrappers(self.network))

    @property
    def capability(self) -> Capability:
        """What can be done with the network."""
        return replace(capability_of(self.network), gradients=self.gradients)

    def windows(self, x: Batch) -> Windows:
        """Return the windows that cover an input."""
        return self.plan.lay(tuple(x.shape[2:]))

    def __call__(self, x: Batch) -> Logits:
        """Return the blended logits; gradients flow back to `x`."""
        output: Tensor = _Blended.apply(x, self)  # type: ignore[no-untyped-call]
        return output

    def predict(self, x: Batch, *, over: Mask | None = None) -> Logits:
        """Return the blended logits without a graph.

        Args:
            x: the input, `B C *S`.
            over: voxels `*S` whose logits are wanted; windows beside them are not run, and the
                logits of all other voxels mean nothing. None for all.
        """
        windows = self.windows(x)
        chosen = range(len(windows)) if over is None else windows.touching(over)
        blend = WindowBlend(windows, x, num_images=x.shape[0])
        with torch.no_grad(), held_still(self.network):
            for pieces in self.pieces(x, windows, chosen):
                logits = self.run(pieces.crops, windows)
                blend.add(pieces.windows, logits, images=pieces.images)
            return blend.result()

    def pull_back(
        self, x: Batch, cotangent: Cotangent, *, active: Sequence[int] | None = None
    ) -> Pullback:
        """Return the gradient of `<cotangent, y(x)>` by the input; idle windows are not run.

        Args:
            x: the input, `B C *S`.
            cotangent: `B L *S`, or `1 L *S` or a linear form for all images of the batch.
            active: the windows that the cotangent touches, where they are known already.
        """
        actives = None if active is None else [active]
        return self.pull_back_together(x, [cotangent], actives=actives)[0]

    def pull_back_together(
        self,
        x: Batch,
        cotangents: Sequence[Cotangent],
        *,
        actives: Sequence[Sequence[int]] | None = None,
    ) -> list[Pullback]:
        """Return what `pull_back` gives for each cotangent; a window goes forward once for all.

        Args:
            x: the input, `B C *S`.
            cotangents: each as `pull_back` takes it.
            actives: the windows that each of them touches, where they are known already.
        """
        windows = self.windows(x)
        if actives is None:
            actives = [active_windows(windows, cotangent) for cotangent in cotangents]
        pulls = [
            PullbackSum(x, windows, self.shares(windows, cotangent), frozenset(active))
            for cotangent, active in zip(cotangents, actives, strict=True)
        ]
        with held_still(self.network):
            for pieces in self.pieces(x.detach(), windows, by_company(actives)):
                crops = pieces.crops.requires_grad_(True)
                with torch.enable_grad():
                    logits = self.run(crops, windows)
                require_graph(logits)
                wanted = [pull for pull in pulls if pull.wants(pieces)]
                for pull in wanted:
                    pull.add(pieces, logits, crops, keep_graph=pull is not wanted[-1])
        return [pull.result(windows) for pull in pulls]

    def contributions(
        self, x: Batch, cotangent: Cotangent, active: Sequence[int]
    ) -> Float[Tensor, "B N"]:
        """Return `c_t(x_t) = <w_t g_t / sum w, net(x_t)>` of the given windows, float64."""
        return self.contributions_together(x, [cotangent], [active])[0]

    def contributions_together(
        self, x: Batch, cotangents: Sequence[Cotangent], actives: Sequence[Sequence[int]]
    ) -> list[Float[Tensor, "B _"]]:
        """Return what `contributions` gives for each cotangent; a window is run once for all."""
        windows = self.windows(x)
        parts = [self.shares(windows, cotangent) for cotangent in cotangents]
        orders = [{window: place for place, window in enumerate(active)} for active in actives]
        values = [
            torch.zeros((x.shape[0], len(active)), device=x.device, dtype=torch.float64)
            for active in actives
        ]
        with torch.no_grad(), held_still(self.network):
            for pieces in self.pieces(x, windows, by_company(actives)):
                logits = self.run(pieces.crops, windows)
                for shares, order, found in zip(parts, orders, values, strict=True):
                    if order.keys().isdisjoint(pieces.windows):
                        continue
                    worth = inner(logits, shares.of(pieces, logits.device)).to(x.device)
                    for place, window in enumerate(pieces.windows):
                        if window in order:
                            found[pieces.images[place], order[window]] = worth[place]
        return [found * shares.scale for found, shares in zip(values, parts, strict=True)]

    def shares(self, windows: Windows, cotangent: Cotangent) -> CotangentShares:
        """Return each window's part of a cotangent, scaled for the precision.

        Under fp16 the gradient of a mean over a million voxels would vanish: there the cotangent
        is scaled to a largest magnitude near one.
        """
        scale = power_of_two_above(cotangent) if self.precision == "fp16" else 1.0
        return CotangentShares(windows, cotangent, scale=scale)

    def inner(self, crops: Tensor, share: Tensor, windows: Windows) -> Float[Tensor, " N"]:
        """Return `<share, net(crop)>` of each window, summed in float64."""
        return inner(self.run(crops, windows), share)

    def pieces(self, x: Batch, windows: Windows, active: Sequence[int]) -> Iterator[Pieces]:
        """Cut the given windows of every image of a batch, `batch_size` at a time."""
        padded = windows.pad(x)
        todo = [(image, window) for image in range(x.shape[0]) for window in active]
        for start in range(0, len(todo), self.batch_size):
            group = todo[start : start + self.batch_size]
            images, indices = zip(*group, strict=True)
            crops = windows.cut(padded, indices, images=images).to(self.device_for(x))
            boxes = tuple(windows.boxes[window] for window in indices)
            yield Pieces(crops, images, indices, boxes)

    def run(self, crops: Batch, windows: Windows) -> Logits:
        """Run the network on windows; a 2D network sees slices without their thin axis."""
        thin = windows.slice_axis
        inputs = crops if thin is None else crops.squeeze(thin + 2)
        with self._autocast(crops.device):
            output = self.output.of(self.network(inputs))
        if self.on_windows is not None:
            self.on_windows(len(crops))
        if output is None:
            raise ModelError(
                "the network returned no tensor",
                hint="it must return logits, or a dataclass, dict, list or tuple that holds them",
            )
        if tuple(output.shape[2:]) != tuple(inputs.shape[2:]):
            raise ModelError(
                f"the network turned a window of {tuple(inputs.shape[2:])} "
                f"into {tuple(output.shape[2:])}",
                hint="segmentation networks must keep the shape of the window",
            )
        # Autocast's half precision ends with the network: blending and sums are in full.
        output = output.to(crops.dtype)
        return output if thin is None else output.unsqueeze(thin + 2)

    def device_for(self, x: Tensor) -> torch.device:
        """Where the network is; one without parameters runs where the input is."""
        tensors = itertools.chain(self.network.parameters(), self.network.buffers())
        first = next(tensors, None)
        return x.device if first is None else first.device

    def _autocast(self, device: torch.device) -> AbstractContextManager[object]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(device.type, dtype=AUTOCAST_DTYPES[self.precision])


def require_graph(logits: Tensor) -> None:
    """Refuse logits that gradients cannot flow back from.

    Raises:
        ModelError: nothing that the gradient is wanted of led to them.
    """
    if not logits.requires_grad:
        raise ModelError(
            "the network's output has no gradient with respect to its input",
            hint="does its forward detach, round, or run under torch.no_grad? occlusion needs no "
            "gradient",
        )


class _Blended(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, predictor: Predictor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.predictor = predictor
        return predictor.predict(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return ctx.predictor.pull_back(x, cotangent).gradient, None

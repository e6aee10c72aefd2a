"""The sliding-window prediction as one differentiable function, in the memory of a few windows.

    y = sum_t w_t * net(x_t) / sum_t w_t

`forward` keeps no graph. `backward` receives g = dR/dy, and re-runs with a graph only those
windows that g touches: each adds the vector-Jacobian product of its own `w_t * g_t / sum w` to the
gradient of the input. That is the gradient of the whole blended prediction, exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from esegeta.axes import Batch, Logits, Mask, Scalars
from esegeta.errors import ModelError
from esegeta.model import Labels, first_tensor, held_still
from esegeta.predict.form import LinearForm
from esegeta.predict.windows import Box, WindowPlan, Windows, spot

Precision = Literal["fp32", "bf16", "fp16"]

Cotangent = Float[Tensor, "#B L *S"] | LinearForm
"""dR/dy: one for each image of a batch, or one for all of them, as a linear target's is."""

AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Pullback:
    """What a backward pass through the windows gives.

    Args:
        gradient: of the target by the input, `B C *S`.
        value: `sum_t <w_t g_t / sum w, net(x_t)>` for each image of the batch: the value of the
            target where it is linear in the prediction.
        num_active: windows that the cotangent touched.
        num_windows: all windows.
    """

    gradient: Batch
    value: Scalars
    num_active: int
    num_windows: int


@dataclass(frozen=True)
class Pieces:
    """A few windows on the network's device, with what places them in the volume.

    Args:
        crops: the windows' input, `N C *W`.
        images: index of the image in the batch, for each window.
        windows: index into `Windows.boxes`, for each window.
        boxes: the same windows' boxes in the padded volume.
    """

    crops: Tensor
    images: tuple[int, ...]
    windows: tuple[int, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True, eq=False)
class Predictor:
    """A segmentation network over volumes of any size, window by window.

    Calling it maps `B C *S` to logits `B L *S`; the call is differentiable by its input, and
    equals MONAI's `sliding_window_inference` with the same plan. Buffers of the volume's size
    stay on the input's device, windows go to the network's. It leaves the network as it was:
    no hook, gradient, or changed train flag, also after an exception.

    Args:
        network: any module from `B C *W` to logits, or to a list whose first item they are.
        plan: how volumes are cut into windows.
        labels: what the output channels mean.
        batch_size: windows that go through the network at a time.
        precision: fp32, or bf16 / fp16 under autocast; results are float32 all the same.
    """

    network: nn.Module
    plan: WindowPlan
    labels: Labels
    batch_size: int = 1
    precision: Precision = "fp32"

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
        weights = windows.importance(x.device, x.dtype)
        total: Tensor | None = None
        with torch.no_grad(), held_still(self.network):
            for pieces in self.pieces(x, windows, chosen):
                logits = self.run(pieces.crops, windows).to(x.device, x.dtype)
                if total is None:
                    channels = logits.shape[1]
                    total = x.new_zeros((x.shape[0], channels, *windows.padded_shape))
                for place, image, box in zip(
                    range(len(logits)), pieces.images, pieces.boxes, strict=True
                ):
                    total[spot(image, box)].addcmul_(logits[place], weights)
            assert total is not None
            total /= windows.coverage(x.device, x.dtype)
        return windows.crop(total)

    def pull_back(
        self, x: Batch, cotangent: Cotangent, *, active: Sequence[int] | None = None
    ) -> Pullback:
        """Return the gradient of `<cotangent, y(x)>` by the input; idle windows are not run.

        Args:
            x: the input, `B C *S`.
            cotangent: `B L *S`, or `1 L *S` or a linear form for all images of the batch.
            active: the windows that the cotangent touches, where they are known already.
        """
        windows = self.windows(x)
        active = active_windows(windows, cotangent) if active is None else active
        gradient = x.new_zeros((x.shape[0], x.shape[1], *windows.padded_shape))
        value = torch.zeros(x.shape[0], device=x.device, dtype=torch.float64)
        shares = self.shares(windows, cotangent)
        with held_still(self.network):
            for pieces in self.pieces(x.detach(), windows, active):
                crops = pieces.crops.requires_grad_(True)
                with torch.enable_grad():
                    logits = self.run(crops, windows)
                require_graph(logits)
                share = shares.of(pieces, logits.device)
                (slope,) = torch.autograd.grad(logits, crops, share.to(logits.dtype))
                slope = slope.to(x.device, x.dtype)
                worth = (logits.detach() * share).flatten(1).sum(dim=1, dtype=torch.float64)
                for place, image, box in zip(
                    range(len(slope)), pieces.images, pieces.boxes, strict=True
                ):
                    gradient[spot(image, box)] += slope[place]
                    value[image] += worth[place].to(x.device)
        if shares.scale != 1:
            # In place: a second tensor of the volume's size would be the peak of memory.
            gradient.mul_(shares.scale)
        gradient = windows.crop(gradient).contiguous()
        return Pullback(gradient, value * shares.scale, len(active), len(windows))

    def contributions(
        self, x: Batch, cotangent: Cotangent, active: Sequence[int]
    ) -> Float[Tensor, "B N"]:
        """Return `c_t(x_t) = <w_t g_t / sum w, net(x_t)>` of the given windows, float64."""
        windows = self.windows(x)
        shares = self.shares(windows, cotangent)
        order = {window: place for place, window in enumerate(active)}
        values = torch.zeros((x.shape[0], len(active)), device=x.device, dtype=torch.float64)
        with torch.no_grad(), held_still(self.network):
            for pieces in self.pieces(x, windows, active):
                share = shares.of(pieces, pieces.crops.device)
                worth = self.inner(pieces.crops, share, windows).to(x.device)
                for place in range(len(worth)):
                    values[pieces.images[place], order[pieces.windows[place]]] = worth[place]
        return values * shares.scale

    def shares(self, windows: Windows, cotangent: Cotangent) -> CotangentShares:
        """Return each window's part of a cotangent, scaled for the precision.

        Under fp16 the gradient of a mean over a million voxels would vanish: there the cotangent
        is scaled to a largest magnitude near one.
        """
        scale = power_of_two_above(cotangent) if self.precision == "fp16" else 1.0
        return CotangentShares(windows, cotangent, scale=scale)

    def inner(self, crops: Tensor, share: Tensor, windows: Windows) -> Float[Tensor, " N"]:
        """Return `<share, net(crop)>` of each window, summed in float64."""
        logits = self.run(crops, windows)
        return (logits * share).flatten(1).sum(dim=1, dtype=torch.float64)

    def pieces(self, x: Batch, windows: Windows, active: Sequence[int]) -> Iterator[Pieces]:
        """Cut the given windows of every image of a batch, `batch_size` at a time."""
        padded = windows.pad(x)
        todo = [(image, window) for image in range(x.shape[0]) for window in active]
        for start in range(0, len(todo), self.batch_size):
            group = todo[start : start + self.batch_size]
            boxes = tuple(windows.boxes[window] for _, window in group)
            crops = torch.stack(
                [padded[spot(image, box)] for (image, _), box in zip(group, boxes, strict=True)]
            )
            images, indices = zip(*group, strict=True)
            yield Pieces(crops.to(self.device_for(x)), images, indices, boxes)

    def run(self, crops: Batch, windows: Windows) -> Logits:
        """Run the network on windows; a 2D network sees slices without their thin axis."""
        thin = windows.slice_axis
        inputs = crops if thin is None else crops.squeeze(thin + 2)
        with self._autocast(crops.device):
            output = first_tensor(self.network(inputs))
        if output is None:
            raise ModelError(
                "the network returned no tensor",
                hint="it must return logits, or a list or tuple that starts with them",
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


class CotangentShares:
    """Each window's part of the cotangent, `w_t * g_t / sum w / scale`.

    Args:
        windows: over the volume.
        cotangent: `B L *S`, or `1 L *S` or a linear form for all images of a batch.
        scale: results are to be multiplied by it; a power of two rounds nothing.
    """

    def __init__(self, windows: Windows, cotangent: Cotangent, *, scale: float = 1.0) -> None:
        self.scale = scale
        self._boxes = windows.boxes
        self._padded = (
            cotangent.padded(windows)
            if isinstance(cotangent, LinearForm)
            else windows.pad(cotangent)
        )
        self._weights = windows.importance(cotangent.device, cotangent.dtype)
        self._coverage = windows.coverage(cotangent.device, cotangent.dtype)

    def of(self, pieces: Pieces, device: torch.device) -> Tensor:
        """Return the share of each window of each image, `N L *W`, divided by `scale`."""
        places = zip(pieces.images, pieces.boxes, strict=True)
        return torch.stack([self._share(image, box) for image, box in places]).to(device)

    def at(self, windows: Sequence[int], device: torch.device) -> Tensor:
        """Return the share of each of these windows of the first image, divided by `scale`."""
        shares = [self._share(0, self._boxes[window]) for window in windows]
        return torch.stack(shares).to(device)

    def _share(self, image: int, box: Box) -> Tensor:
        return self._part(image, box) * (self._weights / self._coverage[box] / self.scale)

    def _part(self, image: int, box: Box) -> Tensor:
        if isinstance(self._padded, LinearForm):
            return self._padded.crop(box)
        # A linear target has one cotangent for all images of a batch.
        return self._padded[spot(image if len(self._padded) > 1 else 0, box)]


def power_of_two_above(cotangent: Cotangent) -> float:
    """Return the smallest power of two above every magnitude; 1 where all are zero."""
    if isinstance(cotangent, LinearForm):
        peak = cotangent.peak()
    else:
        peak = float(torch.linalg.vector_norm(cotangent, torch.inf))
    return 2.0 ** math.frexp(peak)[1] if peak > 0 else 1.0


def require_graph(logits: Tensor) -> None:
    """Refuse logits that gradients cannot flow back from.

    Raises:
        ModelError: nothing that the gradient is wanted of led to them.
    """
    if not logits.requires_grad:
        raise ModelError(
            "the network's output has no gradient by its input",
            hint="does its forward detach, round, or run under torch.no_grad? occlusion needs none",
        )


def active_windows(windows: Windows, cotangent: Cotangent) -> list[int]:
    """Return the windows on which a cotangent is not zero everywhere."""
    if isinstance(cotangent, LinearForm):
        return windows.touching(cotangent.support())
    return windows.touching(cotangent.any(dim=1).any(dim=0))


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

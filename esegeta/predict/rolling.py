"""The gradient of targets that are not linear, a slab of the prediction at a time.

    dR/dx = sum_t vjp(x_t, w_t * g_t / sum w),    g = dR/dy at the blended prediction y

Where g follows from y voxel by voxel, a window can go back as soon as y is complete on the voxels
that its output covers: y is made slab by slab, and dropped behind the last window that needs it.
What is held of y is as thick as a window, and the step to the next row of windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from esegeta.axes import Batch, Logits
from esegeta.model import held_still
from esegeta.predict.average import require_graph, slopes_of_average
from esegeta.predict.blend import Pieces, WindowSum
from esegeta.predict.cotangent import power_of_two_above
from esegeta.predict.predictor import Predictor
from esegeta.predict.pull_back import Pullback, by_company
from esegeta.predict.shares import BlendTranspose
from esegeta.predict.slabs import Slab, rows_of, slab_axis
from esegeta.predict.tiling import Box
from esegeta.predict.windows import Windows

SlopeOf = Callable[[Logits, Box, Tensor], None]
"""Given the prediction of a box, `1 L *P`, writes dR/dy there into a tensor of that shape."""


@dataclass(frozen=True, eq=False)
class Curved:
    """A target that is not linear, as the rolling pass sees it.

    Args:
        slope: its slope.
        touched: windows that it may depend on.
    """

    slope: SlopeOf
    touched: Sequence[int]


def pull_back_rolling(predictor: Predictor, x: Batch, targets: Sequence[Curved]) -> list[Pullback]:
    """Return the gradient of each target by the input; windows share passes.

    Every window that a target may depend on goes forward twice, and back where its slope is not
    zero everywhere. The `value` of the results is not known: NaN.

    Args:
        predictor: the network over windows.
        x: the input, `1 C *S`.
        targets: the targets.
    """
    rolling = _Rolling(predictor, x, targets)
    predictor.each_slab(x.detach(), rolling.take, chosen=rolling.chosen)
    return rolling.results()


class _Rolling:
    def __init__(self, predictor: Predictor, x: Batch, targets: Sequence[Curved]) -> None:
        self._predictor, self._x = predictor, x
        self._windows = windows = predictor.windows(x)
        self._axis = slab_axis(windows)
        # Every network and pass over a place is needed: the blend there is of all of them.
        self.chosen = sorted(set().union(*(target.touched for target in targets)))
        self._kept: list[Slab] = []
        starts = [box[self._axis].start for box in windows.outputs.boxes]
        self._rows = rows_of(by_company([target.touched for target in targets]), starts)
        before = windows.padding[self._axis][0]
        self._starts = [starts[row[0]] - before for row in self._rows]
        self._pulls = [_TargetGradient(predictor, x, windows, target) for target in targets]

    def take(self, slab: Slab) -> None:
        """Let the rows of windows go back whose planes are complete, and keep what others need."""
        length = self._windows.shape[self._axis]
        thickness = self._windows.output[self._axis]
        while self._rows and min(self._starts[0] + thickness, length) <= slab.planes.stop:
            self._go_back(self._rows.pop(0), [*self._kept, slab])
            self._starts.pop(0)
        first = self._starts[0] if self._starts else length
        # What nobody needs any more goes before the copy is made: a slab's memory is used again.
        self._kept = [one for one in self._kept if one.planes.stop > first]
        if slab.planes.stop > first:
            copied = tuple(part.clone() for part in slab.parts)
            self._kept.append(Slab(slab.axis, slab.planes, copied, slab.box))

    def results(self) -> list[Pullback]:
        """Return what was gathered."""
        return [pull.result() for pull in self._pulls]

    def _go_back(self, row: Sequence[int], slabs: Sequence[Slab]) -> None:
        predictor, x = self._predictor, self._x
        with held_still(predictor.network):
            for pieces in predictor.pieces(x.detach(), self._windows, row):
                wanted = [pull for pull in self._pulls if pull.wants(pieces)]
                shares = [_LateShare() for _ in wanted]
                crops = pieces.crops.requires_grad_(True)
                with torch.enable_grad():
                    logits = predictor.run(crops, self._windows)
                    require_graph(logits)
                    roots = [_Root.apply(logits, share) for share in shares]  # type: ignore[no-untyped-call]
                like = torch.empty((0,), dtype=logits.dtype, device=logits.device)
                shape = logits.shape
                # What goes back follows from y alone: they need not lie beside it.
                del logits
                for pull, share, root in zip(wanted, shares, roots, strict=True):
                    share.value = pull.share(pieces, shape, slabs).to(like)
                    pull.add(pieces, share, root, crops, keep_graph=pull is not wanted[-1])
                    share.value = None
                del crops, roots, root


class _LateShare:
    """What goes back from the logits of a few windows, known only after they are gone."""

    value: Tensor | None = None


class _Root(torch.autograd.Function):
    """The end of a graph that takes what goes back from elsewhere, and holds no logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, share: _LateShare) -> Tensor:
        ctx.share = share
        return logits.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, None]:
        return ctx.share.value, None


class _TargetGradient:
    """The gradient of one target, as it is gathered from windows."""

    def __init__(self, predictor: Predictor, x: Batch, windows: Windows, target: Curved) -> None:
        self._predictor, self._windows, self._target = predictor, windows, target
        self._touched = frozenset(target.touched)
        self._active: set[int] = set()
        self._gradient = WindowSum(windows, x, num_images=1, num_channels=x.shape[1])
        self._blend = BlendTranspose(windows, x.device, x.dtype)
        self._x = x

    def wants(self, pieces: Pieces) -> bool:
        """Tell whether the target may depend on any of these windows."""
        return not self._touched.isdisjoint(pieces.windows)

    def share(self, pieces: Pieces, shape: Sequence[int], slabs: Sequence[Slab]) -> Tensor:
        """Return the shares `N L *O` of windows; 0 where the target does not depend on one."""
        share = torch.zeros(shape, dtype=self._x.dtype, device=self._x.device)
        for place, window in enumerate(pieces.windows):
            if window in self._touched:
                self._fill(share[place], window, slabs)
        return share

    def add(
        self, pieces: Pieces, share: _LateShare, root: Tensor, crops: Tensor, *, keep_graph: bool
    ) -> None:
        """Go back from the logits of windows to their input."""
        assert share.value is not None  # it is known by now
        kept = [place for place, own in enumerate(share.value) if bool(own.any())]
        if not kept:
            return
        scale = power_of_two_above(share.value) if self._predictor.precision == "fp16" else 1.0
        share.value /= scale
        (slope,) = torch.autograd.grad(root, crops, retain_graph=keep_graph)
        windows = [pieces.windows[place] for place in kept]
        self._active.update(windows)
        own = slope if len(kept) == len(slope) else slope[kept]
        self._gradient.add(windows, own.mul_(scale) if scale != 1 else own)

    def result(self) -> Pullback:
        """Return what was gathered."""
        gradient = self._gradient.result().contiguous()
        unknown = torch.full((1,), torch.nan, dtype=torch.float64, device=gradient.device)
        num_active, num_touched = len(self._active), len(self._touched)
        return Pullback(gradient, unknown, num_active, len(self._windows), 2 * num_touched)

    def _fill(self, share: Tensor, window: int, slabs: Sequence[Slab]) -> None:
        """Write the share `L *O` of a window, as its network sees it, over zeros."""
        windows = self._windows
        box = windows.outputs.boxes[window]
        for slab in slabs:
            found = _overlap(windows, box, slab)
            if found is not None:
                inside, within, of_slab = found
                parts = [part[(slice(None), slice(None), *of_slab)] for part in slab.parts]
                own = share[(slice(None), *within)][None]
                self._write_slope(parts, inside, windows.blend_of(window), own)
        turned = self._blend.of_own(share, window)
        if turned is not share:
            share.copy_(turned)

    def _write_slope(self, parts: Sequence[Logits], box: Box, blend: int, into: Tensor) -> None:
        """Write dR/dy `1 L *P` by the blend that a window is of."""
        predictor = self._predictor
        self._target.slope(predictor.averaged(parts), box, into)
        if len(parts) > 1:
            slopes = slopes_of_average(parts, predictor.labels.activation, into)
            into.copy_(slopes[blend])


def _overlap(windows: Windows, box: Box, slab: Slab) -> tuple[Box, Box, Box] | None:
    """Return where a window's output and a slab meet: in the volume, the window, and the slab."""
    inside, within, of_slab = [], [], []
    axes = zip(box, slab.box, windows.padding, strict=True)
    for side, own, (before, _) in axes:
        start = max(side.start - before, own.start)
        stop = min(side.stop - before, own.stop)
        if stop <= start:
            return None
        inside.append(slice(start, stop))
        within.append(slice(start + before - side.start, stop + before - side.start))
        of_slab.append(slice(start - own.start, stop - own.start))
    return tuple(inside), tuple(within), tuple(of_slab)

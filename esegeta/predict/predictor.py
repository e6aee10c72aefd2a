"""The sliding-window prediction as one differentiable function, in the memory of a few windows.

    y = sum_t w_t * net(x_t) / sum_t w_t

`forward` keeps no graph. `backward` receives g = dR/dy, and re-runs with a graph only those
windows that g touches: each adds the vector-Jacobian product of its own `w_t * g_t / sum w` to the
gradient of the input. That is the gradient of the whole blended prediction, exactly.

Mirrored passes and the networks of an ensemble are windows too, and t goes over all of them. Where
probabilities are averaged, not logits, each network m has its own blend y_m, and g becomes theirs:

    y = log mean_m softmax(y_m),    g_m = (dy/dy_m)^T g
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from esegeta.axes import Batch, Logits, Mask, Scalars
from esegeta.errors import ModelError
from esegeta.model import held_still, hold
from esegeta.predict.average import average_probabilities, require_graph, slopes_of_average
from esegeta.predict.blend import Pieces, WindowBlend
from esegeta.predict.cotangent import (
    Cotangent,
    LinearForm,
    active_windows,
    power_of_two_above,
)
from esegeta.predict.devices import Turns
from esegeta.predict.part_runner import PartRunner
from esegeta.predict.pull_back import Pullback, PullbackSum, by_company
from esegeta.predict.shares import CotangentShares, inner
from esegeta.predict.slabs import TakeSlab, run_slabs, slab_axis
from esegeta.predict.windows import Windows


@dataclass(frozen=True, eq=False, repr=False)
class Predictor(PartRunner):
    """A segmentation network over volumes of any size, window by window.

    Calling it maps `B C *S` to logits `B L *S`; the call is differentiable by its input, and
    equals MONAI's `sliding_window_inference` with the same plan. Buffers of the volume's size
    stay on the input's device, windows go to the network's. It leaves the network as it was:
    no hook, gradient, or changed train flag, also after an exception.

    Its fields are those of `predict.runner.WindowRunner`.
    """

    def members(self) -> list[Predictor]:
        """Return each network by itself, mirrored as it is; or each mirrored pass of a network."""
        return [replace(self, plan=plan) for plan in self.plan.members()]

    def member(self, number: int) -> Predictor:
        """Return a network of an ensemble alone, counted from 0; `network` holds its weights."""
        hold(self.network, self.states[number])
        return self.with_network(self.network)

    def with_network(self, network: nn.Module) -> Predictor:
        """Return a predictor of another network alone, over the same windows."""
        plan = self.plan.of_one_network()
        return replace(self, network=network, plan=plan, states=(), copies=None)

    def __call__(self, x: Batch) -> Logits:
        """Return the blended logits; gradients flow back to `x`."""
        output: Tensor = _Blended.apply(x, self)  # type: ignore[no-untyped-call]
        return output

    def logits(
        self, x: Batch, *, over: Mask | None = None, chosen: Sequence[int] | None = None
    ) -> Logits:
        """Return the blended logits without a graph.

        Args:
            x: the input, `B C *S`.
            over: voxels `*S` whose logits are wanted; windows beside them are not run, and the
                logits of all other voxels mean nothing. None for all.
            chosen: windows that are run, where they are known; what others would add is missing.
        """
        return self.averaged(self.predict_apart(x, over=over, chosen=chosen))

    def predict_apart(
        self, x: Batch, *, over: Mask | None = None, chosen: Sequence[int] | None = None
    ) -> list[Logits]:
        """Return the blended logits of each network whose probabilities are averaged; else one.

        Args:
            x: the input, `B C *S`.
            over: see `logits`.
            chosen: see `logits`.
        """
        windows = self.windows(x)
        if chosen is None:
            chosen = range(len(windows)) if over is None else windows.touching(over)
        blends = [WindowBlend(windows, x, num_images=len(x)) for _ in range(windows.num_blends)]
        with torch.no_grad(), held_still(self.network), Turns(self) as turns:
            for pieces, logits in turns.do(
                self.pieces(x, windows, chosen), lambda one, own: one.run(own.crops, windows)
            ):
                blend = blends[windows.blend_of(pieces.windows[0])]
                blend.add(pieces.windows, logits, images=pieces.images)
                # Otherwise they would lie beside those of the next windows.
                del logits
            return [blend.result() for blend in blends]

    def each_slab(self, x: Batch, take: TakeSlab, *, chosen: Sequence[int] | None = None) -> None:
        """Predict an image slab by slab: no more of it is held than one window is thick.

        Args:
            x: the image, `1 C *S`.
            take: is given each slab, in the order of its planes; `averaged` makes logits of it.
            chosen: windows that are run; planes that none of them covers are left out.
        """
        windows = self.windows(x)
        chosen = range(len(windows)) if chosen is None else chosen
        run_slabs(self, x, take, chosen=chosen, axis=slab_axis(windows))

    def averaged(self, parts: Sequence[Logits]) -> Logits:
        """Return the prediction, given those of `predict_apart`."""
        return average_probabilities(parts, self.labels.activation)

    def pull_back(
        self,
        x: Batch,
        cotangent: Cotangent,
        *,
        active: Sequence[int] | None = None,
        at: Sequence[Logits] | None = None,
    ) -> Pullback:
        """Return the gradient of `<cotangent, y(x)>` by the input; idle windows are not run.

        Args:
            x: the input, `B C *S`.
            cotangent: `B L *S`, or `1 L *S` or a linear form for all images of the batch.
            active: the windows that the cotangent touches, where they are known already; the
                gradient is of these alone.
            at: result of `predict_apart`, where it is already known.
        """
        actives = None if active is None else [active]
        return self.pull_back_together(x, [cotangent], actives=actives, at=at)[0]

    def pull_back_together(
        self,
        x: Batch,
        cotangents: Sequence[Cotangent],
        *,
        actives: Sequence[Sequence[int]] | None = None,
        at: Sequence[Logits] | None = None,
    ) -> list[Pullback]:
        """Return what `pull_back` gives for each cotangent; a window goes forward once for all.

        Args:
            x: the input, `B C *S`.
            cotangents: each as `pull_back` takes it.
            actives: the windows that each of them touches, where they are known already.
            at: result of `predict_apart`, where it is already known.
        """
        windows = self.windows(x)
        if actives is None:
            actives = [active_windows(windows, cotangent) for cotangent in cotangents]
        apart: list[Logits] = []
        if self.is_sum:
            shares = [self.shares(windows, cotangent) for cotangent in cotangents]
        else:
            touched = by_company(actives)
            if not touched:
                return [self._nothing(x, windows) for _ in cotangents]
            apart = list(at or self.predict_apart(x.detach(), chosen=touched))
            shares = [self._shares_apart(windows, cotangent, apart) for cotangent in cotangents]
        pulls = [
            PullbackSum(x, windows, share, frozenset(active))
            for share, active in zip(shares, actives, strict=True)
        ]

        def go_back(one: Predictor, pieces: Pieces) -> list[tuple[PullbackSum, Tensor, Tensor]]:
            crops = pieces.crops.requires_grad_(True)
            with torch.enable_grad():
                logits = one.run(crops, windows)
            require_graph(logits)
            wanted = [pull for pull in pulls if pull.wants(pieces)]
            return [
                (pull, *pull.go_back(pieces, logits, crops, keep_graph=pull is not wanted[-1]))
                for pull in wanted
            ]

        active = by_company(actives)
        with held_still(self.network), Turns(self) as turns:
            parts = self.parts(x, windows, active, cotangents)
            batches = self.pieces(x.detach(), windows, active, parts=parts)
            for pieces, found in turns.do(batches, go_back):
                for pull, slope, worth in found:
                    pull.add(pieces, slope, worth)
        results = [pull.result(windows) for pull in pulls]
        if self.is_sum:
            return results
        y, passes = self.averaged(apart), 2 if at is None else 1
        return [
            replace(result, value=_inner_of(cotangent, y), num_run=passes * result.num_active)
            for result, cotangent in zip(results, cotangents, strict=True)
        ]

    def _nothing(self, x: Batch, windows: Windows) -> Pullback:
        value = torch.zeros(len(x), device=x.device, dtype=torch.float64)
        return Pullback(torch.zeros_like(x), value, 0, len(windows), 0)

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

        def worth_of(logits: Logits, shares: CotangentShares, pieces: Pieces) -> Tensor:
            share = shares.of_channels(pieces, logits.device)
            return inner(shares.read(logits), share).to(x.device)

        def worths(one: Predictor, pieces: Pieces) -> list[Tensor | None]:
            logits = one.run(pieces.crops, windows)
            return [
                None
                if order.keys().isdisjoint(pieces.windows)
                else worth_of(logits, shares, pieces)
                for shares, order in zip(parts, orders, strict=True)
            ]

        active = by_company(actives)
        with torch.no_grad(), held_still(self.network), Turns(self) as turns:
            narrow = self.parts(x, windows, active, cotangents)
            batches = self.pieces(x, windows, active, parts=narrow)
            for pieces, made in turns.do(batches, worths):
                for order, found, worth in zip(orders, values, made, strict=True):
                    if worth is None:
                        continue
                    for place, window in enumerate(pieces.windows):
                        if window in order:
                            found[pieces.images[place], order[window]] = worth[place]
        return [found * shares.scale for found, shares in zip(values, parts, strict=True)]

    def shares(self, windows: Windows, cotangent: Cotangent) -> CotangentShares:
        """Return each window's part of a cotangent, scaled for the precision.

        Under fp16 the gradient of a mean over a million voxels would vanish: there the cotangent
        is scaled to a largest magnitude near one.

        Raises:
            ModelError: the prediction is not a sum over windows.
        """
        if not self.is_sum:
            raise ModelError(
                "the mean of several networks' probabilities is not a sum over windows",
                hint="use inference.average: logits",
            )
        scale = power_of_two_above(cotangent) if self.precision == "fp16" else 1.0
        return CotangentShares(windows, cotangent, scale=scale)

    def _shares_apart(
        self, windows: Windows, cotangent: Cotangent, parts: Sequence[Logits]
    ) -> CotangentShares:
        """Return the same where networks' probabilities are averaged, to first order at `parts`."""
        dense = cotangent.dense()[None] if isinstance(cotangent, LinearForm) else cotangent
        slope = dense.to(parts[0]).expand_as(parts[0])
        slopes = slopes_of_average(parts, self.labels.activation, slope)
        scale = max(power_of_two_above(own) for own in slopes)
        return CotangentShares(windows, *slopes, scale=scale if self.precision == "fp16" else 1.0)

    def inner(self, crops: Tensor, share: Tensor, windows: Windows) -> Float[Tensor, " N"]:
        """Return `<share, net(crop)>` of each window, summed in float64."""
        return inner(self.run(crops, windows), share)


def _inner_of(cotangent: Cotangent, y: Logits) -> Scalars:
    dense = cotangent.dense()[None] if isinstance(cotangent, LinearForm) else cotangent
    return inner(y, dense.to(y))


class _Blended(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, predictor: Predictor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.predictor = predictor
        return predictor.logits(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return ctx.predictor.pull_back(x, cotangent).gradient, None

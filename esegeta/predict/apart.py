"""A mean of probabilities taken apart: what each single pass through a network answers for.

Methods that read layers or operations watch one pass at a time: network m on window t, mirrored by
f, with logits z_mtf. A mean of logits is a sum over passes. One of probabilities is not, but

    y_m = sum_t w_t A_f(z_mtf) / sum_t w_t,    y = A_m(y_m)        A as in `average`

has a slope by every z, and each pass answers for its own, `share_mtf = dR/dz_mtf`: first at y, then
at the blends y_m, then in the window. The share depends on the output of all other passes, and is
taken at one point; or, for a change from one point to another, as the mean of each stage's slope on
the straight line between what it is given at both, so that

    sum_mtf <share_mtf, z_mtf - z'_mtf> = R - R'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Batch, Logits, Mask
from esegeta.model import held_still
from esegeta.predict.average import slopes_of_average, slopes_on_the_line
from esegeta.predict.blend import Pieces, WindowBlend
from esegeta.predict.cotangent import power_of_two_above
from esegeta.predict.passes import Pass
from esegeta.predict.predictor import Predictor
from esegeta.predict.shares import CotangentShares
from esegeta.predict.windows import Windows

RunPass = Callable[[Pieces], Tensor]
"""From windows of one pass to their logits `N L *O`, as the network outputs them."""

NetworkAndBox = tuple[int, int]
"""A network, and one of the boxes that it sees, mirrored or not."""


@dataclass(frozen=True, eq=False)
class Moment:
    """What all passes output at one point: for an input, and whatever is done to the network.

    Args:
        x: the input, `1 C *S`.
        run: a pass over windows of it.
        parts: the blended prediction of each network, `1 L *S`.
    """

    x: Batch
    run: RunPass
    parts: tuple[Logits, ...]


@dataclass(frozen=True, eq=False)
class PassesApart:
    """The passes of a predictor that averages probabilities, each by itself.

    Args:
        whole: the predictor.
    """

    whole: Predictor

    @cached_property
    def single(self) -> Predictor:
        """A predictor of the same passes, each of whose windows is one run of one network.

        It predicts the mean of their logits, which is not what is explained.
        """
        return replace(self.whole, plan=replace(self.whole.plan, average="logits"))

    def moment(self, x: Batch, run: RunPass, *, over: Mask | None = None) -> Moment:
        """Return what all passes output.

        Args:
            x: the input, `1 C *S`.
            run: a pass over windows of it.
            over: voxels `*S` where the prediction is wanted; None for all.
        """
        around = _PassLayout(self.single.windows(x))
        places = around.places
        if over is not None:
            boxes = {window % around.flat.num_places for window in around.flat.touching(over)}
            places = [key for key in places if key[1] in boxes]
        blends = [WindowBlend(around.flat, x) for _ in around.members]
        with torch.no_grad(), held_still(self.whole.network):
            for key, logits in self.outputs(x, run, places):
                average = self.whole.averaged(list(logits[:, None]))
                blends[around.members.index(key[0])].add([around.flat_window(key)], average)
        return Moment(x, run, tuple(blend.result() for blend in blends))

    def outputs(
        self, x: Batch, run: RunPass, places: Sequence[NetworkAndBox]
    ) -> Iterator[tuple[NetworkAndBox, Float[Tensor, "F L *O"]]]:
        """Yield the logits of all mirrored passes of places, mirrored back.

        The network holds each member's weights in turn, and must be held still meanwhile.
        """
        windows = self.single.windows(x)
        around = _PassLayout(windows)
        todo = [window for key in sorted(places) for window in around.windows_at(key)]
        held: list[Tensor] = []
        for pieces in self.single.pieces(x, windows, todo):
            with torch.no_grad():
                logits = run(pieces).detach()
            for window, own in zip(pieces.windows, logits, strict=True):
                held.append(windows.turned(own, window))
                if len(held) == around.num_flips:
                    yield around.place_of(window), torch.stack(held)
                    held = []

    def prediction(self, moment: Moment) -> Logits:
        """Return the prediction, `1 L *S`."""
        return self.whole.averaged(moment.parts)

    def shares(self, slope: Logits, *moments: Moment) -> ApartShares:
        """Return what each pass answers for.

        Args:
            slope: the point that the shares are taken at; or two, for the change from first to
                last.
            moments: the point that it is taken at; or two, for the change from first to last.
        """
        return ApartShares(self, slope, moments)


@dataclass(frozen=True, eq=False)
class ApartCotangent:
    """dR/dy where probabilities are averaged, with what each pass answers for.

    Args:
        slope: dR/dy, `1 L *S`.
        shares: share of each pass.
    """

    slope: Logits
    shares: ApartShares


class ApartShares:
    """Each pass's part of a cotangent in its windows, as its network sees it, divided by `scale`.

    Args:
        apart: the passes.
        slope: dR/dy, `1 L *S`.
        moments: one or two; see `PassesApart.shares`.
    """

    def __init__(self, apart: PassesApart, slope: Logits, moments: Sequence[Moment]) -> None:
        self._apart = apart
        self._moments = moments
        self._windows = apart.single.windows(moments[0].x)
        self._around = _PassLayout(self._windows)
        slopes = self._through([moment.parts for moment in moments], slope)
        half = apart.whole.precision == "fp16"
        self.scale = max(power_of_two_above(own) for own in slopes) if half else 1.0
        self._blended = CotangentShares(self._around.flat, *slopes, scale=self.scale)
        self._known: dict[NetworkAndBox, tuple[Tensor, ...]] = {}

    def of(self, pieces: Pieces, device: torch.device) -> Tensor:
        """Return the share of each window, `N L *W`; the network must be held still meanwhile."""
        keys = [self._around.place_of(window) for window in pieces.windows]
        self._learn(keys)
        shares = []
        for key, window in zip(keys, pieces.windows, strict=True):
            share = self._known[key][self._around.flip_of(window)]
            shares.append(self._windows.turned(share, window))
        return torch.stack(shares).to(device)

    def _learn(self, keys: Iterable[NetworkAndBox]) -> None:
        """Find the shares of some places, and forget those of all others."""
        wanted = dict.fromkeys(keys)
        self._known = {key: own for key, own in self._known.items() if key in wanted}
        missing = [key for key in wanted if key not in self._known]
        if not missing:
            return
        if self._around.num_flips == 1:
            for key in missing:
                self._known[key] = (self._share(key, None)[0],)
            return
        found = [dict(self._apart.outputs(one.x, one.run, missing)) for one in self._moments]
        for key in missing:
            logits = [list(one[key][:, None]) for one in found]
            slopes = self._through(logits, self._share(key, logits[0][0].device))
            self._known[key] = tuple(slope[0] for slope in slopes)

    def _share(self, key: NetworkAndBox, device: torch.device | None) -> Tensor:
        window = self._around.flat_window(key)
        return self._blended.at([window], self._moments[0].x.device if device is None else device)

    def _through(self, points: Sequence[Sequence[Logits]], slope: Tensor) -> tuple[Tensor, ...]:
        """Return the slope by each of the averaged predictions, at one point or on the way."""
        activation = self._apart.whole.labels.activation
        slope = slope.to(points[0][0])
        if len(points) == 1:
            return slopes_of_average(points[0], activation, slope)
        return slopes_on_the_line(points[0], points[1], activation, slope)


class _PassLayout:
    """Where windows of single passes lie: the network, box and flip of each.

    Args:
        windows: windows of single passes.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self.members = list(dict.fromkeys(one.member for one in windows.passes))
        self._flips = list(dict.fromkeys(one.flips for one in windows.passes))
        self.num_flips = len(self._flips)
        self.flat = replace(
            windows,
            passes=tuple(Pass(member) for member in self.members),
            num_blends=len(self.members),
        )

    @property
    def places(self) -> list[NetworkAndBox]:
        boxes = range(self._windows.num_places)
        return [(member, box) for member in self.members for box in boxes]

    def place_of(self, window: int) -> NetworkAndBox:
        return self._windows.member_of(window), window % self._windows.num_places

    def flip_of(self, window: int) -> int:
        return self._flips.index(self._windows.flips(window))

    def windows_at(self, key: NetworkAndBox) -> list[int]:
        """Return the windows of all mirrored passes of a place, in the order of the flips."""
        member, box = key
        numbers = {
            one.flips: number
            for number, one in enumerate(self._windows.passes)
            if one.member == member
        }
        return [numbers[flips] * self._windows.num_places + box for flips in self._flips]

    def flat_window(self, key: NetworkAndBox) -> int:
        """Return the window of a place where mirrored passes are one."""
        return self.members.index(key[0]) * self._windows.num_places + key[1]

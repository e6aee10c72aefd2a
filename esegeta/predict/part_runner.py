"""A network over parts of windows, where it is proved that these decide what is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from esegeta.axes import Batch
from esegeta.model import is_watched
from esegeta.predict.cotangent import Cotangent, support_of
from esegeta.predict.locality import Reach, narrow_parts, worthwhile_reach
from esegeta.predict.runner import WindowRunner
from esegeta.predict.tiling import Box
from esegeta.predict.windows import Windows


class PartRunner(WindowRunner):
    """A network over windows that knows which part of a window is enough; see `predict.locality`.

    Its fields are those of `WindowRunner`. The network must be held still.
    """

    @property
    def is_sum(self) -> bool:
        """Whether the prediction is a sum over windows; a mean of probabilities is not."""
        return self.plan.average == "logits" or self.plan.num_members == 1

    @property
    def averages_inside(self) -> bool:
        """Whether a window is more than one run of a network: the mean of probabilities."""
        return not self.is_sum or bool(self.plan.inner_flips)

    def parts(
        self,
        x: Batch,
        windows: Windows,
        active: Sequence[int],
        cotangents: Sequence[Cotangent],
        *,
        times: int = 1,
    ) -> dict[int, Box]:
        """Return the parts of windows that decide all that cotangents look at, where proved.

        Args:
            x: the input, `B C *S`.
            windows: windows over it.
            active: windows that are run.
            cotangents: cotangents of their outputs.
            times: how often each of these windows will be run, as far as is known.
        """
        if not active or not self._may_run_parts():
            return {}
        wanted = support_of(cotangents)
        if bool(wanted.all()):
            return {}
        padded = windows.pad(wanted)
        looked_at = {
            window: windows.turned(padded[windows.boxes[window]][None], window)[0]
            for window in active
        }
        run, like = self._bare(x, windows)
        return narrow_parts(self.network, run, like, looked_at, times)

    def reach(self, x: Batch, windows: Windows, *, saved: Callable[[], float]) -> Reach | None:
        """Return how far the network sees, where that is proved, or worth the passes of a proof.

        Args:
            x: the input, `B C *S`.
            windows: windows over it.
            saved: counts the passes of a whole window that it may save, where that matters.
        """
        if not self._may_run_parts():
            return None
        return worthwhile_reach(self.network, *self._bare(x, windows), saved)

    def _may_run_parts(self) -> bool:
        # Who watches the network may need whole windows.
        can = self.is_sum and not self.plan.inner_flips and self.plan.coverage is None
        return can and self.precision == "fp32" and not is_watched(self.network)

    def _bare(self, x: Batch, windows: Windows) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """Return what runs the network without telling anyone, and an empty window."""
        like = x.new_zeros((1, x.shape[1], *windows.size)).to(self.device_for(x))
        silent = replace(self, on_windows=None, copies=None)
        return lambda crops: silent.run(crops, windows), like

"""A network over windows: they are cut, handed to the network a batch at a time, and run.

What happens to their outputs is up to the predictor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from esegeta.axes import Batch
from esegeta.errors import ModelError
from esegeta.model import (
    FIRST,
    Capability,
    Labels,
    OutputChoice,
    State,
    capability_of,
    hold,
    without_wrappers,
)
from esegeta.predict.average import averaged_over_flips
from esegeta.predict.blend import Pieces
from esegeta.predict.copies import Copies
from esegeta.predict.forward import MemoryFormat, Precision, run_network
from esegeta.predict.locality import batches
from esegeta.predict.tiling import Box
from esegeta.predict.window_plan import WindowPlan
from esegeta.predict.windows import Windows

MOST_NAMES = 8
"""Most labels that a line about a network names."""

FLOAT32 = 4
MB = 2**20
HELD_MB = 256.0
"""Predictions up to this size are held; larger ones are made slab by slab."""


@dataclass(frozen=True, eq=False, repr=False)
class WindowRunner:
    """A network, or an ensemble of them, that is run on windows of a volume.

    Args:
        network: any module from `B C *W` to logits, or to what holds them; that inside a
            compiled or data parallel one.
        plan: how volumes are cut into windows.
        labels: what the output channels mean.
        batch_size: windows that go through the network at a time.
        precision: fp32, or bf16 / fp16 under autocast; results are float32 all the same.
        on_windows: callback that is told how many windows went through the network, each time some
            did.
        output: which of several tensors returned by the network holds the logits.
        states: parameters and buffers of each network of an ensemble, which `network` holds in
            turn; none where it is one.
        gradients: whether slopes flow back through the network; see `try_gradients`.
        copies: copies of the network on further devices, which windows are dealt out to.
        held_mb: largest prediction of a whole volume that is held, in MB.
        memory_format: how activations lie in memory: `channels_last` is faster for some networks.
    """

    network: nn.Module
    plan: WindowPlan
    labels: Labels
    batch_size: int = 1
    precision: Precision = "fp32"
    on_windows: Callable[[int], None] | None = field(default=None, repr=False, compare=False)
    output: OutputChoice = FIRST
    states: tuple[State, ...] = field(default=(), repr=False, compare=False)
    gradients: bool = True
    copies: Copies | None = field(default=None, repr=False, compare=False)
    held_mb: float = HELD_MB
    memory_format: MemoryFormat = "contiguous"

    def __repr__(self) -> str:
        """One line: the network, its windows and its labels."""
        size = " x ".join(map(str, self.plan.size))
        several = f"{len(self.states)} networks of " if len(self.states) > 1 else ""
        names = ", ".join(map(str, self.labels.foreground[:MOST_NAMES]))
        rest = len(self.labels.foreground) - MOST_NAMES
        more = f" and {rest} more" if rest > 0 else ""
        return (
            f"<{type(self).__name__} {several}{type(self.network).__name__}: windows of {size}, "
            f"labels {names}{more}>"
        )

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", without_wrappers(self.network))
        wanted = 1 + max(one.member for one in self.plan.passes)
        if wanted > max(1, len(self.states)):
            raise ModelError(
                f"the plan averages {wanted} networks, and there are {max(1, len(self.states))}"
            )

    @property
    def capability(self) -> Capability:
        """What can be done with the network."""
        return replace(capability_of(self.network), gradients=self.gradients)

    def holds(self, shape: Sequence[int]) -> bool:
        """Tell whether the prediction of a volume `*S` is held, not made slab by slab."""
        return self.labels.num_outputs * math.prod(shape) * FLOAT32 <= self.held_mb * MB

    def windows(self, x: Batch) -> Windows:
        """Return the windows that cover an input."""
        return self.plan.lay(tuple(x.shape[2:]))

    def pieces(
        self,
        x: Batch,
        windows: Windows,
        active: Sequence[int],
        *,
        parts: Mapping[int, Box] | None = None,
    ) -> Iterator[Pieces]:
        """Cut the given windows of every image of a batch, `batch_size` at a time.

        They are in the order given, those of one network of an ensemble after the other, which
        holds its weights meanwhile. Of some only a part may be run: then those of equal size come
        together, as many as are as large as `batch_size` windows.
        """
        padded = windows.pad_image(x)
        for member, own in itertools.groupby(
            sorted(active, key=windows.member_of), key=windows.member_of
        ):
            chosen = list(own)
            todo = [(image, window) for image in range(x.shape[0]) for window in chosen]
            for group, own_parts in batches(todo, windows.size, parts or {}, self.batch_size):
                images, indices = zip(*group, strict=True)
                crops = windows.cut(padded, indices, images=images, parts=own_parts)
                boxes = tuple(windows.boxes[window] for window in indices)
                self.hold(member)
                crops = crops.to(self.device_for(x))
                yield Pieces(crops, images, indices, boxes, member, own_parts)

    def hold(self, member: int) -> None:
        """Let the network hold the weights of a member; `held_still` puts its own back."""
        if self.states:
            hold(self.network, self.states[member])

    def run(self, crops: Float[Tensor, "N C *W"], windows: Windows) -> Float[Tensor, "N L *O"]:
        """Run the network on windows; a 2D network sees slices without their thin axis.

        Returns:
            Logits of the voxels that the output covers, interpolated to them where it is of
            another resolution.
        """
        thin = windows.slice_axis
        inputs = crops if thin is None else crops.squeeze(thin + 2)
        flips = self.plan.inner_flips
        if flips:
            output = averaged_over_flips(self._output, inputs, flips, self.labels.activation)
        else:
            output = self._output(inputs)
        if self.on_windows is not None:
            self.on_windows(len(crops))
        return output if thin is None else output.unsqueeze(thin + 2)

    def _output(self, inputs: Tensor) -> Tensor:
        return run_network(
            self.network,
            inputs,
            choice=self.output,
            coverage=self.plan.coverage,
            precision=self.precision,
            memory_format=self.memory_format,
        )

    def device_for(self, x: Tensor) -> torch.device:
        """Where the network is; one without parameters runs where the input is."""
        tensors = itertools.chain(self.network.parameters(), self.network.buffers())
        first = next(tensors, None)
        return x.device if first is None else first.device

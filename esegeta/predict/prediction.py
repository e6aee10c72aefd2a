"""The prediction of one image: held where it is small, else made again, slab by slab.

A slab takes `L * W` planes where the whole takes `L * N`. What is decided about each voxel is kept
of the first pass, so that most targets never need a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from esegeta.axes import Batch, Logits, Mask
from esegeta.errors import ModelError
from esegeta.model import Decided, DecidedByLogits, Decisions
from esegeta.predict.predictor import Predictor
from esegeta.predict.probabilities import Extent, doubt_of
from esegeta.predict.slabs import Slab, slab_axis
from esegeta.predict.tiling import Box

TakePart = Callable[[Logits, Box], None]
"""What is done with the logits `1 L *P` of a box; it must copy what it wants to keep of them."""


class Prediction:
    """The blended prediction of an image, all of it or slab by slab.

    Args:
        predictor: the network over windows.
        x: the image, `1 C *S`.
        name: name of the image, for messages.
        known: the prediction `1 L *S`, where it has been made already.
    """

    def __init__(
        self, predictor: Predictor, x: Batch, name: str, known: Logits | None = None
    ) -> None:
        self._predictor, self._x, self._name = predictor, x, name
        self._known = known
        self._extent: Extent | None = None
        self._decisions: Decisions | None = None

    @property
    def is_held(self) -> bool:
        """Whether the whole prediction is held once it is known: it is small, or was asked for."""
        return self._known is not None or self._predictor.holds(self.shape)

    @property
    def is_known(self) -> bool:
        """Whether the prediction has been made."""
        return self._known is not None or self._extent is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """`*S`."""
        return tuple(self._x.shape[2:])

    @property
    def axis(self) -> int:
        """The axis across which parts lie, in the order of their planes."""
        return slab_axis(self._predictor.windows(self._x))

    @property
    def logits(self) -> Logits:
        """The logits of the whole volume, `1 L *S`; from now on they are held.

        Raises:
            ModelError: they are not finite.
        """
        if self._known is None:
            logits = self._predictor.logits(self._x)
            require_finite(self._name, [logits], logits.numel())
            self._known = logits
        return self._known

    def is_own(self, logits: Logits) -> bool:
        """Tell whether logits are the ones that are held here."""
        return logits is self._known

    def each_part(self, take: TakePart) -> None:
        """Hand on the logits of all parts of the volume, one after the other.

        Raises:
            ModelError: they are not finite.
        """
        if self.is_held:
            take(self.logits, tuple(slice(0, length) for length in self.shape))
            return
        doubtful: list[int] = []
        total = 0
        extent = Extent()
        first = None if self._decisions is not None else self._new_decisions()

        def take_slab(slab: Slab) -> None:
            nonlocal total
            logits = self._predictor.averaged(slab.parts)
            part = Extent()
            part.take(logits)
            total += logits.numel()
            extent.join(part)
            if not part.is_finite:
                doubtful.append(int((~logits.isfinite()).sum()))
            if doubtful:
                return
            if first is not None:
                first.take(logits, slab.box)
            take(logits, slab.box)

        self._predictor.each_slab(self._x, take_slab)
        if doubtful:
            raise not_finite(self._name, sum(doubtful), total)
        self._extent = extent
        # Whatever the first pass is made for, what it decides is kept.
        self._decisions = self._decisions or first

    @property
    def decided(self) -> Decided:
        """What the prediction decides about each voxel, before postprocessing."""
        if self._decisions is None and self.is_held:
            return DecidedByLogits(self._predictor.labels, self.logits)
        if self._decisions is None:
            self.each_part(lambda logits, box: None)
        assert self._decisions is not None  # each pass makes them
        return self._decisions

    def _new_decisions(self) -> Decisions:
        labels, device = self._predictor.labels, self._x.device
        return Decisions(labels, self.shape, device, self.each_part)

    def gathered(self, field: Callable[[Logits], Tensor]) -> Tensor:
        """Return numbers of each voxel, `... *S`; `field` makes `... *P` of logits `1 L *P`."""
        if self.is_held:
            return field(self.logits)
        found: Tensor | None = None

        def take(logits: Logits, box: Box) -> None:
            nonlocal found
            part = field(logits)
            if found is None:
                found = part.new_zeros((*part.shape[: part.ndim - len(box)], *self.shape))
            found[(slice(None),) * (part.ndim - len(box)) + box] = part

        self.each_part(take)
        assert found is not None  # a volume has a plane
        return found

    @cached_property
    def warning(self) -> str:
        """What the values of the prediction show that a reader must know; empty where nothing."""
        if self._extent is None or self._known is not None:
            extent = Extent()
            extent.take(self.logits)
        else:
            extent = self._extent
        return doubt_of(self._predictor, self._x, extent)


def require_finite(name: str, parts: Sequence[Logits], total: int) -> None:
    """Refuse a prediction with NaN or Inf.

    Raises:
        ModelError: it has.
    """
    if all(_is_finite(part) for part in parts):
        return
    raise not_finite(name, sum(int((~part.isfinite()).sum()) for part in parts), total)


def not_finite(name: str, count: int, total: int) -> ModelError:
    """Return the error of a prediction with NaN or Inf."""
    return ModelError(
        f"{name}: {count} of {total} logits of the prediction are NaN or Inf",
        hint="use precision: fp32, and check the weights and the intensities",
    )


def _is_finite(values: Tensor) -> bool:
    # A mask of all values would take a quarter of their memory.
    return all(bool(extreme.isfinite()) for extreme in torch.aminmax(values))


def mean_over(prediction: Prediction, mask: Mask, field: Callable[[Logits], Tensor]) -> Tensor:
    """Return the mean of numbers `K *P` over a mask `*S`, `K` in float64."""
    total: Tensor | None = None

    def take(logits: Logits, box: Box) -> None:
        nonlocal total
        part = field(logits)[:, mask[box]].sum(dim=1, dtype=torch.float64)
        total = part if total is None else total + part

    prediction.each_part(take)
    assert total is not None  # a volume has a plane
    return total / int(mask.sum())

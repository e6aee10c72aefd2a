"""What methods of layers share that start from a baseline image: its windows, and the way there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.layer.method import LayerMethod
from esegeta.explain.objective import AnyCotangent, Objective
from esegeta.predict import Pieces

Node = tuple[float, float]
"""A place on a path, 0 at the baseline and 1 at the image, and its weight in a mean over it."""

SAME_AT_BASELINE = (
    "is the layer's output the same for image and baseline? choose another `baseline` or `layer`"
)
"""Why the map of a change from a baseline may be zero everywhere."""


@dataclass(frozen=True)
class FromBaseline(LayerMethod):
    """A method that goes from a baseline to the image in steps.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        steps: how many.
        baseline: zero, mean, minimum, blur, or an image file.
    """

    steps: int = 32
    baseline: Baseline | str = "blur"

    zero_hint: ClassVar[str] = SAME_AT_BASELINE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigError(f"{self.name}: steps: {self.steps} must be at least 1")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    def start(self, objective: Objective) -> Image:
        """Return the baseline of the image, `C *S`."""
        return parse_baseline(self.baseline).of(objective.volume)


def legs(
    objective: Objective, nodes: Sequence[Node], cotangent_at: Callable[[float], AnyCotangent]
) -> Iterator[tuple[Sequence[Node], AnyCotangent]]:
    """Yield nodes of a path with the cotangent that holds at all of them.

    A linear target has one, so that each batch of windows can go through all nodes before the
    next; any other has one at each node, of the whole prediction there.
    """
    if objective.target.is_linear:
        yield nodes, objective.cotangent()
        return
    for node in nodes:
        yield [node], cotangent_at(node[0])


def crops_of(objective: Objective, data: Image, pieces: Pieces) -> Tensor:
    """Return the same windows of another image of the volume's shape, `N C *W`."""
    padded = objective.windows.pad_image(data[None])
    return objective.windows.cut(padded, pieces.windows).to(pieces.crops.device)

"""How the slopes of a case are kept: by target and layer, with the group that each row is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from esegeta.concepts import Slopes
from esegeta.workflow.cache import name_of_tensor

WHOLE_OF, ERRORS_OF = "whole", "errors"
"""What slopes are of: a target, or components of its label that may be false."""
UNITS = "units"
"""The unit of each target's slopes, among the facts of the record."""


@dataclass(frozen=True, eq=False)
class CaseSlopes:
    """The slopes of a case, as they are taken.

    Args:
        tensors: rows so far, by the name of the tensor that they make.
        units: by target.
    """

    tensors: dict[str, list[Tensor]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def add(self, of: str, target: str, group: int, by_layer: dict[str, Tensor]) -> None:
        """Add the slopes `K` of a target, or of a component, by each layer."""
        for layer, slopes in by_layer.items():
            self._row(slopes, "slopes", of, target, layer)
        self._row(torch.tensor(group), "groups", of, target)

    def tell_false(self, target: str, is_false: bool) -> None:
        """Add whether a component that was added is one that no ground truth meets."""
        self._row(torch.tensor(is_false), "is false", target)

    def stacked(self) -> dict[str, Tensor]:
        """Return the tensors of the record."""
        return {name: torch.stack(rows) for name, rows in self.tensors.items()}

    def _row(self, row: Tensor, *name: str) -> None:
        self.tensors.setdefault(name_of_tensor(*name), []).append(row)


def slopes_of(kept: Sequence[dict[str, Tensor]], of: str, target: str, layer: str) -> Slopes | None:
    """Return the slopes of a target by a layer over all cases; None where no case has any."""
    name, groups = name_of_tensor("slopes", of, target, layer), name_of_tensor("groups", of, target)
    own = [one for one in kept if name in one]
    if not own:
        return None
    return Slopes(
        np.concatenate([one[name].double().numpy() for one in own]),
        np.concatenate([one[groups].numpy() for one in own]),
    )


def are_false(kept: Sequence[dict[str, Tensor]], target: str) -> np.ndarray:
    """Return which components of a target's label are false, in the order of their slopes."""
    name = name_of_tensor("is false", target)
    flags = [one[name].numpy() for one in kept if name in one]
    return np.concatenate(flags) if flags else np.zeros(0, dtype=bool)

"""The target of edited copies of an image, of which only what an edit touches is run again.

A linear target is `R = sum_t c_t(x_t)` over active windows, so that an edited image x' has

    R(x') - R(x) = sum_t c_t(x'_t) - c_t(x_t)   over the windows that the edit touches,

and edits that look alike to a window share one run of it. Any other target is formed on the
prediction with the touched windows' part replaced. Both equal brute force to rounding.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.axes import Logits
from esegeta.explain.objective import Objective
from esegeta.model import held_still
from esegeta.predict import Box, WindowBlend, inner


class Edits(ABC):
    """Edited copies of one image, as windows see them."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def touching(self, window: int) -> Mapping[int, Hashable]:
        """Return which edits change a window, each with a key: equal keys, equal crops."""

    @abstractmethod
    def apply(self, edit: int, crop: Tensor, box: Box) -> None:
        """Edit a window's crop `C *W` in place; its box is in voxels of the padded volume."""


class Run(NamedTuple):
    """One window to be run, under an edit or, for None, as it is."""

    window: int
    edit: int | None


class EditedTarget:
    """The target of an objective under edits; what was computed once is known for good.

    Memory: one number for each distinct view of a window, and logits of a few windows where the
    target is not linear.

    Args:
        objective: what is explained; its input is what edits change.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.windows = objective.windows
        self.seen = tuple(objective.target.touched(self.windows))
        self._padded = self.windows.pad_image(objective.x)
        self._route: _Linear | _Any = _Linear(self) if objective.target.is_linear else _Any(self)
        self.num_evaluations = 1
        objective.tally.evaluations += 1

    def start(self) -> float:
        """Return `R(x)`."""
        with torch.no_grad(), held_still(self.objective.predictor.network):
            return self._route.start()

    def changes(self, edits: Edits) -> Float64[Tensor, " M"]:
        """Return `R(x') - R(x)` of each edit, on the input's device; exactly 0 if untouched.

        Keys are remembered: edits of one editor, however many calls, must mean the same by them.
        """
        self.num_evaluations += len(edits)
        self.objective.tally.evaluations += len(edits)
        with torch.no_grad(), held_still(self.objective.predictor.network):
            return self._route.changes(edits)

    def predictions(self, edits: Edits) -> Iterator[Logits]:
        """Yield the prediction under each edit, `1 L *S`, right where the target looks at it.

        Raises:
            ValueError: the target is linear, whose windows are never blended.
        """
        if not isinstance(self._route, _Any):
            raise ValueError("a linear target has no use for a blended prediction")
        self.num_evaluations += len(edits)
        self.objective.tally.evaluations += len(edits)
        for edit in range(len(edits)):
            with torch.no_grad(), held_still(self.objective.predictor.network):
                yield self._route.prediction(edit, edits)

    @property
    def brute_force_windows(self) -> int:
        """How many windows would have been run if every edit had been predicted whole."""
        return self.num_evaluations * len(self.windows)

    def run(self, group: Sequence[Run], edits: Edits | None) -> Logits:
        """Run the network on a few edited windows, and count them."""
        crops = self.windows.cut(self._padded, [window for window, _ in group])
        crops = crops.to(self.objective.predictor.device_for(self._padded))
        for crop, (window, edit) in zip(crops, group, strict=True):
            if edit is not None and edits is not None:
                edits.apply(edit, crop, self.windows.boxes[window])
        return self.objective.run(crops)


class _Linear:
    """Each window's contributions `c_t`, by key, in one growing table on the input's device."""

    def __init__(self, target: EditedTarget) -> None:
        self._target = target
        objective = target.objective
        self._shares = objective.predictor.shares(target.windows, objective.cotangent())
        self._table = torch.zeros(0, dtype=torch.float64, device=objective.x.device)
        self._places: dict[tuple[int, Hashable], int] = {}

    def start(self) -> float:
        self._learn([Run(window, None) for window in self._target.seen], None)
        worth = [self._places[window, None] for window in self._target.seen]
        return float(self._table[worth].sum())

    def changes(self, edits: Edits) -> Tensor:
        touching = {window: edits.touching(window) for window in self._target.seen}
        self._learn(_runs(touching), edits, touching)
        total = self._table.new_zeros(len(edits))
        for window, keys in touching.items():
            if keys:
                worth = self._table[[self._places[window, key] for key in keys.values()]]
                total[list(keys)] += worth - self._table[self._places[window, None]]
        return total

    def _learn(
        self,
        runs: Iterable[Run],
        edits: Edits | None,
        touching: Mapping[int, Mapping[int, Hashable]] | None = None,
    ) -> None:
        """Run what is not known yet, windows of many edits in one batch."""
        missing = []
        for run in runs:
            name = (
                run.window,
                None if run.edit is None or touching is None else touching[run.window][run.edit],
            )
            if name not in self._places:
                self._places[name] = len(self._places)
                missing.append(run)
        # One table at once: small tensors kept between the networks' large ones would keep the
        # allocator from using that memory again.
        known = len(self._table)
        table = self._table.new_zeros(known + len(missing))
        table[:known] = self._table
        for group in grouped(missing, self._target.objective.predictor.batch_size):
            logits = self._target.run(group, edits)
            share = self._shares.at([window for window, _ in group], logits.device)
            worth = inner(logits, share).to(table) * self._shares.scale
            table[known : known + len(group)] = worth
            known += len(group)
        self._table = table


class _Any:
    """Targets that need the whole prediction: it is kept, and the touched windows' part replaced.

    Where an edit touches more than half of the windows that matter, blending all of them anew
    costs less than taking the old ones out; so it never costs more than brute force.
    """

    KEPT = 16

    def __init__(self, target: EditedTarget) -> None:
        self._target = target
        self._logits = target.objective.logits()
        self._value = target.objective.target.value(self._logits)[0]
        self._unchanged: dict[int, Tensor] = {}
        self._known: dict[tuple[tuple[int, Hashable], ...], Tensor] = {}

    def start(self) -> float:
        return float(self._value)

    def changes(self, edits: Edits) -> Tensor:
        by_edit: list[dict[int, Hashable]] = [{} for _ in range(len(edits))]
        for window in self._target.seen:
            for edit, key in edits.touching(window).items():
                by_edit[edit][window] = key
        found = [
            self._change(edit, keys, edits) if keys else torch.zeros_like(self._value)
            for edit, keys in enumerate(by_edit)
        ]
        return torch.stack(found) if found else self._value.new_zeros(0)

    def prediction(self, edit: int, edits: Edits) -> Logits:
        touching = {window: edits.touching(window) for window in self._target.seen}
        touched = [window for window, keys in touching.items() if edit in keys]
        return self._moved(edit, touched, edits) if touched else self._logits

    def _change(self, edit: int, keys: Mapping[int, Hashable], edits: Edits) -> Tensor:
        name = tuple(keys.items())
        if name not in self._known:
            moved = self._moved(edit, list(keys), edits)
            self._known[name] = self._target.objective.target.value(moved)[0] - self._value
        return self._known[name]

    def _moved(self, edit: int, touched: list[int], edits: Edits) -> Logits:
        """Return the prediction under an edit, where the target looks at it."""
        objective = self._target.objective
        blend = WindowBlend(self._target.windows, objective.x)
        anew = 2 * len(touched) > len(self._target.seen)
        runs = [Run(window, edit) for window in touched]
        for group in grouped(runs, objective.predictor.batch_size):
            after = self._target.run(group, edits).to(objective.x)
            for (window, _), logits in zip(group, after, strict=True):
                gained = logits if anew else logits - self._before(window)
                blend.add_weighted([window], gained[None] * blend.weights)
        if not anew:
            return self._logits + blend.result()
        for window in self._target.seen:
            if window not in touched:
                blend.add_weighted([window], self._before(window)[None] * blend.weights)
        return blend.result()

    def _before(self, window: int) -> Tensor:
        """Return the unedited logits of a window, `L *W`, of which the latest few are kept."""
        if window not in self._unchanged:
            while len(self._unchanged) >= self.KEPT:
                self._unchanged.pop(next(iter(self._unchanged)))
            logits = self._target.run([Run(window, None)], None)[0]
            self._unchanged[window] = logits.to(self._target.objective.x)
        return self._unchanged[window]


def _runs(touching: Mapping[int, Mapping[int, Hashable]]) -> Iterator[Run]:
    for window, keys in touching.items():
        if keys:
            yield Run(window, None)
            yield from (Run(window, edit) for edit in keys)


def grouped(runs: Iterable[Run], size: int) -> Iterator[list[Run]]:
    """Yield runs a few at a time."""
    rest = iter(runs)
    while group := list(itertools.islice(rest, size)):
        yield group

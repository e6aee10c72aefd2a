"""The target of edited copies of an image, running again only what an edit touches.

A linear target is `R = sum_t c_t(x_t)` over active windows, so that an edited image x' has

    R(x') - R(x) = sum_t c_t(x'_t) - c_t(x_t)   over the windows that the edit touches,

and edits that look alike to a window share one run of it. Any other target is formed on the
prediction with the touched windows' part replaced. Both equal brute force to rounding.
"""

from __future__ import annotations

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
    """The target of an objective under edits; what was computed once is kept.

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
        """Run the network on a few edited windows of one member, and count them."""
        predictor, windows = self.objective.predictor, self.windows
        crops = windows.cut(self._padded, [window for window, _ in group])
        crops = crops.to(predictor.device_for(self._padded))
        for place, (window, edit) in enumerate(group):
            if edit is not None and edits is not None:
                # Edits are of the volume, and know nothing of mirrored passes.
                crop = windows.turned(crops[place], window)
                edits.apply(edit, crop, windows.boxes[window])
                crops[place] = windows.turned(crop, window)
        predictor.hold(windows.member_of(group[0].window))
        return self.objective.run(crops)

    def grouped(self, runs: Iterable[Run]) -> Iterator[list[Run]]:
        """Yield runs of the same member, a few at a time."""
        size = self.objective.predictor.batch_size
        by_member: dict[int, list[Run]] = {}
        for run in runs:
            by_member.setdefault(self.windows.member_of(run.window), []).append(run)
        for own in by_member.values():
            for start in range(0, len(own), size):
                yield own[start : start + size]


class _Linear:
    """Each window's contributions `c_t`, by key, in one growing table on the input's device."""

    def __init__(self, target: EditedTarget) -> None:
        self._target = target
        objective = target.objective
        self._shares = objective.predictor.shares(target.windows, objective.target.cotangent(None))
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
        names: dict[Run, tuple[int, Hashable]] = {}
        for run in runs:
            name = (
                run.window,
                None if run.edit is None or touching is None else touching[run.window][run.edit],
            )
            if name not in self._places:
                self._places[name] = len(self._places)
                names[run] = name
        # One table at once: small tensors kept between the networks' large ones would keep the
        # allocator from using that memory again.
        table = self._table.new_zeros(len(self._places))
        table[: len(self._table)] = self._table
        for group in self._target.grouped(names):
            logits = self._target.run(group, edits)
            share = self._shares.at([window for window, _ in group], logits.device)
            worth = inner(logits, share).to(table) * self._shares.scale
            table[[self._places[names[run]] for run in group]] = worth
        self._table = table


class _Any:
    """Targets that need the whole prediction: it is kept, and the touched windows' part replaced.

    Where an edit touches more than half of the windows that matter, blending all of them anew
    costs less than taking the old ones out; so it never costs more than brute force.
    """

    KEPT = 16

    def __init__(self, target: EditedTarget) -> None:
        self._target = target
        objective = target.objective
        predictor, support = objective.predictor, objective.target.support
        # Those of each network whose probabilities are averaged; as a rule there is one.
        if predictor.is_sum:
            self._parts = [objective.logits()]
        else:
            self._parts = predictor.predict_apart(objective.x, over=support)
            objective.tally.windows_run += len(target.seen)
        self._value = objective.target.value(predictor.averaged(self._parts))[0]
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
        if not touched:
            return self._target.objective.predictor.averaged(self._parts)
        return self._moved(edit, touched, edits)

    def _change(self, edit: int, keys: Mapping[int, Hashable], edits: Edits) -> Tensor:
        name = tuple(keys.items())
        if name not in self._known:
            moved = self._moved(edit, list(keys), edits)
            self._known[name] = self._target.objective.target.value(moved)[0] - self._value
        return self._known[name]

    def _moved(self, edit: int, touched: list[int], edits: Edits) -> Logits:
        """Return the prediction under an edit, where the target looks at it."""
        objective, windows = self._target.objective, self._target.windows
        channels = self._parts[0].shape[1]
        blends = [WindowBlend(windows, objective.x, num_channels=channels) for _ in self._parts]

        def add(window: int, logits: Tensor) -> None:
            blend = blends[windows.blend_of(window)]
            blend.add_weighted([window], logits[None] * blend.weights)

        anew = 2 * len(touched) > len(self._target.seen)
        for group in self._target.grouped(Run(window, edit) for window in touched):
            after = self._target.run(group, edits).to(objective.x)
            for (window, _), logits in zip(group, after, strict=True):
                add(window, logits if anew else logits - self._before(window))
        if anew:
            for window in self._target.seen:
                if window not in touched:
                    add(window, self._before(window))
            return objective.predictor.averaged([blend.result() for blend in blends])
        moved = [part + blend.result() for part, blend in zip(self._parts, blends, strict=True)]
        return objective.predictor.averaged(moved)

    def _before(self, window: int) -> Tensor:
        """Return the unedited logits of a window, `L *W`; the latest few are kept."""
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

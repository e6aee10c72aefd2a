"""What each window is worth to a linear target, as it is and under edits.

An edit of a few voxels changes the outputs within the network's reach of it, and these depend on
inputs within its reach of them. Where the reach is proved, only that part of a window is run:

    c_t(x') - c_t(x) = sum_v share_t(v) (net(x')(v) - net(x)(v))     over the changed outputs v
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.explain.perturbation.edited import Edits, Run, runs_of
from esegeta.predict import Box, box_around, inner

if TYPE_CHECKING:
    from esegeta.explain.perturbation.edits import EditedTarget

NEAR_SHARE = 0.9
"""A part that is larger than this share of what is run otherwise is not worth being run apart."""

SAVED_OF_ROOM = 0.25
"""What parts are foreseen to save of what lies beside the edits: the network's reach is unknown."""

KEPT = 16
"""Windows whose worth, voxel by voxel, is kept at most."""

KEPT_BYTES = 256 * 2**20
"""Memory for that, and for the shares of these windows."""

Names = Mapping[Run, tuple[int, Hashable]]
"""Runs, and the key that each is remembered by."""


class WindowChange(NamedTuple):
    """What an edit changes in a window, in voxels as its network sees them.

    Args:
        outputs: outputs that it may change and that the target looks at; None for none of them.
        inputs: part that decides these.
    """

    outputs: Box | None
    inputs: Box


class ContributionTable:
    """Each window's contributions `c_t`, by key, in one growing table on the input's device."""

    def __init__(self, target: EditedTarget) -> None:
        self._target = target
        objective = target.objective
        self._shares = objective.predictor.shares(target.windows, objective.target.cotangent(None))
        self._table = torch.zeros(0, dtype=torch.float64, device=objective.x.device)
        self._places: dict[tuple[int, Hashable], int] = {}
        self._kept_shares: dict[int, Tensor] = {}
        self._worth: dict[int, Float64[Tensor, "*W"]] = {}

    def start(self) -> float:
        """Return `R(x)`."""
        self._learn([Run(window, None) for window in self._target.seen], None, {})
        worth = [self._places[window, None] for window in self._target.seen]
        return float(self._table[worth].sum())

    def changes(self, edits: Edits) -> Tensor:
        """Return `R(x') - R(x)` of each edit."""
        touching = {window: edits.touching(window) for window in self._target.seen}
        self._learn(runs_of(touching), edits, touching)
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
        touching: Mapping[int, Mapping[int, Hashable]],
    ) -> None:
        """Run what is not known yet, windows of many edits in one batch."""
        names: dict[Run, tuple[int, Hashable]] = {}
        for run in runs:
            key = None if run.edit is None else touching[run.window][run.edit]
            name = (run.window, key)
            if name not in self._places:
                self._places[name] = len(self._places)
                names[run] = name
        # One table at once: small tensors kept between the networks' large ones would keep the
        # allocator from using that memory again.
        table = self._table.new_zeros(len(self._places))
        table[: len(self._table)] = self._table
        self._table = table
        near = self._near(names, edits)
        windows = list(dict.fromkeys(run.window for run in near))
        self._run_whole([run for run in names if run not in near], names, edits, windows)
        for start in range(0, len(windows), self._num_kept):
            group = windows[start : start + self._num_kept]
            own = {run: change for run, change in near.items() if run.window in group}
            self._run_near(own, names, edits, group)

    def _run_whole(
        self, runs: Sequence[Run], names: Names, edits: Edits | None, near: Sequence[int]
    ) -> None:
        """Run all that the target depends on in windows; keep what those of `near` are worth."""
        unchanged: list[Run] = []
        self._worth = {one: worth for one, worth in self._worth.items() if one in near}
        for group, logits in self._target.run(runs, edits):
            if not len(logits):
                unchanged += group
                continue
            worth = self._shares.read(logits) * torch.stack(
                [self._share(run.window, logits.device) for run in group]
            )
            self._set(group, names, worth.flatten(1).sum(dim=1, dtype=torch.float64))
            for place, run in enumerate(group):
                is_wanted = run.edit is None and run.window in near
                if is_wanted and len(self._worth) < self._num_kept:
                    self._worth[run.window] = worth[place].sum(dim=0, dtype=torch.float64)
        # What they equal may have been in a later batch than they were found out in.
        self._set_unchanged(unchanged, names)

    def _run_near(
        self,
        near: Mapping[Run, WindowChange],
        names: Names,
        edits: Edits | None,
        windows: Sequence[int],
    ) -> None:
        """Run the parts in which edits of some windows change what is looked at."""
        missing = [Run(window, None) for window in windows if window not in self._worth]
        if missing:
            self._run_whole(missing, {run: (run.window, None) for run in missing}, None, windows)
        nothing = [run for run, change in near.items() if change.outputs is None]
        self._set_unchanged(nothing, names)
        boxes = {run: change.inputs for run, change in near.items() if change.outputs is not None}
        for group, logits in self._target.run_parts(boxes, edits):
            read = self._shares.read(logits)
            worths = [
                self._worth_under(near[run], read[place], run.window)
                for place, run in enumerate(group)
            ]
            self._set(group, names, torch.stack(worths))

    def _worth_under(
        self, change: WindowChange, logits: Tensor, window: int
    ) -> Float64[Tensor, ""]:
        """Return what a window is worth under an edit, given the logits `K *P` of the part."""
        assert change.outputs is not None
        share = self._share(window, logits.device)
        start = [side.start for side in self._target.part_of(window)]
        whole = [_moved(side, -low) for side, low in zip(change.outputs, start, strict=True)]
        inside = [
            _moved(side, -own.start)
            for side, own in zip(change.outputs, change.inputs, strict=True)
        ]
        every = slice(None)
        after = inner(logits[(every, *inside)][None], share[(every, *whole)][None])[0]
        before = self._worth[window]
        return before.sum() - before[tuple(whole)].sum() + after

    def _near(self, names: Names, edits: Edits | None) -> dict[Run, WindowChange]:
        """Return the runs of which a part is enough, where that saves anything."""
        edited = [run for run in names if run.edit is not None]
        if edits is None or not edited:
            return {}
        target, boxes = self._target, dict[Run, Box]()

        def saved() -> float:
            boxes.update(target.edited_boxes(edited, edits))
            sizes = [_size(box) / target.windows.num_window_voxels for box in boxes.values()]
            return SAVED_OF_ROOM * sum(1 - size for size in sizes)

        objective = target.objective
        reach = objective.predictor.reach(objective.x, target.windows, saved=saved)
        if reach is None:
            return {}
        found: dict[int, dict[Run, WindowChange]] = {}
        for run, box in (boxes or target.edited_boxes(edited, edits)).items():
            outputs = _overlap(reach.reached(box), target.part_of(run.window))
            looked_at = outputs and self._looked_at(run.window, outputs)
            inputs = reach.needed(looked_at) if looked_at else ()
            if _size(inputs) <= NEAR_SHARE * _size(target.part_of(run.window)):
                found.setdefault(run.window, {})[run] = WindowChange(looked_at or None, inputs)
        return {
            run: change
            for window, own in found.items()
            if self._is_worthwhile(window, own.values(), names)
            for run, change in own.items()
        }

    def _is_worthwhile(self, window: int, changes: Iterable[WindowChange], names: Names) -> bool:
        """Tell whether parts save more than running the window once more as it is."""
        whole = _size(self._target.part_of(window))
        passes = 0 if window in self._worth or Run(window, None) in names else 1
        return sum(1 - _size(change.inputs) / whole for change in changes) > passes

    def _looked_at(self, window: int, outputs: Box) -> Box | None:
        """Return the box around what the target looks at of some outputs of a window."""
        start = [side.start for side in self._target.part_of(window)]
        own = tuple(_moved(side, -low) for side, low in zip(outputs, start, strict=True))
        share = self._share(window, self._table.device)[(slice(None), *own)]
        found = box_around((share != 0).any(dim=0))
        if found is None:
            return None
        pairs = zip(found, outputs, strict=True)
        return tuple(_moved(side, whole.start) for side, whole in pairs)

    def _set(self, group: Sequence[Run], names: Names, worths: Tensor) -> None:
        places = [self._places[names[run]] for run in group]
        self._table[places] = worths.to(self._table) * self._shares.scale

    def _set_unchanged(self, runs: Sequence[Run], names: Names) -> None:
        places = [self._places[names[run]] for run in runs]
        self._table[places] = self._table[[self._places[run.window, None] for run in runs]]

    @property
    def _num_kept(self) -> int:
        """How many windows' worths and shares fit beside each other."""
        channels = self._shares.channels
        count = self._target.num_outputs if channels is None else len(channels)
        size = self._target.windows.num_window_voxels * (8 + 4 * count)
        return max(1, min(KEPT, KEPT_BYTES // size))

    def _share(self, window: int, device: torch.device) -> Tensor:
        """Return the share `K *P` of a window's part; those of the last few windows are kept."""
        if window not in self._kept_shares:
            while len(self._kept_shares) >= self._num_kept:
                self._kept_shares.pop(next(iter(self._kept_shares)))
            share = self._shares.of_window(window)
            own = share[(slice(None), *self._target.part_of(window))]
            self._kept_shares[window] = own.contiguous()
        return self._kept_shares[window].to(device)


def _overlap(one: Box, other: Box) -> Box | None:
    pairs = list(zip(one, other, strict=True))
    found = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs)
    return found if all(side.start < side.stop for side in found) else None


def _moved(side: slice, by: int) -> slice:
    return slice(side.start + by, side.stop + by)


def _size(box: Box) -> int:
    return math.prod(side.stop - side.start for side in box) if box else 0

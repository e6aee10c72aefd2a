"""The target of edited copies of an image, running again only what an edit touches.

A linear target is `R = sum_t c_t(x_t)` over active windows, so that an edited image x' has

    R(x') - R(x) = sum_t c_t(x'_t) - c_t(x_t)   over the windows that the edit touches,

and edits that look alike to a window share one run of it. Where the network is proved to see no
further than some way, only that part of a window is run in which an edit changes what the target
looks at. Any other target is formed on the prediction with the touched windows' part replaced. All
equal brute force to rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.axes import Logits
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.contribution_table import ContributionTable
from esegeta.explain.perturbation.edited import Edits, Run
from esegeta.model import held_still
from esegeta.predict import Box, WindowBlend, box_around, spot

EDITS_FORESEEN = 10
"""How often each window is run at least, under one edit or another."""


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
        self.parts: dict[int, Box] = {}
        if objective.target.is_linear:
            self.parts = self._parts()
        self._route: ContributionTable | _Any = (
            ContributionTable(self) if objective.target.is_linear else _Any(self)
        )
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

    def box_of(self, window: int) -> Box:
        """Return what the target depends on in a window, in voxels of the padded volume."""
        return self.windows.box_of_part(window, self.parts.get(window))

    def part_of(self, window: int) -> Box:
        """Return what the target depends on in a window, as its network sees it."""
        return self.parts.get(window) or tuple(slice(0, length) for length in self.windows.size)

    @property
    def num_outputs(self) -> int:
        """Output channels of the network."""
        return self.objective.predictor.labels.num_outputs

    def run(self, runs: Iterable[Run], edits: Edits | None) -> Iterator[tuple[list[Run], Logits]]:
        """Run the network on edited windows, and count them; yields those of one batch.

        What an edit does not change, because it lies beside the part or the baseline is what was
        there, comes with the logits of no window.
        """
        by_member: dict[int, list[Run]] = {}
        for run in runs:
            by_member.setdefault(self.windows.member_of(run.window), []).append(run)
        for member, own in by_member.items():
            for lengths, same in itertools.groupby(own, key=self._lengths_of):
                yield from self._run_alike(member, same, self._num_at_a_time(lengths), edits)

    def _run_alike(
        self, member: int, runs: Iterable[Run], count: int, edits: Edits | None
    ) -> Iterator[tuple[list[Run], Logits]]:
        """Run windows of one member and size."""
        predictor, batch, crops = self.objective.predictor, [], []
        for _, own in itertools.groupby(runs, key=lambda run: run.window):
            before: Tensor | None = None
            for run in own:
                crop = self._cut(run, None)
                if before is None:
                    before = crop
                if run.edit is not None and edits is not None:
                    crop = self._cut(run, edits)
                    if torch.equal(crop, before):
                        yield [run], crop.new_zeros((0,))
                        continue
                batch.append(run)
                crops.append(crop)
                if len(batch) == count:
                    predictor.hold(member)
                    yield batch, self.objective.run(torch.stack(crops))
                    batch, crops = [], []
        if batch:
            predictor.hold(member)
            yield batch, self.objective.run(torch.stack(crops))

    def run_parts(
        self, boxes: Mapping[Run, Box], edits: Edits | None
    ) -> Iterator[tuple[list[Run], Logits]]:
        """Run a part of each edited window, those of equal size together, and count them.

        Args:
            boxes: the part of each, in voxels of its window as its network sees it.
            edits: edits that the runs are of.
        """

        def alike(run: Run) -> tuple[int, tuple[int, ...]]:
            return self.windows.member_of(run.window), _lengths(boxes[run])

        for (member, lengths), own in itertools.groupby(sorted(boxes, key=alike), key=alike):
            runs = list(own)
            num_batches = -(-len(runs) // self._num_at_a_time(lengths))
            step = -(-len(runs) // num_batches)  # even ones: a single window is slow on a CPU
            for start in range(0, len(runs), step):
                group = runs[start : start + step]
                crops = torch.stack([self._cut(run, edits, boxes[run]) for run in group])
                self.objective.predictor.hold(member)
                yield group, self.objective.run(crops)

    def edited_boxes(self, runs: Iterable[Run], edits: Edits) -> dict[Run, Box]:
        """Return the box around what an edit changes of its window, as the network sees it.

        Runs that are changed nowhere are left out.
        """
        found: dict[Run, Box] = {}
        for window, own in itertools.groupby(runs, key=lambda run: run.window):
            before, start = self._cut(Run(window, None), None), self.part_of(window)
            for run in own:
                box = box_around((self._cut(run, edits) != before).any(dim=0))
                if box is not None:
                    found[run] = tuple(
                        slice(low.start + side.start, low.start + side.stop)
                        for low, side in zip(start, box, strict=True)
                    )
        return found

    def _cut(self, run: Run, edits: Edits | None, part: Box | None = None) -> Tensor:
        """Return the part of a window that is run, `C *W` as its network sees it."""
        box = self.windows.box_of_part(run.window, part or self.parts.get(run.window))
        crop = self._padded[spot(0, box)].to(self.objective.predictor.device_for(self._padded))
        if run.edit is not None and edits is not None:
            # Edits are of the volume, and know nothing of mirrored passes.
            crop = crop.clone()
            edits.apply(run.edit, crop, box)
        return self.windows.turned(crop, run.window)

    def _lengths_of(self, run: Run) -> tuple[int, ...]:
        return _lengths(self.part_of(run.window))

    def _num_at_a_time(self, lengths: Sequence[int]) -> int:
        """Return how many parts are as large as a batch of windows."""
        whole = self.objective.predictor.batch_size * self.windows.num_window_voxels
        return max(whole // math.prod(lengths), 1)

    def _parts(self) -> dict[int, Box]:
        objective = self.objective
        cotangents = [objective.target.cotangent(None)]
        with torch.no_grad(), held_still(objective.predictor.network):
            return objective.predictor.parts(
                objective.x, self.windows, self.seen, cotangents, times=EDITS_FORESEEN
            )


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
        for group, after in self._target.run((Run(window, edit) for window in touched), edits):
            for place, (window, _) in enumerate(group):
                logits = after[place].to(objective.x) if len(after) else self._before(window)
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
            ((_, logits),) = self._target.run([Run(window, None)], None)
            self._unchanged[window] = logits[0].to(self._target.objective.x)
        return self._unchanged[window]


def _lengths(box: Box) -> tuple[int, ...]:
    return tuple(side.stop - side.start for side in box)

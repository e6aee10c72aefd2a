"""What a run takes, beforehand: tasks, passes, memory, and hours by one batch that is timed."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from esegeta.model import held_still
from esegeta.predict import empty_window
from esegeta.workflow.build import Experiment
from esegeta.workflow.command import Command
from esegeta.workflow.estimate import Memory, memory_of, passes_of
from esegeta.workflow.placing import cost_of_cases, pieces_of_cases
from esegeta.workflow.spread.parts import longest, lots_of

REPEATS = 3
HOUR_S = 3600.0


@dataclass(frozen=True)
class Forecast:
    """What a run takes.

    Args:
        num_cases: how many cases.
        num_tasks: maps, as far as is known before components are found.
        forwards: windows through the network, at most.
        backwards: windows back through it, at most.
        unknown: methods whose passes cannot be told beforehand.
        hours: of one process on this device, for passes alone; scores come on top.
        memory: at a time.
        passes: lines on each case and method.
        parts: share of the work of the dearest part by number of parts.
    """

    num_cases: int
    num_tasks: int
    forwards: int
    backwards: int
    unknown: tuple[str, ...]
    hours: float
    memory: Memory
    passes: tuple[str, ...]
    parts: tuple[tuple[int, float], ...] = ()

    def lines(self) -> list[str]:
        """Return it as it is printed."""
        tasks = f"{self.num_tasks} task{'s' * (self.num_tasks != 1)}"
        cases = f"{self.num_cases} case{'s' * (self.num_cases != 1)}"
        lines = [f"{tasks} on {cases}", *self.passes]
        known = f"{self.forwards} windows forward and {self.backwards} backward, at most"
        beside = f", besides those of {', '.join(self.unknown)}" if self.unknown else ""
        lines.append(f"passes: {known}{beside}")
        lines.append(f"memory: {self.memory.words()}")
        lines.append(
            f"hours: about {self.hours:.3g} on this device with one process, without scores"
        )
        for count, share in self.parts:
            lines.append(
                f"  {count} parts: about {self.hours * share:.3g} hours for the most expensive part"
            )
        return lines


def forecast_of(experiment: Experiment, parts: int | None = None) -> Forecast:
    """Return what a run takes; one batch of windows goes through the network and back.

    Args:
        experiment: what is to be run.
        parts: also say what the dearest of so many parts takes.
    """
    grids, plan = experiment.network_grids(), experiment.predictor.plan
    forwards = backwards = 0
    unknown = []
    num_targets = len(experiment.targets)
    for grid in grids.values():
        count = len(plan.lay(grid.shape))
        forwards += count
        for name, method in experiment.methods.items():
            known = method.cost.windows(count, count, is_linear=True)
            if known is None:
                unknown.append(name)
                continue
            forwards += num_targets * known
            backwards += num_targets * count * sum(one.backwards for one in method.cost.passes)
    forward_s, backward_s = _seconds_a_window(experiment)
    hours = (forwards * forward_s + backwards * backward_s) / HOUR_S
    costs = cost_of_cases(experiment)
    pieces = pieces_of_cases(experiment)
    total = max(sum(costs.values()), 1e-9)
    shares = [
        (number, longest(lots_of(costs, pieces, number), number) / total)
        for number in (() if parts is None else (parts,))
    ]
    return Forecast(
        len(experiment.cases),
        len(experiment.cases) * num_targets * len(experiment.methods),
        forwards,
        backwards,
        tuple(dict.fromkeys(unknown)),
        hours,
        memory_of(experiment, grids),
        tuple(passes_of(experiment, grids)),
        tuple(shares),
    )


def shares_of_places(command: Command, parts: int | None = None) -> list[str]:
    """Return lines on what any command takes: its tasks, and what they are cut into.

    Args:
        command: what is to be done.
        parts: also say what share of everything the dearest of so many parts has.
    """
    lines = [
        f"{command.num_tasks} tasks known in advance",
        f"{len(command.places)} places, each done by one process",
    ]
    if parts is not None:
        total = max(sum(command.places.values()), 1e-9)
        share = longest(lots_of(command.places, command.pieces, parts), parts) / total
        lines.append(
            f"  {parts} parts: the most expensive part has {100 * share:.3g} % of the work"
        )
    return lines


def _seconds_a_window(experiment: Experiment) -> tuple[float, float]:
    """Return the seconds that a window takes forward, and those that it takes more back."""
    predictor = experiment.predictor
    channels = experiment.reading.num_channels
    window = empty_window(predictor.network, predictor.plan.size, channels)
    batch = window.expand(predictor.batch_size, *window.shape[1:]).clone()
    times = []
    for gradients in (False, predictor.gradients):
        best = float("inf")
        for _ in range(REPEATS):
            with held_still(predictor.network), torch.set_grad_enabled(gradients):
                start = _now(batch)
                found = predictor.output.of(predictor.network(batch.requires_grad_(gradients)))
                if gradients and found is not None:
                    torch.autograd.grad(found.sum(), batch)
                best = min(best, _now(batch) - start)
        times.append(best / predictor.batch_size)
    return times[0], max(times[1] - times[0], times[0])


def _now(batch: torch.Tensor) -> float:
    if batch.device.type != "cpu":
        torch.get_device_module(batch.device).synchronize(batch.device)
    return time.perf_counter()

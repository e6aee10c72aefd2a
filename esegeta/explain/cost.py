"""What a method costs: passes known beforehand; seconds and memory as measured."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

import torch

CountedOver = Literal["active", "all", "touched", "region"]
"""Windows that a pass goes over: those that the target touches, all of them, those that also what
the pass is counted per touches, or those that touch the region that is kept."""

OVER_IN_WORDS: dict[CountedOver, str] = {
    "active": "",
    "all": " over all windows",
    "touched": ", of the windows it touches",
    "region": " of the windows that touch the region",
}

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Passes:
    """Some forward and backward passes over the same windows.

    Args:
        forwards: forward passes.
        backwards: backward passes.
        extra_backwards: number of backward passes that may come on top, depending on the network.
        over: the windows that each pass goes over.
        per: what the passes are counted per, such as "box", where nobody knows before the run how
            many there are; None where they are those of the whole explanation.
        at_most: largest number of what they are counted per; None for no limit.
    """

    forwards: int = 0
    backwards: int = 0
    extra_backwards: int = 0
    over: CountedOver = "active"
    per: str | None = None
    at_most: int | None = None

    def times(self, factor: int) -> Passes:
        """Return as many times the passes."""
        return replace(
            self,
            forwards=factor * self.forwards,
            backwards=factor * self.backwards,
            extra_backwards=factor * self.extra_backwards,
        )

    def is_like(self, other: Passes) -> bool:
        """Tell whether both go over the same windows and are counted per the same."""
        return (self.over, self.per, self.at_most) == (other.over, other.per, other.at_most)

    def joined(self, other: Passes) -> Passes:
        """Return both together, where they are alike."""
        return replace(
            self,
            forwards=self.forwards + other.forwards,
            backwards=self.backwards + other.backwards,
            extra_backwards=self.extra_backwards + other.extra_backwards,
        )

    @property
    def in_letters(self) -> str:
        """The passes as `2 F + 1 B`."""
        backwards = f"{self.backwards}"
        if self.extra_backwards:
            backwards += f" to {self.backwards + self.extra_backwards}"
        parts = [f"{self.forwards} F"] if self.forwards else []
        parts += [f"{backwards} B"] if self.backwards else []
        return " + ".join(parts) or "0 F"


@dataclass(frozen=True)
class Cost:
    """What an explanation costs: sums and multiples of passes.

    `str(cost)` is the text of the help pages: F a forward, B a backward pass over the windows that
    the target touches, where nothing else is said.

    Args:
        passes: passes that add up to it.
        not_linear: forward passes for a target that is not linear in the logits: its gradient
            takes a prediction first, which is known for the image itself.
    """

    passes: tuple[Passes, ...]
    not_linear: int

    @classmethod
    def of(
        cls,
        forwards: int = 0,
        backwards: int = 0,
        *,
        extra_backwards: int = 0,
        over: CountedOver = "active",
        per: str | None = None,
        at_most: int | None = None,
        not_linear: int | None = None,
    ) -> Cost:
        """Return the cost of some passes over the same windows; as of `Passes`.

        For a target that is not linear, each gradient but the first takes one more forward pass,
        where `not_linear` does not say otherwise.

        Args:
            forwards: forward passes.
            backwards: backward passes.
            extra_backwards: backward passes that may come on top.
            over: windows that each pass goes over.
            per: what the passes are counted per, such as "box"; None for the whole explanation.
            at_most: largest number of what they are counted per; None for no limit.
            not_linear: further forward passes for a target that is not linear.
        """
        passes = Passes(forwards, backwards, extra_backwards, over, per, at_most)
        if not_linear is None:
            not_linear = forwards + max(min(forwards, backwards) - 1, 0)
        return cls((passes,), not_linear)

    def __add__(self, other: Cost) -> Cost:
        """Return what both cost together."""
        found: list[Passes] = []
        for one in (*self.passes, *other.passes):
            alike = [place for place, known in enumerate(found) if known.is_like(one)]
            if alike:
                found[alike[0]] = found[alike[0]].joined(one)
            else:
                found.append(one)
        return Cost(tuple(found), self.not_linear + other.not_linear)

    def __rmul__(self, factor: int) -> Cost:
        """Return what this many of these explanations cost."""
        return Cost(tuple(one.times(factor) for one in self.passes), factor * self.not_linear)

    def at_another_image(self) -> Cost:
        """Return what it costs where not even the first gradient's prediction is known."""
        takes_gradients = any(one.backwards for one in self.passes)
        return replace(self, not_linear=self.not_linear + takes_gradients)

    @property
    def is_known(self) -> bool:
        """Whether the number of windows that run is known before the run."""
        return all(one.per is None and one.over in ("active", "all") for one in self.passes)

    def windows(self, active: int, total: int, *, is_linear: bool) -> int | None:
        """Return about how many windows go forward through the network; None where unknown.

        Args:
            active: windows that the target touches.
            total: windows over the volume.
            is_linear: whether the target is linear in the logits.
        """
        if not self.is_known:
            return None
        whole = sum(one.forwards for one in self.passes if one.over == "all")
        forwards = self.forwards if is_linear else self.not_linear
        return (forwards - whole) * active + whole * total

    @property
    def forwards(self) -> int:
        """Forward passes for a linear target, however they are counted."""
        return sum(one.forwards for one in self.passes)

    def __str__(self) -> str:
        """Return the cost in letters and words."""
        groups = [list(group) for _, group in groupby(self.passes, lambda one: one.per)]
        return ", and ".join(_in_words(group) for group in groups)


def _in_words(group: list[Passes]) -> str:
    """Return passes that are counted per the same as text."""
    if len(group) == 1 and group[0].per is not None:
        one = group[0]
        most = "" if one.at_most is None else f", at most {one.at_most}"
        over, each = OVER_IN_WORDS[one.over], f" for each {one.per}{most}"
        # What the windows touch is named first.
        return one.in_letters + (each + over if one.over == "touched" else over + each)
    text = ", and ".join(f"{one.in_letters}{OVER_IN_WORDS[one.over]}" for one in group)
    return text if group[0].per is None else f"{text}, for each {group[0].per}"


@dataclass
class Meter:
    """What a piece of work took; filled in when it ends.

    Args:
        seconds: wall clock.
        peak_memory_mb: memory in MB: on an accelerator what torch allocated at most; on the CPU the
            largest resident size of the whole process, since the start of the work where the system
            lets it be reset.
    """

    seconds: float = 0.0
    peak_memory_mb: float = 0.0


@contextmanager
def measure(device: torch.device) -> Iterator[Meter]:
    """Measure the block; on an accelerator it waits for the work to be done."""
    meter = Meter()
    _reset_peak(device)
    start = time.perf_counter()
    yield meter
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
    meter.seconds = time.perf_counter() - start
    meter.peak_memory_mb = _peak_mb(device)


def _reset_peak(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).reset_peak_memory_stats(device)
        return
    try:
        CLEAR_REFS.write_text("5")  # Linux: resets VmHWM, the high-water mark of resident memory
    except OSError:
        return


def _peak_mb(device: torch.device) -> float:
    if device.type != "cpu":
        return float(torch.get_device_module(device).max_memory_allocated(device) / 2**20)
    try:
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024

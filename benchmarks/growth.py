"""`python -m benchmarks.growth`: how time and memory grow with volume, labels, targets, ....

Each figure is a process of its own: prediction, freeze and saliency of labels where they are
predicted, of a 3D U-Net. One thing is varied at a time. Its exponent b is that of `a x^b`, fitted
to the logarithms: 1 is in proportion, 0 does not grow.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.job import LabelJob
from benchmarks.run import BenchmarkRun, Result
from benchmarks.table import hardware

WINDOWS = (2, 3, 4, 5, 6)
"""Sides of the volumes, in sides of a window: 128 to 384 voxels at 64."""

LABELS = (3, 10, 40, 105)
TARGETS = (1, 2, 4, 8, 16)
OVERLAPS = (0.0, 0.25, 0.5, 0.75)
CASES = (1, 4, 16, 64)
HEADER = ("what grows", "from", "to", "time", "memory above base", "exponent of time", "of memory")


@dataclass(frozen=True)
class Growth:
    """What is varied.

    Args:
        name: what it is called in the table.
        sizes: what time and memory are held against.
        jobs: a job for each size.
        words: the sizes as they are shown.
    """

    name: str
    sizes: Sequence[float]
    jobs: Sequence[LabelJob]
    words: Sequence[str]


def growths(base: LabelJob, most_cases: int) -> list[Growth]:
    """Return what is varied of a job, one thing at a time."""
    sides = [count * base.window for count in WINDOWS]
    overlaps = [replace(base, overlap=overlap) for overlap in OVERLAPS]
    cases = [count for count in CASES if count <= most_cases]
    return [
        Growth(
            "voxels",
            [float(side**3) for side in sides],
            [replace(base, side=side) for side in sides],
            [f"{side}^3" for side in sides],
        ),
        Growth(
            "labels",
            [float(count) for count in LABELS],
            [replace(base, outputs=count) for count in LABELS],
            [str(count) for count in LABELS],
        ),
        Growth(
            "targets, explained together",
            [float(count) for count in TARGETS],
            [replace(base, targets=count) for count in TARGETS],
            [str(count) for count in TARGETS],
        ),
        Growth(
            "windows, by their overlap",
            [float(num_windows(job)) for job in overlaps],
            overlaps,
            [f"{job.overlap:g} ({num_windows(job)} windows)" for job in overlaps],
        ),
        Growth(
            "cases",
            [float(count) for count in cases],
            [replace(base, cases=count) for count in cases],
            [str(count) for count in cases],
        ),
    ]


def num_windows(job: LabelJob) -> int:
    """Return how many windows lie over the volume of a job."""
    step = max(int(job.window * (1 - job.overlap)), 1)
    return (1 + -(-(job.side - job.window) // step)) ** 3


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return b of `a x^b`, fitted to the logarithms by least squares."""
    logs = [math.log(size) for size in sizes]
    return statistics.linear_regression(logs, [math.log(value) for value in values]).slope


def row_of(growth: Growth, results: Sequence[Result]) -> tuple[str, ...]:
    """Return a line of the table; time is that of all threads, which other work disturbs less."""
    seconds = [result.cpu_seconds for result in results]
    above = [max(result.above_mb, 1.0) for result in results]
    return (
        growth.name,
        growth.words[0],
        growth.words[-1],
        f"{seconds[0]:.3g} to {seconds[-1]:.3g} s",
        f"{above[0]:.0f} to {above[-1]:.0f} MB",
        f"{exponent(growth.sizes, seconds):.2f}",
        f"{exponent(growth.sizes, above):.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of torch on the CPU")
    parser.add_argument("--window", type=int, default=64, help="side; volumes are 2 to 6 of it")
    parser.add_argument("--cases", type=int, default=CASES[-1], help="most cases")
    parser.add_argument("--only", nargs="*", default=[], help="first words of what is to grow")
    options = parser.parse_args()
    base = LabelJob(
        "saliency",
        WINDOWS[0] * options.window,
        options.window,
        LABELS[0],
        device=options.device,
        threads=options.threads,
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bench = BenchmarkRun(options.device, options.threads, 1, 1, False, Path(folder))
        for growth in growths(base, options.cases):
            if not options.only or growth.name.split()[0].rstrip(",") in options.only:
                rows += [row_of(growth, bench.run(*growth.jobs))]
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    print("\n".join("| " + " | ".join(line) + " |" for line in lines))
    print(
        f"\nwindows of {options.window}^3, saliency; others at {base.side}^3 and {LABELS[0]} labels"
    )
    print("\n".join(f"- {fact}" for fact in hardware(options.device, options.threads)))


if __name__ == "__main__":
    main()

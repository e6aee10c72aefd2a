"""The rows about dissection, beside the forward passes that it needs; and about concepts."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.job import NUM_UNITS, DissectionJob
from benchmarks.run import BenchmarkRun, memory_lines, time_lines
from benchmarks.table import Line


def dissection(bench: BenchmarkRun) -> Iterator[Line]:
    volumes, images = (4, 40) if bench.quick else (12, 200)
    for ndim, count, what, must in (
        (3, volumes, "volumes of 64^3", 1.3),
        (2, images, "images of 128^2", 2.0),
    ):
        row = f"dissection, {NUM_UNITS} units, {count} {what}, forward passes alone"
        jobs = [
            DissectionJob(name, ndim, count, bench.threads)
            for name in ("dissect", "forward", "dissect_all")
        ]
        ours, forward, everything = bench.run(*jobs)
        yield from time_lines(row, ours, forward, must)
        yield from memory_lines(row, ours, forward, None)
        with_all = f"{row}, with 1000 draws and thresholds of other cases"
        yield from time_lines(with_all, everything, forward, None)
    small, large = volumes // 2, 2 * volumes
    row = f"dissection, memory of {large} volumes of 64^3, of {small}"
    two, one = bench.run(
        *(DissectionJob("dissect", 3, count, bench.threads) for count in (large, small))
    )
    yield from memory_lines(row, two, one, 1.1)


def tcav(bench: BenchmarkRun) -> Iterator[Line]:
    """Five concepts in three layers, vectors fitted before, against one saliency a case."""
    count = 3 if bench.quick else 6
    jobs = [DissectionJob(name, 3, count, bench.threads) for name in ("tcav", "saliency")]
    row = f"TCAV, 5 concepts x 3 layers, {count} volumes of 64^3, a saliency of each"
    ours, other = bench.run(*jobs)
    yield from time_lines(row, ours, other, 1.3)
    yield from memory_lines(row, ours, other, None)

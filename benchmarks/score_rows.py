"""The rows about scores: what curves, robustness and memory take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.run import BenchmarkRun, difference_line, memory_lines, time_lines
from benchmarks.table import Line


def curve(bench: BenchmarkRun) -> Iterator[Line]:
    side, window, start, region = (64, 32, 12, 10) if bench.quick else (128, 64, 24, 20)
    row = f"deletion curve {side}^3, 50 steps of 200 supervoxels, local target, plain predictor"
    features = 60 if bench.quick else 200
    ours, other = bench.run(
        *(
            replace(bench.job(name, side, region), window=window, start=start, features=features)
            for name in ("esegeta_curve", "plain_curve")
        )
    )
    yield from time_lines(row, ours, other, 0.4)
    yield from memory_lines(row, ours, other, None)
    yield difference_line(row, ours, other)


def sensitivity(bench: BenchmarkRun) -> Iterator[Line]:
    """Two runs less what both do before: the frozen target and the map that is judged."""
    side = 64 if bench.quick else 128
    row = f"sensitivity_max {side}^3, 10 samples, local target, explanations"
    ten, one, none = bench.run(
        *(bench.job(f"esegeta_{name}", side) for name in ("sensitivity", "explanation", "saliency"))
    )
    for figure, must in (("seconds", 11.5), ("cpu_seconds", None)):
        work = getattr(ten, figure) - getattr(none, figure)
        unit = getattr(one, figure) - getattr(none, figure)
        yield Line(row, figure, f"{work:.2f} s", f"{unit:.2f} s", work / unit, must)


def score_memory(bench: BenchmarkRun) -> Iterator[Line]:
    from esegeta.score import SCORES

    side = 64 if bench.quick else 96
    row = f"memory of each score {side}^3, target in one window, saliency"
    job = replace(bench.job("esegeta_saliency", side), start=2)
    jobs = [replace(job, contender="esegeta_score", score=name) for name in SCORES]
    one, *others = bench.run(job, *jobs)
    for name, result in zip(SCORES, others, strict=True):
        for line in memory_lines(row, result, one, 2.0):
            yield replace(line, figure=f"{name}, {line.figure}")

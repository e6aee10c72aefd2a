"""The row about similarity: what CKA takes beside the forward passes that it needs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.job import SimilarityJob
from benchmarks.run import BenchmarkRun, memory_lines, time_lines
from benchmarks.table import Line

SAMPLES = 20000
EVERYTHING = 10**9


def similarity(bench: BenchmarkRun) -> Iterator[Line]:
    few, count, many = (2, 4, 8) if bench.quick else (6, 12, 24)

    def job(contender: str, cases: int, samples: int = SAMPLES) -> SimilarityJob:
        return SimilarityJob(contender, cases, samples, bench.threads)

    ours, forward = bench.run(job("cka", count), job("forward", count))
    row = f"CKA of six layers, {count} volumes of 64^3, {SAMPLES} positions, forward passes alone"
    yield from time_lines(row, ours, forward, 1.5)
    yield from memory_lines(row, ours, forward, None)
    large, small = bench.run(job("cka", many), job("cka", few))
    row = f"CKA, {SAMPLES} positions, memory of {many} volumes of 64^3, of {few}"
    yield from memory_lines(row, large, small, 1.1)
    jobs = (job("cka", 4, EVERYTHING), job("cka", 2, EVERYTHING), job("forward", 4))
    four, two, forward = bench.run(*jobs)
    row = "CKA of six layers, 4 volumes of 64^3, every voxel, forward passes alone"
    yield from time_lines(row, four, forward, None)
    yield from memory_lines("CKA, every voxel, memory of 4 volumes of 64^3, of 2", four, two, 1.1)

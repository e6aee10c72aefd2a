"""Rows about networks of many outputs: memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.job import LabelJob
from benchmarks.run import BenchmarkRun, Result
from benchmarks.table import Line

MB = 2**20
FLOAT = 4
ACTIVATIONS = 1.3
"""What may be held beside a slab, of what one bare window takes."""

WITHIN = 1.15
"""What the same formula may be missed by on a larger volume, whose image and map it leaves out."""

OF = ("probability", "margin", "entropy", "dice")
"""Quantities that need several outputs of a voxel."""


def setting(bench: BenchmarkRun, contender: str, side: int | None = None) -> LabelJob:
    """Return a job on a cube of 96^3 windows; 105 outputs."""
    size, window, outputs = (64, 32, 40) if bench.quick else (192, 96, 105)
    job = LabelJob(contender, side or size, window, outputs)
    return replace(job, device=bench.device, threads=bench.threads, batch_size=bench.batch_size)


def slab_mb(job: LabelJob) -> float:
    """Return the size of all outputs of planes as thick as a window."""
    return job.outputs * job.window * job.side**2 * FLOAT / MB


def many_labels(bench: BenchmarkRun) -> Iterator[Line]:
    job = setting(bench, "saliency")
    yield from one_label(bench, job, timed=True)


def many_labels_large(bench: BenchmarkRun) -> Iterator[Line]:
    """The same formula on a larger volume; and a target that needs no label map."""
    job = setting(bench, "saliency", 96 if bench.quick else 320)
    yield from one_label(bench, job, timed=False, must=WITHIN)
    box = replace(job, over="box")
    ours, other = bench.run(box, replace(box, contender="bare_window"))
    row = f"saliency {job.side}^3, {job.outputs} outputs, over: box"
    volumes = volume_mb(box)
    yield memory_line(row, ours, other, ACTIVATIONS * other.above_mb + volumes, "1.3 windows")


def volume_mb(job: LabelJob) -> float:
    """Return what is held of the volume's size: gradient, coverage, mask and decisions."""
    return job.side**3 * (2 * FLOAT + 2) / MB


def one_label(
    bench: BenchmarkRun, job: LabelJob, *, timed: bool, must: float = 1.0
) -> Iterator[Line]:
    row = f"prediction, freeze, saliency {job.side}^3, {job.outputs} outputs"
    ours, window = bench.run(job, replace(job, contender="bare_window"))
    limit = slab_mb(job) + ACTIVATIONS * window.above_mb
    yield memory_line(row, ours, window, limit, "slab + 1.3 windows", must)
    if timed:
        (bare,) = bench.run(replace(job, contender="bare_windows"))
        ratio = ours.seconds / bare.seconds
        yield Line(row, "time", f"{ours.seconds:.1f} s", f"{bare.seconds:.1f} s", ratio, 1.15)
        cpu = (ours.cpu_seconds, bare.cpu_seconds)
        yield Line(row, "CPU time", f"{cpu[0]:.1f} s", f"{cpu[1]:.1f} s", cpu[0] / cpu[1])


def memory_line(
    row: str, ours: Result, other: Result, limit_mb: float, what: str, must: float = 1.0
) -> Line:
    return Line(
        row,
        f"above base, of {what}",
        f"{ours.above_mb:.0f} MB",
        f"{limit_mb:.0f} MB (window {other.above_mb:.0f})",
        ours.above_mb / limit_mb,
        must,
    )


def two_labels(bench: BenchmarkRun) -> Iterator[Line]:
    job = setting(bench, "saliency")
    one, *others = bench.run(job, *(replace(job, of=of, labels=2) for of in OF))
    row = f"two labels {job.side}^3, {job.outputs} outputs, one label's logit"
    for of, result in zip(OF, others, strict=True):
        yield Line(
            row,
            f"{of}, above base",
            f"{result.above_mb:.0f} MB",
            f"{one.above_mb:.0f} MB",
            result.above_mb / one.above_mb,
            1.5,
        )

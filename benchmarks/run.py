"""Contenders, each alone in a process of its own, and lines of what they took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.job import DissectionJob, Job, LabelJob, MapJob, SimilarityJob
from benchmarks.table import Line

ROOT = Path(__file__).resolve().parent.parent
PROCESSES: dict[type[Job], str] = {
    MapJob: "benchmarks.map_process",
    DissectionJob: "benchmarks.dissection_process",
    SimilarityJob: "benchmarks.similarity_process",
    LabelJob: "benchmarks.label_process",
}


@dataclass(frozen=True)
class Result:
    """What a contender took.

    Args:
        seconds: fastest of the runs.
        cpu_seconds: of all threads, least of the runs; other work on the machine disturbs it less.
        peak_mb: largest of the runs.
        base_mb: held before the work: libraries, network, input.
        peaks: the peak of each stage, in MB.
        map_file: of the last run.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    base_mb: float
    peaks: dict[str, float]
    map_file: Path

    @property
    def above_mb(self) -> float:
        return self.peak_mb - self.base_mb


@dataclass(frozen=True)
class BenchmarkRun:
    """The options of one run of the benchmarks, and what its rows note."""

    device: str
    threads: int
    batch_size: int
    repeat: int
    quick: bool
    folder: Path
    notes: list[str] = field(default_factory=list)

    @property
    def side(self) -> int:
        return 96 if self.quick else 192

    def job(self, contender: str, side: int | None = None, region: int | None = None) -> MapJob:
        """Return a job on a cube of 64^3 windows; a region of 20^3 unless given."""
        window = 32 if self.quick else 64
        region = (10 if self.quick else 20) if region is None else region
        side = side or self.side
        shape = (side, side, side)
        return MapJob(contender, shape, window, region, self.batch_size, self.device, self.threads)

    def run(self, *jobs: Job) -> list[Result]:
        """Run jobs in turns, `repeat` times each."""
        runs: list[list[Result]] = [[] for _ in jobs]
        for _ in range(self.repeat):
            for place, job in enumerate(jobs):
                runs[place].append(self._run_once(job, f"map{place}.pt"))
        return [
            replace(
                results[-1],
                seconds=min(result.seconds for result in results),
                cpu_seconds=min(result.cpu_seconds for result in results),
                peak_mb=max(result.peak_mb for result in results),
            )
            for results in runs
        ]

    def _run_once(self, job: Job, name: str) -> Result:
        file = self.folder / name
        words = [sys.executable, "-m", PROCESSES[type(job)], json.dumps(asdict(job)), str(file)]
        # Threads that spin while they wait would make a busy machine look like a slow program.
        env = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        done = subprocess.run(words, check=False, capture_output=True, text=True, env=env, cwd=ROOT)
        if done.returncode:
            raise SystemExit(f"{job.contender} failed:\n{done.stderr}")
        values = json.loads(done.stdout.splitlines()[-1])
        print(f"  {job.contender}: {values}", file=sys.stderr, flush=True)
        return Result(map_file=file, **values)


def difference_line(
    row: str, ours: Result, other: Result, what: str = "", must: float = 1e-5
) -> Line:
    import torch

    one, two = torch.load(ours.map_file), torch.load(other.map_file)
    gap = float((one - two).abs().max() / two.abs().max())
    figure = "map, largest relative difference" + what
    return Line(row, figure, "", "", gap, must)


def time_lines(
    row: str, ours: Result, other: Result, must: float | None, times: int = 1
) -> list[Line]:
    wall, cpu = (ours.seconds, other.seconds * times), (ours.cpu_seconds, other.cpu_seconds * times)
    pairs = (("time", wall, must), ("CPU time", cpu, None))
    return [
        Line(row, name, f"{a:.2f} s", f"{b:.2f} s", a / b, limit) for name, (a, b), limit in pairs
    ]


def memory_lines(row: str, ours: Result, other: Result, must: float | None) -> list[Line]:
    total, above = (ours.peak_mb, other.peak_mb), (ours.above_mb, other.above_mb)
    pairs = (("peak memory", total, must), ("above base", above, None))
    return [
        Line(row, name, f"{a:.0f} MB", f"{b:.0f} MB", a / b, limit) for name, (a, b), limit in pairs
    ]

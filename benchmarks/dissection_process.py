"""The process of one side of a dissection: it runs the job, and prints what it took.

python -m benchmarks.dissection_process JOB
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.dissection_contenders import DISSECTIONS, build
from benchmarks.job import DissectionJob
from benchmarks.measure import Memory, measure


def run(job: DissectionJob) -> None:
    """Run one side and print what it took, after one case has been predicted."""
    torch.set_num_threads(job.threads)
    memory = Memory(torch.device("cpu"))
    with TemporaryDirectory() as folder:
        session = build(job, Path(folder))
        case = session.cases[0]
        session.dissection.basis.predictor.logits(session.reading(case).image())
        measure(lambda: DISSECTIONS[job.contender](session), memory, base_mb=memory.now())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run(DissectionJob(**json.loads(sys.argv[1])))

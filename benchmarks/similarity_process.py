"""The process of one side of a comparison of layers: it runs the job, and prints what it took.

python -m benchmarks.similarity_process JOB
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.job import SimilarityJob
from benchmarks.measure import Memory, measure
from benchmarks.similarity_contenders import SIDES, build
from esegeta.workflow.similarity.strata import image_of


def run(job: SimilarityJob) -> None:
    """Run one side and print what it took, after one case has been predicted."""
    torch.set_num_threads(job.threads)
    memory = Memory(torch.device("cpu"))
    with TemporaryDirectory() as folder:
        session = build(job, Path(folder))
        basis = session.comparison.basis
        basis.predictor.logits(image_of(basis, basis.cases[0]).batch)
        measure(lambda: SIDES[job.contender](session), memory, base_mb=memory.now())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run(SimilarityJob(**json.loads(sys.argv[1])))

"""The process of one contender of a row about many outputs: it runs the job, prints what it took.

python -m benchmarks.label_process JOB MAP_FILE
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import label_contenders
from benchmarks.job import LabelJob
from benchmarks.measure import Memory, measure
from benchmarks.setting import forward_and_back

CONTENDERS: dict[str, Callable[[LabelJob, nn.Module, Tensor, Memory], Tensor | None]] = {
    "saliency": label_contenders.saliency,
    "bare_window": label_contenders.bare_window,
    "bare_windows": label_contenders.bare_windows,
}


def run(job: LabelJob, out: Path) -> None:
    """Run one contender and print what it took; its map goes to a file.

    A small window goes through the network before the clock starts, for every contender.
    """
    memory = Memory(torch.device(job.device))
    network = label_contenders.build(job)
    x = label_contenders.image_of(job)
    forward_and_back(network, torch.randn(1, 1, 16, 16, 16, device=memory.device))
    base_mb = memory.now()
    contender = CONTENDERS[job.contender]
    result = measure(lambda: contender(job, network, x, memory), memory, base_mb=base_mb)
    if result is not None:
        torch.save(result.detach().cpu(), out)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run(LabelJob(**json.loads(sys.argv[1])), Path(sys.argv[2]))

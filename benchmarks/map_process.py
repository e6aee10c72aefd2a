"""The process of one contender of a map: it runs the job, and prints what it took.

python -m benchmarks.map_process JOB MAP_FILE
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import map_contenders, score_contenders
from benchmarks.job import MapJob
from benchmarks.measure import Memory, measure
from benchmarks.setting import Setting, build_setting, forward_and_back
from esegeta.predict import locality

CONTENDERS: dict[str, Callable[[Setting], Tensor | None]] = {
    "esegeta_saliency": map_contenders.esegeta_saliency,
    "esegeta_method": map_contenders.esegeta_method,
    "esegeta_one_target": map_contenders.esegeta_one_target,
    "esegeta_three_targets": map_contenders.esegeta_three_targets,
    "esegeta_integrated_gradients": map_contenders.esegeta_integrated_gradients,
    "esegeta_occlusion": map_contenders.esegeta_occlusion,
    "esegeta_feature_ablation": map_contenders.esegeta_feature_ablation,
    "esegeta_kernel_shap": map_contenders.esegeta_kernel_shap,
    "captum_feature_ablation": map_contenders.captum_feature_ablation,
    "captum_kernel_shap": map_contenders.captum_kernel_shap,
    "captum_saliency": map_contenders.captum_saliency,
    "captum_integrated_gradients": map_contenders.captum_integrated_gradients,
    "captum_occlusion": map_contenders.captum_occlusion,
    "bare_network": map_contenders.bare_network,
    "esegeta_ten_methods": map_contenders.esegeta_ten_methods,
    "esegeta_ten_methods_apart": map_contenders.esegeta_ten_methods_apart,
    "esegeta_curve": score_contenders.curve,
    "plain_curve": score_contenders.plain_curve,
    "esegeta_sensitivity": score_contenders.sensitivity,
    "esegeta_explanation": score_contenders.explanation,
    "esegeta_score": score_contenders.score,
}


def run(job: MapJob, out: Path) -> None:
    """Run one contender and print what it took; its map goes to a file.

    `base_mb` is held before the work starts: the libraries, the network and the input. One batch
    of windows goes through the network before the clock starts, for every contender.
    """
    if job.windows == "whole":
        locality.PASSES_OF_PROOF = math.inf  # no proof ever pays
    memory = Memory(torch.device(job.device))
    setting = build_setting(job, memory)
    base_mb = memory.now()
    crop = torch.randn(job.batch_size, 1, *(job.window,) * 3, device=memory.device)
    forward_and_back(setting.network, crop)
    del crop
    result = measure(lambda: CONTENDERS[job.contender](setting), memory, base_mb=base_mb)
    if result is not None:
        torch.save(result.detach().cpu(), out)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run(MapJob(**json.loads(sys.argv[1])), Path(sys.argv[2]))

"""Both sides of the rows over features: the same coalitions, ours and captum's way."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from captum.attr import FeatureAblation as CaptumFeatureAblation
from captum.attr import KernelShap as CaptumKernelShap
from sklearn.linear_model import LinearRegression
from torch import Tensor
from torch.distributions import Categorical

from esegeta.explain import MaskedTarget, Objective, Partition, solve_kernel_shap
from esegeta.targets import FrozenTarget

Function = Callable[[Tensor], Tensor]


def run_kernel_shap(
    frozen: FrozenTarget, partition: Partition, coalitions: int, *, seed: int
) -> Tensor:
    """Return our map from captum's own coalitions, of all features."""
    kept = captum_coalitions(len(partition), coalitions, seed=seed)
    volume = frozen.scene.volume
    objective = Objective.of(frozen.scene.predictor, frozen, volume)
    values = MaskedTarget(objective, partition, torch.zeros_like(volume.data)).values(kept)
    found = solve_kernel_shap(kept[2:], values[2:], none=values[1], everyone=values[0])
    return partition.paint(found)


def run_captum_kernel_shap(
    function: Function, x: Tensor, partition: Partition, coalitions: int, *, seed: int
) -> Tensor:
    """Run captum's method, and return what its regression gives in double precision.

    Captum fits in float32 with weights of 1 and 1e6, which costs it three digits at 200 features;
    the same regression of the same values in float64 tells whether the values are ours.
    """
    seen: list[Tensor] = []

    def listening(inputs: Tensor) -> Tensor:
        seen.append(function(inputs).detach())
        return seen[-1]

    method = CaptumKernelShap(listening)
    torch.manual_seed(seed)
    mask = partition.labels[None, None].long()
    method.attribute(x, baselines=0.0, feature_mask=mask, n_samples=coalitions)
    kept = captum_coalitions(len(partition), coalitions, seed=seed)
    weights = torch.ones(coalitions, dtype=torch.float64)
    weights[:2] = method.inf_weight
    values = torch.cat(seen[-coalitions:]).double().cpu()
    fit = LinearRegression().fit(kept.double().numpy(), values.numpy(), weights.numpy())
    return partition.paint(torch.from_numpy(fit.coef_))


def run_captum_feature_ablation(function: Function, x: Tensor, partition: Partition) -> Tensor:
    mask = partition.labels[None, None].long()
    result: Tensor = CaptumFeatureAblation(function).attribute(x, baselines=0.0, feature_mask=mask)
    return result[0].float()


def captum_coalitions(count: int, coalitions: int, *, seed: int) -> Tensor:
    """Return the coalitions that captum's KernelSHAP draws: all, none, and random ones."""
    sizes = torch.arange(count, dtype=torch.float32)
    odds = (count - 1) / (sizes * (count - sizes))
    odds[0] = 0.0
    torch.manual_seed(seed)
    rows = CaptumKernelShap(lambda x: x).kernel_shap_perturb_generator(
        torch.zeros(1), num_select_distribution=Categorical(odds), num_interp_features=count
    )
    return torch.cat(list(itertools.islice(rows, coalitions))).bool()

"""The commands that the yardstick runs, and their configs; together they reach every output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.golden.data import NETWORKS, SLICED, images_of

BLOCKS = {2: {"kind": "blocks", "side_mm": 6}, 3: {"kind": "blocks", "side_mm": 8}}
SUPERVOXELS = {"kind": "supervoxels", "count": 20}
LAYERS = {
    2: ["model.0", "model.1.submodule.1.submodule", "model.1.submodule.2", "model.2"],
    3: ["model.0", "model.1.submodule", "model.2"],
}

COMMANDS: list[list[str]] = [
    ["run", "methods_2d.yaml"],
    ["run", "methods_3d.yaml"],
    ["run", "targets_2d.yaml"],
    ["run", "targets_3d.yaml"],
    ["run", "slices.yaml"],
    ["run", "scores_2d.yaml"],
    ["run", "scores_3d.yaml"],
    ["run", "study_a.yaml"],
    ["run", "study_b.yaml"],
    ["compare", "results/study_a", "results/study_b", "-o", "results/compare"],
    ["dissect", "dissect_2d.yaml"],
    ["dissect", "dissect_3d.yaml"],
    ["retrain", "retrain_2d.yaml"],
    ["run", "slices.yaml"],
    ["retrain", "retrain_2d.yaml"],
]
"""Arguments of the command line, in the order in which they are run; the last two resume."""


def write_configs(folder: Path) -> None:
    """Write every config into a folder, beside the data."""
    for name, keys in configs().items():
        text = yaml.safe_dump({"name": name, **keys}, sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def configs() -> dict[str, dict[str, Any]]:
    """Return every config by name."""
    found: dict[str, dict[str, Any]] = {}
    for ndim in (2, 3):
        found[f"methods_{ndim}d"] = _base(ndim) | {
            "targets": [
                {"name": "one", "label": "one", "of": "logit", "over": "predicted"},
            ],
            "methods": _all_methods(ndim),
            "aggregate": {"atlases": {"found": "prediction", "truth": "label"}},
        }
        found[f"targets_{ndim}d"] = _base(ndim) | {
            "targets": _targets(ndim),
            "methods": [
                "saliency",
                "input_x_gradient",
                {"name": "integrated_gradients", "steps": 3, "baseline": "mean"},
                "grad_cam",
                {"name": "occlusion", "box_mm": 12, "baseline": "zero"},
            ],
        }
        found[f"scores_{ndim}d"] = _base(ndim) | {
            "targets": [{"name": "one", "label": "one"}],
            "methods": ["saliency", {"name": "integrated_gradients", "steps": 4}, "edge_map"],
            "scores": _all_scores(ndim),
            "aggregate": {
                "atlases": {"truth": "label", "quarters": "{case}_quarters.nii"},
                "names": {"quarters": {1: "first", 2: "second"}},
            },
        }
        found[f"dissect_{ndim}d"] = _base(ndim, cases=3 if ndim == 2 else 2) | {
            "dissection": _dissection(ndim)
        }
    found["slices"] = _slices()
    found["study_a"] = _study("w2", seed=3)
    found["study_b"] = _study("w2", seed=3) | {
        "inference": {"window": [12, 12], "overlap": 0.25, "blend": "constant", "batch_size": 2}
    }
    found["retrain_2d"] = _retraining()
    return found


def _base(ndim: int, cases: int = 1) -> dict[str, Any]:
    names = [f"{letter}{ndim}" for letter in "abcdef"[:cases]]
    return {
        "version": 1,
        "output": "results",
        "seed": 3,
        "device": "cpu",
        "model": _model(NETWORKS[ndim], f"w{ndim}.safetensors"),
        "activation": "softmax",
        "labels": {1: "one", 2: "two"},
        "data": {
            "cases": [
                {"name": name, "image": images_of(name), "label": f"{name}_label.nii"}
                for name in names
            ],
            "channels": ["t1", "t2"] if ndim == 2 else ["ct"],
        },
        "inference": {
            "window": {2: [16, 16], 3: [10, 10, 8]}[ndim],
            "overlap": 0.5 if ndim == 2 else 0.25,
            "blend": "gaussian",
            "batch_size": 3,
        },
    }


def _model(args: dict[str, Any], weights: str) -> dict[str, Any]:
    return {"kind": "monai", "network": "UNet", "args": args, "weights": weights}


def _all_methods(ndim: int) -> list[Any]:
    """Return every method; 3D takes other options where a method has a choice."""
    inside = LAYERS[ndim][1]
    flat = ndim == 2
    return [
        "saliency",
        "input_x_gradient",
        {"name": "integrated_gradients", "steps": 5, "baseline": "blur" if flat else "zero"},
        {"name": "interior_gradient", "alphas": [0.3, 1.0]},
        {"name": "gradient_shap", "samples": 4, "spread": True},
        {"name": "smoothgrad", "samples": 3},
        {"name": "smoothgrad_sq", "samples": 3},
        {"name": "vargrad", "samples": 3},
        {"name": "noise_tunnel", "base": "input_x_gradient", "samples": 3, "spread": flat},
        {"name": "neuron_conductance", "layer": inside, "channel": 1, "steps": 3},
        "deconvolution",
        "guided_backprop",
        "deep_lift",
        {"name": "deep_lift_shap", "baselines": ["zero", "mean"]},
        "lrp",
        {"name": "lrp", "id": "lrp_box", "composite": "epsilon_gamma_box"},
        "excitation_backprop",
        "contrastive_excitation_backprop",
        "pattern_net",
        "pattern_attribution",
        "layer_activation",
        "layer_gradient_x_activation",
        {"name": "layer_integrated_gradients", "steps": 3},
        {"name": "layer_conductance", "steps": 3},
        {"name": "internal_influence", "steps": 3},
        "layer_deep_lift",
        {"name": "layer_gradient_shap", "samples": 3},
        "grad_cam",
        "grad_cam_pp",
        {"name": "hires_cam", "layer": LAYERS[ndim][-2:]},
        "xres_cam",
        "score_cam",
        "ablation_cam",
        "guided_grad_cam",
        {"name": "occlusion", "box_mm": 12, "stride_mm": 6 if flat else 12},
        {"name": "feature_ablation", "features": SUPERVOXELS},
        {
            "name": "exact_shapley",
            "features": "channels" if flat else "{case}_quarters.nii",
            "baseline": "mean",
        },
        {"name": "shapley_value_sampling", "features": BLOCKS[ndim], "samples": 2},
        {"name": "kernel_shap", "features": BLOCKS[ndim], "samples": 60, "spread": flat},
        {"name": "lime", "features": SUPERVOXELS, "samples": 40},
        {"name": "rise", "samples": 20, "cell_mm": 6},
        {"name": "meaningful_perturbation", "steps": 5},
        {"name": "misure", "steps": 5},
        {"name": "random_map", "sigma_mm": 0 if flat else 4},
        "edge_map",
    ]


def _targets(ndim: int) -> list[dict[str, Any]]:
    """Return every quantity and every region, unit targets, components and a combination."""
    middle = [12, 10] if ndim == 2 else [6, 6, 4]
    quantities = [
        {"name": "logit", "label": "one", "of": "logit"},
        {"name": "probability", "label": "two", "of": "probability", "reduce": "mean"},
        {"name": "log_probability", "label": "one", "of": "log_probability", "over": "label"},
        {"name": "margin", "label": "one", "of": "margin", "over": "false_negative"},
        {"name": "entropy", "label": "one", "of": "entropy"},
        {"name": "dice", "label": "one", "of": "dice"},
        {"name": "volume_ml", "label": "two", "of": "volume_ml"},
        {"name": "live", "label": "one", "of": "probability", "over": "otsu", "mask": "live"},
    ]
    unit = {"name": "unit", "of": "unit", "layer": LAYERS[ndim][1], "channel": 2}
    regions = [
        {"name": "false_positive", "label": "one", "over": "false_positive"},
        {"name": "largest", "label": "one", "component": "largest"},
        {"name": "each", "label": "two", "component": "each", "min_volume_ml": 0.03},
        {"name": "boundary", "label": "one", "over": "boundary", "within_mm": 2},
        {"name": "roi", "label": "two", "over": "roi", "roi": "{case}_mask.nii"},
        {"name": "box", "label": "one", "over": "box", "box": [[1] * ndim, middle]},
        {"name": "point", "label": "one", "over": "point", "point": middle},
    ]
    combined = {"name": "combined", "combine": {"logit": 1.0, "roi": -0.5}}
    return [*quantities, unit, *regions, combined]


def _all_scores(ndim: int) -> list[Any]:
    parts = BLOCKS[ndim]
    return [
        {"name": "infidelity", "samples": 6},
        {"name": "infidelity", "id": "by_parts", "perturbation": "supervoxels", "samples": 6},
        {"name": "infidelity", "id": "by_boxes", "perturbation": "square", "samples": 6},
        {"name": "deletion", "features": parts, "steps": 5, "baseline": "mean"},
        {"name": "deletion", "id": "del_voxels", "features": "voxels", "steps": 4},
        {"name": "insertion", "features": parts, "steps": 5, "baseline": "blur"},
        {"name": "dice_drop", "features": parts, "steps": 4},
        {"name": "road", "steps": 3},
        {"name": "sensitivity_n", "features": parts},
        "completeness",
        {"name": "sensitivity_max", "radius": 0.02, "samples": 2},
        {"name": "sensitivity_avg", "radius": 0.02, "samples": 2},
        {"name": "consistency_under_flips", "axes": [0]},
        {"name": "relevance_mass", "against": "label"},
        {"name": "relevance_rank", "against": "prediction"},
        {"name": "pointing_game", "against": "label", "within_mm": 3},
        {"name": "auroc", "against": "label"},
        {"name": "halo_profile", "against": "label"},
        "gini",
        "entropy",
        {"name": "effective_complexity", "features": parts},
        {"name": "parameter_randomization", "max_layers": 2},
        "efficient_mprt",
        "class_sensitivity",
        {
            "name": "random_map_baseline",
            "samples": 5,
            "base": {"name": "deletion", "features": parts, "steps": 3},
        },
    ]


def _slices() -> dict[str, Any]:
    """A 2D network over volumes slice by slice, overlapping labels, and resampling."""
    keys = _base(3)
    return keys | {
        "model": _model(SLICED, "ws.safetensors"),
        "activation": "sigmoid",
        "data": keys["data"]
        | {
            "preprocess": {
                "orientation": "RAS",
                "spacing_mm": [0.9, 1.5, 3.1],
                "intensity": "zscore",
            }
        },
        "inference": {"window": [8, 8], "overlap": 0.25, "blend": "constant", "slice_axis": 2},
        "targets": [
            {"name": "one", "label": "one"},
            {"name": "dice", "label": "two", "of": "dice", "reference": "predicted"},
        ],
        "methods": [
            "saliency",
            {"name": "smoothgrad", "base": "input_x_gradient", "samples": 2, "spread": True},
            "lrp",
            "hires_cam",
            {"name": "feature_ablation", "features": SUPERVOXELS},
        ],
        "scores": ["gini", {"name": "deletion", "steps": 3}],
    }


def _study(weights: str, seed: int) -> dict[str, Any]:
    """Six cases, null competitors and cheap scores: what a comparison is made of."""
    return _base(2, cases=6) | {
        "seed": seed,
        "model": _model(NETWORKS[2], f"{weights}.safetensors"),
        "targets": [{"name": "one", "label": "one"}],
        "methods": ["saliency", "input_x_gradient", "random_map", "edge_map"],
        "scores": [
            {"name": "deletion", "features": BLOCKS[2], "steps": 3, "baseline": "mean"},
            {"name": "auroc", "against": "label"},
            "gini",
            {"name": "sensitivity_max", "radius": 0.02, "samples": 1},
        ],
    }


def _dissection(ndim: int) -> dict[str, Any]:
    flat = ndim == 2
    return {
        "layers": LAYERS[ndim],
        "concepts": {
            "one": 1,
            "any": [1, 2],
            "rim": {"boundary_of": "one", "within_mm": 2},
            "near": {"distance_to": "two", "mm": [0, 4]},
            "rest": {"not_of": "any"},
            "both": {"all_of": ["any", "rim"]},
            "left": {"half": "left", "of": "any"},
            "edges": {"edges": 0.1},
            "mask": {"mask": "{case}_mask.nii"},
        },
        "categories": {"tissue": ["one", "any"], "surface": ["rim", "edges"]},
        "quantile": 0.05,
        "upsample": "native" if flat else "upsampled",
        "min_iou": 0.0,
        "q_value": 1.0,
        "chance": {"kind": "shift" if flat else "permutation", "samples": 39},
        "per_image": {"threshold": "image" if flat else "dataset", "min_iou": 0.02},
        "figures": {"images": 1, "units": 1, "masks": "all"},
        "ablation": {"concepts": "all", "units": 1, "draws": 3, "to": "zero"},
        "trails": {
            "samples": 400,
            "windows": 4,
            "permutations": 39,
            "clusters": 3,
            "q_value": 0.2,
            "to": "mean" if flat else "zero",
        },
    }


def _retraining() -> dict[str, Any]:
    return _base(2, cases=4) | {
        "targets": [{"name": "one", "label": "one"}],
        "methods": ["input_x_gradient", {"name": "random_map", "id": "clumped", "sigma_mm": 3}],
        "retrain": {
            "fractions": [0.2, 0.6],
            "optimizer_args": {"lr": 0.02},
            "iterations": 4,
            "batch_size": 4,
            "patch": [16, 16],
            "seeds": [0, 1],
            "folds": 2,
        },
    }

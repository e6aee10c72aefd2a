"""From the folder that training left to a model that explainers take, images and all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from esegeta.api.model import OwnImages, SegmentationModel
from esegeta.config.model_alone import config_of_model
from esegeta.predict import Precision
from esegeta.workflow.pipeline import build_pipeline
from esegeta.workflow.room import fitted_alone


def load_nnunet(
    folder: str | Path,
    *,
    configuration: str | None = None,
    folds: Literal["all"] | int | Sequence[int | Literal["all"]] = "all",
    checkpoint: str | None = None,
    mirror: Sequence[int] | None = None,
    overlap: float | None = None,
    batch_size: int | Literal["auto"] | None = None,
    precision: Precision | None = None,
    device: str = "auto",
) -> SegmentationModel:
    """Load a trained nnU-Net v2: `model.load_volume` reads images as its plans say.

    Args:
        folder: the folder with dataset.json and plans.json, or one above it.
        configuration: the one to use of several, such as `3d_fullres`.
        folds: numbers, or `all` for every one there; averaged as nnU-Net averages them.
        checkpoint: file in each fold; `checkpoint_final.pth` by default.
        mirror: axes to mirror; by default those of training. `()` saves a pass for each mirroring.
        overlap: overlap of neighbouring windows; a half by default, as in nnU-Net.
        batch_size: number of windows at a time; `auto`: as many as fit into free memory.
        precision: fp32, bf16 or fp16.
        device: auto, cpu, cuda or cuda:1.

    Raises:
        ConfigError: the folder cannot be used; says what is missing.
    """
    keys = {
        "kind": "nnunet",
        "path": str(folder),
        "configuration": configuration,
        "folds": folds if isinstance(folds, (str, int)) else list(folds),
        "checkpoint": checkpoint,
    }
    own: dict[str, Any] = {"mirror": None if mirror is None else list(mirror), "overlap": overlap}
    own |= {"batch_size": batch_size, "precision": precision}
    return _load(keys, own, called="load_nnunet", device=device)


def load_bundle(
    folder: str | Path,
    *,
    weights: str | Path | None = None,
    window: Sequence[int] | None = None,
    overlap: float | None = None,
    batch_size: int | Literal["auto"] | None = None,
    precision: Precision | None = None,
    device: str = "auto",
) -> SegmentationModel:
    """Load a MONAI bundle, which is code; `model.load_volume` reads images as its config says.

    Args:
        folder: the folder with `configs` and `models`; nothing is downloaded.
        weights: file of weights, instead of those in `models`.
        window: lengths of the window, instead of the bundle's.
        overlap: overlap of neighbouring windows, likewise.
        batch_size: number of windows at a time, likewise, or `auto` for as many as fit.
        precision: fp32, bf16 or fp16.
        device: auto, cpu, cuda or cuda:1.

    Raises:
        ConfigError: the folder cannot be used; says what is missing.
    """
    keys = {
        "kind": "bundle",
        "path": str(folder),
        "weights": None if weights is None else str(weights),
    }
    own: dict[str, Any] = {"window": None if window is None else list(window), "overlap": overlap}
    own |= {"batch_size": batch_size, "precision": precision}
    return _load(keys, own, called="load_bundle", device=device)


def _load(
    model: Mapping[str, Any], inference: Mapping[str, Any], *, called: str, device: str
) -> SegmentationModel:
    config = config_of_model(model, called=called, inference=inference, device=device)
    built = build_pipeline(config)
    rule = config.keys.prediction.resample
    predictor, notes = built.predictor, built.notes
    if config.keys.inference.batch_size == "auto":
        predictor, fits = fitted_alone(predictor, built.reading.num_channels)
        notes = (*notes, fits)
    return SegmentationModel(
        **vars(predictor), notes=notes, images=OwnImages(built.reading, built.preprocess, rule)
    )

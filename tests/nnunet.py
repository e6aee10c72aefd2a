"""nnU-Net's own classes as oracle: tiny data sets that they plan, networks that they save and run.

Weights are seeded and not trained; everything else is what nnunetv2 makes of a data set: its
fingerprint, plans, checkpoints of its trainer, and predictions of its predictor.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import multiprocessing.dummy
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

FEATURES = 4
SAMPLES = 5000


@dataclass(frozen=True)
class Dataset:
    """A data set in nnU-Net's raw format.

    Args:
        shape: of the images that are trained on, x, y, z.
        spacing_mm: of their voxels.
        channels: names, which choose the normalisation.
        labels: as in dataset.json.
        regions_class_order: as in dataset.json.
        border: voxels of zeros around what is seen.
        reader: overwrites the reader.
        ending: of the files.
    """

    shape: tuple[int, ...] = (20, 18, 16)
    spacing_mm: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: tuple[str, ...] = ("CT",)
    labels: Mapping[str, Any] = field(
        default_factory=lambda: {"background": 0, "liver": 1, "tumour": 2}
    )
    regions_class_order: Sequence[int] | None = None
    border: int = 0
    reader: str | None = None
    ending: str = ".nii.gz"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing of what nnU-Net prints, and none of its warnings."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def rooted(root: Path) -> Iterator[None]:
    """nnU-Net reads and writes below a folder, and says nothing."""
    with pytest.MonkeyPatch.context() as patcher, quiet():
        for name in ("raw", "preprocessed", "results"):
            patcher.setenv(f"nnUNet_{name}", str(root / name))
        patcher.setenv("nnUNet_def_n_proc", "1")
        yield


@dataclass(frozen=True)
class Trained:
    """A network that nnU-Net planned and saved, and a case that it has not seen."""

    folder: Path
    images: list[Path]
    folds: tuple[int, ...]


def make(
    root: Path,
    dataset: Dataset,
    *,
    configuration: str = "3d_fullres",
    patch: Sequence[int] | None = None,
    folds: tuple[int, ...] = (0,),
    **case: Any,
) -> Trained:
    """Plan a data set, save networks, and write a case: see `write_case`."""
    with rooted(root):
        name = plan(root, dataset, patch=patch)
        folder = train(root, name, configuration=configuration, folds=folds)
    return Trained(folder, write_case(root / "case", "case", dataset, seed=7, **case), folds)


def write_case(
    folder: Path,
    name: str,
    dataset: Dataset,
    *,
    seed: int,
    shape: tuple[int, ...] | None = None,
    direction: Sequence[float] = (),
    spacing_mm: Sequence[float] | None = None,
) -> list[Path]:
    """Write the channels of a case: smooth noise within a border of zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    lengths = (shape or dataset.shape)[::-1]
    values = [_smooth(rng, lengths, dataset.border) for _ in dataset.channels]
    if dataset.ending == ".png":
        path = folder / f"{name}_0000.png"
        scaled = np.stack([(channel - channel.min()) // 20 for channel in values], axis=-1)
        Image.fromarray(scaled.clip(0, 255).astype(np.uint8)).save(path)
        return [path]
    paths = []
    for channel, array in enumerate(values):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing([float(length) for length in spacing_mm or dataset.spacing_mm])
        image.SetOrigin([3.0, -20.0, 11.5][: image.GetDimension()])
        if len(direction):
            image.SetDirection([float(value) for value in direction])
        paths.append(folder / f"{name}_{channel:04d}{dataset.ending}")
        sitk.WriteImage(image, str(paths[-1]))
    return paths


def _smooth(rng: np.random.Generator, lengths: tuple[int, ...], border: int) -> np.ndarray:
    noise = sitk.GetImageFromArray(rng.standard_normal(lengths).astype(np.float32))
    values = sitk.GetArrayFromImage(sitk.DiscreteGaussian(noise, 2.0))
    values = np.round(values * 900 + 300).astype(np.int16)
    if border:
        seen = np.zeros(lengths, dtype=bool)
        seen[tuple(slice(border, length - border) for length in lengths)] = True
        values[~seen] = 0
    return values


def plan(root: Path, dataset: Dataset, *, patch: Sequence[int] | None = None) -> str:
    """Write a data set of two cases and let nnU-Net plan it; its name is returned."""
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner
    from nnunetv2.utilities import utils

    name = "Dataset012_Tiny"
    raw = root / "raw" / name
    for number in range(2):
        write_case(raw / "imagesTr", f"case_{number}", dataset, seed=number)
        labels = raw / "labelsTr" / f"case_{number}{dataset.ending}"
        labels.parent.mkdir(exist_ok=True)
        like = sitk.ReadImage(str(raw / "imagesTr" / f"case_{number}_0000{dataset.ending}"))
        grey = sitk.GetArrayFromImage(like)
        grey = grey[..., 0] if like.GetNumberOfComponentsPerPixel() > 1 else grey
        image = sitk.GetImageFromArray((grey > np.median(grey)).astype(np.uint8))
        image.CopyInformation(like)
        sitk.WriteImage(image, str(labels))
    content = {
        "channel_names": {str(i): channel for i, channel in enumerate(dataset.channels)},
        "labels": dict(dataset.labels),
        "numTraining": 2,
        "file_ending": dataset.ending,
    }
    if dataset.regions_class_order is not None:
        content["regions_class_order"] = list(dataset.regions_class_order)
    if dataset.reader is not None:
        content["overwrite_image_reader_writer"] = dataset.reader
    (raw / "dataset.json").write_text(json.dumps(content))
    with pytest.MonkeyPatch.context() as patcher:  # threads start sooner than processes
        threads = types.SimpleNamespace(get_context=lambda _: multiprocessing.dummy)
        patcher.setattr(fingerprint_extractor, "multiprocessing", threads)
        patcher.setattr(utils, "Pool", multiprocessing.dummy.Pool)
        extractor = fingerprint_extractor.DatasetFingerprintExtractor(name, 1)
        extractor.num_foreground_voxels_for_intensitystats = SAMPLES
        extractor.run(overwrite_existing=True)
        planner = default_experiment_planner.ExperimentPlanner(name)
        planner.UNet_base_num_features = FEATURES
        planner.plan_experiment()
    if patch is not None:
        path = root / "preprocessed" / name / "nnUNetPlans.json"
        plans = json.loads(path.read_text())
        for configuration in plans["configurations"].values():
            if len(configuration.get("patch_size", ())) == len(patch):
                configuration["patch_size"] = list(patch)
        path.write_text(json.dumps(plans))
    return name


def train(
    root: Path, name: str, *, configuration: str = "3d_fullres", folds: Sequence[int] = (0,)
) -> Path:
    """Let nnU-Net's trainer save checkpoints of seeded networks; the folder is returned."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans = json.loads((root / "preprocessed" / name / "nnUNetPlans.json").read_text())
    dataset = json.loads((root / "preprocessed" / name / "dataset.json").read_text())
    for fold in folds:
        trainer = nnUNetTrainer(
            {**plans, "continue_training": False}, configuration, fold, dataset, torch.device("cpu")
        )
        torch.manual_seed(100 + fold)
        channels = len(dataset["channel_names"])
        heads = trainer.label_manager.num_segmentation_heads
        trainer.network = trainer.build_network_architecture(
            trainer.plans_manager, trainer.configuration_manager, channels, heads, True
        )
        patch = trainer.configuration_manager.patch_size
        _spread_out(trainer.network, torch.randn((1, channels, *patch)))
        trainer.optimizer, _ = trainer.configure_optimizers()
        *_, trainer.inference_allowed_mirroring_axes = (
            trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        trainer.logger.log("mean_fg_dice", np.float64(0.5), 0)
        trainer._best_ema = np.float32(0.25)
        trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    folder = Path(trainer.output_folder_base)
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "plans.json").write_text(json.dumps(plans))
    return folder


def _spread_out(network: torch.nn.Module, noise: torch.Tensor) -> None:
    """Give untrained heads logits of some size and of mean 0, whose order differs by voxel."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (torch.nn.InstanceNorm2d, torch.nn.InstanceNorm3d)):
                module.weight.uniform_(0.6, 1.4)
                module.bias.normal_(0, 0.3)
        for head in network.decoder.seg_layers:
            head.weight.normal_(0, 1.5)
        logits = network(noise)[0]
        network.decoder.seg_layers[-1].bias -= logits.mean(dim=(0, *range(2, logits.ndim)))


@dataclass(frozen=True)
class Prediction:
    """What nnU-Net's predictor makes of a case.

    Args:
        logits: on the network's grid, `L *S`.
        label_map: on the grid of the file, x, y, z.
        data: what its preprocessing hands to the network, `C *S`.
        file: the label map as its writer saves it.
    """

    logits: np.ndarray
    label_map: np.ndarray
    data: np.ndarray
    file: Path


def predict(
    folder: Path,
    images: Sequence[Path],
    *,
    folds: Sequence[int] = (0,),
    mirror: bool = True,
    half: bool = False,
) -> Prediction:
    """Run nnU-Net's predictor.

    Its buffers are float32, unless `half`: as they are, weights and sums are rounded to half
    precision, and with them the logits, to hundredths of their range where windows end.
    """
    with quiet(), pytest.MonkeyPatch.context() as patcher:
        if not half:
            _in_float32(patcher)
        return _predict(folder, images, folds, mirror)


def _in_float32(patcher: pytest.MonkeyPatch) -> None:
    from nnunetv2.inference import predict_from_raw_data as module

    gaussian = functools.partial(module.compute_gaussian, dtype=torch.float32)
    patcher.setattr(gaussian, "cache_clear", module.compute_gaussian.cache_clear, raising=False)
    patcher.setattr(module, "compute_gaussian", gaussian)
    patcher.setattr(torch, "half", torch.float32)


def _predict(
    folder: Path, images: Sequence[Path], folds: Sequence[int], mirror: bool
) -> Prediction:
    from nnunetv2.inference import predict_from_raw_data as module
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape as export,
    )

    predictor = module.nnUNetPredictor(
        use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), tuple(folds))
    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(
        [str(path) for path in images],
        None,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.dataset_json,
    )
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    segmentation = export(
        logits,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
    )
    ending = predictor.dataset_json["file_ending"]
    file = images[0].with_name(f"{'-'.join(map(str, folds))}-{mirror}{ending}")
    predictor.plans_manager.image_reader_writer_class().write_seg(
        segmentation, str(file), properties
    )
    label_map = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    if ending != ".png":
        label_map = label_map.transpose()
    return Prediction(logits.float().numpy(), label_map, data, file)

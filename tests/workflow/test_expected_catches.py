"""`expected` tells the user's own pipeline from one that differs in a step.

Each pipeline is written here by itself, from NumPy, MONAI and torch: what it predicts is expected.
The config that says the same is proved, and each config that leaves out or changes a step is not.
"""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.transforms import Compose, Invertd, Spacingd
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch import nn

from tests.builders import unet
from tests.experiments import WINDOW, Lab, noise, save_image, unet_lab

pytestmark = pytest.mark.usefixtures("quick")

SHAPE = (20, 18, 15)
FAILED, PROVED = 1, 0


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A U-Net with random weights, and one image of blurred noise with a bright part."""
    made = unet_lab(tmp_path, shape=SHAPE)
    network = unet(3)
    for name, value in network.state_dict().items():
        if name.endswith("conv.bias"):
            value += 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    save_image(tmp_path / "a.nii.gz", image())
    made.keys["data"]["cases"][0]["expected"] = "own.nii.gz"
    for key in ("targets", "methods", "scores"):
        del made.keys[key]
    return made


def image() -> np.ndarray:
    array = 40 * noise(SHAPE) + np.linspace(0, 300, SHAPE[0])[:, None, None]
    return array.astype(np.float32)


def load(lab: Lab) -> nn.Module:
    network = unet(3)
    network.load_state_dict(load_file(lab.folder / "w.safetensors"))
    return network


def logits_of(lab: Lab, x: np.ndarray, network: nn.Module | None = None) -> torch.Tensor:
    """Run the network as MONAI does, without esegeta."""
    network = load(lab) if network is None else network
    with torch.no_grad():
        return sliding_window_inference(
            torch.from_numpy(x).float()[None, None],
            roi_size=WINDOW[: x.ndim],
            sw_batch_size=4,
            predictor=network.eval(),
            overlap=0.5,
            mode="gaussian",
            padding_mode="constant",
        )[0]


def save_own(lab: Lab, labels: np.ndarray) -> None:
    assert 0.02 < (labels > 0).mean() < 0.98  # there is something to disagree on
    save_image(lab.folder / "own.nii.gz", np.asarray(labels, np.uint8))


def dice(lab: Lab, exit_code: int) -> float:
    """Predict, and return the lowest Dice."""
    result = lab.predict()
    assert result.exit_code == exit_code, result.output
    return min(float(row["dice"]) for row in lab.predictions())


@pytest.mark.slow
def test_another_normalisation(lab: Lab) -> None:
    x = image()
    save_own(lab, logits_of(lab, (x - x.mean()) / x.std()).argmax(0).numpy())
    lab.keys["data"]["preprocess"] = {"intensity": "zscore"}
    assert dice(lab, PROVED) > 0.999
    for other in ("minmax", "none", {"window": [-100, 300]}, {"percentile": [1, 99]}):
        lab.keys["data"]["preprocess"] = {"intensity": other}
        assert dice(lab, FAILED) < 0.95, other


@pytest.mark.slow
def test_labels_resampled_for_logits(lab: Lab) -> None:
    pixdim = [1.4, 2.3, 4.1]
    affine = nib.load(lab.folder / "a.nii.gz").affine  # as a file holds it, in float32
    forward = Compose([Spacingd("image", pixdim=pixdim, mode="bilinear", dtype=torch.float64)])
    item = forward({"image": MetaTensor(torch.from_numpy(image())[None], torch.tensor(affine))})
    pred = MetaTensor(logits_of(lab, item["image"][0].numpy()), meta=item["image"].meta)
    pred.applied_operations = item["image"].applied_operations
    back = Invertd("pred", forward, orig_keys="image", nearest_interp=False)
    save_own(lab, back({**item, "pred": pred})["pred"].argmax(0).numpy())
    lab.keys["data"]["preprocess"] = {"spacing_mm": pixdim}
    assert dice(lab, PROVED) > 0.999
    lab.keys["prediction"] = {"resample": "labels"}
    assert dice(lab, FAILED) < 0.98
    lab.keys["prediction"] = "nnunet"
    lab.keys["data"]["preprocess"] = {}
    assert dice(lab, FAILED) < 0.98


@pytest.mark.slow
def test_other_weights(lab: Lab) -> None:
    save_own(lab, logits_of(lab, image()).argmax(0).numpy())
    assert dice(lab, PROVED) > 0.999
    save_file(unet(3, seed=5).state_dict(), lab.folder / "w.safetensors")
    assert dice(lab, FAILED) < 0.98


class Mirrored(nn.Module):
    """The mean of a network's logits over every choice among some axes, mirrored back."""

    def __init__(self, network: nn.Module, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.axes = network, [axis + 2 for axis in axes]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total, count = torch.zeros(()), 0
        for keep in itertools.product([False, True], repeat=len(self.axes)):
            flips = list(itertools.compress(self.axes, keep))
            total = total + self.network(x.flip(flips)).flip(flips)
            count += 1
        return total / count


@pytest.mark.slow
def test_missing_mirroring(lab: Lab) -> None:
    network = Mirrored(load(lab), (0, 1, 2))
    save_own(lab, logits_of(lab, image(), network).argmax(0).numpy())
    lab.keys["inference"]["mirror"] = [0, 1, 2]
    assert dice(lab, PROVED) > 0.999
    for axes in ([], [0], [0, 1], [1, 2]):
        lab.keys["inference"]["mirror"] = axes
        assert dice(lab, FAILED) < 0.9, axes
    del lab.keys["inference"]["mirror"]
    assert dice(lab, FAILED) < 0.9


@pytest.mark.slow
def test_a_missing_fold(lab: Lab) -> None:
    x = image()
    x = (x - x.mean()) / x.std()
    folds = ["w.safetensors", "fold_1.safetensors", "fold_2.safetensors"]
    networks = [load(lab)]
    for seed, name in enumerate(folds[1:], start=5):
        networks.append(unet(3, seed=seed))
        save_file(networks[-1].state_dict(), lab.folder / name)
    own = torch.stack([logits_of(lab, x, network) for network in networks]).mean(0)
    save_own(lab, own.argmax(0).numpy())
    lab.keys["data"]["preprocess"] = {"intensity": "zscore"}
    model = lab.keys["model"]
    model["weights"] = folds
    assert dice(lab, PROVED) > 0.999
    for some in (folds[:2], folds[1:], folds[::2], folds[:1], folds[0]):
        model["weights"] = some
        assert dice(lab, FAILED) < 0.9, some


def in_a_frame() -> np.ndarray:
    """An image with a wide margin of zeros about it, and some zeros within."""
    array = np.zeros(SHAPE, np.float32)
    inner = 50 + 10 * noise((13, 10, 8))
    array[4:17, 5:15, 3:11] = np.where(inner > 55, inner, np.where(inner < 38, 0, inner))
    return array


def own_of_crop(lab: Lab, x: np.ndarray, *, whole: bool) -> np.ndarray:
    """Crop to what is not 0, take the z-score there, predict, and put the labels back."""
    box = tuple(slice(int(index.min()), int(index.max()) + 1) for index in np.nonzero(x))
    part = x if whole else x[box]
    labels = np.zeros(x.shape, np.uint8)
    found = logits_of(lab, (part - part.mean()) / part.std()).argmax(0).numpy()
    labels[... if whole else box] = found
    return labels


@pytest.mark.slow
def test_a_missing_crop_is_caught(lab: Lab) -> None:
    x = in_a_frame()
    save_image(lab.folder / "a.nii.gz", x)
    save_own(lab, own_of_crop(lab, x, whole=False))
    lab.keys["data"]["preprocess"] = {"crop": "foreground", "intensity": "zscore"}
    assert dice(lab, PROVED) > 0.999
    lab.keys["data"]["preprocess"] = {"intensity": "zscore"}
    assert dice(lab, FAILED) < 0.9
    lab.keys["data"]["preprocess"] = {"crop": {"margin": 2}, "intensity": "zscore"}
    assert dice(lab, FAILED) < 0.98


@pytest.mark.slow
def test_an_extra_crop_is_caught(lab: Lab) -> None:
    x = in_a_frame()
    save_image(lab.folder / "a.nii.gz", x)
    save_own(lab, own_of_crop(lab, x, whole=True))
    lab.keys["data"]["preprocess"] = {"intensity": "zscore"}
    assert dice(lab, PROVED) > 0.999
    lab.keys["data"]["preprocess"] = {"crop": "foreground", "intensity": "zscore"}
    assert dice(lab, FAILED) < 0.9


@pytest.mark.slow
def test_a_z_score_over_other_voxels(lab: Lab) -> None:
    """BraTS: mean and standard deviation of the voxels that are not 0, which stay 0."""
    x = in_a_frame()
    save_image(lab.folder / "a.nii.gz", x)
    inside = x != 0
    scaled = np.where(inside, (x - x[inside].mean()) / x[inside].std(), 0)
    save_own(lab, logits_of(lab, scaled).argmax(0).numpy())
    lab.keys["data"]["preprocess"] = {"intensity": {"zscore": {"over": "nonzero"}}}
    assert dice(lab, PROVED) > 0.999
    for over in ("all", "above_mean"):
        lab.keys["data"]["preprocess"] = {"intensity": {"zscore": {"over": over}}}
        assert dice(lab, FAILED) < 0.95, over


@pytest.mark.slow
def test_another_order_of_axes(lab: Lab) -> None:
    x = image()
    turned = logits_of(lab, x.transpose(2, 0, 1)).argmax(0).numpy()
    save_own(lab, turned.transpose(1, 2, 0))
    lab.keys["data"]["preprocess"] = {"transpose": [2, 0, 1]}
    assert dice(lab, PROVED) > 0.999
    for preprocess in ({}, {"transpose": [0, 2, 1]}, {"transpose": [1, 2, 0]}):
        lab.keys["data"]["preprocess"] = preprocess
        assert dice(lab, FAILED) < 0.98, preprocess


def test_a_flipped_axis(lab: Lab) -> None:
    x = image()
    save_own(lab, logits_of(lab, x[::-1].copy()).argmax(0).numpy()[::-1])
    lab.keys["data"]["preprocess"] = {"orientation": "LAS"}
    assert dice(lab, PROVED) > 0.999
    lab.keys["data"]["preprocess"] = {}
    assert dice(lab, FAILED) < 0.98


@pytest.mark.parametrize("steps", [{}, {"keep_largest": True}], ids=["plain", "largest"])
@pytest.mark.slow
def test_another_order_of_regions(steps: dict[str, object], lab: Lab) -> None:
    """nnU-Net's regions: each channel above 1/2 is painted over the one before it."""
    network = unet(3, out_channels=3, seed=4)
    save_file(network.state_dict(), lab.folder / "w.safetensors")
    lab.keys["model"]["args"]["out_channels"] = 3
    lab.keys["activation"] = "sigmoid"
    lab.keys["labels"] = {"whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    lab.keys["region_order"] = [1, 2, 3]
    lab.keys["data"]["preprocess"] = {"intensity": "zscore"}
    x = image()
    logits = logits_of(lab, (x - x.mean()) / x.std(), network=network)
    own = np.zeros(SHAPE, np.uint8)
    for integer, logit in enumerate(logits, start=1):
        mask = logit.numpy() > 0
        if steps:
            numbered, _ = ndimage.label(mask, np.ones((3, 3, 3)))
            mask = numbered == 1 + np.bincount(numbered.ravel())[1:].argmax()
        own[mask] = integer
    assert set(np.unique(own)) == {0, 1, 2, 3}
    save_own(lab, own)
    if steps:
        assert dice(lab, PROVED) < 0.999  # specks are few voxels
        lab.keys["postprocessing"] = steps
    assert dice(lab, PROVED) == 1.0
    lab.keys["region_order"] = ["enhancing", "core", "whole"]
    assert dice(lab, FAILED) < 0.9
    del lab.keys["region_order"]  # the larger ones first, which is nnU-Net's here
    assert dice(lab, PROVED) > 0.999
    lab.keys["labels"] = {"core": [2, 3], "whole": [1, 2, 3], "enhancing": 3}
    assert dice(lab, FAILED) < 0.9


HEADS = '''\
"""A network with two heads, of which the second is the one that was trained last."""

from monai.networks.nets import UNet
from torch import nn


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        keys = {"channels": (4, 8), "strides": (2,), "act": "RELU", "norm": "BATCH"}
        self.first, self.second = (UNet(3, 1, 2, **keys) for _ in range(2))

    def forward(self, x):
        return {"aux": self.first(x), "out": self.second(x)}
'''


@pytest.mark.slow
def test_another_output_of_the_network(lab: Lab) -> None:
    (lab.folder / "heads_of_pipeline.py").write_text(HEADS, encoding="utf-8")
    first, second = unet(3, seed=1), load(lab)
    state = {f"first.{name}": value for name, value in first.state_dict().items()}
    state |= {f"second.{name}": value for name, value in second.state_dict().items()}
    save_file(state, lab.folder / "w.safetensors")
    weights = "w.safetensors"
    model = {
        "kind": "module",
        "class": "heads_of_pipeline:Heads",
        "weights": weights,
        "output": "out",
    }
    lab.keys["model"] = model
    save_own(lab, logits_of(lab, image(), network=second).argmax(0).numpy())
    assert dice(lab, PROVED) > 0.999
    model["output"] = "aux"
    assert dice(lab, FAILED) < 0.9
    del model["output"]  # the first tensor of several
    assert dice(lab, FAILED) < 0.9


@pytest.mark.parametrize("axes", ["yx", "xy"])
@pytest.mark.slow
def test_a_transposed_picture(axes: str, tmp_path: Path) -> None:
    """torchvision, PIL and OpenCV hand over rows x columns; MONAI columns x rows."""
    lab = unet_lab(tmp_path, ndim=2, shape=(8, 8))
    rows = np.add.outer(np.linspace(0, 160, 30), np.linspace(0, 60, 22)) + 12 * noise((30, 22))
    picture = rows.clip(0, 255).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    x = ((picture - picture.mean()) / picture.std()).astype(np.float32)
    seen = x if axes == "yx" else x.T
    network = unet(2, seed=3)
    bias = [value for name, value in network.state_dict().items() if name.endswith("bias")][-1]
    logits = logits_of(lab, np.ascontiguousarray(seen), network)
    bias[1] -= (logits[1] - logits[0]).median()  # half of the picture is predicted
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    own = logits_of(lab, np.ascontiguousarray(seen), network).argmax(0).numpy()
    assert 0.02 < own.mean() < 0.98
    as_picture = own if axes == "yx" else own.T
    Image.fromarray(as_picture.astype(np.uint8)).save(tmp_path / "own.png")
    data = {"cases": [{"name": "a", "image": "a.png", "expected": "own.png"}]}
    lab.keys["data"] = {**data, "preprocess": {"intensity": "zscore"}}
    lab.keys["data"]["picture_axes"] = axes
    assert dice(lab, PROVED) > 0.999
    lab.keys["data"]["picture_axes"] = "xy" if axes == "yx" else "yx"
    assert dice(lab, FAILED) < 0.98

"""The demonstration networks that scripts/train_demo_models.py trains, and what on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).resolve().parent.parent / "data_samples"


@dataclass(frozen=True)
class Sample:
    """A volume to train on.

    `ratios` say how often a patch is centred on a voxel of each label; `one` and the other texts
    are what the model card says of it.
    """

    folder: str
    labels: tuple[str, ...]
    ratios: tuple[int, ...]
    window: tuple[float, float]
    intensity: str
    one: str
    data: str
    no_flips: str

    def files(self) -> dict[str, Path]:
        """Return the paths of the image and of its labels."""
        stem = SAMPLES / self.folder / self.folder
        return {
            "image": stem.with_name(f"{stem.name}.nii.gz"),
            "label": stem.with_name(f"{stem.name}_labels.nii.gz"),
        }


CT = Sample(
    folder="ct_torso",
    labels=("background", "spleen", "kidneys", "liver", "bone"),
    ratios=(2, 1, 1, 1, 1),
    window=(-250, 400),
    intensity="spacing as stored (3 mm), HU from -250 to 400",
    one="patient",
    data="""one CT at 3 mm. Its labels are the output of
  TotalSegmentator, not a manual segmentation, so the network imitates another network.""",
    no_flips="(left and right tell the liver from\n  the spleen)",
)
BRAIN = Sample(
    folder="mni_t1",
    labels=("background", "grey_matter", "white_matter"),
    ratios=(1, 1, 1),
    window=(0, 255),
    intensity="spacing as stored (2 mm), grey values from 0 to 255",
    one="brain",
    data="""the T1 template at 2 mm, an average of 152 people and not
  a patient. Its labels are the more probable of the template's tissues.""",
    no_flips="(the window holds\n  nearly the whole slice)",
)


@dataclass(frozen=True)
class Recipe:
    """What differs between the networks."""

    name: str
    sample: Sample
    args: dict[str, Any]
    patch: tuple[int, int, int]
    window: tuple[int, ...]
    batch: int
    iterations: int


def unet_args(sample: Sample, spatial_dims: int, channels: list[int]) -> dict[str, Any]:
    """Return the arguments of a MONAI U-Net that halves the grid between its levels."""
    return {
        "spatial_dims": spatial_dims,
        "in_channels": 1,
        "out_channels": len(sample.labels),
        "channels": channels,
        "strides": [2] * (len(channels) - 1),
        "num_res_units": 1,
        "act": "RELU",
        "norm": "BATCH",
    }


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "ct_unet3d", CT, unet_args(CT, 3, [8, 16, 32, 64]), (48, 48, 48), (64, 64, 64), 4, 2200
        ),
        Recipe(
            "ct_unet2d", CT, unet_args(CT, 2, [16, 32, 64, 64]), (96, 96, 1), (96, 96), 16, 4000
        ),
        Recipe(
            "t1_unet2d", BRAIN, unet_args(BRAIN, 2, [16, 32, 64]), (96, 96, 1), (96, 96), 8, 2500
        ),
    )
}

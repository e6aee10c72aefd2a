"""Targets: what of a prediction, over which voxels, reduced how."""

from esegeta.targets.frozen import FrozenTarget
from esegeta.targets.kept import KeptPasses
from esegeta.targets.quantities import QUANTITIES, Quantity
from esegeta.targets.reading import UnitReading, UnitScene, require_one_layer
from esegeta.targets.region import (
    REGION_KINDS,
    REGIONS,
    Boundary,
    BoxRegion,
    Component,
    Everywhere,
    FalseNegative,
    FalsePositive,
    Labelled,
    Otsu,
    PointRegion,
    Predicted,
    Region,
    Roi,
)
from esegeta.targets.scene import Scene
from esegeta.targets.source_voxels import voxel_at, voxels_in_box
from esegeta.targets.sums import Sums, Totals
from esegeta.targets.surface import distance_to, distance_tolerance_mm, near_surface
from esegeta.targets.target import Product, Target, WeightedSum
from esegeta.targets.voxels import UnitTarget, VoxelTarget, split_components
from esegeta.targets.whole import DiceTarget, VolumeTarget, dice_of, label_dice

__all__ = [
    "QUANTITIES",
    "REGIONS",
    "REGION_KINDS",
    "Boundary",
    "BoxRegion",
    "Component",
    "DiceTarget",
    "Everywhere",
    "FalseNegative",
    "FalsePositive",
    "FrozenTarget",
    "KeptPasses",
    "Labelled",
    "Otsu",
    "PointRegion",
    "Predicted",
    "Product",
    "Quantity",
    "Region",
    "Roi",
    "Scene",
    "Sums",
    "Target",
    "Totals",
    "UnitReading",
    "UnitScene",
    "UnitTarget",
    "VolumeTarget",
    "VoxelTarget",
    "WeightedSum",
    "dice_of",
    "distance_to",
    "distance_tolerance_mm",
    "label_dice",
    "near_surface",
    "require_one_layer",
    "split_components",
    "voxel_at",
    "voxels_in_box",
]

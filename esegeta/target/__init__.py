"""Targets: what of a prediction, over which voxels, reduced how."""

from esegeta.target.quantity import QUANTITIES, Quantity
from esegeta.target.reading import Reading, UnitScene, require_one_layer
from esegeta.target.region import (
    DISTANCE_TOLERANCE_MM,
    Boundary,
    Box,
    Component,
    Everywhere,
    FalseNegative,
    FalsePositive,
    Labelled,
    Otsu,
    Point,
    Predicted,
    Region,
    Roi,
    distance_to,
    near_surface,
)
from esegeta.target.scene import Scene
from esegeta.target.split import split_components
from esegeta.target.target import FrozenTarget, Product, Target, WeightedSum
from esegeta.target.unit import UnitTarget
from esegeta.target.voxels import VoxelTarget
from esegeta.target.whole import DiceTarget, VolumeTarget, dice_of

__all__ = [
    "DISTANCE_TOLERANCE_MM",
    "QUANTITIES",
    "Boundary",
    "Box",
    "Component",
    "DiceTarget",
    "Everywhere",
    "FalseNegative",
    "FalsePositive",
    "FrozenTarget",
    "Labelled",
    "Otsu",
    "Point",
    "Predicted",
    "Product",
    "Quantity",
    "Reading",
    "Region",
    "Roi",
    "Scene",
    "Target",
    "UnitScene",
    "UnitTarget",
    "VolumeTarget",
    "VoxelTarget",
    "WeightedSum",
    "dice_of",
    "distance_to",
    "near_surface",
    "require_one_layer",
    "split_components",
]

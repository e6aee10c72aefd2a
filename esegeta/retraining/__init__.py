"""Retraining: do networks need what a method points at? ROAR and KAR, numbers in, numbers out."""

from esegeta.retraining.dice import MEAN, fold_dice, sample_dice
from esegeta.retraining.patches import Patches, PatchSampler, Spot
from esegeta.retraining.recipe import (
    Recipe,
    Schedule,
    loss_classes,
    named_labels,
    optimizer_classes,
)
from esegeta.retraining.removal import (
    EMPTY,
    REFERENCE,
    UNTOUCHED,
    Mode,
    RankBy,
    Removal,
    importance_of,
    rank_voxels,
)
from esegeta.retraining.samples import Sample, make_samples, slab_axis, slab_boxes, whole_box
from esegeta.retraining.summary import DicePoint, DiceRow, summarize, t_interval, verdict
from esegeta.retraining.train import train_logits, train_network
from esegeta.retraining.training import Stream, Training, seed_of

__all__ = [
    "EMPTY",
    "MEAN",
    "REFERENCE",
    "UNTOUCHED",
    "DicePoint",
    "DiceRow",
    "Mode",
    "PatchSampler",
    "Patches",
    "RankBy",
    "Recipe",
    "Removal",
    "Sample",
    "Schedule",
    "Spot",
    "Stream",
    "Training",
    "fold_dice",
    "importance_of",
    "loss_classes",
    "make_samples",
    "named_labels",
    "optimizer_classes",
    "rank_voxels",
    "sample_dice",
    "seed_of",
    "slab_axis",
    "slab_boxes",
    "summarize",
    "t_interval",
    "train_logits",
    "train_network",
    "verdict",
    "whole_box",
]

"""Methods for the flipped image: files turn along, all else stays, and nothing is forgotten."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import torch
from torch import Tensor

from esegeta.explain import (
    EXPLAINERS,
    Baseline,
    DeepLiftShap,
    Features,
    IntegratedGradients,
    Lime,
    NoiseTunnel,
)
from esegeta.score.robustness import flipped_method
from tests.contracts.explainers import ROWS
from tests.each import for_each

VALUES = torch.randn(2, 3, 4)
FILE = Baseline(file="given.nii.gz").with_values(VALUES)


@for_each(ROWS)
def test_methods_without_files_are_unchanged_by_flips(method: str) -> None:
    assert flipped_method(ROWS[method], 0) == ROWS[method]


def test_images_of_baselines_are_flipped() -> None:
    flipped = flipped_method(IntegratedGradients(baseline=FILE), 1)
    assert torch.equal(flipped.baseline.values, VALUES.flip(2))
    assert flipped.baseline.file == "given.nii.gz"
    assert torch.equal(FILE.values, VALUES)


def test_images_in_a_list_of_baselines_are_flipped() -> None:
    flipped = flipped_method(DeepLiftShap(baselines=(FILE, "zero")), 0)
    assert torch.equal(flipped.baselines[0].values, VALUES.flip(1))
    assert flipped.baselines[1] == Baseline("zero")


def test_label_maps_are_flipped() -> None:
    labels = torch.arange(12).reshape(3, 4)
    method = Lime(Features(file="atlas.nii.gz").with_labels(labels), baseline=FILE)
    flipped = flipped_method(method, 1)
    assert torch.equal(flipped.features.labels, labels.flip(1))
    assert torch.equal(flipped.baseline.values, VALUES.flip(2))
    assert flipped.features.kind == "atlas"


def test_files_of_nested_methods_are_flipped() -> None:
    flipped = flipped_method(NoiseTunnel(base=IntegratedGradients(baseline=FILE)), 0)
    assert torch.equal(flipped.base.baseline.values, VALUES.flip(1))


@for_each(EXPLAINERS)
def test_no_method_holds_a_tensor_that_flips_would_miss(method: str) -> None:
    """Whoever gives a method a tensor must say here how it is flipped."""
    hints = get_type_hints(EXPLAINERS[method])
    for field in fields(EXPLAINERS[method]):
        assert hints[field.name] is not Tensor
        assert Tensor not in getattr(hints[field.name], "__args__", ())

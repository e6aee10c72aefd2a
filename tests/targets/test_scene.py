"""A scene predicts once, when asked, and keeps to a prediction that was given."""

import pytest
import torch
from torch import nn

from esegeta.errors import TargetError
from esegeta.targets import Everywhere, Scene, VoxelTarget
from tests.builders import pointwise, predictor, volume


class Counting(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.inner(x)


def counting_scene(known: bool) -> tuple[Scene, Counting]:
    network = Counting(pointwise(2))
    image = volume((5, 6))
    logits = torch.randn(1, 2, 5, 6) if known else None
    model = predictor(network, (8, 8))
    return Scene(model, image, known_logits=logits), network


def test_the_prediction_is_made_once_and_only_when_asked_for() -> None:
    at, network = counting_scene(known=False)
    VoxelTarget("one", over=Everywhere()).freeze(at)
    assert network.calls == 0
    first = at.logits
    assert at.logits is first
    assert network.calls == 1
    torch.testing.assert_close(first, network.inner(at.volume.batch))
    assert not first.requires_grad


def test_a_known_prediction_is_not_made_again() -> None:
    at, network = counting_scene(known=True)
    assert at.logits is at.known_logits
    assert network.calls == 0


def test_missing_ground_truth_is_refused_naming_the_purpose() -> None:
    at, _ = counting_scene(known=True)
    with pytest.raises(TargetError, match=r"case: a test needs a ground truth and the case has"):
        at.require_truth("a test")

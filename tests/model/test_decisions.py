"""What is kept of a prediction decides as its logits do, in the fewest bytes."""

from collections.abc import Callable

import pytest
import torch

from esegeta.model import DecidedByLogits, Decisions, Labels, Segmentation
from tests.builders import labels

SHAPE = (6, 5, 4)
MANY = {place: f"label{place}" for place in range(1, 12)}

KINDS: dict[str, tuple[Labels, int]] = {
    "softmax": (labels(3), 3),
    "sigmoid": (labels(3, "sigmoid"), 3),
    "softmax of 300": (Labels({1: "one", 299: "last"}, "softmax", 300), 300),
    "sigmoid of 11": (Labels(MANY, "sigmoid", 11), 11),
    "regions": (Labels.of({"whole": [1, 2], "core": 2}, "sigmoid", 2), 2),
    "softmax regions": (Labels.of({"whole": [1, 2], "core": 2}, "softmax", 3), 3),
    "painted over": (
        Labels.of({"whole": [1, 2], "a": 1, "b": 2}, "softmax", 3),
        3,
    ),
    "thresholds": (Labels.of({1: "one", 2: "two"}, "sigmoid", 2, threshold=0.3), 2),
    "steps": (
        Labels.of(
            {1: "one", 2: "two", 3: "three"},
            "sigmoid",
            3,
            postprocessing={"keep_largest": ["one"], "fill_holes": True},
        ),
        3,
    ),
    "softmax steps": (
        Labels.of({1: "one", 2: "two"}, "softmax", 3, postprocessing={"keep_largest": ["one"]}),
        3,
    ),
}


def both(kind: str) -> tuple[DecidedByLogits, Decisions, list[int]]:
    known, num_outputs = KINDS[kind]
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((1, num_outputs, *SHAPE), generator=generator)
    logits[0, :, 0] = 0.5  # equal ones
    passes: list[int] = []

    def each(take: Callable[..., None]) -> None:
        passes.append(1)
        for planes in (slice(0, 2), slice(2, 5), slice(5, 6)):
            box = (planes, slice(0, 5), slice(0, 4))
            take(logits[(slice(None), slice(None), *box)], box)

    decisions = Decisions(known, SHAPE, logits.device, each)
    each(decisions.take)
    return DecidedByLogits(known, logits), decisions, passes


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_label_maps_are_those_of_the_logits(kind: str) -> None:
    whole, kept, passes = both(kind)
    for name in whole.labels.named:
        assert torch.equal(kept.predicted(name), whole.predicted(name)), name
    assert torch.equal(kept.label_map().long(), whole.label_map())
    one, other = Segmentation(whole, 1.0), Segmentation(kept, 1.0)
    for name in whole.labels.foreground:
        assert torch.equal(other.mask(name), one.mask(name)), name
    assert len(passes) == 1
    assert torch.equal(other.label_map.long(), one.label_map)
    # What is left of labels that overlap is painted by logits, which are made once more.
    assert len(passes) == (2 if kind == "steps" else 1)


def test_decisions_take_a_byte_per_voxel_or_a_bit_per_label() -> None:
    assert both("softmax")[1]._kept.dtype is torch.int8
    assert both("softmax of 300")[1]._kept.dtype is torch.int16
    assert both("sigmoid of 11")[1]._kept.shape == (2, *SHAPE)
    assert both("sigmoid of 11")[1].label_map().dtype is torch.int8

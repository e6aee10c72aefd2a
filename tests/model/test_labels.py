"""Which channel is which label, and how logits become probabilities, masks and label maps."""

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError, TargetError
from esegeta.model import Labels
from tests.builders import SHAPES

CHANNELS = [
    ("softmax", {1: "liver"}, 2, {1: 1}),
    ("softmax", {0: "background", 1: "liver"}, 2, {0: 0, 1: 1}),
    ("softmax", {1: "liver", 3: "spleen"}, 5, {1: 1, 3: 3}),
    ("softmax", {1: "necrosis", 2: "oedema", 4: "enhancing"}, 4, {1: 1, 2: 2, 4: 3}),
    ("softmax", {1: "necrosis", 2: "oedema", 4: "enhancing"}, 5, {1: 1, 2: 2, 4: 4}),
    ("sigmoid", {1: "lesion"}, 1, {1: 0}),
    ("sigmoid", {7: "lesion"}, 1, {7: 0}),
    ("sigmoid", {1: "core", 2: "whole", 4: "enhancing"}, 3, {1: 0, 2: 1, 4: 2}),
    ("sigmoid", {1: "lesion"}, 2, {1: 1}),
    ("sigmoid", {0: "background", 1: "whole"}, 3, {0: 0, 1: 1}),
    ("softmax", {0: "background", 1: "a", 4: "b"}, 3, {0: 0, 1: 1, 4: 2}),
]


def wide_logits(ndim: int, channels: int, batch: int = 2) -> torch.Tensor:
    return 3 * torch.randn(batch, channels, *SHAPES[ndim])


def slow_label_map(logits: np.ndarray, labels: Labels) -> np.ndarray:
    """Voxel by voxel: the label with the largest logit of those that are predicted."""
    result = np.zeros((logits.shape[0], *logits.shape[2:]), dtype=int)
    for place in np.ndindex(result.shape):
        scores = logits[(place[0], slice(None), *place[1:])]
        best = -np.inf
        for integer in labels.names:
            score = scores[labels.channel(integer)]
            softmax = labels.activation == "softmax"
            here = score == scores.max() if softmax else 1 / (1 + np.exp(-score)) > 0.5
            if integer != 0 and here and score > best:
                result[place], best = integer, score
    return result


@pytest.mark.parametrize(("activation", "names", "num_outputs", "channels"), CHANNELS)
def test_channel_rules(activation: str, names: dict, num_outputs: int, channels: dict) -> None:
    labels = Labels(names, activation, num_outputs)
    assert {integer: labels.channel(integer) for integer in names} == channels
    assert {integer: labels.channel(name) for integer, name in names.items()} == channels
    assert [labels.integer(name) for name in names.values()] == list(names)


@pytest.mark.parametrize(
    ("activation", "names", "num_outputs", "message"),
    [
        ("softmax", {}, 2, "none are given"),
        ("softmax", {1: "a", 2: "a"}, 3, "share a name"),
        ("softmax", {1: "a"}, 1, "always 1.*sigmoid"),
        ("softmax", {1: "a", 5: "b"}, 4, "cannot be matched to the 4"),
        ("softmax", {0: "a", 5: "b"}, 4, "cannot be matched"),
        ("sigmoid", {1: "a", 5: "b"}, 4, "cannot be matched"),
        ("sigmoid", {-1: "a", 1: "b"}, 3, '-1 cannot be the label "a"'),
        ("softmax", {-1: "a", 1: "b"}, 3, "-1 cannot be .* number the labels from 1"),
        ("sigmoid", {0: "liver"}, 1, '0 cannot be the label "liver"; 0 is the background'),
    ],
)
def test_labels_that_do_not_fit(
    activation: str, names: dict, num_outputs: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Labels(names, activation, num_outputs)


def test_unknown_label_suggests_the_nearest() -> None:
    labels = Labels({1: "liver", 2: "spleen"}, "softmax", 3)
    with pytest.raises(TargetError, match='"livr" is not among the labels; did you mean "liver"'):
        labels.channel("livr")
    with pytest.raises(TargetError, match="choose from: liver, spleen"):
        labels.channel(9)


def test_probabilities(ndim: int, activation: str) -> None:
    logits = wide_logits(ndim, 3)
    labels = Labels({1: "a", 2: "b"}, activation, 3)
    y = logits.double().numpy()
    expected = np.exp(y) / np.exp(y).sum(1, keepdims=True)
    if activation == "sigmoid":
        expected = 1 / (1 + np.exp(-y))
    np.testing.assert_allclose(labels.probability(logits).numpy(), expected, rtol=1e-5)


def test_predicted_and_label_map(ndim: int, activation: str) -> None:
    labels = Labels({1: "a", 2: "b", 4: "c"}, activation, 4 if activation == "softmax" else 3)
    logits = wide_logits(ndim, labels.num_outputs)
    expected = slow_label_map(logits.numpy(), labels)
    np.testing.assert_array_equal(labels.label_map(logits).numpy(), expected)
    assert set(np.unique(expected)) == {0, 1, 2, 4}
    y = logits.numpy()
    for integer in labels.names:
        scores = y[:, labels.channel(integer)]
        truth = scores >= y.max(axis=1) if activation == "softmax" else scores > 0
        np.testing.assert_array_equal(labels.predicted(logits, integer).numpy(), truth)


def test_overlapping_labels_the_more_probable_one_wins() -> None:
    labels = Labels({1: "whole", 2: "core"}, "sigmoid", 2)
    logits = torch.tensor([[3.0, 1.0, -1.0, 2.0], [2.0, 4.0, -2.0, -1.0]]).reshape(1, 2, 2, 2)
    assert labels.label_map(logits).flatten().tolist() == [1, 2, 0, 1]
    assert labels.predicted(logits, "core").flatten().tolist() == [True, True, False, False]


def test_background_as_a_label_stays_zero() -> None:
    labels = Labels({0: "background", 1: "liver"}, "softmax", 2)
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]]).reshape(1, 2, 1, 2)
    assert labels.label_map(logits).flatten().tolist() == [0, 1]
    assert labels.predicted(logits, "background").flatten().tolist() == [True, False]

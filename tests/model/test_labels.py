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
def test_inconsistent_labels_are_refused(
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


def test_probabilities_equal_softmax_or_sigmoid(ndim: int, activation: str) -> None:
    logits = wide_logits(ndim, 3)
    labels = Labels({1: "a", 2: "b"}, activation, 3)
    y = logits.double().numpy()
    expected = np.exp(y) / np.exp(y).sum(1, keepdims=True)
    if activation == "sigmoid":
        expected = 1 / (1 + np.exp(-y))
    np.testing.assert_allclose(labels.probability(logits).numpy(), expected, rtol=1e-5)


def test_predicted_masks_and_label_map_equal_a_slow_rewrite(ndim: int, activation: str) -> None:
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


BRATS = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}
ALL_EIGHT = torch.tensor(list(np.ndindex(2, 2, 2))).T.reshape(1, 3, 8, 1) * 4.0 - 2.0
"""Logits of three labels, each predicted or not in every combination."""


def test_regions_follow_the_order_written_under_sigmoid() -> None:
    labels = Labels.of({"core": [1, 4], "whole": [1, 2, 4], "enhancing": 4}, "sigmoid", 3)
    assert [labels.channel(name) for name in ("core", "whole", "enhancing")] == [0, 1, 2]
    with_background = Labels.of({"background": 0, **BRATS}, "sigmoid", 3)
    assert [with_background.channel(name) for name in BRATS] == [0, 1, 2]
    with pytest.raises(TargetError, match='"background" has no output channel under sigmoid'):
        with_background.channel("background")
    all_have_one = Labels.of({"background": 0, **BRATS}, "sigmoid", 4)
    assert [all_have_one.channel(name) for name in ("background", *BRATS)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("num_outputs", "channels"), [(4, [(1, 2, 3), (1, 3), (3,)]), (5, [(1, 2, 4), (1, 4), (4,)])]
)
def test_regions_are_unions_of_channels_under_softmax(num_outputs: int, channels: list) -> None:
    labels = Labels.of(BRATS, "softmax", num_outputs)
    assert [labels.channels(name) for name in BRATS] == channels
    with pytest.raises(TargetError, match='"core" is the union of the output channels'):
        labels.channel("core")


def test_labels_by_name_equal_labels_by_integer() -> None:
    for activation, outputs in (("softmax", 4), ("sigmoid", 3)):
        one = Labels.of({"a": 1, "b": 2, "c": 4}, activation, outputs)
        other = Labels({1: "a", 2: "b", 4: "c"}, activation, outputs)
        logits = wide_logits(2, outputs)
        assert torch.equal(one.label_map(logits), other.label_map(logits))
        assert one.names == other.names
        assert one.name(4) == "c"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        # of (), enhancing, core, core+enhancing, whole, whole+enhancing, whole+core, all
        (None, [0, 4, 1, 4, 2, 4, 1, 4]),
        (["whole", "core", "enhancing"], [0, 4, 1, 4, 2, 4, 1, 4]),
        ([2, 1, 4], [0, 4, 1, 4, 2, 4, 1, 4]),
        (["enhancing", "whole", "core"], [0, 4, 1, 1, 2, 2, 1, 1]),
        (["enhancing", "core", "whole"], [0, 4, 1, 1, 2, 2, 2, 2]),
        ([{"whole": 7}, "core", "enhancing"], [0, 4, 1, 4, 7, 4, 1, 4]),
    ],
)
def test_regions_are_painted_in_order(order: list | None, expected: list[int]) -> None:
    labels = Labels.of(BRATS, "sigmoid", 3, region_order=order)
    assert labels.label_map(ALL_EIGHT).flatten().tolist() == expected


def test_the_largest_region_is_painted_first_unless_told_otherwise() -> None:
    labels = Labels.of({"enhancing": 4, "core": [1, 4], "whole": [1, 2, 4]}, "sigmoid", 3)
    assert labels.order == ("whole", "core", "enhancing")
    assert {name: labels.integer(name) for name in BRATS} == {"whole": 2, "core": 1, "enhancing": 4}


def test_labels_by_integer_may_have_a_region_order() -> None:
    for order in (["a", "c", "b"], [1, 4, 2]):
        labels = Labels.of({1: "a", 2: "b", 4: "c"}, "sigmoid", 3, region_order=order)
        assert labels.label_map(ALL_EIGHT).flatten().tolist() == [0, 4, 2, 2, 1, 4, 2, 2]


def test_a_label_of_several_integers_is_painted_with_the_first() -> None:
    labels = Labels.of({"liver": 1, "kidneys": [3, 2]}, "sigmoid", 2)
    assert labels.names == {1: "liver", 3: "kidneys"}
    assert labels.notes() == [
        'labels: of 3, 2, "kidneys" is painted as 3 in the predicted label map; '
        "region_order: [{kidneys: 2}, ...] would paint another"
    ]
    assert Labels.of(BRATS, "sigmoid", 3).notes() == []


def test_a_region_equal_to_the_union_of_its_parts_needs_its_own_integer() -> None:
    parts = {"lesion": [1, 2], "a": 1, "b": 2}
    with pytest.raises(ConfigError, match=r'every integer of "lesion" .* is painted by another'):
        Labels.of(parts, "sigmoid", 3)
    order = [{"lesion": 3}, "a", "b"]
    assert Labels.of(parts, "sigmoid", 3, region_order=order).integer("lesion") == 3
    # Where labels exclude each other, nothing of it would be seen.
    exclusive = Labels.of(parts, "softmax", 3)
    assert exclusive.integer("a") == 1
    with pytest.raises(TargetError, match='"lesion" is painted over everywhere and has no int'):
        exclusive.integer("lesion")
    y = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 0, 3]]).T.reshape(1, 3, 3, 1)
    assert exclusive.label_map(y).flatten().tolist() == [0, 1, 2]
    assert exclusive.predicted(y, "lesion").flatten().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        ({1: "a", "b": 2}, {}, '1 is an integer and "b" a name'),
        ({"a": []}, {}, "neither an integer nor a list"),
        ({"a": True}, {}, "neither an integer nor a list"),
        ({"a": -1}, {}, "must be 0 or more"),
        (BRATS, {"region_order": ["whole", "core"]}, '"enhancing" is missing'),
        (BRATS, {"region_order": [1, 2, 4]}, '2 is not an integer of "core" .1, 4.'),
        (BRATS, {"region_order": [{"whole": 4}, "core", "enhancing"]}, "every integer of"),
        (BRATS, {"region_order": [{"whole": 2, "core": 1}, "enhancing"]}, "is not a label with"),
        (BRATS, {"region_order": [{"core": 2}, "whole", "enhancing"]}, "2 is not an integer of"),
        (
            BRATS,
            {"region_order": [{"core": 1}, {"whole": 1}, "enhancing"]},
            '"core" and "whole" both paint 1',
        ),
        (BRATS, {"region_order": ["whole", 2, "core"]}, "2 is not the name of a label; list"),
        (BRATS, {"region_order": ["whole", "core", "whole"]}, '"whole" is listed twice'),
        (BRATS, {"ignore_label": 4}, '4 belongs to the label "whole"; an ignored integer'),
        (BRATS, {"ignore_label": True}, "is not an integer"),
        (BRATS, {"threshold": {"cor": 0.4}}, 'no label "cor"; did you mean "core"'),
        (BRATS, {"threshold": float("nan")}, r"threshold: must be between 0 and 1 \(found nan\)"),
        (BRATS, {"threshold": True}, r"threshold: must be between 0 and 1 \(found True\)"),
        ({"a": [1, 2], "b": 1}, {}, "name every output channel"),
    ],
)
def test_contradictory_labels_are_refused(given: dict, more: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Labels.of(given, "sigmoid", 3, **more)


def test_ground_truth_of_a_region_is_a_union_without_ignored_voxels() -> None:
    labels = Labels.of(BRATS, "sigmoid", 3, ignore_label=255)
    truth = torch.tensor([[0, 1, 2], [4, 255, 3]])
    found = {name: labels.truth(truth, name).tolist() for name in BRATS}
    assert found == {
        "whole": [[False, True, True], [True, False, False]],
        "core": [[False, True, False], [True, False, False]],
        "enhancing": [[False, False, False], [True, False, False]],
    }
    assert labels.valid(truth).tolist() == [[True, True, True], [True, False, True]]
    assert labels.known_integers == (0, 1, 2, 4, 255)


def test_thresholds_apply_to_probabilities(ndim: int) -> None:
    logits = wide_logits(ndim, 3)
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    labels = Labels.of(BRATS, "sigmoid", 3, threshold={"core": 0.4, "enhancing": 0.9})
    for channel, (name, threshold) in enumerate(
        (("whole", 0.5), ("core", 0.4), ("enhancing", 0.9))
    ):
        found = labels.predicted(logits, name)
        np.testing.assert_array_equal(found.numpy(), p[:, channel] > threshold)
        assert torch.equal(labels.margin_of(logits, name) > 0, found)
    everywhere = Labels.of(BRATS, "sigmoid", 3, threshold=0.1)
    np.testing.assert_array_equal(everywhere.predicted(logits, "core").numpy(), p[:, 1] > 0.1)


def test_the_logit_of_a_union_gives_the_sum_of_probabilities(ndim: int) -> None:
    labels = Labels.of(BRATS, "softmax", 4)
    logits = wide_logits(ndim, 4)
    y = logits.double().numpy()
    p = np.exp(y) / np.exp(y).sum(1, keepdims=True)
    np.testing.assert_allclose(labels.probability_of(logits, "core"), p[:, 1] + p[:, 3], rtol=1e-5)
    np.testing.assert_allclose(
        labels.logit_of(logits, "core"), np.log(np.exp(y[:, 1]) + np.exp(y[:, 3])), atol=1e-5
    )
    # As a network with one channel for the union would say.
    merged = torch.stack([logits[:, 0], logits[:, 2], labels.logit_of(logits, "core")], dim=1)
    np.testing.assert_allclose(
        merged.softmax(1)[:, 2], labels.probability_of(logits, "core"), rtol=1e-5
    )
    best = y.argmax(axis=1)
    predicted = labels.predicted(logits, "core")
    np.testing.assert_array_equal(predicted.numpy(), np.isin(best, [1, 3]))
    assert torch.equal(labels.margin_of(logits, "core") > 0, predicted)
    painted = np.array([0, 1, 2, 4])[best]
    np.testing.assert_array_equal(labels.label_map(logits).numpy(), painted)
    np.testing.assert_array_equal(labels.channel_map(torch.from_numpy(painted)).numpy(), best)

"""Cases and slabs as images of training and testing."""

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError
from esegeta.explain import Baseline
from esegeta.predict import WindowPlan
from esegeta.retraining.samples import make_samples, slab_axis, slab_boxes, whole_box
from tests.builders import labels_of, volume


@pytest.mark.parametrize("count", [2, 3, 5, 11])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slabs_partition_a_volume(count: int, axis: int) -> None:
    shape = (13, 11, 12)
    covered = np.zeros(shape, int)
    thicknesses = []
    for box in slab_boxes(shape, axis, count):
        covered[box] += 1
        thicknesses.append(box[axis].stop - box[axis].start)
    assert (covered == 1).all()
    assert len(thicknesses) == count
    assert max(thicknesses) - min(thicknesses) <= 1
    assert min(thicknesses) >= 1


def test_more_slabs_than_slices_are_refused() -> None:
    with pytest.raises(ConfigError, match="4 slabs of a single case with 3 voxels along axis 2"):
        slab_boxes((9, 9, 3), 2, 4)


@pytest.mark.parametrize(
    ("shape", "size", "slice_axis", "axis"),
    [
        ((20, 9, 7), (8, 8), 2, 2),
        ((20, 9, 7), (8, 8), 1, 1),
        ((9, 20, 7), (8, 8, 8), 2, 1),
        ((9, 20), (8, 8), 2, 1),
    ],
)
def test_slabs_lie_along_the_slices_or_the_longest_axis(
    shape: tuple[int, ...], size: tuple[int, ...], slice_axis: int, axis: int
) -> None:
    assert slab_axis(shape, WindowPlan(size, slice_axis=slice_axis)) == axis


@pytest.mark.parametrize("kind", ["zero", "mean", "minimum", "blur"])
def test_the_fill_is_computed_over_the_whole_case(kind: str) -> None:
    image = volume((9, 11, 6), 2)
    truth = torch.zeros(9, 11, 6, dtype=torch.long)
    truth[1, 2, 5], truth[4, 4, 4], truth[0, 0, 0] = 3, 3, 1
    boxes = slab_boxes((9, 11, 6), 2, 2)
    samples = make_samples([image], [truth], Baseline(kind), labels_of(1, 2, 3), [boxes])
    whole = Baseline(kind).of(image)
    for sample, box in zip(samples, boxes, strict=True):
        assert torch.equal(sample.fill, whole[(slice(None), *box)])
        assert torch.equal(sample.data, image.data[(slice(None), *box)])
        assert torch.equal(sample.truth, truth[box])
    assert [sample.place for sample in samples] == [0, 1]
    assert {label: len(pool) for label, pool in samples[0].pools.items()} == {"label1": 1}
    assert {label: pool.tolist() for label, pool in samples[1].pools.items()} == {
        "label3": [(1 * 11 + 2) * 3 + 2, (4 * 11 + 4) * 3 + 1]
    }


def test_several_cases_are_not_cut_into_slabs() -> None:
    images = [volume((9, 7), seed=0), volume((5, 8), seed=1)]
    truths = [torch.zeros(image.grid.shape, dtype=torch.long) for image in images]
    boxes = [[whole_box(image.grid.shape)] for image in images]
    samples = make_samples(images, truths, Baseline("mean"), labels_of(1), boxes)
    assert [(sample.place, sample.case, sample.shape) for sample in samples] == [
        (0, 0, (9, 7)),
        (1, 1, (5, 8)),
    ]
    for sample, image in zip(samples, images, strict=True):
        assert torch.equal(sample.data, image.data)
        expected = image.data.numpy().mean(dtype=np.float64)
        assert np.allclose(sample.fill.numpy(), expected, atol=1e-6)

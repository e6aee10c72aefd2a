"""Where patches lie: inside, on labels and elsewhere alike, and never because of the image."""

import math

import numpy as np
import pytest
import torch

from esegeta.predict import WindowPlan
from esegeta.retraining.samples import Patches, PatchSampler, Sample, whole_box
from tests.builders import labels_of


def sample(shape: tuple[int, ...], place: int = 0, labels: tuple[int, ...] = (1, 2)) -> Sample:
    """Return a sample whose voxels tell their place; a voxel has label 1, a box has label 2."""
    data = torch.arange(math.prod(shape), dtype=torch.float32).reshape(1, *shape) + 1000 * place
    truth = torch.zeros(shape, dtype=torch.long)
    truth[(0,) * len(shape)] = 1
    truth[tuple(slice(length // 2, None) for length in shape)] = 2
    return Sample(place, place, whole_box(shape), data, data * 0, truth, labels_of(*labels))


@pytest.mark.parametrize("shape", [(13, 11), (9, 11, 7), (20, 5, 8)])
def test_patches_crop_image_and_truth_alike(shape: tuple[int, ...]) -> None:
    size = (6, 4, 5)[: len(shape)]
    samples = [sample(shape, 0), sample(shape, 1)]
    images = [one.data * 2 for one in samples]
    patches = Patches(samples, images, WindowPlan(size), seed=5)
    drawn, truths, inside = patches.draw(40)
    assert inside is None
    assert drawn.shape == (40, 1, *size)
    assert truths.shape == (40, *size)
    for image, truth in zip(drawn[:, 0], truths, strict=True):
        first = int(image.flatten()[0]) // 2
        place, flat = divmod(first, 1000)
        corner = np.unravel_index(flat, shape)
        box = tuple(slice(int(c), int(c) + s) for c, s in zip(corner, size, strict=True))
        assert torch.equal(image, images[place][0][box])
        assert torch.equal(truth, samples[place].truth[box])


def test_removal_does_not_move_patches() -> None:
    samples = [sample((13, 11), 0), sample((9, 14), 1)]
    plan = WindowPlan((6, 4))
    one = Patches(samples, [item.data for item in samples], plan, seed=7)
    other = Patches(samples, [item.fill for item in samples], plan, seed=7)
    moved = Patches(samples, [item.data for item in samples], plan, seed=8)
    truths = [patches.draw(30)[1] for patches in (one, other, moved)]
    assert torch.equal(truths[0], truths[1])
    assert not torch.equal(truths[0], truths[2])


def test_samples_and_labels_are_drawn_equally_often() -> None:
    samples = [sample((40, 40), 0), sample((20, 60), 1, labels=(1, 2, 3))]
    sampler = PatchSampler(samples, WindowPlan((1, 1)), seed=0)
    num = 6000
    counts = np.zeros((2, 3))
    for _ in range(num):
        spot = sampler.draw()
        label = int(samples[spot.sample].truth[spot.box])
        counts[spot.sample, label] += 1
    # Chances: a half a sample; then a third each for label 1, label 2 and any voxel. Label 3 has
    # no voxel, and no share.
    for place, one in enumerate(samples):
        share = np.bincount(one.truth.flatten().numpy(), minlength=3) / one.truth.numel()
        chance = (share + np.array([0, 1, 1])) / 3 / 2
        error = np.sqrt(num * chance * (1 - chance))
        assert (np.abs(counts[place] - num * chance) < 5 * error).all()


def test_patches_are_centred_and_stay_inside() -> None:
    shape, size = (30, 20), (7, 6)
    truth = torch.zeros(shape, dtype=torch.long)
    truth[15, 9] = 1
    data = torch.zeros(1, *shape)
    one = Sample(0, 0, whole_box(shape), data, data, truth, labels_of(1))
    sampler = PatchSampler([one], WindowPlan(size), seed=0)
    boxes = [sampler.draw().box for _ in range(200)]
    for box in boxes:
        for side, length, wide in zip(box, shape, size, strict=True):
            assert side.stop - side.start == wide
            assert 0 <= side.start <= side.stop <= length
    # Half of them are centred on the one voxel of the label.
    assert 70 < sum(box == (slice(12, 19), slice(6, 12)) for box in boxes) < 130


def test_images_smaller_than_a_patch_are_padded_as_those_of_windows_are() -> None:
    one = sample((5, 9))
    plan = WindowPlan((8, 4))
    images, truths, _ = Patches([one], [one.data + 1], plan, seed=0).draw(20)
    assert images.shape == (20, 1, 8, 4)
    # Three rows of padding: one above, two below.
    assert (images[:, :, 0] == 0).all()
    assert (images[:, :, 6:] == 0).all()
    assert (images[:, :, 1:6] > 0).all()
    assert (truths[:, 0] == 0).all()
    assert (truths[:, 6:] == 0).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_2d_network_gets_slices(axis: int) -> None:
    one = sample((9, 8, 7))
    images, truths, _ = Patches(
        [one], [one.data], WindowPlan((4, 5), slice_axis=axis), seed=0
    ).draw(9)
    assert images.shape == (9, 1, 4, 5)
    assert truths.shape == (9, 4, 5)
    strides = [stride for place, stride in enumerate((56, 7, 1)) if place != axis]
    steps = images[:, 0].diff(dim=1), images[:, 0].diff(dim=2)
    assert [step.unique().tolist() for step in steps] == [[strides[0]], [strides[1]]]

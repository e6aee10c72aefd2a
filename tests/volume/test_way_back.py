"""Maps back on the grid of the file: boxes in their place, 0 where something was cut off."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from esegeta.volume import (
    Crop,
    CropOrPad,
    Preprocess,
    Volume,
    describe_way_back,
    load_volume,
    map_on_source,
    on_source,
    seen_on_source,
    volume_from_tensor,
    write_label_map,
    write_map,
)
from tests.volume.files import array_of, noise, save_nifti
from tests.volume.references import nonzero_box
from tests.volume.test_space import SHAPE, head, volume

BOX = (slice(None), *nonzero_box(head()))


def outside() -> np.ndarray:
    mask = np.ones(SHAPE, dtype=bool)
    mask[BOX[1:]] = False
    return mask


EXACT = {
    "crop": Preprocess(crop=Crop()),
    "crop, then pad": Preprocess(crop=Crop(), crop_or_pad=CropOrPad((12, 12, 12))),
    "crop, turn, pad": Preprocess(
        "LSA", crop=Crop(), crop_or_pad=CropOrPad((7, 12, 12), 9.0), transpose=(2, 0, 1)
    ),
}


@pytest.mark.parametrize("kind", ["oblique", "sheared", "flipped"])
@pytest.mark.parametrize("name", EXACT)
def test_without_resampling_every_value_comes_back_exactly(name: str, kind: str) -> None:
    before = volume(head(), kind)
    after = EXACT[name](before)
    # Also what lies beyond the crop but within the padding has no voxel to come back to.
    map_ = torch.from_numpy(noise(after.grid.shape)) + 10
    back = map_on_source(map_, after)
    assert (back[outside()] == 0).all()
    assert (back[~outside()] != 0).all()
    for channel in range(2):
        found = map_on_source(after.data[channel], after)
        np.testing.assert_array_equal(found, before.data[channel].numpy() * ~outside())
    # Every voxel holds the value of the voxel at its place.
    for index in np.argwhere(~outside())[::7].tolist():
        place = after.grid.to_index(before.grid.to_mm(index))
        assert back[tuple(index)] == map_[tuple(round(value) for value in place)]


def test_voxels_cut_off_by_a_size_are_0(ndim: int) -> None:
    before = volume(noise((1, *SHAPE[:ndim])))
    after = Preprocess(crop_or_pad=CropOrPad((4, 15, 8)[:ndim]))(before)
    back = map_on_source(torch.ones(after.grid.shape), after)
    expected = np.zeros(SHAPE[:ndim])
    expected[3:7] = 1
    np.testing.assert_array_equal(back, expected)


@pytest.mark.parametrize("when", ["before_resampling", "after_resampling"])
@pytest.mark.parametrize("keys", [{}, {"order": 3}, {"order": 3, "separate_axis": "auto"}])
def test_a_resampled_map_ends_at_the_faces_of_the_crop(when: str, keys: dict) -> None:
    before = volume(head(), "anisotropic")
    above = 0.3 if when == "after_resampling" else None  # splines ring, and leave nothing at 0
    chain = Preprocess("RAS", (0.5, 1.1, 2.3), crop=Crop(above, when=when), **keys)
    after = chain(before)
    back = map_on_source(torch.full(after.grid.shape, 4.5), after)
    assert set(np.unique(back)) == {0.0, 4.5}  # heights are kept, up to the border
    if when == "before_resampling":
        np.testing.assert_array_equal(back != 0, ~outside())
    else:
        # By the places of the centres alone, voxel by voxel.
        lengths = np.asarray(after.grid.shape)
        for index in np.ndindex(*SHAPE):
            place = np.asarray(after.grid.to_index(before.grid.to_mm(index)))
            assert (back[index] != 0) == bool(((place >= -0.5) & (place < lengths - 0.5)).all())


@pytest.mark.parametrize("plane", ["sagittal", "coronal"])
@pytest.mark.parametrize("axes", [*permutations(range(2))])
def test_a_2d_slice_in_any_plane_comes_back(plane: str, axes: tuple[int, ...]) -> None:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for column, row in enumerate({"sagittal": (1, 2, 0), "coronal": (0, 2, 1)}[plane]):
        affine[row, column] = (0.7, 1.9, 3.1)[column]
    data = torch.from_numpy(head(2))
    before = volume_from_tensor(data, affine=affine)
    chain = Preprocess(transpose=axes, crop=Crop(margin=1), crop_or_pad=CropOrPad((12, 5)))
    after = chain(before)
    seen = seen_on_source(after)
    assert seen is not None
    np.testing.assert_array_equal(map_on_source(after.data[0], after), data[0] * seen)


def test_the_way_back_survives_every_operation_on_a_volume() -> None:
    before = volume(head())
    after = EXACT["crop, turn, pad"](before)
    ones = torch.ones_like(after.data)
    expected = map_on_source(ones[0], after)
    assert expected.sum() == (~outside()).sum()
    others: list[Volume] = [after.with_data(ones), after.to("cpu"), after.flipped(0)]
    others.append(after.flipped(2).with_data(ones).flipped(1).to("cpu"))
    for other in others:
        np.testing.assert_array_equal(map_on_source(torch.ones(other.grid.shape), other), expected)
        np.testing.assert_array_equal(seen_on_source(other), expected.astype(bool))
    flipped = after.flipped(0).flipped(2)
    found = map_on_source(flipped.data[1], flipped)
    np.testing.assert_array_equal(found, map_on_source(after.data[1], after))


def test_files_hold_0_outside_the_crop(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", head()[1])
    after = load_volume(path, crop="foreground", transpose=(2, 0, 1), crop_or_pad=(9, 9, 9))
    write_map(tmp_path / "map.nii.gz", torch.full(after.grid.shape, 2.0), after)
    write_label_map(tmp_path / "seg.nii.gz", torch.full(after.grid.shape, 3), after)
    inside = head()[1] != 0
    np.testing.assert_array_equal(array_of(tmp_path / "map.nii.gz"), 2.0 * inside)
    np.testing.assert_array_equal(array_of(tmp_path / "seg.nii.gz"), 3 * inside)


def test_label_integers_come_back_exactly() -> None:
    after = Preprocess("LPS", (0.5, 1.1, 2.3), crop=Crop())(volume(head()))
    labels = torch.randint(2**60, 2**60 + 9, (1, *after.grid.shape))
    back = on_source(labels, after, resampling="nearest")
    assert back.dtype == torch.int64
    assert set(back.unique().tolist()) <= {0, *labels.unique().tolist()}


def test_the_way_back_is_described_in_words() -> None:
    before = volume(head(), "anisotropic")
    words = {
        "turn": (Preprocess("LPS"), "none: axes are permuted and flipped at most"),
        "pad": (
            Preprocess(crop_or_pad=CropOrPad((12, 12, 12))),
            "none: axes are permuted and flipped at most, and the box that the network saw is "
            "put back in its place",
        ),
        "spacing": (
            Preprocess(None, (2.0, 2.0, 2.0)),
            "linear from the network's grid: heights are kept, sums over voxels are not",
        ),
        "both": (
            Preprocess(None, (2.0, 2.0, 2.0), crop=Crop()),
            "linear from the network's grid: heights are kept, sums over voxels are not; "
            "0 where preprocessing cut the image off",
        ),
    }
    for chain, text in words.values():
        assert describe_way_back(chain(before)) == text

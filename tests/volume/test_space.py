"""Changes of grid: boxes as MONAI and nnU-Net cut them, orders of axes, routes of volumes."""

import inspect
from itertools import permutations, product

import numpy as np
import pytest
import torch
from monai.transforms import CropForeground, ResizeWithPadOrCrop

from esegeta.errors import ConfigError, StepError
from esegeta.volume import (
    Crop,
    CropOrPad,
    Grid,
    Intensity,
    Preprocess,
    Route,
    Volume,
    crop_of,
    crop_or_pad_of,
    volume_from_tensor,
)
from esegeta.volume.space import Cut, Flip, Orient, Respace, Transpose
from tests.builders import SHAPES, affine_of
from tests.volume.files import noise
from tests.volume.references import nonzero_box

SHAPE = (10, 9, 8)


def volume(data: np.ndarray | torch.Tensor, kind: str = "oblique") -> Volume:
    tensor = torch.as_tensor(data)
    return volume_from_tensor(tensor, affine=affine_of(kind, tensor.ndim - 1), name="p1")


def head(ndim: int = 3, seed: int = 0) -> np.ndarray:
    """Two channels of noise in two boxes that overlap, 0 around them."""
    shape = SHAPE[:ndim]
    data = np.zeros((2, *shape), dtype=np.float32)
    inner = tuple(slice(2, n - 3) for n in shape)
    other = tuple(slice(3, n - 2) for n in shape)
    data[0][inner] = noise(shape, seed)[inner]
    data[1][other] = np.abs(noise(shape, seed + 1)[other]) + 1
    return data


@pytest.mark.parametrize("axes", [*permutations(range(3)), *permutations(range(2))])
def test_transpose_is_numpys_and_voxels_keep_their_place(axes: tuple[int, ...]) -> None:
    before = volume(noise((2, *SHAPES[len(axes)])), "sheared" if len(axes) == 3 else "oblique")
    after = Preprocess(transpose=axes)(before)
    expected = np.transpose(before.data.numpy(), (0, *(axis + 1 for axis in axes)))
    np.testing.assert_array_equal(after.data.numpy(), expected)
    for index in product((0, 2), repeat=len(axes)):
        there = [0] * len(axes)
        for place, axis in enumerate(axes):
            there[axis] = index[place]
        np.testing.assert_allclose(after.grid.to_mm(index), before.grid.to_mm(there), atol=1e-9)


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_crop_or_pad_is_monais_for_every_pair_of_lengths(value: float) -> None:
    for old, new in product(range(1, 9), repeat=2):
        before = volume(noise((2, old, 5)))
        mover = ResizeWithPadOrCrop((new, 4), mode="constant", value=value)
        expected = torch.as_tensor(mover(before.data)).as_subclass(torch.Tensor)
        after = Preprocess(crop_or_pad=CropOrPad((new, 4), value))(before)
        assert torch.equal(after.data, expected), (old, new)


def test_crop_or_pad_in_3d_moves_the_grid_with_the_box() -> None:
    before = volume(noise((1, *SHAPE)), "sheared")
    after = Preprocess(crop_or_pad=CropOrPad((6, 13, 8)))(before)
    mover = ResizeWithPadOrCrop((6, 13, 8))
    assert torch.equal(after.data, torch.as_tensor(mover(before.data)).as_subclass(torch.Tensor))
    np.testing.assert_allclose(after.grid.to_mm((0, 2, 0)), before.grid.to_mm((2, 0, 0)), atol=1e-9)


def test_intensity_steps_apply_to_earlier_padding() -> None:
    before = volume(np.abs(noise((1, 4, 4))) + 5)
    for when, expected in (("before_intensity", 0.0), ("after_intensity", -1.0)):
        size = CropOrPad((6, 6), -1.0, when)
        after = Preprocess(intensity=Intensity("minmax"), crop_or_pad=size)(before)
        assert float(after.data[0, 0, 0]) == expected
        # The smallest value within is 0 only where the padding was not counted.
        assert (float(after.data[0, 1:5, 1:5].min()) == 0.0) == (when == "after_intensity")


def test_the_foreground_crop_keeps_the_nonzero_box(ndim: int) -> None:
    data = head(ndim)
    after = Preprocess(crop=Crop())(volume(data))
    np.testing.assert_array_equal(after.data.numpy(), data[(slice(None), *nonzero_box(data))])


@pytest.mark.parametrize("margin", [0, 1, 2])
def test_the_crop_above_a_value_equals_monai(margin: int, ndim: int) -> None:
    data = head(ndim)
    mover = CropForeground(lambda x: x > 0.4, margin=margin, allow_smaller=True)
    expected = torch.as_tensor(mover(torch.from_numpy(data))).as_subclass(torch.Tensor)
    after = Preprocess(crop=Crop(0.4, margin))(volume(data))
    assert torch.equal(after.data, expected)


def test_a_margin_ends_where_the_image_does() -> None:
    data = head()
    after = Preprocess(crop=Crop(margin=50))(volume(data))
    np.testing.assert_array_equal(after.data.numpy(), data)


def test_a_crop_before_resampling_is_computed_on_the_file() -> None:
    data = head()
    before = volume(data, "anisotropic")
    early = Preprocess(None, (1.4, 1.9, 3.1), crop=Crop(when="before_resampling"))(before)
    box = nonzero_box(data)
    alone = volume(data[(slice(None), *box)], "anisotropic")
    expected = Preprocess(None, (1.4, 1.9, 3.1))(alone)
    assert torch.equal(early.data, expected.data)
    late = Preprocess(None, (1.4, 1.9, 3.1), crop=Crop(when="after_resampling"))(before)
    moved = Preprocess(None, (1.4, 1.9, 3.1))(before).data.numpy()
    np.testing.assert_array_equal(late.data.numpy(), moved[(slice(None), *nonzero_box(moved))])


@pytest.mark.parametrize(
    ("crop", "words"),
    [
        (Crop(above=50), "p1: crop leaves nothing: no voxel is above 50; its values are -"),
        (Crop(), "p1: crop leaves nothing: every voxel is 0; leave out preprocess.crop"),
        (Crop(margin=2), "p1: crop leaves nothing: every voxel is 0; leave out preprocess.crop"),
    ],
)
def test_a_crop_that_leaves_nothing_is_refused(crop: Crop, words: str) -> None:
    data = noise((1, *SHAPE)) if crop.above is not None else np.zeros((1, *SHAPE), np.float32)
    with pytest.raises(StepError, match=words) as caught:
        Preprocess(crop=crop)(volume(data))
    assert caught.value.step == ("crop",)
    with pytest.raises(StepError, match=words):
        Preprocess(crop=crop).network_route(volume(data))


CHAINS = {
    "crop": Preprocess(crop=Crop()),
    "late crop": Preprocess("RAS", (1.4, 1.3, 3.9), crop=Crop(when="after_resampling")),
    "pad": Preprocess(crop_or_pad=CropOrPad((14, 5, 9), -3.0)),
    "transpose": Preprocess(transpose=(2, 0, 1)),
    "spline": Preprocess("LPS", (1.1, 1.3, 2.2), order=3, crop=Crop(margin=1)),
    "coarse": Preprocess(None, (0.7, 1.3, 6.0), order=3, separate_axis="auto"),
    "all": Preprocess(
        "RAS",
        (2.2, 0.9, 1.1),
        order=3,
        separate_axis="auto",
        crop=Crop(margin=1),
        crop_or_pad=CropOrPad((9, 16, 7)),
        transpose=(2, 0, 1),
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_label_map_is_moved_like_its_image(name: str) -> None:
    chain = CHAINS[name]
    before = volume(head())
    after = chain(before)
    labels = torch.arange(720).reshape(1, *SHAPE) + 10**15
    moved, grid = after.route.move(labels, before.grid, resampling="nearest")
    assert grid.same_as(after.grid)
    assert moved.dtype == torch.int64
    assert chain.network_route(before).onto(before.grid).same_as(after.grid)
    # Each voxel holds the label of the voxel that its centre lies in, and 0 beyond the image.
    wrong = 0
    for index in np.ndindex(*grid.shape):
        place = np.asarray(before.grid.to_index(grid.to_mm(index)))
        voxel = np.rint(place).astype(int)
        inside = all(0 <= v < n for v, n in zip(voxel, SHAPE, strict=True))
        near_face = bool((np.abs(np.abs(place - np.floor(place)) - 0.5) < 1e-6).any())
        found = int(moved[0][index])
        if found and inside and not near_face:
            wrong += found != int(labels[0][tuple(voxel)])
        if not found:
            wrong += name in ("crop", "transpose", "coarse", "late crop", "spline")
    assert wrong == 0


def test_a_flipped_volume_has_a_flipped_route() -> None:
    before = volume(head())
    after = CHAINS["all"](before)
    labels = torch.arange(720).reshape(1, *SHAPE)
    moved, _ = after.route.move(labels, before.grid, resampling="nearest")
    for axis in range(3):
        flipped = after.flipped(axis)
        found, grid = flipped.route.move(labels, before.grid, resampling="nearest")
        assert grid.same_as(flipped.grid)
        assert torch.equal(found, moved.flip(axis + 1))


def test_another_image_is_cropped_with_the_boxes_of_the_first() -> None:
    chain = Preprocess("RAS", (1.1, 1.3, 2.2), crop=Crop(), crop_or_pad=CropOrPad((3, 9, 50)))
    first = chain(volume(head()))
    other = volume(noise((2, *SHAPE), 5))  # whose own foreground is everything
    second = chain(other, like=first)
    assert second.grid.same_as(first.grid)
    assert second.route == first.route
    assert chain(other).route != first.route
    flipped = chain(other, like=first.flipped(1))
    assert torch.equal(flipped.data, second.data.flip(2))


def test_a_second_chain_goes_on_from_the_first() -> None:
    before = volume(head())
    after = Preprocess(transpose=(2, 0, 1))(Preprocess("LPS", crop=Crop())(before))
    assert after.route.onto(before.grid).same_as(after.grid)
    assert len(after.route.moves) == 3


def test_a_chain_with_a_crop_has_no_route_without_an_image() -> None:
    with pytest.raises(ConfigError, match="depends on the image"):
        CHAINS["crop"].route(volume(head()).grid)


as_installed = inspect.unwrap(crop_of)  # without the type checks of tests
REFUSED = {
    "size": (lambda: CropOrPad((4, 0)), r"crop_or_pad: \[4, 0\] must be lengths of 1 or more"),
    "no size": (lambda: CropOrPad(()), "must be lengths of 1 or more"),
    "pad when": (lambda: CropOrPad((4,), when="after"), 'crop_or_pad: when: "after" is not known'),
    "margin": (lambda: Crop(margin=-1), "crop: margin: -1 must be 0 or more"),
    "when": (lambda: Crop(when="after_resamplin"), 'did you mean "after_resampling"'),
    "axes": (lambda: Transpose((0, 2)), r"transpose: \[0, 2\] is not an order of two or three"),
    "twice": (lambda: Preprocess(transpose=(0, 0, 1)), "name each axis once"),
    "order": (lambda: Respace((1, 1, 1), 2), "order: 2 is not known; choose 0, 1 or 3"),
    "separate": (lambda: Respace((1, 1), 1, "atuo"), 'separate_axis: "atuo".*did you mean "auto"'),
    "no spacing": (lambda: Preprocess(order=3), "there is no spacing_mm to resample to"),
    "word": (lambda: crop_of("foregound"), 'crop: "foregound".*did you mean "foreground"'),
    "key": (lambda: crop_of({"abov": 1}), 'crop: unknown key "abov"; did you mean "above"'),
    "pad key": (lambda: crop_or_pad_of({"siz": (1, 2)}), 'unknown key "siz"; did you mean "size"'),
    "no block": (lambda: as_installed(3), "crop: 3 is not a block of above, margin, when"),
    "lengths": (lambda: crop_or_pad_of(range(4, 6)), r"range\(4, 6\) is not a list of lengths"),
    "sizeless": (lambda: crop_or_pad_of({"value": 1}), "crop_or_pad: size is missing"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_invalid_steps_are_refused(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(ConfigError, match=message):
        make()


LENGTHS = {
    "transpose": Preprocess(transpose=(1, 0)),
    "crop_or_pad": Preprocess(crop_or_pad=CropOrPad((4, 4))),
    "spacing_mm": Preprocess(spacing_mm=(1.0, 1.0), order=3),
}


@pytest.mark.parametrize("key", LENGTHS)
def test_lists_with_another_number_of_axes_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"preprocess\.{key} has 2 values for a 3D image"):
        LENGTHS[key](volume(head()))


def test_written_as_in_a_config() -> None:
    assert crop_of("foreground") == Crop()
    assert crop_of({"above": -500, "margin": 3}) == Crop(-500, 3)
    assert crop_of(None) is None
    assert crop_or_pad_of([4, 5]) == CropOrPad((4, 5))
    assert crop_or_pad_of({"size": [4, 5], "value": -1}) == CropOrPad((4, 5), -1)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_an_axis_may_keep_the_spacing_of_the_file(order: int) -> None:
    before = volume(noise((1, *SHAPE)), "anisotropic")
    kept = Preprocess(None, (1.4, None, 2.2), order=order)(before)
    said = Preprocess(None, (1.4, 1.9, 2.2), order=order)(before)
    assert torch.equal(kept.data, said.data)
    assert kept.grid.spacing_mm[1] == pytest.approx(1.9, abs=1e-12)


def test_moves_give_the_box_that_they_keep() -> None:
    grid = volume(head()).grid
    assert Cut((-1, -2, 0), (14, 13, 8)).kept(grid) is None  # it adds and takes nothing
    box = Cut((2, -2, 0), (5, 13, 8)).kept(grid)
    assert box is not None
    assert box.shape == (5, 9, 8)
    route = Route((Flip(0), Orient("RAS"), Cut((1, 1, 1), (4, 4, 4)), Transpose((2, 1, 0))))
    (kept,) = route.kept(grid)
    assert kept.shape == (4, 4, 4)


def test_a_route_tells_which_voxels_are_padding() -> None:
    grid = volume(head()).grid
    pad = Cut((-2, 1, 0), (8, 5, 8))
    assert Route((Orient("LPS"), Cut((1, 1, 1), (3, 3, 3)))).inside(grid) is None
    expected = torch.zeros(8, 5, 8, dtype=torch.bool)
    expected[2:] = True
    found = Route((pad,)).inside(grid)
    assert found is not None
    assert torch.equal(found, expected)
    # What a crop took away and padding put back holds the padding's value.
    again = Route((Cut((2, 0, 0), (5, 9, 8)), Cut((-1, 0, 0), (7, 9, 8)), Flip(0))).inside(grid)
    assert again is not None
    assert again.all(dim=2).all(dim=1).tolist() == [False, True, True, True, True, True, False]
    assert Route((pad, Cut((2, 0, 0), (6, 5, 8)))).inside(grid) is None


ROUTES = {
    "nearest": Route((Flip(1), Respace((1.4, 0.9, 2.2), 0))),
    "linear": Route((Orient("PSR"), Respace((1.4, 1.7, 2.2)), Cut((1, -1, 0), (2, 4, 3), 9.0))),
    "cubic": Route((Transpose((2, 0, 1)), Respace((1.9, 0.8, 1.1), 3), Flip(2))),
    "coarse axis": Route((Respace((1.0, 1.1, 6.0), 1, "auto"),)),
}


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_goes_back_by_the_transposed_matrix(name: str) -> None:
    route, grid = ROUTES[name], Grid((4, 3, 5), affine_of("anisotropic"))
    units = torch.eye(60, dtype=torch.float64).reshape(60, 4, 3, 5)
    matrix = route.linear(units, grid).flatten(1).T
    image = torch.from_numpy(noise((1, 4, 3, 5))).double()
    if name != "cubic":  # which clips
        moved, onto = route.move(image, grid, resampling="bilinear")
        inside = route.inside(grid)
        inside = torch.ones(onto.shape, dtype=torch.bool) if inside is None else inside
        expected = (matrix @ image.flatten()).reshape(onto.shape)
        torch.testing.assert_close(moved[0][inside], expected[inside])
        assert not expected[~inside].any()
    values = torch.from_numpy(noise((1, *route.onto(grid).shape), 1)).double()
    back = route.transposed(values, grid)
    torch.testing.assert_close(back.flatten(), matrix.T @ values.flatten())
    # Weights of a voxel add up to one, and to nothing in padding.
    sums = matrix.sum(dim=1)
    assert torch.minimum(sums.abs(), (sums - 1).abs()).max() < 1e-12

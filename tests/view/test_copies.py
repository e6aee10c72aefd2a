"""Display copies of a part of a map are that part of the whole map."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

from esegeta.view.copies import Copier
from esegeta.volume import (
    Orient,
    Respace,
    Volume,
    excerpt_of,
    map_on_source,
    volume_from_tensor,
)
from esegeta.volume.space import Cut
from tests.builders import affine_of

SHAPE = (17, 14, 12)


def volume(*moves: object, kind: str = "oblique") -> Volume:
    """Return a volume whose network sees it after some moves."""
    found = volume_from_tensor(torch.randn(1, *SHAPE), affine=affine_of(kind))
    for move in moves:
        assert isinstance(move, (Orient, Respace, Cut))
        grid = move.onto(found.grid)
        data = move.apply(found.data, found.grid, resampling="bilinear")
        found = Volume(data, grid, found.source, route=found.route.then(move))
    return found


def blob(shape: tuple[int, ...], corner: tuple[int, ...]) -> Tensor:
    """Return a map that is zero but for a small box."""
    data = torch.zeros(shape)
    box = tuple(slice(at, at + 4) for at in corner)
    data[box] = torch.randn(data[box].shape)
    return data


def whole(found: Volume, array: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    result = np.zeros(found.source.grid.shape, np.float32)
    result[box] = array
    return result


MOVES = {
    "none": (),
    "turned": (Orient("LPS"),),
    "finer": (Respace((0.6, 1.1, 2.0)),),
    "coarser": (Orient("RAS"), Respace((1.5, 2.5, 4.0))),
    "cropped": (Cut((3, 2, 1), (9, 8, 7)),),
}


@pytest.mark.parametrize("moves", MOVES.values(), ids=list(MOVES))
@pytest.mark.parametrize("corner", [(0, 0, 0), (2, 3, 2), (100, 100, 100)])
def test_a_part_carried_to_the_file_equals_the_whole_map(
    moves: tuple[object, ...], corner: tuple[int, ...]
) -> None:
    found = volume(*moves)
    shape = found.grid.shape
    data = blob(shape, tuple(min(at, n - 4) for at, n in zip(corner, shape, strict=True)))
    array, box = Copier.of(found, excerpt_of(found.source.grid, None)).on_source(data[None])
    np.testing.assert_allclose(whole(found, array, box), map_on_source(data, found), atol=1e-6)


def read(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    return np.asarray(image.get_fdata()), image.affine


def test_a_copy_covers_the_box_of_its_values() -> None:
    found = volume(Orient("LPS"))
    data = blob(found.grid.shape, (5, 6, 3))
    copy = Copier.of(found, excerpt_of(found.source.grid, None)).copy(data[None], is_signed=True)
    array, affine = read(copy.content)
    assert array.size < data.numel() / 4
    index = np.unravel_index(int(np.abs(array).argmax()), array.shape)
    mm = affine @ [*index, 1]
    strongest = [int(at) for at in np.unravel_index(int(data.abs().argmax()), data.shape)]
    np.testing.assert_allclose(mm[:3], found.grid.to_mm(strongest), atol=1e-3)
    assert copy.peak == pytest.approx(float(data.abs().max()))
    assert abs(array[index]) == pytest.approx(copy.peak, rel=1e-3)
    assert copy.is_signed and copy.low == pytest.approx(0.01 * copy.high)


def test_a_map_of_zeros_and_of_one_sign_has_a_copy() -> None:
    found = volume()
    copier = Copier.of(found, excerpt_of(found.source.grid, None))
    empty = copier.copy(torch.zeros(1, *SHAPE), is_signed=True)
    assert not read(empty.content)[0].any() and empty.high > empty.low > 0
    assert not copier.copy(blob(SHAPE, (2, 2, 2)).abs()[None], is_signed=False).is_signed


def test_a_large_image_is_shown_in_blocks_and_so_are_its_maps() -> None:
    found = volume(kind="anisotropic")
    mask = np.zeros(SHAPE, bool)
    mask[4:13, 3:10, 2:9] = True
    view = excerpt_of(found.source.grid, mask, margin_mm=1.0, most_voxels=200)
    assert view.stride == 2 and view.box != tuple(slice(0, n) for n in SHAPE)
    data = blob(SHAPE, (6, 4, 4))
    array, affine = read(Copier.of(found, view).copy(data[None], is_signed=True).content)
    expected = view.strongest(data.numpy())
    whole_grid = view.grid(found.source.grid)
    for index in np.argwhere(array):
        place = whole_grid.to_index((affine @ [*index, 1])[:3].tolist())
        at = tuple(round(one) for one in place)
        np.testing.assert_allclose(place, at, atol=1e-3)
        assert array[tuple(index)] == pytest.approx(float(expected[at]), rel=2e-3, abs=1e-3)
    assert np.count_nonzero(array) == np.count_nonzero(np.abs(expected) > 1e-3)

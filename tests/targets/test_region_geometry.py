"""Regions that know millimetres and the source image: components, boundary, box and point."""

from itertools import product

import numpy as np
import pytest
import torch

from esegeta.errors import EmptyTargetError, TargetError
from esegeta.targets import (
    Boundary,
    BoxRegion,
    Component,
    PointRegion,
    Region,
    Scene,
    VoxelTarget,
    near_surface,
    split_components,
)
from esegeta.volume import Preprocess, Volume, volume_from_tensor
from tests.builders import affine_of, scene
from tests.targets.cases import logits_of

SHAPE = (12, 10, 9)


def mask_of(region: Region, at: Scene) -> np.ndarray:
    return region.mask(at, at.logits, 1).numpy()


def blobs(ndim: int) -> list[torch.Tensor]:
    """Return the masks of three separate blobs, largest first; the largest hangs by a corner."""
    shape = SHAPE[:ndim]
    large, middle, small = (torch.zeros(shape, dtype=torch.bool) for _ in range(3))
    large[(slice(0, 3),) * ndim] = True
    large[(3,) * ndim] = True
    middle[(slice(6, 8), slice(5, 8), *(slice(5, 7),) * (ndim - 2))] = True
    small[(11, 0, *(8,) * (ndim - 2))] = True
    return [large, middle, small]


def blob_scene(ndim: int, kind: str = "oblique") -> Scene:
    together = torch.stack(blobs(ndim)).any(dim=0)
    return scene(logits_of(together), affine=affine_of(kind, ndim))


def test_components_are_ranked_by_size(ndim: int) -> None:
    at = blob_scene(ndim)
    for rank, blob in enumerate(blobs(ndim), start=1):
        np.testing.assert_array_equal(mask_of(Component(rank), at), blob.numpy())
    with pytest.raises(EmptyTargetError, match="component #4"):
        VoxelTarget("one", over=Component(4)).freeze(at)
    assert Component().describe() == "component (largest)"


@pytest.mark.parametrize("kind", ["anisotropic", "oblique", "sheared"])
def test_split_components_tells_volume_and_centre(ndim: int, kind: str) -> None:
    at = blob_scene(ndim, kind)
    affine = affine_of(kind, ndim)
    targets = split_components(VoxelTarget("one"), at)
    assert len(targets) == 3
    for rank, (target, blob) in enumerate(zip(targets, blobs(ndim), strict=True), start=1):
        voxels = np.argwhere(blob.numpy())
        places = [
            affine[:3, :ndim] @ voxel + affine[:3, 3] for voxel in voxels
        ]  # each voxel's own place in mm
        facts = target.freeze(at).facts
        assert facts["component"] == rank
        assert facts["volume_ml"] == pytest.approx(len(voxels) * 0.7 * 1.9 * 3.1 / 1000)
        np.testing.assert_allclose(facts["centre_mm"], np.mean(places, axis=0), atol=1e-9)
        assert facts["voxels"] == len(voxels)


def test_split_components_leaves_out_the_small_ones() -> None:
    at = blob_scene(3)
    voxel_ml = at.volume.grid.voxel_volume_ml
    assert len(split_components(VoxelTarget("one"), at, min_volume_ml=1.5 * voxel_ml)) == 2
    with pytest.raises(EmptyTargetError, match="no predicted component of at least 100 ml"):
        split_components(VoxelTarget("one"), at, min_volume_ml=100)


@pytest.mark.parametrize("within_mm", [0.7, 1.9, 2.1, 3.3])
@pytest.mark.parametrize("kind", ["anisotropic", "oblique"])
def test_boundary_distance_equals_brute_force(ndim: int, kind: str, within_mm: float) -> None:
    at = blob_scene(ndim, kind)
    inside = torch.stack(blobs(ndim)).any(dim=0).numpy()
    affine = affine_of(kind, ndim)
    places = np.indices(inside.shape).reshape(ndim, -1).T @ affine[:3, :ndim].T
    flat = inside.ravel()
    gaps = np.linalg.norm(places[flat][:, None] - places[~flat][None], axis=-1)
    distance = np.zeros(flat.shape)
    distance[flat], distance[~flat] = gaps.min(axis=1), gaps.min(axis=0)
    expected = (distance <= within_mm + 1e-6).reshape(inside.shape)
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(mask_of(Boundary(within_mm), at), expected)


def test_boundary_needs_one_voxel_on_either_side() -> None:
    at = blob_scene(2)
    mask, inside = mask_of(Boundary(2.0), at), torch.stack(blobs(2)).any(dim=0).numpy()
    assert (mask & inside).any()
    assert (mask & ~inside).any()


def moved(ndim: int, preprocess: Preprocess) -> Volume:
    shape = SHAPE[:ndim]
    return preprocess(volume_from_tensor(torch.zeros(1, *shape), affine=affine_of("oblique", ndim)))


def scene_on(image: Volume) -> Scene:
    return scene(torch.zeros(1, 2, *image.grid.shape), of=image)


def source_index(image: Volume, voxel: tuple[int, ...]) -> np.ndarray:
    """Return where a voxel of the network's grid lies in the source image, by its affine."""
    place = image.affine @ (*voxel, *(0,) * (3 - len(voxel)), 1)
    return (np.linalg.inv(image.source.grid.affine) @ place)[: len(voxel)]


MOVES = {
    "as is": Preprocess(),
    "turned": Preprocess("PSL"),
    "resampled": Preprocess("LPI", (1.3, 1.3, 2.2)),
}


def move_of(name: str, ndim: int) -> Preprocess:
    move = MOVES[name]
    if ndim == 3:
        return move
    codes = {"as is": None, "turned": "PL", "resampled": "LP"}[name]
    return Preprocess(codes, move.spacing_mm[:2] if move.spacing_mm else None)


@pytest.mark.parametrize("name", MOVES)
def test_a_box_is_given_in_voxels_of_the_source(ndim: int, name: str) -> None:
    image = moved(ndim, move_of(name, ndim))
    start, stop = (2, 3, 1)[:ndim], (7, 8, 6)[:ndim]
    expected = np.zeros(image.grid.shape, dtype=bool)
    for voxel in np.ndindex(image.grid.shape):
        index = source_index(image, voxel)
        expected[voxel] = all(
            low - 0.5 <= value < high - 0.5
            for low, value, high in zip(start, index, stop, strict=True)
        )
    mask = mask_of(BoxRegion(start, stop), scene_on(image))
    np.testing.assert_array_equal(mask, expected)
    if name != "resampled":
        assert mask.sum() == np.prod(np.subtract(stop, start))


@pytest.mark.parametrize("name", MOVES)
def test_a_point_is_the_nearest_voxel(ndim: int, name: str) -> None:
    image = moved(ndim, move_of(name, ndim))
    voxels = list(np.ndindex(image.grid.shape))
    for index in product(*[(0, 4.4, n - 1) for n in SHAPE[:ndim]]):
        mask = mask_of(PointRegion(index), scene_on(image))
        assert mask.sum() == 1
        offsets = np.array([source_index(image, voxel) for voxel in voxels]) - index
        # Nearest along each axis of the network's grid, in its own voxels.
        steps = np.linalg.inv(image.affine) @ image.source.grid.affine
        own = np.abs(offsets @ steps[:ndim, :ndim].T).max(axis=1)
        assert voxels[int(own.argmin())] == tuple(np.argwhere(mask)[0])


def test_a_point_outside_is_an_empty_mask() -> None:
    at = scene_on(moved(3, Preprocess()))
    for index in ((-1, 0, 0), (0, 0, 9), (12, 0, 0)):
        with pytest.raises(EmptyTargetError, match="over: point"):
            VoxelTarget("one", over=PointRegion(index)).freeze(at)


def test_boxes_and_points_with_another_number_of_axes_are_refused() -> None:
    at = scene_on(moved(2, Preprocess()))
    with pytest.raises(TargetError, match="2 axes in the image, the box has 3"):
        mask_of(BoxRegion((0, 0, 0), (1, 1, 1)), at)
    with pytest.raises(TargetError, match="the image has 2 axes, the point 3"):
        mask_of(PointRegion((0, 0, 0)), at)


def test_distances_between_voxels_of_a_micrometre() -> None:
    """Within 10 um of a point of 1 um voxels: those 10.05 um away (1, 10) are not."""
    inside = torch.zeros((25, 25), dtype=torch.bool)
    inside[12, 12] = True
    found = near_surface(inside, (1e-3, 1e-3), 10e-3)
    rows, columns = np.indices((25, 25)) - 12
    expected = rows**2 + columns**2 <= 100
    np.testing.assert_array_equal(found.numpy(), expected)
    assert not found[13, 22]

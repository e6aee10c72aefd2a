"""Pictures: cut through the map's centre of mass, upright, in millimetres, and not blank."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from esegeta.explain import Attribution
from esegeta.report import draw_overlay
from esegeta.report.overlay import PLANES_3D, _turn, centre_of_mass, planes_of
from esegeta.targets import FrozenTarget
from esegeta.volume import volume_from_tensor
from tests.builders import affine_of, scene
from tests.experiments import pointwise_lab, save_image

CENTRES = {
    "one voxel": ({(2, 3, 4): 5.0}, (2, 3, 4)),
    "two of one weight": ({(0, 2, 4): 1.0, (4, 2, 0): 1.0}, (2, 2, 2)),
    "two of unlike weight": ({(0, 0, 0): 1.0, (4, 4, 4): 3.0}, (3, 3, 3)),
    "a corner": ({(5, 5, 5): 0.1}, (5, 5, 5)),
}


@pytest.mark.parametrize("case", CENTRES)
def test_centre_of_mass(case: str) -> None:
    weights, expected = CENTRES[case]
    magnitude = np.zeros((6, 6, 6), np.float32)
    for index, weight in weights.items():
        magnitude[index] = weight
    assert centre_of_mass(magnitude) == expected


def test_centre_of_mass_of_nothing_is_the_middle() -> None:
    assert centre_of_mass(np.zeros((5, 9))) == (2, 4)


def attribution_of(map_: np.ndarray, affine: np.ndarray, image: np.ndarray) -> Attribution:
    volume = volume_from_tensor(torch.from_numpy(image)[None], affine=affine)
    mask = torch.from_numpy(np.abs(map_) > 0)
    logits = torch.zeros((1, 2, *map_.shape))
    frozen = FrozenTarget(lambda y: y.sum(), mask, "logit", "a target", scene(logits))
    return Attribution(torch.from_numpy(map_)[None], "logit", "saliency", {}, volume, frozen)


def blob(shape: tuple[int, ...], value: float) -> np.ndarray:
    map_ = np.zeros(shape, np.float32)
    map_[tuple(slice(n // 3, 2 * n // 3) for n in shape)] = value
    return map_


def pixels(path: Path) -> np.ndarray:
    return imread(path)[..., :3]


def count(picture: np.ndarray, colour: str) -> int:
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    if colour == "red":
        return int(((red > blue + 0.2) & (red > green + 0.2)).sum())
    return int(((blue > red + 0.2) & (blue > green)).sum())


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((12, 11, 9), "anisotropic"),
        ((12, 11, 9), "oblique"),
        ((12, 11, 9), "sheared"),
        ((13, 11), "anisotropic"),
        ((13, 11), "oblique"),
        ((12, 11, 1), "anisotropic"),
    ],
)
def test_the_picture_shows_the_sign_of_the_map(
    shape: tuple[int, ...], kind: str, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    pictures = {}
    for sign in (1.0, -1.0):
        map_ = blob(shape, sign) if shape[-1] > 1 else np.full(shape, sign, np.float32)
        path = tmp_path / f"{sign}.png"
        draw_overlay(path, attribution_of(map_, affine_of(kind, len(shape)), image), "title")
        pictures[sign] = pixels(path)
    # The colour bar holds both colours, so what counts is which grows.
    assert count(pictures[1.0], "red") > 1.5 * count(pictures[-1.0], "red")
    assert count(pictures[-1.0], "blue") > 1.5 * count(pictures[1.0], "blue")
    for picture in pictures.values():
        assert picture.std() > 0.1
        assert 400 < picture.shape[0] < 1200


def test_an_image_of_one_value_and_a_map_of_nothing_are_drawn(tmp_path: Path) -> None:
    shape = (8, 7, 6)
    flat = np.zeros(shape, np.float32)
    path = tmp_path / "flat.png"
    draw_overlay(path, attribution_of(flat, np.eye(4), flat), "title")
    assert pixels(path).std() > 0


@pytest.mark.parametrize("kind", ["anisotropic", "flipped", "oblique"])
def test_slices_are_turned_so_that_axes_point_right_anterior_superior(kind: str) -> None:
    affine = affine_of(kind)[:, [1, 2, 0, 3]]  # columns permuted: axes are no longer x, y, z
    shape = (6, 5, 4)
    map_ = np.zeros(shape, np.float32)
    map_[5, 4, 0] = 1.0
    turned = _turn(attribution_of(map_, affine, map_))
    assert turned.map.shape == (4, 6, 5)
    index = tuple(int(value) for value in np.argwhere(turned.map)[0])
    expected = (3 if kind == "flipped" else 0, 5, 4)
    assert index == expected
    np.testing.assert_array_equal(turned.mask, turned.map != 0)
    np.testing.assert_allclose(turned.spacing_mm, (0.7, 1.9, 3.1))


def test_planes_are_shown_as_radiologists_look_at_them() -> None:
    letters = {plane.title: (plane.ends, plane.mirrored) for plane in PLANES_3D}
    assert letters["axial"] == letters["coronal"] == (("R", "L"), True)
    assert letters["sagittal"] == (("P", "A"), False)


def test_a_run_writes_its_pictures(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    save_image(tmp_path / "a.nii.gz", blob((12, 11, 9), 2.0) - 1)
    assert lab.run().exit_code == 0
    picture = pixels(lab.file("a", "liver", "saliency", "overlay.png"))
    assert count(picture, "red") > 1000
    assert picture.std() > 0.1


@pytest.mark.parametrize(
    ("shape", "titles"),
    [
        ((9, 8, 7), ["axial", "coronal", "sagittal"]),
        ((9, 8, 1), ["axial"]),
        ((1, 8, 7), ["sagittal"]),
        ((9, 8), [""]),
    ],
)
def test_planes_have_an_area(shape: tuple[int, ...], titles: list[str]) -> None:
    assert [plane.title for plane in planes_of(shape)] == titles


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((16, 16, 1), np.eye(4)),
        ((16, 12), np.array([[2.0, 0, 0, 5], [0, 0, 1, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])),
    ],
    ids=["one slice", "a coronal 2D slice"],
)
def test_slices_are_drawn(shape: tuple[int, ...], affine: np.ndarray, tmp_path: Path) -> None:
    map_ = blob(shape, 2.0) if len(shape) == 2 else blob(shape[:2], 2.0)[..., None]
    draw_overlay(tmp_path / "a.png", attribution_of(map_, affine, np.zeros(shape, np.float32)), "a")
    assert imread(tmp_path / "a.png")[..., :3].std() > 0.05

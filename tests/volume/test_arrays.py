"""NumPy archives: image, label and affine in one file or in several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.errors import DataError, MissingFileError
from esegeta.volume import Case, Layout, Preprocess, Reading, load_volume, read_case
from tests.builders import affine_of
from tests.volume.files import noise, read

AFFINE = affine_of("oblique")


@pytest.mark.parametrize("name", ["image", "data", "arr_0", "anything"])
def test_image_and_affine_are_read_from_an_npz_file(name: str, tmp_path: Path) -> None:
    array = noise((6, 5, 4))
    np.savez(tmp_path / "a.npz", **{name: array, "affine": AFFINE})
    volume = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(volume.data[0].numpy(), array)
    np.testing.assert_array_equal(volume.affine, AFFINE)


def test_arrays_with_channels_first_are_read(tmp_path: Path) -> None:
    array, truth = noise((4, 6, 5, 3)), np.arange(90).reshape(1, 6, 5, 3) % 4
    np.savez_compressed(tmp_path / "a.npz", image=array, label=truth, affine=AFFINE)
    case = Case("a", (tmp_path / "a.npz",), tmp_path / "a.npz")
    volume, found = read_case(case, Preprocess(), Reading(4, 3, layout=Layout(channels_axis=0)))
    np.testing.assert_array_equal(volume.data.numpy(), array)
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), truth[0])
    with pytest.raises(DataError, match=r"3 channels .* takes 4; .*channels_axis: 0"):
        read_case(case, Preprocess(), Reading(4, 3))


def test_a_boolean_mask_is_read_as_labels(tmp_path: Path) -> None:
    truth = noise((6, 5, 4)) > 0
    np.savez(tmp_path / "a.npz", image=noise((6, 5, 4)), mask=truth, affine=AFFINE)
    case = Case("a", (tmp_path / "a.npz",), tmp_path / "a.npz")
    _, found = read_case(case, Preprocess(), Reading(1, 3))
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), truth)


def test_the_spacing_may_be_given(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=noise((6, 5, 4)))
    volume = load_volume(tmp_path / "a.npz", file_spacing_mm=(0.5, 1.5, 2.5))
    np.testing.assert_array_equal(volume.affine, np.diag([0.5, 1.5, 2.5, 1.0]))


def test_two_spacings_make_a_plane_with_channels(tmp_path: Path) -> None:
    array = noise((6, 5, 4))
    np.savez(tmp_path / "a.npz", image=array)
    case = Case("a", (tmp_path / "a.npz",), spacing_mm=(0.5, 1.5))
    volume, _ = read_case(case, Preprocess(), Reading(4, 2))
    np.testing.assert_array_equal(volume.data.numpy(), array.transpose(2, 0, 1))
    np.testing.assert_array_equal(volume.affine, np.diag([0.5, 1.5, 1.0, 1.0]))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no affine": ({"image": noise((6, 5, 4))}, "does not say how large its voxels are"),
    "several arrays": (
        {"t1": noise((6, 5, 4)), "t2": noise((6, 5, 4)), "affine": AFFINE},
        "not known which array is the image; it holds t1, t2; call it `image`",
    ),
    "an affine alone": ({"affine": AFFINE}, "it holds nothing"),
    "a small affine": (
        {"image": noise((6, 5, 4)), "affine": np.eye(3)},
        r"affine is of shape \(3,",
    ),
    "an affine in words": (
        {"image": noise((6, 5, 4)), "affine": np.array("eye")},
        r"affine holds <U3, not real numbers",
    ),
    "an affine of another kind": (
        {"image": noise((6, 5, 4)), "affine": 2 * np.eye(4)},
        r"affine has the last row 0 0 0 2, not 0 0 0 1",
    ),
    "a singular affine": (
        {"image": noise((6, 5, 4)), "affine": np.diag([1.0, 0, 1, 1])},
        "singular",
    ),
    "objects": ({"image": np.array([{}]), "affine": AFFINE}, "plain arrays"),
    "words": ({"image": np.array([["a"]]), "affine": AFFINE}, "not real numbers"),
    "complex numbers": ({"image": np.ones((6, 5, 4)) * 1j, "affine": AFFINE}, "not real numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_arrays_are_refused_by_name(name: str, tmp_path: Path) -> None:
    arrays, message = REFUSED[name]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.npz")


def test_torn_and_missing_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=noise((6, 5, 4)), affine=AFFINE)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:-200])
    with pytest.raises(DataError, match=r"a\.npz: not an \.npz archive"):
        read(tmp_path / "a.npz")
    with pytest.raises(MissingFileError, match=r"b\.npz: no such file"):
        read(tmp_path / "b.npz")

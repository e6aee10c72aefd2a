"""Plans of nnU-Net one by one, and the keys of `data.preprocess` that they stand for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from esegeta.config.nnunet_preprocess import preprocess_of
from esegeta.errors import ModelError
from esegeta.model.nnunet_results import NnunetResults
from tests.nnunet_folder import DATASET, PLANS

FIRST = "before_resampling"


def preprocess(*, num_channels: int = 1, block: Any = None, **plans: Any) -> dict[str, Any]:
    """Return the keys for plans that differ from the usual, and a block that does."""
    found = {**copy.deepcopy(PLANS), **plans}
    configuration = {**found["configurations"]["3d_fullres"], **(block or {})}
    results = NnunetResults(
        Path("results"), DATASET, found, "3d_fullres", configuration, (), "nnUNetTrainer", ()
    )
    return preprocess_of(results, num_channels=num_channels)


@pytest.mark.parametrize("order", [[0, 1, 1], [0, 1], [1, 2, 3]])
def test_an_order_of_other_than_three_axes_is_refused(order: list[int]) -> None:
    with pytest.raises(ModelError, match=r"plans.json: transpose_forward: .* is not an order of"):
        preprocess(transpose_forward=order)


@pytest.mark.parametrize("spacing", [[1.5, 0.5], [999.0, 1.5, 0.5]])
@pytest.mark.parametrize(
    ("order", "reader", "axes"),
    [
        ([0, 1, 2], "NaturalImage2DIO", [0, 1]),
        ([0, 2, 1], "NaturalImage2DIO", [1, 0]),
        ([0, 1, 2], "SimpleITKIO", [1, 0]),
    ],
)
def test_pictures_have_two_axes(
    order: list[int], reader: str, axes: list[int], spacing: list[float]
) -> None:
    """A picture's reader hands over rows first; all others hand over y before x, slices first."""
    keys = preprocess(
        block={"spacing": spacing},
        transpose_forward=order,
        image_reader_writer=reader,
        original_median_shape_after_transp=[1, 20, 18],
    )
    assert (keys["transpose"], keys["spacing_mm"]) == (axes, [1.5, 0.5])


def test_slices_of_volumes_keep_the_spacing_between_them() -> None:
    keys = preprocess(block={"spacing": [1.5, 0.5]})
    assert (keys["transpose"], keys["spacing_mm"]) == ([2, 1, 0], [None, 1.5, 0.5])


def test_plans_that_do_not_resample_give_no_spacing() -> None:
    keys = preprocess(block={"resampling_fn_data": "no_resampling_data_or_seg_to_shape"})
    assert {"spacing_mm", "order", "separate_axis"}.isdisjoint(keys)
    assert keys["crop"] == "foreground"


@pytest.mark.parametrize(("apart", "key"), [(None, "auto"), (True, True), (False, False)])
def test_force_separate_z_becomes_separate_axis(apart: bool | None, key: Any) -> None:
    kwargs = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": apart}
    assert preprocess(block={"resampling_fn_data_kwargs": kwargs})["separate_axis"] == key


SCHEMES: dict[str, tuple[bool, Any]] = {
    "ZScoreNormalization": (False, {"zscore": {"over": "all"}}),
    "ZScoreNormalization of what is masked": (True, {"zscore": {"over": "foreground"}}),
    "RescaleTo01Normalization": (False, {"minmax": True}),
    "RGBTo01Normalization": (False, {"rescale": {"scale": 1 / 255}}),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_each_channel_has_its_own_normalisation(name: str) -> None:
    masked, rule = SCHEMES[name]
    schemes = ["NoNormalization", name.partition(" ")[0]]
    keys = preprocess(
        num_channels=2,
        block={"normalization_schemes": schemes, "use_mask_for_norm": [True, masked]},
    )
    assert keys["intensity"] == [{**rule, "channels": [1], "when": FIRST}]


def test_older_plans_without_masks_take_every_voxel() -> None:
    block = {"normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": None}
    assert preprocess(block=block)["intensity"][0]["zscore"] == {"over": "all"}


def test_no_normalization_becomes_intensity_none() -> None:
    assert preprocess(block={"normalization_schemes": ["NoNormalization"]})["intensity"] == "none"

"""Files of one unit beside its map: standard errors, maps of layers; listed, in place, removed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.explain import (
    Attribution,
    IntegratedGradients,
    LayerMap,
    MemberMaps,
    Saliency,
    map_on_file,
)
from esegeta.report import TaskFiles, remove_attribution, save_attribution
from esegeta.report.save import remove_other_components
from esegeta.volume import Grid, Intensity, Preprocess, Source, volume_from_tensor
from tests.builders import affine_of, linear, predictor, volume
from tests.experiments import read_json, voxels
from tests.oracles import frozen
from tests.volume.files import noise

SHAPE = (6, 5, 4)


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.report.save.draw_overlay", lambda path, *rest: path.touch())


def attribution_of(num_channels: int, **more: Any) -> Attribution:
    image = volume(SHAPE, num_channels, affine=affine_of("oblique"))
    model = predictor(linear(3, in_channels=num_channels), SHAPE)
    return replace(Saliency().explain(model, image, frozen(model, image)), **more)


def saved(folder: Path, attribution: Attribution) -> tuple[TaskFiles, set[str], dict[str, Any]]:
    files = TaskFiles(folder, "torso", "liver", "ig")
    save_attribution(files, attribution, {})
    names = {path.name for path in (folder / "torso").iterdir()}
    sidecar = read_json(files.sidecar)
    assert set(sidecar["files"]) == names - {files.sidecar.name}
    return files, names, sidecar


def test_the_standard_error_of_a_map_of_one_channel_is_written(tmp_path: Path) -> None:
    error = torch.rand(1, *SHAPE)
    files, _, sidecar = saved(tmp_path, attribution_of(1, standard_error=error))
    name = "torso_label-liver_desc-ig_stat-stderr_attrmap.nii.gz"
    assert files.standard_error.name == name
    np.testing.assert_array_equal(voxels(files.standard_error), error[0].numpy())
    assert sidecar["standard_error"].endswith("of the map")


def test_the_sidecar_explains_the_interval_if_it_is_known(tmp_path: Path) -> None:
    found = attribution_of(1, standard_error=torch.rand(1, *SHAPE))
    known = replace(found, facts=replace(found.facts, more={"t_95": 2.6}))
    _, _, sidecar = saved(tmp_path, known)
    end = "of the map; the value +- `t_95` of them is a 95 % interval"
    assert sidecar["standard_error"].endswith(end)


def test_files_of_components_of_an_earlier_prediction_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "torso"
    folder.mkdir()
    ends = ("_desc-ig_attrmap.nii.gz", "_chan-t1_desc-ig_attrmap.nii.gz", "_score-deletion_x.png")
    names = {
        target: [*(f"torso_label-{target}{end}" for end in ends), f"torso_{target}.mrb"]
        for target in ("liver", "liver#1", "liver#2", "liver_2#3")
    }
    for name in (name for some in names.values() for name in some):
        (folder / name).touch()
    remove_other_components(tmp_path, "torso", "liver", ["liver#1"])
    left = {path.name for path in folder.iterdir()}
    assert left == {name for target, some in names.items() if target != "liver#2" for name in some}


def test_every_channel_has_a_standard_error_and_the_sum_has_none(tmp_path: Path) -> None:
    error = torch.rand(2, *SHAPE)
    files, names, sidecar = saved(tmp_path, attribution_of(2, standard_error=error))
    assert {name for name in names if "stderr" in name} == {
        f"torso_label-liver_chan-{channel}_desc-ig_stat-stderr_attrmap.nii.gz" for channel in "01"
    }
    for channel in (0, 1):
        path = files.channel_standard_error(str(channel))
        np.testing.assert_array_equal(voxels(path), error[channel].numpy())
    assert "of their sum is unknown" in sidecar["standard_error"]


def test_a_map_without_channels_has_one_standard_error(tmp_path: Path) -> None:
    whole = attribution_of(2)
    of_voxels = replace(whole, data=whole.data[:1], standard_error=torch.rand(1, *SHAPE))
    _, names, _ = saved(tmp_path, of_voxels)
    assert [name for name in names if "stderr" in name] == [
        "torso_label-liver_desc-ig_stat-stderr_attrmap.nii.gz"
    ]


def resampled(num_channels: int) -> Attribution:
    """Integrated gradients on a grid that is not the file's."""
    blank = volume_from_tensor(torch.zeros(num_channels, *SHAPE), affine=affine_of("oblique"))
    image = blank.with_data(torch.from_numpy(noise((num_channels, *SHAPE))))
    seen = Preprocess("PIL", (2.0, 0.8, 1.3))(image)
    model = predictor(linear(3, in_channels=num_channels), seen.grid.shape)
    return IntegratedGradients(2, "zero").explain(model, seen, frozen(model, seen))


def test_files_of_channels_add_up_to_the_map_and_to_what_was_computed(tmp_path: Path) -> None:
    attribution = resampled(2)
    files, _, sidecar = saved(tmp_path, attribution)
    parts = [voxels(files.channel_map(channel)) for channel in "01"]
    np.testing.assert_allclose(voxels(files.map), parts[0] + parts[1], rtol=1e-6, atol=1e-7)
    for channel, part in enumerate(parts):
        total = float(attribution.data[channel].double().sum())
        size = float(attribution.data[channel].double().abs().sum())
        assert abs(part.sum(dtype=np.float64) - total) < 1e-6 * size
    totals = sidecar["grid"]["totals"]
    assert totals["file"] == pytest.approx(totals["network"], rel=1e-5)
    assert sidecar["grid"]["by"] == "adjoint"


def test_maps_of_members_are_resampled_like_the_map(tmp_path: Path) -> None:
    attribution = resampled(1)
    other = replace(attribution, data=-2 * attribution.data, ways=())
    files = TaskFiles(tmp_path, "torso", "liver", "ig")
    save_attribution(files, attribution, {}, members=MemberMaps((attribution, other), ("a", "b")))
    maps = [voxels(files.member_map(number)) for number in (1, 2)]
    np.testing.assert_array_equal(maps[0], voxels(files.map))
    for found, given in zip(maps, (attribution, other), strict=True):
        np.testing.assert_array_equal(found, map_on_file(given, "adjoint").total)
    spread = np.std(np.stack(maps).astype(np.float64), axis=0)
    np.testing.assert_allclose(voxels(files.spread), spread, rtol=1e-6, atol=1e-9)


def test_headers_display_and_storage_are_of_what_is_written(tmp_path: Path) -> None:
    attribution = resampled_slopes()
    attribution = replace(attribution, standard_error=attribution.data.abs())
    files = TaskFiles(tmp_path, "torso", "liver", "ig")
    members = MemberMaps((attribution, attribution), ("a", "b"))
    save_attribution(files, attribution, {}, dtype="int16", members=members, by="adjoint")
    sidecar = read_json(files.sidecar)
    unit = "logit x voxels / grey value of the file"
    assert sidecar["unit"] == unit != attribution.unit
    told = {
        files.map: ("ig", True),
        files.standard_error: ("standard error of ig", False),
        files.member_map(2): ("ig, b", True),
        files.spread: ("spread of ig", False),
    }
    for path, (method, is_signed) in told.items():
        header = nib.load(path).header
        assert header["descrip"].item().decode() == f"{method}: liver [{unit}]"
        assert header.get_data_dtype() == np.int16
        assert (header["cal_min"] < 0) == (is_signed and header["cal_max"] > 0)
    array = map_on_file(attribution, "adjoint").total.numpy()
    peak = np.percentile(np.abs(array[array != 0]), 99.5)
    assert sidecar["display"]["high"] == pytest.approx(float(peak), rel=1e-6)
    assert nib.load(files.map).header["cal_max"] == pytest.approx(float(peak), rel=1e-6)
    error = np.abs(voxels(files.map).astype(np.float64) - array).max()
    assert 0 < error <= sidecar["storage"]["largest_error"] * 1.01


def resampled_slopes() -> Attribution:
    """Slopes by an input that is a window of grey values, on another grid."""
    blank = volume_from_tensor(torch.zeros(1, *SHAPE), affine=affine_of("oblique"))
    image = blank.with_data(torch.from_numpy(noise((1, *SHAPE))))
    seen = Preprocess("PIL", (2.0, 0.8, 1.3), Intensity("window", -300.0, 300.0))(image)
    model = predictor(linear(3, in_channels=1), seen.grid.shape)
    return Saliency().explain(model, seen, frozen(model, seen))


@pytest.mark.parametrize("code", [None, 4])
def test_layers_lie_on_their_own_grid_in_the_space_of_the_source(
    tmp_path: Path, code: int | None
) -> None:
    grid = Grid((3, 2, 2), affine_of("oblique") @ np.diag([2.0, 2.5, 2.0, 1.0]))
    data = torch.randn(1, 3, 2, 2)
    maps = tuple(LayerMap(name, data * k, grid, "logit") for k, name in enumerate(LAYERS, 1))
    attribution = attribution_of(1, layer_maps=maps)
    if code is not None:
        header = nib.Nifti1Header()
        header.set_data_shape(SHAPE)
        header.set_sform(affine_of("oblique"), code=code)
        image = replace(
            attribution.volume, source=Source(attribution.volume.grid, bytes(header.binaryblock))
        )
        attribution = replace(attribution, volume=image)
    _, names, sidecar = saved(tmp_path, attribution)
    expected = [
        "torso_label-liver_desc-ig_layer-model-1-submodule-conv_layermap.nii.gz",
        "torso_label-liver_desc-ig_layer-head_layermap.nii.gz",
    ]
    assert {name for name in names if "layermap" in name} == set(expected)
    for scale, (name, layer) in enumerate(zip(expected, LAYERS, strict=True), 1):
        image = nib.load(tmp_path / "torso" / name)
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(np.asarray(image.dataobj), scale * data[0].numpy())
        np.testing.assert_allclose(image.affine, grid.affine, atol=1e-5)
        assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == (code or 1)
        assert sidecar["layer_maps"][name]["layer"] == layer
        assert sidecar["layer_maps"][name]["unit"] == "logit"


LAYERS = ("model.1.submodule.conv", "head")


def test_all_files_of_a_map_are_removed_together(tmp_path: Path) -> None:
    grid = Grid((3, 2, 2), np.eye(4))
    maps = (LayerMap("head", torch.randn(1, 3, 2, 2), grid, "logit"),)
    files, names, _ = saved(
        tmp_path, attribution_of(2, standard_error=torch.rand(2, *SHAPE), layer_maps=maps)
    )
    assert len(names) == 8
    remove_attribution(files)
    assert list((tmp_path / "torso").iterdir()) == []


def test_a_second_save_leaves_no_file_of_the_first(tmp_path: Path) -> None:
    saved(tmp_path, attribution_of(2, standard_error=torch.rand(2, *SHAPE)))
    saved(tmp_path, attribution_of(2))


def test_a_task_owns_only_its_own_files(tmp_path: Path) -> None:
    files = TaskFiles(tmp_path, "torso", "liver", "ig")
    own = (
        files.map,
        files.sidecar,
        files.overlay,
        files.channel_map("t1"),
        files.standard_error,
        files.channel_standard_error("t_1"),
        files.layer_map("a.b"),
    )
    assert all(files.owns(path.name) for path in own)
    for other in (
        TaskFiles(tmp_path, "torso", "liver", "ig_mean"),
        TaskFiles(tmp_path, "torso", "liver_2", "ig"),
        TaskFiles(tmp_path, "torso2", "liver", "ig"),
        TaskFiles(tmp_path, "torso", "liver#1", "ig"),
    ):
        assert not any(
            files.owns(path.name)
            for path in (other.map, other.channel_map("t1"), other.layer_map("a"))
        )
    assert not files.owns("../../precious.nii.gz")

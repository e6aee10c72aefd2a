"""Files whose headers are wrong: refused for all cases before any of them is explained."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders import affine_of
from tests.experiments import Lab, esegeta, noise, pointwise_lab, refused, save_image, unet_lab

Break = Callable[[Lab], object]

SHIFTED = affine_of("anisotropic")
SHIFTED[0, 3] += 1.0


def two_cases(folder: Path, num_channels: int = 1) -> Lab:
    weight = [[0.0] * num_channels, [1.0] * num_channels]
    return pointwise_lab(folder, weight, [0.0, 0.0], cases=2)


def second(lab: Lab, **keys: object) -> None:
    lab.keys["data"]["cases"][1].update(keys)


def save(lab: Lab, name: str, shape: tuple[int, ...] = (12, 11, 9), shifted: bool = False) -> str:
    save_image(lab.folder / name, noise(shape), SHIFTED if shifted else None)
    return name


def write(lab: Lab, name: str, text: bytes = b"patient, 63 years") -> str:
    (lab.folder / name).write_bytes(text)
    return name


def with_roi(lab: Lab, roi: str) -> None:
    lab.keys["targets"].append({"name": "x", "label": "liver", "roi": roi})


def with_baselines(lab: Lab, *baselines: str) -> None:
    lab.keys["methods"].append({"name": "gradient_shap", "baselines": list(baselines)})


def with_baseline(lab: Lab, file: str) -> None:
    lab.keys["methods"].append({"name": "integrated_gradients", "baseline": {"file": file}})


def with_atlas(lab: Lab, file: str) -> None:
    lab.keys["methods"].append({"name": "feature_ablation", "features": file})


IMAGES: dict[str, tuple[Break, tuple[str, ...]]] = {
    "missing image": (
        lambda lab: second(lab, image="no.nii.gz"),
        ("/no.nii.gz: no such file; check the path in `data.cases[1]`",),
    ),
    "missing label map": (
        lambda lab: second(lab, label="no.nii.gz"),
        ("/no.nii.gz: no such file; check the path in `data.cases[1]`",),
    ),
    "folder for an image": (
        lambda lab: second(lab, image="."),
        ("holds 2 images: a.nii.gz, b.nii.gz", "it is not known which are channels"),
    ),
    "folder for a label": (
        lambda lab: second(lab, label="."),
        ("the folder holds no DICOM image",),
    ),
    "text for an image": (
        lambda lab: second(lab, image=write(lab, "t.nii.gz")),
        ("/t.nii.gz: not a NIfTI file that can be read", "copied completely?"),
    ),
    "empty image": (
        lambda lab: second(lab, image=write(lab, "t.nii.gz", b"")),
        ("/t.nii.gz: not a NIfTI file that can be read", "copied completely?"),
    ),
    "text for a picture": (
        lambda lab: second(lab, image=write(lab, "t.png")),
        ("/t.png: not a PNG, JPEG or TIFF picture",),
    ),
    "label map of another shape": (
        lambda lab: second(lab, label=save(lab, "t.nii.gz", (12, 11, 8))),
        ("b: different grids:", "12x11x9 voxels", "12x11x8 voxels", "resample one"),
    ),
    "label map elsewhere": (
        lambda lab: second(lab, label=save(lab, "t.nii.gz", shifted=True)),
        ("b: different grids:", "origin (12.5, -40, 7.25)", "origin (13.5, -40, 7.25)"),
    ),
    "label map of channels": (
        lambda lab: second(lab, label=save(lab, "t.nii.gz", (12, 11, 9, 2))),
        ("b: the label map", "t.nii.gz has 2 channels", "one map"),
    ),
    "two images for one channel": (
        lambda lab: second(lab, image=["b.nii.gz", "a.nii.gz"]),
        ("b: 2 channels in", "a.nii.gz", "the network takes 1"),
    ),
    "four axes for one channel": (
        lambda lab: second(lab, image=save(lab, "t.nii.gz", (12, 11, 9, 3))),
        ("b: 3 channels in", "t.nii.gz", "the network takes 1", "data.channels"),
    ),
    "2d image for a 3d network": (
        lambda lab: second(lab, image=save(lab, "t.nii.gz", (12, 11))),
        ("b: a 2D image for a 3D network",),
    ),
    "box of two axes": (
        lambda lab: lab.keys["targets"].append(
            {"name": "x", "label": "liver", "box": [[0, 0], [4, 4]]}
        ),
        ("targets[1]: [0, 0] has 2 indices, a is 3D",),
    ),
    "missing roi": (
        lambda lab: with_roi(lab, "no_{case}.nii.gz"),
        ("/no_a.nii.gz: no such roi file",),
    ),
    "roi elsewhere": (
        lambda lab: with_roi(lab, save(lab, "t.nii.gz", shifted=True)),
        ("a: different grids", "t.nii.gz"),
    ),
    "missing baseline": (
        lambda lab: with_baseline(lab, "no_{case}.nii.gz"),
        ("/no_a.nii.gz: no such file",),
    ),
    "missing baseline in a list": (
        lambda lab: with_baselines(lab, "zero", "no_{case}.nii.gz"),
        ("/no_a.nii.gz: no such file",),
    ),
    "baseline in a list elsewhere": (
        lambda lab: with_baselines(lab, "zero", save(lab, "t.nii.gz", shifted=True)),
        ("a: different grids", "t.nii.gz"),
    ),
    "baseline elsewhere": (
        lambda lab: with_baseline(lab, save(lab, "t.nii.gz", shifted=True)),
        ("a: different grids", "t.nii.gz"),
    ),
    "missing atlas": (
        lambda lab: with_atlas(lab, "no_{case}.nii.gz"),
        ("tiny.yaml:", "/no_a.nii.gz: no such file"),
    ),
    "atlas elsewhere": (
        lambda lab: with_atlas(lab, save(lab, "t.nii.gz", shifted=True)),
        ("a: different grids", "t.nii.gz"),
    ),
    "atlas of channels": (
        lambda lab: with_atlas(lab, save(lab, "t.nii.gz", (12, 11, 9, 2))),
        ("a: the label map", "t.nii.gz has 2 channels"),
    ),
    "glob without a match": (
        lambda lab: lab.keys["data"].update(cases="no*.nii.gz"),
        ("data.cases: 'no*.nii.gz' matches no image",),
    ),
    "missing datalist": (
        lambda lab: lab.keys["data"].update(cases="no.json"),
        ("/no.json: no such datalist",),
    ),
    "torn datalist": (
        lambda lab: lab.keys["data"].update(cases=write(lab, "t.json", b'{"training": [')),
        ("/t.json: not JSON",),
    ),
    "datalist of numbers": (
        lambda lab: lab.keys["data"].update(cases=write(lab, "t.json", b"[1, 2]")),
        ("/t.json: entry 0",),
    ),
    "datalist without images": (
        lambda lab: lab.keys["data"].update(cases=write(lab, "t.json", b'[{"label": "x"}]')),
        ("/t.json: entry 0", "image"),
    ),
    "datalist of nothing": (
        lambda lab: lab.keys["data"].update(cases=write(lab, "t.json", b'{"name": "x"}')),
        ("a datalist holds a list of cases",),
    ),
}


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize("fault", IMAGES)
def test_files_are_checked_for_all_cases_before_any_is_explained(
    fault: str, command: str, tmp_path: Path
) -> None:
    lab = two_cases(tmp_path)
    damage, fragments = IMAGES[fault]
    damage(lab)
    refused(esegeta(command, lab.write()), lab, *fragments)


def test_images_of_one_case_on_different_grids(tmp_path: Path) -> None:
    lab = two_cases(tmp_path, num_channels=2)
    save(lab, "t.nii.gz", shifted=True)
    for case in lab.keys["data"]["cases"]:
        case["image"] = ["a.nii.gz", "b.nii.gz"]
    second(lab, image=["a.nii.gz", "t.nii.gz"])
    refused(lab.run(), lab, "b: different grids:", "a.nii.gz has", "t.nii.gz has")


def two_channels(folder: Path) -> Lab:
    lab = two_cases(folder, num_channels=2)
    for case in lab.keys["data"]["cases"]:
        case["image"] = ["a.nii.gz", "b.nii.gz"]
    return lab


def test_a_baseline_may_have_one_file_per_channel(tmp_path: Path) -> None:
    lab = two_channels(tmp_path)
    baseline = {"file": [save(lab, f"{c}_1.nii.gz") for c in "ab"]}
    lab.keys["methods"].append({"name": "integrated_gradients", "baseline": baseline})
    assert lab.validate().exit_code == 0
    baseline["file"] = ["{case}_1.nii.gz", "{case}.nii.gz"]
    assert lab.validate().exit_code == 0


FILES = {
    "too few": (["a.nii.gz"], "a: 1 channel in"),
    "one missing": (["a.nii.gz", "no_{case}.nii.gz"], "/no_a.nii.gz: no such file"),
    "one elsewhere": (["a.nii.gz", "shifted.nii.gz"], "different grids"),
    "none": ([], "baseline: file: no file is named"),
}


@pytest.mark.parametrize("fault", FILES)
def test_every_file_of_a_baseline_is_checked(fault: str, tmp_path: Path) -> None:
    lab = two_channels(tmp_path)
    save(lab, "shifted.nii.gz", shifted=True)
    files, message = FILES[fault]
    entry = {"name": "integrated_gradients", "baseline": {"file": files}}
    lab.keys["methods"].append(entry)
    refused(lab.run(), lab, message)


def test_a_fault_of_a_case_is_placed_in_the_config(tmp_path: Path) -> None:
    lab = two_cases(tmp_path)
    second(lab, image="no.nii.gz")
    result = lab.run()
    refused(result, lab, f"{lab.config}:{lab.line_of('- name: b')}: ")


def test_weights_that_do_not_fit_name_their_keys(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    state = load_file(tmp_path / "w.safetensors")
    key = "model.0.conv.weight"
    state["model.0.convolution.weight"] = state.pop(key)
    save_file(state, tmp_path / "w.safetensors")
    place = f"{lab.write()}:{lab.line_of('model:')}: "
    missing, unexpected = f"missing: {key}", "unexpected: model.0.convolution.weight"
    refused(lab.run(), lab, place, "do not fit", missing, unexpected, "model.args")


def test_weights_of_another_width_name_their_shapes(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["model"]["args"]["channels"] = [4, 16]
    refused(lab.run(), lab, "wrong shape: ", "the network's is")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["model"]["weights"] = "no.pt"
    refused(lab.run(), lab, "/no.pt: no such weights file", "check model.weights")


class Evil:
    """Loaded without care it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("writer", ["pickle", "torch", "nested"])
def test_a_pickle_with_code_is_refused_and_not_run(writer: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    evil, path = Evil(tmp_path / "was_run"), tmp_path / "evil.pt"
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": evil}))
    else:
        torch.save({"state_dict": {"w": evil}} if writer == "nested" else evil, path)
    lab.keys["model"]["weights"] = "evil.pt"
    refused(lab.run(), lab, "evil.pt: is a pickle that is not plain weights", "not loaded")
    assert not (tmp_path / "was_run").exists()


MODELS = {
    "unknown network": ({"network": "UNett"}, ('MONAI has no network "UNett"', '"UNet"')),
    "unknown argument": ({"args": {"spatial_dim": 3}}, ("model.network UNet", "model.args")),
    "unknown module": (
        {"kind": "module", "network": None, "class": "no_such_module:Net"},
        ('no module "no_such_module"', "next to the config"),
    ),
    "class without a colon": (
        {"kind": "module", "network": None, "class": "Net"},
        ('"Net" names no class', "package.module:Class"),
    ),
    "unknown kind": ({"kind": "monia"}, ('model.kind: "monia" is not known', '"monai"')),
}


@pytest.mark.parametrize("fault", MODELS)
def test_a_network_that_cannot_be_built_is_refused(fault: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    change, fragments = MODELS[fault]
    model = {**lab.keys["model"], **change}
    lab.keys["model"] = {key: value for key, value in model.items() if value is not None}
    refused(lab.run(), lab, *fragments)


def test_an_unknown_class_of_a_module_is_named_with_the_nearest(tmp_path: Path) -> None:
    lab = two_cases(tmp_path)
    lab.keys["model"]["class"] = "tiny_networks:Pointwize"
    refused(lab.run(), lab, 'has no class "Pointwize"', '"Pointwise"')

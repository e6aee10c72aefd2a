"""Targets, baselines and overrides of a config, told apart by what the maps hold."""

from pathlib import Path

import numpy as np
import pytest

from esegeta.config import load_config
from esegeta.volume import read_case
from esegeta.workflow.build import build_experiment
from esegeta.workflow.prepared import with_files
from tests.experiments import SHAPE, noise, pointwise_lab, save_image, threshold_lab


def boxed(start: tuple[int, ...], stop: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


TRUTH = noise(seed=3) > 0.3
PREDICTED = noise() > 0

TARGETS = {
    "predicted": ({"over": "predicted"}, PREDICTED),
    "all": ({"over": "all"}, np.ones(SHAPE, bool)),
    "label": ({"over": "label"}, TRUTH),
    "false_positive": ({"over": "false_positive"}, PREDICTED & ~TRUTH),
    "false_negative": ({"over": "false_negative"}, ~PREDICTED & TRUTH),
    "box": ({"box": [[1, 2, 3], [5, 6, 7]]}, boxed((1, 2, 3), (5, 6, 7))),
    "point": ({"point": [4, 5, 6]}, boxed((4, 5, 6), (5, 6, 7))),
    "roi": ({"roi": "{case}_roi.nii.gz"}, noise(seed=4) > 1),
}


@pytest.mark.parametrize("orientation", [None, "LPS"])
@pytest.mark.slow
def test_a_target_is_formed_over_its_region(orientation: str | None, tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    save_image(tmp_path / "truth.nii.gz", TRUTH.astype(np.uint8))
    save_image(tmp_path / "a_roi.nii.gz", (noise(seed=4) > 1).astype(np.uint8))
    lab.keys["data"]["cases"][0]["label"] = "truth.nii.gz"
    lab.keys["data"]["preprocess"] = {"orientation": orientation}
    lab.keys["targets"] = [
        {"name": name, "label": "liver", **keys} for name, (keys, _) in TARGETS.items()
    ]
    assert lab.run().exit_code == 0
    for name, (_, mask) in TARGETS.items():
        np.testing.assert_allclose(lab.map("a", name, "saliency"), 2.0 * mask, atol=1e-5)
        assert lab.sidecar("a", name, "saliency")["target_facts"]["voxels"] == mask.sum()


@pytest.mark.slow
def test_a_unit_is_explained_over_every_region(tmp_path: Path) -> None:
    """Unit 1 of the only layer is the logit of liver: twice the value, over the same voxels."""
    lab = threshold_lab(tmp_path)
    save_image(tmp_path / "truth.nii.gz", TRUTH.astype(np.uint8))
    save_image(tmp_path / "a_roi.nii.gz", (noise(seed=4) > 1).astype(np.uint8))
    lab.keys["data"]["cases"][0]["label"] = "truth.nii.gz"
    unit = {"of": "unit", "layer": "head", "channel": 1}
    labelless = ("all", "box", "point", "roi")
    lab.keys["targets"] = [
        {"name": name, **unit, **keys, **({} if name in labelless else {"label": "liver"})}
        for name, (keys, _) in TARGETS.items()
    ]
    lab.keys["targets"] += [unit, {"name": "twice", "combine": {"predicted": 2, "all": -1}}]
    assert lab.run().exit_code == 0
    for name, (_, mask) in TARGETS.items():
        np.testing.assert_allclose(lab.map("a", name, "saliency"), 2.0 * mask, atol=1e-5)
    np.testing.assert_allclose(lab.map("a", "head-1", "saliency"), 2.0, atol=1e-5)
    np.testing.assert_allclose(lab.map("a", "twice", "saliency"), 4.0 * PREDICTED - 2, atol=1e-5)
    sidecar = lab.sidecar("a", "predicted", "saliency")
    assert sidecar["target"] == "sum of unit 1 of layer head over predicted of liver"
    assert sidecar["unit"] == "activation x voxels / input unit"
    voxels = int(PREDICTED.sum())
    assert sidecar["target_facts"] == {"layer": "head", "channel": 1, "voxels": voxels}


@pytest.mark.slow
def test_changing_the_channel_of_a_unit_makes_a_new_task(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[3.0], [2.0]], [0.0, 0.0])
    lab.keys["targets"] = [{"name": "u", "of": "unit", "layer": "head", "channel": 1}]
    assert lab.run().exit_code == 0
    assert "1 skipped" in lab.run().stdout
    lab.keys["targets"][0]["channel"] = 0
    assert "1 done, 0 skipped" in lab.run().stdout
    np.testing.assert_allclose(lab.map("a", "u", "saliency"), 3.0, atol=1e-5)


@pytest.mark.slow
def test_a_unit_in_each_component(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    image = -np.ones(SHAPE, np.float32)
    image[1:4, 1:4, 1:4] = image[7:9, 7:9, 6:8] = 1
    save_image(tmp_path / "a.nii.gz", image)
    lab.keys["targets"] = [
        {"name": "u", "of": "unit", "layer": "head", "channel": 1, "label": 1, "component": "each"}
    ]
    assert lab.run().exit_code == 0
    for place, mask in enumerate((boxed((1, 1, 1), (4, 4, 4)), boxed((7, 7, 6), (9, 9, 8))), 1):
        np.testing.assert_allclose(lab.map("a", f"u#{place}", "saliency"), 2.0 * mask, atol=1e-5)


def test_targets_combine_with_their_coefficients(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    lab.keys["targets"] = [
        {"name": "whole", "label": "liver", "over": "all"},
        {"name": "spot", "label": "liver", "point": [4, 5, 6]},
        {"name": "rest", "combine": {"whole": 1.0, "spot": -0.5}},
    ]
    assert lab.run().exit_code == 0
    expected = 2.0 - 1.0 * boxed((4, 5, 6), (5, 6, 7))
    np.testing.assert_allclose(lab.map("a", "rest", "saliency"), expected, atol=1e-5)
    description = lab.sidecar("a", "rest", "saliency")["target"]
    assert "0.5 * (sum of logit of liver over point" in description


def test_reduce_mean_divides_the_sum_by_the_number_of_voxels(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    lab.keys["targets"] = [{"label": "liver", "over": "predicted", "reduce": "mean"}]
    lab.run()
    expected = 2.0 * PREDICTED / PREDICTED.sum()
    np.testing.assert_allclose(lab.map("a", "liver", "saliency"), expected, rtol=1e-4)


def test_a_target_of_the_background_is_named_by_its_integer(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    lab.keys["labels"] = {0: "background", 1: "liver"}
    lab.keys["targets"] = [{"label": 0, "over": "all"}]
    lab.keys["model"]["weights"] = None
    assert lab.run().exit_code == 0
    assert lab.file("a", "0", "saliency").is_file()


@pytest.mark.parametrize("orientation", [None, "LPS"])
@pytest.mark.slow
def test_a_baseline_file_of_each_case(orientation: str | None, tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path, cases=2)
    lab.keys["targets"] = [{"name": "whole", "label": "liver", "over": "all"}]
    lab.keys["data"]["preprocess"] = {"orientation": orientation}
    lab.keys["methods"] = [
        {"name": "integrated_gradients", "steps": 2, "baseline": {"file": "low_{case}.nii.gz"}}
    ]
    for place, name in enumerate("ab"):
        save_image(tmp_path / f"low_{name}.nii.gz", noise(seed=10 + place))
    assert lab.run().exit_code == 0
    for place, name in enumerate("ab"):
        expected = 2.0 * (noise(seed=place) - noise(seed=10 + place))
        found = lab.map(name, "whole", "integrated_gradients")
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_file_in_a_list_of_baselines_is_read_for_each_case(tmp_path: Path) -> None:
    """Other baselines of the list stay as they are, in nested methods too."""
    lab = threshold_lab(tmp_path, cases=2)
    lab.keys["targets"] = [{"name": "whole", "label": "liver", "over": "all"}]
    baselines = ["zero", {"file": "low_{case}.nii.gz"}, "blur"]
    base = {"name": "gradient_shap", "samples": 3, "baselines": baselines}
    lab.keys["methods"] = [{"name": "noise_tunnel", "samples": 1, "noise": 1e-7, "base": base}]
    for place, name in enumerate("ab"):
        save_image(tmp_path / f"low_{name}.nii.gz", noise(seed=10 + place))
    experiment = build_experiment(load_config(lab.write()))
    (method,) = experiment.methods.values()
    case = experiment.cases[1]
    volume, _ = read_case(case, experiment.preprocess, experiment.reading)
    found = with_files(method, case, experiment, volume)
    first, own, last = found.base.baselines
    before = method.base.baselines
    assert (first, last) == (before[0], before[2])
    assert own.file == before[1].file
    filled = own.of(volume)[0]
    np.testing.assert_array_equal(filled.numpy(), noise(seed=11))


@pytest.mark.slow
def test_baseline_files_in_a_list(tmp_path: Path) -> None:
    """Each is read for its case, in its place between the others; a new one is a new task."""
    lab = threshold_lab(tmp_path, cases=2)
    lab.keys["targets"] = [{"name": "whole", "label": "liver", "over": "all"}]
    lab.keys["methods"] = [
        {
            "name": "noise_tunnel",
            "samples": 1,
            "noise": 1e-7,
            "base": {
                "name": "gradient_shap",
                "samples": 4,
                "baselines": [{"file": "low_{case}.nii.gz"}, "zero", "high.nii.gz"],
            },
        }
    ]
    for place, name in enumerate("ab"):
        save_image(tmp_path / f"low_{name}.nii.gz", noise(seed=10 + place))
    save_image(tmp_path / "high.nii.gz", noise(seed=20))
    assert lab.run().exit_code == 0
    for place, name in enumerate("ab"):
        start = (noise(seed=10 + place) + noise(seed=20)) / 3
        found = lab.map(name, "whole", "noise_tunnel")
        np.testing.assert_allclose(found, 2.0 * (noise(seed=place) - start), rtol=1e-4, atol=1e-4)
    parameters = lab.sidecar("a", "whole", "noise_tunnel")["parameters"]
    files = [entry["file"] for entry in parameters["base"]["baselines"]]
    assert files == ["low_{case}.nii.gz", None, "high.nii.gz"]
    assert "2 skipped" in lab.run().stdout
    save_image(tmp_path / "low_b.nii.gz", noise(seed=30))
    assert "1 done, 1 skipped" in lab.run().stdout


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [None, "LPS"])
def test_an_atlas_of_each_case(orientation: str | None, tmp_path: Path) -> None:
    """Voxels of a region hold twice its sum; those in none hold zero."""
    lab = threshold_lab(tmp_path, cases=2)
    lab.keys["targets"] = [{"name": "whole", "label": "liver", "over": "all"}]
    lab.keys["data"]["preprocess"] = {"orientation": orientation}
    lab.keys["methods"] = [
        {"name": "feature_ablation", "features": "atlas_{case}.nii.gz", "baseline": "zero"}
    ]
    atlases = {}
    for place, name in enumerate("ab"):
        atlases[name] = np.random.default_rng(place).choice([0, 3, 7], SHAPE).astype(np.uint8)
        save_image(tmp_path / f"atlas_{name}.nii.gz", atlases[name])
    assert lab.run().exit_code == 0
    for place, name in enumerate("ab"):
        image, atlas = noise(seed=place), atlases[name]
        expected = np.zeros(SHAPE)
        for region in (3, 7):
            expected[atlas == region] = 2.0 * image[atlas == region].sum()
        found = lab.map(name, "whole", "feature_ablation")
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        values = lab.sidecar(name, "whole", "feature_ablation")["facts"]["more"]["values"]
        assert values["label 3"] == pytest.approx(float(expected[atlas == 3][0]), abs=1e-4)
    assert "2 skipped" in lab.run().stdout
    save_image(tmp_path / "atlas_b.nii.gz", atlases["a"])
    assert "1 done, 1 skipped" in lab.run().stdout


@pytest.mark.slow
def test_a_completeness_gap_is_reported_everywhere(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    lab.keys["targets"] = [{"name": "p", "label": "liver", "of": "probability", "over": "all"}]
    lab.keys["methods"] = [
        {"name": "integrated_gradients", "steps": 1, "tolerance": 1e-6, "baseline": "minimum"}
    ]
    result = lab.run()
    assert result.exit_code == 1
    assert lab.file("a", "p", "integrated_gradients").is_file()
    sidecar = lab.sidecar("a", "p", "integrated_gradients")
    (task,) = lab.record()["units"]
    assert task["status"] == "done"
    assert sidecar["warnings"] == task["warnings"]
    assert task["warnings"][0].startswith("completeness: the map adds up to")
    assert f"warning: {task['warnings'][0]}" in result.stdout
    assert "1 with warnings" in result.stdout
    gap = sidecar["facts"]["completeness_delta"]
    p = 1 / (1 + np.exp(-2 * noise().astype(float)))
    low = 1 / (1 + np.exp(-2 * float(noise().min())))
    change = (p - low).sum()
    found = lab.map("a", "p", "integrated_gradients").sum(dtype=float)
    assert found - gap == pytest.approx(change, rel=1e-4)


@pytest.mark.slow
def test_a_baseline_may_have_one_file_per_channel(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0, 0.0], [2.0, 3.0]], [0.0, 0.0])
    for place, name in enumerate(("t1", "t2", "a_1", "a_2")):
        save_image(tmp_path / f"{name}.nii.gz", noise(seed=place))
    lab.keys["data"] = {"cases": [{"name": "a", "image": ["t1.nii.gz", "t2.nii.gz"]}]}
    lab.keys["targets"] = [{"name": "t", "label": "liver", "over": "all"}]
    baseline = {"file": ["{case}_1.nii.gz", "{case}_2.nii.gz"]}
    lab.keys["methods"] = [{"name": "integrated_gradients", "steps": 2, "baseline": baseline}]
    assert lab.run().exit_code == 0
    expected = 2 * (noise(seed=0) - noise(seed=2)) + 3 * (noise(seed=1) - noise(seed=3))
    found = lab.map("a", "t", "integrated_gradients")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert "1 skipped" in lab.run().stdout
    save_image(tmp_path / "a_2.nii.gz", noise(seed=9))
    assert "1 done, 0 skipped" in lab.run().stdout


OVERRIDES: list[tuple[str, tuple[str | int, ...], object]] = [
    ("methods.0.absolute=true", ("methods", "saliency", "absolute"), True),
    ("methods[1].steps=2", ("methods", "integrated_gradients", "steps"), 2),
    ("inference.overlap=2.5e-1", ("config", "inference", "overlap"), 0.25),
    ("inference.window.1=4", ("config", "inference", "window"), [8, 4, 8]),
    ("data.preprocess.orientation=LPS", ("config", "data", "preprocess", "orientation"), "LPS"),
    ("labels.1=spleen", ("config", "labels"), {"1": "spleen"}),
    ("targets.0.reduce=mean", ("config", "targets", 0, "reduce"), "mean"),
    ("name=tiny", ("config", "name"), "tiny"),
    ("seed=0x10", ("seed",), 16),
]


def test_overrides_reach_every_key(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    lab.keys["targets"] = [{"name": "liver", "label": 1, "over": "all"}]
    lab.keys["methods"] = ["saliency", "integrated_gradients"]
    told = [part for override, _, _ in OVERRIDES for part in ("--set", override)]
    lab.run(*told, "--set", "methods.1.baseline=zero", "--device", "cpu", "-q")
    for override, key, expected in OVERRIDES:
        value = lab.record()
        for part in key:
            value = value[part]
        assert value == expected, override

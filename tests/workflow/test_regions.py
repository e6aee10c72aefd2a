"""Nested regions from training to the last table: a network is trained here, NumPy counts again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.builders import affine_of
from tests.experiments import Lab, esegeta, read_json, save_image, voxels
from tests.workflow.tumours import REGIONS, SHAPE, VOXEL_ML, Trained, table, trained


@pytest.fixture(scope="module")
def model() -> Trained:
    return Trained(trained())


@pytest.fixture(scope="module")
def done(model: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return the experiment after its run."""
    lab = model.lab(tmp_path_factory.mktemp("regions"))
    lab.keys["targets"] = [
        {"name": "whole", "label": "whole"},
        {"name": "core", "label": "core"},
        {"name": "missed", "label": "enhancing", "over": "false_negative", "reduce": "mean"},
        {"name": "too_much", "label": "core", "over": "false_positive"},
        {"name": "true", "label": "whole", "over": "label"},
        {"name": "dice", "label": "core", "of": "dice"},
    ]
    lab.keys["methods"] = [
        "input_x_gradient",
        {"name": "exact_shapley", "features": "channels", "baseline": "mean"},
    ]
    lab.keys["scores"] = [
        {"name": "dice_drop", "features": {"kind": "blocks", "side_mm": 10}, "steps": 2},
        {"name": "relevance_mass", "against": "label"},
    ]
    lab.keys["aggregate"] = {"atlases": {"found": "prediction", "truth": "label"}}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("report.save.draw_overlay", "report.save.draw_regions"):
            patch.setattr(f"esegeta.{name}", lambda path, *rest: path.touch())
        patch.setattr("esegeta.workflow.curves.draw_curves", lambda path, *rest: path.touch())
        result = lab.run()
    assert result.exit_code == 0, result.output
    yield lab


def test_the_test_network_is_good_but_not_perfect(model: Trained) -> None:
    for name in REGIONS:
        assert 0.6 < model.dice("a", name) < 1
    found = model.masks("a")
    nested = (found["enhancing"] & ~found["core"]) | (found["core"] & ~found["whole"])
    assert nested.any()  # regions overlap without being quite nested


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.slow
def test_every_region_has_a_mask_of_its_own_and_its_volume(
    done: Lab, model: Trained, case: str
) -> None:
    sidecar = read_json(done.root / case / f"{case}_desc-prediction_dseg.json")
    for name, mask in model.masks(case).items():
        path = done.root / case / f"{case}_label-{name}_desc-prediction_mask.nii.gz"
        found = voxels(path)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, mask)
        assert sidecar["volume_ml"][name] == pytest.approx(mask.sum() * VOXEL_ML)
        assert sidecar["masks"][name] == path.name
    assert sidecar["labels"]["threshold"] == {"enhancing": 0.4}


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.slow
def test_the_label_map_is_painted_in_order(done: Lab, model: Trained, case: str) -> None:
    expected = np.zeros(SHAPE, int)
    for name, integer in (("whole", 2), ("core", 1), ("enhancing", 4)):
        expected[model.masks(case)[name]] = integer
    np.testing.assert_array_equal(done.segmentation(case), expected)
    text = (done.root / case / f"{case}_desc-prediction_dseg.tsv").read_text()
    rows = [line.split("\t")[:2] for line in text.splitlines()[1:]]
    assert rows == [["0", "background"], ["1", "core"], ["2", "whole"], ["4", "enhancing"]]


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.slow
def test_targets_over_regions_equal_a_count_in_numpy(done: Lab, model: Trained, case: str) -> None:
    masks, truth, known = model.masks(case), model.truth(case), model.known(case)
    expected = {
        "whole": masks["whole"],
        "core": masks["core"],
        "missed": truth["enhancing"] & ~masks["enhancing"],
        "too_much": masks["core"] & ~truth["core"] & known,
        "true": truth["whole"],
    }
    for name, mask in expected.items():
        assert mask.any()
        facts = done.sidecar(case, name, "input_x_gradient")["target_facts"]
        assert facts["voxels"] == mask.sum()
        # A network of single voxels is explained by the voxels of the target alone.
        np.testing.assert_array_equal(
            done.map(case, name, "input_x_gradient") != 0, mask, err_msg=name
        )
    assert (masks["core"] & ~known).any()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a", "b"])
def test_regions_csv_is_of_the_masks_themselves(done: Lab, model: Trained, case: str) -> None:
    rows = {
        (row["atlas"], row["region"], row["channel"]): row
        for row in table(done, "regions.csv")
        if row["case"] == case and (row["target"], row["method"]) == ("true", "input_x_gradient")
    }
    known, truth = model.known(case), model.truth(case)
    regions = {
        **{("found", name): mask for name, mask in model.masks(case).items()},
        **{("truth", name): mask for name, mask in truth.items()},
        ("found", "outside"): ~np.any(list(model.masks(case).values()), axis=0),
        ("truth", "ignored"): ~known,
        ("truth", "outside"): ~truth["whole"] & known,
    }
    assert {key[:2] for key in rows} == {*regions, ("image", "all")}
    map_ = done.map(case, "true", "input_x_gradient").astype(np.float64)
    for (atlas, region), mask in regions.items():
        own = [row for key, row in rows.items() if key[:2] == (atlas, region)]
        assert len(own) == 4
        assert float(own[0]["volume_ml"]) == pytest.approx(mask.sum() * VOXEL_ML)
        total = sum(float(row["signed_sum"]) for row in own)
        assert total == pytest.approx(map_[mask].sum(), rel=1e-4, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a", "b"])
def test_sums_of_a_shapley_map_are_its_shapley_values(done: Lab, case: str) -> None:
    values = done.sidecar(case, "core", "exact_shapley")["facts"]["more"]["values"]
    rows = [
        row
        for row in table(done, "regions.csv")
        if (row["case"], row["target"], row["method"]) == (case, "core", "exact_shapley")
    ]
    found = {row["channel"]: float(row["signed_sum"]) for row in rows if row["atlas"] == "image"}
    assert found == pytest.approx(values, rel=1e-6)
    shares = [float(row["share"]) for row in rows if row["atlas"] == "image"]
    sizes = np.abs(list(values.values()))
    assert shares == pytest.approx(list(sizes / sizes.sum()), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a", "b"])
def test_scores_leave_out_ignored_voxels(done: Lab, model: Trained, case: str) -> None:
    curves = [
        row
        for row in table(done, "curves.csv")
        if (row["case"], row["target"], row["method"], row["curve"])
        == (case, "core", "input_x_gradient", "with the label")
    ]
    assert float(curves[0]["y"]) == pytest.approx(model.dice(case, "core"))
    map_ = done.map(case, "core", "input_x_gradient").astype(np.float64).clip(0)
    truth, known = model.truth(case)["core"], model.known(case)
    (mass,) = (
        float(row["value"])
        for row in done.scores()
        if (row["case"], row["target"], row["method"], row["score"])
        == (case, "core", "input_x_gradient", "relevance_mass")
    )
    assert mass == pytest.approx(map_[truth].sum() / map_[known].sum(), rel=1e-4)


@pytest.mark.slow
def test_ablation_starts_from_the_dice_of_the_regions(model: Trained, tmp_path: Path) -> None:
    lab = model.lab(tmp_path)
    for key in ("targets", "methods", "scores"):
        del lab.keys[key]
    lab.keys["dissection"] = {
        "layers": ["units"],
        "concepts": {"necrosis": 1, "all_of_it": {"any_of": ["whole"]}, "rest": {"not_of": "core"}},
        "quantile": 0.05,
        "min_iou": 0.01,
        "q_value": 1.0,
        "chance": {"samples": 20},
        "ablation": {"draws": 2},
        "figures": {"units": 0},
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pictures.draw_unit", "pictures.draw_concepts", "ablate.draw_effects"):
            patch.setattr(f"esegeta.workflow.dissect.{name}", lambda path, *rest: path.touch())
        result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    rows = table(lab, "dissection/ablation.csv")
    assert {row["label"] for row in rows} == set(REGIONS)
    for row in rows:
        mean = np.mean([model.dice(case, row["label"]) for case in "ab"])
        assert float(row["dice"]) == pytest.approx(mean)
    summary = read_json(lab.root / "dissection" / "summary.json")
    sizes = {name: concept["voxels"] for name, concept in summary["concepts"].items()}
    truths = [model.cases[case][1] for case in "ab"]
    assert sizes == {
        "necrosis": sum((truth == 1).sum() for truth in truths),
        "all_of_it": sum(model.truth(case)["whole"].sum() for case in "ab"),
        "rest": sum((~model.truth(case)["core"] & model.known(case)).sum() for case in "ab"),
    }
    assert summary["voxels"] == sum(model.known(case).sum() for case in "ab")


def test_postprocessing_applies_to_files_and_masks_and_is_noted(
    model: Trained, tmp_path: Path
) -> None:
    lab = model.lab(tmp_path)
    lab.keys["data"]["cases"] = lab.keys["data"]["cases"][:1]
    lab.keys["postprocessing"] = {"keep_largest": ["whole"], "min_volume_ml": {"core": 0.05}}
    lab.keys["targets"] = [
        {"name": "whole", "label": "whole"},
        {"name": "each", "label": "core", "component": "each"},
        {"name": "live", "label": "whole", "of": "probability", "mask": "live"},
    ]
    lab.keys["methods"] = ["input_x_gradient"]
    assert lab.run().exit_code == 0
    from scipy import ndimage

    eight = np.ones((3, 3, 3))
    whole, count = ndimage.label(model.masks("a")["whole"], eight)
    sizes = np.bincount(whole.ravel())[1:]
    assert count > 1
    kept = whole == 1 + sizes.argmax()
    core, _ = ndimage.label(model.masks("a")["core"], eight)
    sizes = np.bincount(core.ravel())[1:]
    large = [place for place, size in enumerate(sizes, 1) if size * VOXEL_ML >= 0.05]
    assert 0 < len(large) < len(sizes)
    folder = lab.root / "a"
    for name, mask in (("whole", kept), ("core", np.isin(core, large))):
        found = voxels(folder / f"a_label-{name}_desc-prediction_mask.nii.gz")
        np.testing.assert_array_equal(found, mask)
    sidecar = read_json(folder / "a_desc-prediction_dseg.json")
    assert sidecar["volume_ml"]["whole"] == pytest.approx(kept.sum() * VOXEL_ML)
    assert sidecar["labels"]["postprocessing"] == {
        "keep_largest": ["whole"],
        "min_volume_ml": {"core": 0.05},
    }
    np.testing.assert_array_equal(lab.map("a", "whole", "input_x_gradient") != 0, kept)
    assert len(list(folder.glob("a_label-each#*_attrmap.nii.gz"))) >= len(large)
    assert (folder / "a_label-each#1_desc-input_x_gradient_attrmap.nii.gz").exists()
    assert lab.sidecar("a", "live", "input_x_gradient")["target_facts"]["voxels"] == (
        model.masks("a")["whole"].sum()
    )


@pytest.mark.slow
def test_changes_to_masks_make_maps_again(model: Trained, tmp_path: Path) -> None:
    lab = model.lab(tmp_path)
    lab.keys["data"]["cases"] = lab.keys["data"]["cases"][:1]
    lab.keys["targets"] = [{"name": "whole", "label": "whole"}]

    def statuses() -> list[str]:
        assert lab.run().exit_code == 0
        return list(lab.statuses().values())

    assert statuses() == ["done"]
    assert statuses() == ["skipped"]
    for change in (
        {"region_order": ["enhancing", "core", "whole"]},
        {"threshold": 0.7},
        {"postprocessing": {"fill_holes": ["core"]}},
        {"ignore_label": 3},
    ):
        lab.keys |= change
        assert statuses() == ["done"], change
    mask = lab.root / "a" / "a_label-core_desc-prediction_mask.nii.gz"
    before = mask.stat().st_mtime_ns
    mask.unlink()
    statuses()
    assert mask.stat().st_mtime_ns > before
    # Regions that are gone leave no mask behind.
    lab.keys |= {"labels": {"whole": [1, 2, 4], "middle": [1, 4], "enhancing": 4}}
    lab.keys |= {"region_order": ["whole", "middle", "enhancing"], "postprocessing": None}
    statuses()
    assert not mask.exists()
    assert mask.with_name("a_label-middle_desc-prediction_mask.nii.gz").exists()


def test_a_mask_of_0_and_255_is_refused_and_says_so(model: Trained, tmp_path: Path) -> None:
    lab = model.lab(tmp_path)
    lab.keys["data"]["cases"] = lab.keys["data"]["cases"][:1]
    lab.keys["targets"] = [{"name": "whole", "label": "whole"}]
    del lab.keys["ignore_label"]
    affine = affine_of("anisotropic")
    save_image(
        tmp_path / "a_truth.nii.gz", (model.truth("a")["whole"] * 255).astype(np.uint8), affine
    )
    result = lab.run()
    assert result.exit_code == 2
    assert "the label map holds 0, 255, but none of the labels (whole 1 2 4, core 1 4" in (
        " ".join(result.output.split()) + " ".join(result.stderr.split())
    )
    case = lab.line_of("a_truth.nii.gz")
    assert f"{lab.config}:{case}: a: " in " ".join(result.output.split())
    # Beside integers of the labels they are counted as background, and named.
    truth = model.cases["a"][1]
    save_image(tmp_path / "a_truth.nii.gz", truth, affine)
    assert lab.run().exit_code == 0
    (note,) = (note for note in lab.record()["notes"] if "255" in note)
    assert "255 in the label map belongs to no label, and counts as background" in note
    assert read_json(lab.root / "a" / "a_desc-prediction_dseg.json")["notes"] == [note]

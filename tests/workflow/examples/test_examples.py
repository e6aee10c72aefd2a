"""`esegeta examples` on networks whose embeddings, influences and surrogates are known."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from tests.experiments import esegeta, read_json, save_image
from tests.workflow.examples.labs import examples_lab, image_of, table, with_influence


def test_prototypes_of_cases_are_those_of_their_mean_activations(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path)
    result = esegeta("examples", lab.write())
    assert result.exit_code == 0, result.output
    # The layer's units are 0 and twice the voxel: a case is at twice its mean.
    places = np.array([2 * image_of(place).astype(float).mean() for place in range(5)])
    between = np.abs(places[:, None] - places[None])
    width = np.median([between[i, j] for i, j in itertools.combinations(range(5), 2)])
    kernel = np.exp(-(between**2) / (2 * width**2))

    def mmd2(pair: tuple[int, ...]) -> float:
        return float(kernel.mean() - 2 * kernel[:, pair].mean() + kernel[np.ix_(pair, pair)].mean())

    best = min(itertools.combinations(range(5), 2), key=mmd2)
    rows = [row for row in table(lab, "prototypes") if row["group"] == "all"]
    chosen = {row["item"] for row in rows if row["role"] == "prototype"}
    assert chosen == {"abcde"[place] for place in best}
    group = table(lab, "groups")[0]
    assert float(group["width"]) == pytest.approx(width, rel=1e-5)
    assert float(group["mmd2"]) == pytest.approx(mmd2(best), rel=1e-4)
    (criticism,) = (row for row in rows if row["role"] == "criticism")
    item = "abcde".index(criticism["item"])
    witness = kernel[:, item].mean() - kernel[list(best), item].mean()
    assert float(criticism["witness"]) == pytest.approx(witness, rel=1e-4)
    near = [row for row in table(lab, "neighbours") if row["group"] == "all" and row["item"] == "a"]
    order = np.argsort(between[0], kind="stable")[1:]
    nearest = [row["neighbour"] for row in near if row["kind"] == "nearest"]
    assert nearest == ["abcde"[place] for place in order[:3]]
    farthest = next(row for row in near if row["kind"] == "farthest")
    assert float(farthest["distance"]) == pytest.approx(between[0].max(), rel=1e-5)


@pytest.mark.parametrize(
    "of", ["slice", "component", pytest.param("supervoxel", marks=pytest.mark.slow)]
)
def test_items_are_parts_of_the_prediction(of: str, tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=2, of=of, min_voxels=4, supervoxels=20)
    result = esegeta("examples", lab.write())
    assert result.exit_code == 0, result.output
    counts = {row["group"]: int(row["items"]) for row in table(lab, "groups")}
    assert list(counts) == (
        ["liver", "errors"] if of == "component" else ["all", "liver", "errors"]
    )
    predicted = [image_of(place) > 0 for place in range(2)]
    wrong = [(image > 0) ^ (image > 0.2) for image in map(image_of, range(2))]
    if of == "slice":
        assert counts["all"] == 2 * 9
        for name, masks in (("liver", predicted), ("errors", wrong)):
            sizes = np.concatenate([mask.sum(axis=(0, 1)) for mask in masks])
            assert counts[name] == (sizes >= 4).sum()
    elif of == "component":
        sizes = []
        for mask in predicted:
            numbers, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
            sizes += np.bincount(numbers.ravel())[1:].tolist()
        assert counts["liver"] == sum(size >= 4 for size in sizes)
    else:
        assert counts["errors"] < counts["liver"] < counts["all"] <= 2 * 30


@pytest.mark.slow
def test_influence_is_the_sum_over_checkpoints(tmp_path: Path) -> None:
    lab = with_influence(examples_lab(tmp_path, cases=3), learning_rates=[0.5, 0.25])
    result = esegeta("examples", lab.write())
    assert result.exit_code == 0, result.output
    rows = table(lab, "influence")
    totals = {
        (row["case"], row["training"]): float(row["value"])
        for row in rows
        if row["method"] == "tracin" and row["layer"] == "all"
    }
    split = [row for row in rows if row["method"] == "tracin" and row["layer"] == "head"]
    assert {(row["case"], row["training"]): float(row["value"]) for row in split} == totals
    from monai.losses import DiceCELoss

    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    images = [torch.from_numpy(image_of(place)) for place in range(3)]
    # Windows of 8^3 without overlap: at both ends of each axis.
    boxes = list(itertools.product(*[[slice(0, 8), slice(n - 8, n)] for n in images[0].shape]))
    expected = dict.fromkeys(totals, 0.0)
    for scale, rate in ((0.5, 0.5), (1.0, 0.25)):
        w = torch.tensor([0.0, scale], requires_grad=True)
        b = torch.tensor([0.0, 0.1 * scale], requires_grad=True)
        slopes = []
        for image in images:
            values = []
            for box in boxes:
                logits = (w[:, None, None, None] * image[box] + b[:, None, None, None])[None]
                values.append(loss(logits, (image[box] > 0.2)[None, None].long()))
            slopes.append(torch.autograd.grad(torch.stack(values).mean(), (w, b)))
        for case, image in zip("abc", images, strict=True):
            asked = (torch.tensor([0.0, float(image.mean())]), torch.tensor([0.0, 1.0]))
            for training, slope in zip("abc", slopes, strict=True):
                pairs = zip(asked, slope, strict=True)
                product = sum(float((one * other).sum()) for one, other in pairs)
                expected[case, training] -= rate * product
    for key, value in expected.items():
        assert totals[key] == pytest.approx(value, rel=1e-3, abs=1e-6)
    selves = table(lab, "self_influence")
    assert [int(row["rank"]) for row in selves] == [1, 2, 3]


@pytest.mark.slow
def test_wrong_labels_have_the_largest_self_influence(tmp_path: Path) -> None:
    lab = with_influence(examples_lab(tmp_path, cases=6))
    for name in ("b", "e"):
        wrong = image_of("abcdef".index(name)) <= 0.2
        save_image(tmp_path / f"{name}_truth.nii.gz", wrong.astype(np.uint8))
    lab.keys["examples"] = {"influence": lab.keys["examples"]["influence"]}
    assert esegeta("examples", lab.write()).exit_code == 0
    ranked = [row["training"] for row in table(lab, "self_influence")]
    assert set(ranked[:2]) == {"b", "e"}


@pytest.mark.slow
def test_leave_one_out_is_measured_by_training_and_its_correlation_reported(
    tmp_path: Path,
) -> None:
    lab = with_influence(
        examples_lab(tmp_path, cases=3), leave_one_out={"seeds": [0, 4], "checkpoints": 2}
    )
    lab.keys["retrain"] = {"iterations": 4, "batch_size": 2, "patch": [4, 4, 4]}
    result = esegeta("examples", lab.write())
    assert result.exit_code == 0, result.output
    units = lab.root / "examples" / "units"
    rows = [row for row in table(lab, "leave_one_out") if row["case"] == "b"]
    for place, row in enumerate(rows):
        changes = []
        for seed in (0, 4):
            whole = read_json(units / f"trained_all_seed-{seed}.json")["values"]["b / liver"]
            without = read_json(units / f"trained_without-{place}_seed-{seed}.json")["values"]
            changes.append(whole - without["b / liver"])
        assert len(set(changes)) == 2
        assert float(row["change"]) == pytest.approx(np.mean(changes), rel=1e-9)
        assert float(row["sd"]) == pytest.approx(np.std(changes), rel=1e-9)
    correlations = [row for row in table(lab, "rank_correlation") if row["case"] == "b"]
    assert len(correlations) == 6
    measured = [float(row["change"]) for row in rows]
    for row in correlations:
        column = ("given_" if row["checkpoints"] == "given" else "") + row["method"]
        expected = stats.spearmanr([float(one[column]) for one in rows], measured).statistic
        assert float(row["correlation"]) == pytest.approx(expected)
    record = read_json(lab.root / "examples" / "examples.json")
    assert record["state"] == "complete"
    said = "leave one out, b / liver: tracin ranks 3 examples"
    assert any(said in note for note in record["notes"])


@pytest.mark.slow
def test_a_surrogate_finds_the_threshold_or_notes_that_it_cannot(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=3)
    lab.keys["examples"] = {"supervoxels": 60, "surrogate": {"kind": "tree", "depth": 1}}
    assert esegeta("examples", lab.write()).exit_code == 0
    (row,) = table(lab, "surrogate")
    assert row["drawn"] == "1"
    assert float(row["fidelity"]) > 0.8
    features = {one["feature"] for one in table(lab, "surrogate_features")}
    assert features <= {"mean", "p10", "p90"}
    picture = lab.root / "examples" / "surrogate_liver.png"
    assert picture.exists()
    # Ask for more than can be had: nothing is drawn, and what was drawn is gone.
    lab.keys["examples"]["surrogate"]["least_fidelity"] = 1.0
    result = esegeta("examples", lab.write())
    assert result.exit_code == 0
    assert (
        "does not show what the network relies on, so there is no figure"
        in result.output.replace("\n", " ")
    )
    (row,) = table(lab, "surrogate")
    assert row["drawn"] == "0"
    assert not table(lab, "surrogate_features")
    assert not picture.exists()


@pytest.mark.slow
def test_a_second_run_skips_all_and_other_counts_choose_anew(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=4)
    esegeta("examples", lab.write())
    record = lab.root / "examples" / "examples.json"

    def statuses() -> dict[str, str]:
        return {unit["task"]: unit["status"] for unit in read_json(record)["units"]}

    esegeta("examples", lab.write())
    assert set(statuses().values()) == {"skipped"}
    lab.keys["examples"]["prototypes"] = 1
    esegeta("examples", lab.write())
    assert {name for name, status in statuses().items() if status == "done"} == {
        "prototypes / all",
        "prototypes / liver",
        "prototypes / errors",
    }
    assert math.isclose(float(table(lab, "groups")[0]["items"]), 4)

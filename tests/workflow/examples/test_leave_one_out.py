"""Slabs as training examples, networks trained without each, and what is said where some fail."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.losses import DiceCELoss
from safetensors.torch import load_file, save_file

from tests.experiments import Lab, esegeta, read_json
from tests.workflow.examples.labs import examples_lab, failures, image_of, table, with_influence


def slabs_lab(folder: Path, *, retrain: dict[str, Any] | None = None, **block: Any) -> Lab:
    """Return a study of the three slabs of one case, none of which is as thick as a window."""
    lab = with_influence(examples_lab(folder, cases=1), **block)
    lab.keys["examples"] = {"influence": lab.keys["examples"]["influence"]}
    lab.keys["examples"]["influence"]["training"]["slabs"] = 3
    lab.keys["retrain"] = {"iterations": 2, "batch_size": 2, "patch": [4, 4, 4], **(retrain or {})}
    return lab


def notes(lab: Lab) -> list[str]:
    return read_json(lab.root / "examples" / "examples.json")["notes"]


def test_the_padding_of_a_slab_is_certain_background(tmp_path: Path) -> None:
    lab = slabs_lab(tmp_path, checkpoints=["ckpt/step10.safetensors"], layers=["head"])
    result = esegeta("examples", lab.write())
    assert result.exit_code == 0, result.output
    image, loss = torch.from_numpy(image_of(0)), DiceCELoss(to_onehot_y=True, softmax=True)
    starts = list(itertools.product((0, 11 - 8), (0, 9 - 8)))
    expected = {}
    for slab in range(3):
        values = []
        for y, z in starts:
            x = image[4 * slab : 4 * slab + 4, y : y + 8, z : z + 8]
            logits = torch.zeros(1, 2, 8, 8, 8)
            logits[:, 0] = 99.0
            logits[:, :, 2:6] = torch.stack([0 * x, x + 0.1])
            truth = torch.zeros(1, 1, 8, 8, 8)
            truth[0, 0, 2:6] = x > 0.2
            values.append(float(loss(logits, truth)))
        expected[f"a, slab {slab}"] = sum(values) / len(values)
    found = {row["training"]: float(row["loss"]) for row in table(lab, "self_influence")}
    assert found == pytest.approx(expected, rel=1e-4)
    curved = {row["layer"] for row in table(lab, "influence") if row["method"] == "curvature"}
    assert curved == {"head"}
    said = "\n".join(notes(lab))
    assert "a single checkpoint shows what one more step would do" in said
    assert "all checkpoints have the same weight" not in said
    assert "the default of `retrain`" not in said  # whose block is given


@pytest.mark.slow
def test_own_checkpoints_are_weighted_by_their_learning_rate(tmp_path: Path) -> None:
    """So slow a training leaves the weights as they are: each step pulls by its rate alone.

    Two equal rates, against the first and the middle of half a cosine: 1 + 1 to 1 + 1/2.
    """
    totals = {}
    for schedule in ("constant", "cosine"):
        folder = tmp_path / schedule
        folder.mkdir()
        slow = {"optimizer": "SGD", "optimizer_args": {"lr": 1e-12}, "schedule": schedule}
        lab = slabs_lab(folder, retrain=slow, leave_one_out={"seeds": [0], "checkpoints": 2})
        assert esegeta("examples", lab.write(), "-q").exit_code == 0
        rows = table(lab, "leave_one_out")
        assert [row["training"] for row in rows] == [f"a, slab {slab}" for slab in range(3)]
        assert {(float(row["change"]), float(row["sd"])) for row in rows} == {(0.0, 0.0)}
        totals[schedule] = [float(row["tracin"]) for row in rows]
        ranks = table(lab, "rank_correlation")
        assert {row["checkpoints"] for row in ranks} == {"retrained", "given"}
        assert {row["correlation"] for row in ranks} <= {"", "nan"}  # nothing has changed
    for one, other in zip(totals["constant"], totals["cosine"], strict=True):
        assert other / one == pytest.approx(0.75, rel=1e-5)


@pytest.mark.slow
def test_a_checkpoint_that_fails_loses_its_influence_but_not_the_trainings(tmp_path: Path) -> None:
    lab = slabs_lab(tmp_path, leave_one_out={"seeds": [0], "checkpoints": 1})
    assert esegeta("examples", lab.write(), "-q").exit_code == 0
    pictures = [lab.root / "examples" / f"draw_{name}.png" for name in ("influence", "left_out")]
    assert [path.exists() for path in pictures] == [True, True]
    before = table(lab, "leave_one_out")
    assert all(row["given_tracin"] for row in before)
    file = tmp_path / "ckpt" / "step2.safetensors"
    most = torch.finfo(torch.float32).max  # twice that is no number
    save_file({name: torch.full_like(one, most) for name, one in load_file(file).items()}, file)
    said = failures(esegeta("examples", lab.write()))
    assert "influence / step2.safetensors: a, slab 0: the loss of window 0 is " in said
    assert table(lab, "influence") == table(lab, "self_influence") == []
    given = dict.fromkeys(["given_tracin", "given_gradient_similarity", "given_curvature"], "")
    assert table(lab, "leave_one_out") == [{**row, **given} for row in before]
    assert {row["checkpoints"] for row in table(lab, "rank_correlation")} == {"retrained"}
    assert [note for note in notes(lab) if "tracin ranks 3 examples" in note]


def test_a_training_that_fails_leaves_nothing_to_rank_by(tmp_path: Path) -> None:
    """Some of them survive such a rate, and what they say is not compared with what is missing."""
    fast = {"optimizer": "SGD", "optimizer_args": {"lr": 1e38}, "iterations": 8}
    lab = slabs_lab(tmp_path, retrain=fast, leave_one_out={"seeds": [0], "checkpoints": 1})
    said = failures(esegeta("examples", lab.write()))
    assert "/ seed 0: the loss is " in said
    assert len(table(lab, "self_influence")) == 3
    assert not (lab.root / "examples" / "leave_one_out.csv").exists()
    assert not (lab.root / "examples" / "rank_correlation.csv").exists()
    assert not [note for note in notes(lab) if note.startswith("leave one out")]

"""What `concepts` writes of what was asked, on three cases: figures, refusals, maps and notes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.experiments import Lab, esegeta, read_json, save_image, voxels
from tests.workflow.concepts.planted import DRIVES, IDLE, SHAPE, planted_lab, table
from tests.workflow.concepts.test_shown import save_examples

WHOLE, SINGLE, SHOWN, AGAIN = "whole", "single", "shown", "again"
FIRST = "first"


def three_cases(folder: Path) -> Lab:
    lab = planted_lab(folder)
    del lab.keys["data"]["cases"][3:]
    for number, case in enumerate("abc"):
        for name, mask in ((WHOLE, np.ones(SHAPE)), (SINGLE, np.zeros(SHAPE))):
            mask = mask.astype(np.int16)
            if number == 0:
                mask[3:9, 3:9] = 1
            save_image(folder / "masks" / f"{case}_{name}.nii.gz", mask, np.eye(4))
    # A part of one case is like nothing else: of two groups, it alone has supervoxels of both.
    strange = voxels(folder / "a_5.nii.gz").copy()
    strange[18:] += 90
    save_image(folder / "a_5.nii.gz", strange, np.eye(4))
    save_examples(folder / SHOWN, 0, count=3)
    masks = {name: {"masks": f"masks/{{case}}_{name}.nii.gz"} for name in (WHOLE, SINGLE)}
    keys = lab.keys["concepts"]
    keys |= {
        "layers": ["units", "head"],
        "concepts": {
            **keys["concepts"],
            **masks,
            SHOWN: {"images": SHOWN},
            AGAIN: {"any_of": [DRIVES]},
        },
        "classifier": "logistic",
        "level": 0.2,
        "discover": {
            "count": 2,
            "method": "kmeans",
            "scales": [40],
            "names": {"units/1": FIRST, "units/3": "beyond", "nowhere/1": "lost"},
        },
        "shap": {"positions": 100, "samples": 1},
    }
    return lab


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, quick_concepts: None) -> Lab:
    lab = three_cases(tmp_path_factory.mktemp("three"))
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    return lab


def rows(lab: Lab, name: str = "tcav", layer: str = "units") -> dict[str, dict[str, str]]:
    listed = table(lab.root / "concepts" / f"{name}.csv")
    return {row["concept"]: row for row in listed if row["layer"] == layer}


def figureless(lab: Lab, layer: str) -> list[dict[str, str]]:
    return [row for row in rows(lab, layer=layer).values() if row["refused"]]


def text(lab: Lab, name: str) -> str:
    """Return what stands in a picture."""
    return (lab.root / "concepts" / name).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_concept_that_drives_the_label_is_told_from_one_that_does_not(done: Lab) -> None:
    found = rows(done)
    assert float(found[DRIVES]["tcav"]) == 1.0 and found[DRIVES]["significant"] == "1"
    # The slope of 2 at each of 26 x 24 voxels times the 4 that the unit differs by.
    assert float(found[DRIVES]["size"]) == pytest.approx(8 * 26 * 24, rel=0.1)
    assert found[DRIVES]["unit"] == "logit x voxels" and found[DRIVES]["cases"] == "3"
    assert found[IDLE]["significant"] == "0" and float(found[IDLE]["p_holm"]) == 1
    assert "drives in units: TCAV 1.00" in text(done, "tcav_named_label.png")


REFUSED = {
    WHOLE: ("units", "no part of it has another place in the body to be compared with", "0", "0"),
    SINGLE: ("units", "only one case contains it, so there is no other case to", "4", "1"),
    FIRST: (
        "units",
        "only one case contains it, so there is no other case to test it on",
        "4",
        "1",
    ),
    IDLE: ("head", "its vector does not generalise: balanced accuracy 0.", "12", "3"),
}


@pytest.mark.parametrize("concept", REFUSED)
def test_a_concept_without_figures_has_a_reason(concept: str, done: Lab) -> None:
    layer, why, examples, cases = REFUSED[concept]
    row = rows(done, layer=layer)[concept]
    assert row["refused"].startswith(why) and row["significant"] == "0"
    assert (row["examples"], row["concept_cases"]) == (examples, cases)
    assert {row[name] for name in ("tcav", "size", "size_low", "p", "p_holm")} == {"nan"}
    figure = "discovered" if concept == FIRST else "named"
    short = row["refused"].split(":")[0]
    assert f"{concept} in {layer}: refused: {short}\n" in text(done, f"tcav_{figure}_label.png")
    assert f"{layer}/{concept}" not in load_file(done.root / "concepts" / "cavs.safetensors") or (
        concept == IDLE  # it has a vector, which is no good
    )


def test_image_sets_find_the_unit_of_a_concept(done: Lab) -> None:
    vectors = load_file(done.root / "concepts" / "cavs.safetensors")
    assert vectors[f"units/{SHOWN}/step"][0] == pytest.approx(4, abs=1)
    assert np.abs(vectors[f"units/{SHOWN}/step"][[1, 3, 4]]).max() < 1
    assert rows(done)[SHOWN]["concept_cases"] == "3"  # images
    assert vectors[f"units/{DRIVES}/draws"].shape == (30, 6)
    assert vectors[f"units/{DRIVES}"] @ np.eye(6)[0] > 0.9


def test_shapley_values_add_up_to_the_gain_in_dice_or_are_refused(done: Lab) -> None:
    listed = table(done.root / "concepts" / "shap.csv")
    named = [row for row in listed if (row["layer"], row["kind"]) == ("units", "named")]
    assert [row["concept"] for row in named] == [DRIVES, IDLE, SHOWN, AGAIN]
    gained = float(named[0]["dice_concepts"]) - float(named[0]["dice_nothing"])
    assert sum(float(row["shapley_dice"]) for row in named) == pytest.approx(gained)
    refused = {
        ("units", "discovered"): "no concept's vector generalises",
        ("head", "named"): "2 concepts span all 2 units of the layer, as random vectors do",
    }
    record = read_json(done.root / "concepts" / "concepts.json")["shap"]
    titles = text(done, "shap.png")
    assert titles.startswith("units, label, named: completeness")
    for (layer, kind), why in refused.items():
        (row,) = [row for row in listed if (row["layer"], row["kind"]) == (layer, kind)]
        assert row["refused"] == why and row["concept"] == "" and row["p"] == "nan"
        (told,) = [one for one in record if (one["layer"], one["kind"]) == (layer, kind)]
        assert told["refused"] == why and "shapley" not in told
        assert f"{layer}, label, {kind}" not in titles


@pytest.mark.parametrize("layer", ["units", "head"])
def test_discovered_concepts_are_ranked_those_without_a_figure_last(layer: str, done: Lab) -> None:
    found = rows(done, "discovered", layer)
    assert [row["rank"] for row in found.values()] == ["1", "2"]
    sizes = [abs(float(row["size"])) for row in found.values()]
    known = [size for size in sizes if not math.isnan(size)]
    assert known == sorted(known, reverse=True)
    assert all(math.isnan(size) for size in sizes[len(known) :])
    assert {row["number"] for row in found.values()} == {f"{layer}/{n}" for n in (1, 2)}
    tested = rows(done, layer=layer)
    for name, row in found.items():
        title = text(done, f"discovered/{layer}_{name}.png").splitlines()[0]
        words = f"{layer}: {name}, {row['examples']} examples"
        if tested[name]["accuracy"] == "nan":  # of one case
            assert title == words
        else:
            accuracy = float(tested[name]["accuracy"])
            assert title == f"{words}, distinguished with accuracy {accuracy:.2f}"


def test_maps_of_significant_concepts_add_up_to_the_size_and_are_recorded(done: Lab) -> None:
    record = read_json(done.root / "concepts" / "concepts.json")
    assert [(one["concept"], one["layer"]) for one in record["significant"]] == [
        (name, layer) for layer in ("units", "head") for name in (DRIVES, AGAIN)
    ]
    for layer in ("units", "head"):
        method = f"concept-{DRIVES}-{layer}"
        sums = [voxels(done.file(case, "label", method)).sum() for case in "abc"]
        assert np.mean(sums) == pytest.approx(
            float(rows(done, layer=layer)[DRIVES]["size"]), rel=0.1
        )
        assert done.sidecar("a", "label", method)["concept"] == DRIVES
        path = done.file("a", "label", method)
        assert str(Path("..") / path.relative_to(done.root)) in record["files"]
    assert len(list(done.root.glob("*/*_attrmap.nii.gz"))) == 3 * 2 * 2
    assert "tcav.csv" in record["files"] and not (done.root / "concepts" / "work").exists()


def test_notes_state_the_limits_of_the_findings(done: Lab) -> None:
    record = read_json(done.root / "concepts" / "concepts.json")
    (first,) = [one for one in record["concepts"] if one["concept"] == FIRST]
    refused = {row["concept"] for layer in ("units", "head") for row in figureless(done, layer)}
    in_body, notes = first["matched"]["the body"], record["notes"]
    told = "\n".join(notes)
    for words in (
        "3 cases: intervals over so few are rough",
        f"{SHOWN}: defined by 3 images, compared with patches from anywhere",
        "their generalising is not a finding",
        "discover.names: no such concept: units/3, nowhere/1; write LAYER/NUMBER",
        f"without a figure in one layer or more: {', '.join(sorted(refused))}; see `refused`",
        f"{FIRST}: {100 * in_body:.0f} % of its examples have no other place as deep in the body",
    ):
        assert words in told
    assert "slabs" not in told and "counters: anywhere" not in told
    assert not [one for one in notes if one.startswith(f"{SHOWN}:") and "as deep" in one]

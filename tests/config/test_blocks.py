"""Blocks of keys: what each refuses in itself, with its line, and short forms that stand for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from esegeta.errors import ConfigError
from tests.config.short import keys_of

CASE = {"image": "a.nii.gz"}
UNIT = {"layer": "model.0", "unit": 1}
CONCEPTS = {"layers": "all", "concepts": {"liver": 1}, "targets": ["whole"]}
INFLUENCE = {
    "checkpoints": ["a.pt"],
    "training": {"cases": ["a.nii.gz"]},
    "test": {"targets": ["whole"]},
}


def concepts(**keys: Any) -> dict[str, Any]:
    return {"concepts": {**CONCEPTS, **keys}}


def box(*corners: list[int]) -> dict[str, Any]:
    concept = {"boxes": {"a": [list(corners)]}}
    return {"dissection": {"layers": "all", "concepts": {"box": concept}}}


def objective(**keys: Any) -> dict[str, Any]:
    return {"features": {"objectives": [keys], "size": [8, 8, 8]}}


def features(**keys: Any) -> dict[str, Any]:
    return {"features": {"objectives": [UNIT], "size": [8, 8, 8], **keys}}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no image": ({"data": {"cases": [{"image": []}]}}, r"data\.cases\[0\]\.image", "no image is"),
    "an image of no name": ({"data": {"cases": [{"image": ""}]}}, "image", "no image is named"),
    "a name twice": (
        concepts(discover={"names": {"1": "rim", "2": "rim"}}),
        r"concepts\.discover\.names",
        'two discovered concepts are given the name "rim"',
    ),
    "a list of concepts": (
        concepts(concepts=["liver"]),
        r"concepts\.concepts",
        r"name each concept, such as \{liver: 3\}",
    ),
    "a target twice": (
        concepts(targets=["whole", "core", "whole"]),
        r"concepts\.targets",
        '"whole" is listed twice',
    ),
    "a box of no width": (box([3, 3, 3], [6, 3, 6]), "box", "the first must be below"),
    "a box of two and three axes": (box([3, 3], [6, 6, 6]), "box", "the first must be below"),
    "a checkpoint of no name": (
        {"examples": {"influence": {**INFLUENCE, "checkpoints": ["a.pt", ""]}}},
        r"examples\.influence\.checkpoints",
        r"name a file, or a pattern such as ckpt/\*\.safetensors",
    ),
    "an unknown surrogate": (
        {"examples": {"surrogate": "forest"}},
        r"examples\.surrogate",
        '"forest" is not known; choose from: tree, linear',
    ),
    "a number for a layer": (
        {"examples": {"layer": 3}},
        r"examples\.layer",
        'a layer\'s name is text; put it in quotes: "3"',
    ),
    "no examples of anything": (
        {"examples": {"of": "slice"}},
        "examples",
        "there is nothing to do; name a `layer` for prototypes and criticisms",
    ),
    "a unit of no layer": (
        objective(label="whole", unit=1),
        r"features\.objectives\[0\]",
        "`unit` needs `layer`",
    ),
    "a place in a whole layer": (
        objective(layer="model.0", at="centre"),
        r"features\.objectives\[0\]",
        "`at` belongs to a unit, a direction or a label",
    ),
    "a place of one axis": (
        objective(**UNIT, at=[3]),
        r"features\.objectives\[0\]",
        "at: give `mean`, `centre`, or one index per axis",
    ),
    "a direction to nowhere": (
        objective(layer="model.0", direction=[0, 0.0]),
        r"features\.objectives\[0\]",
        "direction: must not be all zero",
    ),
    "a sum of nothing": (
        objective(combine={}),
        r"features\.objectives\[0\]",
        "combine names no objective",
    ),
    "a picture of one axis": (features(size=[8]), r"features\.size", "two or three lengths"),
    "a picture of no width": (features(size=[8, 0]), r"features\.size", "two or three lengths"),
    "a way twice": (
        features(compare=["code", "code"]),
        "features",
        "compare: a name is listed twice",
    ),
    "no channels to show": (
        {"inspect": {"layers": "all", "channels": []}},
        "inspect",
        "channels: name one, or say how many",
    ),
    "no cases to show": (
        {"inspect": {"layers": "all", "cases": []}},
        "inspect",
        "cases: name one, write `all`, or leave it out for the first",
    ),
    "a download of a file": (
        {"model": {"kind": "torchscript", "path": "n.ts", "allow_download": True}},
        "model",
        "`allow_download` belongs to kind: monai or module",
    ),
    "an unknown preset": (
        {"prediction": "nnunett"},
        "prediction",
        '"nnunett" is not known; did you mean "nnunet"\\? Or give a block such as',
    ),
    "a scale that changes nothing": (
        {"data": {"cases": [CASE], "preprocess": {"intensity": {"rescale": {}}}}},
        r"data\.preprocess\.intensity\.rescale",
        "give scale, offset, or both",
    ),
    "a patch of one axis": ({"retrain": {"patch": [8]}}, r"retrain\.patch", "two or three lengths"),
    "a patch of no width": ({"retrain": {"patch": [8, 0]}}, r"retrain\.patch", "above zero"),
    "scores and more": (
        {"write": ["scores", "nifti"]},
        "write",
        "scores must be the only entry: it means that no maps are written",
    ),
    "a bound twice": (
        {"prediction": {"expected_dice": 0.9}, "expected_dice": 0.9},
        "expected_dice",
        r"it is given twice; leave out prediction\.expected_dice",
    ),
    "a network of no name": (
        {"similarity": {"with": ["other.yaml", ""]}},
        r"similarity\.with",
        "an entry is empty",
    ),
    "an id of two words": (
        {"methods": [{"name": "saliency", "id": "my own"}]},
        r"methods\[0\]: id",
        '"my own" cannot be part of a file name; leave out the spaces',
    ),
    "an id that is a list": (
        {"methods": [{"name": "saliency", "id": ["mine"]}]},
        r"methods\[0\]\.id",
        r"should be text \(found \['mine'\]\)",
    ),
    "a method without a name": ({"methods": [{"steps": 3}]}, r"methods\[0\]", "needs a name"),
    "a target that is nothing": ({"targets": [None]}, r"targets\[0\]", "label"),
    "a key of two lines": (
        {"model": {"kind": "monai", "network": "UNet", "args": {"a\nb": 1}}},
        r"model\.args",
        "a key: must be plain text .found a control, U.000A",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_fault_is_reported_with_its_line(fault: str, tmp_path: Path) -> None:
    keys, place, said = REFUSED[fault]
    with pytest.raises(ConfigError, match=rf"^\S+x\.yaml:\d+: (\S+\.)?{place}: .*{said}"):
        keys_of(tmp_path, **keys)


def test_names_of_discovered_concepts_may_differ(tmp_path: Path) -> None:
    found = keys_of(tmp_path, **concepts(discover={"names": {"1": "rim", "2": "core"}})).concepts
    assert found is not None and found.discover is not None
    assert found.discover.names == {"1": "rim", "2": "core"}


def test_a_word_stands_for_a_block(tmp_path: Path) -> None:
    keys = keys_of(
        tmp_path,
        name=12,
        examples={"surrogate": "linear"},
        data={"cases": [CASE], "preprocess": {"intensity": [None, "zscore"]}},
        write="scores",
        prediction="monai",
    )
    assert keys.name == "12"
    assert keys.examples is not None and keys.examples.surrogate is not None
    assert keys.examples.surrogate.kind == "linear"
    first, second = keys.data.preprocess.intensity
    assert (first.none, second.none, second.zscore) == (True, None, True)
    assert (keys.write, keys.keeps_maps) == (["scores"], False)
    assert keys.prediction.resample == "probabilities"


@pytest.mark.parametrize(
    "decision",
    [{"threshold": 0.4}, {"region_order": ["whole"]}, {"postprocessing": {"fill_holes": True}}],
)
def test_invalid_labels_are_the_only_fault_reported(
    decision: dict[str, Any], tmp_path: Path
) -> None:
    """What is decided about them cannot be told to fit or not."""
    with pytest.raises(ConfigError) as caught:
        keys_of(tmp_path, labels={"whole": "one"}, activation="sigmoid", **decision)
    (line,) = str(caught.value).splitlines()
    assert "labels.whole: give the integer of the label, or a list of them" in line

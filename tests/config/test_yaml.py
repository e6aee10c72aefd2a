"""Scalars of YAML 1.2, lines of every key, and defaults."""

import re
from pathlib import Path
from typing import Any

import pytest

from esegeta.config import list_cases, load_config
from esegeta.config.lines import parse_yaml
from esegeta.errors import ConfigError
from esegeta.explain import GradientShap, SmoothGrad
from esegeta.score import Deletion, Infidelity, RandomMapBaseline, SensitivityMax
from tests.experiments import pointwise_lab

SCALARS: list[tuple[str, Any]] = [
    ("1e-3", 1e-3),
    ("1E5", 1e5),
    ("-2.5e+2", -250.0),
    (".5", 0.5),
    ("3", 3),
    ("-0", 0),
    ("0x1F", 31),
    ("0o17", 15),
    ("017", "017"),
    ("001", "001"),
    ("0", 0),
    ("00.5", "00.5"),
    ("0.5", 0.5),
    ("12:30", "12:30"),
    ("1_000", "1_000"),
    ("yes", "yes"),
    ("off", "off"),
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    ("2024-01-31", "2024-01-31"),
    ("1.2.3", "1.2.3"),
    ('"1e-3"', "1e-3"),
    (".inf", float("inf")),
]


@pytest.mark.parametrize(("text", "expected"), SCALARS, ids=[text for text, _ in SCALARS])
def test_scalars_follow_yaml_1_2(text: str, expected: object) -> None:
    value = parse_yaml(f"key: {text}", Path("x.yaml")).content["key"]
    assert value == expected
    assert type(value) is type(expected)


def test_a_number_with_an_exponent_reaches_a_method(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    text = lab.write().read_text()
    method = "- {name: integrated_gradients, tolerance: 1e-3}"
    lab.config.write_text(text.replace("- saliency", method))
    assert load_config(lab.config).methods["integrated_gradients"].tolerance == 1e-3


TEXT = """\
name: tiny
model:
  args: {channels: [4,
                    8]}
methods:
  - saliency
  - name: occlusion
    box: 4
"""

LINES = {
    ("name",): 1,
    ("model",): 2,
    ("model", "args"): 3,
    ("model", "args", "channels", 0): 3,
    ("model", "args", "channels", 1): 4,
    ("methods", 0): 6,
    ("methods", 1): 7,
    ("methods", 1, "box"): 8,
    ("methods", 1, "no such key"): 7,
    ("nothing", "at", "all"): 1,
}


@pytest.mark.parametrize("keys", LINES, ids=str)
def test_every_value_has_its_line(keys: tuple[str | int, ...]) -> None:
    assert parse_yaml(TEXT, Path("x.yaml")).place(keys) == f"x.yaml:{LINES[keys]}"


NO_KEYS = {
    "model: {args: {null: 3}}": "an unquoted null is not a key; put it in quotes",
    "a: 1\nlabels:\n  ~: liver": "an unquoted ~ is not a key; put it in quotes",
    "a: 1\nlabels: {? : liver}": "the key before the colon is missing",
}


@pytest.mark.parametrize("text", NO_KEYS)
def test_an_unquoted_null_is_refused_as_a_key(text: str) -> None:
    place = f"x.yaml:{len(text.splitlines())}: "
    with pytest.raises(ConfigError, match=re.escape(place + NO_KEYS[text])):
        parse_yaml(text, Path("x.yaml"))


def test_null_in_quotes_is_a_key() -> None:
    content = parse_yaml('a: {"null": 1, "~": null, "": 2}', Path("x.yaml")).content
    assert content["a"] == {"null": 1, "~": None, "": 2}


def test_an_alias_stands_for_its_anchor() -> None:
    content = parse_yaml("a: &x {steps: 3}\nb: *x\n", Path("x.yaml")).content
    assert content["b"] == {"steps": 3}


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    for key in ("version", "output", "seed", "device", "activation", "scores"):
        lab.keys.pop(key)
    lab.keys["inference"] = {"window": [8, 8, 8]}
    resolved = load_config(lab.write()).resolved()
    assert resolved["version"] == 1
    assert (resolved["output"], resolved["seed"], resolved["device"]) == ("results", 0, "auto")
    assert resolved["activation"] == "softmax"
    assert resolved["inference"] == {
        "window": [8, 8, 8],
        "overlap": 0.5,
        "blend": "gaussian",
        "positions": "fixed",
        "batch_size": 1,
        "memory_gb": None,
        "precision": "fp32",
        "memory_format": "contiguous",
        "slice_axis": 2,
        "padding": "zeros",
        "mirror": [],
        "average": "logits",
        "spread": None,
    }
    target = resolved["targets"][0]
    assert (target["of"], target["over"], target["reduce"]) == ("logit", "predicted", "sum")
    assert (target["mask"], target["component"]) == ("frozen", "largest")


IMPLIED = {
    "component": ({"component": 2}, "component"),
    "boundary": ({"within_mm": 4}, "boundary"),
    "roi": ({"roi": "x.nii.gz"}, "roi"),
    "box": ({"box": [[0, 0, 0], [1, 1, 1]]}, "box"),
    "point": ({"point": [0, 0, 0]}, "point"),
    "dice": ({"of": "dice"}, "all"),
    "volume": ({"of": "volume_ml"}, "all"),
    "entropy": ({"of": "entropy"}, "all"),
    "nothing": ({}, "predicted"),
}


@pytest.mark.parametrize("case", IMPLIED)
def test_a_key_of_a_region_implies_the_region(case: str, tmp_path: Path) -> None:
    keys, over = IMPLIED[case]
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["targets"] = [{"label": "liver", **keys}]
    assert load_config(lab.write()).keys.targets[0].over == over


WRITTEN_OUT = {
    "sum of dice": {"of": "dice", "reduce": "sum"},
    "frozen dice": {"of": "dice", "mask": "frozen", "over": "all"},
    "frozen sum of a volume": {"of": "volume_ml", "reduce": "sum", "mask": "frozen"},
    "dice over the prediction": {"of": "dice", "over": "predicted"},
    "no bound on the largest": {"component": "largest", "min_volume_ml": 0},
    "each above a bound": {"component": "each", "min_volume_ml": 0.5},
    "nothing but a label": dict.fromkeys(
        ("name", "of", "over", "reduce", "mask", "component", "min_volume_ml", "within_mm", "box")
    ),
}


@pytest.mark.parametrize("case", WRITTEN_OUT)
def test_defaults_may_be_written_out(case: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["targets"] = [{"label": "liver", **WRITTEN_OUT[case]}]
    assert load_config(lab.write()).keys.targets[0].label == "liver"


def test_keys_without_a_value_count_as_left_out(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    for key in ("version", "output", "seed", "device", "activation", "scores"):
        lab.keys.pop(key)
    lab.keys["inference"] = {"window": [8, 8, 8]}
    lab.keys["methods"] = [{"name": "integrated_gradients"}]
    plain = load_config(lab.write())
    for key in ("version", "output", "seed", "device", "activation", "scores"):
        lab.keys[key] = None
    lab.keys["data"].update(preprocess=None, nan=None, channels=None)
    lab.keys["inference"].update(overlap=None, blend=None, batch_size=None, slice_axis=None)
    lab.keys["methods"] = [{"name": "integrated_gradients", "id": None, "steps": None}]
    empty = load_config(lab.write())
    assert empty.resolved()["data"] == plain.resolved()["data"]
    assert {**empty.resolved(), "methods": 0} == {**plain.resolved(), "methods": 0}
    assert empty.methods == plain.methods


@pytest.mark.parametrize("key", ["args", "preprocess"])
def test_a_block_without_a_value_is_an_empty_block(key: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["model"]["args"] = None
    lab.keys["data"]["preprocess"] = {"orientation": None, "spacing_mm": None, "intensity": None}
    config = load_config(lab.write())
    assert config.keys.model.args == {}
    assert config.keys.data.preprocess.intensity.none is True


def test_names_keep_their_zeros(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    text = lab.write().read_text()
    assert "- name: a\n" in text
    lab.config.write_text(text.replace("- name: a\n", "- name: 001\n"))
    assert list_cases(load_config(lab.config))[0].name == "001"


CONTRADICTIONS = {
    "bound on the largest": {"component": "largest", "min_volume_ml": 0.5},
    "bound on a rank": {"component": 2, "min_volume_ml": 0.5},
    "combination over a region": {"combine": {"x": 1.0}, "label": None, "over": "all"},
    "region without its key": {"over": "box"},
    "key of another region": {"over": "all", "component": 2},
    "reference without dice": {"of": "logit", "reference": "predicted"},
    "mean of dice": {"of": "dice", "reduce": "mean"},
    "live volume": {"of": "volume_ml", "mask": "live"},
    "dice of each component": {"of": "dice", "over": "component", "component": "each"},
    "combination with more": {"combine": {"x": 1.0}},
    "component zero": {"component": 0},
    "negative distance": {"within_mm": -1},
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictory_keys_of_a_target_are_refused(case: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["targets"] = [{"label": "liver", **CONTRADICTIONS[case]}]
    lab.write()
    with pytest.raises(ConfigError) as caught:
        load_config(lab.config)
    for line in str(caught.value).splitlines():
        place, _, message = line.removeprefix(f"{lab.config}:").partition(": ")
        assert lab.line_of("targets:") < int(place) <= len(lab.config.read_text().splitlines())
        assert message.startswith("targets[0]")


def test_a_nested_method_or_score_gets_the_seed_of_the_config(tmp_path: Path) -> None:
    """Also the one that is there by default, and not where it has a seed of its own."""
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    shap = {"name": "gradient_shap"}
    lab.keys["methods"] = [{"name": "smoothgrad", "base": shap}]
    lab.keys["scores"] = [
        "random_map_baseline",
        {"name": "random_map_baseline", "id": "named", "base": "infidelity"},
        {"name": "random_map_baseline", "id": "own", "base": {"name": "infidelity", "seed": 8}},
        {"name": "random_map_baseline", "id": "other", "base": "sensitivity_max"},
    ]
    loaded = load_config(lab.write())
    assert loaded.methods["smoothgrad"] == SmoothGrad(base=GradientShap(seed=3), seed=3)
    assert dict(loaded.scores) == {
        "random_map_baseline": RandomMapBaseline(Deletion(steps=5, seed=3), seed=3),
        "named": RandomMapBaseline(Infidelity(seed=3), seed=3),
        "own": RandomMapBaseline(Infidelity(seed=8), seed=3),
        "other": RandomMapBaseline(SensitivityMax(seed=3), seed=3),
    }


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("methods[0].noise", ".nan"),
        ("methods[0].noise", "inf"),  # a text, which would become a number
        ("scores[0].noise", ".inf"),
        ("scores[0].noise", "nan"),
        ("inference.overlap", ".nan"),
        ("data.preprocess.intensity.window[0]", "-.inf"),
        ("data.preprocess.spacing_mm[0]", "nan"),
        ("retrain.fractions[0]", ".nan"),
        ("retrain.optimizer_args.lr", ".nan"),  # passed on, without a block of its own
        ("dissection.quantile", "nan"),
        ("targets[0].threshold", ".nan"),
    ],
)
def test_non_finite_numbers_are_refused_in_every_key(key: str, text: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["methods"] = [{"name": "smoothgrad", "noise": 0.1}]
    lab.keys["scores"] = [{"name": "infidelity", "noise": 0.1}]
    lab.keys["data"]["preprocess"] = {
        "spacing_mm": [1.0, 1.0, 1.0],
        "intensity": {"window": [0.0, 1.0]},
    }
    lab.keys["retrain"] = {"fractions": [0.1], "optimizer_args": {"lr": 1e-3}}
    with pytest.raises(ConfigError, match="finite") as found:
        load_config(lab.write(), [f"{key}={text}"])
    assert key in str(found.value)

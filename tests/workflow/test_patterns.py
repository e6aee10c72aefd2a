"""Patterns are learned once from all cases of a run, kept in its folder, and found again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from esegeta.config import load_config
from esegeta.explain import PatternAttribution, PatternNet, Saliency, SmoothGrad, fit_patterns
from esegeta.model.file_hash import file_sha256
from esegeta.volume import read_case
from esegeta.workflow.build import Experiment, build_experiment
from esegeta.workflow.prepared import (
    patterns_fingerprint,
    patterns_of,
    patterns_path,
    with_patterns,
)
from tests.experiments import Lab, noise, pointwise_lab, refused, save_image, unet_lab

SHAPE = (8, 7, 6)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return pointwise_lab(tmp_path, [[0.5], [1.0]], [0.0, 0.0], cases=2, shape=SHAPE)


def build(lab: Lab) -> Experiment:
    return build_experiment(load_config(lab.write()))


def test_patterns_are_learned_from_all_cases_and_reused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = build(lab)
    found = with_patterns(PatternNet(), experiment)
    assert isinstance(found, PatternNet) and found.fitted is not None
    volumes = [
        read_case(case, experiment.preprocess, experiment.reading)[0] for case in experiment.cases
    ]
    expected = fit_patterns(experiment.predictor, volumes)
    assert found.fitted.fitted_on == tuple(case.name for case in experiment.cases)
    for key, value in expected.values.items():
        assert torch.equal(found.fitted.values[key], value)
    assert patterns_path(experiment).is_file()
    # Another run over the same inputs reads them; nothing is learned again.
    monkeypatch.setattr("esegeta.workflow.prepared.fit_patterns", None)
    again = patterns_of(build(lab))
    assert all(torch.equal(again.values[key], value) for key, value in expected.values.items())


def test_nested_methods_get_patterns_too(lab: Lab) -> None:
    experiment = build(lab)
    tunnel = with_patterns(SmoothGrad(base=PatternAttribution()), experiment)
    assert isinstance(tunnel, SmoothGrad) and isinstance(tunnel.base, PatternAttribution)
    assert tunnel.base.fitted is patterns_of(experiment)
    saliency = Saliency()
    assert with_patterns(saliency, experiment) is saliency


def test_a_file_of_patterns_is_relative_to_the_config(lab: Lab) -> None:
    experiment = build(lab)
    patterns_of(experiment).save(lab.folder / "mine.safetensors")
    found = with_patterns(PatternNet(patterns="mine.safetensors"), experiment)
    assert isinstance(found, PatternNet) and found.fitted is not None
    assert found.fitted.network_sha256 == patterns_of(experiment).network_sha256
    assert found == PatternNet(patterns="mine.safetensors")  # the values are no parameter


def test_the_fingerprint_of_patterns_covers_network_and_cases(lab: Lab) -> None:
    experiment = build(lab)
    first = patterns_fingerprint(PatternNet(), experiment)
    assert first == patterns_fingerprint(PatternNet(), build(lab))
    assert patterns_fingerprint(Saliency(), experiment) is None
    other = replace(experiment, weights_sha256="another")
    assert patterns_fingerprint(PatternNet(), other) != first
    save_image(experiment.cases[1].images[0], noise(SHAPE, seed=9))
    assert patterns_fingerprint(PatternNet(), build(lab)) != first


def test_a_missing_file_of_patterns_is_refused_with_its_line(lab: Lab) -> None:
    lab.keys["methods"] = ["saliency", {"name": "pattern_net", "patterns": "mine.safetensors"}]
    result = lab.validate()
    line = lab.line_of("pattern_net")
    refused(result, lab, f"tiny.yaml:{line}: ", "patterns: mine.safetensors: no such file")
    asked = lab.keys["methods"].pop()
    experiment, explainer = build(lab), PatternNet(patterns="mine.safetensors")
    assert patterns_fingerprint(explainer, experiment) is None
    patterns_of(experiment).save(lab.folder / "mine.safetensors")
    expected = file_sha256(lab.folder / "mine.safetensors")
    assert patterns_fingerprint(explainer, experiment) == expected
    lab.keys["methods"].append(asked)
    assert lab.validate().exit_code == 0


@pytest.mark.slow
def test_patterns_for_a_unit_are_fitted_on_the_network_up_to_its_layer(tmp_path: Path) -> None:
    """The network of a unit ends at its layer, so patterns of the whole network do not fit."""
    lab = unet_lab(tmp_path, cases=2)
    lab.keys["targets"] = [
        {"name": "whole", "label": "liver", "over": "all"},
        {"name": "unit", "of": "unit", "layer": "model.0", "channel": 1},
    ]
    lab.keys["methods"] = ["pattern_net", "pattern_attribution"]
    outcome = lab.run()
    assert outcome.exit_code == 0, outcome.stdout
    fitted = [
        lab.sidecar("a", target, "pattern_net")["facts"]["more"]["patterns_fitted_on"]
        for target in ("whole", "unit")
    ]
    assert fitted == ["a, b", "the explained volume itself"]

"""Methods and scores of others: by the path of a class, and by what packages announce."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from esegeta.errors import ConfigError
from esegeta.explain import METHOD, METHODS
from esegeta.own_classes import announced, class_at, code_sha256
from esegeta.score import ALL_SCORES
from tests.experiments import Lab, esegeta, quick, unet_lab
from tests.own_work import ENTRY_POINTS, TEXT

__all__ = ["quick"]
NUMBERS = count()


@pytest.fixture
def module(tmp_path: Path) -> str:
    """The name of a module that no other test has imported."""
    name = f"own_work_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(TEXT, encoding="utf-8")
    return name


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return unet_lab(tmp_path)


@pytest.fixture
def package(tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installed package that announces a method, one that is not there, and a score."""
    info = tmp_path / "own_work-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-work\nVersion: 1.0\n")
    text = ENTRY_POINTS.format(number=module.rpartition("_")[2])
    (info / "entry_points.txt").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    announced.cache_clear()
    yield module
    announced.cache_clear()


def test_a_class_beside_the_config_runs_like_any_method(lab: Lab, module: str, quick: None) -> None:
    mine = {"class": f"{module}:TimesInput", "factor": 3.0}
    lab.keys["methods"] = [mine, {**mine, "id": "other", "factor": 1.0}, "input_x_gradient"]
    lab.keys["scores"] = [{"class": f"{module}:Largest"}, "gini"]
    assert lab.run().exit_code in (0, 1)
    ours = lab.map("a", "liver", "input_x_gradient")
    np.testing.assert_allclose(lab.map("a", "liver", "other"), ours, rtol=1e-6)
    np.testing.assert_allclose(lab.map("a", "liver", "times_input"), 3 * ours, rtol=1e-6)
    assert lab.sidecar("a", "liver", "times_input")["parameters"] == {"factor": 3.0}
    found = {(row["method"], row["score"]): float(row["value"]) for row in lab.scores()}
    assert found["other", "largest"] == pytest.approx(float(ours.max()), rel=1e-5)
    assert found["times_input", "gini"] == pytest.approx(found["other", "gini"], rel=1e-5)


def test_a_class_that_has_changed_is_run_again(lab: Lab, module: str, quick: None) -> None:
    lab.keys["methods"] = [{"class": f"{module}:TimesInput"}, "saliency"]
    assert lab.run().exit_code in (0, 1)
    kept = lab.maps()
    assert lab.run().exit_code in (0, 1)
    assert lab.maps() == kept
    file = lab.folder / f"{module}.py"
    file.write_text(file.read_text() + "\n# another\n", encoding="utf-8")
    assert lab.run().exit_code in (0, 1)
    done = {name.partition("desc-")[2]: when != kept[name] for name, when in lab.maps().items()}
    assert done == {"times_input_attrmap.nii.gz": True, "saliency_attrmap.nii.gz": False}


def test_packages_announce_methods_and_scores(
    lab: Lab, package: str, capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    assert "times_input" in METHODS and "largest" in ALL_SCORES
    assert METHODS["times_input"].__module__ == package
    with pytest.raises(ConfigError, match=r'has no attribute|"Gone"'):
        _ = METHODS["gone"]
    listed = esegeta("methods")
    assert listed.exit_code == 0
    assert "times_input" in listed.stdout and "method gone of own-work" in listed.stderr
    assert "Source:" in esegeta("methods", "times_input").stdout
    assert "largest" in esegeta("scores").stdout
    lab.keys["methods"] = [{"name": "times_input", "factor": 1.0}]
    lab.keys["scores"] = ["largest"]
    assert lab.run().exit_code in (0, 1)
    assert [row["score"] for row in lab.scores()] == ["largest"]
    lab.keys["methods"] = ["times_inpt"]
    refused = lab.run()
    assert refused.exit_code == 2 and "times_input" in refused.stderr


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere_at_all:Mine", 'no module "nowhere_at_all"'),
        ("{}:TimesInpt", 'did you mean "TimesInput"?'),
        ("{}:Stranger", "is not a method; derive it from esegeta.Explainer"),
        ("{}:Largest", "is not a method"),
        ("{}:Half", "lacks attribute, cost, meaning, traits"),
        ("{}:Bare", "@dataclass"),
        ("{}:Needy", "more has no default; every parameter needs one"),
        ("no_colon", "names no class"),
        (":Mine", "names no class"),
    ],
)
def test_a_class_that_is_not_a_method_is_refused_with_its_line(
    lab: Lab, module: str, path: str, words: str
) -> None:
    lab.keys["methods"] = ["saliency", {"class": path.format(module)}]
    result = lab.validate()
    assert result.exit_code == 2
    assert words in result.stderr, result.stderr
    assert f"{lab.config}:{lab.line_of('class: ' + path.split(':')[0].format(module))}" in (
        result.stderr
    )


def test_parameters_of_a_users_class_are_checked_like_built_in_ones(lab: Lab, module: str) -> None:
    mine = f"{module}:TimesInput"
    for keys, words in (
        ({"factr": 1.0}, 'unknown key of times_input; did you mean "factor"?'),
        ({"factor": "much"}, "number"),
        ({"id": "a/b"}, "cannot be part of a file name"),
    ):
        lab.keys["methods"] = [{"class": mine, **keys}]
        result = lab.validate()
        assert result.exit_code == 2 and words in result.stderr, result.stderr
    lab.keys["methods"] = [f"{module}:TimesInput"]
    result = lab.validate()
    assert result.exit_code == 2 and '{class: "package.module:Class"}' in result.stderr


def test_a_method_may_wrap_a_users_class(lab: Lab, module: str, quick: None) -> None:
    base = {"class": f"{module}:TimesInput", "factor": 2.0}
    lab.keys["methods"] = [{"name": "smoothgrad", "samples": 2, "noise": 1e-6, "base": base}]
    lab.keys["methods"] += [base]
    done = lab.run()
    assert done.exit_code in (0, 1), done.stderr
    smooth = lab.map("a", "liver", "smoothgrad")
    plain = lab.map("a", "liver", "times_input")
    np.testing.assert_allclose(smooth, plain, rtol=0, atol=1e-4 * np.abs(plain).max())


def test_built_in_classes_have_no_code_hash() -> None:
    assert code_sha256(METHODS["saliency"]()) is None
    with pytest.raises(ConfigError, match="no class"):
        class_at("esegeta.explain:Salience")
    assert METHOD.at("esegeta.explain:Saliency") is METHODS["saliency"]

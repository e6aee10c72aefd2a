"""A map as notebooks show it, and one line of whatever Python prints."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

import esegeta
from esegeta.errors import MapError
from esegeta.explain import Attribution, InputXGradient, IntegratedGradients, Saliency
from esegeta.report.notebook import facts_of
from tests.builders import predictor, unet, volume
from tests.oracles import frozen


@pytest.fixture(scope="module")
def attribution() -> Attribution:
    model = predictor(unet(2), (8, 8))
    image = volume((12, 10), 1)
    return InputXGradient().explain(model, image, frozen(model, image))


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_plot_is_shown_by_notebooks(attribution: Attribution) -> None:
    usual, other = (attribution.plot(title) for title in (None, "another"))
    shown = [pixels_of(figure._repr_png_()) for figure in (usual, other)]
    assert (np.abs(shown[0][..., 0] - shown[0][..., 2]) > 60).sum() > 100  # red and blue
    rows = np.flatnonzero((shown[0] != shown[1]).any(axis=(1, 2)))
    assert 0 < len(rows) < len(shown[0]) / 4 and rows.max() < len(shown[0]) / 4


def test_html_holds_the_picture_and_the_facts(attribution: Attribution) -> None:
    html = attribution._repr_html_()
    encoded = re.search(r"data:image/png;base64,([^']+)'", html)
    assert encoded is not None
    assert pixels_of(base64.b64decode(encoded[1])).shape[1] > 500
    assert attribution.meaning.sign in html
    assert f"{float(attribution.data.double().sum()):.6g}" in html
    assert "<script" not in html


def test_names_are_escaped(attribution: Attribution) -> None:
    from dataclasses import replace

    named = replace(attribution, warnings=("a <b> & 'c'",))
    assert "a &lt;b&gt; &amp; &#x27;c&#x27;" in named._repr_html_()


def test_the_repr_of_every_object_is_one_line(attribution: Attribution) -> None:
    target = attribution.target
    for item in (attribution, target, target.scene, target.scene.predictor, attribution.volume):
        text = repr(item)
        assert "\n" not in text and len(text) < 400 and text.startswith("<")
        assert type(item).__name__ in text
    assert "12x10 voxels" in repr(attribution.volume)
    assert "windows of 8 x 8, labels one" in repr(target.scene.predictor)
    np.testing.assert_array_equal(attribution.numpy(), attribution.data.numpy())
    np.testing.assert_array_equal(attribution.volume.numpy(), attribution.volume.data.numpy())


def test_a_score_needs_the_map_alone(attribution: Attribution) -> None:
    from dataclasses import replace

    from esegeta.score import Infidelity, ScoreContext

    score = Infidelity(samples=2)
    context = ScoreContext(attribution.target.scene.predictor, InputXGradient())
    assert score.score(attribution) == score.score(attribution, context)
    with pytest.raises(MapError, match="does not record how it was made"):
        score.score(replace(attribution, explainer=None))
    model, image = attribution.target.scene.predictor, attribution.volume
    assert Saliency().explain(model, image, attribution.target).explainer == esegeta.Saliency()


def test_parameters_and_completeness_are_told_where_there_are_any(attribution: Attribution) -> None:
    model, image = predictor(unet(2), (8, 8)), volume((12, 10), 1)
    whole = IntegratedGradients(2, "zero").explain(model, image, frozen(model, image))
    told, others = dict(facts_of(whole)), dict(facts_of(attribution))
    assert told["parameters"].startswith("steps: 2, baseline: ")
    error = whole.facts.completeness_relative
    assert error is not None
    assert told["off completeness"] == f"{error:.2%} of the target's change"
    assert set(told) - set(others) >= {"parameters"}
    assert ("off completeness" in others) == (attribution.facts.completeness_relative is not None)

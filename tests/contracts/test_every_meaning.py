"""What every method says of its values can be seen to hold, and its texts say no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from esegeta.explain import (
    EXPLAINERS,
    Explainer,
    GradientShap,
    LayerGradientShap,
    NoiseTunnel,
    RandomMap,
    Saliency,
)
from esegeta.explain.meaning import CONTRIBUTION, WITHOUT_TARGET
from esegeta.score import Infidelity, ScoreContext
from tests.contracts.claims import (
    adds_up,
    adds_up_but_for_padding,
    adds_up_over_units,
    does_not_know_the_target,
    follows_what_features_add,
    has_no_sign,
    has_the_guided_sign,
    is_a_contrast,
    is_a_fall,
    is_a_probability,
    is_a_signal,
    is_a_slope,
    is_an_influence,
    is_deleted_or_kept,
    is_relevance_per_position,
    is_the_slope,
    keeps_the_segmentation,
    opposite_of,
    speaks_for_the_target,
    turns_with_the_target,
)
from tests.contracts.explainers import ROWS
from tests.contracts.rows import CaseKind, make_case
from tests.each import for_each

CLAIMS: dict[str, Callable[[Explainer], None]] = {
    "saliency": is_the_slope,
    "input_x_gradient": adds_up,
    "integrated_gradients": adds_up,
    "interior_gradient": is_a_slope,
    "gradient_shap": adds_up,
    "neuron_conductance": adds_up_over_units,
    "noise_tunnel": is_a_slope,
    "smoothgrad": is_a_slope,
    "smoothgrad_sq": has_no_sign,
    "vargrad": has_no_sign,
    "guided_backprop": is_a_slope,
    "deconvolution": is_a_slope,
    "deep_lift": adds_up,
    "deep_lift_shap": adds_up,
    "lrp": adds_up,
    "excitation_backprop": is_a_probability,
    "contrastive_excitation_backprop": is_a_contrast,
    "pattern_net": is_a_signal,
    "pattern_attribution": adds_up_but_for_padding,
    "grad_cam": speaks_for_the_target,
    "hires_cam": is_relevance_per_position,
    "guided_grad_cam": has_the_guided_sign,
    "layer_activation": does_not_know_the_target,
    "layer_gradient_x_activation": adds_up,
    "layer_integrated_gradients": adds_up,
    "layer_conductance": adds_up,
    "internal_influence": is_an_influence,
    "layer_deep_lift": adds_up,
    "layer_gradient_shap": adds_up,
    "grad_cam_pp": speaks_for_the_target,
    "xres_cam": speaks_for_the_target,
    "score_cam": turns_with_the_target,
    "ablation_cam": speaks_for_the_target,
    "occlusion": is_a_fall,
    "feature_ablation": adds_up,
    "exact_shapley": adds_up,
    "shapley_value_sampling": adds_up,
    "kernel_shap": adds_up,
    "lime": follows_what_features_add,
    "rise": follows_what_features_add,
    "meaningful_perturbation": is_deleted_or_kept,
    "misure": keeps_the_segmentation,
    "random_map": does_not_know_the_target,
    "edge_map": does_not_know_the_target,
}

WITHOUT_NOISE: dict[str, Explainer] = {
    "gradient_shap": GradientShap(baselines=("zero",), samples=3),
    "layer_gradient_shap": LayerGradientShap(baselines=("zero",), samples=3),
    "noise_tunnel": NoiseTunnel(samples=2),
}
"""Methods that are held to their claim without the noise, or the base, of their row."""

VARIANTS: dict[str, tuple[Explainer, Callable[[Explainer], None]]] = {
    "absolute saliency": (Saliency(absolute=True), has_no_sign),
    "tunnel, squared": (NoiseTunnel(kind="smoothgrad_sq", samples=3), has_no_sign),
    "tunnel, variance": (NoiseTunnel(kind="vargrad", samples=3), has_no_sign),
    "tunnel of contributions": (
        NoiseTunnel(base=ROWS["input_x_gradient"], samples=3, noise=1e-5),
        adds_up,
    ),
    "tunnel of magnitudes": (NoiseTunnel(base=Saliency(absolute=True), samples=3), has_no_sign),
    "tunnel of noise, squared": (
        NoiseTunnel(base=RandomMap(), kind="smoothgrad_sq", samples=3),
        does_not_know_the_target,
    ),
}


def test_every_method_makes_a_claim() -> None:
    assert list(CLAIMS) == list(EXPLAINERS)


@pytest.mark.parametrize("method", EXPLAINERS)
def test_the_claimed_meaning_holds(method: str) -> None:
    CLAIMS[method](WITHOUT_NOISE.get(method, ROWS[method]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_meaning_follows_the_parameters(variant: str) -> None:
    explainer, claim = VARIANTS[variant]
    claim(explainer)


INSTANCES = {**ROWS, **{name: explainer for name, (explainer, _) in VARIANTS.items()}}


@for_each(INSTANCES)
def test_descriptions_fit_the_meaning(name: str) -> None:
    explainer = INSTANCES[name]
    meaning = explainer.meaning
    assert meaning.reads_target == (meaning.kind not in WITHOUT_TARGET)
    if name in ROWS:
        assert meaning.reads_target == explainer.traits.reads_target
    if not meaning.reads_target or not meaning.is_signed:
        for text in (meaning.sign, meaning.legend):
            assert "raises the target" not in text
            assert "positive" not in text
    above, below = meaning.readings("the liver score")
    assert "the liver score" in above or not meaning.reads_target
    assert bool(below) == meaning.is_signed
    assert "{" not in above + below
    if not meaning.reads_target:
        assert "say nothing" in above or "says nothing" in above
    if not meaning.is_signed:
        assert any(word in meaning.sign for word in ("never negative", "in 0..1"))
    assert meaning.is_in_target_unit == (meaning.unit_for("mm") == "mm")


@pytest.mark.parametrize("name", [name for name, row in INSTANCES.items() if row.meaning.is_signed])
def test_signed_maps_fall_below_zero_for_some_target(name: str) -> None:
    case, explainer = make_case(2, 1), INSTANCES[name]
    targets = (case.target, opposite_of(case.target))
    maps = [explainer.explain(case.model, case.volume, target).data for target in targets]
    # Activations have the sign that their layer gives them.
    assert explainer.meaning.kind == "activation" or min(map_.min() for map_ in maps) < 0


@pytest.mark.parametrize(
    "name", [name for name, row in INSTANCES.items() if not row.meaning.is_signed]
)
def test_maps_without_sign_never_fall_below_zero(name: str) -> None:
    explainer = INSTANCES[name]
    for kind in (CaseKind(2, "prelu_batch", 1, num_res_units=1), CaseKind(3, "relu_batch", 1)):
        case = kind.make()
        assert explainer.explain(case.model, case.volume, case.target).data.min() >= 0


CONFIGURED: list[Explainer] = [
    Saliency(absolute=True),
    NoiseTunnel(base=Saliency(absolute=True)),
    NoiseTunnel(base=Saliency(), kind="smoothgrad_sq"),
    NoiseTunnel(base=Saliency(), kind="vargrad"),
    *ROWS.values(),
]


@for_each(CONFIGURED)
def test_an_unsigned_map_is_not_a_slope(method: Explainer) -> None:
    """A magnitude times a change of the input foresees nothing, though its base's slope does."""
    assert method.meaning.is_signed or not method.meaning.is_slope
    if not method.meaning.is_signed:
        assert method.meaning.rank_by == "value"


def test_infidelity_does_not_take_a_magnitude_for_a_slope() -> None:
    """The magnitudes are summed over boxes, not multiplied by the boxes' change."""
    case = make_case(2, 1)
    found = Saliency(absolute=True).explain(case.model, case.volume, case.target)
    score = Infidelity(samples=4, perturbation="square", side_mm=4.0, baseline="zero")
    context = ScoreContext(case.model, Saliency(absolute=True))
    as_it_is = score.score(found, context)
    contribution = replace(found, meaning=replace(CONTRIBUTION, is_signed=False))
    assert as_it_is == score.score(contribution, context)

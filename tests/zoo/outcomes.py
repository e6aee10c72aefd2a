"""What becomes of a method on a network: right, right with a warning, accounted for, or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
import torch
from monai.networks.blocks import MemoryEfficientSwish as MemEffSwish
from torch import Tensor, nn

from esegeta.errors import EsegetaError
from esegeta.explain import NULL, Attribution, Explainer, GradCam, GuidedBackprop, Objective
from esegeta.explain.backprop.lift import lift
from esegeta.explain.layer.cut import deepest_name
from esegeta.model import cut_at, held_still, without_checkpointing
from tests.builders import predictor, randomise_norms, volume
from tests.contracts.rows import Case
from tests.oracles import frozen, relative_gap, with_coefficients
from tests.zoo.layers import WRITTEN_OUT, Seen, neuron_conductance, written_out
from tests.zoo.networks import Entry
from tests.zoo.rows import methods_for
from tests.zoo.whole import ByMonai, predict_edits_whole

Kind = Literal["right", "warned", "accounted", "refused"]
CLOSE = 2e-4

THROUGH_MONAI = {
    *("saliency", "input_x_gradient", "integrated_gradients", "interior_gradient"),
    *("gradient_shap", "noise_tunnel", "smoothgrad", "smoothgrad_sq", "vargrad", "occlusion"),
    *("feature_ablation", "exact_shapley", "shapley_value_sampling", "kernel_shap", "lime"),
    *("rise", "meaningful_perturbation", "misure"),
}
"""Methods that need the network's values and gradients alone: the same through MONAI's inferer."""

LEDGERS = {"lrp", "excitation_backprop", "contrastive_excitation_backprop"}
"""Methods whose maps need not add up, but whose facts say where the rest is."""


@dataclass(frozen=True)
class Outcome:
    """What became of a method.

    Args:
        kind: `right`: equal to its oracle, no warning; `warned`: the same, with a warning;
            `accounted`: the facts or a warning say where the rest is; `refused`: an error.
        words: of the warnings or the error.
    """

    kind: Kind
    words: str = ""


class Bench:
    """One network over two windows, and over one that is the image."""

    def __init__(self, entry: Entry, network: nn.Module) -> None:
        self.entry = entry
        self.network = network
        self.windowed = make_case(network, entry, entry.shape)
        self.single = make_case(network, entry, entry.window)
        self.layer = entry.layer or deepest_name(objective_of(self.single))
        self.methods = methods_for(entry.window[0], self.layer)


def make_case(network: nn.Module, entry: Entry, shape: tuple[int, ...]) -> Case:
    model, image = predictor(network, entry.window), volume(shape)
    weights = torch.zeros((2, *shape))
    weights[1] = entry.sign
    return Case(model, image, with_coefficients(frozen(model, image), weights))


def objective_of(case: Case) -> Objective:
    return Objective.of(case.model, case.target, case.volume)


def build(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return randomise_norms(make()).eval()


def outcome_of(bench: Bench, name: str) -> Outcome:
    """Run a method, hold its map against what it must be, and say what became of it."""
    method = bench.methods[name]
    case = bench.single if method.traits.family == "layer" or name == "neuron_conductance" else None
    case = case or bench.windowed
    try:
        found = method.explain(case.model, case.volume, case.target)
    except EsegetaError as error:
        return Outcome("refused", str(error))
    assert bool(found.data.isfinite().all())
    hold(bench, name, found, case)
    words = "; ".join(found.warnings)
    if name in LEDGERS:
        return Outcome("accounted", words)
    return Outcome("warned" if words else "right", words)


def hold(bench: Bench, name: str, found: Attribution, case: Case) -> None:
    """Hold a map against its oracle."""
    method, close = bench.methods[name], CLOSE
    if name in NULL:
        return
    if name in THROUGH_MONAI:
        close_to(found.data, through_monai(case, method), close)
    elif name in WRITTEN_OUT:
        expected = written_out(case, name, method, bench.layer)
        close_to(found.layer_maps[0].data[0], expected, close)
    elif name == "neuron_conductance":
        expected = neuron_conductance(Seen(case, bench.layer), method, case.volume.data)
        close_to(found.data, expected, close)
    elif name == "guided_grad_cam":
        cam = GradCam(layer=bench.layer).explain(case.model, case.volume, case.target)
        guided = GuidedBackprop().explain(case.model, case.volume, case.target)
        close_to(found.data, guided.data * cam.data, close)
    elif name in ("deep_lift", "deep_lift_shap"):
        adds_up_to_the_change(method, found, case)
    elif name == "layer_deep_lift":
        adds_up_with_what_goes_around(found, case, bench.layer)
    elif name in LEDGERS:
        is_accounted_for(name, found)
    elif name in CLAMPED and name not in bench.entry.apart:
        close_to(found.data, by_modules(case, build(bench.entry.make), CLAMPED[name]), close)
    elif name in CLAMPED:
        assert found.facts.more["activations"]


ACTIVATION_MODULES = (
    MemEffSwish,
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Mish),
)


class Clamping(nn.Module):
    """An activation module through which only positive gradients go back."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def activated(self, x: Tensor) -> Tensor:
        return self.inner(x.clone())

    def forward(self, x: Tensor) -> Tensor:
        output = self.activated(x)
        if output.requires_grad:
            output.register_hook(lambda slope: slope.clamp(min=0))
        return output.clone()


class ClampingAlone(Clamping):
    """The same, of a derivative of one."""

    def activated(self, x: Tensor) -> Tensor:
        return x + (self.inner(x.clone()) - x).detach()


CLAMPED = {"guided_backprop": Clamping, "deconvolution": ClampingAlone}


def by_modules(case: Case, network: nn.Module, kind: type[Clamping]) -> Tensor:
    """Return what goes back through a copy of the network, whose activations are modules."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ACTIVATION_MODULES) and not isinstance(parent, Clamping):
                setattr(parent, name, kind(child))
    windowed = replace(case.model, network=network)
    leaf, total = case.volume.batch, weights_of(case)
    with held_still(network), without_checkpointing():
        windows = windowed.windows(leaf)
        shares = windowed.shares(windows, total[None])
        slopes = torch.zeros_like(leaf)
        for pieces in windowed.pieces(leaf, windows, range(len(windows))):
            crops = pieces.crops.requires_grad_(True)
            logits = windowed.run(crops, windows)
            (part,) = torch.autograd.grad(logits, crops, shares.of(pieces, crops.device))
            for box, one in zip(pieces.boxes, part, strict=True):
                slopes[(0, slice(None), *box)] += one
    return slopes[0]


def close_to(found: Tensor, expected: Tensor, close: float) -> None:
    size = float(expected.abs().max())
    assert size > 0
    gap = relative_gap(found, expected)
    assert gap < close, f"{gap:.2g} apart, largest value {size:.2g}"


def through_monai(case: Case, method: Explainer) -> Tensor:
    """Return the map of a method that sees the network through MONAI's inferer alone."""
    model = ByMonai(**vars(case.model))
    target = with_coefficients(frozen(model, case.volume), weights_of(case))
    with pytest.MonkeyPatch.context() as patch:
        predict_edits_whole(patch)
        return method.explain(model, case.volume, target).data


def adds_up_to_the_change(method: Any, found: Attribution, case: Case) -> None:
    baselines = getattr(method, "baselines", None) or (method.baseline,)
    value = float(case.target.value(case.model.logits(case.volume.batch)))
    starts = [
        float(case.target.value(case.model.logits(one.of(case.volume)[None]))) for one in baselines
    ]
    change = value - sum(starts) / len(starts)
    total = float(found.data.double().sum())
    assert abs(total - change) < 1e-3 * abs(change) + 1e-5 * float(found.data.abs().sum())


def adds_up_with_what_goes_around(found: Attribution, case: Case, layer: str) -> None:
    """What DeepLIFT hands to the layer and to the voxels around it is the change of the target."""
    leaves: list[Tensor] = []

    def run(crops: Tensor) -> Tensor:
        with cut_at(case.network, layer) as seen:
            logits = case.model.run(crops, case.model.windows(case.volume.batch))
        leaves.append(seen[0])
        return logits

    crops = case.volume.batch.clone().requires_grad_(True)
    with held_still(case.network):
        logits, before = lift(run, crops, torch.zeros_like(crops))
        share = weights_of(case)[None]
        slopes = torch.autograd.grad(logits, [leaves[1], crops], share, allow_unused=True)
    through = float(((leaves[1] - leaves[0]) * slopes[0]).double().sum())
    around = 0.0 if slopes[1] is None else float((crops * slopes[1]).double().sum())
    change = float(((logits - before) * share).double().sum())
    size = float(found.data.abs().sum()) + abs(change)
    assert abs(through + around - change) < 1e-3 * size
    assert abs(found.facts.more["change_through_layer"] - through) < 1e-3 * size


def weights_of(case: Case) -> Tensor:
    assert isinstance(case.target.coefficients, Tensor)
    return case.target.coefficients


def is_accounted_for(name: str, found: Attribution) -> None:
    """What came in is in the map, or in a fact that says where it stayed."""
    facts = found.facts.more
    if name == "lrp":
        rest = ("kept_by_biases", "kept_by_constants", "fell_on_padding", "unaccounted")
        total = float(found.data.double().sum()) + sum(facts[key] for key in rest)
        assert total == pytest.approx(facts["relevance_in"], rel=1e-4, abs=1e-4)
        return
    assert facts["mass_in"] == pytest.approx(1, rel=1e-3) or facts["mass_in"] < 1
    if name == "excitation_backprop":
        total = float(found.data.double().sum()) + facts["mass_lost"] + facts["fell_on_padding"]
        assert total == pytest.approx(facts["mass_in"], abs=1e-3)


def twins(entry: Entry) -> tuple[Bench, Bench]:
    """Return a network and its twin, of the same weights by the same draws."""
    assert entry.twin is not None
    benches = Bench(entry, build(entry.make)), Bench(entry, build(entry.twin))
    logits = [bench.windowed.model.logits(bench.windowed.volume.batch) for bench in benches]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
    return benches


def same_map(bench: Bench, twin: Bench, name: str) -> Outcome:
    """Return what became of a method, whose map has to be that of the twin."""
    if name in bench.entry.apart:
        return outcome_of(bench, name)
    maps: list[Tensor | str] = []
    words = ""
    for one in (bench, twin):
        case = one.windowed
        try:
            found = one.methods[name].explain(case.model, case.volume, case.target)
        except EsegetaError as error:
            maps.append(type(error).__name__)
            words = words or str(error)
        else:
            maps.append(found.data)
            words = words or "; ".join(found.warnings)
    ours, theirs = maps
    if isinstance(ours, str):
        assert ours == theirs, f"refused here, and not the twin: {words}"
        return Outcome("refused", words)
    assert isinstance(theirs, Tensor), f"the twin is refused: {words}"
    close_to(ours, theirs, CLOSE)
    kind: Kind = "accounted" if name in LEDGERS else "warned" if words else "right"
    return Outcome(kind, words)

"""What goes in at the logits comes out in the map, or the map says where it stayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from esegeta.explain import (
    ContrastiveExcitationBackprop,
    ExcitationBackprop,
    LayerwiseRelevance,
)
from esegeta.explain.backprop.rules import COMPOSITES, RULES
from esegeta.targets import FrozenTarget
from tests.builders import NORMS, predictor, randomise_norms, unet, volume
from tests.explain.relevance import by_rule, contributions, matrices
from tests.oracles import frozen, gradient_of, relative_gap, with_coefficients
from tests.zoo.networks import ZOO
from tests.zoo.outcomes import Bench, build


def of_one_logit(network: nn.Module, x: Tensor) -> tuple[object, object, FrozenTarget]:
    """Return a model, an image `C *S`, and the sum of the network's second output as a target."""
    image = volume(tuple(x.shape[1:]), x.shape[0]).with_data(x)
    model = predictor(network.eval(), tuple(x.shape[1:]), overlap=0.0, blend="constant")
    plain = frozen(model, image)
    weights = torch.zeros(2, *x.shape[1:])
    weights[1] = 1.0
    return model, image, with_coefficients(plain, weights)


def test_a_linear_layer_with_a_bias_in_closed_form() -> None:
    """1 * 2 - 3 * 1 + 4 = 3: the bias keeps 4, or hands 2 / 5 of it to the first input."""
    layer = nn.Conv2d(2, 2, 1)
    layer.weight.data[1, :, 0, 0] = torch.tensor([2.0, 1.0])
    layer.bias.data[1] = 4.0
    case = of_one_logit(layer, torch.tensor([1.0, -3.0]).reshape(2, 1, 1))
    found = LayerwiseRelevance(rule="epsilon").explain(*case)
    assert found.data.flatten().tolist() == pytest.approx([2, -3], rel=1e-5)
    assert found.facts.more["relevance_in"] == pytest.approx(3, rel=1e-5)
    assert found.facts.more["kept_by_biases"] == pytest.approx(4, rel=1e-5)
    assert found.facts.more["conservation_gap"] == pytest.approx(4 / 3, rel=1e-5)
    (warning,) = found.warnings
    assert warning == (
        "conservation: 3 of relevance went in, the map adds up to -1 (133.3% apart, tolerance "
        "5.0%): biases kept 4; `bias: distribute` hands it on to the inputs"
    )
    found = LayerwiseRelevance(rule="epsilon", bias="distribute").explain(*case)
    assert found.data.flatten().tolist() == pytest.approx([2 + 8 / 5, -3 + 12 / 5], rel=1e-5)
    assert found.facts.more["conservation_gap"] < 1e-5
    assert found.warnings == ()
    assert LayerwiseRelevance(rule="epsilon", tolerance=1.4).explain(*case).warnings == ()


def test_two_layers_and_a_relu_from_the_jacobian() -> None:
    """The epsilon rule is x J; what is left of the logit, biases keep."""
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(2, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 1))
    x = torch.randn(2, 3, 4)
    case = of_one_logit(network, x)
    slope = gradient_of(lambda inputs: network(inputs)[:, 1], x[None])[0]
    value = float(network(x[None])[0, 1].detach().sum())
    found = LayerwiseRelevance(rule="epsilon", epsilon=1e-9).explain(*case)
    assert relative_gap(found.data, x * slope) < 1e-4
    kept = value - float((x * slope).sum())
    assert found.facts.more["kept_by_biases"] == pytest.approx(kept, rel=1e-4)
    gap = found.facts.more["conservation_gap"]
    assert gap == pytest.approx(abs(kept / value), rel=1e-4)


@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "flat"])
def test_the_distribution_of_biases_equals_a_written_out_sum(rule: str) -> None:
    """R_j is handed to c_ij, the rest to |c_ij|, and evenly where nothing contributes."""
    torch.manual_seed(1)
    layer = nn.Conv2d(2, 3, 2, padding=1)
    nn.init.normal_(layer.bias)
    x, relevance = torch.randn(1, 2, 3, 4), torch.randn(1, 3, 4, 5)
    weights, linked, bias = matrices(layer, x)
    values, given = x.flatten().double().numpy(), relevance.flatten().double().numpy()
    expected = np.zeros_like(values)
    for j, weight in enumerate(weights):
        pairs = zip(weight, values, linked[j], strict=True)
        c = np.array([contributions(rule, w, v, bool(seen), (0, 1)) for w, v, seen in pairs])
        z = c.sum() + (bias[j] if rule == "epsilon" else 0.0)
        kept = given[j] if np.abs(c).sum() == 0 else given[j] * (1 - c.sum() / z)
        sizes = np.abs(c) if np.abs(c).sum() > 0 else linked[j].astype(float)
        expected += (given[j] * c / z if np.abs(c).sum() > 0 else 0) + kept * sizes / sizes.sum()
    found = by_rule(layer, rule, x, relevance, bias="distribute", epsilon=1e-9)
    wanted = torch.tensor(expected).float().reshape(x.shape)
    assert relative_gap(found, wanted) < 1e-4
    assert abs(float(found.sum() - relevance.sum())) < 1e-4 * float(found.abs().sum())


@pytest.mark.parametrize("choice", [*RULES, *COMPOSITES])
def test_every_rule_conserves_when_biases_distribute(choice: str) -> None:
    keys = {"rule": choice} if choice in RULES else {"composite": choice}
    model = predictor(unet(2, "relu_instance", num_res_units=1), (8, 8))
    image = volume((13, 11))
    target = frozen(model, image)
    found = LayerwiseRelevance(**keys, bias="distribute").explain(model, image, target)
    facts = found.facts.more
    assert facts["kept_by_biases"] == facts["kept_by_constants"] == 0
    assert facts["conservation_gap"] < 1e-3 * max(1.0, facts["amplification"])
    assert abs(facts["unaccounted"]) < 1e-3 * float(found.data.abs().sum())


def make_network(name: str) -> nn.Module:
    from monai.networks import nets

    both = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
    torch.manual_seed(0)
    if name == "SegResNet":
        return nets.SegResNet(**both, init_filters=8, blocks_down=(1, 1), blocks_up=(1,))
    if name == "BasicUNet":
        return nets.BasicUNet(**both, features=(2, 2, 2, 4, 4, 2))
    if name == "AttentionUnet":
        return nets.AttentionUnet(**both, channels=(2, 4), strides=(2,))
    return nets.MedNeXt(
        **both,
        init_filters=2,
        encoder_expansion_ratio=1,
        decoder_expansion_ratio=1,
        bottleneck_expansion_ratio=1,
        blocks_down=(1, 1),
        blocks_up=(1, 1),
        blocks_bottleneck=1,
    )


@pytest.mark.parametrize("name", ["SegResNet", "BasicUNet", "AttentionUnet", "MedNeXt"])
def test_relevance_kept_by_biases_is_warned_of_and_distributed_by_default(name: str) -> None:
    shape = (32, 32) if name == "BasicUNet" else (16, 16)
    model, image = predictor(randomise_norms(make_network(name)).eval(), shape), volume(shape)
    target = frozen(model, image)
    named = LayerwiseRelevance(composite="epsilon_plus_flat").explain(model, image, target)
    assert named.facts.more["conservation_gap"] > 0.1
    assert "biases kept" in named.warnings[-1]
    found = LayerwiseRelevance().explain(model, image, target)
    assert found.facts.more["conservation_gap"] < 1e-3
    assert found.warnings == ()


def test_alpha_beta_conserves_with_contributions_of_one_sign() -> None:
    """With nothing negative, 2 R would reach the inputs and -R nothing."""
    layer = nn.Conv2d(2, 2, 1, bias=False)
    layer.weight.data = layer.weight.data.abs()
    case = of_one_logit(layer, torch.tensor([1.0, 3.0]).reshape(2, 1, 1))
    found = LayerwiseRelevance(rule="alpha_beta").explain(*case)
    facts = found.facts.more
    assert facts["unaccounted"] == pytest.approx(-facts["relevance_in"], rel=1e-4)
    assert "outputs that nothing contributed to held" in found.warnings[0]
    found = LayerwiseRelevance(rule="alpha_beta", bias="distribute").explain(*case)
    assert float(found.data.sum()) == pytest.approx(facts["relevance_in"], rel=1e-4)


@pytest.mark.parametrize("kind", NORMS)
def test_relevance_of_unexcited_neurons_is_reported_and_can_be_spread(kind: str) -> None:
    model = predictor(unet(2, kind, num_res_units=1), (8, 8))
    image = volume((12, 8))
    target = with_coefficients(frozen(model, image), torch.rand(2, 12, 8) - 0.3)
    for method in (ExcitationBackprop(), ContrastiveExcitationBackprop()):
        found = method.explain(model, image, target)
        gap = found.facts.more["conservation_gap"]
        assert gap > 0.05
        assert "neurons that nothing excites lost" in found.warnings[0]
        assert found.warnings[0].endswith("`unexcited: spread` hands it on evenly")
        found = replace(method, unexcited="spread").explain(model, image, target)
        assert found.facts.more["conservation_gap"] < 1e-4
        assert found.warnings == ()


def test_an_unexcited_neuron_in_closed_form() -> None:
    """Two weights below zero over positive inputs: nothing excites, half each when spread."""
    layer = nn.Conv2d(2, 2, 1, bias=False)
    layer.weight.data[1, :, 0, 0] = torch.tensor([-2.0, -1.0])
    x = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]])  # the right voxel is each channel's least
    case = of_one_logit(layer, x)
    spread = ExcitationBackprop(unexcited="spread").explain(*case)
    assert torch.allclose(spread.data, torch.full((2, 1, 2), 0.25))
    # The opposite is excited by the left voxel, and by nothing on the right.
    dual = ContrastiveExcitationBackprop().explain(*case)
    assert dual.data.flatten().tolist() == pytest.approx([-0.2, 0, -0.3, 0], abs=1e-6)
    assert dual.facts.more["mass_lost"] == pytest.approx(1)
    assert dual.facts.more["dual_mass_lost"] == pytest.approx(0.5)
    assert len(dual.warnings) == 2


class Framed(nn.Module):
    """Zeros around the image, and a layer with a bias that sees them one by one."""

    def __init__(self, pads: tuple[int, ...]) -> None:
        super().__init__()
        self.pads = pads
        self.layer = nn.Conv2d(1, 2, 1)
        self.layer.weight.data.fill_(1.0)
        self.layer.bias.data.fill_(2.0)

    def forward(self, x: Tensor) -> Tensor:
        framed = self.layer(nn.functional.pad(x, self.pads))
        return framed[..., : x.shape[-2], : x.shape[-1]]


def test_padding_inside_the_network_passes_relevance_of_biases_on() -> None:
    """Rows 0 and 1 of the output are zeros and their bias, 2 each; row 2 is the image's first.

    What a bias got at a zero goes to the nearest voxel of the image.
    """
    x = torch.tensor([[1.0, 5.0], [3.0, 7.0], [9.0, 11.0]])[None]
    case = of_one_logit(Framed((0, 0, 2, 1)), x)
    found = LayerwiseRelevance(rule="epsilon", bias="distribute").explain(*case)
    # 2 + 2 of the zeros above, and the voxel's own with its bias.
    expected = torch.tensor([[4 + 1 + 2, 4 + 5 + 2], [0, 0], [0, 0]])
    torch.testing.assert_close(found.data[0], expected.float(), rtol=1e-4, atol=1e-4)
    assert found.facts.more["conservation_gap"] < 1e-5
    assert found.warnings == ()


def test_padding_gets_no_relevance_if_biases_absorb_theirs() -> None:
    x = torch.tensor([[1.0, 5.0], [3.0, 7.0], [9.0, 11.0]])[None]
    case = of_one_logit(Framed((0, 0, 2, 1)), x)
    found = LayerwiseRelevance(rule="epsilon").explain(*case)
    torch.testing.assert_close(
        found.data[0], torch.tensor([[1.0, 5], [0, 0], [0, 0]]), rtol=1e-4, atol=1e-4
    )
    assert found.facts.more["kept_by_biases"] == pytest.approx(12, rel=1e-4)
    assert found.facts.more["unaccounted"] == pytest.approx(0, abs=1e-4)


@pytest.mark.slow
def test_shifted_windows_conserve_and_say_that_values_cancel() -> None:
    """Windows of SwinUNETR reach beyond the grid: zeros between the norm and the attention."""
    pytest.importorskip("einops")
    entry = ZOO["SwinUNETR"]
    bench = Bench(entry, build(entry.make))
    case = bench.windowed
    found = LayerwiseRelevance().explain(case.model, case.volume, case.target)
    assert found.facts.more["conservation_gap"] < 1e-3
    assert found.facts.more["amplification"] > 100
    (warning,) = found.warnings
    assert warning.startswith("amplification: the map's magnitudes add up to 2")
    calm = LayerwiseRelevance(rule="gamma", bias="distribute")
    found = calm.explain(case.model, case.volume, case.target)
    assert found.facts.more["conservation_gap"] < 1e-3
    assert found.facts.more["amplification"] < 2
    assert found.warnings == ()

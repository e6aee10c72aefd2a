"""Patterns against their moments written out; maps against closed forms and the whole blend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from esegeta.errors import DataError, MapError, ModelError
from esegeta.explain import (
    NoiseTunnel,
    PatternAttribution,
    PatternNet,
    Patterns,
    Saliency,
    fit_patterns,
)
from esegeta.explain.backprop.carry import mark_last
from esegeta.explain.backprop.relevance import LayerCarrier
from esegeta.model import held_still
from esegeta.predict import Predictor
from tests.builders import NORMS, predictor, unet, volume
from tests.oracles import frozen, monai_prediction, relative_gap, with_coefficients
from tests.pairwise import pairwise


def one_window(network: nn.Module, shape: tuple[int, ...]) -> Predictor:
    return predictor(network.eval(), shape, overlap=0.0, blend="constant")


def test_patterns_separate_signal_and_distractor() -> None:
    """x = s * signal + d * distractor, y = s: the weight cancels, the pattern knows."""
    torch.manual_seed(0)
    signal, distractor = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
    amounts = torch.randn(2, 64, 64)
    data = signal[:, None, None] * amounts[0] + 3 * distractor[:, None, None] * amounts[1]
    network = nn.Conv2d(2, 2, 1, bias=False)
    network.weight.data = torch.tensor([[1.0, -1.0], [1.0, -1.0]])[..., None, None]
    model = one_window(network, (64, 64))
    image = volume((64, 64), 2).with_data(data)
    # What is left of the distractor is its chance correlation with the signal.
    pattern = fit_patterns(model, [image]).values["linear.0"][1, :, 0, 0]
    chance = 3 * float((amounts[0] * amounts[1]).mean() / amounts[0].var())
    assert pattern.tolist() == pytest.approx([1 + chance, chance], abs=2e-2)
    target = frozen(model, image)
    map_ = PatternNet().explain(model, image, target).data
    assert relative_gap(map_, pattern[:, None, None] * amounts[0]) < 1e-4
    split = PatternAttribution().explain(model, image, target).data
    assert relative_gap(split.sum(dim=0), amounts[0]) < 1e-4  # w . a = 1: it adds up to y


LAYERS = {
    "conv2d": (lambda: nn.Conv2d(2, 3, 2), (1, 2, 6, 5)),
    "conv3d": (lambda: nn.Conv3d(2, 4, 2, groups=2), (1, 2, 4, 4, 3)),
    "transposed2d": (lambda: nn.ConvTranspose2d(2, 3, 2, stride=2), (1, 2, 5, 6)),
    "transposed3d": (lambda: nn.ConvTranspose3d(4, 4, 2, stride=2, groups=2), (1, 4, 3, 3, 4)),
}


@pytest.mark.parametrize("last", [False, True], ids=["positive", "last"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_pattern_equals_a_slow_rewrite_from_its_moments(kind: str, last: bool) -> None:
    make, shape = LAYERS[kind]
    torch.manual_seed(1)
    layer = make()
    network = layer if last else nn.Sequential(layer, nn.ReLU(), Sum())
    x = torch.randn(shape) + 0.3
    pattern = learned(network, x)["linear.0"]
    expected = slow_conv_pattern(layer, x, positive=not last)
    assert relative_gap(pattern, expected) < 1e-3


class Sum(nn.Module):
    """A last layer that has no weights."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1.0


def learned(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the patterns of a network that need not keep the shape of its input."""
    from esegeta.explain.backprop.pattern_fit import Learning

    rules = Learning()
    inputs = x.clone().requires_grad_(True)
    with held_still(network), torch.enable_grad():
        with LayerCarrier(rules, inputs).intercept():
            output = network(inputs)
        mark_last(output)
        torch.autograd.grad(output, inputs, torch.ones_like(output))
    return rules.patterns()


def slow_conv_pattern(layer: nn.Module, x: Tensor, *, positive: bool) -> Tensor:
    """Return `cov(x, y) / w . cov(x, y)` over the outputs that hold each weight, in plain loops.

    Kernels reach nowhere beyond the image, and transposed ones do not overlap: all outputs of a
    channel (and, of a transposed one, of a phase) read their inputs through the same weights.
    """
    transposed = isinstance(layer, (nn.ConvTranspose2d, nn.ConvTranspose3d))
    weight = layer.weight.detach()
    result = torch.zeros_like(weight, dtype=torch.float64)
    z = layer(x).detach()
    y = z - layer.bias.detach().reshape(1, -1, *(1 for _ in x.shape[2:]))
    groups = layer.groups
    per_group = (z.shape[1] // groups, x.shape[1] // groups)
    for channel in range(z.shape[1]):
        group, inner = channel // per_group[0], channel % per_group[0]
        inputs = range(group * per_group[1], (group + 1) * per_group[1])
        taps = list(np.ndindex(*weight.shape[2:]))
        neurons = [[tap] for tap in taps] if transposed else [taps]
        for neuron in neurons:
            rows, outputs = [], []
            for spot in np.ndindex(*z.shape[2:]):
                if transposed and tuple(index % 2 for index in spot) != neuron[0]:
                    continue
                if positive and z[(0, channel, *spot)] <= 0:
                    continue
                places = (
                    [tuple(index // 2 for index in spot)]
                    if transposed
                    else [tuple(np.add(spot, tap)) for tap in neuron]
                )
                rows.append([float(x[(0, i, *place)]) for i in inputs for place in places])
                outputs.append(float(y[(0, channel, *spot)]))
            if len(rows) < 2:  # nothing varies where the output is positive
                continue
            table, values = np.array(rows), np.array(outputs)
            covariance = (table * values[:, None]).mean(0) - table.mean(0) * values.mean()
            keys = [
                (i, inner, *tap) if transposed else (channel, i - inputs[0], *tap)
                for i in inputs
                for tap in neuron
            ]
            read = sum(
                float(weight[key]) * part for key, part in zip(keys, covariance, strict=True)
            )
            for key, part in zip(keys, covariance, strict=True):
                result[key] = part / read
    return result.float()


def test_attribution_of_a_linear_network_adds_up_to_the_target(ndim: int) -> None:
    """w . a = 1 at each output, and the parts of a residual sum add up to it."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            conv = nn.Conv2d if ndim == 2 else nn.Conv3d
            self.first = conv(1, 2, 1, bias=False)
            self.second = conv(2, 2, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            return torch.sub(self.second(hidden), hidden, alpha=2)

    shape = (6, 5, 4)[:ndim]
    model = one_window(Residual(), shape)
    image = volume(shape)
    target = frozen(model, image)
    found = PatternAttribution().explain(model, image, target)
    value = float(target.value(target.scene.logits))
    assert float(found.data.double().sum()) == pytest.approx(value, rel=1e-4)
    assert found.facts.more == {"patterns_fitted_on": "the explained volume itself"}


@pairwise(ndim=[2, 3], kind=NORMS, method=[PatternNet, PatternAttribution])
def test_windows_add_up_to_the_map_through_the_whole_blend(
    ndim: int, kind: str, method: type[PatternNet]
) -> None:
    model = predictor(unet(ndim, kind, in_channels=2, num_res_units=1), (8,) * ndim)
    image = volume((14, 8, 10)[:ndim], 2)
    target = with_coefficients(frozen(model, image), torch.rand(2, *image.grid.shape) - 0.3)
    known = fit_patterns(model, [image, volume((9, 8, 8)[:ndim], 2, seed=5)])
    explainer = method(fitted=known)

    class Started(nn.Module):
        def forward(self, crops: Tensor) -> Tensor:
            with LayerCarrier(explainer.rules(known), crops).intercept():
                logits = model.network(crops)
            return logits * logits.detach()

    x = image.batch.clone().requires_grad_(True)
    with held_still(model.network), torch.enable_grad():
        value = target.value(monai_prediction(replace(model, network=Started()), x)).sum()
        (expected,) = torch.autograd.grad(value, x)
    found = explainer.explain(model, image, target)
    assert relative_gap(found.data, expected[0]) < 1e-4
    assert found.facts.more == {"patterns_fitted_on": f"{image.name}, {image.name}"}


def test_the_signal_restores_the_contrast_removed_by_instance_norms() -> None:
    """With patterns the image's contrast comes back: twice the contrast, twice the signal."""
    model = one_window(unet(2, "relu_instance"), (8, 8))
    image = volume((8, 8))
    known = fit_patterns(model, [image])
    target = frozen(model, image)
    louder = image.with_data(image.data * 2)
    found = PatternNet(fitted=known).explain(model, image, target).data
    twice = PatternNet(fitted=known).explain(model, louder, frozen(model, louder)).data
    assert relative_gap(twice, 2 * found) < 2e-2


def test_patterns_are_written_and_read(tmp_path: Path, ndim: int) -> None:
    model = predictor(unet(ndim, num_res_units=1), (8,) * ndim)
    image = volume((12, 8, 8)[:ndim])
    known = fit_patterns(model, [image])
    path = known.save(tmp_path / "patterns.safetensors")
    read = Patterns.load(path)
    assert read.network_sha256 == known.network_sha256
    assert read.fitted_on == (image.name,)
    assert read.values.keys() == known.values.keys()
    target = frozen(model, image)
    expected = PatternNet().explain(model, image, target).data
    for explainer in (PatternNet(patterns=str(path)), PatternNet(fitted=read)):
        assert torch.equal(explainer.explain(model, image, target).data, expected)


def test_patterns_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model, other = predictor(unet(2), (8, 8)), predictor(unet(2, seed=3), (8, 8))
    image = volume((8, 8))
    known = fit_patterns(model, [image])
    target = frozen(other, image)
    with pytest.raises(ModelError, match="different weights"):
        PatternNet(fitted=known).explain(other, image, target)
    with pytest.raises(DataError, match="cannot be read"):
        PatternNet(patterns=str(tmp_path / "none.safetensors")).explain(other, image, target)
    (tmp_path / "text.safetensors").write_text("no patterns")
    with pytest.raises(DataError, match="cannot be read"):
        Patterns.load(tmp_path / "text.safetensors")
    with pytest.raises(DataError, match="no volume"):
        fit_patterns(model, [])
    short = replace(known, values={"linear.0": known.values["linear.0"]})
    with pytest.raises(ModelError, match="no operation linear"):
        PatternNet(fitted=short).explain(model, image, frozen(model, image))


def test_equal_patterns_are_written_as_equal_bytes(tmp_path: Path) -> None:
    """The order of two entries in a header would differ from one writing to the next."""
    known = Patterns({"linear.0": torch.ones(2)}, "0a1b", ("one", "two"))
    written = {known.save(tmp_path / f"{k}.safetensors").read_bytes() for k in range(16)}
    assert len(written) == 1
    assert Patterns.load(tmp_path / "0.safetensors").fitted_on == ("one", "two")


def test_only_files_with_a_header_of_patterns_are_read(tmp_path: Path) -> None:
    path, values = tmp_path / "patterns.safetensors", {"linear.0": torch.ones(2)}
    save_file(values, path, {"network": "0a1b", "fitted_on": "one\ntwo"})  # of an earlier version
    known = Patterns.load(path)
    assert (known.network_sha256, known.fitted_on) == ("0a1b", ("one", "two"))
    for header in ({}, {"patterns": "[]"}, {"patterns": "{}"}):
        save_file(values, path, header)
        with pytest.raises(DataError, match="holds no patterns"):
            Patterns.load(path)
    save_file(values, path, {"patterns": "{"})
    with pytest.raises(DataError, match="cannot be read"):
        Patterns.load(path)


def test_learned_patterns_can_be_removed_from_a_method() -> None:
    model, image = predictor(unet(2), (8, 8)), volume((8, 8))
    known = fit_patterns(model, [image])
    tunnel = NoiseTunnel(base=PatternAttribution(fitted=known), samples=3)
    assert tunnel.unlearned() == NoiseTunnel(base=PatternAttribution(), samples=3)
    assert tunnel.unlearned().base.fitted is None
    assert PatternNet(patterns="file").unlearned() == PatternNet()
    saliency = Saliency(absolute=True)
    assert saliency.unlearned() is saliency


def deep(depth: int, width: int = 12) -> nn.Module:
    """Return a chain of convolutions, whose signals grow by a constant factor at each."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1)]
    for _ in range(depth):
        conv = nn.Conv2d(width, width, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, 2, 1)).eval()


def test_signals_beyond_what_images_can_hold_are_warned_of() -> None:
    """Each of 64 logits answers to a signal within the image's span; this map is 1e4 times that."""
    model, image = predictor(deep(10), (8, 8)), volume((8, 8))
    found = PatternNet().explain(model, image, frozen(model, image))
    (warning,) = found.warnings
    assert warning.startswith("magnitude: the map reaches")
    span = float(image.data.max() - image.data.min())
    assert float(found.data.abs().max()) > 1e4 * 64 * span
    assert f"cannot exceed {64 * span:.3g} together" in warning
    assert PatternAttribution().explain(model, image, frozen(model, image)).warnings == ()


def test_signals_beyond_float32_are_refused_with_their_reason() -> None:
    model, image = predictor(deep(50, width=8), (8, 8)), volume((8, 8))
    with pytest.raises(MapError, match=r"each of the network's 52 operations adds up the signals"):
        PatternNet().explain(model, image, frozen(model, image))


def test_signals_of_a_small_network_are_not_warned_of(ndim: int) -> None:
    model, image = predictor(unet(ndim), (8,) * ndim), volume((8,) * ndim)
    assert PatternNet().explain(model, image, frozen(model, image)).warnings == ()

"""Networks that end in a softmax or sigmoid are noticed, logits that happen to look so are not."""

import pytest
import torch
from torch import Tensor, nn

from esegeta.model import Labels
from esegeta.predict import Predictor, WindowPlan
from esegeta.predict.probabilities import probabilities_in
from tests.builders import unet, volume

WINDOW = {2: (8, 8), 3: (8, 8, 8)}
SHAPE = {2: (13, 12), 3: (9, 10, 11)}


class Ending(nn.Module):
    """A network with a function of its output behind it."""

    def __init__(self, network: nn.Module, end: object) -> None:
        super().__init__()
        self.network = network
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.network(x))


def notice(network: nn.Module, ndim: int, activation: str, **options: object) -> str:
    outputs = {1: "liver"} if activation == "softmax" else {1: "liver", 2: "spleen"}
    labels = Labels(outputs, activation, 2)
    predictor = Predictor(network.eval(), WindowPlan(WINDOW[ndim]), labels, **options)
    x = volume(SHAPE[ndim]).batch
    return probabilities_in(predictor, x, predictor.logits(x))


def softmax(y: Tensor) -> Tensor:
    return y.softmax(dim=1)


PROBABILITIES = {
    "softmax": softmax,
    "sharp softmax": lambda y: (40 * y).softmax(dim=1),
    "sigmoid": torch.sigmoid,
    "sharp sigmoid": lambda y: (40 * y).sigmoid(),
    "decided": lambda y: (y > 0).to(y.dtype),  # blended where windows overlap
    "clamp": lambda y: (0.3 * y + 0.5).clamp(0, 1),
}


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("end", PROBABILITIES)
def test_an_output_of_probabilities_is_noticed(end: str, activation: str, ndim: int) -> None:
    text = notice(Ending(unet(ndim), PROBABILITIES[end]), ndim, activation)
    adds_up = "softmax" in end
    assert text == (
        "the network's output looks like probabilities, not logits: its values all lie between "
        f"0 and 1{' and sum to 1 over the channels' if adds_up else ''}, so that `activation: "
        f"{activation}` is applied to them a second time; remove the final "
        f"{'softmax' if adds_up else 'activation'} of the network"
    )


@pytest.mark.parametrize("precision", ["bf16"])
def test_an_output_of_probabilities_in_half_precision_is_noticed(precision: str) -> None:
    assert "sum to 1" in notice(Ending(unet(2), softmax), 2, "softmax", precision=precision)


class Pointwise(nn.Module):
    """Logit k of a voxel is scale x + shift, of its image between 0 and 1."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        y = self.scale * x + self.shift
        return torch.cat([y, 1 - y], dim=1)


LOGITS = {
    "ordinary": unet,
    "log softmax": lambda ndim: Ending(unet(ndim), lambda y: y.log_softmax(dim=1)),
    "shifted": lambda ndim: Ending(unet(ndim), lambda y: y + 0.5),
    "small": lambda ndim: Ending(unet(ndim), lambda y: 1e-3 * y),
    "tanh": lambda ndim: Ending(unet(ndim), torch.tanh),
    "relu": lambda ndim: Ending(unet(ndim), torch.relu),
}


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", LOGITS)
def test_logits_are_not_taken_for_probabilities(kind: str, activation: str, ndim: int) -> None:
    assert notice(LOGITS[kind](ndim), ndim, activation) == ""


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_logits_between_0_and_1_on_one_image_are_not_taken_for_probabilities(
    activation: str,
) -> None:
    labels = Labels({1: "a"} if activation == "softmax" else {1: "a", 2: "b"}, activation, 2)
    predictor = Predictor(Pointwise(1.0, 0.0), WindowPlan((8, 8)), labels)
    x = torch.rand(1, 1, 13, 12, generator=torch.Generator().manual_seed(0))
    values = predictor.logits(x)
    assert float(values.min()) >= 0 and float(values.max()) <= 1
    assert torch.allclose(values.sum(dim=1), torch.ones(()))
    assert probabilities_in(predictor, x, values) == ""


def test_the_test_on_noise_is_not_counted_and_keeps_the_random_state() -> None:
    told: list[int] = []
    network = Ending(unet(2), softmax).eval()
    labels = Labels({1: "liver"}, "softmax", 2)
    predictor = Predictor(network, WindowPlan((8, 8)), labels, on_windows=told.append)
    x = volume((8, 8)).batch
    values = predictor.logits(x)
    before, count = torch.get_rng_state(), sum(told)
    assert probabilities_in(predictor, x, values) != ""
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(told) == count


def test_probabilities_of_a_slice_are_noticed() -> None:
    network = Ending(unet(2), softmax).eval()
    predictor = Predictor(network, WindowPlan((8, 8)), Labels({1: "liver"}, "softmax", 2))
    x = volume((9, 10, 3)).batch
    assert "sum to 1" in probabilities_in(predictor, x, predictor.logits(x))


def test_nan_is_not_a_probability() -> None:
    network = Ending(unet(2), lambda y: y.softmax(dim=1) * torch.nan).eval()
    predictor = Predictor(network, WindowPlan((8, 8)), Labels({1: "liver"}, "softmax", 2))
    x = volume((8, 8)).batch
    assert probabilities_in(predictor, x, predictor.logits(x)) == ""

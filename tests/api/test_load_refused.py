"""Networks that `load_model` cannot take, and the words with which it says so."""

import pytest
from torch import Tensor, nn

import esegeta
from esegeta.errors import ConfigError, ModelError, WindowError
from tests.builders import unet

REFUSED = {
    "window": ({"window": (9, 8, 8)}, WindowError, "multiple of 2"),
    "labels": ({"labels": {5: "liver"}}, None, None),
    "too many labels": ({"labels": {1: "a", 5: "b", 6: "c"}}, ConfigError, "cannot be matched"),
    "no labels": ({"labels": {}}, ConfigError, "labels: none are given"),
    "overlap": ({"overlap": 1.0}, ConfigError, "outside"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_invalid_arguments_of_load_model_are_refused(what: str) -> None:
    keys, error, message = REFUSED[what]
    arguments = {"window": (8, 8, 8), "labels": {1: "liver"}, "device": "cpu", **keys}
    if error is None:
        assert esegeta.load_model(unet(3), **arguments).labels.channel("liver") == 1
        return
    with pytest.raises(error, match=message):
        esegeta.load_model(unet(3), **arguments)


class Particular(nn.Module):
    """A network that refuses its input, with words of its own."""

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("see my_pkg/inference.py and configs/inference.json")


def test_the_error_message_of_a_network_is_kept() -> None:
    with pytest.raises(ModelError, match=r"my_pkg/inference\.py and configs/inference\.json"):
        esegeta.load_model(Particular(), window=(8, 8), labels={1: "liver"}, device="cpu")


def test_a_network_of_diverged_training_is_refused() -> None:
    network = unet(2)
    next(network.parameters()).data.fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN or infinite"):
        esegeta.load_model(network, window=(8, 8), labels={1: "liver"}, device="cpu")

"""Compiled and data parallel networks: the module inside is explained, under its own names."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import esegeta
from esegeta.model import (
    COMPILED_NOTE,
    held_still,
    is_compiled,
    list_layers,
    load_weights,
    without_wrappers,
)
from esegeta.predict import Predictor
from tests.builders import unet, volume

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of loading the compiler

WINDOW = (8, 8)
IMAGE = volume((11, 12))


class PartlyCompiled(nn.Module):
    """A network that compiles a part of itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner = torch.compile(network)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def in_place(network: nn.Module) -> nn.Module:
    network.compile()
    return network


def parallel(network: nn.Module) -> nn.Module:
    return nn.DataParallel(network).cpu()  # it moves to the first device there is


WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": torch.compile,
    "compiled in place": in_place,
    "data parallel": parallel,
    "compiled in data parallel": lambda network: parallel(torch.compile(network)),
    "data parallel, compiled": lambda network: torch.compile(parallel(network)),
}


def load(network: nn.Module, **arguments: object) -> esegeta.SegmentationModel:
    return esegeta.load_model(
        network, window=WINDOW, labels={1: "liver"}, device="cpu", **arguments
    )


def layer_of(model: esegeta.SegmentationModel) -> str:
    window = torch.zeros(1, 1, *WINDOW)
    with held_still(model.network):
        layers = list_layers(model.network, lambda: model.network(window))
    return next(layer.name for layer in layers if layer.kind.startswith("Conv"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrap", "method"),
    [
        *((wrap, "grad_cam") for wrap in WRAPS),
        ("compiled", "layer_integrated_gradients"),
        ("compiled", "layer_deep_lift"),
    ],
)
def test_a_layer_method_gives_the_map_of_the_plain_network(wrap: str, method: str) -> None:
    from esegeta.explain import EXPLAINERS

    plain, wrapped = load(unet(2)), load(WRAPS[wrap](unet(2)))
    layer = layer_of(plain)
    assert layer == layer_of(wrapped)
    assert "_orig_mod" not in layer
    maps = [
        EXPLAINERS[method](layer=layer).explain(model, IMAGE, model.target("liver", over="all"))
        for model in (plain, wrapped)
    ]
    assert torch.equal(maps[0].data, maps[1].data)


@pytest.mark.parametrize("wrap", WRAPS)
def test_the_note_says_that_the_network_runs_as_it_was_written(wrap: str) -> None:
    network = WRAPS[wrap](unet(2))
    assert is_compiled(network) == ("compiled" in wrap)
    assert load(network).notes == ((COMPILED_NOTE,) if "compiled" in wrap else ())


def test_compiled_parts_run_all_hooks() -> None:
    network = PartlyCompiled(unet(2)).eval()
    model, plain = load(network), load(unet(2))
    assert model.notes == (COMPILED_NOTE,)
    ig = esegeta.LayerIntegratedGradients(layer=layer_of(model), steps=2)
    assert "_orig_mod" in ig.layer
    found = ig.explain(model, IMAGE, model.target("liver", over="all"))
    twin = esegeta.LayerIntegratedGradients(layer=layer_of(plain), steps=2)
    assert torch.equal(
        found.data, twin.explain(plain, IMAGE, plain.target("liver", over="all")).data
    )


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_predictor_unwraps_compiled_networks(wrap: str) -> None:
    network = unet(2)
    model = load(network)
    predictor = Predictor(WRAPS[wrap](network), model.plan, model.labels)
    assert predictor.network is network
    x = IMAGE.batch
    assert torch.equal(predictor.logits(x), model.logits(x))


@pytest.mark.parametrize("saved", WRAPS)
@pytest.mark.parametrize("wrap", WRAPS)
def test_weights_load_between_any_wrappings(saved: str, wrap: str, tmp_path: Path) -> None:
    trained = unet(2, seed=5)
    torch.save(WRAPS[saved](trained).state_dict(), tmp_path / "w.pt")
    model = load(WRAPS[wrap](unet(2, seed=6)), weights=tmp_path / "w.pt")
    x = IMAGE.batch
    assert torch.equal(model.logits(x), load(trained).logits(x))


def test_plain_weights_load_into_a_partly_compiled_network(tmp_path: Path) -> None:
    plain = nn.ModuleDict({"inner": unet(2, seed=5)})
    torch.save({"state_dict": plain.state_dict()}, tmp_path / "w.pt")
    network = PartlyCompiled(unet(2, seed=6)).eval()
    model = load(network, weights=tmp_path / "w.pt")
    x = IMAGE.batch
    assert torch.equal(model.logits(x), load(plain["inner"]).logits(x))
    torch.save(network.state_dict(), tmp_path / "w.pt")
    assert any("_orig_mod" in key for key in network.state_dict())
    other = nn.ModuleDict({"inner": unet(2, seed=7)})
    assert load_weights(other, tmp_path / "w.pt").prefixes == ("_orig_mod.",)
    assert torch.equal(load(other["inner"]).logits(x), model.logits(x))


def test_outside_of_esegeta_a_compiled_network_stays_compiled() -> None:
    compiled = torch.compile(unet(2))
    assert without_wrappers(compiled) is not compiled
    model = load(compiled)
    model.logits(IMAGE.batch)
    assert torch._dynamo.eval_frame._stance.stance == "default"

"""Closed networks from Python: what serves gives the same map, what does not is refused by name."""

from pathlib import Path

import pytest
import torch
from torch import nn

import esegeta
from esegeta.errors import ModelError, WindowError
from esegeta.explain import EXPLAINERS, Explainer
from esegeta.model import load_torchscript
from esegeta.score import ScoreContext
from tests.builders import unet, volume
from tests.closed import exported, save_script

BATCH = 2
CHEAP = {"samples": 4, "steps": 4, "iterations": 2}
"""Parameters of methods, as far as they have them."""


def closed(kind: str, folder: Path) -> object:
    if kind == "torchscript":
        return load_torchscript(save_script(unet(3), folder / "net.ts"))
    return exported(unet(3), (BATCH, 1, 8, 8, 8))


def loaded(network: object) -> esegeta.SegmentationModel:
    return esegeta.load_model(
        network, window=(8, 8, 8), labels={1: "liver"}, batch_size=BATCH, device="cpu"
    )


def build(name: str) -> Explainer:
    method = EXPLAINERS[name]
    known = method.__dataclass_fields__
    given = {key: value for key, value in CHEAP.items() if key in known}
    if "layer" in known:
        given["layer"] = "model.0"
    if method.name == "neuron_conductance":
        given["channel"] = 0
    return method(**given)


@pytest.fixture(scope="module", params=["torchscript", "export"])
def shut(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> esegeta.SegmentationModel:
    """One network of each kind for all methods: to export one takes longer than to refuse it."""
    return loaded(closed(request.param, tmp_path_factory.mktemp("closed")))


@pytest.mark.parametrize("name", [n for n, m in EXPLAINERS.items() if m.traits.needs_hooks])
def test_methods_that_watch_layers_are_refused(shut: esegeta.SegmentationModel, name: str) -> None:
    target = shut.target("liver", over="all")
    with pytest.raises(ModelError, match=f"{name} needs the layers of a network") as caught:
        build(name).explain(shut, volume((9, 11, 7)), target)
    assert "choose from: saliency, input_x_gradient, integrated_gradients" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["saliency", "integrated_gradients", "smoothgrad", "feature_ablation", "rise", "misure"]
)
def test_methods_that_serve_give_the_map_of_the_network_itself(
    shut: esegeta.SegmentationModel, name: str
) -> None:
    image = volume((9, 11, 7))
    maps = []
    for model in (loaded(unet(3)), shut):
        target = model.target("liver", over="all")
        maps.append(build(name).explain(model, image, target).data)
    scale = float(maps[0].abs().max())
    torch.testing.assert_close(maps[1], maps[0], rtol=1e-4, atol=1e-5 * scale)


def test_units_and_random_weights_are_refused(tmp_path: Path) -> None:
    model = loaded(closed("torchscript", tmp_path))
    with pytest.raises(ModelError, match="of: unit needs the layers of a network"):
        model.target(of="unit", layer="model.0", channel=0)
    method = esegeta.Saliency()
    map_ = method.explain(model, volume((9, 11, 7)), model.target("liver", over="all"))
    for score in (esegeta.ParameterRandomization(), esegeta.EfficientMprt()):
        with pytest.raises(ModelError, match=f"{score.name} needs the layers of a network"):
            score.score(map_, ScoreContext(model, method))


def test_a_program_is_taken_with_the_shape_that_it_was_exported_for() -> None:
    program = exported(unet(3), (BATCH, 1, 8, 8, 8))
    with pytest.raises(WindowError, match="window: the program was exported for windows of 8 x 8"):
        esegeta.load_model(program, window=(16, 8, 8), labels={1: "liver"}, batch_size=BATCH)
    with pytest.raises(ModelError, match="exported for 2 windows at a time, and this is 1"):
        esegeta.load_model(program, window=(8, 8, 8), labels={1: "liver"})


class Rounded(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.round(10 * x.detach())
        return torch.cat([-y, y], 1)


def test_a_program_without_gradients_serves_what_takes_none() -> None:
    program = exported(Rounded(), (1, 1, 8, 8, 8))
    model = esegeta.load_model(program, window=(8, 8, 8), labels={1: "liver"}, device="cpu")
    target = model.target("liver", over="all")
    with pytest.raises(ModelError, match="saliency needs gradients, and none flow") as caught:
        esegeta.Saliency().explain(model, volume((9, 11, 7)), target)
    assert "choose from: occlusion" in str(caught.value)
    assert esegeta.Occlusion(box=4).explain(model, volume((9, 11, 7)), target).data.abs().max() > 0

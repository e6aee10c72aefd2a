"""While a network is built, no connection is opened and no endless layers are made."""

import urllib.request
from pathlib import Path

import pytest
from torch import nn

from esegeta.errors import ModelError
from esegeta.model.building import of_bounded_size, without_connections
from esegeta.model.network import build_monai_network

ADDRESSES = ("http://127.0.0.1:9/x", "http://localhost:9/x")


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_connection_is_refused_and_only_there(address: str) -> None:
    with without_connections(), pytest.raises(ModelError, match="would fetch"):
        urllib.request.urlopen(address, timeout=1)
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=1)


def test_a_file_url_counts_as_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    with without_connections(), pytest.raises(ModelError, match="would fetch"):
        urllib.request.urlopen(path.as_uri())
    assert urllib.request.urlopen(path.as_uri()).read() == b"abc"


def test_a_network_pretrained_by_default_is_built_without_pretraining() -> None:
    network = build_monai_network("EfficientNetBN", {"model_name": "efficientnet-b0"})
    assert isinstance(network, nn.Module)


@pytest.mark.parametrize("key", ["pretrained", "pretrained_url"])
def test_an_explicitly_pretrained_network_is_refused(key: str) -> None:
    args = {"model_name": "efficientnet-b0", key: True}
    with pytest.raises(ModelError, match="allow_download"):
        build_monai_network("EfficientNetBN", args)


def test_layers_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.model.building.MOST_MODULES", 10)
    with of_bounded_size():
        nn.Sequential(*(nn.Identity() for _ in range(10)))
    with pytest.raises(ModelError, match="more than 10 layers"), of_bounded_size():
        nn.Sequential(*(nn.Identity() for _ in range(11)))
    nn.Sequential(*(nn.Identity() for _ in range(11)))


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_parameters_without_a_size_take_no_memory_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.model.building.memory_bytes", lambda: 0)
    with of_bounded_size():
        network = nn.LazyLinear(10, bias=False)
    assert nn.parameter.is_lazy(network.weight)


def test_parameters_beyond_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.model.building.memory_bytes", lambda: 399)
    with pytest.raises(ModelError, match="parameters"), of_bounded_size():
        nn.Linear(10, 10, bias=False)
    monkeypatch.setattr("esegeta.model.building.memory_bytes", lambda: 400)
    with of_bounded_size():
        nn.Linear(10, 10, bias=False)

"""Weights are data: every common wrapping is read, what does not fit is named, no code runs."""

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from esegeta.errors import WeightsError
from esegeta.model import file_sha256, load_weights, network_sha256, read_state
from tests.builders import small_parts, unet

Save = Callable[[dict, Path], None]

TORCHSCRIPT_IS_DEPRECATED = "ignore:.torch.jit:DeprecationWarning"


def prefixed(state: dict) -> dict:
    return {f"module.{key}": value for key, value in state.items()}


SAVED: dict[str, tuple[str, Save]] = {
    "safetensors": ("w.safetensors", save_file),
    "safetensors-module": ("w.safetensors", lambda state, path: save_file(prefixed(state), path)),
    "pt": ("w.pt", torch.save),
    "pth-legacy": (
        "w.pth",
        lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    ),
    "nested": ("w.pt", lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path)),
    "nested-model": ("w.pt", lambda state, path: torch.save({"model": state}, path)),
    "module": ("w.pt", lambda state, path: torch.save(prefixed(state), path)),
    "nested-module": ("w.pt", lambda s, path: torch.save({"state_dict": prefixed(s)}, path)),
}


class Payload:
    """Unpickling this without care makes a directory."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.evidence),)


@pytest.mark.parametrize("form", SAVED)
def test_every_form_of_a_weights_file_gives_the_same_network(form: str, tmp_path: Path) -> None:
    trained, fresh = unet(2, seed=1), unet(2, seed=2)
    name, save = SAVED[form]
    save(trained.state_dict(), tmp_path / name)
    x = torch.randn(1, 1, 8, 8)
    assert not torch.allclose(fresh(x), trained(x))
    load_weights(fresh, tmp_path / name)
    assert torch.equal(fresh(x), trained(x))
    assert network_sha256(fresh) == network_sha256(trained)


def test_missing_unexpected_and_misshapen_keys_are_named(tmp_path: Path) -> None:
    state = small_parts().state_dict()
    state["0.weigth"] = state.pop("0.weight")
    state["1.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "w.pt")
    network = small_parts(1)
    before = network_sha256(network)
    with pytest.raises(WeightsError) as caught:
        load_weights(network, tmp_path / "w.pt")
    text = str(caught.value)
    assert "missing: 0.weight" in text
    assert "unexpected: 0.weigth" in text
    assert "1.bias is (5,), the network's is (2,)" in text
    assert 'For "0.weight" did you mean "0.weigth"?' in text
    assert network_sha256(network) == before


def test_a_long_list_of_keys_is_cut(tmp_path: Path) -> None:
    torch.save({"only": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"missing: 0.weight, 0.bias, .* and 2 more"):
        load_weights(small_parts(), tmp_path / "w.pt")


@pytest.mark.parametrize(
    "save", [torch.save, lambda item, path: path.write_bytes(pickle.dumps(item))]
)
def test_a_pickle_with_code_is_refused_and_not_run(save: Save, tmp_path: Path) -> None:
    evidence, path = tmp_path / "it_ran", tmp_path / "w.pt"
    save({"0.weight": Payload(evidence)}, path)
    with pytest.raises(WeightsError, match="not plain weights"):
        load_weights(small_parts(), path)
    assert not evidence.exists()
    # The payload is live: whoever loads it without care runs it.
    with suppress(RuntimeError):
        torch.load(path, weights_only=False)
    assert evidence.exists()


def test_the_state_dict_of_the_model_is_read_from_a_checkpoint(tmp_path: Path) -> None:
    state = small_parts().state_dict()
    torch.save(
        {"epoch": 3, "ema": {"a": torch.zeros(1)}, "model": {**state, "x": 1}}, tmp_path / "w"
    )
    read = read_state(tmp_path / "w")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], value) for key, value in state.items())
    assert list(read_state(tmp_path / "w", key="ema")) == ["a"]


def test_a_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(small_parts(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="not plain weights"):
        read_state(tmp_path / "w.pt")


@pytest.mark.filterwarnings(TORCHSCRIPT_IS_DEPRECATED)
def test_torchscript_is_refused_by_its_name(tmp_path: Path) -> None:
    traced = torch.jit.trace(small_parts().eval(), torch.zeros(1, 1, 4, 4))
    traced.save(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="TorchScript"):
        load_weights(small_parts(), tmp_path / "w.pt")


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"epoch": 3}, {"state_dict": {"a": "text"}}, torch.zeros(3)]
)
def test_content_that_is_not_a_state_dict_is_named(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=rf"holds a {type(content).__name__}, not a state dict"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello, world", b"\x80\x02}q\x00", b"PK\x03\x04junk"])
def test_files_that_are_not_weights_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_state(tmp_path / name)


@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_truncated_weights_are_refused(form: str, tmp_path: Path) -> None:
    name, save = SAVED[form]
    path = tmp_path / name
    save(small_parts().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=name):
        read_state(path)


def test_garbage_never_escapes_as_another_exception(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "w.pt"
    for _ in range(60):
        noise = torch.randint(0, 256, (40,), generator=generator, dtype=torch.uint8)
        path.write_bytes(b"\x80\x02" + noise.numpy().tobytes())
        with pytest.raises(WeightsError):
            read_state(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        read_state(tmp_path / "w.pt")


def test_hashes_follow_every_value(tmp_path: Path) -> None:
    path = tmp_path / "three"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    network = small_parts()
    before = network_sha256(network)
    network[1].running_mean[1] += 1e-6
    assert network_sha256(network) != before


@pytest.mark.filterwarnings(TORCHSCRIPT_IS_DEPRECATED)
def test_the_pretrained_network_gives_what_its_torchscript_gives(pretrained: Path) -> None:
    from esegeta.model import build_monai_network

    network = build_monai_network(
        "UNet",
        {
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 2,
            "channels": (8, 16, 32, 32, 64),
            "strides": (2, 2, 2, 2),
            "num_res_units": 2,
            "norm": "BATCH",
        },
    )
    load_weights(network, pretrained / "spleen_ct_unet.state_dict.pt")
    with pytest.raises(WeightsError, match="TorchScript"):
        load_weights(network, pretrained / "spleen_ct_unet.torchscript.pt")
    script = torch.jit.load(pretrained / "spleen_ct_unet.torchscript.pt").eval()
    x = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(x), script(x), rtol=1e-4, atol=1e-4)

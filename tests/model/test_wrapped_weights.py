"""Wrappers and prefixes are taken off where every key then fits, and what was is said."""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from esegeta.errors import WeightsError, WeightsKeyError
from esegeta.model import LoadedWeights, load_weights, network_sha256
from tests.builders import small_parts

State = Mapping[str, Tensor]


def before(state: State, prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedWeights]:
    """Save some content, load it into a new network, and see that it has the weights of seed 1."""

    def saved_and_loaded(content: Any, *, key: str | None = None) -> LoadedWeights:
        torch.save(content, tmp_path / "w.pt")
        fresh = small_parts(9)
        loaded = load_weights(fresh, tmp_path / "w.pt", key=key)
        assert network_sha256(fresh) == network_sha256(small_parts(1))
        return loaded

    return saved_and_loaded


WRAPPERS = [
    *("state_dict", "model_state_dict", "network_weights", "model", "weights", "ema", "net"),
    *("network", "module", "params_of_my_own"),
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_are_taken_off_and_named(wrapper: str, load: Callable[..., LoadedWeights]) -> None:
    loaded = load({"epoch": 3, wrapper: small_parts(1).state_dict()})
    assert (loaded.key, loaded.prefixes, loaded.others) == (wrapper, (), ())
    assert loaded.notes == (f'w.pt: removed from the weights: the wrapper "{wrapper}"',)


def test_a_bare_state_dict_gets_no_note(load: Callable[..., LoadedWeights]) -> None:
    assert load(small_parts(1).state_dict()).notes == ()
    assert load(OrderedDict(small_parts(1).state_dict())).notes == ()


PREFIXES = ["module.", "_orig_mod.", "model.", "net.", "network."]
ORDERS = [
    *((prefix,) for prefix in PREFIXES),
    *itertools.permutations(PREFIXES, 2),
    ("module.", "module."),
    ("model.", "net.", "module.", "_orig_mod."),
]


@pytest.mark.parametrize("order", ORDERS, ids="".join)
def test_prefixes_are_taken_off_in_any_order(
    order: tuple[str, ...], load: Callable[..., LoadedWeights]
) -> None:
    loaded = load({"state_dict": before(small_parts(1).state_dict(), "".join(order))})
    assert sorted(loaded.prefixes) == sorted(order)
    (note,) = loaded.notes
    assert note.startswith('w.pt: removed from the weights: the wrapper "state_dict", the prefix "')
    assert all(f'the prefix "{prefix}"' in note for prefix in order)


def test_a_prefix_in_safetensors_is_taken_off(tmp_path: Path) -> None:
    save_file(before(small_parts(1).state_dict(), "net.module."), tmp_path / "w.safetensors")
    fresh = small_parts(9)
    loaded = load_weights(fresh, tmp_path / "w.safetensors")
    assert loaded.prefixes == ("net.", "module.")
    assert network_sha256(fresh) == network_sha256(small_parts(1))


def test_a_prefix_of_the_network_itself_stays(tmp_path: Path) -> None:
    def wrapped(seed: int) -> nn.Module:
        return nn.ModuleDict({"model": small_parts(seed)})

    torch.save(wrapped(1).state_dict(), tmp_path / "w.pt")
    network = wrapped(9)
    assert load_weights(network, tmp_path / "w.pt").notes == ()
    assert network_sha256(network) == network_sha256(wrapped(1))
    torch.save(before(wrapped(1).state_dict(), "model."), tmp_path / "w.pt")
    network = wrapped(9)
    assert load_weights(network, tmp_path / "w.pt").prefixes == ("model.",)
    assert network_sha256(network) == network_sha256(wrapped(1))


@pytest.mark.parametrize("odd", ["0.extra", "loss.weight"])
def test_nothing_is_taken_off_where_a_key_would_still_not_fit(odd: str, tmp_path: Path) -> None:
    state = {**before(small_parts(1).state_dict(), "model."), odd: torch.zeros(2)}
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    network = small_parts(9)
    with pytest.raises(WeightsError) as caught:
        load_weights(network, tmp_path / "w.pt")
    assert caught.value.message == (
        f'{tmp_path / "w.pt"}: all weights of the network are under "state_dict.model", but '
        f"there are also others: {odd}"
    )
    assert 'choose those that fit with weights_key: "state_dict.model"' in str(caught.value)
    assert network_sha256(network) == network_sha256(small_parts(9))
    load_weights(network, tmp_path / "w.pt", key="state_dict.model")
    assert network_sha256(network) == network_sha256(small_parts(1))


def test_lists_of_keys_are_short(tmp_path: Path) -> None:
    network = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(20)))
    torch.save(before(network.state_dict(), "encoder."), tmp_path / "w.pt")
    with pytest.raises(WeightsError) as caught:
        load_weights(network, tmp_path / "w.pt", key="encoder.19")
    text = caught.value.message
    assert "missing: 0.weight, 0.bias, 1.weight, 1.bias, 2.weight and 35 more" in text
    assert len(text) < 300


def test_the_nearest_mismatch_is_reported_without_its_prefix(tmp_path: Path) -> None:
    state = before(small_parts(1).state_dict(), "module.")
    state["module.0.weight"] = torch.zeros(2, 4, 3, 3)
    torch.save(
        {"optimizer": {"state": {0: {"m": torch.zeros(2)}}}, "net": state}, tmp_path / "w.pt"
    )
    with pytest.raises(WeightsError) as caught:
        load_weights(small_parts(), tmp_path / "w.pt")
    assert (
        'the weights under "net" without module. do not fit: wrong shape: 0.weight is '
        "(2, 4, 3, 3), the network's is (2, 1, 3, 3)"
    ) in str(caught.value)


def test_of_a_model_and_its_average_the_model_is_taken(
    load: Callable[..., LoadedWeights],
) -> None:
    state, other = small_parts(1).state_dict(), small_parts(2).state_dict()
    for content in ({"ema": other, "model": state}, {"model": state, "ema": other}):
        loaded = load(content)
        assert (loaded.key, loaded.others) == ("model", ("ema",))
        assert loaded.notes[1] == (
            'w.pt: several weights fit: "model" was used, not "ema"; choose with weights_key'
        )
    assert (
        load({"model": other, "ema": {"state": state, "decay": 0.99}}, key="ema.state").notes == ()
    )
    chosen = load({"model": other, "ema": {"state": before(state, "module.")}}, key="ema")
    assert (chosen.key, chosen.others) == ("ema.state", ())
    assert chosen.notes == (
        'w.pt: removed from the weights: the wrapper "state", the prefix "module."',
    )


def test_averaged_models_load_without_their_counter(tmp_path: Path) -> None:
    torch.save({"state_dict": AveragedModel(small_parts(1)).state_dict()}, tmp_path / "w.pt")
    network = small_parts(9)
    loaded = load_weights(network, tmp_path / "w.pt")
    assert (loaded.prefixes, loaded.left_out) == (("module.",), ("n_averaged",))
    assert '"n_averaged"' in loaded.notes[0]
    assert network_sha256(network) == network_sha256(small_parts(1))


def test_plain_numbers_among_the_tensors_are_left_out(load: Callable[..., LoadedWeights]) -> None:
    loaded = load({**small_parts(1).state_dict(), "epoch": np.int64(3)})
    assert loaded.left_out == ("epoch",)


def test_a_checkpoint_of_lightning_loads(load: Callable[..., LoadedWeights]) -> None:
    monitor = "ModelCheckpoint{'monitor': 'dice', 'mode': 'max'}"
    loaded = load(
        {
            "epoch": 4,
            "global_step": 100,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": OrderedDict(before(small_parts(1).state_dict(), "net._orig_mod.")),
            "loops": {"fit_loop": {"state_dict": {}}},
            "callbacks": {monitor: {"best_model_score": torch.tensor(0.9), "best_k_models": {}}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}],
            "lr_schedulers": [],
            "hyper_parameters": {"lr": np.float64(1e-3), "window": torch.Size([8, 8])},
        }
    )
    assert (loaded.key, loaded.prefixes) == ("state_dict", ("net.", "_orig_mod."))


def test_a_checkpoint_of_nnunet_loads(load: Callable[..., LoadedWeights]) -> None:
    loaded = load(
        {
            "network_weights": small_parts(1).state_dict(),
            "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(2)}}},
            "grad_scaler_state": {"scale": 65536.0},
            "logging": {"mean_fg_dice": [np.float64(0.8)], "ema_fg_dice": [np.float64(0.79)]},
            "_best_ema": np.float64(0.81),
            "current_epoch": 1000,
            "init_args": {
                "plans": {"configurations": {"3d_fullres": {"patch_size": [128, 128, 128]}}},
                "configuration": "3d_fullres",
                "fold": 0,
                "dataset_json": {"labels": {"background": 0, "liver": 1}},
                "device": torch.device("cpu"),
            },
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
    )
    assert loaded.key == "network_weights"


def test_a_key_may_lead_through_mappings_lists_and_dotted_keys(
    load: Callable[..., LoadedWeights],
) -> None:
    state, other = small_parts(1).state_dict(), small_parts(2).state_dict()
    assert load({"folds": [other, {"best.dice": state}]}, key="folds.1.best.dice").notes == ()
    flat = {**before(other, "model."), **before(state, "ema_model.")}
    assert load({"state_dict": flat}, key="state_dict.ema_model").others == ()


@pytest.mark.parametrize("key", ["ema.stat", "emma", "epoch.best", "ema.state.0.weight.x"])
def test_an_unknown_key_lists_the_keys_present(key: str, tmp_path: Path) -> None:
    content = {
        "epoch": 3,
        "model": small_parts(2).state_dict(),
        "ema": {"state": small_parts(1).state_dict()},
    }
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsKeyError) as caught:
        load_weights(small_parts(), tmp_path / "w.pt", key=key)
    text = str(caught.value)
    assert text.startswith(f'weights_key: {tmp_path / "w.pt"} holds nothing under "{key}", but ')
    assert "but model, ema.state; " in text
    assert ('did you mean "ema.state"' in text) == (key in ("ema.stat", "ema.state.0.weight.x"))


def test_keys_present_include_weights_in_lists_but_not_too_deep_ones(
    tmp_path: Path,
) -> None:
    deep: Any = {"weight": torch.ones(1)}
    for _ in range(5):
        deep = {"in": deep}
    torch.save(
        {"folds": [small_parts(1).state_dict(), small_parts(2).state_dict()], **deep},
        tmp_path / "w.pt",
    )
    with pytest.raises(WeightsKeyError) as caught:
        load_weights(small_parts(), tmp_path / "w.pt", key="fold")
    assert 'holds nothing under "fold", but folds.0, folds.1; ' in str(caught.value)


def test_keys_present_include_prefixes_side_by_side(tmp_path: Path) -> None:
    deep = nn.Sequential(small_parts(1)).state_dict()
    content = {**before(deep, "model."), **before(deep, "ema."), "epoch": torch.tensor(3)}
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsKeyError, match=r'"em", but model, ema; did you mean "ema"\?$'):
        load_weights(small_parts(), tmp_path / "w.pt", key="em")
    torch.save(deep, tmp_path / "w.pt")
    with pytest.raises(WeightsKeyError, match=r'nothing under "em"; leave out weights_key$'):
        load_weights(small_parts(), tmp_path / "w.pt", key="em")


@pytest.mark.parametrize("form", ["whole file", "wrapped", "prefixed", "some of them"])
def test_arrays_are_named_as_such(form: str, tmp_path: Path) -> None:
    state = small_parts(1).state_dict()
    arrays: dict[str, Any] = {key: value.numpy() for key, value in state.items()}
    content = {
        "whole file": arrays,
        "wrapped": {"epoch": 3, "state_dict": arrays},
        "prefixed": {**before(state, "module."), "module.0.weight": arrays["0.weight"]},
        "some of them": {**state, "0.weight": arrays["0.weight"]},
    }
    torch.save(content[form], tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"holds numpy arrays, not tensors; .*from_numpy"):
        load_weights(small_parts(), tmp_path / "w.pt")


def test_a_key_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": small_parts(1).state_dict()}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match='holds a int, not a state dict under "epoch"'):
        load_weights(small_parts(), tmp_path / "w.pt", key="epoch")


def test_weights_go_into_a_network_in_a_data_parallel(tmp_path: Path) -> None:
    torch.save(small_parts(1).state_dict(), tmp_path / "w.pt")
    wrapped = nn.DataParallel(small_parts(9))
    assert load_weights(wrapped, tmp_path / "w.pt").notes == ()
    assert network_sha256(wrapped.module) == network_sha256(small_parts(1))

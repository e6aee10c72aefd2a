"""`load_model`: weights, outputs, labels and ensembles, and models that cannot be."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import esegeta
from esegeta.errors import ConfigError, DataError, ModelError, WeightsError
from esegeta.workflow import room
from tests.api.thresholding import SHAPE
from tests.builders import linear, unet, volume


def test_weights_are_loaded_into_the_network(tmp_path: Path) -> None:
    trained = unet(2, seed=1)
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    model = esegeta.load_model(
        unet(2, seed=2),
        window=(8, 8),
        labels={1: "liver"},
        weights=tmp_path / "w.safetensors",
        device="cpu",
    )
    x = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(model.logits(x), trained(x).detach())


class TwoHeads(nn.Module):
    """A network that returns its input twice, and the other way round."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"aux": torch.cat([x, -x], dim=1), "out": torch.cat([-x, x], dim=1)}


def test_one_of_several_outputs_is_chosen() -> None:
    arguments = {"window": (8, 8), "labels": {1: "liver"}, "device": "cpu"}
    first = esegeta.load_model(TwoHeads(), **arguments)
    chosen = esegeta.load_model(TwoHeads(), output="out", **arguments)
    image = volume((9, 10))
    assert torch.equal(first.logits(image.batch), -chosen.logits(image.batch))
    assert first.notes == (
        "the network returns 2 tensors: aux (2x8x8), out (2x8x8); the first, aux, is taken as the "
        "prediction (choose with model.output)",
    )
    assert chosen.notes == ()
    # Its logit is x: the slope is 1 where the label is predicted.
    found = esegeta.Saliency().explain(chosen, image, chosen.target("liver"))
    assert torch.allclose(found.data, (image.data > 0).float(), atol=1e-6)
    with pytest.raises(ModelError, match=r'no tensor "logits"; it returns aux .*choose from'):
        esegeta.load_model(TwoHeads(), output="logits", **arguments)


def test_weights_are_chosen_by_their_key(tmp_path: Path) -> None:
    states = [unet(2, seed=seed).state_dict() for seed in (1, 2)]
    content = {"model": states[0], "ema": {"module": states[1]}, "best": np.float64(0.9)}
    torch.save(content, tmp_path / "w.pt")
    arguments = {"window": (8, 8), "labels": {1: "liver"}, "device": "cpu"}
    x = volume((9, 10)).batch
    for key, seed in (("model", 1), ("ema.module", 2)):
        model = esegeta.load_model(
            unet(2, seed=3), weights=tmp_path / "w.pt", weights_key=key, **arguments
        )
        expected = esegeta.load_model(unet(2, seed=seed), **arguments)
        assert torch.equal(model.logits(x), expected.logits(x))
        assert model.notes == ()
    model = esegeta.load_model(unet(2, seed=3), weights=tmp_path / "w.pt", **arguments)
    assert [note.partition(":")[2] for note in model.notes] == [
        ' removed from the weights: the wrapper "model"',
        ' several weights fit: "model" was used, not "ema.module"; choose with weights_key',
    ]


def test_an_output_of_probabilities_is_noted_in_model_and_maps() -> None:
    network = nn.Sequential(unet(2), nn.Softmax(dim=1))
    model = esegeta.load_model(network, window=(8, 8), labels={1: "liver"}, device="cpu")
    said = "the network's output looks like probabilities, not logits"
    assert [note[: len(said)] for note in model.notes] == [said]
    image = volume((9, 10))
    found = esegeta.Saliency().explain(model, image, model.target("liver"))
    assert [text[: len(said)] for text in found.warnings] == [said]
    unit = model.target("liver", of="unit", layer="0.model.0", channel=0, over="predicted")
    assert [text[: len(said)] for text in esegeta.Saliency().explain(model, image, unit).warnings]
    plain = esegeta.load_model(network[0], window=(8, 8), labels={1: "liver"}, device="cpu")
    assert plain.notes == ()
    assert not esegeta.Saliency().explain(plain, image, plain.target("liver")).warnings


def test_regions_and_decisions_are_those_of_a_config() -> None:
    model = esegeta.load_model(
        linear(2, out_channels=3),
        window=(8, 8),
        labels={"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4},
        activation="sigmoid",
        region_order=[2, 1, 4],
        ignore_label=255,
        threshold={"core": 0.4},
        postprocessing={"keep_largest": ["whole"]},
        device="cpu",
    )
    assert model.labels.names == {2: "whole", 1: "core", 4: "enhancing"}
    assert model.labels.thresholds == {"core": 0.4}
    assert model.labels.postprocessing.keep_largest == ("whole",)
    image = esegeta.volume_from_tensor(torch.randn(1, 9, 8), (1.0, 1.0))
    truth = torch.zeros(9, 8, dtype=torch.long)
    truth[:2], truth[2:4], truth[4:] = 1, 2, 255
    frozen = model.freeze(model.target("core", over="label"), image, truth=truth)
    assert int(frozen.mask.sum()) == 16
    wrong = model.freeze(model.target("core", over="false_positive"), image, truth=truth)
    assert not wrong.mask[4:].any()
    with pytest.raises(DataError, match="holds 0, 3, but none of the labels"):
        model.freeze(model.target("core", over="label"), image, truth=(truth == 1) * 3)
    with pytest.raises(ConfigError, match='region_order: "core" and "enhancing" are missing'):
        esegeta.load_model(
            linear(2, out_channels=3),
            window=(8, 8),
            labels={"whole": [1, 2], "core": 1, "enhancing": 4},
            activation="sigmoid",
            region_order=["whole"],
            device="cpu",
        )


def folds_of(tmp_path: Path, count: int = 3) -> tuple[list[nn.Module], list[Path]]:
    networks = [unet(3, seed=seed) for seed in range(count)]
    paths = [tmp_path / f"fold_{number}.safetensors" for number in range(count)]
    for network, path in zip(networks, paths, strict=True):
        save_file(network.state_dict(), path)
    return networks, paths


def test_ensembles_from_networks_and_from_files_are_the_same(tmp_path: Path) -> None:
    networks, paths = folds_of(tmp_path)
    keys = {"window": (8, 8, 8), "labels": {1: "liver"}, "device": "cpu", "mirror": [0]}
    given = esegeta.load_model(networks, **keys)
    loaded = esegeta.load_model(unet(3, seed=9), weights=paths, **keys)
    x = torch.randn(1, 1, 10, 9, 8)
    assert torch.equal(given.logits(x), loaded.logits(x))
    alone = [esegeta.load_model(network, **keys).logits(x) for network in networks]
    torch.testing.assert_close(given.logits(x), torch.stack(alone).mean(dim=0))
    mean = esegeta.load_model(networks, average="probabilities", **keys).logits(x).softmax(dim=1)
    inner = [
        esegeta.load_model(network, average="probabilities", **keys).logits(x)
        for network in networks
    ]
    expected = torch.stack([one.softmax(dim=1) for one in inner]).mean(dim=0)
    torch.testing.assert_close(mean, expected)


def test_explain_members_gives_maps_of_members_and_their_spread(tmp_path: Path, path: Path) -> None:
    networks, _ = folds_of(tmp_path)
    model = esegeta.load_model(networks, window=(8, 8, 8), labels={1: "liver"}, device="cpu")
    image = esegeta.load_volume(path)
    target = model.freeze(model.target("liver", over="all"), image)
    found = esegeta.explain_members(esegeta.Saliency(), model, image, target)
    whole = esegeta.Saliency().explain(model, image, target)
    torch.testing.assert_close(found.maps.mean(dim=0), whole.data[0], rtol=1e-4, atol=1e-6)


def test_ensembles_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    networks, paths = folds_of(tmp_path, 2)
    keys = {"window": (8, 8, 8), "labels": {1: "liver"}, "device": "cpu"}
    with pytest.raises(ModelError, match=r"network\[1\]: is not of the same architecture"):
        esegeta.load_model([networks[0], unet(3, out_channels=3)], **keys)
    save_file(unet(3, out_channels=3).state_dict(), paths[1])
    with pytest.raises(WeightsError, match=r"fold_1\.safetensors: the weights do not fit"):
        esegeta.load_model(networks[0], weights=paths, **keys)
    with pytest.raises(ConfigError, match="2 files of weights for 2 networks"):
        esegeta.load_model(networks, weights=paths, **keys)
    with pytest.raises(ConfigError, match="1 file of weights for 2 networks"):
        esegeta.load_model(networks, weights=paths[0], **keys)
    with pytest.raises(ConfigError, match="the list names no file; name at least one file"):
        esegeta.load_model(networks[0], weights=[], **keys)
    with pytest.raises(ConfigError, match="no axis 3"):
        esegeta.load_model(networks, mirror=[3], **keys)


@pytest.mark.parametrize("form", ["all wrapped", "one wrapped", "same names"])
def test_wrappers_taken_off_each_file_of_an_ensemble_are_noted(form: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"fold_{number}.pt" for number in range(2)]
    if form == "same names":
        paths = [tmp_path / str(number) / "best.pt" for number in range(2)]
    for seed, path in enumerate(paths):
        state = unet(3, seed=seed).state_dict()
        wrapped = form == "all wrapped" or seed == 1
        path.parent.mkdir(exist_ok=True)
        torch.save({"state_dict": state} if wrapped else state, path)
    keys = {"window": (8, 8, 8), "labels": {1: "liver"}, "device": "cpu"}
    model = esegeta.load_model(unet(3, seed=9), weights=paths, **keys)
    name = {"all wrapped": "all 2 files", "one wrapped": "fold_1.pt", "same names": str(paths[1])}
    assert f'{name[form]}: removed from the weights: the wrapper "state_dict"' in model.notes
    assert sum("removed from" in note for note in model.notes) == 1


@pytest.mark.slow
def test_a_network_of_valid_convolutions_is_recognised(path: Path) -> None:
    from tests.networks import Valid

    keys = {"labels": {1: "liver"}, "device": "cpu"}
    model = esegeta.load_model(Valid(3), window=(14, 14, 14), padding="reflect", **keys)
    image = esegeta.load_volume(path)
    found = esegeta.Saliency().explain(model, image, model.target("liver", over="all"))
    assert found.data.shape == image.data.shape
    assert model.logits(image.batch).shape == (1, 2, *SHAPE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_precision_is_converted(dtype: torch.dtype) -> None:
    keys = {"window": (8, 8), "labels": {1: "liver"}, "device": "cpu"}
    given = unet(2).to(dtype)
    expected = esegeta.load_model(unet(2).to(dtype).float(), **keys)
    assert not expected.notes
    model = esegeta.load_model(given, **keys)
    (note,) = model.notes
    name = str(dtype).removeprefix("torch.")
    assert note == f"the network's parameters are {name}; it was converted to float32"
    x = torch.randn(1, 1, 8, 8)
    assert torch.equal(model.logits(x), expected.logits(x))
    both = esegeta.load_model([unet(2).to(dtype), unet(2, seed=3).to(dtype)], **keys)
    assert both.notes[0] == note
    assert len(both.notes) == 2 and "2 members" in both.notes[1]
    assert torch.isfinite(both.logits(x)).all()


@pytest.mark.parametrize(("free", "size"), [(0.0, 1), (375.5e6, 3), (1e12, 4)])
def test_auto_takes_as_many_windows_as_fit(
    monkeypatch: pytest.MonkeyPatch, free: float, size: int
) -> None:
    """Four fifths of 375.5 MB are 300.4; beside 268.4 for a prediction three of 10 fit."""
    monkeypatch.setattr(room, "free_bytes", lambda device: free)
    monkeypatch.setattr(room, "window_bytes", lambda predictor, channels: 10e6)
    given = {"window": (8, 8), "labels": {1: "one"}, "device": "cpu"}
    model = esegeta.load_model(unet(2), batch_size="auto", **given)
    assert model.batch_size == size
    assert [note for note in model.notes if note.startswith(f"batch_size: auto: {size} window")]
    x = torch.randn(1, 1, 20, 12)
    expected = esegeta.load_model(unet(2), batch_size=size, **given)
    assert torch.equal(model.logits(x), expected.logits(x))


def test_an_automatic_batch_size_is_1_for_norms_over_the_batch() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    model = esegeta.load_model(
        network, window=(8, 8), labels={1: "one"}, device="cpu", batch_size="auto"
    )
    assert model.batch_size == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"activation": "softmx"}, 'activation: "softmx" is not known; did you mean "softmax"?'),
        ({"precision": "fp8"}, 'precision: "fp8" is not known'),
        ({"slice_axis": 3}, "^slice_axis: 3 is not 0, 1 or 2"),
        ({"batch_size": 0}, "batch_size: must be at least 1"),
        ({"batch_size": "all"}, "batch_size: should be a whole number or auto .found 'all'"),
        ({"batch_size": 2.5}, "batch_size: should be a whole number or auto"),
        ({"window": 4}, "window: should be a list of whole numbers .found 4"),
        ({"window": (4.5, 4, 4)}, "window: should be a list of whole numbers"),
        ({"window": (4, 4)}, "^window: 4x4 has 2 lengths, and .* convolution is 3D; give 3"),
        ({"in_channels": 3}, "check in_channels and window$"),
        ({"network": "unet.pt"}, "network: should be a torch.nn.Module .found 'unet.pt'"),
        ({"network": []}, "network: the list is empty"),
    ],
)
def test_invalid_arguments_are_refused(given: dict[str, Any], words: str) -> None:
    as_installed = inspect.unwrap(esegeta.load_model)  # without the type checks of tests
    usual = {"network": linear(3), "window": (4, 4, 4), "labels": {1: "one"}, "device": "cpu"}
    with pytest.raises(esegeta.EsegetaError, match=words):
        as_installed(**{**usual, **given})


@pytest.mark.parametrize(
    "given",
    [
        {"spacing_mm": (1, 1)},
        {"spacing_mm": (1, 1, -1)},
        {"affine": np.eye(3)},
        {"affine": np.zeros((4, 4))},
        {"affine": np.full((4, 4), np.nan)},
        {"spacing_mm": (1, 1, np.nan)},
        {"spacing_mm": (1, 1, 1), "affine": np.eye(4)},
    ],
)
def test_a_grid_that_does_not_fit_a_tensor_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=next(iter(given))):
        esegeta.volume_from_tensor(torch.zeros(1, 4, 4, 4), **given)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (torch.zeros(4, 4), "give `C .S`: channels first"),
        (torch.zeros(1, 1, 4, 4, 4), "give `C .S`: channels first"),
        (torch.zeros(0, 4, 4), "holds no voxel"),
        (torch.zeros(1, 4, 0), "holds no voxel"),
        (torch.zeros(1, 4, 4) / 0, "16 values are NaN, infinite"),
        (np.array([[[0.0, np.inf]]]), "1 value is NaN, infinite"),
        (torch.zeros(1, 4, 4, dtype=torch.complex64), "not real numbers"),
    ],
)
def test_a_tensor_that_is_no_image_is_refused(data: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        esegeta.volume_from_tensor(data)


def test_an_array_is_an_image_too() -> None:
    array = np.arange(12, dtype=np.int16).reshape(1, 3, 4)
    volume = esegeta.volume_from_tensor(array, channels=["ct"])
    assert volume.channels == ("ct",) and volume.data.dtype == torch.float32
    np.testing.assert_array_equal(volume.numpy(), array)

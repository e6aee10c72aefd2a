"""A training is a plain loop; Dice is a plain count."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn

from esegeta.config import load_config
from esegeta.config.schema import RetrainKeys
from esegeta.errors import ModelError
from esegeta.model import Labels
from esegeta.predict import WindowPlan
from esegeta.retraining.samples import Patches, Sample, whole_box
from esegeta.retraining.summary import fold_dice, sample_dice
from esegeta.retraining.train import train_logits, train_network
from esegeta.targets import dice_of
from esegeta.workflow.retrain.plan import plan_recipe
from tests.builders import labels_of, predictor, unet
from tests.networks import Wrapped, half_resolution
from tests.oracles import monai_prediction
from tests.workflow.retrain.tasks import small_task

LABELS = Labels({1: "one", 2: "two"}, "softmax", 3)


def samples(shape: tuple[int, ...]) -> list[Sample]:
    found = []
    for place in range(2):
        data = torch.randn(1, *shape)
        truth = torch.randint(3, shape)
        found.append(Sample(place, place, whole_box(shape), data, data * 0, truth, labels_of(1, 2)))
    return found


def test_training_equals_a_plain_loop(ndim: int, tmp_path: Path) -> None:
    config = load_config(small_task(tmp_path).write())
    keys = RetrainKeys(iterations=4, batch_size=3, optimizer_args={"lr": 0.01, "weight_decay": 0.1})
    recipe = plan_recipe(config, keys, LABELS)
    shape, plan = (9, 11, 12)[:ndim], WindowPlan((4, 6, 4)[:ndim])
    material = samples(shape)
    images = [sample.data for sample in material]
    patches_seen: list[int] = []
    ours = unet(ndim, out_channels=3)
    ours.eval()
    history = train_network(
        ours, Patches(material, images, plan, seed=3), recipe, on_patches=patches_seen.append
    )
    theirs = unet(ndim, out_channels=3)
    theirs.train()
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    patches = Patches(material, images, plan, seed=3)
    expected = []
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + math.cos(math.pi * step / 4)) / 2
        image, truth, _ = patches.draw(3)
        optimizer.zero_grad()
        value = loss(theirs(image), truth[:, None])
        value.backward()
        optimizer.step()
        expected.append(float(value.detach()))
    assert history == pytest.approx(expected, rel=1e-5)
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert patches_seen == [3] * 4
    assert not any(module.training for module in ours.modules())


def test_deep_supervision_is_trained_on_the_first_output(tmp_path: Path) -> None:
    config = load_config(small_task(tmp_path).write())
    recipe = plan_recipe(config, RetrainKeys(iterations=2, batch_size=2), LABELS)
    material = samples((12, 12))
    images = [sample.data for sample in material]
    states = []
    for network in (unet(2, out_channels=3), Wrapped(unet(2, out_channels=3), list)):
        patches = Patches(material, images, WindowPlan((8, 8)), seed=3)
        train_network(network, patches, recipe, on_patches=lambda num: None)
        states.append(list(network.state_dict().values()))
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


def test_a_loss_of_nan_stops_the_training(tmp_path: Path) -> None:
    config = load_config(small_task(tmp_path).write())
    recipe = plan_recipe(config, RetrainKeys(iterations=5), LABELS)
    material = samples((12, 12))
    images = [sample.data * math.inf for sample in material]
    patches = Patches(material, images, WindowPlan((8, 8)), seed=3)
    with pytest.raises(ModelError, match="the loss is nan at iteration 1 of 5") as error:
        train_network(unet(2, out_channels=3), patches, recipe, on_patches=lambda num: None)
    assert "lower optimizer_args.lr" in str(error.value)


def test_dice_is_counted() -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        found, truth = random.random((2, 7, 9)) < 0.4
        expected = 2 * np.sum(found & truth) / (np.sum(found) + np.sum(truth))
        assert dice_of(torch.tensor(found), torch.tensor(truth)) == expected
    nothing, some = torch.zeros(3, 3, dtype=torch.bool), torch.ones(3, 3, dtype=torch.bool)
    assert dice_of(nothing, some) == 0
    assert dice_of(some, some) == 1
    assert math.isnan(dice_of(nothing, nothing))
    assert math.isnan(dice_of(some, nothing))


def test_the_dice_of_a_fold_is_the_mean_over_images_with_the_label() -> None:
    nan = math.nan
    found = fold_dice(
        [{"one": 0.5, "two": nan}, {"one": 0.7, "two": 0.2}, {"one": 0.9, "two": nan}]
    )
    assert found == pytest.approx({"one": 0.7, "two": 0.2, "mean": 0.45})
    empty = fold_dice([{"one": 0.5, "two": nan}])
    assert empty["one"] == empty["mean"] == 0.5
    assert math.isnan(empty["two"])
    assert math.isnan(fold_dice([{"one": nan}])["mean"])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_sample_is_predicted_in_windows(activation: str, ndim: int) -> None:
    num_outputs = 3 if activation == "softmax" else 2
    network = unet(ndim, out_channels=num_outputs)
    model = predictor(
        network, (8,) * ndim, num_outputs=num_outputs, activation=activation, overlap=0.5
    )
    sample = samples((11, 13, 9)[:ndim])[0]
    found = sample_dice(model, sample, sample.data, torch.device("cpu"))
    with torch.no_grad():
        logits = monai_prediction(model, sample.data[None])
    for label, name in ((1, "one"), (2, "two")):
        if activation == "softmax":
            mask = logits.argmax(1)[0] == label
        else:
            mask = logits.sigmoid()[0, label - 1] > 0.5
        assert found[name] == dice_of(mask, sample.truth == label)
    assert 0 < found["one"] < 1


def test_a_network_that_shrinks_patches_cannot_be_trained() -> None:
    network, images = half_resolution(2), torch.zeros(3, 1, 8, 8)
    with pytest.raises(ModelError) as error:
        train_logits(network, images)
    assert "a patch of [8, 8] into logits of [4, 4]" in str(error.value)
    assert "keep the shape of the patch" in str(error.value)


def test_out_of_memory_is_not_blamed_on_the_network() -> None:
    """The error stays as it is, so that the hint is about memory and not about the patch."""

    class Full(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        train_logits(Full(), torch.zeros(3, 1, 8, 8))

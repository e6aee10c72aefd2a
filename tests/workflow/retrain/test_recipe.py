"""Losses and optimizers by name: their arguments, and what they are given."""

from pathlib import Path
from typing import Any

import monai.losses
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from esegeta.config import load_config
from esegeta.config.schema import RetrainKeys
from esegeta.errors import ConfigError, ModelError
from esegeta.model import Labels
from esegeta.retraining.recipe import TrainingRecipe
from esegeta.workflow.retrain.plan import plan_recipe, rehearse
from tests.builders import convolution
from tests.workflow.retrain.tasks import small_task

THREE = {1: "one", 2: "two", 4: "four"}
SPARSE = Labels(THREE, "softmax", 4)
OVERLAPPING = Labels(THREE, "sigmoid", 3)


def recipe(tmp_path: Path, labels: Labels, **keys: Any) -> TrainingRecipe:
    config = load_config(small_task(tmp_path).write())
    return plan_recipe(config, RetrainKeys(**keys), labels)


def batch(labels: Labels, ndim: int) -> tuple[torch.Tensor, torch.Tensor]:
    size = (5, 6, 4)[:ndim]
    logits = torch.randn(3, labels.num_outputs, *size)
    # 3 is no label: it is background.
    truth = torch.tensor([0, 1, 2, 3, 4])[torch.randint(5, (3, *size))]
    return logits, truth


def test_softmax_is_the_loss_of_channel_numbers(ndim: int, tmp_path: Path) -> None:
    found = recipe(tmp_path, SPARSE)
    assert found.loss_args == {"to_onehot_y": True, "softmax": True}
    logits, truth = batch(SPARSE, ndim)
    channels = torch.zeros_like(truth)
    for channel, integer in enumerate((1, 2, 4), start=1):
        channels[truth == integer] = channel
    onehot = F.one_hot(channels, 4).movedim(-1, 1).float()
    probability = logits.softmax(1)
    axes = tuple(range(2, ndim + 2))
    overlap = (probability * onehot).sum(axes)
    dice = (2 * overlap + 1e-5) / (probability.sum(axes) + onehot.sum(axes) + 1e-5)
    expected = (1 - dice).mean() + F.cross_entropy(logits, channels)
    torch.testing.assert_close(found.measure(found.make_loss(), logits, truth), expected)


def test_the_sigmoid_loss_treats_each_label_as_a_binary_problem(ndim: int, tmp_path: Path) -> None:
    found = recipe(tmp_path, OVERLAPPING)
    assert found.loss_args == {"sigmoid": True}
    logits, truth = batch(OVERLAPPING, ndim)
    present = torch.stack([truth == integer for integer in (1, 2, 4)], dim=1).float()
    probability = logits.sigmoid()
    axes = tuple(range(2, ndim + 2))
    overlap = (probability * present).sum(axes)
    dice = (2 * overlap + 1e-5) / (probability.sum(axes) + present.sum(axes) + 1e-5)
    expected = (1 - dice).mean() + F.binary_cross_entropy_with_logits(logits, present)
    torch.testing.assert_close(found.measure(found.make_loss(), logits, truth), expected)


def test_sigmoid_leaves_out_channels_without_a_label(tmp_path: Path) -> None:
    labels = Labels({1: "one", 2: "two"}, "sigmoid", 4)
    found = recipe(tmp_path, labels)
    logits, truth = batch(labels, 2)
    value = found.measure(found.make_loss(), logits, truth)
    changed = logits.clone()
    changed[:, [0, 3]] += 5
    assert found.measure(found.make_loss(), changed, truth) == value
    changed[:, 1] += 5
    assert found.measure(found.make_loss(), changed, truth) != value


@pytest.mark.parametrize(
    ("loss", "args", "softmax", "sigmoid"),
    [
        ("DiceLoss", {}, {"to_onehot_y": True, "softmax": True}, {"sigmoid": True}),
        ("FocalLoss", {"gamma": 1.0}, {"to_onehot_y": True, "use_softmax": True}, {}),
        ("TverskyLoss", {"softmax": False, "sigmoid": True}, {"to_onehot_y": True}, {}),
    ],
)
def test_losses_get_the_activation_arguments_that_they_accept(
    loss: str, args: dict[str, Any], softmax: Any, sigmoid: Any, tmp_path: Path
) -> None:
    for labels, expected in ((SPARSE, softmax), (OVERLAPPING, sigmoid)):
        found = recipe(tmp_path, labels, loss=loss, loss_args=args)
        assert found.loss_args == {**expected, **args}
        logits, truth = batch(labels, 2)
        assert found.measure(found.make_loss(), logits, truth).isfinite()


def test_weights_of_labels_may_be_a_list(tmp_path: Path) -> None:
    weight = [0.1, 1.0, 2.0, 3.0]
    found = recipe(tmp_path, SPARSE, loss_args={"weight": weight})
    logits, truth = batch(SPARSE, 2)
    loss = monai.losses.DiceCELoss(to_onehot_y=True, softmax=True, weight=torch.tensor(weight))
    target = torch.tensor([0, 1, 2, 0, 3])[truth]
    expected = loss(logits, target[:, None])
    torch.testing.assert_close(found.measure(found.make_loss(), logits, truth), expected)


def test_optimizer_and_its_learning_rate(tmp_path: Path) -> None:
    network = nn.Conv2d(1, 2, 1)
    default = recipe(tmp_path, SPARSE, optimizer_args={"weight_decay": 0.5})
    group = default.make_optimizer(network.parameters()).param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (3e-3, 0.5)
    given = recipe(tmp_path, SPARSE, optimizer="SGD", optimizer_args={"lr": 0.1, "momentum": 0.9})
    optimizer = given.make_optimizer(network.parameters())
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_the_learning_rate_falls_along_half_a_cosine_or_stays(tmp_path: Path) -> None:
    for schedule in ("cosine", "constant"):
        found = recipe(tmp_path, SPARSE, schedule=schedule, iterations=10)
        optimizer = found.make_optimizer(nn.Conv2d(1, 2, 1).parameters())
        going = found.make_schedule(optimizer)
        rates = []
        for _ in range(10):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            going.step()
        half = torch.cos(torch.arange(10) * torch.pi / 10) / 2 + 0.5
        expected = 3e-3 * (half if schedule == "cosine" else torch.ones(10))
        torch.testing.assert_close(torch.tensor(rates), expected)


WRONG = {
    "loss": ({"loss_args": {"smoth_nr": 1}}, "retrain.loss_args.smoth_nr: DiceCELoss", "smooth_nr"),
    "optimizer": (
        {"optimizer_args": {"weight_dekay": 1}},
        "retrain.optimizer_args.weight_dekay: AdamW",
        "weight_decay",
    ),
    "parameters": ({"optimizer_args": {"params": []}}, "no such argument", "choose from: "),
    "patch": ({"patch": (8, 8, 8)}, "retrain.patch has 3 lengths", "give 2"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_unknown_arguments_are_refused(fault: str, tmp_path: Path) -> None:
    keys, what, hint = WRONG[fault]
    with pytest.raises(ConfigError, match=what) as error:
        recipe(tmp_path, SPARSE, **keys)
    assert hint in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/tiny.yaml:")


REHEARSALS = {
    "no number": ({"loss_args": {"reduction": "none"}, "loss": "DiceLoss"}, "numbers", "reduction"),
    "wrong value": ({"loss_args": {"lambda_ce": -1.0}}, "lambda_ce should be", "loss_args"),
    "no loss for labels": (
        {"loss": "BarlowTwinsLoss"},
        "BarlowTwinsLoss cannot be",
        "another loss",
    ),
    "no gradient by it": ({"optimizer": "SparseAdam"}, "SparseAdam cannot", "another optimizer"),
    "wrong rate": ({"optimizer_args": {"lr": -1}}, "Invalid learning rate", "optimizer_args"),
}


@pytest.mark.parametrize("fault", REHEARSALS)
def test_a_rehearsal_finds_faults_of_the_recipe(fault: str, tmp_path: Path) -> None:
    keys, what, hint = REHEARSALS[fault]
    found = recipe(tmp_path, SPARSE, **keys)
    with pytest.raises(ConfigError, match=what) as error:
        rehearse(found, nn.Conv2d(2, 4, 1), 2, load_config(tmp_path / "tiny.yaml"))
    assert hint in str(error.value)
    assert f"{tmp_path}/tiny.yaml:" in str(error.value)


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD", "LBFGS", "Rprop", "Adafactor"])
def test_common_optimizers_pass_the_rehearsal(optimizer: str, tmp_path: Path) -> None:
    found = recipe(tmp_path, SPARSE, optimizer=optimizer, patch=(4, 4))
    rehearse(found, nn.Conv2d(2, 4, 1), 2, load_config(tmp_path / "tiny.yaml"))


def test_a_network_that_fails_in_train_mode_is_refused(ndim: int, tmp_path: Path) -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = convolution(ndim)
            kinds = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
            self.layers = nn.Sequential(conv(2, 4, 1), kinds[ndim](4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x)

    lab = small_task(tmp_path)
    lab.keys["inference"]["window"] = [1] * ndim
    config = load_config(lab.write())
    found = plan_recipe(config, RetrainKeys(batch_size=1), SPARSE)
    with pytest.raises(ModelError, match="fails in train mode on 1 patches") as error:
        rehearse(found, Normed(), 2, config)
    assert "retrain.batch_size" in str(error.value)
    rehearse(plan_recipe(config, RetrainKeys(batch_size=2), SPARSE), Normed(), 2, config)


REGIONS = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}


def test_regions_are_trained_as_unions(ndim: int, tmp_path: Path) -> None:
    labels = Labels.of(REGIONS, "sigmoid", 3)
    found = recipe(tmp_path, labels)
    logits, truth = batch(labels, ndim)
    unions = [torch.isin(truth, torch.tensor(own)) for own in ([1, 2, 4], [1, 4], [4])]
    present = torch.stack(unions, dim=1).float().flatten(0, 1).unsqueeze(1)
    loss = found.make_loss()
    expected = loss(logits.flatten(0, 1).unsqueeze(1), present)
    torch.testing.assert_close(found.measure(loss, logits, truth), expected)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_ignored_voxels_have_no_effect_on_loss_and_gradient(
    activation: str, ndim: int, tmp_path: Path
) -> None:
    outputs = 4 if activation == "softmax" else 3
    labels = Labels.of(THREE, activation, outputs, ignore_label=255)
    found = recipe(tmp_path, labels)
    logits, truth = batch(labels, ndim)
    ignored = torch.rand(truth.shape) < 0.3
    truth[ignored] = 255
    logits.requires_grad_(True)
    value = found.measure(found.make_loss(), logits, truth)
    (slope,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert (slope.movedim(1, -1)[ignored] == 0).all()
    assert (slope.movedim(1, -1)[~ignored] != 0).any(dim=-1).all()
    # Whatever the network says there, the loss is the same, and knows of no such label.
    changed = torch.where(ignored[:, None], logits + 7, logits)
    torch.testing.assert_close(found.measure(found.make_loss(), changed, truth), value)


def test_ignored_voxels_do_not_count_in_the_dice_loss(tmp_path: Path) -> None:
    labels = Labels.of({1: "a"}, "sigmoid", 1, ignore_label=255)
    found = recipe(tmp_path, labels, loss="DiceLoss")
    y, truth = torch.tensor([[[2.0, -1.0, 9.0]]]), torch.tensor([[1, 0, 255]])
    p = y.sigmoid()[0, 0, :2]
    expected = 1 - (2 * p[0] + 1e-5) / (p.sum() + 1 + 1e-5)
    assert float(found.measure(found.make_loss(), y, truth)) == pytest.approx(float(expected))


def test_a_device_that_is_full_is_not_blamed_on_the_optimizer(tmp_path: Path) -> None:
    """What lowers memory is said elsewhere: another optimizer would be the wrong advice."""

    class Full(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = super().forward(x)
            found.register_hook(self._fail)
            return found

        def _fail(self, slope: torch.Tensor) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

    found = recipe(tmp_path, SPARSE, patch=(4, 4))
    with pytest.raises(torch.OutOfMemoryError):
        rehearse(found, Full(2, 4, 1), 2, load_config(tmp_path / "tiny.yaml"))

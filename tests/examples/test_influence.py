"""Influence against its definition by autograd, captum's TracInCP, and an inverse by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from captum.influence import TracInCP
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.errors import ModelError
from esegeta.examples import (
    Example,
    InfluenceQuery,
    curvature_of,
    curved_influence,
    influence_at,
    learning,
    rank_agreement,
    target_slopes,
    trace,
    window_slopes,
)
from esegeta.targets import DiceTarget, Scene, Target, VoxelTarget
from tests import builders
from tests.networks import half_resolution

LOSS = nn.CrossEntropyLoss()


def loss(logits: Tensor, truth: Tensor, inside: Tensor | None) -> Tensor:
    return LOSS(logits, truth)


def network(ndim: int) -> nn.Module:
    return builders.unet(ndim)


def make_example(name: str, ndim: int, *, seed: int, window: tuple[int, ...]) -> Example:
    predictor = builders.predictor(nn.Identity(), window)
    shape = tuple(2 * length for length in window)
    image = builders.volume(shape, seed=seed).data
    windows = predictor.plan.lay(shape)
    return Example(
        name, windows.pad_image(image), windows.pad((image[0] > 0).long()), None, windows
    )


def target_and_volume(predictor: object, ndim: int, target: Target) -> InfluenceQuery:
    volume = builders.volume(builders.SHAPES[ndim], seed=7)
    truth = (volume.data[0] > 0.5).long()
    frozen = target.freeze(Scene(predictor, volume, truth))
    return InfluenceQuery("case / one", volume.batch, frozen)


def autograd(value: Tensor, module: nn.Module) -> dict[str, Tensor]:
    names = dict(module.named_parameters())
    found = torch.autograd.grad(value, list(names.values()), allow_unused=True)
    return {
        name: torch.zeros_like(names[name]) if one is None else one
        for name, one in zip(names, found, strict=True)
    }


@pytest.mark.parametrize(
    "target", [VoxelTarget("one", "logit"), DiceTarget("one", "label")], ids=["linear", "dice"]
)
def test_gradients_of_a_target_equal_those_of_the_whole_prediction(target: Target) -> None:
    from monai.inferers import sliding_window_inference

    model = network(2)
    predictor = builders.predictor(model, (8, 8))
    question = target_and_volume(predictor, 2, target)
    with learning(model) as parameters:
        value, slopes = target_slopes(predictor, parameters, question.x, question.target)
    assert not any(one.requires_grad is False for one in model.parameters())
    whole = sliding_window_inference(question.x, (8, 8), 2, model, overlap=0.5, mode="gaussian")
    expected = question.target.value(whole)[0]
    assert value == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, slope in autograd(expected, model).items():
        torch.testing.assert_close(slopes[name], slope, rtol=2e-4, atol=2e-5)


def test_tracin_equals_its_definition_by_autograd(ndim: int) -> None:
    window = (8,) * ndim
    model = network(ndim)
    predictor = builders.predictor(model, window)
    question = target_and_volume(predictor, ndim, VoxelTarget("one", "logit"))
    examples = [make_example(f"z{i}", ndim, seed=i, window=window) for i in range(2)]
    found = influence_at(predictor, [question], examples, loss)
    model.eval()
    asked = autograd(question.target.value(predictor_graph(model, predictor, question.x))[0], model)
    for example in examples:
        values = []
        for place in range(len(example.windows)):
            image, truth, _ = example.cut(place)
            values.append(LOSS(model(image), truth))
        slopes = autograd(torch.stack(values).mean(), model)
        expected = -sum(float((asked[name] * slopes[name]).sum()) for name in asked)
        pull = found.pulls["case / one"][example.name]
        assert pull.total == pytest.approx(expected, rel=1e-3)
        squared = sum(float((slope**2).sum()) for slope in slopes.values())
        assert found.self_influence[example.name] == pytest.approx(squared, rel=1e-4)
        length = math.sqrt(sum(float((slope**2).sum()) for slope in asked.values()))
        assert pull.cosine == pytest.approx(expected / (length * math.sqrt(squared)), rel=1e-3)
        head = [name for name in asked if name.startswith("model.2")]
        of_head = -sum(float((asked[name] * slopes[name]).sum()) for name in head)
        split = sum(v for name, v in pull.by_module.items() if name.startswith("model.2"))
        assert split == pytest.approx(of_head, rel=1e-3, abs=1e-6)


def predictor_graph(model: nn.Module, predictor: object, x: Tensor) -> Tensor:
    """Return the blended logits with a graph to the parameters, by MONAI."""
    from monai.inferers import sliding_window_inference

    size = (8,) * (x.ndim - 2)
    return sliding_window_inference(x, size, 2, model, overlap=0.5, mode="gaussian")


def test_tracin_equals_captum_where_the_target_is_a_loss(tmp_path: Path) -> None:
    # One window, no blending, and a target that is a loss: all that TracInCP knows.
    size, rates = (6, 6), [0.3, 0.1]
    model = builders.pointwise(2)
    images = torch.stack([builders.volume(size, seed=seed).data for seed in range(3)])
    truths = (images[:, 0] > 0).long()
    states = []
    for step in range(2):
        states.append({name: one.clone() for name, one in model.state_dict().items()})
        torch.save(states[-1], tmp_path / f"{step}.pt")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)

    def load(module: nn.Module, path: str) -> float:
        module.load_state_dict(torch.load(path, weights_only=True))
        return rates[int(Path(path).stem)]

    class Mean(nn.Module):
        reduction = "none"

        def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
            return F.cross_entropy(logits, truth, reduction="none").mean(dim=(1, 2))

    tracin = TracInCP(
        model,
        torch.utils.data.TensorDataset(images, truths),
        [str(tmp_path / f"{step}.pt") for step in range(2)],
        checkpoints_load_func=load,
        loss_fn=Mean(),
        batch_size=1,
        sample_wise_grads_per_batch=False,
    )
    expected = tracin.influence((images[:1], truths[:1]), k=None)[0]
    expected_self = tracin.self_influence()
    examples = []
    for place in range(3):
        windows = builders.predictor(model, size).plan.lay(size)
        examples.append(Example(f"z{place}", images[place], truths[place], None, windows))
    traced, own = [], []
    for state in states:
        model.load_state_dict(state)
        predictor = builders.predictor(model, size)
        with learning(model) as parameters:
            slopes = [
                next(iter(window_slopes(predictor, parameters, z, loss)))[1] for z in examples
            ]
        products = {
            f"z{i}": sum(float((one[n] * slopes[0][n]).sum()) for n in one)
            for i, one in enumerate(slopes)
        }
        traced.append(products)
        question = target_and_volume(predictor, 2, VoxelTarget("one", "logit"))
        own.append(influence_at(predictor, [question], examples, loss).self_influence)
    for place in range(3):
        assert trace(traced, rates)[f"z{place}"] == pytest.approx(float(expected[place]), rel=1e-4)
        selfish = float(expected_self[place])
        assert trace(own, rates)[f"z{place}"] == pytest.approx(selfish, rel=1e-4)


def test_influence_predicts_the_change_by_a_training_step() -> None:
    model = network(2).double()
    predictor = builders.predictor(model, (8, 8))
    volume = builders.volume((13, 11), seed=7)
    volume = volume.with_data(volume.data)
    example = make_example("z", 2, seed=1, window=(8, 8))
    example = Example("z", example.image.double(), example.truth, None, example.windows)
    scene = Scene(predictor, volume, known_logits=predictor.logits(volume.batch.double()).float())
    question = InfluenceQuery(
        "q", volume.batch.double(), VoxelTarget("one", "margin").freeze(scene)
    )
    found = influence_at(predictor, [question], [example], loss)
    rate = 1e-5
    with learning(model) as parameters:
        per_window = [slopes for _, slopes in window_slopes(predictor, parameters, example, loss)]
    before = found.values["q"]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter -= rate * sum(one[name] for one in per_window) / len(per_window)
    after = float(question.target.value(predictor.logits(question.x))[0])
    assert (after - before) / rate == pytest.approx(found.pulls["q"]["z"].total, rel=1e-2)


@pytest.mark.slow
def test_mislabelled_examples_have_the_largest_self_influence() -> None:
    # Bright is label 1; in two of ten examples it is the other way round.
    model = builders.linear(2, kernel=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    images = [builders.volume((6, 6), seed=seed).data for seed in range(10)]
    truths = [(image[0] > 0).long() for image in images]
    for wrong in (3, 8):
        truths[wrong] = 1 - truths[wrong]
    for _ in range(40):
        optimizer.zero_grad()
        LOSS(model(torch.stack(images)), torch.stack(truths)).backward()
        optimizer.step()
    windows = builders.predictor(model, (6, 6)).plan.lay((6, 6))
    examples = [
        Example(str(place), *parts, None, windows)
        for place, parts in enumerate(zip(images, truths, strict=True))
    ]
    predictor = builders.predictor(model, (6, 6))
    question = target_and_volume(predictor, 2, VoxelTarget("one", "logit"))
    found = influence_at(predictor, [question], examples, loss).self_influence
    assert set(sorted(found, key=found.__getitem__)[-2:]) == {"3", "8"}


def test_the_eigenbasis_gives_the_exact_inverse_where_it_can() -> None:
    # A weight of one output channel: its Fisher matrix is the inputs' factor, nothing is lost.
    generator = torch.Generator().manual_seed(0)
    slopes = [torch.randn((1, 2, 3), generator=generator) for _ in range(9)]
    found = curvature_of(slopes, damping=0.1)
    flat = torch.stack([one.flatten().double() for one in slopes])
    fisher = flat.T @ flat / len(flat)
    damped = fisher + 0.1 * float(fisher.trace()) / len(fisher) * torch.eye(len(fisher)).double()
    asked, other = slopes[0], torch.randn((1, 2, 3), generator=generator)
    expected = -float(
        asked.flatten().double() @ torch.linalg.solve(damped, other.flatten().double())
    )
    name = {"w": found}
    assert curved_influence({"w": asked}, {"w": other}, name) == pytest.approx(expected, rel=1e-9)


def test_the_eigenbasis_keeps_the_mean_square_of_every_direction() -> None:
    generator = torch.Generator().manual_seed(1)
    slopes = [torch.randn((3, 4), generator=generator) for _ in range(7)]
    found = curvature_of(slopes)
    total = sum(float((one**2).sum()) for one in slopes) / len(slopes)
    assert float(found.eigenvalues.sum()) == pytest.approx(total, rel=1e-6)
    one = found.rows.T @ found.rows
    torch.testing.assert_close(one, torch.eye(3).double())


def test_a_loss_that_is_not_finite_is_named() -> None:
    model = builders.linear(2)
    with torch.no_grad():
        model.weight.fill_(torch.inf)
    example = make_example("bad", 2, seed=0, window=(4, 4))
    predictor = builders.predictor(model, (4, 4))
    with learning(model) as parameters, pytest.raises(ModelError, match="bad: the loss of window"):
        list(window_slopes(predictor, parameters, example, loss))


def test_rank_agreement_is_spearmans_correlation() -> None:
    from scipy import stats

    one, other = [0.1, 3.0, 2.0, 2.0, 7.0], [5.0, 6.0, 1.0, 4.0, 9.0]
    found = rank_agreement(one, other)
    assert found.correlation == pytest.approx(stats.spearmanr(one, other).statistic)
    exact = stats.permutation_test(
        (one,),
        lambda x: stats.spearmanr(x, other).statistic,
        permutation_type="pairings",
        n_resamples=120,
    )
    assert found.p == pytest.approx(exact.pvalue, abs=0.02)
    assert math.isnan(rank_agreement([1.0, 1.0], [1.0, 2.0]).correlation)


def test_p_of_rank_agreement_is_sampled_for_many_examples() -> None:
    """Ten examples have 3.6 million orders, of which a hundred thousand are drawn."""
    from scipy import stats

    one = list(range(10))
    other = [2, 0, 5, 1, 3, 8, 4, 9, 6, 7]
    found = rank_agreement(one, other)
    spearman = stats.spearmanr(one, other)
    assert found.correlation == pytest.approx(spearman.statistic)
    assert found.p == pytest.approx(spearman.pvalue, abs=0.01)
    assert 0 < rank_agreement(one, one).p < 1e-4  # never none at all, which no draws can show


def test_windows_of_a_2d_network_are_slices_of_a_scan() -> None:
    """What a window along the last axis pulls is what the slice pulls as an image of its own."""
    model, size = network(2), (8, 8)
    predictor = builders.predictor(model, size)
    image = builders.volume((8, 8, 2), seed=3).data
    truth, inside = (image[0] > 0).long(), torch.ones((8, 8, 2), dtype=torch.bool)
    inside[:3] = False

    def masked(logits: Tensor, truth: Tensor, inside: Tensor | None) -> Tensor:
        each = F.cross_entropy(logits, truth, reduction="none")
        return each.mean() if inside is None else each[inside].mean()

    windows = predictor.plan.lay((8, 8, 2))
    flat = predictor.plan.lay(size)
    for within in (None, inside):
        scan = Example("scan", image, truth, within, windows)
        with learning(model) as parameters:
            found = list(window_slopes(predictor, parameters, scan, masked))
            assert len(found) == 2
            for place, (value, slopes) in enumerate(found):
                mask = None if within is None else within[..., place]
                alone = Example("slice", image[..., place], truth[..., place], mask, flat)
                ((expected, own),) = window_slopes(predictor, parameters, alone, masked)
                assert value == pytest.approx(expected, rel=1e-6)
                for name, slope in own.items():
                    torch.testing.assert_close(slopes[name], slope)


def test_influence_is_refused_for_a_network_that_shrinks_windows() -> None:
    model = half_resolution(2)
    predictor = builders.predictor(model, (8, 8))
    example = make_example("z", 2, seed=0, window=(8, 8))
    with learning(model) as parameters, pytest.raises(ModelError) as error:
        list(window_slopes(predictor, parameters, example, loss))
    assert "turns a window of [8, 8] into logits of [4, 4]" in str(error.value)
    assert "keeps the shape of the window" in str(error.value)

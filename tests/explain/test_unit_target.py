"""Units as targets: whole graphs written out, captum's neuron methods, regions and combinations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.errors import EmptyTargetError, LayerError, TargetError
from esegeta.explain import (
    Baseline,
    HiResCam,
    InputXGradient,
    IntegratedGradients,
    Objective,
    Occlusion,
    Saliency,
)
from esegeta.model import UnitNetwork, find_layer, held_still, list_layers
from esegeta.predict import Predictor, WindowPlan
from esegeta.score import Infidelity, ScoreContext
from esegeta.targets import (
    Boundary,
    BoxRegion,
    Component,
    Everywhere,
    FalseNegative,
    FalsePositive,
    Labelled,
    Otsu,
    PointRegion,
    Predicted,
    Region,
    Roi,
    Scene,
    UnitTarget,
    VoxelTarget,
    split_components,
)
from esegeta.volume import Volume
from tests.builders import SHAPES, predictor, unet, volume
from tests.networks import Counting, Failing
from tests.oracles import gradient_of, relative_gap, state_of
from tests.pairwise import pairwise

TOLERANCE = 2e-5
LAYER = "model.1.submodule"  # at half the resolution, within a skip connection


def blended_unit(model: Predictor, layer: str, channels: tuple[int, ...], x: Tensor) -> Tensor:
    """Return the units' maps over the volume, `1 K *S`, by plain sums over whole networks.

    Slow and independent: each window goes through the whole network by itself, its activation is
    caught on the way, resampled and put in its place with the weights written out.
    """
    windows = model.windows(x)
    padded = windows.pad(x)
    weights = windows.importance(x.device, x.dtype)
    module = dict(model.network.named_modules())[layer]
    caught: list[Tensor] = []
    handle = module.register_forward_hook(lambda *call: caught.append(call[2]))
    numerator: Tensor | float = 0.0
    denominator = torch.zeros(windows.padded_shape)
    thin = windows.slice_axis
    for box in windows.boxes:
        crop = padded[(slice(None), slice(None), *box)]
        crop = crop if thin is None else crop.squeeze(thin + 2)
        model.network(crop)
        mode = "bilinear" if crop.ndim == 4 else "trilinear"
        map_ = F.interpolate(caught[-1][:, list(channels)], crop.shape[2:], mode=mode)
        map_ = map_ if thin is None else map_.unsqueeze(thin + 2)
        placed = torch.zeros(1, len(channels), *windows.padded_shape)
        placed[(slice(None), slice(None), *box)] = map_ * weights
        numerator = numerator + placed
        denominator[box] += weights
    handle.remove()
    return windows.crop(numerator / denominator)


def case(ndim: int, kind: str = "prelu_batch") -> tuple[Predictor, Volume]:
    network = unet(ndim, kind, in_channels=2)
    return predictor(network, (8,) * ndim, batch_size=3), volume(SHAPES[ndim], 2)


@pairwise(
    ndim=[2, 3],
    kind=["prelu_batch", "relu_instance"],
    layer=["model.0.conv", LAYER, "model.1"],
    reduce=["sum", "mean"],
)
def test_value_and_gradient_are_those_of_the_whole_graph(
    ndim: int, kind: str, layer: str, reduce: str
) -> None:
    model, image = case(ndim, kind)
    mask = model.labels.predicted(model.logits(image.batch), "one")[0]
    assert 0 < mask.sum() < mask.numel()

    def value(x: Tensor) -> Tensor:
        kept = blended_unit(model, layer, (3,), x)[0, 0][mask]
        return kept.sum() if reduce == "sum" else kept.mean()

    target = UnitTarget(layer, 3, Predicted(), reduce, "one").freeze(Scene(model, image))
    assert torch.equal(target.mask, mask)
    found = Saliency().explain(model, image, target).data
    assert relative_gap(found, gradient_of(value, image.batch)[0]) < TOLERANCE
    objective = Objective.of(model, target, image)
    with torch.no_grad():
        assert objective.value() == pytest.approx(float(value(image.batch)), rel=1e-4)


def test_a_2d_network_over_slices() -> None:
    model, _ = case(2)
    model = replace(model, plan=WindowPlan((8, 8), slice_axis=1))
    image = volume((9, 3, 10), 2)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    found = Saliency().explain(model, image, target).data
    expected = gradient_of(lambda x: blended_unit(model, LAYER, (2,), x), image.batch)[0]
    assert relative_gap(found, expected) < TOLERANCE


def test_a_volume_smaller_than_the_window(ndim: int) -> None:
    model, _ = case(ndim)
    image = volume((5, 9, 6)[:ndim], 2)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    found = Saliency().explain(model, image, target).data
    expected = gradient_of(lambda x: blended_unit(model, LAYER, (2,), x), image.batch)[0]
    assert relative_gap(found, expected) < TOLERANCE


def truth_of(image: Volume) -> Tensor:
    return (image.data[0] > 0.3).long()


REGIONS: dict[str, Region] = {
    "predicted": Predicted(),
    "label": Labelled(),
    "false_positive": FalsePositive(),
    "false_negative": FalseNegative(),
    "component": Component(),
    "boundary": Boundary(1.0),
    "box": BoxRegion((1, 2, 0), (7, 6, 5)),
    "point": PointRegion((4, 5, 3)),
    "otsu": Otsu(),
    "all": Everywhere(),
}


@pytest.mark.parametrize("region", REGIONS)
def test_the_mask_is_that_of_the_whole_networks_prediction(ndim: int, region: str) -> None:
    """Each region gives a unit the very voxels that it gives a label."""
    model, image = case(ndim)
    over = REGIONS[region]
    over = BoxRegion(over.start[:ndim], over.stop[:ndim]) if isinstance(over, BoxRegion) else over
    over = PointRegion(over.index[:ndim]) if isinstance(over, PointRegion) else over
    scene = Scene(model, image, truth_of(image))
    expected = VoxelTarget("one", over=over).freeze(scene).mask
    label = "one" if over.needs_label else None
    target = UnitTarget(LAYER, 1, over, label=label).freeze(scene)
    assert torch.equal(target.mask, expected)
    found = Saliency().explain(model, image, target).data
    gradient = gradient_of(
        lambda x: blended_unit(model, LAYER, (1,), x)[0, 0][expected].sum(), image.batch
    )
    assert relative_gap(found, gradient[0]) < TOLERANCE
    assert found.any()


def test_a_roi_and_components_one_by_one() -> None:
    model, image = case(2)
    scene = Scene(model, image)
    roi = torch.zeros(SHAPES[2], dtype=torch.long)
    roi[2:5, 3:] = 1
    assert torch.equal(UnitTarget(LAYER, 1, Roi(roi)).freeze(scene).mask, roi > 0)
    parts = split_components(UnitTarget(LAYER, 1, Predicted(), label="one"), scene)
    masks = [part.freeze(scene).mask for part in parts]
    assert torch.equal(torch.stack(masks).sum(dim=0), Predicted().mask(scene, scene.logits, "one"))
    assert parts[0].freeze(scene).facts["component"] == 1
    with pytest.raises(TargetError, match="a label is needed to split"):
        split_components(UnitTarget(LAYER, 1), scene)


def test_a_region_without_the_prediction_costs_no_prediction() -> None:
    model, image = case(2)
    network = Counting(model.network)
    scene = Scene(replace(model, network=network), image)
    UnitTarget("inner." + LAYER, 1).freeze(scene)
    assert network.windows == 1  # to see that the layer has the unit
    UnitTarget("inner." + LAYER, 1, Predicted(), label="one").freeze(scene)
    assert network.windows > 2


@pytest.mark.parametrize("place", [(2, 1, 3), (7, 4, 0)])
def test_captums_neuron_gradient_and_integrated_gradients(
    ndim: int, place: tuple[int, ...]
) -> None:
    """One window, a layer at full resolution, a mask of one voxel: captum's neuron."""
    shape = (8, 6, 4)[:ndim]
    network = nn.Sequential(unet(ndim, "prelu_batch", in_channels=2), nn.Softmax(dim=1)).eval()
    layer = "0.model.2"
    model = predictor(network, shape)
    image = volume(shape, 2)
    target = UnitTarget(layer, 1, PointRegion(place[:ndim])).freeze(Scene(model, image))
    neuron = (1, *place[:ndim])
    module = find_layer(network, layer)
    x = image.batch.clone().requires_grad_(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="captum")
        slope = captum.attr.NeuronGradient(network, module).attribute(x, neuron)[0]
        start = Baseline("mean").of(image)[None]
        path = captum.attr.NeuronIntegratedGradients(network, module).attribute(
            image.batch, neuron, start, n_steps=5, method="gausslegendre"
        )[0]
        ablated = captum.attr.NeuronFeatureAblation(network, module).attribute(
            image.batch, neuron, baselines=0.0, feature_mask=halves(image)
        )[0]
    assert relative_gap(Saliency().explain(model, image, target).data, slope) < TOLERANCE
    method = IntegratedGradients(steps=5, baseline="mean", tolerance=9.0)
    assert relative_gap(method.explain(model, image, target).data, path) < TOLERANCE
    occlusion = Occlusion(box=tuple(n // 2 for n in shape), baseline="zero", channels="together")
    found = occlusion.explain(model, image, target).data
    assert relative_gap(found.expand_as(ablated), ablated) < TOLERANCE


def halves(image: Volume) -> Tensor:
    """Return the feature mask of boxes half as long as the image on each axis."""
    features = torch.zeros(image.grid.shape, dtype=torch.long)
    for axis, length in enumerate(image.grid.shape):
        shape = [length if place == axis else 1 for place in range(image.ndim)]
        features = 2 * features + (torch.arange(length) >= length // 2).reshape(shape)
    return features[None, None].expand_as(image.batch)


def test_captum_at_a_coarser_layer_by_a_selector(ndim: int) -> None:
    """One voxel is then a linear mix of the layer's positions."""
    shape = (8, 6, 4)[:ndim]
    network = unet(ndim, "relu_instance")
    model = predictor(network, shape)
    image = volume(shape)
    point = (3, 4, 1)[:ndim]
    mode = "bilinear" if ndim == 2 else "trilinear"
    select: Callable[[Tensor], Tensor] = lambda a: F.interpolate(a, shape, mode=mode)[  # noqa: E731
        (slice(None), 5, *point)
    ]
    x = image.batch.clone().requires_grad_(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="captum")
        oracle = captum.attr.NeuronGradient(network, find_layer(network, LAYER))
        expected = oracle.attribute(x, select)[0]
    target = UnitTarget(LAYER, 5, PointRegion(point)).freeze(Scene(model, image))
    assert relative_gap(Saliency().explain(model, image, target).data, expected) < TOLERANCE


@pytest.mark.parametrize("layer", ["model.0", "model.0.conv"])
def test_layer_methods_explain_it_by_layers_before_it(ndim: int, layer: str) -> None:
    """Found by the whole network's names; slopes of one graph from that layer to the unit."""
    shape = (8, 6, 4)[:ndim]
    network = unet(ndim, "prelu_batch")
    model = predictor(network, shape)
    image = volume(shape)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    seen: dict[str, Tensor] = {}
    handles = [
        find_layer(network, name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: output})
        )
        for name in (layer, LAYER)
    ]
    network(image.batch)
    for handle in handles:
        handle.remove()
    mode = "bilinear" if ndim == 2 else "trilinear"
    value = F.interpolate(seen[LAYER][:, 2:3], shape, mode=mode).sum()
    (slope,) = torch.autograd.grad(value, seen[layer])
    product = (slope * seen[layer]).sum(dim=1, keepdim=True).detach()
    expected = F.interpolate(product, shape, mode=mode)[0]
    found = HiResCam(layer=layer).explain(model, image, target).data
    assert relative_gap(found, expected) < TOLERANCE


def test_a_layer_behind_it_has_no_part_in_it() -> None:
    model, image = case(2)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    with pytest.raises(LayerError, match="did not run"):
        HiResCam(layer="model.2").explain(model, image, target)
    # The deepest layer is that of what runs.
    assert HiResCam().explain(model, image, target).facts.more["layer"] == LAYER


def test_units_of_one_layer_combine(ndim: int) -> None:
    model, image = case(ndim)
    scene = Scene(model, image)
    six, one = UnitTarget(LAYER, 6), UnitTarget(LAYER, 1, Predicted(), label="one")
    box = UnitTarget(LAYER, 4, BoxRegion((0,) * ndim, (5,) * ndim))
    mask = one.freeze(scene).mask
    spot = box.freeze(scene).mask

    def parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = blended_unit(model, LAYER, (6, 1, 4), x)[0]
        return maps[0].sum(), maps[1][mask].sum(), maps[2][spot].sum()

    def mixed(x: Tensor) -> Tensor:
        a, b, c = parts(x)
        return 2 * a - b + 0.5 * c

    def multiplied(x: Tensor) -> Tensor:
        a, b, c = parts(x)
        return (a - c) * b

    for target, function in ((2 * six - one + 0.5 * box, mixed), ((six - box) * one, multiplied)):
        frozen = target.freeze(scene)
        assert frozen.is_linear == (function is mixed)
        found = Saliency().explain(model, image, frozen).data
        assert relative_gap(found, gradient_of(function, image.batch)[0]) < TOLERANCE
        objective = Objective.of(model, frozen, image)
        expected = float(function(image.batch).detach())
        assert objective.value() == pytest.approx(expected, rel=1e-4)
        assert objective.at(image.data).value() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("other", [VoxelTarget("one"), UnitTarget("model.0", 1)])
def test_targets_of_other_places_do_not_combine(other: VoxelTarget | UnitTarget) -> None:
    unit = UnitTarget(LAYER, 1)
    place = "the logits" if isinstance(other, VoxelTarget) else "layer model.0"
    for combine in (lambda: unit + other, lambda: other - unit, lambda: unit * other):
        with pytest.raises(TargetError, match=f"{place}|{LAYER}.*cannot be combined"):
            combine()
    with pytest.raises(TargetError, match="cannot be combined"):
        (unit + UnitTarget(LAYER, 2)) * other


def test_it_says_what_it_is() -> None:
    model, image = case(2)
    target = UnitTarget(LAYER, 2, Predicted(), "mean", "one").freeze(Scene(model, image))
    assert target.description == f"mean of unit 2 of layer {LAYER} over predicted of one"
    assert target.unit == "activation"
    assert target.facts["layer"] == LAYER
    assert target.facts["channel"] == 2
    assert UnitTarget(LAYER, 2).describe() == f"sum of unit 2 of layer {LAYER} over all"


def test_only_what_leads_to_the_unit_is_run_and_only_windows_that_it_touches() -> None:
    network = unet(2, "prelu_batch")
    model = predictor(network, (8, 8))
    image = volume((8, 24))
    target = UnitTarget("model.0", 0, BoxRegion((0, 0), (8, 4))).freeze(Scene(model, image))
    calls = {"model.0": 0, "model.1": 0, "model.2": 0}

    def count(name: str) -> Callable[..., None]:
        def hook(*call: object) -> None:
            calls[name] += 1

        return hook

    for name in calls:
        find_layer(network, name).register_forward_pre_hook(count(name))
    found = Saliency().explain(model, image, target)
    assert (found.facts.active_windows, found.facts.num_windows) == (1, 5)
    assert found.facts.windows_run == 1
    assert calls == {"model.0": 1, "model.1": 0, "model.2": 0}


def test_scores_judge_it_as_any_other(ndim: int) -> None:
    """A map that is the unit's exact first order has next to no infidelity under small noise."""
    model, image = case(ndim)
    target = UnitTarget("model.0.conv", 1).freeze(Scene(model, image))  # linear in the input
    method = InputXGradient()
    map_ = replace(
        method.explain(model, image, target), data=Saliency().explain(model, image, target).data
    )
    found = Infidelity(noise=0.1).score(map_, ScoreContext(model, method))
    assert found["infidelity_relative"] < 1e-6


def test_another_predictor_is_read_at_the_same_unit() -> None:
    """A frozen target on a predictor with other windows, and on an already read one."""
    model, image = case(2)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    other = replace(model, plan=WindowPlan((12, 10)))
    found = Saliency().explain(other, image, target).data
    expected = gradient_of(lambda x: blended_unit(other, LAYER, (2,), x), image.batch)[0]
    assert relative_gap(found, expected) < TOLERANCE
    read = Saliency().explain(target.scene.predictor, image, target).data
    assert torch.equal(read, Saliency().explain(model, image, target).data)


@pytest.mark.parametrize("nth", [1, 2])
def test_the_network_is_left_as_it_was_after_an_exception(nth: int) -> None:
    """The failure lies within the layer that is read, before its own hook."""
    model, image = case(2)
    network = nn.Sequential(Failing(model.network, nth + 1), nn.Softmax(dim=1)).train()
    model = replace(model, network=network)
    target = UnitTarget("0", 1).freeze(Scene(model, image))
    before = state_of(network)
    with pytest.raises(Failing.BrokenError):
        Saliency().explain(model, image, target)
    assert state_of(network) == before


def test_the_network_of_a_unit_is_the_whole_one_to_whoever_looks() -> None:
    network = unet(2)
    read = UnitNetwork(network, LAYER, (1,))
    assert dict(read.named_modules()) == dict(network.named_modules())
    assert list(read.parameters()) == list(network.parameters())
    assert dict(read.named_buffers()).keys() == dict(network.named_buffers()).keys()
    assert find_layer(read, "model.0.conv") is network.get_submodule("model.0.conv")
    network.train()
    with held_still(read):
        assert not any(module.training for module in network.modules())
    assert all(module.training for module in network.modules())
    ran = {
        layer.name
        for layer in list_layers(read, lambda: read(torch.zeros(1, 1, 8, 8)))
        if layer.order >= 0
    }
    assert {"model.0", LAYER} <= ran
    assert not ran & {"model.2", "model.1", "model", ""}


class Odd(nn.Module):
    """Layers that have no one map: run twice, never, without axes, or as no tensor."""

    class Words(nn.Module):
        def forward(self, x: Tensor) -> str:
            return "no tensor"

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(1, 3, 1)
        self.never = nn.Conv2d(1, 3, 1)
        self.flat = nn.Linear(3, 3)
        self.words = self.Words()
        self.pair = nn.Identity()
        self.head = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        both = self.twice(x) + self.twice(2 * x)
        self.words(x)
        first, _ = self.pair((both, both.mean()))
        return self.head(first * self.flat(both.mean((2, 3)))[..., None, None])


@pytest.mark.parametrize(
    ("layer", "channel", "message"),
    [
        ("twice", 0, 'layer "twice" runs more than once'),
        ("never", 0, 'layer "never" does not run'),
        ("flat", 0, r'layer "flat" has no spatial output \(3\)'),
        ("words", 0, r'layer "words" has no spatial output \(it returns a str\)'),
        ("pair", 3, r'channel 3 of layer "pair": its output is 3x4x4; .* from 0 to 2'),
        ("heda", 0, '"heda" is not in the network.*"head"'),
    ],
)
def test_layers_without_the_unit_are_refused(layer: str, channel: int, message: str) -> None:
    network = Odd().eval()
    model = predictor(network, (4, 4))
    before = state_of(network)
    with pytest.raises(LayerError, match=message):
        UnitTarget(layer, channel).freeze(Scene(model, volume((4, 5))))
    assert state_of(network) == before


def test_the_first_tensor_of_a_layers_output_is_read() -> None:
    model = predictor(Odd().eval(), (4, 4))
    image = volume((4, 5))
    target = UnitTarget("pair", 1).freeze(Scene(model, image))
    found = Saliency().explain(model, image, target).data
    weight = model.network.twice.weight[1].item()
    assert relative_gap(found, torch.full_like(found, 3 * weight)) < TOLERANCE


def test_a_region_of_a_label_needs_one_and_an_empty_one_is_refused() -> None:
    model, image = case(2)
    scene = Scene(model, image)
    with pytest.raises(TargetError, match="over: predicted needs a label"):
        UnitTarget(LAYER, 1, Predicted())
    with pytest.raises(TargetError, match="channel: -1"):
        UnitTarget(LAYER, -1)
    with pytest.raises(EmptyTargetError, match="no voxel over: box"):
        UnitTarget(LAYER, 1, BoxRegion((50, 50), (60, 60))).freeze(scene)

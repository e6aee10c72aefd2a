"""What holds for every method, in 2D and 3D, for one channel and two: one table drives it all."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from esegeta.errors import EsegetaError, LayerError, TargetError
from esegeta.explain import EXPLAINERS, NULL, Attribution, Objective
from esegeta.explain.layer.method import LayerMethod
from esegeta.predict import WindowPlan
from esegeta.targets import FrozenTarget, Predicted, Scene, UnitTarget
from tests.builders import pointwise, predictor, volume
from tests.contracts import rows_backprop, rows_layer
from tests.contracts.explainers import (
    ABOUT_LABELS,
    ACROSS_SLICES,
    ALL,
    CHANNELS_TOGETHER,
    ROWS,
    mostly_in_2d,
    on_both_grids,
    with_trait,
)
from tests.contracts.rows import FEW_CASES, Case, CaseKind, assert_documented, covering, make_case
from tests.each import for_each
from tests.networks import Failing, Smooth, symmetric
from tests.oracles import disguised, frozen, relative_gap, state_of, with_coefficients

TOLERANCE = 1e-5
COMPLETENESS = 1e-3

RUN_THE_NETWORK = [method for method in ALL if method not in NULL]


TAKES_LAYERS = [method for method in ALL if issubclass(EXPLAINERS[method], LayerMethod)]


def on_both_cases(methods: list[str]) -> list[tuple[CaseKind, str]]:
    """Return cases and methods: all in 2D, one of a family in 3D."""
    cases = {kind.ndim: kind for kind in FEW_CASES}
    return [(cases[ndim], method) for ndim, method in mostly_in_2d(methods)]


@pytest.fixture(params=FEW_CASES, ids=str)
def some_case(request: pytest.FixtureRequest) -> Case:
    """One of 2D and one of 3D, for what the network's kind has no part in."""
    return request.param.make()


@dataclass(frozen=True)
class Explained:
    """A case with the map of one method, made while some of the network's modules trained."""

    case: Case
    method: str
    map: Attribution
    before: dict[str, Any]
    after: dict[str, Any]

    def again(self, **changed: Any) -> torch.Tensor:
        """Return the map once more, of another `explainer`, `target` or `batch_size`."""
        explainer = changed.get("explainer", ROWS[self.method])
        model = replace(self.case.model, batch_size=changed.get("batch_size", 2))
        target = changed.get("target", self.case.target)
        return explainer.explain(model, self.case.volume, target).data


@pytest.fixture(
    scope="module", params=on_both_cases(ALL), ids=lambda param: f"{param[0]}-{param[1]}"
)
def explained(request: pytest.FixtureRequest) -> Explained:
    """All methods in 2D, some in 3D: several tests hold other maps against this one."""
    kind, method = request.param
    case = kind.make()
    for place, module in enumerate(case.network.modules()):
        module.training = place % 2 == 0
    before = state_of(case.network)
    torch.manual_seed(0)
    found = ROWS[method].explain(case.model, case.volume, case.target)
    return Explained(case, method, found, before, state_of(case.network))


def test_every_method_has_a_row_of_its_own_class() -> None:
    assert list(ROWS) == list(EXPLAINERS)
    for name, kind in EXPLAINERS.items():
        assert type(ROWS[name]) is kind
        assert kind.name == name


@for_each(ALL)
def test_documents_itself(method: str) -> None:
    assert_documented(EXPLAINERS[method])
    assert str(ROWS[method].cost)
    assert dataclasses.is_dataclass(EXPLAINERS[method])
    assert EXPLAINERS[method]() == EXPLAINERS[method]()  # usable without a parameter


@pytest.mark.parametrize(("kind", "method"), covering(ALL, 0))
def test_the_map_is_a_map(kind: CaseKind, method: str) -> None:
    case = kind.make()
    found = ROWS[method].explain(case.model, case.volume, case.target)
    told_apart = EXPLAINERS[method].traits.by_channel
    told_apart = told_apart and method not in CHANNELS_TOGETHER
    channels = case.volume.num_channels if told_apart else 1
    assert found.data.shape == (channels, *case.volume.grid.shape)
    assert found.data.dtype == torch.float32
    assert found.data.isfinite().all()
    assert not found.data.requires_grad
    assert found.data.std() > 0
    assert found.method == method
    assert found.unit == ROWS[method].meaning.unit_for(case.target.unit)
    assert "{" not in found.unit
    assert found.facts.seconds > 0
    # Only complete methods claim to add up.
    assert (found.facts.completeness_delta is not None) == EXPLAINERS[method].traits.complete
    assert (found.facts.completeness_relative is not None) == EXPLAINERS[method].traits.complete


def test_the_same_again_and_another_under_another_seed(explained: Explained) -> None:
    explainer, first = ROWS[explained.method], explained.map
    torch.manual_seed(99)
    assert torch.equal(explained.again(), first.data)
    stochastic = explainer.traits.stochastic
    assert stochastic == ("seed" in {field.name for field in dataclasses.fields(explainer)})
    assert (first.facts.seed is not None) == stochastic
    if stochastic:
        other = explained.again(explainer=replace(explainer, seed=7))
        assert relative_gap(other, first.data) > 1e-3


def test_batch_size_does_not_matter(explained: Explained) -> None:
    """Two at a time; and five and one of six windows in 2D, all four at once in 3D."""
    assert explained.case.model.batch_size == 2
    assert relative_gap(explained.again(batch_size=5), explained.map.data) < TOLERANCE


def test_both_routes_agree(explained: Explained) -> None:
    """A linear target, and the same one looking as if it were not linear."""
    found = explained.again(target=disguised(explained.case.target))
    assert relative_gap(found, explained.map.data) < 10 * TOLERANCE


def test_leaves_the_network_as_it_was(explained: Explained) -> None:
    assert explained.after == explained.before


@pytest.mark.parametrize(
    ("some_case", "method", "nth"),
    [(*case, 1 + place % 2) for place, case in enumerate(on_both_cases(RUN_THE_NETWORK))],
    indirect=["some_case"],
)
def test_leaves_the_network_as_it_was_after_an_exception(
    some_case: Case, method: str, nth: int
) -> None:
    network = Failing(some_case.network.train(), nth)
    before = state_of(network)
    with pytest.raises(Failing.BrokenError):
        ROWS[method].explain(
            replace(some_case.model, network=network), some_case.volume, some_case.target
        )
    assert state_of(network) == before


@pytest.mark.parametrize(("kind", "method"), covering(with_trait("additive"), 2))
def test_the_map_is_the_sum_over_windows(kind: CaseKind, method: str) -> None:
    """Each window by itself, as if it were the volume, explained for its own contribution."""
    ndim, num_channels = kind.ndim, kind.num_channels
    case = kind.make(shape=(12, 12, 8)[:ndim])
    found = ROWS[method].explain(case.model, case.volume, case.target).data
    windows = case.model.windows(case.volume.batch)
    weights = windows.importance(torch.device("cpu"), torch.float32)
    coverage = sum_of_importances(case)
    assert case.target.coefficients is not None
    alone = replace(case.model, plan=WindowPlan(windows.size, overlap=0.0, blend="constant"))
    total = torch.zeros_like(found)
    for box in windows.boxes:
        crop = volume(windows.size, num_channels)
        crop = crop.with_data(case.volume.data[(slice(None), *box)].clone())
        share = case.target.coefficients[(slice(None), *box)] * weights / coverage[box]
        target = with_coefficients(frozen(alone, crop), share)
        total[(slice(None), *box)] += ROWS[method].attribute(Objective(alone, target, crop)).data
    assert len(windows) > 1
    assert relative_gap(found, total) < 10 * TOLERANCE


def sum_of_importances(case: Case) -> torch.Tensor:
    windows = case.model.windows(case.volume.batch)
    total = torch.zeros(windows.padded_shape)
    for box in windows.boxes:
        total[box] += windows.importance(torch.device("cpu"), torch.float32)
    return total


@pytest.mark.parametrize("method", with_trait("complete"))
def test_complete_methods_add_up_and_say_so(some_case: Case, method: str) -> None:
    model = replace(
        some_case.model, network=Smooth(some_case.volume.ndim, some_case.volume.num_channels)
    )
    target = frozen(model, some_case.volume)
    found = ROWS[method].explain(model, some_case.volume, target)
    ends = [target.value(model.logits(scale * some_case.volume.batch)) for scale in (1, 0)]
    change = float(ends[0] - ends[1])
    assert abs(float(found.data.double().sum()) - change) < COMPLETENESS * abs(change)
    assert found.facts.completeness_delta is not None
    assert found.facts.completeness_relative is not None
    assert found.facts.completeness_relative < COMPLETENESS


@pytest.mark.parametrize("method", with_trait("needs_layer"))
def test_an_unknown_layer_is_refused_with_the_nearest_names(ndim: int, method: str) -> None:
    case = make_case(ndim, 1)
    assert EXPLAINERS[method].traits.needs_hooks
    several = [("model.0", "modle.0")] if method in TAKES_LAYERS else []
    for layer in ("modle.0", *several):
        explainer = replace(ROWS[method], layer=layer)
        with pytest.raises(LayerError, match=r'"modle.0" is not in the network.*"model.0"'):
            explainer.explain(case.model, case.volume, case.target)


@pytest.mark.parametrize("method", TAKES_LAYERS)
def test_the_map_of_several_layers_is_the_mean_of_theirs(ndim: int, method: str) -> None:
    case = make_case(ndim, 1)
    names = ("model.0", "model.2")
    apart = [
        replace(ROWS[method], layer=name).explain(case.model, case.volume, case.target)
        for name in names
    ]
    found = replace(ROWS[method], layer=names).explain(case.model, case.volume, case.target)
    mean = torch.stack([one.data for one in apart]).mean(dim=0)
    assert relative_gap(found.data, mean) < TOLERANCE
    assert found.facts.more["layer"] == list(names)
    assert [item.layer for item in found.layer_maps] == list(names)
    for item, one in zip(found.layer_maps, apart, strict=True):
        assert torch.equal(item.data, one.layer_maps[0].data)
        assert item.data.shape == (1, *item.grid.shape)
        assert item.unit == one.layer_maps[0].unit
        assert (item.unit == found.unit) == (method not in rows_layer.LAYER_MAPS_OF_THEIR_OWN)


@pytest.mark.parametrize(
    ("ndim", "method"),
    mostly_in_2d([name for name in ALL if name not in rows_backprop.FITTED]),
)
def test_windowed_is_whole_for_a_pointwise_network(ndim: int, method: str) -> None:
    image = volume((9, 6, 7)[:ndim], 2)
    network = pointwise(ndim, in_channels=2)
    maps = []
    for window in ((4, 6, 2)[:ndim], image.grid.shape):
        model = predictor(network, window, overlap=0.6)
        explainer = ROWS[method]
        if explainer.traits.needs_layer:
            explainer = replace(explainer, layer="1")
        maps.append(explainer.explain(model, image, frozen(model, image)).data)
    assert relative_gap(maps[0], maps[1]) < 10 * TOLERANCE


@pytest.mark.parametrize(
    ("ndim", "method"),
    on_both_grids([name for name in ALL if name not in with_trait("stochastic")]),
)
def test_flipped_volumes_have_flipped_maps(ndim: int, method: str) -> None:
    """Kernels are their own mirrors, windows lie symmetrically: nothing knows left from right."""
    shape = (12, 8, 12)[:ndim]
    image = volume(shape, 2)
    model = predictor(symmetric(ndim, 2), (8,) * ndim)
    weights = torch.rand(2, *shape)
    plain = with_coefficients(frozen(model, image), weights)
    expected = ROWS[method].explain(model, image, plain).data
    for axes in {(1,), (2,), (1, 2), (ndim,)}:
        mirrored = image.with_data(image.data.flip(axes))
        target = with_coefficients(frozen(model, mirrored), weights.flip(axes))
        found = ROWS[method].explain(model, mirrored, target).data.flip(axes)
        assert relative_gap(found, expected) < 10 * TOLERANCE
        assert relative_gap(found.flip(axes), expected) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("method", ALL)
def test_a_2d_network_over_slices(method: str) -> None:
    """Slices do not know of each other: each slice's map is the map of that slice alone."""
    flat = make_case(2, 1, shape=(9, 10))
    model = replace(flat.model, plan=WindowPlan((8, 8), slice_axis=0))
    image = volume((3, 9, 10))
    plain = frozen(model, image)
    weights = torch.zeros_like(plain.scene.logits[0])
    weights[:, 1] = torch.rand(2, 9, 10) + 0.1
    explainer = ROWS[method]
    found = explainer.explain(model, image, with_coefficients(plain, weights)).data
    if method in ACROSS_SLICES:
        return  # boxes and channel weights reach over slices
    assert bool(found[:, [0, 2]].any()) != explainer.traits.reads_target
    assert found[:, 1].any()
    if explainer.traits.stochastic:
        return  # other draws
    one = volume((9, 10)).with_data(image.data[:, 1].clone())
    target = with_coefficients(frozen(flat.model, one), weights[:, 1])
    expected = explainer.explain(flat.model, one, target).data
    assert relative_gap(found[:, 1], expected) < 10 * TOLERANCE


@pytest.mark.parametrize("method", with_trait("reads_target"))
def test_a_target_that_does_not_depend_on_the_image_is_an_error(ndim: int, method: str) -> None:
    """Weights of zero: what would be a map of zeros, or a division by zero, is no result."""
    case = make_case(ndim, 1)
    empty: FrozenTarget = with_coefficients(
        case.target, torch.zeros_like(Scene(case.model, case.volume).logits[0])
    )
    with pytest.raises(EsegetaError):
        ROWS[method].explain(case.model, case.volume, empty)


def test_methods_about_a_label_refuse_a_unit_target(some_case: Case) -> None:
    target = UnitTarget("model.1.submodule", 4).freeze(Scene(some_case.model, some_case.volume))
    for method in ABOUT_LABELS:
        with pytest.raises(TargetError, match="label"):
            ROWS[method].explain(some_case.model, some_case.volume, target)


@pytest.mark.parametrize(
    ("some_case", "method"),
    on_both_cases([name for name in ALL if name not in ABOUT_LABELS]),
    indirect=["some_case"],
)
def test_explains_a_unit_inside_the_network(some_case: Case, method: str) -> None:
    """Any method, over a network that ends at a layer; the whole one is left as it was."""
    explainer = ROWS[method]
    if explainer.traits.needs_layer:
        explainer = replace(explainer, layer="model.0")  # the layer before the unit's
    unit = UnitTarget("model.1.submodule", 4, over=Predicted(), label="one")
    target = unit.freeze(Scene(some_case.model, some_case.volume))
    before = state_of(some_case.network)
    found = explainer.explain(some_case.model, some_case.volume, target)
    assert state_of(some_case.network) == before
    told_apart = explainer.traits.by_channel and method not in CHANNELS_TOGETHER
    channels = some_case.volume.num_channels if told_apart else 1
    assert found.data.shape == (channels, *some_case.volume.grid.shape)
    assert found.data.isfinite().all()
    assert found.data.std() > 0
    assert found.unit == explainer.meaning.unit_for("activation x voxels")
    other = explainer.explain(some_case.model, some_case.volume, disguised(target)).data
    assert relative_gap(other, found.data) < 10 * TOLERANCE

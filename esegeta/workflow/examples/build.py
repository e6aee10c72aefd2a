"""A study of examples built from its config and checked: layer, items, influence, surrogate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from esegeta.config import RunConfig, blamed_on, required_block
from esegeta.config.examples import ExamplesKeys, InfluenceKeys, SurrogateKeys
from esegeta.errors import ConfigError
from esegeta.examples.items import ItemKind
from esegeta.model import UnitLayer, find_unit_layers, held_still
from esegeta.predict import PassesApart, Predictor, empty_window
from esegeta.workflow import Basis, build_basis
from esegeta.workflow.case_checks import check_truths
from esegeta.workflow.examples.influence_plan import InfluencePlan, plan_influence
from esegeta.workflow.examples.item_sizes import check_sizes
from esegeta.workflow.outputs import check_writable

ALL, ERRORS = "all", "errors"
"""Groups of items beside those of each label."""


@dataclass(frozen=True, eq=False)
class ExampleStudy:
    """Everything that a study of examples needs.

    Args:
        basis: network and cases.
        keys: the config's `examples`.
        layer: whose units items are compared by; None where no prototypes are asked for.
        influence: what is asked of training examples; None where nothing is.
    """

    basis: Basis
    keys: ExamplesKeys
    layer: UnitLayer | None
    influence: InfluencePlan | None

    @property
    def root(self) -> Path:
        """Where everything is written."""
        return self.basis.root / "examples"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(self.basis.predictor.labels.foreground)

    @property
    def groups(self) -> tuple[str, ...]:
        """Of which items prototypes are chosen: of all, of each label, of what is wrong.

        Components are of a label, so none are of all. Where no case has a ground truth, nothing
        is known to be wrong.
        """
        first = () if self.keys.of == "component" else (ALL,)
        errors = (ERRORS,) if any(case.label for case in self.basis.cases) else ()
        return (*first, *self.labels, *errors)

    @property
    def watched(self) -> Predictor:
        """Whose layer is read: each mirrored pass is a run of the network by itself."""
        predictor = self.basis.predictor
        return PassesApart(predictor).single if predictor.averages_inside else predictor

    @property
    def surrogate(self) -> SurrogateKeys | None:
        """The keys of the surrogate."""
        return self.keys.surrogate

    @property
    def surrogate_of(self) -> ItemKind:
        """What a surrogate predicts: supervoxels, unless examples are components."""
        return "component" if self.keys.of == "component" else "supervoxel"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before it starts."""
        told = () if self.influence is None else self.influence.notes
        return (*self.basis.notes, *told)


def build_examples(
    config: RunConfig, *, output: Path | None = None, device: str | None = None
) -> ExampleStudy:
    """Build and check a study of examples; a window of zeros is all that is computed.

    Args:
        config: the checked config.
        output: replaces the config's `output`.
        device: replaces the config's `device`.

    Raises:
        EsegetaError: the first thing found wrong with files, network, layer, items, checkpoints,
            training cases, targets or recipe.
    """
    keys = required_block(
        config,
        "examples",
        config.keys.examples,
        hint="such as examples: {of: case, layer: model.1}; docs/examples.md has the keys",
    )
    basis = build_basis(config, output=output, device=device)
    config = basis.config
    if basis.predictor.plan.num_members > 1:
        raise ConfigError(
            f"{config.document.place(('model', 'weights'))}: examples: model.weights lists "
            f"{basis.predictor.plan.num_members} networks, and embeddings and influence are of one",
            hint="list one of them",
        )
    labels = basis.predictor.labels
    check_truths(config, labels, basis.cases, basis.reading, basis.grids)
    _check_names(config, basis)
    layer = None if keys.layer is None else _find_layer(basis, keys.layer)
    _check_items(basis, keys)
    check_sizes(basis, keys)
    _check_surrogate(basis, keys)
    influence = None if keys.influence is None else _plan(basis, keys.influence)
    check_writable(basis.root)
    return ExampleStudy(basis, keys, layer, influence)


def _plan(basis: Basis, keys: InfluenceKeys) -> InfluencePlan:
    return plan_influence(basis, keys)


def _check_names(config: RunConfig, basis: Basis) -> None:
    for name in (ALL, ERRORS):
        if name in basis.predictor.labels.foreground:
            raise ConfigError(
                f'{config.document.place(("labels",))}: labels: "{name}" stands for another group '
                "in the tables of examples",
                hint="give the label another name",
            )


def _find_layer(basis: Basis, name: str) -> UnitLayer:
    predictor = basis.predictor
    with blamed_on(basis.config, "examples", "layer"):
        basis.capability.require_hooks("examples.layer")
        window = empty_window(predictor.network, predictor.plan.size, basis.reading.num_channels)
        with held_still(predictor.network):
            (layer,) = find_unit_layers(predictor.network, [name], window)
    return layer


def _check_items(basis: Basis, keys: ExamplesKeys) -> None:
    document, count = basis.config.document, len(basis.cases)
    if keys.of == "slice":
        flat = [name for name, grid in basis.grids.items() if grid.ndim == 2]
        if flat:
            raise ConfigError(
                f"{document.place(('examples', 'of'))}: examples.of: {flat[0]} is 2D and has no "
                "slices",
                hint="use of: case",
            )
    if keys.of != "case" or keys.layer is None:
        return
    if "prototypes" in keys.model_fields_set and keys.prototypes > count:
        raise ConfigError(
            f"{document.place(('examples', 'prototypes'))}: examples.prototypes: "
            f"{keys.prototypes} prototypes of {_cases(count)}",
            hint=f"give at most {count}, more cases, or use of: slice, component or supervoxel",
        )
    if count < 2:
        raise ConfigError(
            f"{document.place(('data', 'cases'))}: examples: a single case cannot be compared",
            hint="give more cases, or use of: slice, component or supervoxel",
        )


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _check_surrogate(basis: Basis, keys: ExamplesKeys) -> None:
    if keys.surrogate is None or keys.of != "component":
        return
    for case in basis.cases:
        if case.label is None:
            place = basis.config.document.place(("examples", "surrogate"))
            raise ConfigError(
                f"{place}: examples.surrogate: it predicts the Dice of components, and case "
                f"{case.name} has no ground truth",
                hint="give every case a `label:` file, or use of: supervoxel, whose labels are "
                "predicted",
            )

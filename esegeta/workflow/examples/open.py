"""What tasks of examples share: opened cases, questions, training examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from esegeta.examples import Example, InfluenceQuery
from esegeta.predict import Predictor, WindowPlan
from esegeta.retraining import Sample, slab_axis, slab_boxes, whole_box
from esegeta.targets import Scene
from esegeta.workflow.cases import check_truth
from esegeta.workflow.examples.build import ExampleStudy
from esegeta.workflow.examples.influence_plan import InfluencePlan
from esegeta.workflow.task import Desk

OF_ALL, OF_CASE = 0, 1
"""How deep in the scope (case) something is remembered."""


def open_scene(desk: Desk, number: int) -> Scene:
    """Return a case of the study, read once for the tasks that stand on it.

    Raises:
        EsegetaError: its files cannot be read.
    """

    def read() -> Scene:
        study: ExampleStudy = desk.job
        basis = study.basis
        case = basis.cases[number]
        volume, truth = basis.read(case)
        desk.note(*(() if truth is None else check_truth(truth, basis, case)))
        volume = volume.to(basis.device)
        predictor = replace(basis.predictor, on_windows=desk.listener.advance)
        return Scene(predictor, volume, truth)

    return desk.once(("scene", number), read, depth=OF_CASE)


BETWEEN = " / "
"""Stands in the name of a question, between its case and its target."""


def case_and_target(question: str) -> tuple[str, str]:
    """Return whose question it is, by its name; no case has a stroke in its own."""
    case, _, target = question.partition(BETWEEN)
    return case, target


def questions_of(desk: Desk) -> list[InfluenceQuery]:
    """Return the targets of all test cases, frozen on the config's network.

    Raises:
        EsegetaError: a case cannot be read, or holds no voxel of a target's region.
    """

    def freeze() -> list[InfluenceQuery]:
        study: ExampleStudy = desk.job
        plan = _plan(study)
        found = []
        for number, case in enumerate(study.basis.cases):
            scene = open_scene(desk, number)
            for target in plan.targets:
                for name, one in target.targets(scene, case, study.basis.preprocess).items():
                    frozen = one.freeze(scene)
                    asked = f"{case.name}{BETWEEN}{name}"
                    found.append(InfluenceQuery(asked, scene.volume.batch, frozen))
        return found

    return desk.once("questions", freeze, depth=OF_ALL)


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The training examples, in the memory of the host.

    Args:
        names: of the examples.
        samples: as a training takes them.
        examples: as gradients take them.
    """

    names: tuple[str, ...]
    samples: tuple[Sample, ...]
    examples: tuple[Example, ...]


def training_set_of(desk: Desk) -> TrainingSet:
    """Return the training examples, read once.

    Raises:
        EsegetaError: a case cannot be read.
    """

    def read() -> TrainingSet:
        plan = _plan(desk.job)
        basis = plan.training
        names = plan.example_names
        samples: list[Sample] = []
        for number, case in enumerate(basis.cases):
            volume, truth = basis.read(case)
            assert truth is not None  # every case has one; the plan was checked
            desk.note(*check_truth(truth, basis, case))
            shape, count = volume.grid.shape, plan.keys.training.slabs
            axis = slab_axis(shape, basis.predictor.plan)
            boxes = [whole_box(shape)] if count == 1 else slab_boxes(shape, axis, count)
            for box in boxes:
                data = volume.data[(slice(None), *box)]
                inside = None if volume.inside is None else volume.inside[box]
                labels = basis.predictor.labels
                samples.append(
                    Sample(len(samples), number, box, data, data, truth[box], labels, inside)
                )
        layout = basis.predictor.plan.of_one_network()
        pairs = zip(names, samples, strict=True)
        examples = tuple(_example(name, sample, layout) for name, sample in pairs)
        return TrainingSet(tuple(names), tuple(samples), examples)

    return desk.once("training", read, depth=OF_ALL)


def _example(name: str, sample: Sample, layout: WindowPlan) -> Example:
    windows = replace(layout, coverage=None).lay(sample.shape)
    inside = sample.inside
    if inside is None and windows.padded_shape != sample.shape:
        inside = (sample.truth == sample.truth).bool()
    within = None if inside is None else windows.pad(inside)
    truth = windows.pad(sample.truth)
    return Example(name, windows.pad_image(sample.data), truth, within, windows)


def loss_of(plan: InfluencePlan) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """Return the loss of a window, as a training measures it."""
    recipe = plan.recipe
    loss = recipe.make_loss().to(plan.training.device)

    def measure(logits: Tensor, truth: Tensor, inside: Tensor | None) -> Tensor:
        return recipe.measure(loss, logits, truth, inside=inside)

    return measure


def listening(predictor: Predictor, desk: Desk) -> Predictor:
    """Return a predictor that tells the listener of its windows."""
    return replace(predictor, on_windows=desk.listener.advance)


def _plan(study: ExampleStudy) -> InfluencePlan:
    assert study.influence is not None  # tasks of influence are listed only where it is asked for
    return study.influence

"""Influence at checkpoints, given or of a training of our own; networks trained without one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from esegeta.examples import (
    CheckpointInfluence,
    curved_at,
    influence_at,
)
from esegeta.model import load_weights, seeded
from esegeta.predict import Predictor
from esegeta.retraining import Stream, patches_without, seed_of, train_network
from esegeta.workflow.cache import keep_json
from esegeta.workflow.examples.build import ExampleStudy
from esegeta.workflow.examples.influence_plan import InfluencePlan
from esegeta.workflow.examples.open import (
    OF_ALL,
    listening,
    loss_of,
    questions_of,
    training_set_of,
)
from esegeta.workflow.networks import construct_network
from esegeta.workflow.task import Content, Desk, Task


def trace_checkpoint(task: Task, desk: Desk) -> Content:
    """Return and keep what each example does to each target at a checkpoint.

    At the last one, what the curvature of some layers makes of it too.

    Raises:
        EsegetaError: weights or cases cannot be read, or a target cannot be formed.
    """
    study: ExampleStudy = desk.job
    plan = _plan(study)
    number = int(task.data["number"])
    network = desk.once("network", lambda: _fresh(study, seed=0), depth=OF_ALL)
    load_weights(network, plan.checkpoints[number], key=study.basis.config.keys.model.weights_key)
    predictor = _predictor(study, network, desk)
    desk.begin(task.name, [task], _num_windows(desk))
    questions, training = questions_of(desk), training_set_of(desk)
    loss = loss_of(plan)
    found = influence_at(predictor, questions, training.examples, loss)
    content = described(found)
    if number == len(plan.checkpoints) - 1:
        curved = curved_at(predictor, questions, training.examples, loss, plan.layers)
        content |= {"curved": curved.pulls, "curved_self": curved.self_influence}
    assert task.record is not None and task.key is not None
    keep_json(task.record, task.key, content)
    return content


def described(found: CheckpointInfluence) -> dict[str, Any]:
    """Return influences as plain values."""
    return {
        "values": found.values,
        "losses": found.losses,
        "self": found.self_influence,
        "by_module": {
            question: {name: dict(pull.by_module) for name, pull in pulls.items()}
            for question, pulls in found.pulls.items()
        },
        "cosine": {
            question: {name: pull.cosine for name, pull in pulls.items()}
            for question, pulls in found.pulls.items()
        },
    }


@dataclass(eq=False)
class Snapshots:
    """Keeps the weights of a network at some steps of its training.

    Args:
        network: that is trained.
        steps: counted from 1.
        advance: is told of patches.
    """

    network: nn.Module
    steps: Sequence[int]
    advance: Any

    def __post_init__(self) -> None:
        self._done = 0
        self.states: list[dict[str, Tensor]] = []

    def __call__(self, patches: int) -> None:
        """Count a step."""
        self._done += 1
        if self._done in self.steps:
            state = self.network.state_dict()
            self.states.append({name: one.detach().clone() for name, one in state.items()})
        self.advance(patches)


def train_without(task: Task, desk: Desk) -> Content:
    """Train a network without an example, or with all of them, and keep its targets' values.

    With all, influences are traced over checkpoints of this very training too: they are what
    leaving an example out can be compared with.

    Raises:
        EsegetaError: a loss is not finite, or a case cannot be read.
    """
    study: ExampleStudy = desk.job
    plan = _plan(study)
    seed, left_out = int(task.data["seed"]), task.data["left_out"]
    training, questions = training_set_of(desk), questions_of(desk)
    recipe = plan.recipe
    desk.begin(task.name, [task], recipe.iterations * recipe.batch_size)
    layout = replace_window(study, plan)
    images = [sample.data for sample in training.samples]
    patches = patches_without(
        training.samples, images, layout, seed_of(Stream.PATCHES, seed), left_out
    )
    network = _fresh(study, seed=seed_of(Stream.WEIGHTS, seed))
    leave_one_out = plan.keys.leave_one_out
    assert leave_one_out is not None  # else there is no such task
    steps = checkpoint_steps(recipe.iterations, leave_one_out.checkpoints)
    snapshots = Snapshots(network, steps if left_out is None else (), desk.listener.advance)
    with seeded(seed_of(Stream.DROPOUT, seed), study.basis.device):
        history = train_network(
            network,
            patches,
            recipe,
            output=study.basis.predictor.output,
            on_patches=snapshots,
        )
    predictor = _predictor(study, network, desk)
    values = {one.name: float(one.target.value(predictor.logits(one.x))[0]) for one in questions}
    content: dict[str, Any] = {"values": values, "loss": [history[0], history[-1]]}
    if left_out is None:
        content |= _traced(study, plan, predictor, snapshots.states, steps, desk)
    assert task.record is not None and task.key is not None
    keep_json(task.record, task.key, content)
    return content


def checkpoint_steps(iterations: int, count: int) -> tuple[int, ...]:
    """Return the middles of equal parts of a training, counted from 1."""
    middles = (math.ceil(iterations * (place + 0.5) / count) for place in range(count))
    return tuple(dict.fromkeys(min(max(step, 1), iterations) for step in middles))


def replace_window(study: ExampleStudy, plan: InfluencePlan) -> Any:
    """Return how a patch lies in a volume: a 2D network's along the slices."""
    from esegeta.predict import WindowPlan

    return WindowPlan(plan.recipe.patch, slice_axis=study.basis.predictor.plan.slice_axis)


def _traced(
    study: ExampleStudy,
    plan: InfluencePlan,
    predictor: Predictor,
    states: Sequence[Mapping[str, Tensor]],
    steps: Sequence[int],
    desk: Desk,
) -> dict[str, Any]:
    """Return TracIn, gradient similarity and curved influence of a training of our own."""
    network = predictor.network
    final = {name: one.detach().clone() for name, one in network.state_dict().items()}
    training, questions, loss = training_set_of(desk), questions_of(desk), loss_of(plan)
    tracin: dict[str, dict[str, float]] = {one.name: {} for one in questions}
    for state, step in zip(states, steps, strict=True):
        network.load_state_dict(state)
        rate = rate_at(plan, step)
        found = influence_at(predictor, questions, training.examples, loss)
        for question, pulls in found.pulls.items():
            for name, pull in pulls.items():
                tracin[question][name] = tracin[question].get(name, 0.0) + rate * pull.total
    network.load_state_dict(final)
    last = influence_at(predictor, questions, training.examples, loss)
    curved = curved_at(predictor, questions, training.examples, loss, plan.layers)
    return {
        "estimates": {
            "tracin": tracin,
            "gradient_similarity": described(last)["cosine"],
            "curvature": curved.pulls,
        }
    }


def rate_at(plan: InfluencePlan, step: int) -> float:
    """Return the learning rate of a step, counted from 1."""
    recipe = plan.recipe
    rate = float(recipe.optimizer_args.get("lr", 1.0))
    if recipe.schedule == "constant":
        return rate
    return rate * (1 + math.cos(math.pi * (step - 1) / recipe.iterations)) / 2


def _fresh(study: ExampleStudy, *, seed: int) -> nn.Module:
    return construct_network(study.basis.config, seed=seed).to(study.basis.device)


def _predictor(study: ExampleStudy, network: nn.Module, desk: Desk) -> Predictor:
    own = study.basis.predictor
    return listening(own.with_network(network.eval()), desk)


def _num_windows(desk: Desk) -> int:
    training, questions = training_set_of(desk), questions_of(desk)
    study: ExampleStudy = desk.job
    of_examples = sum(len(example.windows) for example in training.examples)
    plan = study.basis.predictor.plan
    of_questions = sum(2 * len(plan.lay(tuple(one.x.shape[2:]))) for one in questions)
    return of_examples + of_questions


def _plan(study: ExampleStudy) -> InfluencePlan:
    assert study.influence is not None  # else there are no such tasks
    return study.influence

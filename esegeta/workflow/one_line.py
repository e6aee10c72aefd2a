"""A model and an image, and no config yet: the config they imply is written and run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from esegeta.axes import shape_text
from esegeta.config.asked import Asked
from esegeta.config.keys import NAME_PATTERN
from esegeta.config.one_line import Draft, draft_of, label_names
from esegeta.errors import ConfigError, OutputError
from esegeta.model import Capability
from esegeta.report import TaskFiles
from esegeta.targets import REGION_KINDS
from esegeta.workflow.attribute import run_experiment
from esegeta.workflow.build import Experiment, build_basis, experiment_on
from esegeta.workflow.command import Outcome, Policy
from esegeta.workflow.survey import Survey, expected_seconds, survey
from esegeta.workflow.task import Listener, Silence

CONFIG = "config.yaml"

CHEAPEST: Sequence[tuple[str, bool]] = (("saliency", True), ("occlusion", False))
"""The cheapest method that tells something, with gradients and without."""


Say = Callable[[str], None]
"""Receives a line that tells the user what is done, and what was guessed."""

Listening = Callable[[], AbstractContextManager[Listener]]
"""Opens a listener for the progress of one piece of work."""


@dataclass(frozen=True)
class Explained:
    """How `explain` ended.

    Args:
        experiment: experiment that was run.
        outcome: outcome of its tasks.
        config: path of the config that was written.
    """

    experiment: Experiment
    outcome: Outcome
    config: Path

    @property
    def picture(self) -> Path | None:
        """The first picture that was made."""
        experiment = self.experiment
        pictures = [
            TaskFiles(experiment.root, case.name, plan.name, method).overlay
            for case in experiment.cases
            for plan in experiment.targets
            for method in experiment.methods
        ]
        return next((path for path in pictures if path.is_file()), None)


def silence() -> AbstractContextManager[Listener]:
    """Report progress to nobody."""
    return nullcontext(Silence())


def say_nothing(text: str) -> None:
    """Drop a line."""


def explain_model(
    asked: Asked,
    output: Path | None,
    policy: Policy,
    *,
    listening: Listening = silence,
    say: Say = say_nothing,
) -> Explained:
    """Write the config that the arguments stand for, and run it.

    Args:
        asked: arguments of the command.
        output: folder of the run.
        policy: how to treat existing results and failures.
        listening: opens the listener of the prediction, then that of the maps.
        say: receives lines for the user.

    Raises:
        EsegetaError: the first thing found wrong with any argument.
    """
    folder = run_folder(asked, output)
    draft = draft_of(asked, folder / CONFIG, name=folder.name, output=folder.parent)
    for guess in draft.guesses:
        say(f"note: {guess}")
    basis = build_basis(draft.checked())
    methods = asked.methods or [_method(basis.capability)]
    label = asked.label if asked.label is not None else basis.predictor.labels.foreground[0]
    planned = draft.with_run(label, methods)
    experiment = experiment_on(replace(basis, config=planned.checked()))
    found = None
    if asked.label is None or len(basis.cases) == 1:
        with listening() as listener:
            found = survey(basis, listener)
        label = found.largest if asked.label is None else basis.predictor.labels.name(label)
        if any(REGION_KINDS[plan.keys.over].is_of_predicted for plan in experiment.targets):
            found.require(label)
        _show_labels(found, label, say)
        planned = draft.with_run(label, methods, _labels_comment(found))
        basis = replace(basis, config=planned.checked(), known_logits=found.known_logits)
        experiment = experiment_on(basis)
    _show_plan(experiment, found, say)
    path = _write(planned, "esegeta explain", experiment.config.resolved(), say)
    with listening() as listener:
        outcome = run_experiment(experiment, listener, policy)
    return Explained(experiment, outcome, path)


def init_from(asked: Asked, path: Path) -> None:
    """Write the config that `explain` would run, without running it.

    Raises:
        EsegetaError: the model or an image is not there; or the file is there already.
    """
    if path.exists():
        raise OutputError(f"{path}: already exists", hint="name another file with -o")
    images = asked.images
    name = _clean(Path(images[0]).absolute().name) if images else asked.model.absolute().name
    draft = draft_of(asked, path, name=_clean(name), output=None)
    if not images:
        case = {"name": "case", "image": "image.nii.gz"}
        draft = replace(
            draft, content={**draft.content, "data": {**draft.content["data"], "cases": [case]}}
        )
    names = label_names(draft.checked())
    label = asked.label if asked.label is not None else names[0]
    comment = f"labels: {', '.join(names)}; `esegeta explain` takes the largest"
    draft = draft.with_run(label, asked.methods or [CHEAPEST[0][0]], comment)
    resolved = draft.checked().resolved()
    _put(path, draft.text("esegeta init --from", resolved))


def run_folder(asked: Asked, output: Path | None) -> Path:
    """Return the run's folder, whose name is the run's.

    Raises:
        ConfigError: it cannot be the name of a run.
    """
    if output is None:
        first = Path(asked.images[0]).expanduser().absolute()
        return Path("results").absolute() / f"explain-{_clean(first.name)}"
    folder = output.expanduser().absolute()
    folder = Path(os.path.normpath(folder))
    if not NAME_PATTERN.match(folder.name):
        raise ConfigError(f'-o: "{folder.name}" cannot be the name of a run', hint="choose another")
    return folder


def _clean(name: str) -> str:
    stem = re.sub(r"\.(nii|nrrd|seg)?(\.gz)?$|\.[A-Za-z]\w{1,4}$", "", name)
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "case"


def _method(capability: Capability) -> str:
    return next(name for name, slopes in CHEAPEST if capability.gradients or not slopes)


def _labels_comment(found: Survey) -> str:
    sizes = ", ".join(f"{name} {found.size_words(name)}" for name in found.sizes)
    return f"predicted in {found.case}: {sizes}"


def _show_labels(found: Survey, label: str, say: Say) -> None:
    say(f"predicted in {found.case}, in {found.seconds:.1f} s:")
    for name in sorted(found.sizes, key=lambda name: -found.sizes[name]):
        mark = "  <- explained" if name == label else ""
        say(f"  {name}: {found.size_words(name)}{mark}")


def _show_plan(experiment: Experiment, found: Survey | None, say: Say) -> None:
    """Say what will be made, and about how long it takes."""
    times = {} if found is None else expected_seconds(found, experiment)
    passes = len(experiment.predictor.plan.passes)
    for name, method in experiment.methods.items():
        seconds = times.get(name)
        wait = "" if seconds is None else f"; about {_duration(seconds)} per case"
        say(f"method: {name}, {method.cost}{wait}")
    flips = passes // experiment.predictor.plan.num_members
    if flips > 1:
        say(
            f"{flips} mirrored passes per window; --set inference.mirror=[] is {flips} times "
            "as fast"
        )
    size = shape_text(experiment.predictor.plan.size)
    say(f"windows of {size} on {experiment.device}; other methods: --method NAME")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(seconds, 0.1):.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _write(draft: Draft, command: str, resolved: dict[str, Any], say: Say) -> Path:
    """Write the config; a different one that is there is kept under a number."""
    text = draft.text(command, resolved)
    path = draft.path
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else text
        if before != text:
            kept = next(
                other
                for number in range(1, sys.maxsize)
                if not (other := path.with_name(f"config-{number}.yaml")).exists()
            )
            path.rename(kept)
            say(f"the previous config is kept as {kept}")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    _put(path, text)
    return path


def _put(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error

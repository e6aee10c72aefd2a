"""The task of a map: explain one target of one case by one method, score it, write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from esegeta.errors import EsegetaError
from esegeta.explain import Attribution, Explainer, aggregate, explain_members
from esegeta.predict import Windows
from esegeta.report import TaskFiles, remove_attribution, save_attribution
from esegeta.score import Score, ScoreCache, ScoreContext
from esegeta.targets import FrozenTarget, UnitScene
from esegeta.workflow.build import Experiment
from esegeta.workflow.cases import OF_TARGETS, OpenCase, open_atlases, open_case, targets_of
from esegeta.workflow.desk import Desk
from esegeta.workflow.prepared import with_files, with_patterns
from esegeta.workflow.record import provenance
from esegeta.workflow.scoring import score_map
from esegeta.workflow.task import Content, Kind, Task


def files_of(task: Task, experiment: Experiment) -> TaskFiles:
    """Return where the files of a map lie."""
    return TaskFiles(experiment.root, **task.data["names"])


def prepare_maps(tasks: Sequence[Task], desk: Desk) -> None:
    """Freeze the targets of a batch and, where the method lets them share passes, explain them.

    What cannot be frozen or explained is left to the task that it belongs to.

    Raises:
        EsegetaError: the case or its atlases cannot be read.
    """
    case = open_case(desk, tasks[0].data["case"])
    open_atlases(desk, case)
    frozen = {}
    for task in tasks:
        try:
            frozen[task.name] = (task, frozen_target(desk, task))
        except EsegetaError:
            continue  # it is remembered, and comes again when the task is done
    if not frozen:
        return
    targets = [target for _, target in frozen.values()]
    explainer = case.experiment.methods[tasks[0].data["names"]["method"]]
    _announce(desk, case, [task for task, _ in frozen.values()], targets, explainer)
    if len(targets) > 1 and explainer.traits.together:
        maps = _explain_together(desk, case, explainer, targets)
        for name, attribution in zip(frozen, maps, strict=False):
            desk.put(("map", name), attribution)


def make_map(task: Task, desk: Desk) -> Content:
    """Explain, score and write; return what the sidecar holds of scores and regions.

    Raises:
        EsegetaError: the target cannot be formed, or the method cannot explain it.
    """
    case = open_case(desk, task.data["case"])
    experiment, files = case.experiment, files_of(task, case.experiment)
    target = frozen_target(desk, task)
    explainer = _ready(experiment.methods[task.data["names"]["method"]], case, target)
    attribution: Attribution = desk.take(("map", task.name)) or explainer.explain(
        experiment.predictor, case.volume, target
    )
    cache = desk.once(("score cache", task.data["names"]["target"]), ScoreCache, depth=OF_TARGETS)
    scores = _scores(case)
    context = ScoreContext(experiment.predictor, explainer, cache)
    scored = score_map(attribution, context, scores, files)
    atlases = open_atlases(desk, case)
    regions = () if atlases is None else aggregate(attribution, *atlases)
    sidecar: dict[str, Any] = {
        **provenance(experiment, task.data["inputs"]),
        "fingerprint": task.key,
        **scored.to_sidecar(scores),
        **({"regions": [vars(row) for row in regions]} if regions else {}),
    }
    members = None
    if experiment.config.keys.inference.spread is not None:
        members = explain_members(explainer, experiment.predictor, case.volume, target)
    save_attribution(
        files, attribution, sidecar, regions=regions, curves=scored.curves, members=members
    )
    return {**sidecar, "warnings": list(attribution.warnings)}


def frozen_target(desk: Desk, task: Task) -> FrozenTarget:
    """Return the target of a map, frozen once for the methods that explain it.

    Raises:
        EsegetaError: it cannot be formed on this case, or holds no voxel.
    """
    experiment: Experiment = desk.job
    plan = next(plan for plan in experiment.targets if plan.name == task.data["plan"])

    def freeze() -> FrozenTarget:
        case = open_case(desk, task.data["case"])
        return targets_of(desk, case, plan)[task.data["names"]["target"]].freeze(case.scene)

    return desk.once(("frozen", task.data["names"]["target"]), freeze, depth=OF_TARGETS)


def recall_map(content: Content) -> Content:
    """Return the scores, curves and regions that a sidecar holds."""
    return {key: content.get(key, []) for key in ("scores", "curves", "regions")}


def discard_map(task: Task, desk: Desk) -> None:
    """Remove the files of a map."""
    remove_attribution(files_of(task, desk.job))


MAP = Kind(make_map, recall=recall_map, discard=discard_map, prepare=prepare_maps)


def _announce(
    desk: Desk,
    case: OpenCase,
    tasks: Sequence[Task],
    targets: Sequence[FrozenTarget],
    explainer: Explainer,
) -> None:
    names = ", ".join(task.data["names"]["target"] for task in tasks)
    windows = case.experiment.predictor.windows(case.volume.batch)
    expected = expected_windows(explainer, targets, windows)
    # All members together take what the whole does.
    times = 1 if case.experiment.config.keys.inference.spread is None else 2
    desk.begin(
        f"{case.files.name} / {names} / {tasks[0].data['names']['method']}",
        tasks,
        None if expected is None else times * expected,
    )


def _explain_together(
    desk: Desk, case: OpenCase, explainer: Explainer, targets: Sequence[FrozenTarget]
) -> Sequence[Attribution]:
    """Return all maps, or none where each target is to be explained by itself."""
    try:
        ready = with_files(explainer, case.files, case.experiment, case.volume)
        return ready.explain_together(case.experiment.predictor, case.volume, targets)
    except Exception:
        # Whatever it was, it comes again for the target that it belongs to, and only for that one.
        return ()


def _ready(explainer: Explainer, case: OpenCase, target: FrozenTarget) -> Explainer:
    """Return a method with the files and patterns that it needs, read or learned."""
    explainer = with_files(explainer, case.files, case.experiment, case.volume)
    if isinstance(target.scene, UnitScene):  # its network is another
        return explainer
    return with_patterns(explainer, case.experiment)


def _scores(case: OpenCase) -> dict[str, Score]:
    return {
        identity: with_files(score, case.files, case.experiment, case.volume)
        for identity, score in case.experiment.scores.items()
    }


def expected_windows(
    explainer: Explainer, targets: Sequence[FrozenTarget], windows: Windows
) -> int | None:
    """Return about how many windows the maps of some targets will take, None where unknown."""
    touched = [frozenset(target.touched(windows)) for target in targets]
    if explainer.traits.together:
        touched = [frozenset().union(*touched)]
    is_linear = all(target.is_linear for target in targets)
    counts = [
        explainer.cost.windows(len(some), len(windows), is_linear=is_linear) for some in touched
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None

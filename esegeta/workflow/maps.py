"""The task of a map: explain one target of one case by one method, score it, write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from esegeta.errors import EsegetaError
from esegeta.explain import Attribution, Explainer, MemberMaps, aggregate, explain_members
from esegeta.predict import PassesApart, Predictor
from esegeta.report import (
    PredictionFiles,
    TaskFiles,
    remove_attribution,
    replace_strip,
    save_attribution,
    save_scores,
)
from esegeta.report.contents import CONTENTS, contents_of, sealed
from esegeta.report.shapes import MapTold, PredictionTold, read_told
from esegeta.score import Score, ScoreCache, ScoreContext
from esegeta.targets import FrozenTarget, UnitScene
from esegeta.volume import write_json
from esegeta.workflow.build import Experiment
from esegeta.workflow.cases import OF_TARGETS, OpenCase, open_atlases, open_case, targets_of
from esegeta.workflow.chance import doubts_of_chance
from esegeta.workflow.fingerprint import provenance
from esegeta.workflow.prepared import with_files, with_patterns
from esegeta.workflow.scored import doubts_of_scores, score_map
from esegeta.workflow.task import Content, Desk, Kind, Task


def files_of(task: Task, experiment: Experiment) -> TaskFiles:
    """Return where the files of a map lie."""
    return TaskFiles(experiment.root, **task.data["names"])


def prepare_maps(tasks: Sequence[Task], desk: Desk) -> None:
    """Freeze the targets of a batch and, where the method lets them share passes, explain them.

    Whatever cannot be frozen or explained is left to its own task.

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
    facts = {**provenance(experiment, task.data["inputs"]), "fingerprint": task.key}
    doubts = doubts_of_prediction(experiment, case.files.name)
    made = ExplainedCase(case, explainer, target, attribution)
    return judge_and_write(desk, made, files, doubts=doubts, facts=facts)


@dataclass(frozen=True, eq=False)
class ExplainedCase:
    """The map of a target of a case, and what made it.

    Args:
        case: the case; its experiment has the method and the scores.
        explainer: what has explained it, ready.
        target: what is explained, frozen on the case.
        attribution: the map.
    """

    case: OpenCase
    explainer: Explainer
    target: FrozenTarget
    attribution: Attribution

    def members(self) -> MemberMaps | None:
        """Return the map of each member, where they are asked for and there are several."""
        if not has_spread(self.case.experiment):
            return None
        predictor, volume = self.case.experiment.predictor, self.case.volume
        return explain_members(self.explainer, predictor, volume, self.target)


def judge_and_write(
    desk: Desk,
    made: ExplainedCase,
    files: TaskFiles,
    *,
    doubts: Sequence[str],
    facts: Mapping[str, Any],
) -> Content:
    """Judge a map by all scores and by chance, sum it up by region, and write what is asked for.

    Args:
        desk: where what maps of the same case and target share lies.
        made: the map.
        files: where to; named by case, target and method.
        doubts: warnings of the prediction that it explains.
        facts: where it comes from, for its sidecar.

    Returns:
        What is its own in the sidecar: facts, scores, curves, regions and warnings.
    """
    case, experiment = made.case, made.case.experiment
    cache = desk.once(("score cache", files.target), ScoreCache, depth=OF_TARGETS)
    scores = _scores(case)
    context = ScoreContext(experiment.predictor, made.explainer, cache)
    scored = score_map(made.attribution, context, scores, files)
    atlases = open_atlases(desk, case)
    regions = () if atlases is None else aggregate(made.attribution, *atlases)
    rows = [vars(row) for row in scored.rows]
    names = {"case": files.case, "target": files.target, "method": files.method}
    chance = doubts_of_chance(experiment, names, rows)
    together = tuple(dict.fromkeys([*made.attribution.warnings, *doubts, *chance]))
    attribution = replace(made.attribution, warnings=together)
    sidecar: dict[str, Any] = {
        **facts,
        "prediction_warnings": list(doubts),
        "chance_warnings": list(chance),
        **scored.to_sidecar(scores),
        **({"regions": [vars(row) for row in regions]} if regions else {}),
    }
    if not experiment.config.keys.keeps_maps:
        save_scores(files, attribution, sidecar, doubts=doubts_of_scores(scored, scores))
        return {**sidecar, "warnings": list(attribution.warnings)}
    save_attribution(
        files,
        attribution,
        sidecar,
        regions=regions,
        doubts=doubts_of_scores(scored, scores),
        dtype=experiment.config.keys.dtype,
        members=made.members(),
        by=experiment.config.keys.maps.by,
        write=experiment.config.keys.write,
    )
    return {**sidecar, "warnings": list(attribution.warnings)}


def has_spread(experiment: Experiment) -> bool:
    """Tell whether a map is also made for every member."""
    wanted = experiment.config.keys.inference.spread is not None
    return wanted and len(experiment.predictor.members()) > 1


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


def doubts_of_prediction(experiment: Experiment, case: str) -> tuple[str, ...]:
    """Return the warnings of the prediction that the maps of a case explain."""
    sidecar = read_told(PredictionFiles(experiment.root, case).sidecar, PredictionTold) or {}
    return tuple(str(text) for text in sidecar.get("warnings", ()))


def renew_map(task: Task, content: Content, desk: Desk) -> Content:
    """Update what a finished map says about facts beside it, which do not change the map."""
    names = task.data["names"]
    doubts = {
        "prediction_warnings": list(doubts_of_prediction(desk.job, names["case"])),
        "chance_warnings": list(doubts_of_chance(desk.job, names, content.get("scores", []))),
    }
    before = {key: content.get(key, []) for key in doubts}
    if doubts == before:
        return content
    old, new = ([text for some in each.values() for text in some] for each in (before, doubts))
    own = [text for text in content.get("warnings", ()) if text not in old]
    renewed = {**content, **doubts, "warnings": [*own, *new]}
    files, others = files_of(task, desk.job), content.get("doubts", [])
    replace_strip(
        files.overlay, [*content.get("warnings", ()), *others], [*renewed["warnings"], *others]
    )
    pictures = [files.overlay] if files.overlay.is_file() else []
    contents = {**content[CONTENTS], **contents_of(pictures, files.sidecar)}
    write_json(files.sidecar, sealed({**renewed, CONTENTS: contents}))
    return renewed


def recall_map(content: Content) -> Content:
    """Return the scores, curves and regions that a sidecar holds."""
    return {key: content.get(key, []) for key in ("scores", "curves", "regions")}


def discard_map(task: Task, desk: Desk) -> None:
    """Remove the files of a map."""
    remove_attribution(files_of(task, desk.job))


MAP = Kind(
    make_map,
    recall=recall_map,
    discard=discard_map,
    prepare=prepare_maps,
    renew=renew_map,
    told=MapTold,
)


def _announce(
    desk: Desk,
    case: OpenCase,
    tasks: Sequence[Task],
    targets: Sequence[FrozenTarget],
    explainer: Explainer,
) -> None:
    names = ", ".join(task.data["names"]["target"] for task in tasks)
    expected = expected_windows(explainer, targets, case.experiment.predictor, case.volume.batch)
    # All members together take what the whole does.
    times = 2 if has_spread(case.experiment) else 1
    desk.begin(
        f"{case.files.name} / {names} / {tasks[0].data['names']['method']}",
        tasks,
        None if expected is None else times * expected,
    )


def _explain_together(
    desk: Desk, case: OpenCase, explainer: Explainer, targets: Sequence[FrozenTarget]
) -> Sequence[Attribution]:
    """Return all maps, or none where each target must be explained by itself."""
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
    explainer: Explainer, targets: Sequence[FrozenTarget], predictor: Predictor, x: Tensor
) -> int | None:
    """Return about how many windows the maps of some targets will take, None where unknown."""
    is_linear = predictor.is_sum and all(target.is_linear for target in targets)
    if predictor.averages_inside and explainer.traits.needs_hooks:
        # Each pass is watched by itself; its part of the target is known from all of them.
        predictor, is_linear = PassesApart(predictor).single, False
    windows = predictor.windows(x)
    touched = [frozenset(target.touched(windows)) for target in targets]
    # A prediction that is not held is made again for the gradient of a target that is not linear.
    held = all(target.scene.prediction.is_held for target in targets)
    takes_gradients_of_slabs = (
        not is_linear and not held and any(one.backwards for one in explainer.cost.passes)
    )
    if explainer.traits.together:
        touched = [frozenset().union(*touched)]
    counts = [
        explainer.cost.windows(len(some), len(windows), is_linear=is_linear) for some in touched
    ]
    known = [count for count in counts if count is not None]
    again = sum(len(some) for some in touched) if takes_gradients_of_slabs else 0
    return sum(known) + again if len(known) == len(counts) else None

"""One task: explain one target of one case by one method, score it, write it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from esegeta.errors import EsegetaError, ModelError, is_out_of_memory
from esegeta.explain import Atlas, Attribution, Explainer, aggregate
from esegeta.report import (
    TaskFiles,
    read_sidecar,
    region_row,
    remove_attribution,
    save_attribution,
)
from esegeta.score import Score, ScoreCache, ScoreContext
from esegeta.targets import FrozenTarget, UnitScene
from esegeta.volume import Case, Volume
from esegeta.workflow.build import Experiment
from esegeta.workflow.outcome import TaskResult
from esegeta.workflow.prepared import with_files, with_patterns
from esegeta.workflow.scoring import score_map, scored_before

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Ground:
    """What all tasks of a case stand on.

    Args:
        volume: its image.
        atlases: on its grid; None where maps are not aggregated.
        provenance: joins every sidecar.
        cache: of the scores, for each of the targets that are at work.
    """

    volume: Volume
    atlases: tuple[Atlas, ...] | None
    provenance: Mapping[str, Any]
    cache: MutableMapping[FrozenTarget, ScoreCache] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MapTask:
    """One task.

    Args:
        experiment: what it belongs to.
        case: its files.
        files: where its results go.
        explainer: the method.
        fingerprint: of everything that decides its results.
        order: its place among all units; case, target, component, method.
    """

    experiment: Experiment
    case: Case
    files: TaskFiles
    explainer: Explainer
    fingerprint: str
    order: tuple[int, ...] = ()

    def finished(self) -> TaskResult | None:
        """Return the result of an earlier run that matches, or None where it is to be done."""
        sidecar = read_sidecar(self.files.sidecar)
        if sidecar is None or sidecar.get("fingerprint") != self.fingerprint:
            return None
        expected = [self.files.map.name, *sidecar.get("files", [])]
        if not all((self.files.map.parent / str(name)).is_file() for name in expected):
            return None
        scored = scored_before(sidecar)
        return self.result(
            "skipped",
            rows=scored.rows,
            curves=scored.curves,
            regions=tuple(region_row(row) for row in sidecar.get("regions", [])),
            warnings=tuple(sidecar.get("warnings", [])),
        )

    def discard(self) -> None:
        """Remove what an earlier run left and does not match: it would look like a result."""
        if self.finished() is None:
            remove_attribution(self.files)

    def result(self, status: Any, **more: Any) -> TaskResult:
        """Return a result under this unit's names."""
        return TaskResult(self.files.case, self.files.target, self.files.method, status, **more)

    def attempt(self, ground: Ground, target: FrozenTarget) -> TaskResult:
        """Do the work; a failure becomes a result, never half a file."""

        def explain(explainer: Explainer) -> Attribution:
            return explainer.explain(self.experiment.predictor, ground.volume, target)

        return self._finish(explain, ground, target)

    def keep(self, attribution: Attribution, ground: Ground, *, seconds: float) -> TaskResult:
        """Score and write a map that was made with others; `seconds` is its share of the making."""
        result = self._finish(lambda explainer: attribution, ground, attribution.target)
        return replace(result, seconds=result.seconds + seconds)

    def _finish(
        self,
        explain: Callable[[Explainer], Attribution],
        ground: Ground,
        target: FrozenTarget,
    ) -> TaskResult:
        start = time.perf_counter()

        def work() -> TaskResult:
            explainer = with_files(self.explainer, self.case, self.experiment, ground.volume)
            if not isinstance(target.scene, UnitScene):  # its network is another
                explainer = with_patterns(explainer, self.experiment)
            attribution = explain(explainer)
            scores = self._scores(ground)
            cache = ground.cache.setdefault(target, ScoreCache())
            context = ScoreContext(self.experiment.predictor, explainer, cache)
            scored = score_map(attribution, context, scores, self.files)
            regions = () if ground.atlases is None else aggregate(attribution, *ground.atlases)
            sidecar = {
                **ground.provenance,
                "fingerprint": self.fingerprint,
                **scored.to_sidecar(scores),
                **({"regions": [vars(row) for row in regions]} if regions else {}),
            }
            curves = scored.curves
            save_attribution(self.files, attribution, sidecar, regions=regions, curves=curves)
            return self.result(
                "done",
                rows=scored.rows,
                curves=curves,
                regions=tuple(regions),
                warnings=attribution.warnings,
            )

        result = catch_failure(work, self.result)
        if result.status == "failed":
            self.discard()
        return replace(result, seconds=time.perf_counter() - start)

    def _scores(self, ground: Ground) -> dict[str, Score]:
        return {
            identity: with_files(score, self.case, self.experiment, ground.volume)
            for identity, score in self.experiment.scores.items()
        }


def catch_failure(
    work: Callable[[], Result],
    failed: Callable[..., Result],
    *,
    memory_hint: str = "lower inference.batch_size or inference.window, or use precision: bf16",
) -> Result:
    """Do work and turn an exception into a failed result; a bug keeps its traceback."""
    try:
        return work()
    except EsegetaError as error:
        return failed("failed", message=str(error))
    except Exception as error:
        if is_out_of_memory(error):
            message = str(ModelError("out of memory", hint=memory_hint))
            return failed("failed", message=message)
        message = f"{type(error).__name__}: {error}"
        return failed("failed", message=message, is_bug=True, traceback=traceback.format_exc())

"""Tables, figures over everything and examples.json: what was found, from how tasks ended."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from esegeta.examples import rank_agreement, trace
from esegeta.report import (
    InfluencePanel,
    LeftOutPanel,
    draw_influence,
    draw_left_out,
    draw_self_influence,
    remove_influence,
    write_dataset_files,
    write_examples_table,
)
from esegeta.results_folder import ANALYSES
from esegeta.workflow.command import CommandState
from esegeta.workflow.examples.build import ExampleStudy
from esegeta.workflow.examples.influence_plan import InfluencePlan
from esegeta.workflow.examples.open import case_and_target
from esegeta.workflow.record import describe_basis, described_by_name
from esegeta.workflow.standing import EarlierNotes, TaskRecord, sha256_by_path
from esegeta.workflow.task import Content, Desk, Ended

ALL_LAYERS = "all"
TRACIN, SIMILARITY, CURVATURE = "tracin", "gradient_similarity", "curvature"
METHODS = (TRACIN, SIMILARITY, CURVATURE)

TableRow = Sequence[Any]
ByExample = Mapping[str, float]


class ExamplesRecorder:
    """Writes tables, figures and examples.json from how tasks ended, each time whole.

    Args:
        study: what is done.
        inputs: SHA-256 of every file, by case and path.
    """

    def __init__(self, study: ExampleStudy, inputs: Mapping[str, Mapping[str, str]]) -> None:
        self._study = study
        path = study.root / ANALYSES["examples"]
        self._earlier = EarlierNotes(path)
        head = {
            **describe_basis(study.basis),
            "examples": study.keys.model_dump(mode="json"),
            "groups": list(study.groups),
            **_influence_head(study.influence),
            "inputs_sha256": sha256_by_path(inputs),
        }
        self._record = TaskRecord(path, head)

    def write(self, results: Sequence[Ended], state: CommandState, notes: Sequence[str]) -> None:
        """Write tables and record as things stand."""
        tables = tables_of(self._study, results)
        for name, rows in tables.items():
            write_examples_table(self._study.root, name, rows)
        write_dataset_files(self._study.basis.root, self._study.basis.config.keys.name)
        ranks = [
            dict(zip(RANK_COLUMNS, row, strict=True)) for row in tables.get("rank_correlation", ())
        ]
        self._record.write(state, notes, map(described_by_name, results), rank_correlation=ranks)

    def close(self, results: Sequence[Ended], desk: Desk) -> None:
        """Draw influences, and say again what an earlier run said where nothing was left to do."""
        self._earlier.repeat(results, desk)
        for ended in results:
            desk.note(*(str(note) for note in ended.content.get("notes", ())))
        plan = self._study.influence
        remove_influence(self._study.root)
        if plan is None:
            return
        found = influences_of(plan, _contents(results, "influence"))
        name = self._study.basis.config.keys.name
        if found:
            panels = [
                InfluencePanel(question, method, dict(values))
                for (question, method), values in found.items()
                if method != SIMILARITY
            ]
            draw_influence(self._study.root, f"{name}: what training on an example does", panels)
            selves = _self_influence(plan, _contents(results, "influence"))
            draw_self_influence(self._study.root, f"{name}: self-influence", selves)
        left = left_out_of(plan, results)
        if left is not None:
            panels_left = _left_out_panels(plan, left, found)
            draw_left_out(self._study.root, f"{name}: leaving an example out", panels_left)
            desk.note(*_verdicts(panels_left))


RANK_COLUMNS = ("case", "target", "method", "checkpoints", "n", "correlation", "p")


def _influence_head(plan: InfluencePlan | None) -> dict[str, Any]:
    if plan is None:
        return {}
    return {
        "influence": {
            "checkpoints": [str(path) for path in plan.checkpoints],
            "learning_rates": list(plan.rates),
            "training": plan.example_names,
            "targets": [target.name for target in plan.targets],
            "curvature_layers": list(plan.layers),
            "recipe": plan.recipe.describe(),
            "sign": "above zero, training on the example raises the target",
        }
    }


def _finished(results: Sequence[Ended], finds: str) -> list[Ended]:
    """Return the finished tasks that find one kind of thing, such as prototypes."""
    return [
        ended
        for ended in results
        if ended.status != "failed" and ended.task.data.get("finds") == finds
    ]


def _contents(results: Sequence[Ended], finds: str) -> list[Content]:
    """Return what these tasks have found."""
    return [ended.content for ended in _finished(results, finds)]


def tables_of(study: ExampleStudy, results: Sequence[Ended]) -> dict[str, list[TableRow]]:
    """Return the rows of each table that there is something for, by its name."""
    tables: dict[str, list[TableRow]] = {}
    groups = _contents(results, "prototypes")
    if study.layer is not None:
        tables["groups"] = [
            [
                one["group"],
                one["items"],
                *(one.get(key) for key in ("width", "mmd2", "greedy_mmd2")),
                *(one.get(key) for key in ("random_mmd2", "reaches")),
            ]
            for one in groups
        ]
        tables["prototypes"] = [[one["group"], *row] for one in groups for row in one["rows"]]
        tables["neighbours"] = [[one["group"], *row] for one in groups for row in one["neighbours"]]
    if study.surrogate is not None:
        fits = _contents(results, "surrogate")
        names = ("label", "question", "kind", "fidelity", "drawn", "sensitivity", "specificity")
        numbers = ("regions", "positive", "held_out")
        tables["surrogate"] = [[one.get(key) for key in (*names, *numbers)] for one in fits]
        tables["surrogate_features"] = [
            [one["label"], feature, weight]
            for one in fits
            for feature, weight in sorted(one["weights"].items(), key=lambda pair: -abs(pair[1]))
        ]
    if study.influence is not None:
        tables |= _influence_tables(study.influence, results)
    return tables


def _influence_tables(plan: InfluencePlan, results: Sequence[Ended]) -> dict[str, list[TableRow]]:
    traced = _contents(results, "influence")
    whole = len(traced) == len(plan.checkpoints)
    tables: dict[str, list[TableRow]] = {"influence": [], "self_influence": []}
    if whole:
        tables["influence"] = list(_influence_rows(plan, traced))
        selves = _self_influence(plan, traced)
        losses = traced[-1]["losses"]
        curved = traced[-1].get("curved_self", {})
        order = sorted(selves, key=lambda name: -selves[name])
        tables["self_influence"] = [
            [rank, name, selves[name], curved.get(name), losses[name]]
            for rank, name in enumerate(order, start=1)
        ]
    left = left_out_of(plan, results)
    if left is not None:
        found = influences_of(plan, traced) if whole else {}
        tables["leave_one_out"] = list(_left_out_rows(left, found))
        tables["rank_correlation"] = [
            [*case_and_target(panel.question), panel.method, panel.checkpoints, *panel.agreement]
            for panel in _left_out_panels(plan, left, found)
        ]
    return tables


def influences_of(
    plan: InfluencePlan, traced: Sequence[Content]
) -> dict[tuple[str, str], dict[str, float]]:
    """Return the influence of each example by question and method; empty until all is traced."""
    if len(traced) < len(plan.checkpoints):
        return {}
    found: dict[tuple[str, str], dict[str, float]] = {}
    for question in traced[-1]["values"]:
        totals = [
            {name: math.fsum(by.values()) for name, by in one["by_module"][question].items()}
            for one in traced
        ]
        found[question, TRACIN] = trace(totals, plan.rates)
        found[question, SIMILARITY] = dict(traced[-1]["cosine"][question])
        found[question, CURVATURE] = dict(traced[-1]["curved"][question])
    return found


def _influence_rows(plan: InfluencePlan, traced: Sequence[Content]) -> Iterator[TableRow]:
    for (question, method), values in influences_of(plan, traced).items():
        for name, value in values.items():
            layer = ALL_LAYERS if method != CURVATURE else "+".join(plan.layers)
            yield [*case_and_target(question), name, method, layer, value]
        if method != TRACIN:
            continue
        for name in values:
            by_module = [one["by_module"][question][name] for one in traced]
            for module, value in trace(by_module, plan.rates).items():
                yield [*case_and_target(question), name, method, module, value]


def _self_influence(plan: InfluencePlan, traced: Sequence[Content]) -> dict[str, float]:
    return trace([one["self"] for one in traced], plan.rates)


class LeaveOneOut:
    """What leaving each example out did, by question and example.

    Args:
        changes: target with all examples minus without, a value a seed.
        estimates: by method, question and example, each the mean over seeds of what trainings of
            our own say.
    """

    def __init__(
        self,
        changes: dict[str, dict[str, list[float]]],
        estimates: dict[str, dict[str, dict[str, float]]],
    ) -> None:
        self.changes = changes
        self.estimates = estimates


def left_out_of(plan: InfluencePlan, results: Sequence[Ended]) -> LeaveOneOut | None:
    """Return what leaving examples out did; None until every network is trained."""
    block = plan.keys.leave_one_out
    if block is None:
        return None
    done = {
        (ended.task.data["seed"], ended.task.data["left_out"]): ended.content
        for ended in _finished(results, "leave one out")
    }
    names = plan.example_names
    if len(done) < len(block.seeds) * (len(names) + 1):
        return None
    whole = {seed: done[seed, None] for seed in block.seeds}
    questions = list(whole[block.seeds[0]]["values"])
    changes = {
        question: {
            name: [
                whole[seed]["values"][question] - done[seed, place]["values"][question]
                for seed in block.seeds
            ]
            for place, name in enumerate(names)
        }
        for question in questions
    }
    estimates = {
        method: {
            question: {
                name: _mean([one["estimates"][method][question][name] for one in whole.values()])
                for name in names
            }
            for question in questions
        }
        for method in METHODS
    }
    return LeaveOneOut(changes, estimates)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _left_out_rows(
    left: LeaveOneOut, found: Mapping[tuple[str, str], ByExample]
) -> Iterator[TableRow]:
    for question, by_name in left.changes.items():
        for name, values in by_name.items():
            yield [
                *(*case_and_target(question), name, len(values), _mean(values)),
                math.dist(values, [_mean(values)] * len(values)) / math.sqrt(len(values)),
                *(left.estimates[method][question][name] for method in METHODS),
                *(found.get((question, method), {}).get(name) for method in METHODS),
            ]


def _left_out_panels(
    plan: InfluencePlan, left: LeaveOneOut, found: Mapping[tuple[str, str], ByExample]
) -> list[LeftOutPanel]:
    """Return each comparison of an estimate with what was measured: ours, then the given ones."""
    panels = []
    for question, by_name in left.changes.items():
        measured = {name: _mean(values) for name, values in by_name.items()}
        sources: list[tuple[str, str, ByExample]] = [
            ("retrained", method, left.estimates[method][question]) for method in METHODS
        ]
        sources += [
            ("given", method, found[question, method])
            for method in METHODS
            if (question, method) in found
        ]
        for checkpoints, method, values in sources:
            agreement = rank_agreement([values[name] for name in measured], list(measured.values()))
            numbers = (agreement.n, agreement.correlation, agreement.p)
            panels.append(
                LeftOutPanel(question, method, checkpoints, dict(values), measured, numbers)
            )
    return panels


def _verdicts(panels: Sequence[LeftOutPanel]) -> Iterator[str]:
    for panel in panels:
        if panel.checkpoints == "retrained":
            n, correlation, p = panel.agreement
            yield (
                f"leave one out, {panel.question}: {panel.method} ranks {n} examples with a rank "
                f"correlation of {correlation:.2f} (p {p:.2g})"
            )

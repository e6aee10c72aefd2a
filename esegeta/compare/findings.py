"""The report of a study: what was merged, what was left out, what was refused, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from esegeta.compare.folder import owners_of
from esegeta.compare.leaderboard import nulls_sentence
from esegeta.compare.significance import (
    ALPHA,
    EXACT_UP_TO,
    FEWEST_CASES,
    Difference,
    fewest_pairs,
    least_corrected_p,
)
from esegeta.compare.study import ScoreResult, Study
from esegeta.report import Cell, Table, escape, number_text, p_text, to_markdown

MOST_LINES = 40
"""Lines of a list; the rest is in compare.json."""

MOST_NAMES = 6
"""Tasks that are named on one line."""

HOW_TO_READ = f"""\
- **A task** is one target of one case, explained by one method on one model. Medians and quartiles
  (linear) are over tasks. Undefined values (NaN) are left out and counted.
- **Ranks** are formed within each case, from the mean over its targets; ties share the mean of
  their ranks. Only targets for which all ranked competitors have a value count. While these
  targets cover less than half of the cases, the competitor with the most gaps is left out.
- **Tests** (tests.csv): Wilcoxon's signed-rank test, two-sided, across cases. Differences are
  first averaged over the targets of a case, which are not independent. Pairs: every two methods
  of a model, and the same method on every two models. Zero differences are ranked and then
  dropped (Pratt); if all are zero, p is 1 and the effect 0. p is exact up to {EXACT_UP_TO} cases,
  ties and zeros included. With fewer than {FEWEST_CASES} paired cases there is no test: no outcome
  could reach {ALPHA}. Holm's correction takes all tests of one score as its family.
- **Effect**: the matched-pairs rank-biserial correlation, from -1 to 1; above 0 the first of the
  two is better, whichever direction is better for the score. `median_difference` is first minus
  second, in the score's own unit.
- **Critical difference**: Friedman's test (p by Iman and Davenport's F), then Nemenyi's, on the
  ranked competitors (Demsar 2006). It compares all of them at once by their ranks and is coarser
  than the paired tests; the two need not agree.
- **Between models**: scores in the target's own unit, such as raw infidelity or completeness in
  logits, grow with the model's logits; only relative scores are comparable. Predictions differ
  too: a target over the prediction covers different voxels for each model.
- **Not ranked or tested**: figures that depend on the scale of the map. Values that differ only by
  rounding (1e-6 of the larger) are ties. Scores of one aspect count as one in mean ranks.
- **A dagger** marks a method that does not beat the random map of its model on a faithfulness
  score, in the median over cases of the paired differences; it is not a test.
- **Correlations** are over tasks, which are not independent: they have no p-values. Two scores also
  agree over all tasks if both only separate large targets from small ones; `spearman_within`
  compares methods within a case and target.
"""


def findings(study: Study, files: Sequence[str]) -> str:
    """Return report.md.

    Args:
        study: study to report on.
        files: names of the files beside it.
    """
    parts = [
        f"# Comparison of {_count(len(study.folders), 'run')}",
        _opening(study),
        to_markdown(_runs(study)),
        _section("Notes", study.merged.notes),
        _section("Degenerate maps, excluded", _failures(study, degenerate=True)),
        _section("Other tasks that failed", _failures(study, degenerate=False)),
        _section("Undefined values, left out", _undefined(study)),
        _section("Warnings about maps", _warnings(study)),
        _section("Not ranked", _unranked(study)),
        to_markdown(_tests(study)),
        _section(
            "Parameters of the scores, the same in all runs but for seeds", _parameters(study)
        ),
        f"## How to read it\n\n{HOW_TO_READ}",
        _section("Files", (f"`{name}`" for name in files)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def testing_sentence(study: Study) -> str:
    """Return how many tests there were and how many found something, or why there were none."""
    pairs = [pair for score in study.scores for pair in score.pairs]
    tested = [pair for pair in pairs if pair.p_holm is not None]
    if not pairs:
        return "No tests: no score has two competitors to compare."
    if not tested:
        most = max(pair.num_cases for pair in pairs)
        return (
            f"No tests: {_count(most, 'paired case')} at most, and with fewer than "
            f"{FEWEST_CASES} no two-sided signed-rank test can reach {ALPHA}."
        )
    found = sum(pair.p_holm is not None and pair.p_holm < ALPHA for pair in tested)
    refused = len(pairs) - len(tested)
    tail = f"; {refused} refused for lack of {FEWEST_CASES} paired cases" if refused else ""
    sentence = f"{found} of {len(tested)} paired tests find a difference (Holm, {ALPHA}){tail}."
    return sentence if found else f"{sentence}{_none_could(study)}"


def _none_could(study: Study) -> str:
    """Say so where no outcome could have passed Holm's correction, and how many cases could."""
    families = [
        [pair.num_cases for pair in score.pairs if pair.outcome is not None]
        for score in study.scores
    ]
    families = [family for family in families if family]
    if any(least_corrected_p(max(family), len(family)) < ALPHA for family in families):
        return ""
    smallest = min(map(len, families))
    return (
        f" None could: among {_count(smallest, 'test')} of one score it takes "
        f"{fewest_pairs(smallest, ALPHA)} cases to reach {ALPHA}. Compare fewer methods, or more "
        "cases."
    )


def _opening(study: Study) -> str:
    entries = [entry for some in study.merged.entries.values() for entry in some]
    counts = (
        _count(len(study.merged.models), "model"),
        _count(len({one.method for one in study.merged.competitors}), "method"),
        _count(len({entry.case for entry in entries}), "case"),
        _count(len({entry.target for entry in entries}), "target"),
        _count(len(study.scores), "score"),
        _count(len(entries), "value"),
    )
    return f"{', '.join(counts)}. {nulls_sentence(study)} {testing_sentence(study)}"


def _runs(study: Study) -> Table:
    rows = []
    for model, folders in study.merged.models.items():
        for folder in folders:
            num = {
                part: len({getattr(row, part) for row in folder.rows})
                for part in ("case", "target", "method", "score")
            }
            texts = (str(folder.path), model, folder.state, *map(str, num.values()))
            rows.append(tuple(map(Cell, (*texts, str(len(folder.rows))))))
    columns = ("run", "model", "state", "cases", "targets", "methods", "scores", "values")
    return Table("Runs", columns, tuple(rows))


def _tests(study: Study) -> Table:
    columns = ("score", "ranked", "cases", "Friedman p", "tests", f"p < {ALPHA}", "least p")
    note = (
        f"`p < {ALPHA}` counts tests after Holm's correction. `least p` is the smallest corrected "
        "p that any test of the score could reach with these numbers of cases and tests; if it is "
        f"{ALPHA} or more, no test can find a difference, however large the effect."
    )
    rows = tuple(tuple(map(Cell, _test_texts(score))) for score in study.scores)
    return Table("Ranks and tests", columns, rows, note)


def _test_texts(score: ScoreResult) -> tuple[str, ...]:
    tested = [pair for pair in score.pairs if pair.p_holm is not None]
    found = sum(pair.p_holm is not None and pair.p_holm < ALPHA for pair in tested)
    most = max((pair.num_cases for pair in tested), default=0)
    whole = score.difference
    return (
        score.kind.name,
        str(len(score.ranking.competitors)),
        str(len(score.ranking.cases)),
        p_text(whole.p) if isinstance(whole, Difference) else "",
        str(len(tested)),
        str(found) if tested else "",
        number_text(least_corrected_p(most, len(tested))) if tested else "",
    )


def _parameters(study: Study) -> Iterator[str]:
    seen: dict[str, str] = {}
    for folder in study.folders:
        for metric in dict.fromkeys(row.score for row in folder.rows):
            for identity in owners_of(metric, folder.score_names):
                known = folder.parameters("scores", identity)
                texts = [f"{key}={text}" for key, text in known.items() if text != "null"]
                seen.setdefault(identity, ", ".join(texts))
    for identity, text in seen.items():
        yield f"`{identity}`: `{text}`"


def _failures(study: Study, *, degenerate: bool) -> Iterator[str]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in study.merged.failures:
        if one.is_degenerate == degenerate:
            key = (one.model, one.method, one.message)
            groups.setdefault(key, []).append(f"{one.case} / {one.target}")
    for (model, method, message), tasks in groups.items():
        yield f"{escape(_of(study, model, method))} on {_names(tasks)}: {escape(message)}"


def _undefined(study: Study) -> Iterator[str]:
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for one in study.merged.undefined:
        group = groups.setdefault((one.score, one.reason), {})
        name = _of(study, one.model, one.method)
        group.setdefault(name, []).append(f"{one.case} / {one.target}")
    for (score, reason), tasks in groups.items():
        count = _count(sum(map(len, tasks.values())), "value")
        parts = (
            f"{escape(name)} on {_names(some) if len(some) == 1 else f'{len(some)} tasks'}"
            for name, some in tasks.items()
        )
        yield f"{escape(score)}, {count}: {escape(reason)} ({', '.join(parts)})"


def _warnings(study: Study) -> Iterator[str]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for model, folders in study.merged.models.items():
        for task in (task for folder in folders for task in folder.tasks):
            for text in task.get("warnings") or []:
                key = (model, str(task.get("method")), str(text))
                groups.setdefault(key, []).append(f"{task.get('case')} / {task.get('target')}")
    for (model, method, text), tasks in groups.items():
        yield f"{escape(_of(study, model, method))} on {_names(tasks)}: {escape(text)}"


def _unranked(study: Study) -> Iterator[str]:
    for score in study.scores:
        name, ranking = escape(score.kind.name), score.ranking
        if ranking.refusal:
            yield f"{name}: {ranking.refusal}"
        if ranking.left_out:
            others = ", ".join(escape(study.merged.label(one)) for one in ranking.left_out)
            yield f"{name}: too few targets in common with the others: {others}"


def _section(title: str, lines: Iterable[str]) -> str:
    found = list(lines)
    if not found:
        return ""
    shown = [f"- {line}" for line in found[:MOST_LINES]]
    if len(found) > MOST_LINES:
        shown.append(f"- and {len(found) - MOST_LINES} more, see compare.json")
    return f"## {title}\n\n" + "\n".join(shown)


def _names(tasks: Sequence[str]) -> str:
    more = f" and {len(tasks) - MOST_NAMES} more" if len(tasks) > MOST_NAMES else ""
    return escape(", ".join(tasks[:MOST_NAMES])) + more


def _of(study: Study, model: str, method: str) -> str:
    return method if len(study.merged.models) == 1 else f"{model} / {method}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"

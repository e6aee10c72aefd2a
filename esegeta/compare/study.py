"""The whole study: many runs merged, every score summed up, ranked and tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from esegeta.compare.correlation import Correlation, correlate
from esegeta.compare.folder import RunFolder, in_order, is_comparison, read_run_folder
from esegeta.compare.merge import Competitor, Merged, ScoreColumn, merge_folders
from esegeta.compare.score_table import (
    Ranking,
    ScoreTable,
    Summary,
    rank_competitors,
    summarize,
    tabulate,
)
from esegeta.compare.significance import Difference, PairedScores, compare_pairs, find_difference
from esegeta.errors import RunError


@dataclass(frozen=True, eq=False)
class ScoreResult:
    """All that is known about one score.

    Args:
        table: values of the score.
        summaries: summary of each competitor.
        ranking: ranking, case by case.
        pairs: all pairs of competitors that are compared.
        difference: comparison of all competitors at once, or why there is none.
    """

    table: ScoreTable
    summaries: Mapping[Competitor, Summary]
    ranking: Ranking
    pairs: tuple[PairedScores, ...]
    difference: Difference | str

    @property
    def kind(self) -> ScoreColumn:
        """Name, direction and family."""
        return self.table.kind

    @cached_property
    def mean_ranks(self) -> dict[Competitor, float]:
        """Mean rank of each competitor that is ranked."""
        return self.ranking.mean_ranks()


@dataclass(frozen=True, eq=False)
class Study:
    """Many runs, compared.

    Args:
        folders: the runs.
        merged: values of all runs.
        scores: scores by family, within it in the order of the runs.
        correlations: correlations of every two scores.
    """

    folders: tuple[RunFolder, ...]
    merged: Merged
    scores: tuple[ScoreResult, ...]
    correlations: tuple[Correlation, ...]

    @property
    def families(self) -> list[str]:
        """Families that have a score, in the order in which they are shown."""
        return list(dict.fromkeys(score.kind.family for score in self.scores))


def compare_runs(paths: Sequence[Path]) -> Study:
    """Read runs and compare what is in them; nothing is written.

    Args:
        paths: folders of the runs; one named twice counts once, and a folder that holds a
            comparison is passed over, so that `results/*` may be given.

    Raises:
        RunError: a folder cannot be read, or the runs cannot be compared.
    """
    once: dict[Path, Path] = {}
    for path in paths:
        if not is_comparison(path):
            once.setdefault(path.resolve(), path)
    if not once:
        raise RunError(f"no run: {', '.join(map(str, paths))} contain only comparisons")
    folders = tuple(map(read_run_folder, once.values()))
    merged = merge_folders(folders)
    families = in_order({kind.family for kind in merged.entries})
    kinds = sorted(merged.entries, key=lambda kind: families.index(kind.family))
    tables = [tabulate(kind, merged.entries[kind], merged.competitors) for kind in kinds]
    return Study(folders, merged, tuple(map(_judge, tables)), correlate(tables))


def _judge(table: ScoreTable) -> ScoreResult:
    ranking = rank_competitors(table)
    summaries = {summary.competitor: summary for summary in summarize(table)}
    return ScoreResult(table, summaries, ranking, compare_pairs(table), find_difference(ranking))

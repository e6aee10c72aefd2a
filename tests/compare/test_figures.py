"""What the figures are made of: pages, diagrams, and the two halves of the heat map."""

import numpy as np
import pytest

from esegeta.compare import Study, compare_runs
from esegeta.compare.figures import box_pages, correlation_map, rank_diagrams
from esegeta.compare.significance import Difference
from tests.compare.runs import FakeRun, Key


def study_of(
    folder: pytest.TempPathFactory, num_methods: int, scores: dict[str, str], num_cases: int
) -> Study:
    rng = np.random.default_rng(0)
    methods = [*(f"m{place}" for place in range(num_methods - 1)), "random_map"]
    values: dict[Key, float] = {
        (f"c{case}", "t", method, score): float(rng.normal() + 3 * place)
        for case in range(num_cases)
        for place, method in enumerate(methods)
        for score in scores
    }
    return compare_runs([FakeRun(values, scores).write(folder.mktemp("runs") / "run")])


@pytest.mark.slow
def test_a_family_of_many_scores_and_methods_is_spread_over_pages(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    scores = {f"new_{place}": "lower" for place in range(10)}
    study = study_of(tmp_path_factory, 40, {**scores, "sensitivity_n": "lower"}, 1)
    pages = dict(box_pages(study))
    assert list(pages) == ["boxes_faithfulness", "boxes_other", "boxes_other_2"]
    shown = [panel.score for name in list(pages)[1:] for panel in pages[name].panels]
    assert shown == list(scores)
    page = pages["boxes_other"]
    assert len(page.panels) == 8
    assert page.methods[0] == "m0"
    assert page.methods[-1] == "random_map"
    assert page.nulls == {"random_map"}
    column = study.scores[1].table.values[:, 3].tolist()
    assert page.panels[0].values["liver", "m3"] == column


def test_a_critical_difference_diagram_holds_the_ranking(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    study = study_of(tmp_path_factory, 4, {"sensitivity_n": "higher", "halo": "none"}, 8)
    ((name, diagram),) = rank_diagrams(study)
    assert name == "critical_difference_sensitivity_n"
    assert diagram.names == ("random_map", "m2", "m1", "m0")
    means = {one.method: rank for one, rank in study.scores[0].mean_ranks.items()}
    assert diagram.mean_ranks == pytest.approx(tuple(means[name] for name in diagram.names))
    assert diagram.nulls == {"random_map"}
    found = study.scores[0].difference
    assert isinstance(found, Difference)
    assert diagram.critical_difference == found.critical
    assert "higher is better" in diagram.title
    assert "8 cases" in diagram.title


def test_the_heat_map_is_pooled_below_and_within_above(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    scores = {"sensitivity_n": "lower", "auroc": "higher", "halo": "none"}
    study = study_of(tmp_path_factory, 5, scores, 6)
    heat_map = correlation_map(study)
    assert heat_map.names == ("sensitivity_n ↓", "auroc ↑", "halo –")
    found = {(one.first.name, one.second.name): one for one in study.correlations}
    pair = found["sensitivity_n", "auroc"]
    assert pair.rho > 0.5
    assert heat_map.values[1, 0] == -pair.rho
    assert heat_map.values[0, 1] == -pair.rho_within
    free = found["auroc", "halo"]
    assert heat_map.values[2, 1] == free.rho
    assert heat_map.values[1, 2] == free.rho_within
    assert np.diag(heat_map.values).tolist() == [1.0, 1.0, 1.0]

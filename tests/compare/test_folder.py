"""From a line of scores.csv back to its score and family."""

import pytest

from esegeta.compare.folder import aspect_of, family_of, in_order, kind_of_metric, owners_of
from esegeta.score import SCORES

NAMES = {
    "infidelity": "infidelity",
    "inf8": "infidelity",
    "inf8.x": "infidelity",
    "deletion": "deletion_of_tomorrow",
    "deletion_road": "road_of_tomorrow",
    "curve": "selectivity_of_tomorrow",
}


@pytest.mark.parametrize(
    ("metric", "owners"),
    [
        ("infidelity", ("infidelity",)),
        ("infidelity_relative", ("infidelity",)),
        ("inf8.infidelity_beta", ("inf8",)),
        ("inf8.x.infidelity", ("inf8.x",)),
        ("deletion_gap", ("deletion",)),
        ("deletion_road_auc", ("deletion_road",)),
        ("auc", ("deletion", "deletion_road", "curve")),
    ],
)
def test_the_score_of_a_metric_is_found(metric: str, owners: tuple[str, ...]) -> None:
    assert owners_of(metric, NAMES) == owners


@pytest.mark.parametrize("name", SCORES)
def test_every_score_has_its_family_with_and_without_an_id(name: str) -> None:
    for metric in SCORES[name].metrics:
        assert family_of(metric.name, {name: name}) == SCORES[name].family
        assert family_of(metric.name, {}) == SCORES[name].family
        assert family_of(f"mine.{metric.name}", {"mine": name}) == SCORES[name].family


def test_a_score_of_another_version_is_of_no_family() -> None:
    assert family_of("deletion_gap", NAMES) == "other"


def test_a_figure_is_recognised_by_the_name_that_a_score_declares() -> None:
    kind = kind_of_metric("gini", {})
    assert kind is not None and kind.name == "gini"
    assert aspect_of("gini", {}) == SCORES["gini"].aspect()
    for metric in ("infidelity_of_tomorrow", "mine.infidelity_of_tomorrow"):
        names = {metric.partition(".")[0]: "infidelity"} if "." in metric else {}
        assert kind_of_metric(metric, {**NAMES, **names}) is None
        assert aspect_of(metric, {**NAMES, **names}) == metric


def test_known_families_come_first_and_what_is_unknown_last() -> None:
    found = in_order({"other", "sanity", "retraining", "faithfulness"})
    assert found == ["faithfulness", "sanity", "retraining", "other"]

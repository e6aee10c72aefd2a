"""Every method on every network: right, right with a warning, accounted for, or refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from esegeta.explain import EXPLAINERS
from tests.zoo.networks import ZOO
from tests.zoo.outcomes import Bench, Outcome, build, outcome_of, same_map, twins
from tests.zoo.table import expected_of, markdown, reason_of

PAGE = Path(__file__).parents[2] / "docs/networks.md"

QUICK = ("saliency", "deep_lift", "lrp", "layer_gradient_x_activation", "occlusion")
"""Methods of all kinds that are cheap: gradients, rewritten gradients, hooks, values."""

QUICKLY = ("functions", "reentrant checkpointing", "MultiheadAttention")


@pytest.fixture(autouse=True)
def _quiet() -> object:
    """What the networks' own libraries warn of is no fault of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check(network: str, method: str, found: Outcome, faults: list[str]) -> None:
    expected = expected_of(network, method)
    reason = reason_of(found) if found.kind in ("warned", "refused") else ""
    if (found.kind, reason) != expected:
        faults.append(f"{method}: {found.kind}: {reason}, but must be {': '.join(expected)}")


def faults_of(network: str, methods: list[str]) -> list[str]:
    """Return what is not as the table says, of some methods on one network."""
    entry, faults = ZOO[network], list[str]()
    pair = twins(entry) if entry.twin else None
    bench = pair[0] if pair else Bench(entry, build(entry.make))
    for method in methods:
        try:
            found = same_map(*pair, method) if pair else outcome_of(bench, method)
        except AssertionError as error:
            faults.append(f"{method}: wrong: {error}")
        else:
            check(network, method, found, faults)
    return faults


@pytest.mark.slow
@pytest.mark.parametrize("network", ZOO)
def test_every_method_does_what_the_table_says(network: str) -> None:
    assert faults_of(network, list(EXPLAINERS)) == []


@pytest.mark.parametrize("network", QUICKLY)
def test_quick_methods_behave_as_the_table_says(network: str) -> None:
    assert faults_of(network, list(QUICK)) == []


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert markdown(list(EXPLAINERS)) in text, "run: python -m tests.zoo.table"

"""Scores that a sidecar keeps, read back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from esegeta.report import CurveRow
from esegeta.workflow.scored import Scored, scored_before

OVER_SHARES = CurveRow(
    *("a", "t", "m", "deletion", "most first", "share of the image removed", "target"),
    (0.0, 1.0),
    (1.0, 0.0),
    over_shares=True,
)
OVER_COUNTS = replace(OVER_SHARES, x_label="parts removed, n", over_shares=False)
OF_OWN_WORDS = replace(OVER_SHARES, x_label="fraction of the image gone")


@pytest.mark.parametrize("curve", [OVER_SHARES, OVER_COUNTS, OF_OWN_WORDS])
def test_curves_come_back_as_they_were(curve: CurveRow) -> None:
    sidecar = json.loads(json.dumps(Scored(curves=(curve,)).to_sidecar({})))
    assert scored_before(sidecar).curves == (curve,)


@pytest.mark.parametrize("curve", [OVER_SHARES, OVER_COUNTS])
def test_curves_of_an_earlier_version_are_still_read(curve: CurveRow) -> None:
    sidecar = json.loads(json.dumps(Scored(curves=(curve,)).to_sidecar({})))
    del sidecar["curves"][0]["over_shares"]
    assert scored_before(sidecar).curves == (curve,)

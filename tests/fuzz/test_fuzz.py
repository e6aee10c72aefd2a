"""Any input ends with exit code 0, 1 or 2, in time, without a traceback; on 2 nothing is left."""

from pathlib import Path

import pytest

from tests.experiments import quick
from tests.fuzz.blocks import BLOCKS, given
from tests.fuzz.campaign import run_campaign
from tests.fuzz.inputs import FAMILIES, template

__all__ = ["quick"]

SEED = 20
NUM_FAST, NUM_ALL = 60, 1000


@pytest.mark.slow
def test_a_few_inputs_keep_the_contract(quick: None, tmp_path: Path) -> None:
    found, ends = run_campaign(SEED, range(NUM_FAST), tmp_path)
    assert not found, "\n\n".join(map(str, found))
    assert {code for _, code in ends} <= {0, 1, 2}
    assert sum(count for (_, code), count in ends.items() if code == 2) > NUM_FAST / 2


@pytest.mark.slow
def test_a_thousand_inputs_keep_the_contract(quick: None, tmp_path: Path) -> None:
    found, ends = run_campaign(SEED, range(NUM_FAST, NUM_ALL), tmp_path)
    assert not found, "\n\n".join(map(str, found))
    assert {family for family, _ in ends} == set(FAMILIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_valid_before_mutation(name: str, quick: None, tmp_path: Path) -> None:
    lab = template(tmp_path)
    given(lab, name)
    result = lab.validate()
    assert result.exit_code == 0, result.output

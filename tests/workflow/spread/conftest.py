"""A Slurm of one node for the tests of a file."""

from collections.abc import Iterator

import pytest

from tests.slurm import NoSlurmError, Slurm, running_slurm


@pytest.fixture(scope="module")
def one_node() -> Iterator[Slurm]:
    """A Slurm for all tests of this file."""
    try:
        with running_slurm() as slurm:
            yield slurm
    except NoSlurmError as error:
        pytest.skip(f"no Slurm here: {error}")


@pytest.fixture
def slurm(one_node: Slurm) -> Iterator[Slurm]:
    """The same without a job."""
    yield one_node
    one_node.cancel_all()

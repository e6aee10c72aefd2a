"""Shared by the tests of methods: captum kept quiet, and layers in a setting of their own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from tests.explain.whole_graph import Setting, layer_setting


@pytest.fixture
def quiet_captum() -> Iterator[None]:
    """What captum warns of is no fault of ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="captum")
        yield


@pytest.fixture(params=["down", "skip"])
def layer(request: pytest.FixtureRequest) -> str:
    """Half the resolution, and all of it."""
    return request.param


@pytest.fixture(params=["logit", "log_probability"])
def setting(request: pytest.FixtureRequest, ndim: int, layer: str) -> Setting:
    """A smooth network over overlapping windows, behind a ReLU at the layer."""
    return layer_setting(ndim, layer, request.param)

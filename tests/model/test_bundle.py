"""What a bundle's folder is read as, and what is said of sections that are missing or of no use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from esegeta.errors import ModelError
from esegeta.model.bundle import open_bundle
from tests.bundles import inference, write_bundle


def test_references_in_a_section_are_resolved(tmp_path: Path) -> None:
    sizes = {"window": "@size", "pair": ["@size", 3]}
    bundle = open_bundle(write_bundle(tmp_path / "b", inference(size=8, sizes=sizes)))
    assert bundle.section("sizes") == {"window": 8, "pair": [8, 3]}
    assert bundle.section("sises") is None


def test_a_bundle_without_metadata_is_accepted(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    (folder / "configs" / "metadata.json").unlink()
    bundle = open_bundle(folder)
    assert bundle.metadata == {}
    assert bundle.section("pixdim") == [1.5, 1.5, 2.0]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (None, "has no `network_def`; give the network by its class"),
        ({"_target_": "collections.Counter"}, r"network_def: a Counter is not a torch\.nn\.Module"),
    ],
)
def test_an_invalid_network_of_a_bundle_is_refused(
    network: Any, words: str, tmp_path: Path
) -> None:
    config = inference(network_def=network)
    if network is None:
        del config["network_def"], config["network"]
    bundle = open_bundle(write_bundle(tmp_path / "b", config))
    assert bundle.has_network() == (network is not None)
    with pytest.raises(ModelError, match=words):
        bundle.network()

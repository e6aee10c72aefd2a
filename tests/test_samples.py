"""The sample comes from the installed package, else from the checkout; its lack is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from esegeta import samples
from esegeta.errors import MissingFileError


def test_samples_of_the_package_come_before_those_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "PACKAGE", tmp_path / "esegeta")
    with pytest.raises(MissingFileError, match="the sample is missing; install the package again"):
        samples.sample("ct")
    for root in (tmp_path, tmp_path / "esegeta" / "samples"):
        (root / "configs").mkdir(parents=True)
        (root / "configs" / "demo.yaml").touch()
        assert samples.demo_config() == root / "configs" / "demo.yaml"
        assert samples.sample("ct", "a.nii") == root / "data_samples" / "ct" / "a.nii"

"""An image on a sheared grid, and a model of which everything is known."""

from pathlib import Path

import pytest

import esegeta
from tests.api.thresholding import SHAPE, thresholding
from tests.builders import affine_of
from tests.experiments import noise
from tests.volume.files import save_nifti


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An image on a sheared grid, its qform elsewhere."""
    forms = {"sform": affine_of("sheared"), "qform": affine_of("oblique")}
    return save_nifti(tmp_path / "ct.nii.gz", 100 * noise(SHAPE), **forms)


@pytest.fixture
def model() -> esegeta.SegmentationModel:
    return esegeta.load_model(
        thresholding(), window=(8, 8, 8), overlap=0.5, labels={1: "liver"}, device="cpu"
    )

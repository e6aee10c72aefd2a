"""Sessions of tests; no pictures are drawn."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from esegeta.view import Session
from tests.experiments import Lab, quick, save_image, unet_lab
from tests.view.sessions import Page, served, session_of

__all__ = ["quick"]


@pytest.fixture
def lab(tmp_path: Path, quick: None) -> Lab:
    """A U-Net with random weights on noise, and a ground truth of two blobs."""
    lab = unet_lab(tmp_path)
    truth = np.zeros((12, 11, 9), np.uint8)
    truth[1:4, 1:4, 1:4] = truth[7:11, 6:9, 5:8] = 1
    save_image(tmp_path / "truth.nii.gz", truth)
    lab.keys["data"]["cases"][0]["label"] = "truth.nii.gz"
    return lab


@pytest.fixture
def session(lab: Lab) -> Session:
    """The session of the lab."""
    return session_of(lab)


@pytest.fixture
def page(session: Session) -> Iterator[Page]:
    """The page of the session."""
    with served(session) as page:
        yield page

"""The builders keep what other tests rely on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from esegeta.volume.atomic import atomic_path
from tests.builders import NORMS, SHAPES, affine_of, pointwise, predictor, unet, volume
from tests.experiments import written


@pytest.mark.parametrize("kind", NORMS)
def test_unets_are_seeded_alive_and_in_eval_mode(ndim: int, kind: str) -> None:
    window = (8,) * ndim
    x = torch.randn(1, 2, *window)
    network = unet(ndim, kind, in_channels=2, out_channels=3)
    y = network(x)
    assert y.shape == (1, 3, *window)
    assert torch.equal(y, unet(ndim, kind, in_channels=2, out_channels=3)(x))
    assert y.std() > 0.05
    assert not network.training


def test_pointwise_prediction_equals_the_network(ndim: int) -> None:
    network = pointwise(ndim)
    image = volume(SHAPES[ndim])
    model = predictor(network, (8,) * ndim)
    torch.testing.assert_close(model(image.batch), network(image.batch))


def test_affines_are_what_they_are_called() -> None:
    def angles(kind: str) -> np.ndarray:
        axes = affine_of(kind)[:3, :3]
        axes = axes / np.linalg.norm(axes, axis=0)
        return axes.T @ axes - np.eye(3)

    assert np.abs(angles("oblique")).max() < 1e-12
    assert np.abs(angles("sheared")).max() > 0.1
    assert np.linalg.det(affine_of("flipped")) < 0 < np.linalg.det(affine_of("anisotropic"))


def test_unfinished_and_vanished_files_are_not_results(tmp_path: Path) -> None:
    done, coming, gone = (tmp_path / f"{name}.json" for name in ("done", "coming", "gone"))
    done.touch()
    gone.symlink_to("nowhere")  # what is found has no size or time once it was removed
    with atomic_path(coming) as temporary:
        assert set(tmp_path.glob("*.json")) == {done, gone, temporary}
        assert written(tmp_path, "*.json") == {done: done.stat().st_mtime_ns}
    assert set(written(tmp_path, "*.json")) == {done, coming}

"""The layer methods as the contract tests run them; baselines are zero, the same everywhere."""

from __future__ import annotations

from esegeta.explain import Explainer, GradCam, GuidedGradCam, HiResCam

ROWS: dict[str, Explainer] = {
    "grad_cam": GradCam(),
    "hires_cam": HiResCam(),
    "guided_grad_cam": GuidedGradCam(),
}

ACROSS_SLICES: set[str] = {"grad_cam", "guided_grad_cam"}
"""Methods whose map of one slice depends on the others, even where the network's does not."""

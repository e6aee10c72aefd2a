"""`python -m benchmarks.study`: what a large study takes: passes, hours, storage and files.

Nothing is measured: passes follow from the windows and the methods' declared costs, hours from the
seconds that a window takes, which `esegeta plan CONFIG` measures.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from esegeta.explain import EXPLAINERS
from esegeta.predict import WindowPlan

METHODS = ("saliency", "input_x_gradient", "integrated_gradients", "smoothgrad", "grad_cam")
BACK = 2.0
"""How many forward passes a backward pass takes, about."""

BYTES_A_VOXEL = 1.87
"""Of a map in `.nii.gz`, as it was measured (see docs/cluster.md)."""

SIDECAR_BYTES = 4e3
FILES_A_MAP = 3
"""The map, its sidecar and its overlay."""

FILES_A_CASE = 3
"""The predicted labels, their table and sidecar."""


@dataclass(frozen=True)
class Study:
    """A study as it is reckoned.

    Args:
        cases: number of cases.
        targets: targets of each case.
        gpus: number of GPUs.
        shape: a case on the network's grid.
        window: side of a window.
        active: share of the windows that a target touches.
        file_voxels: voxels of a case in its file, which maps have as well.
        forward_s: seconds that a window takes forward, on one GPU.
    """

    cases: int = 10_000
    targets: int = 3
    gpus: int = 64
    shape: tuple[int, int, int] = (334, 334, 300)
    window: int = 96
    active: float = 1 / 3
    file_voxels: int = 512 * 512 * 300
    forward_s: float = 0.1

    @property
    def num_windows(self) -> int:
        """Windows over one case."""
        return len(WindowPlan((self.window,) * 3, overlap=0.5).lay(self.shape))

    def passes(self, method: str) -> tuple[int, int]:
        """Return forward and backward windows of a method over one case, for all targets.

        Targets share the forward passes of methods that let them.
        """
        explainer = EXPLAINERS[method]()
        active = round(self.active * self.num_windows)
        forward = explainer.cost.windows(active, self.num_windows, is_linear=True)
        assert forward is not None  # the methods above are of a known cost
        backward = active * sum(one.backwards for one in explainer.cost.passes)
        times = 1 if explainer.traits.together else self.targets
        return times * forward, self.targets * backward

    def hours(self) -> float:
        """Return GPU hours for all maps and predictions."""
        forward, backward = self.all_passes()
        return self.cases * (forward + BACK * backward) * self.forward_s / 3600

    def all_passes(self) -> tuple[int, int]:
        """Return forward and backward windows of one case, its prediction included."""
        found = [self.passes(method) for method in METHODS]
        return self.num_windows + sum(f for f, _ in found), sum(b for _, b in found)

    @property
    def num_maps(self) -> int:
        """Maps of the study."""
        return self.cases * self.targets * len(METHODS)


def lines(study: Study) -> list[str]:
    """Return the reckoning as rows of a table."""
    rows = [("a case: prediction", str(study.num_windows), "")]
    for name in METHODS:
        there, back = study.passes(name)
        rows.append((f"a case: {name}", str(there), str(back)))
    forward, backward = study.all_passes()
    rows.append(("a case", str(forward), str(backward)))
    times = study.cases
    rows.append((f"{times} cases", f"{times * forward:.3g}", f"{times * backward:.3g}"))
    table = ["| | windows forward | windows back |", "| --- | --- | --- |"]
    table += ["| " + " | ".join(row) + " |" for row in rows]
    maps_tb = study.num_maps * study.file_voxels * BYTES_A_VOXEL / 1e12
    hours = study.hours()
    return [
        *table,
        "",
        f"- maps: {study.num_maps}",
        f"- GPU hours at {study.forward_s:g} s per window: {hours:.0f}, "
        f"{hours / study.gpus:.1f} h on {study.gpus} GPUs",
        f"- storage: {maps_tb:.1f} TB of maps; with `write: scores` "
        f"{study.num_maps * SIDECAR_BYTES / 1e9:.1f} GB",
        f"- files: {study.num_maps * FILES_A_MAP + study.cases * FILES_A_CASE}; with "
        f"`write: scores` {study.num_maps + study.cases * FILES_A_CASE}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", type=int, default=Study.cases)
    parser.add_argument("--targets", type=int, default=Study.targets)
    parser.add_argument("--gpus", type=int, default=Study.gpus)
    parser.add_argument("--seconds", type=float, default=Study.forward_s, help="a window forward")
    options = parser.parse_args()
    study = Study(options.cases, options.targets, options.gpus, forward_s=options.seconds)
    print("\n".join(lines(study)))


if __name__ == "__main__":
    main()

"""What one process of a benchmark is asked to run: plain data, which travels as JSON."""

from __future__ import annotations

from dataclasses import dataclass

NUM_UNITS = 31
"""Units that a dissection looks at, in 3D as in 2D."""


@dataclass(frozen=True)
class MapJob:
    """One contender at one setting.

    Args:
        contender: a key of `map_process.CONTENDERS`.
        shape: of the volume, in voxels.
        window: side of a window.
        region: side of the cube whose logits are explained; 0: all voxels.
        batch_size: windows that go through the network at a time.
        device: that holds the network and the volume.
        threads: of torch, on the CPU.
        steps: of integrated gradients.
        box: side of the occluded boxes; the stride is half of it.
        start: first voxel of the region along each axis; None: in the volume's middle.
        features: supervoxels, roughly.
        coalitions: of KernelSHAP, those of none and all included.
        method: of the contender `esegeta_method`.
        score: of the contender `esegeta_score`.
        network: a key of `setting.NETWORKS`.
        windows: `parts` where the network's reach allows it, or always `whole`.
    """

    contender: str
    shape: tuple[int, int, int]
    window: int
    region: int
    batch_size: int = 1
    device: str = "cpu"
    threads: int = 2
    steps: int = 8
    box: int = 8
    start: int | None = None
    features: int = 200
    coalitions: int = 600
    method: str = "saliency"
    score: str = "infidelity"
    network: str = "unet"
    windows: str = "parts"


@dataclass(frozen=True)
class DissectionJob:
    """One side of a row at one setting.

    Args:
        contender: `forward`, `dissect` (thresholds and overlaps), or `dissect_all` (with the
            draws of chance and the thresholds of other cases, too); `saliency` or `tcav`.
        ndim: 2 or 3.
        cases: number of volumes or images.
        threads: of torch.
    """

    contender: str
    ndim: int
    cases: int
    threads: int = 2


@dataclass(frozen=True)
class SimilarityJob:
    """One side of a row about how alike layers are.

    Args:
        contender: `forward` or `cka`.
        cases: number of volumes.
        samples: positions of all of them.
        threads: of torch.
    """

    contender: str
    cases: int
    samples: int
    threads: int = 2


@dataclass(frozen=True)
class LabelJob:
    """One contender of a row about networks of many outputs.

    Args:
        contender: `saliency`, `bare_window` or `bare_windows`.
        side: side of the volume, in voxels.
        window: side of a window.
        outputs: output channels of the network.
        of: what is explained: `logit`, `probability`, `margin`, `entropy` or `dice`.
        over: over which voxels: `predicted`, or a `box` in the middle.
        labels: labels that the target is the sum of.
        targets: targets that are explained, together.
        overlap: overlap of windows.
        cases: volumes that are explained, one after the other.
        active: windows that the target touches, of `bare_windows`; all where None.
        device: device that holds the network and the volume.
        threads: threads of torch, on the CPU.
        batch_size: windows that go through the network at a time.
    """

    contender: str
    side: int
    window: int
    outputs: int
    of: str = "logit"
    over: str = "predicted"
    labels: int = 1
    targets: int = 1
    overlap: float = 0.5
    cases: int = 1
    active: int | None = None
    device: str = "cpu"
    threads: int = 2
    batch_size: int = 1


Job = MapJob | DissectionJob | SimilarityJob | LabelJob

"""An attribution: an unscaled map, what its values mean, and how it came about."""

from __future__ import annotations

import importlib
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import DegenerateMapError, OutputError
from esegeta.explain.meaning import Meaning
from esegeta.targets import FrozenTarget
from esegeta.volume import Grid, MapHeader, Volume, display_of, write_json, write_map_on_source

if TYPE_CHECKING:
    from esegeta.explain.explainer import Explainer
    from esegeta.explain.source_map import By


@dataclass(frozen=True)
class Facts:
    """How a map came about.

    Args:
        seconds: wall clock of the explanation; an even share of it where targets were explained
            together.
        peak_memory_mb: see `Meter`, in MB.
        evaluations: number of evaluations of the target or its gradient.
        windows_run: windows that went forward through the network for this target; others may have
            used the same passes.
        active_windows: windows that the target touches, of `num_windows`.
        num_windows: windows over the volume.
        completeness_delta: sum of the map minus the change of the target that it should add up
            to, for complete methods; None for others.
        completeness_relative: the same as a fraction of that change.
        seed: random seed of stochastic methods.
        more: further facts that a method gives; `shared_with` is the number of other targets that
            were explained together with this one.
    """

    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    evaluations: int = 0
    windows_run: int = 0
    active_windows: int = 0
    num_windows: int = 0
    completeness_delta: float | None = None
    completeness_relative: float | None = None
    seed: int | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LayerMap:
    """A layer's map where the layer computes it: on its own grid over the whole volume.

    Args:
        layer: name of the layer.
        data: float32 `1 *G`, summed over the layer's units, signed, unscaled.
        grid: places the layer's positions in the patient.
        unit: unit of one position of the map.
    """

    layer: str
    data: Image
    grid: Grid
    unit: str


@dataclass(frozen=True, eq=False)
class Way:
    """The way from a baseline to the image, and the slope that the map is that way times.

    Args:
        slope: the mean slope of the target along the way, `C *S`; of several ways that a map is
            the mean of, its share.
        start: the baseline, `C *S`.
    """

    slope: Image
    start: Image


@dataclass(frozen=True, eq=False)
class Attribution:
    """A map over the voxels of a volume, and what its values mean.

    Args:
        data: float32 `A *S` on the volume's grid, unscaled. `A` is the number of input
            channels, or 1 where a method attributes to voxels and not to channels.
        meaning: what a value is; unit, sign and what scores do with the map follow from it.
        method: name of the method.
        parameters: parameters of the method.
        volume: volume that was explained.
        target: target that it was explained for.
        facts: how the map came about.
        warnings: what a reader of the map must know, in words.
        standard_error: standard error of each voxel of a stochastic method's map, `A *S`, where it
            was asked for.
        layer_maps: for layer methods, each layer's map on the layer's own grid.
        sharing: number of values of the map that hold one worth together, `A *S`, where a method
            paints whole features with theirs; None where every value is a worth of its own.
        ways: for maps that are slopes times a change of the image: the sum over them of slope times
            (image - start) is the map.
        explainer: the method itself, which scores may run again; None where it is not known.
    """

    data: Image
    meaning: Meaning
    method: str
    parameters: dict[str, Any]
    volume: Volume
    target: FrozenTarget
    facts: Facts = Facts()
    warnings: tuple[str, ...] = ()
    standard_error: Image | None = None
    layer_maps: tuple[LayerMap, ...] = ()
    sharing: Image | None = None
    ways: tuple[Way, ...] = ()
    explainer: Explainer | None = None

    def __repr__(self) -> str:
        """One line: method, target, case, shape and unit, and how many warnings there are."""
        size = " x ".join(map(str, self.data.shape))
        count = len(self.warnings)
        warned = f", {count} warning{'s' if count > 1 else ''}" if count else ""
        return (
            f"<Attribution {self.method} of {self.target.description} on {self.volume.name}: "
            f"{size}, in units of {self.unit}{warned}>"
        )

    def _repr_html_(self) -> str:
        """The picture of the map, its facts and warnings, as notebooks show it."""
        html: str = _drawing().html_of(self)
        return html

    @property
    def unit(self) -> str:
        """What one voxel of the map is measured in."""
        return self.meaning.unit_for(self.target.unit)

    @property
    def has_channels(self) -> bool:
        """Whether the map tells the input channels apart."""
        return self.data.shape[0] == self.volume.num_channels and self.volume.num_channels > 1

    @property
    def total(self) -> Float[Tensor, "*S"]:
        """The map summed over channels."""
        return self.data.sum(dim=0)

    def per_channel(self) -> Image:
        """The map with one share for each input channel; maps of voxels are split evenly."""
        channels = self.volume.num_channels
        if self.data.shape[0] == channels:
            return self.data
        return (self.data / channels).expand(channels, *self.data.shape[1:])

    def density(self) -> Image:
        """The map as shares that add up over any set of voxels, one for each input channel.

        Where a method paints a feature of n voxels with the feature's worth, each holds 1 / n of
        it. Maps of voxels are split evenly over the channels.
        """
        if self.sharing is None:
            return self.per_channel()
        return replace(self, data=self.data / self.sharing, sharing=None).per_channel()

    def describe(self) -> dict[str, Any]:
        """Return what a reader of the map's file needs, as plain values."""
        return {
            "method": self.method,
            "parameters": self.parameters,
            "target": self.target.description,
            "target_facts": self.target.facts,
            "unit": self.unit,
            "meaning": self.meaning.kind,
            "sign": self.meaning.sign,
            "facts": asdict(self.facts),
            "warnings": list(self.warnings),
        }

    def numpy(self) -> NDArray[np.float32]:
        """Return the map as an array `A *S` on the volume's grid, on the CPU."""
        array: NDArray[np.float32] = self.data.cpu().numpy()
        return array

    def plot(self, title: str | None = None) -> Any:
        """Return a matplotlib figure: the map over its image, in three planes through the target.

        Red raises the target and blue lowers it; opacity rises with magnitude up to its 99.5th
        percentile. Warnings of the map are on the picture. A notebook shows what a cell returns.

        Args:
            title: title above it; case and method by default.
        """
        return _drawing().figure_of(self, title)

    def view(self, *, channel: int = 0) -> Any:
        """Return a NiiVue widget for notebooks: the map over the image, as the network takes it.

        Red is above zero and blue below; `meaning.sign` says what that is. Large images are cropped
        around the target, as in the report. It needs the extra `notebook`.

        Args:
            channel: channel of the image, from 0.

        Raises:
            ConfigError: ipyniivue is not installed, or there is no such channel.
        """
        from esegeta.explain.notebook import notebook_widget  # an extra, for notebooks alone

        return notebook_widget(self, channel=channel)

    def save(self, path: str | Path, *, by: By | str | None = None) -> Path:
        """Write the sum over channels as NIfTI on the source's grid, with a .json sidecar.

        Args:
            path: ends with .nii or .nii.gz.
            by: `adjoint` carries the map back to the file's own voxels by the transpose of
                preprocessing, `interpolation` reads it between those of the network; None takes
                what suits the map's meaning. The sidecar's `grid` says which it was.

        Raises:
            ConfigError: `by` is neither.
            OutputError: the path does not end with .nii or .nii.gz, or cannot be written.
        """
        file = Path(path)
        if not file.name.endswith((".nii", ".nii.gz")):
            raise OutputError(f"{file}: maps are NIfTI files", hint=f"save {file.stem}.nii.gz")
        from esegeta.explain.source_map import map_on_file  # which brings such maps anywhere

        on_file, is_signed = map_on_file(self, by), self.meaning.is_signed
        sidecar = {
            **self.describe(),
            "unit": on_file.unit,
            "grid": on_file.describe(self),
            "display": display_of(on_file.array, is_signed=is_signed).describe(),
            "image": self.volume.source.paths,
        }
        header = MapHeader(self.method, self.target.description, on_file.unit, is_signed)
        write_json(sidecar_path(file), sidecar)
        write_map_on_source(file, on_file.array, self.volume.source, header)
        return file


def _drawing() -> ModuleType:
    """Return what draws a map. It lies downstream, where rooms do not import from."""
    return importlib.import_module("esegeta.report.notebook")


def sidecar_path(path: Path) -> Path:
    """Return where the sidecar of a NIfTI file lies: the same name with .json."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def require_map(data: Tensor, method: str, hint: str) -> None:
    """Refuse a map that would only look like a result.

    Raises:
        DegenerateMapError: the map holds NaN or Inf, or is zero everywhere.
    """
    # The extremes need no tensor of the map's size; NaN comes through both.
    low, high = (float(extreme) for extreme in torch.aminmax(data))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DegenerateMapError(
            f"{method}: {int((~data.isfinite()).sum())} voxels of the map are NaN or Inf",
            hint="try precision: fp32; check the network's outputs for Inf",
        )
    if low == high == 0:
        raise DegenerateMapError(f"{method}: the map is zero everywhere", hint=hint)


RankBy = Literal["auto", "value", "magnitude"]


def relevance(attribution: Attribution, rank_by: RankBy) -> Image:
    """Return what voxels are ranked by, `C *S`: the map's shares, or their magnitude.

    `auto` takes what the map's meaning says: the magnitude of slopes, the value of other maps.
    """
    chosen = attribution.meaning.rank_by if rank_by == "auto" else rank_by
    density = attribution.density()
    return density.abs() if chosen == "magnitude" else density


def shuffled_order(heights: Float[Tensor, " N"], *, seed: int) -> Int[Tensor, " N"]:
    """Return indices from the highest to the lowest; equals stand in random order."""
    generator = torch.Generator(device=heights.device).manual_seed(seed)
    shuffle = torch.randperm(len(heights), generator=generator, device=heights.device)
    by_height = torch.argsort(heights[shuffle], descending=True, stable=True)
    return shuffle[by_height]

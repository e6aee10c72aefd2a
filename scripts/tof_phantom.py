"""A phantom of a time-of-flight MR angiogram: it shows nobody, and all in it is known.

Vessels are a tree (vessel_tree.py), bright where blood is fresh. Around them lies the T1 template
of data_samples/mni_t1, in the low contrast that tissue has in such images. Two kinds of false
friends are planted: patches of bright fat, and calcification-like blobs, bright with a dark rim.
Voxels hold a mean over their volume (partial volume); then come a bias field and Rician noise.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from vessel_tree import Piece, Points, Tree, distance_to_lines, grow_tree, pieces_of

SAMPLES = Path(__file__).resolve().parent.parent / "data_samples"
SHAPE = (40, 40, 24)
SPACING_MM = np.array([0.5, 0.5, 0.8])
SIZE_MM = np.array(SHAPE) * SPACING_MM
FINER = 4
"""Samples of a voxel along each axis, for partial volume."""

LABELS = {"vessel_wide": 1, "vessel_thin": 2, "fat": 3, "calcification": 4}
THIN_MM = 1.5
"""Diameter below which a vessel is thin."""
NEAR_FAT_MM = 5.0
"""Distance from fat, between centres of voxels, up to which a vessel lies near it."""

# Repetition time, T1 of blood and flip angle, as at 3 T; signals are in that of fresh blood.
TR_SECONDS, T1_BLOOD_SECONDS, FLIP_DEGREES = 0.022, 1.65, 18.0
ROOT_SPEED_MM_S = 250.0
TISSUE = (0.12, 0.30)
"""Signal where the T1 template is black, and where it is white."""
FAT, CALCIFICATION, RIM = 0.85, 0.8, 0.05
BIAS = 0.15
NOISE = 0.045
"""Standard deviation of each of the two channels of the receiver."""
GREY = 400
"""Grey value of fresh blood in the files."""

Mask = NDArray[np.bool_]
Image = NDArray[np.float64]


@dataclass(frozen=True)
class Blob:
    """An ellipsoid.

    Args:
        centre_mm: its middle.
        axes: its three directions as rows, each of the length 1 / half-axis in mm.
    """

    centre_mm: Points
    axes: Points


@dataclass(frozen=True)
class Phantom:
    """An image and what is known of it.

    Args:
        image: grey values as they are stored, with all in it.
        without_fat: the same image, noise included, with tissue in place of the fat.
        labels: integers of LABELS; 0 elsewhere.
        thin: vessels of less than THIN_MM.
        near_fat: thin vessels up to NEAR_FAT_MM from fat.
        tree: the vessels.
    """

    image: NDArray[np.int16]
    without_fat: NDArray[np.int16]
    labels: NDArray[np.uint8]
    thin: Mask
    near_fat: Mask
    tree: Tree


def make_phantom(seed: int) -> Phantom:
    """Draw the phantom of a seed; the same one each time."""
    streams = np.random.SeedSequence(seed).spawn(5)
    growing, bending, planting, placing, noising = map(np.random.default_rng, streams)
    tree = grow_tree(
        growing,
        SIZE_MM,
        num_ends=int(growing.integers(14, 20)),
        radius_end_mm=float(growing.uniform(0.40, 0.47)),
    )
    pieces = pieces_of(tree, bending, root_speed_mm_s=ROOT_SPEED_MM_S)
    wide = [piece for piece in pieces if 2 * piece.radius_mm >= THIN_MM]
    thin = [piece for piece in pieces if 2 * piece.radius_mm < THIN_MM]
    fats, specks = plant(planting, pieces, thin)
    vessels = blood(thin, wide)
    labels = label_map(thin, wide, fats, specks)
    tissue = tissue_around(placing)
    bias = bias_field(placing)
    channels = noising.normal(scale=NOISE, size=(2, *SHAPE))
    images = [
        np.rint(GREY * rician(bias * mixed(tissue, vessels, fat, specks), channels)).astype(
            np.int16
        )
        for fat in (fats, [])
    ]
    thin_mask = labels == LABELS["vessel_thin"]
    away = ndimage.distance_transform_edt(labels != LABELS["fat"], sampling=SPACING_MM)
    near = thin_mask & (away <= NEAR_FAT_MM)
    return Phantom(images[0], images[1], labels, thin_mask, near, tree)


def inflow(seconds: float) -> float:
    """Return what is left of blood's signal after a time in the slab, 1 when it enters.

    Each pulse of flip angle a leaves `cos a` of the longitudinal magnetisation, which comes back
    with T1: `m_n = m_ss + (1 - m_ss) (E cos a)^n`, with `E = exp(-TR / T1)`, the steady state
    `m_ss = (1 - E) / (1 - E cos a)` and n = seconds / TR pulses.

    Source: Brown et al., Magnetic Resonance Imaging, 2nd ed. (2014), chapters 18 and 24.
    """
    kept = np.exp(-TR_SECONDS / T1_BLOOD_SECONDS)
    turned = kept * np.cos(np.deg2rad(FLIP_DEGREES))
    steady = (1 - kept) / (1 - turned)
    return float(steady + (1 - steady) * turned ** (seconds / TR_SECONDS))


def blood(thin: Sequence[Piece], wide: Sequence[Piece]) -> tuple[Image, Image]:
    """Return how much of each voxel is blood, and the blood's signal in it."""
    fine = tuple(FINER * length for length in SHAPE)
    inside, signal = np.zeros(fine, bool), np.zeros(fine, np.float32)
    # Later pieces are painted over earlier ones: wide vessels over thin ones where they meet.
    for piece in [*thin, *reversed(wide)]:
        box, found = fill_tube(piece)
        inside[box] |= found
        signal[box][found] = inflow(piece.seconds)
    return coarse(inside), coarse(signal)


def label_map(
    thin: Sequence[Piece], wide: Sequence[Piece], fats: Sequence[Blob], specks: Sequence[Blob]
) -> NDArray[np.uint8]:
    """Return the label of each voxel: that which fills half of it; vessels win.

    A voxel that a vessel's middle line passes through is vessel, too, so that thin vessels, which
    may fill half of no voxel, are not torn.
    """
    labels = np.zeros(SHAPE, np.uint8)
    for name, blobs in (("calcification", specks), ("fat", fats)):
        labels[filled(blobs) >= 0.5] = LABELS[name]
    shares = {name: tubes(pieces) for name, pieces in (("thin", thin), ("wide", wide))}
    vessel = np.maximum(shares["thin"] + shares["wide"], 0) >= 0.5
    vessel |= middle_lines([*thin, *wide])
    is_thin = shares["thin"] > shares["wide"]
    labels[vessel & is_thin] = LABELS["vessel_thin"]
    labels[vessel & ~is_thin] = LABELS["vessel_wide"]
    return labels


def tubes(pieces: Sequence[Piece]) -> Image:
    """Return how much of each voxel is filled by tubes."""
    inside = np.zeros(tuple(FINER * length for length in SHAPE), bool)
    for piece in pieces:
        box, found = fill_tube(piece)
        inside[box] |= found
    return coarse(inside)


def middle_lines(pieces: Sequence[Piece]) -> Mask:
    """Return the voxels that the middle lines of tubes pass through."""
    passed = np.zeros(SHAPE, bool)
    for piece in pieces:
        along = np.linspace(0, 1, 33)[:, None]
        points = piece.start_mm + along * (piece.stop_mm - piece.start_mm)
        voxels = np.floor(points / SPACING_MM).astype(int)
        voxels = voxels[np.all((voxels >= 0) & (voxels < SHAPE), axis=1)]
        passed[tuple(voxels.T)] = True
    return passed


def fill_tube(piece: Piece) -> tuple[tuple[slice, ...], Mask]:
    """Return the box of fine samples around a tube, and which of them lie in it."""
    low = np.minimum(piece.start_mm, piece.stop_mm) - piece.radius_mm
    high = np.maximum(piece.start_mm, piece.stop_mm) + piece.radius_mm
    box, points = samples_in(low, high)
    flat = points.reshape(-1, 3)
    span = piece.stop_mm - piece.start_mm
    along = np.clip((flat - piece.start_mm) @ span / max(float(span @ span), 1e-12), 0, 1)
    away = np.linalg.norm(flat - piece.start_mm - along[:, None] * span, axis=1)
    return box, np.asarray(away <= piece.radius_mm).reshape(points.shape[:-1])


def samples_in(low: Points, high: Points) -> tuple[tuple[slice, ...], Points]:
    """Return the slices of the fine grid that cover a box in mm, and the samples' places."""
    step = SPACING_MM / FINER
    fine = FINER * np.array(SHAPE)
    first = np.clip(np.floor(low / step).astype(int), 0, fine)
    stop = np.clip(np.ceil(high / step).astype(int), first, fine)
    lines = [(np.arange(a, b) + 0.5) * s for a, b, s in zip(first, stop, step, strict=True)]
    box = tuple(slice(int(a), int(b)) for a, b in zip(first, stop, strict=True))
    return box, np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)


def coarse(fine: NDArray[np.bool_] | NDArray[np.float32]) -> Image:
    """Return the mean of the fine samples of each voxel."""
    total: NDArray[np.uint8] | NDArray[np.float32]
    total = fine.astype(np.uint8) if fine.dtype == bool else fine.astype(np.float32)
    for axis in range(3):
        line = np.moveaxis(total, axis, 0)  # strided sums are ten times as fast as a mean of axes
        parts = [line[first::FINER] for first in range(FINER)]
        total = np.moveaxis(sum(parts[1:], parts[0]), 0, axis)
    return np.asarray(total, dtype=np.float64) / FINER**3


def filled(blobs: Sequence[Blob], scale: float = 1.0) -> Image:
    """Return how much of each voxel is filled by ellipsoids, made larger by a factor."""
    inside = np.zeros(tuple(FINER * length for length in SHAPE), bool)
    for blob in blobs:
        reach = scale / np.linalg.norm(blob.axes, axis=1).min()
        box, points = samples_in(blob.centre_mm - reach, blob.centre_mm + reach)
        inside[box] |= np.linalg.norm((points - blob.centre_mm) @ blob.axes.T, axis=-1) <= scale
    return coarse(inside)


def plant(
    random: np.random.Generator, pieces: Sequence[Piece], thin: Sequence[Piece]
) -> tuple[list[Blob], list[Blob]]:
    """Return three patches of fat and two blobs, which touch neither vessels nor each other.

    Fat lies beside thin vessels, 1 to 2 mm of tissue between them; blobs lie anywhere.
    """
    fats: list[Blob] = []
    specks: list[Blob] = []
    starts = np.stack([piece.start_mm for piece in pieces])
    stops = np.stack([piece.stop_mm for piece in pieces])
    radii = np.array([piece.radius_mm for piece in pieces])
    taken: list[tuple[Points, float]] = []
    while len(fats) < 3 or len(specks) < 2:
        is_fat = len(fats) < 3
        halves = random.uniform(1.1, 1.5, 3) if is_fat else np.full(3, random.uniform(0.8, 1.1))
        reach = float(halves.max())
        if is_fat:
            beside = thin[int(random.integers(len(thin)))]
            way = random.normal(size=3)
            gap = reach + beside.radius_mm + random.uniform(1.0, 2.0)
            centre = beside.stop_mm + gap * way / np.linalg.norm(way)
        else:
            centre = random.uniform(0, 1, 3) * SIZE_MM
        clear = (distance_to_lines(centre, starts, stops) - radii).min() - reach
        apart = min((np.linalg.norm(centre - c) - r for c, r in taken), default=np.inf) - reach
        inside = np.all((centre > reach) & (centre < SIZE_MM - reach))
        if not inside or clear < 0.9 or apart < 1.0:
            continue
        taken.append((centre, reach))
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        (fats if is_fat else specks).append(Blob(centre, turn / halves[:, None]))
    return fats, specks


def mixed(
    tissue: Image, vessels: tuple[Image, Image], fats: Sequence[Blob], specks: Sequence[Blob]
) -> Image:
    """Return the signal of each voxel: what fills it, by the share that it fills."""
    share, signal = vessels
    core, rim = filled(specks), filled(specks, 1.5)
    fat = filled(fats)
    rest = np.clip(1 - share - fat - rim, 0, 1)
    return signal + FAT * fat + CALCIFICATION * core + RIM * (rim - core) + tissue * rest


@functools.cache
def template() -> Image:
    """Return the T1 template at 2 mm, 0 to 1."""
    image = nib.load(SAMPLES / "mni_t1" / "mni_t1.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    return np.asarray(image.get_fdata()) / 255


def tissue_around(random: np.random.Generator) -> Image:
    """Return tissue from somewhere in the T1 template, at least nine tenths of it brain."""
    brain = template()
    lengths = SIZE_MM / 2
    while True:
        start = random.uniform(0, np.array(brain.shape) - lengths - 1)
        lines = [
            begin + (np.arange(n) + 0.5) * spacing / 2
            for begin, n, spacing in zip(start, SHAPE, SPACING_MM, strict=True)
        ]
        grid = np.stack(np.meshgrid(*lines, indexing="ij"))
        seen = ndimage.map_coordinates(brain, grid, order=1)
        if np.mean(seen > 0.2) >= 0.9:
            return np.asarray(TISSUE[0] + (TISSUE[1] - TISSUE[0]) * seen)


def bias_field(random: np.random.Generator) -> Image:
    """Return a factor that varies as a polynomial of degree 2, at most BIAS away from 1."""
    lines = [np.linspace(-1, 1, length) for length in SHAPE]
    x, y, z = np.meshgrid(*lines, indexing="ij")
    terms = np.stack([x, y, z, x * x, y * y, z * z, x * y, y * z, x * z])
    field = np.tensordot(random.normal(size=len(terms)), terms, axes=1)
    field -= field.mean()
    return np.asarray(1 + BIAS * field / np.abs(field).max())


def rician(signal: Image, channels: NDArray[np.float64]) -> Image:
    """Return the magnitude of a signal with noise in both channels of the receiver.

    Source: Gudbjartsson and Patz, Magn. Reson. Med. 34 (1995).
    """
    return np.asarray(np.hypot(signal + channels[0], channels[1]))

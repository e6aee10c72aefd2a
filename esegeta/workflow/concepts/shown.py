"""Concepts that images of their own show, such as patches that somebody has collected.

Each image is a piece. Its counter-pieces are patches of a case, cut out in its size, which go
through the network as it does: by themselves, so that both end where the image ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from esegeta.axes import Batch, Shape, along_axes
from esegeta.concepts import LEVELS
from esegeta.config import blamed_on, cases_in_folder
from esegeta.config.concepts import ConceptsKeys
from esegeta.errors import DataError
from esegeta.model import UnitLayer
from esegeta.predict import Predictor, VoxelLists, pool_regions
from esegeta.volume import Case, check_case
from esegeta.workflow import Basis

LEAST_IMAGES = 2


def find_shown(keys: ConceptsKeys, basis: Basis) -> Mapping[str, tuple[Case, ...]]:
    """Return the images that show a concept, by its name, checked by their headers.

    Raises:
        DataError: there are fewer than two, or one cannot be taken as the cases are.
    """
    found = {}
    for name, block in keys.concepts.items():
        if block.images is None:
            continue
        with blamed_on(basis.config, "concepts", "concepts", name, "images"):
            folder = basis.config.find_file(block.images)
            found[name] = _images_of(folder, name, basis)
    return found


def _images_of(folder: Path, name: str, basis: Basis) -> tuple[Case, ...]:
    what = f"concepts.concepts.{name}.images"
    if not folder.is_dir():
        raise DataError(f"{what}: {folder} is not a folder", hint="name a folder of images")
    images = cases_in_folder(folder, basis.config.keys.data.channels)
    if len(images) < LEAST_IMAGES:
        raise DataError(
            f"{what}: {folder} holds {len(images)} image{'s' * (len(images) != 1)}, but what "
            "is learned from some images is tested on others",
            hint="give two or more images of the concept, six for a useful test",
        )
    ndim = basis.grids[basis.cases[0].name].ndim
    for image in images:
        grid = check_case(replace(image, label=None), basis.reading)
        if grid.ndim != ndim:
            raise DataError(
                f"{what}: {image.images[0]} has {grid.ndim} axes, but the cases have {ndim}",
                hint="give images of the kind that the network takes",
            )
    return tuple(replace(image, label=None) for image in images)


def share_of(images: Sequence[Case], number: int, num_cases: int) -> Iterator[tuple[int, Case]]:
    """Yield the images, with their places, whose counter-pieces a case gives: every so many."""
    for place in range(number, len(images), num_cases):
        yield place, images[place]


def pool_shown(
    predictor: Predictor,
    image: Batch,
    case: Float[Tensor, "1 C *T"],
    body: Bool[Tensor, "*T"],
    layers: Sequence[UnitLayer],
    *,
    counters: int,
    room_mb: float,
    generator: torch.Generator,
) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Return what layers see of an image, `1 K`, and of patches of a case in its size, `Q K`.

    Args:
        predictor: the network over windows.
        image: `1 C *S`.
        case: `1 C *T`, which the patches are cut from; smaller ones where it is smaller.
        body: voxels `*T` that patches are centred on.
        layers: whose units.
        counters: Q.
        room_mb: what maps of units may take up.
        generator: on the host.
    """
    size = tuple(min(pair) for pair in zip(image.shape[2:], case.shape[2:], strict=True))
    inside = body.flatten().nonzero()[:, 0].cpu()
    drawn = inside[torch.randint(len(inside), (counters,), generator=generator)]
    centres = torch.stack(along_axes(drawn, tuple(body.shape)), dim=1).tolist()
    patches = [image, *(_patch(case, centre, size) for centre in centres)]
    rows: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    for patch in patches:
        count = patch[0, 0].numel()
        voxels = torch.arange(count, device=patch.device)
        whole = VoxelLists(voxels, torch.zeros_like(voxels), 1)
        for name, seen in pool_regions(predictor, patch, layers, whole, room_mb=room_mb).items():
            rows[name].append(seen.means.float())
    return {name: (torch.cat(own[:1]), torch.cat(own[1:])) for name, own in rows.items()}


def _patch(case: Tensor, centre: Sequence[int], size: Shape) -> Tensor:
    """Cut a patch out of a case, moved inwards where it would reach beyond its edges."""
    for axis, (middle, length) in enumerate(zip(centre, size, strict=True), start=2):
        first = min(max(middle - length // 2, 0), case.shape[axis] - length)
        case = case.narrow(axis, first, length)
    return case


ANYWHERE = len(LEVELS) - 1
"""What patches are matched for: the body."""
